"""Scores of every cell, with intervals over proteins, and what each adds to the baseline.

Shape letters: N = rows of the table, S = seeds, G = groups, R = weightings of the groups,
C = classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from protemb.analysis.estimates import Estimate
from protemb.analysis.resampling import part_scores
from protemb.analysis.significance import holm
from protemb.intervals import Interval, bootstrap_weights
from protemb.regression_scores import regression_scores
from protemb.scores import BLOCK, score_bounds
from protemb.variants.table import VariantTable

LEVEL = 0.95
VALUE_METRICS = ("pearson", "spearman", "rmse", "mae", "protein_pearson", "protein_spearman")
LABEL_METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "mcc", "log_loss")
LOWER_IS_BETTER = ("rmse", "mae", "log_loss")
SLOW = ("spearman", "protein_spearman")
"""Ranks change with the weights: fewer replicates are enough for the interval's shape."""
SLOW_REPLICATES = 200
CORRELATIONS = ("pearson", "spearman")
ROUNDING = 1e-12
MOST_UNITS = 4_000
"""More groups than these are resampled in so many random sets, each of about the same number."""


class Targets(Protocol):
    """What predictions are scored against: a table of variants, or anything that has these.

    Attributes are those of `VariantTable`; `proteins_N` is what scores within proteins are of.
    """

    @property
    def values_N(self) -> np.ndarray | None: ...
    @property
    def labels_N(self) -> np.ndarray | None: ...
    @property
    def label_names(self) -> tuple[str, ...]: ...
    @property
    def weights_N(self) -> np.ndarray: ...
    @property
    def proteins_N(self) -> np.ndarray: ...


def main_metric(table: Targets) -> str:
    """The score that a table's cells are compared by."""
    return VALUE_METRICS[0] if table.values_N is not None else LABEL_METRICS[0]


def metrics_of(table: Targets) -> tuple[str, ...]:
    """All scores of a table's cells."""
    return VALUE_METRICS if table.values_N is not None else LABEL_METRICS


def is_bare(table: VariantTable) -> bool:
    """Whether there is nothing but vectors to predict from: no mutations and no covariates."""
    return not table.has_mutations and not table.covariates


def trivial_predictions(table: Targets, seeds: int) -> np.ndarray:
    """What can be said without looking: the mean value, or the shares of the classes.

    They are those of all rows, so that they are the same for every row. The mean (or majority) of
    a row's training folds is below its average wherever its own fold is above: it would correlate
    negatively with the targets, and whatever is compared with it would look better than it is.

    Returns:
        predicted_SN, or probabilities_SNC of labels.
    """
    if table.labels_N is None:
        assert table.values_N is not None
        mean = np.average(table.values_N, weights=table.weights_N)
        return np.full((seeds, len(table.values_N)), mean)
    share_C = np.bincount(table.labels_N, table.weights_N, len(table.label_names))
    return np.tile(share_C / share_C.sum(), (seeds, len(table.labels_N), 1))


class Scorer:
    """Scores predictions of one table; every prediction under the same draw of groups.

    Args:
        table: values or labels, and weights of the rows.
        units_N: what is resampled; the groups that folds kept together, or single rows.
        replicates: bootstrap replicates.
    """

    def __init__(self, table: Targets, units_N: np.ndarray, replicates: int) -> None:
        self.table = table
        units_N = _at_most(units_N, MOST_UNITS)
        self.unit_of_N, weights_RG = bootstrap_weights(units_N, replicates=replicates, seed=0)
        self.units = int(self.unit_of_N.max()) + 1
        pairs = zip(table.proteins_N.tolist(), self.unit_of_N.tolist(), strict=True)
        # Sites of a protein, say: then no draw of units is one of whole proteins.
        self.parted = len(set(pairs)) > len(set(table.proteins_N.tolist()))
        ones_G = np.ones((1, self.units))
        # All groups, then replicates, then all groups but one.
        self.weights_RG = np.concatenate([ones_G, weights_RG, ones_G - np.eye(self.units)])

    def estimate(self, predicted: np.ndarray, metric: str) -> Estimate:
        """One score of the predictions of all seeds.

        Args:
            predicted: predicted_SN, or probabilities_SNC of labels.
            metric: its name.
        """
        table = self.table
        if table.labels_N is not None:
            return self._estimate(self._label_scores(table.labels_N, predicted, metric))
        assert table.values_N is not None
        return self.correlate(table.values_N, predicted, metric)

    def correlate(self, values_N: np.ndarray, predicted_SN: np.ndarray, metric: str) -> Estimate:
        """A score of predictions against any values of the table's rows.

        Predictions that are all equal rank nothing: their correlation counts as 0.
        """
        weights_RG = self.weights_RG
        if metric.startswith("protein_") and self.parted:
            return self._estimate(np.full((len(predicted_SN), len(weights_RG)), np.nan))
        if metric in CORRELATIONS and (predicted_SN == predicted_SN[:, :1]).all():
            return self._estimate(np.zeros((len(predicted_SN), len(weights_RG))))
        if metric in SLOW:
            last = len(weights_RG) - self.units
            few = min(1 + SLOW_REPLICATES, last)
            weights_RG = np.concatenate([weights_RG[:few], weights_RG[last:]])
        scores_SR = regression_scores(
            values_N,
            predicted_SN,
            self.unit_of_N,
            weights_RG,
            row_weights_N=self.table.weights_N,
            metrics=(metric,),
            proteins_N=self.table.proteins_N,
        )[metric]
        return self._estimate(scores_SR)

    def mean(self, columns_SN: np.ndarray) -> Estimate:
        """The mean over rows of each seed's numbers."""
        rows_N = self.table.weights_N
        sums_SG = np.stack(
            [np.bincount(self.unit_of_N, row_N * rows_N, self.units) for row_N in columns_SN]
        )
        counts_G = np.bincount(self.unit_of_N, rows_N, self.units)
        return self._estimate((sums_SG @ self.weights_RG.T) / (self.weights_RG @ counts_G))

    def _label_scores(
        self, labels_N: np.ndarray, probabilities_SNC: np.ndarray, metric: str
    ) -> np.ndarray:
        """Scores_SR; rows that do not all weigh the same are weighted one by one."""
        rows_N = self.table.weights_N
        equal = (rows_N == rows_N[0]).all()
        part_of_N = self.unit_of_N if equal else np.arange(len(rows_N))
        names = self.table.label_names
        found = part_scores(labels_N, list(probabilities_SNC), part_of_N, names, metric)
        if equal:
            return found.weighted(self.weights_RG)
        blocks = np.array_split(
            self.weights_RG, 1 + self.weights_RG.shape[0] * len(rows_N) // BLOCK
        )
        return np.concatenate(
            [found.weighted(block_RG[:, self.unit_of_N] * rows_N) for block_RG in blocks], axis=1
        )

    def _estimate(self, scores_SR: np.ndarray) -> Estimate:
        # A constant prediction's recalls are the same in every replicate, but for rounding.
        same_SR = np.abs(scores_SR - scores_SR[:, :1]) < ROUNDING
        scores_SR = np.where(same_SR, scores_SR[:, :1], scores_SR)
        last = scores_SR.shape[1] - self.units
        return Estimate.of_runs(scores_SR[:, 0], scores_SR[:, 1:last], scores_SR[:, last:])


