"""Structural similarity of two proteins by aligning their residues' vectors.

Bepler and Berger (2019), section 3.2: soft symmetric alignment (SSA), uniform alignment (UA), mean
embedding (ME), and ordinal regression from the score to levels of the SCOP hierarchy.

Shape letters: L and M = residues of the two proteins, D = features, K = levels above the lowest,
R = rows of a block, N = records, P = pairs of records.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError
from protemb.models.devices import inference
from protemb.models.pretrained.states import LEVEL, ResidueStates

METHODS = ("ssa", "ua", "me")
NORMS = ("L1", "L2")
CELLS = 2**22
"""Pairs of residues that are held at once: 16 MiB in float32."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """How a model compares; the numbers are those that it was trained to.

    Args:
        method: `ssa`, `ua` or `me`.
        norm: `L1` or `L2` (squared), between two residues' vectors.
        theta_K: slopes of the levels, not negative; None where the model has no levels.
        beta_K: their intercepts.
        gap: similarity to a gap, for models trained with insertions; else None.
        cells: pairs of residues that are held at once; longer proteins are compared by blocks.
    """

    method: str = "ssa"
    norm: str = "L1"
    theta_K: Tensor | None = None
    beta_K: Tensor | None = None
    gap: float | None = None
    cells: int = CELLS

    def __post_init__(self) -> None:
        for name, value, known in (
            ("method", self.method, METHODS),
            ("norm", self.norm, NORMS),
        ):
            if value not in known:
                raise ConfigError(f"similarity {name}", value, f"one of {', '.join(known)}")

    @classmethod
    def of(cls, heads: Mapping[str, np.ndarray], recipe: Mapping[str, Any]) -> "Similarity":
        """From a converted model: tensors behind its embedding, and its recipe.

        Raises:
            ConfigError: the model was not trained for similarity.
        """
        tensors = {name.rpartition(".")[2]: torch.from_numpy(x) for name, x in heads.items()}
        if "theta" not in tensors or "beta" not in tensors:
            source = recipe.get("source", {}).get("name", "a model without a similarity head")
            raise ConfigError("model", source, "one that was trained for similarity")
        hints = recipe["hints"]
        return cls(
            hints.get("align_method", "ssa"),
            hints.get("norm", "L1"),
            tensors["theta"].reshape(-1),
            tensors["beta"],
            float(tensors["gap"]) if hints.get("allow_insertions") is True else None,
        )

    @staticmethod
    def coarse(first_LD: Tensor, second_MD: Tensor) -> Tensor:
        """Return minus the L1 distance of the mean vectors, whatever the model was trained to."""
        return Similarity("me").score(first_LD, second_MD)

    def score(self, first_LD: Tensor, second_MD: Tensor) -> Tensor:
        """Return the similarity, 0 at most where nothing is inserted; larger is more alike."""
        if self.method == "me":
            return self._pairs(first_LD.mean(0)[None], second_MD.mean(0)[None])[0, 0]
        rows = max(1, self.cells // len(second_MD))
        if self.method == "ua":
            sums = [self._pairs(x, second_MD).double().sum() for x in first_LD.split(rows)]
            mean = torch.stack(sums).sum() / (len(first_LD) * len(second_MD))
            return mean.to(first_LD.dtype)
        if len(first_LD) <= rows:
            return self._aligned(first_LD, second_MD)
        return self._aligned_by_blocks(first_LD, second_MD, rows)

    def _pairs(self, first_LD: Tensor, second_MD: Tensor) -> Tensor:
        """Minus the distance of every residue from every other, pairs_LM."""
        if self.norm == "L1":
            return -torch.cdist(first_LD, second_MD, p=1.0)
        # Without the product form: it cancels where residues are alike.
        plain = "donot_use_mm_for_euclid_dist"
        return -torch.cdist(first_LD, second_MD, compute_mode=plain).square()

    def _aligned(self, first_LD: Tensor, second_MD: Tensor) -> Tensor:
        pairs_LM = self._pairs(first_LD, second_MD)
        if self.gap is not None:
            pairs_LM = torch.nn.functional.pad(pairs_LM, (0, 1, 0, 1), value=self.gap)
        row_LM, column_LM = torch.softmax(pairs_LM, 1), torch.softmax(pairs_LM, 0)
        if self.gap is not None:
            row_LM, column_LM = row_LM.clone(), column_LM.clone()
            row_LM[-1], column_LM[:, -1] = 0, 0
        weight_LM = row_LM + column_LM - row_LM * column_LM
        return (weight_LM * pairs_LM).sum() / weight_LM.sum()

    def _aligned_by_blocks(self, first_LD: Tensor, second_MD: Tensor, rows: int) -> Tensor:
        """The same from blocks of rows, which are computed twice.

        A softmax down the columns needs the largest value and the mass of whole columns first.
        """
        top_M, mass_M = self._columns(first_LD, second_MD, rows)
        total = torch.zeros((), dtype=torch.float64, device=first_LD.device)
        weight, gaps = torch.zeros_like(total), torch.zeros_like(total)
        for rows_RD in first_LD.split(rows):
            pairs_RM = self._pairs(rows_RD, second_MD)
            top_R = pairs_RM.amax(1)
            if self.gap is not None:
                top_R = top_R.clamp(min=self.gap)
            row_RM = torch.exp(pairs_RM - top_R[:, None])
            mass_R = row_RM.sum(1)
            if self.gap is not None:
                gap_R = torch.exp(self.gap - top_R)
                mass_R = mass_R + gap_R
                gaps = gaps + (gap_R / mass_R).double().sum()
            row_RM = row_RM / mass_R[:, None]
            column_RM = torch.exp(pairs_RM - top_M) / mass_M
            weight_RM = row_RM + column_RM - row_RM * column_RM
            total = total + (weight_RM * pairs_RM).double().sum()
            weight = weight + weight_RM.double().sum()
        if self.gap is not None:
            gaps = gaps + (torch.exp(self.gap - top_M) / mass_M).double().sum()
            total, weight = total + self.gap * gaps, weight + gaps
        return (total / weight).to(first_LD.dtype)

    def _columns(self, first_LD: Tensor, second_MD: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """The largest value of each column, a gap's included, and the sum of exp(value - it)."""
        start = -torch.inf if self.gap is None else self.gap
        top_M = second_MD.new_full((len(second_MD),), start)
        mass_M = torch.full_like(top_M, 0.0 if self.gap is None else 1.0)
        for rows_RD in first_LD.split(rows):
            pairs_RM = self._pairs(rows_RD, second_MD)
            higher_M = torch.maximum(top_M, pairs_RM.amax(0))
            mass_M = mass_M * torch.exp(top_M - higher_M) + torch.exp(pairs_RM - higher_M).sum(0)
            top_M = higher_M
        return top_M, mass_M

    def score_pairs(
        self, firsts: ResidueStates, seconds: ResidueStates, pairs_P2: np.ndarray
    ) -> np.ndarray:
        """Return scores_P (float64) of pairs of records; alike pairs of sequences are scored once.

        Args:
            firsts: states of one set of records.
            seconds: of the other; may be the same object.
            pairs_P2: record of the first set, record of the second.
        """
        # One number per pair sorts far faster than two columns.
        one_P, other_P = firsts.sequence_of_N[pairs_P2[:, 0]], seconds.sequence_of_N[pairs_P2[:, 1]]
        width = len(seconds.offsets_S1)
        distinct_P, inverse_P = np.unique(one_P * width + other_P, return_inverse=True)
        distinct_P2 = np.stack(np.divmod(distinct_P, width), 1)
        scores_P, first, first_LD = np.empty(len(distinct_P2)), -1, torch.empty(0)
        if self.method == "me" and firsts.means and seconds.means:
            return self._score_means(firsts, seconds, distinct_P2)[inverse_P]
        with inference():
            for place, (one, other) in enumerate(distinct_P2.tolist()):
                if one != first:
                    first, first_LD = one, firsts.distinct(one)
                scores_P[place] = self.score(first_LD, seconds.distinct(other))
        return scores_P[inverse_P]

    def _score_means(
        self, firsts: ResidueStates, seconds: ResidueStates, pairs_P2: np.ndarray
    ) -> np.ndarray:
        """Scores of pairs of distinct sequences from their mean states."""
        scores_P = np.empty(len(pairs_P2))
        step = max(1, self.cells // firsts.states_TD.shape[1])
        for start in range(0, len(pairs_P2), step):
            one_P, other_P = pairs_P2[start : start + step].T
            apart_PD = firsts.states_TD[one_P] - seconds.states_TD[other_P]
            apart_PD = np.abs(apart_PD) if self.norm == "L1" else np.square(apart_PD)
            scores_P[start : start + step] = -apart_PD.sum(1)
        return scores_P

    def score_all(self, firsts: ResidueStates, seconds: ResidueStates) -> np.ndarray:
        """Return scores_NM (float64) of every record with every other."""
        shape = len(firsts.sequence_of_N), len(seconds.sequence_of_N)
        pairs_P2 = np.indices(shape).reshape(2, -1).T
        return self.score_pairs(firsts, seconds, pairs_P2).reshape(shape)

    def levels(self, score: Tensor) -> Tensor:
        """Return the probability of each level, 0 to K (float64), in a last axis of its own.

        Raises:
            ConfigError: the model has no levels.
        """
        if self.theta_K is None or self.beta_K is None:
            raise ConfigError("similarity", "no levels", "a model trained for similarity")
        logits = score.double()[..., None] * self.theta_K.double() + self.beta_K.double()
        above = torch.sigmoid(logits)
        one = torch.ones_like(above[..., :1])
        mass = torch.cat([one, above], -1) * torch.cat([1 - above, one], -1)
        return mass / mass.sum(-1, keepdim=True)

    def expected_level(self, score: Tensor) -> float:
        """The mean of the levels under their probabilities."""
        found = self.levels(score)
        return float(found @ torch.arange(len(found), dtype=found.dtype))


def own_level(recipe: Mapping[str, Any]) -> str:
    """The level that a converted model compares: its own, for ProSE (which embeds `all`) below."""
    level = recipe["hints"].get("level", recipe["level"])
    return LEVEL if level == "all" else level
