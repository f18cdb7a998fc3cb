"""An encoder that learns how alike two proteins are, from pairs of known level.

Bepler and Berger (2019, ICLR, arXiv 1902.08661), section 3: residues' vectors are compared by soft
symmetric alignment, and ordinal regression turns the score into levels of a hierarchy. The same
comparison for trained models, one pair at a time: `protemb.models.pretrained.similarity`.

Shape letters: B = sequences, L and M = longest first and second of some pairs, D = features,
P = pairs, K = levels above the lowest.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from protemb.errors import ConfigError
from protemb.models.batches import padding_mask, plan_batches
from protemb.models.encoders.base import Encoder
from protemb.models.pretrained.similarity import METHODS, NORMS, Similarity

CELLS = 2**23
"""Padded pairs of residues that are held at once while training."""

THETA, BETA = 1.0, 10.0
"""Where the slopes and the intercepts of the levels start, as the authors' do."""

_PADDED = 1.5
"""Pairs share a chunk while padding makes it no larger than so many times their own size."""


class Projected(Encoder):
    """An encoder with a linear map behind one of its levels, as a further level `projection`.

    Args:
        encoder: what is wrapped; its other levels stay.
        level: the level that is mapped.
        out_dim: features of the projection.
    """

    def __init__(self, encoder: Encoder, level: str, out_dim: int) -> None:
        super().__init__()
        encoder.check_level(level)
        if "projection" in encoder.levels:
            raise ConfigError("task.out_dim", out_dim, "null: the encoder has a projection")
        self.encoder, self.level = encoder, level
        self.project = nn.Linear(encoder.dim(level), out_dim)
        self.levels = (*encoder.levels, "projection")
        self.alphabet_size = encoder.alphabet_size

    def dim(self, level: str) -> int:
        """Features per residue at a level."""
        self.check_level(level)
        return self.project.out_features if level == "projection" else self.encoder.dim(level)

    def backward_dim(self, level: str) -> int:
        """Right-to-left features; a projection has none of its own."""
        return 0 if level == "projection" else self.encoder.backward_dim(level)

    def forward(
        self, tokens_BL: Tensor, lengths_B: Tensor, levels: Sequence[str] = ("states",)
    ) -> dict[str, Tensor]:
        """Return states_BLD for each level asked for; rows past a sequence's end are zero."""
        below = dict.fromkeys(self.level if level == "projection" else level for level in levels)
        found = self.encoder(tokens_BL, lengths_B, tuple(below))
        if "projection" in levels:
            mask_BL1 = padding_mask(lengths_B, tokens_BL.shape[1], tokens_BL.device)[..., None]
            found["projection"] = self.project(found[self.level]) * mask_BL1
        return {level: found[level] for level in levels}


