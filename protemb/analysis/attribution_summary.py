"""Attributions of many records: by class and position, and how far they are to be trusted.

Shape letters: M = records, L = residues of a record, C = classes, P = columns, G = groups,
R = bootstrap replicates, J = draws of untrained networks.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from protemb.analysis.means import plain_values
from protemb.intervals import Interval, bootstrap_weights, percentile_interval
from protemb.models.classifier import SequenceClassifier
from protemb.models.pooling import AttentionPooling

Values = Sequence[np.ndarray]
"""One array per record, a number per residue."""


@dataclass(frozen=True, eq=False)
class ClassProfile:
    """Means over the records of each class, column by column; NaN where no record has a residue.

    Attributes:
        labels: the classes, sorted.
        signed_CP: mean value: what speaks for (positive) and against the class that was explained.
        absolute_CP: mean of the absolute values: what matters, either way.
        counts_CP: residues that were averaged.
    """

    labels: tuple[str, ...]
    signed_CP: np.ndarray
    absolute_CP: np.ndarray
    counts_CP: np.ndarray

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "labels": list(self.labels),
            "signed": [plain_values(row_P.tolist()) for row_P in self.signed_CP],
            "absolute": [plain_values(row_P.tolist()) for row_P in self.absolute_CP],
            "counts": self.counts_CP.tolist(),
        }


@dataclass(frozen=True)
class Randomisation:
    """Rank correlation of a network's attributions with those of untrained networks.

    Near 1 the map shows what the architecture prefers, whatever was learned.

    Attributes:
        absolute: of the absolute values: does the map stand on the same residues?
        signed: of the values themselves.
        absolute_draws: the first number for each untrained network alone.
    """

    absolute: Interval
    signed: Interval
    absolute_draws: tuple[float, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "absolute": self.absolute.as_dict(),
            "signed": self.signed.as_dict(),
            "absolute_draws": plain_values(self.absolute_draws),
        }


def class_profile(
    values_ML: Values, labels_M: Sequence[str], columns_ML: Sequence[np.ndarray] | None = None
) -> ClassProfile:
    """Average attributions over the records of each class, at each column.

    Records that are identical each count: give one of each if they should not.

    Args:
        values_ML: attributions of each record.
        labels_M: class of each record.
        columns_ML: 0-based column of each residue of each record, such as its place in an
            alignment; negative leaves the residue out. Without it the column is the residue's own
            position, which fits proteins without insertions.

    Raises:
        ValueError: numbers of records or of residues that do not fit together.
    """
    if columns_ML is None:
        columns_ML = [np.arange(len(values_L)) for values_L in values_ML]
    sizes = [len(values_L) for values_L in values_ML]
    if len(labels_M) != len(sizes) or sizes != [len(columns_L) for columns_L in columns_ML]:
        raise ValueError("values, labels and columns of different records")
    labels, class_M = np.unique(np.asarray(labels_M), return_inverse=True)
    class_T = np.repeat(class_M, sizes)
    values_T, columns_T = np.concatenate(values_ML), np.concatenate(columns_ML)
    kept_T = columns_T >= 0
    C, P = len(labels), int(columns_T.max()) + 1
    cell_T = (class_T * P + columns_T)[kept_T]
    signed_CP, absolute_CP, counts_CP = (
        np.bincount(cell_T, part_T[kept_T], minlength=C * P).reshape(C, P)
        for part_T in (values_T, np.abs(values_T), np.ones(len(values_T)))
    )
    known_CP = np.where(counts_CP > 0, counts_CP, np.nan)
    return ClassProfile(
        tuple(labels.tolist()), signed_CP / known_CP, absolute_CP / known_CP, counts_CP.astype(int)
    )


def region_density(
    values_ML: Values,
    spans: Mapping[str, tuple[int, int]],
    groups_M: np.ndarray,
    columns_ML: Sequence[np.ndarray] | None = None,
    *,
    replicates: int = 2000,
    seed: int,
) -> dict[str, Interval]:
    """How much a residue of each region matters, 1 being an average residue of its chain.

    The mean absolute attribution of the region's residues by that of all residues with a column;
    the mean over the records that have both. Intervals resample groups of records.

    Args:
        values_ML: attributions of each record.
        spans: start and stop column of each region by name, 0-based, stop excluded.
        groups_M: group of each record.
        columns_ML: as in `class_profile`.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: numbers of records or of residues that do not fit together.
    """
    if columns_ML is None:
        columns_ML = [np.arange(len(values_L)) for values_L in values_ML]
    sizes = [len(values_L) for values_L in values_ML]
    if len(groups_M) != len(sizes) or sizes != [len(columns_L) for columns_L in columns_ML]:
        raise ValueError("values, groups and columns of different records")
    found = {}
    for name, (start, stop) in spans.items():
        density_M = np.full(len(values_ML), np.nan)
        for row, (values_L, columns_L) in enumerate(zip(values_ML, columns_ML, strict=True)):
            inside_L = (columns_L >= start) & (columns_L < stop)
            average = np.abs(values_L[columns_L >= 0]).mean() if (columns_L >= 0).any() else 0.0
            if inside_L.any() and average > 0:
                density_M[row] = np.abs(values_L[inside_L]).mean() / average
        found[name] = _group_mean(density_M, groups_M, replicates, seed)
    return found


def rank_agreement(
    first_ML: Values,
    second_ML: Values,
    groups_M: np.ndarray,
    *,
    absolute: bool = False,
    replicates: int = 2000,
    seed: int,
) -> Interval:
    """Mean over the records of Spearman's correlation along the chain.

    For instance of integrated gradients with occlusion. The interval resamples groups of
    records; records whose values are all equal have no correlation and are left out.

    Args:
        first_ML: attributions of each record.
        second_ML: other attributions of the same records.
        groups_M: group of each record, such as its cluster of similar sequences.
        absolute: compare the absolute values.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    correlations_M = _correlations(first_ML, second_ML, absolute)
    return _group_mean(correlations_M, groups_M, replicates, seed)