def _at_most(units_N: np.ndarray, most: int) -> np.ndarray:
    """The units, or random sets of whole units where there are more of them."""
    names, unit_of_N = np.unique(units_N, return_inverse=True)
    if len(names) <= most:
        return units_N
    return (np.random.default_rng(0).permutation(len(names)) % most)[unit_of_N]


def interval(estimate: Estimate, metric: str) -> Interval:
    """The estimate's 95 % interval, without ends that the score cannot have."""
    return estimate.interval(LEVEL)[0].within(*_bounds(metric))


def _bounds(metric: str) -> tuple[float, float]:
    if metric.removeprefix("protein_") in CORRELATIONS:
        return -1.0, 1.0
    return (0.0, math.inf) if metric in VALUE_METRICS else score_bounds(metric)


@dataclass(frozen=True)
class Contrast:
    """What a cell adds to the baseline.

    Attributes:
        difference: of the main score, paired, with its 95 % interval.
        corrected: the same with the interval that holds over all cells of the grid (Holm 1979).
        p: two-sided.
        p_holm: corrected for all cells.
    """

    difference: Interval
    corrected: Interval
    p: float
    p_holm: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "difference": self.difference.as_dict(),
            "corrected": self.corrected.as_dict(),
            "p": None if math.isnan(self.p) else self.p,
            "p_holm": None if math.isnan(self.p_holm) else self.p_holm,
        }

    @property
    def marked(self) -> bool:
        """Whether the corrected interval leaves zero out."""
        return self.corrected.low > 0 or self.corrected.high < 0


def contrasts(estimates: Mapping[str, Estimate], baseline: Estimate) -> dict[str, Contrast]:
    """Compare every cell with the baseline, corrected for their number.

    Holm's method goes from the smallest p on: the k-th of M is judged at the level of M - k + 1
    comparisons, and only if all before it held. A cell's corrected interval has that level; from
    the first that failed on, all have the level at which it failed.
    """
    names = list(estimates)
    differences = [estimates[name] - baseline for name in names]
    found = [each.interval(LEVEL) for each in differences]
    p_Q = np.array([p for _, p in found])
    corrected_Q = holm(p_Q)
    counted = int(np.isfinite(p_Q).sum())
    rank_Q = np.empty(len(p_Q), int)
    rank_Q[np.argsort(p_Q)] = np.arange(len(p_Q))
    held = int((corrected_Q <= 1 - LEVEL).sum())
    results = {}
    for q, name in enumerate(names):
        factor = max(counted - min(int(rank_Q[q]), held), 1)
        wide = differences[q].interval(1 - (1 - LEVEL) / factor, shape=LEVEL)[0]
        results[name] = Contrast(found[q][0], wide, float(p_Q[q]), float(corrected_Q[q]))
    return results


def share_of_largest(groups_N: Sequence[str] | np.ndarray, count: int = 3) -> float:
    """Share of the rows that the largest groups hold."""
    _, sizes_G = np.unique(np.asarray(groups_N), return_counts=True)
    return float(np.sort(sizes_G)[::-1][:count].sum() / sizes_G.sum())
