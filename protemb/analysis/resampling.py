"""Scores of many runs when the groups of their records are weighted, or swapped between models.

Most scores are functions of sums over records: hits per class, records per class, losses. Summed
within groups once, they follow for all replicates and runs from one matrix product. AUROC depends
on ranks and is scored replicate by replicate.

Shape letters: N = records of a part, G = its groups, C = classes, V = runs on the part, K = sums
that a score is made of, R = replicates, Q = pairs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from math import lcm

import numpy as np
from scipy.sparse import csr_array

from protemb.analysis.alignment import AlignedPart
from protemb.analysis.sums import RANKED, Columns, Value, summed_metric
from protemb.scores import BLOCK, weighted_scores

RunPair = tuple[Sequence[int], Sequence[int]]


class PartScores(ABC):
    """The runs of all models on one part, ready to be scored again and again."""

    @abstractmethod
    def weighted(self, weights_RG: np.ndarray) -> np.ndarray:
        """Return scores_VR under R weightings of the groups."""

    @abstractmethod
    def left_out(self) -> np.ndarray:
        """Return scores_VG without each of the groups."""

    @abstractmethod
    def swapped(self, flips_RG: np.ndarray, pairs: Sequence[RunPair]) -> np.ndarray:
        """Return differences_QR of mean scores after the runs of a pair traded groups.

        Args:
            flips_RG: True where first and second exchange their predictions.
            pairs: Run numbers of the first and of the second model of each pair. Where their
                counts differ, runs are repeated until they agree, so each keeps its share.
        """


def part_scores(
    labels_N: np.ndarray,
    probabilities_VNC: Sequence[np.ndarray],
    group_of_N: np.ndarray,
    names: Sequence[str],
    metric: str,
) -> PartScores:
    """Prepare runs for scoring.

    Args:
        labels_N: True class, 0 to C - 1.
        probabilities_VNC: One array_NC per run.
        group_of_N: 0 to G - 1, each of them used.
        names: The C class names.
        metric: A key of `protemb.scores.weighted_scores`.

    Raises:
        ConfigError: No such metric.
    """
    if metric == RANKED:
        return _Ranked(labels_N, probabilities_VNC, group_of_N, names)
    columns, value = summed_metric(metric, names)
    return _Summed(labels_N, probabilities_VNC, group_of_N, columns, value)


class ScoredPart:
    """A part with the scores of its runs: values_V, and the run numbers (rows) of each model."""

    def __init__(self, part: AlignedPart, names: Sequence[str], metric: str) -> None:
        self.groups_G, self.rows = part.groups_G, part.rows
        self.scores = part_scores(
            part.labels_N, part.probabilities_VNC, part.group_of_N, names, metric
        )
        self.values_V = self.scores.weighted(np.ones((1, len(part.groups_G))))[:, 0]


def _blocks(rows_RG: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Cut replicates so that a block times `width` fits into memory that is quick to reach."""
    yield from np.array_split(rows_RG, max(1, -(-len(rows_RG) * width // BLOCK)))


class _Summed(PartScores):
    def __init__(
        self,
        labels_N: np.ndarray,
        probabilities_VNC: Sequence[np.ndarray],
        group_of_N: np.ndarray,
        columns: Columns,
        value: Value,
    ) -> None:
        N, G = len(labels_N), group_of_N.max() + 1
        within_GN = csr_array((np.ones(N), (group_of_N, np.arange(N))), (G, N))
        self.sums_VGK = np.stack(
            [within_GN @ columns(labels_N, rows_NC) for rows_NC in probabilities_VNC]
        )
        self.value = value

    def weighted(self, weights_RG: np.ndarray) -> np.ndarray:
        V, G, K = self.sums_VGK.shape
        scored = [
            self.value(self._products(block_RG)) for block_RG in _blocks(weights_RG, max(G, V * K))
        ]
        return np.concatenate(scored, axis=1)

    def left_out(self) -> np.ndarray:
        return self.value(self.sums_VGK.sum(1, keepdims=True) - self.sums_VGK)

    def swapped(self, flips_RG: np.ndarray, pairs: Sequence[RunPair]) -> np.ndarray:
        V, G, K = self.sums_VGK.shape
        totals_V1K = self.sums_VGK.sum(1, keepdims=True)
        scored = []
        for block_RG in _blocks(flips_RG, max(G, V * K)):
            traded_VRK = self._products(block_RG)
            kept_VRK = totals_V1K - traded_VRK
            scored.append([self._difference(kept_VRK, traded_VRK, *pair) for pair in pairs])
        return np.concatenate(scored, axis=1)

    def _products(self, weights_RG: np.ndarray) -> np.ndarray:
        """Return sums_VRK; one product for all runs is quicker than one for each."""
        V, G, K = self.sums_VGK.shape
        sums_GM = self.sums_VGK.transpose(1, 0, 2).reshape(G, V * K)
        sums_RM = weights_RG.astype(np.float64) @ sums_GM
        return sums_RM.reshape(len(weights_RG), V, K).transpose(1, 0, 2)

    def _difference(
        self,
        kept_VRK: np.ndarray,
        traded_VRK: np.ndarray,
        first: Sequence[int],
        second: Sequence[int],
    ) -> np.ndarray:
        rows = list(_partners(first, second))
        return np.mean(
            [
                self.value(kept_VRK[v] + traded_VRK[w]) - self.value(kept_VRK[w] + traded_VRK[v])
                for v, w in rows
            ],
            axis=0,
        )


class _Ranked(PartScores):
    def __init__(
        self,
        labels_N: np.ndarray,
        probabilities_VNC: Sequence[np.ndarray],
        group_of_N: np.ndarray,
        names: Sequence[str],
    ) -> None:
        self.labels_N, self.group_of_N, self.names = labels_N, group_of_N, names
        self.probabilities_VNC = [np.asarray(rows, np.float64) for rows in probabilities_VNC]

    def weighted(self, weights_RG: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                self._scores(self.labels_N, rows_NC, self.group_of_N, weights_RG)
                for rows_NC in self.probabilities_VNC
            ]
        )

    def left_out(self) -> np.ndarray:
        groups_G = np.arange(self.group_of_N.max() + 1)
        parts = np.array_split(groups_G, len(groups_G) * len(self.group_of_N) // BLOCK + 1)
        each = [self.weighted(block_R[:, None] != groups_G) for block_R in parts]
        return np.concatenate(each, axis=1)

    def swapped(self, flips_RG: np.ndarray, pairs: Sequence[RunPair]) -> np.ndarray:
        # Both models' rows under one another: a swap gives weight to the one or the other.
        labels_M = np.tile(self.labels_N, 2)
        group_of_M = np.concatenate([self.group_of_N, self.group_of_N + flips_RG.shape[1]])
        own_RH = np.concatenate([~flips_RG, flips_RG], axis=1)
        other_RH = np.concatenate([flips_RG, ~flips_RG], axis=1)
        differences = []
        for first, second in pairs:
            each = []
            for v, w in _partners(first, second):
                rows_MC = np.concatenate([self.probabilities_VNC[v], self.probabilities_VNC[w]])
                score = [
                    self._scores(labels_M, rows_MC, group_of_M, weights_RH)
                    for weights_RH in (own_RH, other_RH)
                ]
                each.append(score[0] - score[1])
            differences.append(np.mean(each, axis=0))
        return np.stack(differences)

    def _scores(
        self,
        labels_N: np.ndarray,
        rows_NC: np.ndarray,
        group_of_N: np.ndarray,
        weights_RG: np.ndarray,
    ) -> np.ndarray:
        scored = [
            weighted_scores(labels_N, rows_NC, block_RG[:, group_of_N], self.names)[RANKED]
            for block_RG in _blocks(weights_RG, len(labels_N))
        ]
        return np.concatenate(scored)


def _partners(first: Sequence[int], second: Sequence[int]) -> Iterator[tuple[int, int]]:
    count = lcm(len(first), len(second))
    return islice(zip(cycle(first), cycle(second), strict=False), count)