def randomisation_check(
    classifier: SequenceClassifier,
    attribute: Callable[[SequenceClassifier], Values],
    groups_M: np.ndarray,
    *,
    draws: int = 5,
    replicates: int = 2000,
    seed: int,
) -> Randomisation:
    """Compare a network's attributions with those of the same network before any training.

    The sanity check of Adebayo et al. (2018): all weights are drawn anew, as at the start of a
    training. A record's correlation is its mean over the draws; intervals resample groups of
    records, not draws, whose spread stands beside.

    Args:
        classifier: the trained network; it is not changed.
        attribute: gives the attributions of a network, always for the same records.
        groups_M: group of each record.
        draws: untrained networks J.
        replicates: of the bootstrap.
        seed: of the weights and the bootstrap.
    """
    trained_ML = attribute(classifier)
    absolute_JM, signed_JM = np.empty((2, draws, len(trained_ML)))
    for draw in range(draws):
        untrained_ML = attribute(untrained(classifier, seed=seed + draw))
        absolute_JM[draw] = _correlations(trained_ML, untrained_ML, True)
        signed_JM[draw] = _correlations(trained_ML, untrained_ML, False)
    options = (groups_M, replicates, seed)
    return Randomisation(
        _group_mean(absolute_JM.mean(0), *options),
        _group_mean(signed_JM.mean(0), *options),
        tuple(_mean(absolute_M) for absolute_M in absolute_JM),
    )


def untrained(classifier: SequenceClassifier, *, seed: int) -> SequenceClassifier:
    """Return a copy whose weights are drawn anew; torch's own random state stays as it is."""
    copy = deepcopy(classifier)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in copy.modules():
            if isinstance(module, AttentionPooling):
                nn.init.zeros_(module.query)
            elif reset := getattr(module, "reset_parameters", None):
                reset()
    return copy


def _correlations(first_ML: Values, second_ML: Values, absolute: bool) -> np.ndarray:
    """Spearman's correlation of each record; NaN where values are all equal."""
    pairs = zip(first_ML, second_ML, strict=True)
    return np.array(
        [
            _spearman(*((np.abs(first_L), np.abs(second_L)) if absolute else (first_L, second_L)))
            for first_L, second_L in pairs
        ]
    )


def _spearman(first_L: np.ndarray, second_L: np.ndarray) -> float:
    ranks_2L = rankdata(np.stack([first_L, second_L]), axis=1)
    ranks_2L -= ranks_2L.mean(1, keepdims=True)
    lengths = np.linalg.norm(ranks_2L, axis=1)
    return float(ranks_2L[0] @ ranks_2L[1] / lengths.prod()) if lengths.all() else np.nan


def _group_mean(values_M: np.ndarray, groups_M: np.ndarray, replicates: int, seed: int) -> Interval:
    """Mean of the defined values, with the interval over groups."""
    group_of_M, weights_RG = bootstrap_weights(groups_M, replicates=replicates, seed=seed)
    weights_RM = weights_RG[:, group_of_M] * ~np.isnan(values_M)
    totals_R = weights_RM.sum(1)
    sums_R = weights_RM @ np.nan_to_num(values_M)
    means_R = np.divide(sums_R, totals_R, out=np.full(len(sums_R), np.nan), where=totals_R > 0)
    return percentile_interval(_mean(values_M), means_R)


def _mean(values_M: np.ndarray) -> float:
    """Mean of the defined values; NaN where there are none."""
    defined = values_M[~np.isnan(values_M)]
    return float(defined.mean()) if len(defined) else np.nan
