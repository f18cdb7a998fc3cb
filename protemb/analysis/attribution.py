"""Which residues a classifier's decision rests on: integrated gradients and occlusion.

Both explain the score of a class: its logit less the mean logit of all classes. What is added to
every logit changes no prediction, so it must change no explanation. Both compare a residue with
the same baseline, a row of features put in place of the residue's own row in the table:

- `mean`: the mean row of the 20 residues, that is a residue of which nothing is known;
- a letter, such as `X`: that letter's row. Few data train the row of X, and none the row of
  padding, so as baselines they add the luck of their start.

So what is explained is everything behind the table, at every level and pooling.

Shape letters: M = records, B = sequences in a batch, L = longest of them (or residues of the one
sequence), D = features of a table row, C = classes, W = windows, K = what is asked: a record, a
target and, for pooling at a position, that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError, MissingExtra
from protemb.models.batches import collate, padding_mask, plan_batches
from protemb.models.classifier import SequenceClassifier
from protemb.models.devices import inference
from protemb.models.encoders import ResidueTable
from protemb.sequences.tokens import TokenStore

RESIDUES = 65_536
"""Default budget of residues that are computed at once."""
COMPLETE = 0.1
"""Largest error of integrated gradients that are worth reading."""


@dataclass(frozen=True, eq=False)
class Attributions:
    """Integrated gradients and how well they add up.

    Attributes:
        values: one float64 array per record, a number per residue; positive speaks for the class.
        scores_M: score of the class for the sequence.
        baselines_M: score of a sequence of baselines of the same length.
        steps_M: points of the integral.
    """

    values: list[np.ndarray]
    scores_M: np.ndarray
    baselines_M: np.ndarray
    steps_M: np.ndarray

    @property
    def errors_M(self) -> np.ndarray:
        """What is missing to completeness, as a share of the difference of the scores.

        Exact integrals add up to `scores_M - baselines_M` (Sundararajan et al. 2017, proposition
        1). Differences below 1 count as 1, a factor of e in the odds.
        """
        return _errors(self.values, self.scores_M - self.baselines_M)

    @property
    def complete_M(self) -> np.ndarray:
        """Whether the error is at most `COMPLETE`; do not read the other records' values."""
        return self.errors_M <= COMPLETE


