"""Structural similarity of two proteins by aligning their residues' vectors.

Bepler and Berger (2019), section 3.2: soft symmetric alignment (SSA), uniform alignment (UA), mean
embedding (ME), and ordinal regression from the score to levels of the SCOP hierarchy.

Shape letters: L and M = residues of the two proteins, D = features, K = levels above the lowest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protemb.errors import ConfigError

METHODS = ("ssa", "ua", "me")
NORMS = ("L1", "L2")


@dataclass(frozen=True, eq=False)
class Similarity:
    """How a model compares; the numbers are those that it was trained to.

    Args:
        method: `ssa`, `ua` or `me`.
        norm: `L1` or `L2` (squared), between two residues' vectors.
        theta_K: slopes of the levels, not negative; None where the model has no levels.
        beta_K: their intercepts.
        gap: similarity to a gap, for models trained with insertions; else None.
    """

    method: str = "ssa"
    norm: str = "L1"
    theta_K: Tensor | None = None
    beta_K: Tensor | None = None
    gap: float | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("method", self.method, METHODS),
            ("norm", self.norm, NORMS),
        ):
            if value not in known:
                raise ConfigError(f"similarity {name}", value, f"one of {', '.join(known)}")

    @classmethod
    def of(cls, heads: Mapping[str, np.ndarray], recipe: Mapping[str, Any]) -> "Similarity":
        """From a converted model: tensors behind its embedding, and its recipe."""
        tensors = {name.rpartition(".")[2]: torch.from_numpy(x) for name, x in heads.items()}
        hints = recipe["hints"]
        return cls(
            hints.get("align_method", "ssa"),
            hints.get("norm", "L1"),
            tensors["theta"].reshape(-1) if "theta" in tensors else None,
            tensors.get("beta"),
            float(tensors["gap"]) if hints.get("allow_insertions") is True else None,
        )

    def score(self, first_LD: Tensor, second_MD: Tensor) -> Tensor:
        """Return the similarity, 0 at most where nothing is inserted; larger is more alike."""
        if self.method == "me":
            return -self._length(first_LD.mean(0) - second_MD.mean(0))
        pairs_LM = -self._length(first_LD[:, None] - second_MD)
        if self.method == "ua":
            return pairs_LM.mean()
        if self.gap is not None:
            pairs_LM = torch.nn.functional.pad(pairs_LM, (0, 1, 0, 1), value=self.gap)
        row_LM, column_LM = torch.softmax(pairs_LM, 1), torch.softmax(pairs_LM, 0)
        if self.gap is not None:
            row_LM, column_LM = row_LM.clone(), column_LM.clone()
            row_LM[-1], column_LM[:, -1] = 0, 0
        weight_LM = row_LM + column_LM - row_LM * column_LM
        return (weight_LM * pairs_LM).sum() / weight_LM.sum()

    def _length(self, difference: Tensor) -> Tensor:
        return (difference.abs() if self.norm == "L1" else difference.square()).sum(-1)

    def levels(self, score: Tensor) -> Tensor:
        """Return the probability of each level, 0 to K (float64).

        Raises:
            ConfigError: the model has no levels.
        """
        if self.theta_K is None or self.beta_K is None:
            raise ConfigError("similarity", "no levels", "a model trained for similarity")
        logits_K = score.double() * self.theta_K.double() + self.beta_K.double()
        above_K = torch.sigmoid(logits_K)
        one = above_K.new_ones(1)
        mass = torch.cat([one, above_K]) * torch.cat([1 - above_K, one])
        return mass / mass.sum()

    def expected_level(self, score: Tensor) -> float:
        """The mean of the levels under their probabilities."""
        found = self.levels(score)
        return float(found @ torch.arange(len(found), dtype=found.dtype))
