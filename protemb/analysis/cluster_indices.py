"""Silhouette and Davies-Bouldin index of labelled vectors, with intervals and permutations.

Both are computed for many weightings or labellings of the same records at once.

Shape letters: K = records, D = features, C = classes, G = groups, R = bootstrap replicates or
permutations, B = some of them, J = records of one class.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from protemb.intervals import Interval, bootstrap_weights, percentile_interval

# Replicates made at a time: their arrays stay in the processor's cache.
BLOCK = 64
TINY = 1e-12


@dataclass(frozen=True)
class Index:
    """A cluster index, its interval, and what labels dealt to the groups at random would give.

    Attributes:
        interval: the index; NaN where it is undefined.
        p_value: share of the permutations that separate as well or better, the data counted as
            one of them; NaN without permutations, or where the index is undefined.
        null_low: lower end of the middle 95 % of the permutations.
        null_high: upper end of the same.
    """

    interval: Interval
    p_value: float
    null_low: float
    null_high: float

    def as_dict(self) -> dict[str, float | None]:
        """Plain numbers for JSON, which has no NaN: None stands for it."""
        null = {name: x for name, x in asdict(self).items() if name != "interval"}
        return self.interval.as_dict() | {
            name: None if math.isnan(x) else x for name, x in null.items()
        }


# The index under each of B labellings_KB and weightings_KB of the records; NaN where undefined.
_Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cluster_indices(
    vectors_KD: np.ndarray,
    labels_K: np.ndarray,
    groups_K: np.ndarray,
    *,
    permutations: int = 200,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[Index, Index]:
    """Silhouette (Rousseeuw 1987) and Davies-Bouldin index (Davies and Bouldin 1979).

    The values are scikit-learn's, in Euclidean space; but Davies-Bouldin is undefined, not
    perfect, where two classes share a centroid. Time and memory grow with K squared.

    Intervals resample groups, with a correction for each index:

    * A group drawn twice stands for two groups of the population, yet its copies lie at distance
      0 and make a class look denser than it is. So the silhouette of a record takes no notice of
      further copies of the record's own group.
    * Resampling adds noise to centroids that are noisy already, and so moves them apart. The
      replicates of Davies-Bouldin are scaled so that their median is the value: the interval
      tells how much the value varies, not how far few records bias it.

    A permutation (`permuted_labels`) gives every group the labels of another one. With classes of
    unequal width a silhouette can lie below its permutations: the members of a wide class are
    nearer to a narrow one than to each other, however well the classes come apart.

    Args:
        vectors_KD: finite numbers.
        labels_K: class of each record, from 0; below two classes both indices are undefined.
        groups_K: records with equal values are one observation.
        permutations: of the labels between groups.
        replicates: of the bootstrap.
        seed: of both.

    Returns:
        The silhouette (-1 to 1, higher is better) and Davies-Bouldin (0 and above, lower is
        better).
    """
    from scipy.spatial.distance import pdist, squareform

    vectors_KD = vectors_KD.astype(np.float64)
    classes, labels_K = np.unique(labels_K, return_inverse=True)
    C = len(classes)
    group_of_K, weights_RG = bootstrap_weights(groups_K, replicates=replicates, seed=seed)
    # Differences, not a product of the vectors: identical ones are at distance 0, not near it.
    distances_KK = squareform(pdist(vectors_KD))
    # Twins are the records of one group.
    twins_KK = group_of_K[:, None] == group_of_K
    of_class_KC = np.eye(C)[labels_K]
    twins = (distances_KK * twins_KK) @ of_class_KC, twins_KK @ of_class_KC
    shifted_KD = vectors_KD - vectors_KD[0]  # small numbers lose fewer digits

    def silhouette(labels_KB: np.ndarray, weights_KB: np.ndarray) -> np.ndarray:
        return _silhouette(distances_KK, twins, labels_KB, weights_KB, C)

    def davies_bouldin(labels_KB: np.ndarray, weights_KB: np.ndarray) -> np.ndarray:
        return _davies_bouldin(shifted_KD, labels_KB, weights_KB, C)

    weights_KR = weights_RG.T[group_of_K].astype(np.float64)
    permuted_KR = permuted_labels(labels_K, group_of_K, permutations, np.random.default_rng(seed))
    return (
        _index(silhouette, labels_K, weights_KR, permuted_KR, lower_is_better=False),
        _index(davies_bouldin, labels_K, weights_KR, permuted_KR, lower_is_better=True),
    )


def _index(
    measure: _Measure,
    labels_K: np.ndarray,
    weights_KR: np.ndarray,
    permuted_KR: np.ndarray,
    *,
    lower_is_better: bool,
) -> Index:
    once_K1 = np.ones((len(labels_K), 1))
    labels_K1 = labels_K[:, None]
    value = float(measure(labels_K1, once_K1)[0])
    replicates_R = _in_blocks(
        lambda weights_KB: measure(np.broadcast_to(labels_K1, weights_KB.shape), weights_KB),
        weights_KR,
    )
    if lower_is_better and np.isfinite(replicates_R).any():
        replicates_R = replicates_R * (value / np.nanmedian(replicates_R))
    null_R = _in_blocks(
        lambda labels_KB: measure(labels_KB, np.broadcast_to(once_K1, labels_KB.shape)),
        permuted_KR,
    )
    interval = percentile_interval(value, replicates_R)
    if math.isnan(value) or not np.isfinite(null_R).any():
        return Index(interval, math.nan, math.nan, math.nan)
    sign = -1 if lower_is_better else 1
    # Written so that a permutation without an index counts against the data.
    reached = int((~(sign * null_R < sign * value - TINY)).sum())
    low, high = np.nanquantile(null_R, [0.025, 0.975])
    return Index(interval, (1 + reached) / (1 + len(null_R)), float(low), float(high))


def _in_blocks(measure: Callable[[np.ndarray], np.ndarray], columns_KR: np.ndarray) -> np.ndarray:
    R = columns_KR.shape[1]
    blocks = [measure(columns_KR[:, start : start + BLOCK]) for start in range(0, R, BLOCK)]
    return np.concatenate([np.empty(0), *blocks])


def permuted_labels(
    labels_K: np.ndarray, group_of_K: np.ndarray, permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Return labels_KR; in each column every group has the labels of another, drawn for it.

    Where the other has more or fewer records, its labels are thinned or repeated evenly.

    Args:
        labels_K: class of each record.
        group_of_K: group of each record, 0 to G - 1.
        permutations: R.
        rng: draws them.

    >>> labels, groups = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 1])
    >>> labels_KR = permuted_labels(labels, groups, 9, np.random.default_rng(0))
    >>> sorted(set(map(tuple, labels_KR.T.tolist())))
    [(0, 0, 0, 1), (1, 1, 1, 0)]
    """
    order_K = np.lexsort((labels_K, group_of_K))
    sizes_G = np.bincount(group_of_K)
    starts_G = np.cumsum(sizes_G) - sizes_G
    sorted_K, groups_K = labels_K[order_K], group_of_K[order_K]
    rank_K = np.arange(len(labels_K)) - starts_G[groups_K]
    labels_KR = np.empty((len(labels_K), permutations), labels_K.dtype)
    for r in range(permutations):
        giver_K = rng.permutation(len(sizes_G))[groups_K]
        picks_K = (2 * rank_K + 1) * sizes_G[giver_K] // (2 * sizes_G[groups_K])
        labels_KR[order_K, r] = sorted_K[starts_G[giver_K] + picks_K]
    return labels_KR