def integrated_gradients(
    classifier: SequenceClassifier,
    store: TokenStore,
    records_M: Sequence[int] | np.ndarray,
    targets_M: Sequence[int] | np.ndarray,
    *,
    positions_M: Sequence[int] | np.ndarray | None = None,
    steps: int = 32,
    most_steps: int = 128,
    baseline: str = "mean",
    residues: int = RESIDUES,
) -> Attributions:
    """Integrate the score's gradient along the line from the baseline to each sequence's rows.

    Sundararajan, Taly and Yan (2017), by captum, with Gauss-Legendre points; a residue's value is
    the sum over its features. Identical records with one target are computed once. Padding has
    no part, and the values do not depend on the batch.

    Records that are not complete get four times the points, again and again. Trained recurrent
    networks can be so steep along the line that even many points miss the integral: look at
    `complete_M`, and use `occlusion` where much is incomplete.

    Args:
        classifier: on any device.
        store: where the records' tokens are.
        records_M: record indices, at least one.
        targets_M: class whose score is explained, for each record.
        positions_M: 0-based position in each record, for pooling at a position.
        steps: points of the integral at first.
        most_steps: points at most.
        baseline: `mean` or a letter, see the module.
        residues: budget of residues at once, over all steps.

    Raises:
        MissingExtra: captum is not installed.
        ConfigError: an encoder without a residue table, or no such letter.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise MissingExtra("integrated gradients", "captum", "explain") from error
    score = _Score(classifier, store, baseline)
    wanted, inverse_M = _distinct(store, records_M, targets_M, positions_M)
    lengths = store.lengths_N[wanted[:, 0]]
    values: list[np.ndarray] = [np.empty(0)] * len(wanted)
    scores, baselines, points = np.empty(len(wanted)), np.empty(len(wanted)), np.empty(len(wanted))
    rows = np.arange(len(wanted))
    while len(rows):
        for batch in plan_batches(lengths[rows], residues=max(1, residues // steps)):
            states_BLD, baselines_BLD, about = score.inputs(wanted[rows[batch]])
            # cuDNN gives recurrent networks no gradient outside of training.
            with torch.backends.cudnn.flags(enabled=False):
                values_BLD = IntegratedGradients(score).attribute(
                    states_BLD,
                    baselines_BLD,
                    additional_forward_args=about,
                    n_steps=steps,
                    method="gausslegendre",
                )
            values_BL = values_BLD.detach().double().sum(2).cpu().numpy()
            for row, values_L in zip(rows[batch], values_BL, strict=True):
                values[row] = values_L[: lengths[row]]
            with inference():
                scores[rows[batch]] = score(states_BLD, *about).cpu()
                baselines[rows[batch]] = score(baselines_BLD, *about).cpu()
        points[rows], steps = steps, 4 * steps
        rows = np.flatnonzero(_errors(values, scores - baselines) > COMPLETE)
        if steps > most_steps:
            break
    found = (part[inverse_M] for part in (scores, baselines, points.astype(int)))
    return Attributions([values[i] for i in inverse_M], *found)


def occlusion(
    classifier: SequenceClassifier,
    store: TokenStore,
    records_M: Sequence[int] | np.ndarray,
    targets_M: Sequence[int] | np.ndarray,
    *,
    positions_M: Sequence[int] | np.ndarray | None = None,
    window: int = 1,
    stride: int = 1,
    baseline: str = "mean",
    residues: int = RESIDUES,
) -> list[np.ndarray]:
    """Return how far the score drops when a window of residues is put to the baseline.

    Zeiler and Fergus (2014), along a chain. A window's drop is shared equally by its residues,
    and a residue's value is the mean of its shares over the windows that cover it; the last
    window ends at the last residue. A sequence of L residues costs about L / stride passes.

    Args:
        classifier: on any device.
        store: where the records' tokens are.
        records_M: record indices, at least one.
        targets_M: class whose score is explained, for each record.
        positions_M: 0-based position in each record, for pooling at a position.
        window: residues that are put to the baseline together; all, where there are fewer.
        stride: from window to window, at most `window`.
        baseline: `mean` or a letter, see the module.
        residues: budget of residues at once.

    Returns:
        One float64 array per record, a number per residue; positive speaks for the class.

    Raises:
        ConfigError: a stride beyond the window, an encoder without a residue table, or no such
            letter.
    """
    if not 1 <= stride <= window:
        raise ConfigError("stride", stride, f"a number from 1 to the window, {window}")
    score = _Score(classifier, store, baseline)
    wanted, inverse_M = _distinct(store, records_M, targets_M, positions_M)
    values = []
    for row in wanted:
        hidden_WL = _windows(int(store.lengths_N[row[0]]), window, stride)
        drops_W = score.drops(row, hidden_WL, residues)
        shares_W = drops_W / hidden_WL.sum(1)
        values.append(shares_W @ hidden_WL / hidden_WL.sum(0))
    return [values[i] for i in inverse_M]


class _Score:
    """The score of a class as a function of the rows that the table gives.

    Called with states_BLD and what stays the same along the way to the baseline: tokens_BL,
    lengths_B, targets_B and, where there are any, positions_B.
    """

    def __init__(self, classifier: SequenceClassifier, store: TokenStore, baseline: str) -> None:
        table = classifier.embedder.encoder.table_at("table")
        if table is None:
            name = type(classifier.embedder.encoder).__name__
            raise ConfigError("encoder", name, "one that begins with a residue table")
        self.classifier, self.store, self.table = classifier.eval(), store, table
        self.baseline_D = _baseline(table, store, baseline)

    def __call__(
        self,
        states_BLD: Tensor,
        tokens_BL: Tensor,
        lengths_B: Tensor,
        targets_B: Tensor,
        positions_B: Tensor | None = None,
    ) -> Tensor:
        """Return scores_B in float64."""
        embedder = self.classifier.embedder
        hook = self.table.register_forward_hook(lambda *_: states_BLD)
        try:
            # Not through the embedder: its mean of the table reads no states.
            level_BLD = embedder.encoder(tokens_BL, lengths_B, (embedder.level,))[embedder.level]
        finally:
            hook.remove()
        vectors_BD = embedder.pooling(level_BLD, lengths_B, positions_B)
        logits_BC = self.classifier.head(vectors_BD).double()
        return logits_BC.gather(1, targets_B[:, None])[:, 0] - logits_BC.mean(1)

    def inputs(self, wanted_BK: np.ndarray) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """States of a batch, their baselines (equal in the padding), and the rest of the call."""
        records, device = wanted_BK[:, 0], self.baseline_D.device
        batch = collate([self.store.tokens(i) for i in records], self.store.alphabet.size)
        tokens_BL = batch.tokens_BL.to(device)
        chosen = torch.as_tensor(wanted_BK[:, 1:], device=device).T
        with torch.no_grad():
            states_BLD = self.table(tokens_BL)
        mask_BL = padding_mask(batch.lengths_B, tokens_BL.shape[1], device)
        baselines_BLD = torch.where(mask_BL[..., None], self.baseline_D, states_BLD)
        return states_BLD, baselines_BLD, (tokens_BL, batch.lengths_B, *chosen)

    @inference()
    def drops(self, row: np.ndarray, hidden_WL: np.ndarray, residues: int) -> np.ndarray:
        """How far the score of one record falls when each of the sets of residues is hidden."""
        states_1LD, _, about = self.inputs(row[None])
        hidden_WL1 = torch.as_tensor(hidden_WL, device=states_1LD.device)[..., None]
        whole = float(self(states_1LD, *about))
        parts = []
        for some_BL1 in hidden_WL1.split(max(1, residues // hidden_WL.shape[1])):
            states_BLD = torch.where(some_BL1, self.baseline_D, states_1LD)
            repeat = partial(torch.repeat_interleave, repeats=len(states_BLD), dim=0)
            parts.append(self(states_BLD, *map(repeat, about)).cpu().numpy())
        return whole - np.concatenate(parts)


def _errors(values: list[np.ndarray], differences_M: np.ndarray) -> np.ndarray:
    missing_M = np.array([values_L.sum() for values_L in values]) - differences_M
    return np.abs(missing_M) / np.abs(differences_M).clip(min=1)


def _baseline(table: ResidueTable, store: TokenStore, baseline: str) -> Tensor:
    """The row of features that stands for nothing."""
    letters, rows_VD = store.alphabet.symbols, table.rows.weight.detach()
    if baseline == "mean":
        return rows_VD[[i for i, letter in enumerate(letters) if letter != "X"]].mean(0)
    if len(baseline) != 1 or baseline not in letters:
        raise ConfigError("baseline", baseline, f"mean or one of the letters {letters}")
    return rows_VD[letters.index(baseline)]


def _distinct(
    store: TokenStore,
    records_M: Sequence[int] | np.ndarray,
    targets_M: Sequence[int] | np.ndarray,
    positions_M: Sequence[int] | np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (record, target, position) of distinct tasks, and each record's place among them."""
    columns = [records_M, targets_M] + ([] if positions_M is None else [positions_M])
    wanted_MK = np.stack([np.asarray(column, np.int64) for column in columns], axis=1)
    tasks_MK = wanted_MK.copy()
    tasks_MK[:, 0] = store.sequence_of_N[wanted_MK[:, 0]]
    _, firsts, inverse_M = np.unique(tasks_MK, axis=0, return_index=True, return_inverse=True)
    return wanted_MK[firsts], inverse_M.reshape(-1)


def _windows(length: int, window: int, stride: int) -> np.ndarray:
    """hidden_WL, True where a window hides a residue; every residue is in one at least."""
    window = min(window, length)
    starts = [*range(0, length - window, stride), length - window]
    place_L = np.arange(length)
    return np.array([(start <= place_L) & (place_L < start + window) for start in starts])