class PairScorer(nn.Module):
    """Scores pairs of proteins and learns the levels that scores stand for.

    Args:
        encoder: residues to states.
        level: which of its levels is compared.
        levels: K, how many levels there are above the lowest.
        method: `ssa`, `ua` or `me`.
        norm: `L1` or `L2` (squared), between two residues' vectors.
        residues: budget of padded residues that are encoded at once.
        cells: budget of padded pairs of residues that are compared at once.

    Raises:
        ConfigError: no such level, method or norm.
    """

    def __init__(
        self,
        encoder: Encoder,
        level: str,
        levels: int,
        *,
        method: str = "ssa",
        norm: str = "L1",
        residues: int = 32_768,
        cells: int = CELLS,
    ) -> None:
        super().__init__()
        encoder.check_level(level)
        for name, value, known in (("method", method, METHODS), ("norm", norm, NORMS)):
            if value not in known:
                raise ConfigError(f"task.{name}", value, f"one of {', '.join(known)}")
        self.encoder, self.level, self.method, self.norm = encoder, level, method, norm
        self.residues, self.cells = residues, cells
        self.theta = nn.Parameter(torch.full((levels,), THETA))
        self.beta = nn.Parameter(torch.full((levels,), BETA))

    def forward(self, tokens_BL: Tensor, lengths_B: Tensor, pairs_P2: Tensor) -> Tensor:
        """Return scores_P; a score does not depend on what else is in the batch.

        Args:
            tokens_BL: distinct sequences, each of which is encoded once.
            lengths_B: in host memory.
            pairs_P2: rows of `tokens_BL`.
        """
        return self.compare(self.encode(tokens_BL, lengths_B), pairs_P2.cpu().numpy())

    def encode(self, tokens_BL: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """Return states_LD of each sequence, without padding."""
        states: dict[int, Tensor] = {}
        for batch in plan_batches(lengths_B.numpy(), residues=self.residues):
            rows, lengths = torch.from_numpy(batch), lengths_B[batch]
            tokens = tokens_BL[rows.to(tokens_BL.device), : int(lengths.max())]
            found = self.encoder(tokens, lengths, (self.level,))[self.level]
            for row, states_LD, length in zip(batch, found, lengths.tolist(), strict=True):
                states[int(row)] = states_LD[:length]
        return [states[row] for row in range(len(lengths_B))]

    def compare(self, states: Sequence[Tensor], pairs_P2: np.ndarray) -> Tensor:
        """Return scores_P of pairs of sequences, by their states."""
        if self.method == "me":
            means_BD = torch.stack([states_LD.mean(0) for states_LD in states])
            first_P, second_P = torch.from_numpy(pairs_P2.T).to(means_BD.device)
            apart_PD = means_BD[first_P] - means_BD[second_P]
            return -(apart_PD.abs() if self.norm == "L1" else apart_PD.square()).sum(1)
        lengths_B = np.array([len(states_LD) for states_LD in states])
        # The shorter one first, so that pairs that are alike in size are padded alike.
        swap_P1 = np.diff(lengths_B[pairs_P2]) < 0
        pairs_P2 = np.where(swap_P1, pairs_P2[:, ::-1], pairs_P2)
        chunks = list(chunks_of_pairs(lengths_B[pairs_P2], self.cells))
        padded = sum(len(c) * int(lengths_B[pairs_P2[c]].max(0).prod()) for c in chunks)
        again = padded > self.cells and torch.is_grad_enabled()
        scores = []
        for chunk in chunks:
            first_P, second_P = pairs_P2[chunk].T
            firsts, seconds = ([states[row] for row in side] for side in (first_P, second_P))
            pair = firsts, seconds, lengths_B[first_P], lengths_B[second_P]
            if again:
                # Computed again in the backward pass: no more than one chunk is ever held.
                found = checkpoint(
                    self._aligned, *pair, use_reentrant=False, preserve_rng_state=False
                )
            else:
                found = self._aligned(*pair)
            scores.append(found)
        back = np.argsort(np.concatenate(chunks))
        return torch.cat(scores)[torch.from_numpy(back).to(scores[0].device)]

    def _aligned(
        self,
        firsts: list[Tensor],
        seconds: list[Tensor],
        lengths_P: np.ndarray,
        others_P: np.ndarray,
    ) -> Tensor:
        """Scores of a chunk of pairs, padded to its longest sequences."""
        first_PLD, second_PMD = (pad_sequence(side, batch_first=True) for side in (firsts, seconds))
        device = first_PLD.device
        mask_PL = padding_mask(torch.from_numpy(lengths_P), first_PLD.shape[1], device)
        mask_PM = padding_mask(torch.from_numpy(others_P), second_PMD.shape[1], device)
        outside_PLM = ~(mask_PL[:, :, None] & mask_PM[:, None])
        if self.norm == "L1":
            pairs_PLM = -torch.cdist(first_PLD, second_PMD, p=1.0)
        else:
            # Without the product form: it cancels where residues are alike.
            plain = "donot_use_mm_for_euclid_dist"
            pairs_PLM = -torch.cdist(first_PLD, second_PMD, compute_mode=plain).square()
        pairs_PLM = pairs_PLM.masked_fill(outside_PLM, 0.0)
        if self.method == "ua":
            sizes_P = torch.from_numpy(lengths_P * others_P).to(device)
            return pairs_PLM.sum((1, 2)) / sizes_P
        # Not -inf: rows of padding would be NaN.
        low_PLM = pairs_PLM.masked_fill(outside_PLM, torch.finfo(pairs_PLM.dtype).min)
        row_PLM, column_PLM = torch.softmax(low_PLM, 2), torch.softmax(low_PLM, 1)
        weight_PLM = row_PLM + column_PLM - row_PLM * column_PLM
        weight_PLM = weight_PLM.masked_fill(outside_PLM, 0.0)
        return (weight_PLM * pairs_PLM).sum((1, 2)) / weight_PLM.sum((1, 2))

    def losses(self, scores_P: Tensor, levels_P: Tensor) -> Tensor:
        """Return losses_P of ordinal regression.

        The sum over k of the binary cross-entropy of "the level is above k", whose log-odds are
        theta_k * score + beta_k.
        """
        logits_PK = scores_P.float()[:, None] * self.theta + self.beta
        above_PK = levels_P[:, None] > torch.arange(len(self.theta), device=levels_P.device)
        losses_PK = F.binary_cross_entropy_with_logits(
            logits_PK, above_PK.to(logits_PK.dtype), reduction="none"
        )
        return losses_PK.sum(1)

    @torch.no_grad()
    def keep_order(self) -> None:
        """Make negative slopes zero; a higher score must never mean a lower level."""
        self.theta.clamp_(min=0)

    def similarity(self) -> Similarity:
        """The same comparison for trained models, with the levels as they are now."""
        theta_K, beta_K = self.theta.detach().cpu().clone(), self.beta.detach().cpu().clone()
        return Similarity(self.method, self.norm, theta_K, beta_K)


def chunks_of_pairs(lengths_P2: np.ndarray, cells: int) -> Iterator[np.ndarray]:
    """Yield the places of pairs that are padded together: alike in size, within the budget.

    A pair larger than the budget is a chunk of its own.

    >>> lengths_P2 = np.array([[10, 10], [2, 2], [9, 10], [30, 40]])
    >>> [chunk.tolist() for chunk in chunks_of_pairs(lengths_P2, 300)]
    [[3], [0, 2], [1]]
    """
    order = np.lexsort(-lengths_P2.T)
    start, widest, own = 0, np.zeros(2, np.int64), 0
    for place, lengths_2 in enumerate(lengths_P2[order]):
        wider, size = np.maximum(widest, lengths_2), own + int(lengths_2.prod())
        padded = (place - start + 1) * int(wider.prod())
        if place > start and (padded > cells or padded > _PADDED * size):
            yield order[start:place]
            start, wider, size = place, lengths_2, int(lengths_2.prod())
        widest, own = wider, size
    yield order[start:]