def _silhouette(
    distances_KK: np.ndarray,
    twins: tuple[np.ndarray, np.ndarray],
    labels_KB: np.ndarray,
    weights_KB: np.ndarray,
    C: int,
) -> np.ndarray:
    """Return silhouette_B of weighted records.

    Args:
        distances_KK: between the records.
        twins: sums_KC of the distances to records of the same group, by class, and their number;
            of the labels that come with weights other than 1.
        labels_KB: class of each record.
        weights_KB: how often each record is there; records of a group equally often.
        C: number of classes.
    """
    own_KB, other_KB = np.zeros(weights_KB.shape), np.full(weights_KB.shape, np.inf)
    classes_B = np.zeros(weights_KB.shape[1])
    copies_KB = weights_KB - 1.0
    for c in range(C):
        member_KB = labels_KB == c
        weight_KB = weights_KB * member_KB
        rows = np.flatnonzero(weight_KB.any(1))
        classes_B += weight_KB.any(0)
        sums_KB = distances_KK[:, rows] @ weight_KB[rows] - copies_KB * twins[0][:, c, None]
        counts_KB = weight_KB.sum(0) - copies_KB * twins[1][:, c, None]
        counts_KB -= member_KB  # a record is no neighbour of its own
        with np.errstate(invalid="ignore", divide="ignore"):  # no record to be near to
            means_KB = np.where(counts_KB > 0, sums_KB / counts_KB, np.inf)
        own_KB[member_KB] = means_KB[member_KB]
        other_KB = np.where(member_KB, other_KB, np.minimum(other_KB, means_KB))
    with np.errstate(invalid="ignore"):
        scores_KB = (other_KB - own_KB) / np.maximum(own_KB, other_KB)
    # A record alone in its class (inf / inf), or with all others at its place (0 / 0).
    scores_KB[~np.isfinite(scores_KB)] = 0
    silhouette_B = (weights_KB * scores_KB).sum(0) / weights_KB.sum(0)
    return np.where(classes_B > 1, silhouette_B, np.nan)


def _davies_bouldin(
    vectors_KD: np.ndarray, labels_KB: np.ndarray, weights_KB: np.ndarray, C: int
) -> np.ndarray:
    """Return davies_bouldin_B of weighted records."""
    B, D = weights_KB.shape[1], vectors_KD.shape[1]
    centroids_CBD, scatter_CB = np.zeros((C, B, D)), np.full((C, B), np.nan)
    for c in range(C):
        weight_KB = weights_KB * (labels_KB == c)
        rows = np.flatnonzero(weight_KB.any(1))
        vectors_JD, weight_JB = vectors_KD[rows], weight_KB[rows]
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: a class without records
            shares_JB = weight_JB / weight_JB.sum(0)
        centroids_CBD[c] = shares_JB.T @ vectors_JD
        squares_JB = (vectors_JD**2).sum(1)[:, None] - 2 * vectors_JD @ centroids_CBD[c].T
        squares_JB += (centroids_CBD[c] ** 2).sum(1)
        scatter_CB[c] = (shares_JB * np.sqrt(squares_JB.clip(0))).sum(0)
    there_CB = np.isfinite(centroids_CBD[..., 0])
    same = TINY * np.abs(vectors_KD).max()  # no gap but rounding
    ratios_CB = np.full((C, B), -np.inf)
    for c in range(C):
        gaps_CB = np.sqrt(((centroids_CBD - centroids_CBD[c]) ** 2).sum(2))
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio_CB = np.where(gaps_CB > same, (scatter_CB + scatter_CB[c]) / gaps_CB, np.inf)
        ratio_CB[~there_CB] = -np.inf
        ratio_CB[c] = -np.inf
        ratios_CB[c] = ratio_CB.max(0)
    worst_B = np.where(there_CB, ratios_CB, 0).sum(0) / np.maximum(there_CB.sum(0), 1)
    return np.where(np.isfinite(worst_B) & (there_CB.sum(0) > 1), worst_B, np.nan)
