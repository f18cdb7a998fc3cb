"""How well numbers are predicted, with replicates that resample whole groups.

Rows of one group (a protein, a cluster of proteins) are alike, so what is drawn again is the group
and never the row. Nothing is drawn but how often each group counts, which depends on the number
of groups and the seed alone: whatever is scored on the same groups with the same seed is paired,
replicate by replicate.

Shape letters: N = rows, S = seeds (runs of the same method), G = groups, P = proteins, R =
weightings of the groups (the first is often all ones, the others replicates), K = sums.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from protemb.intervals import bootstrap_weights
from protemb.ranks import Order, centred, pearson, spearman, weighted_correlation

METRICS = ("pearson", "spearman", "rmse", "mae", "protein_pearson", "protein_spearman")
LEAST_ROWS = 10
"""Rows from which on a protein has a correlation of its own."""

_HELD = 2**21
"""Weights that are held at once."""
_TINY = 1e-12
"""A variance below this share of the mean square is rounding error of the sums."""


class GroupScore(NamedTuple):
    """Scores of the rows of one group; correlations are NaN where a column is constant."""

    group: Hashable
    rows: int
    pearson: float
    spearman: float
    rmse: float


def bootstrap_regression(
    values_N: np.ndarray,
    predicted_SN: np.ndarray,
    groups_N: np.ndarray,
    *,
    replicates: int,
    seed: int,
    weights_N: np.ndarray | None = None,
    metrics: Sequence[str] = METRICS,
    proteins_N: np.ndarray | None = None,
    ranked_replicates: int | None = None,
) -> dict[str, np.ndarray]:
    """Score predictions of one or more seeds, and again for every draw of groups.

    Each metric is computed for every seed and then averaged; it is NaN where a seed's is.

    - `pearson`, `spearman` (ties by midranks), `rmse` and `mae` are over all rows. A correlation
      is NaN where the values or the predictions are constant.
    - `protein_pearson` and `protein_spearman` are means over the proteins that have at least
      `LEAST_ROWS` rows and values that are not constant; in a replicate a protein counts as often
      as its group was drawn. Which proteins these are depends on the values alone, so that it is
      the same for everything that is compared: a protein whose predictions are all equal stays in,
      with a correlation of 0, for nothing was ranked. NaN where there is no such protein.

    Args:
        values_N: measured.
        predicted_SN: predictions of each seed.
        groups_N: what is resampled; any values.
        replicates: R. A single group cannot be resampled: R = 0 then.
        seed: of the draw.
        weights_N: of the rows, not negative; None for ones.
        metrics: any of `METRICS`.
        proteins_N: the proteins of `protein_pearson` and `protein_spearman`, each inside one
            group; None where the groups are the proteins.
        ranked_replicates: how many of the replicates, the first ones, `spearman` has, which costs
            a pass over all rows for each; None for all.

    Returns:
        An array of 1 + R for each metric: the value, then the replicates.

    Raises:
        ValueError: unknown metrics, shapes that do not fit, numbers that are not finite, or a
            protein in two groups.
    """
    groups_G, group_of_N = np.unique(groups_N, return_inverse=True)
    weights_RG = _drawn(len(groups_G), replicates, seed)
    few = 1 + (replicates if ranked_replicates is None else ranked_replicates)
    found = {}
    for metric in metrics:
        rows_RG = weights_RG[:few] if metric == "spearman" else weights_RG
        scores = regression_scores(
            values_N,
            predicted_SN,
            group_of_N,
            rows_RG,
            row_weights_N=weights_N,
            metrics=(metric,),
            proteins_N=proteins_N,
        )
        found[metric] = scores[metric].mean(0)
    return found


def regression_scores(
    values_N: np.ndarray,
    predicted_SN: np.ndarray,
    group_of_N: np.ndarray,
    weights_RG: np.ndarray,
    *,
    row_weights_N: np.ndarray | None = None,
    metrics: Sequence[str] = METRICS,
    proteins_N: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Score predictions of every seed under weightings of the groups.

    Args:
        values_N: measured.
        predicted_SN: of each seed.
        group_of_N: 0 to G - 1.
        weights_RG: how often each group counts.
        row_weights_N: see `weights_N` of `bootstrap_regression`, where the metrics are.
        metrics: any of `METRICS`.
        proteins_N: see `bootstrap_regression`.

    Returns:
        scores_SR for each metric; errors as `bootstrap_regression`.
    """
    weights_N = np.ones(len(values_N)) if row_weights_N is None else row_weights_N.astype(float)
    _check(values_N, predicted_SN, group_of_N, weights_N, metrics)
    values_N, predicted_SN = values_N.astype(np.float64), predicted_SN.astype(np.float64)
    draw = _Draw(group_of_N, weights_RG)
    found: dict[str, np.ndarray] = {}
    if {"pearson", "rmse", "mae"} & set(metrics):
        found |= _pooled(values_N, predicted_SN, weights_N, draw)
    if "spearman" in metrics:
        found["spearman"] = _ranked(values_N, predicted_SN, weights_N, draw)
    proteins_N = group_of_N if proteins_N is None else proteins_N
    for name, score in (("protein_pearson", pearson), ("protein_spearman", spearman)):
        if name in metrics:
            found[name] = _by_protein(score, values_N, predicted_SN, weights_N, proteins_N, draw)
    return {name: found[name] for name in metrics}


def per_group_scores(
    values_N: np.ndarray, predicted_N: np.ndarray, groups_N: np.ndarray, least: int = LEAST_ROWS
) -> list[GroupScore]:
    """Score every group of at least `least` rows by itself, in the order of the groups' names."""
    values_N, predicted_N = values_N.astype(np.float64), predicted_N.astype(np.float64)
    found = []
    for group, rows in _members(groups_N, least):
        x_N, y_N = values_N[rows], predicted_N[rows]
        columns, rmse = (x_N, y_N, np.ones(len(rows))), np.sqrt(np.mean((x_N - y_N) ** 2))
        scores = pearson(*columns), spearman(*columns), float(rmse)
        found.append(GroupScore(group, len(rows), *scores))
    return found


def _check(
    values_N: np.ndarray,
    predicted_SN: np.ndarray,
    groups_N: np.ndarray,
    weights_N: np.ndarray,
    metrics: Sequence[str],
) -> None:
    unknown = set(metrics) - set(METRICS)
    if unknown:
        raise ValueError(f"metrics: got {sorted(unknown)}, expected some of {', '.join(METRICS)}")
    n = len(values_N)
    if n == 0 or predicted_SN.ndim != 2 or predicted_SN.shape[1:] != (n,):
        raise ValueError(f"predicted_SN: got shape {predicted_SN.shape}, expected (seeds, {n})")
    if len(groups_N) != n or weights_N.shape != (n,):
        raise ValueError(f"groups_N and weights_N: expected {n} rows like values_N")
    if not all(np.isfinite(column).all() for column in (values_N, predicted_SN, weights_N)):
        raise ValueError("values_N, predicted_SN or weights_N: got numbers that are not finite")
    if (weights_N < 0).any() or not weights_N.any():
        raise ValueError("weights_N: expected none below 0 and some above")


class _Draw:
    """Rows' groups, and how often each group counts in each weighting."""

    def __init__(self, group_of_N: np.ndarray, weights_RG: np.ndarray) -> None:
        self.group_of_N, self._weights_RG = group_of_N, weights_RG
        self.groups = weights_RG.shape[1]

    def blocks(self, width: int) -> Iterator[np.ndarray]:
        """Blocks of weights_RG, of so many rows that each can become `width` numbers."""
        rows = max(1, _HELD // width)
        for start in range(0, len(self._weights_RG), rows):
            yield self._weights_RG[start : start + rows].astype(np.float64)

    def total(self, sums_GK: np.ndarray) -> np.ndarray:
        """Sums over the groups' rows, each as often as it counts: R x K."""
        return np.concatenate([weights_RG @ sums_GK for weights_RG in self.blocks(self.groups)])


@lru_cache(maxsize=2)
def _drawn(groups: int, replicates: int, seed: int) -> np.ndarray:
    """Weights of each group once, and then as it was drawn."""
    # Kept, as all cells of a grid are scored on the same draw.
    drawn_RG = bootstrap_weights(np.arange(groups), replicates=replicates, seed=seed)[1]
    weights_RG = np.concatenate([np.ones((1, groups), drawn_RG.dtype), drawn_RG])
    weights_RG.flags.writeable = False
    return weights_RG


def _pooled(
    values_N: np.ndarray, predicted_SN: np.ndarray, weights_N: np.ndarray, draw: _Draw
) -> dict[str, np.ndarray]:
    """Pearson, RMSE and MAE from weighted sums of each group."""
    x_N, y_SN = centred(values_N), centred(predicted_SN)
    error_SN = predicted_SN - values_N
    columns = (x_N[None], x_N[None] ** 2, y_SN, y_SN**2, x_N * y_SN, error_SN**2, abs(error_SN))
    sums_NK = np.concatenate([np.ones((1, len(x_N))), *columns]).T * weights_N[:, None]
    sums_GK = np.zeros((draw.groups, sums_NK.shape[1]))
    np.add.at(sums_GK, draw.group_of_N, sums_NK)
    total_RK = draw.total(sums_GK)
    with np.errstate(invalid="ignore", divide="ignore"):
        means_RK = total_RK[:, 1:] / total_RK[:, :1]
        x, xx = means_RK[:, 0:1], means_RK[:, 1:2]
        y, yy, xy, squares, sizes = np.split(means_RK[:, 2:], 5, axis=1)
        x_var, y_var = xx - x**2, yy - y**2
        r_RS = (xy - x * y) / np.sqrt(x_var * y_var)
    r_RS = np.where((x_var > _TINY * xx) & (y_var > _TINY * yy), r_RS, np.nan).clip(-1, 1)
    scores = {"pearson": r_RS, "rmse": np.sqrt(squares), "mae": sizes}
    return {name: score_RS.T for name, score_RS in scores.items()}


def _ranked(
    values_N: np.ndarray,
    predicted_SN: np.ndarray,
    weights_N: np.ndarray,
    draw: _Draw,
) -> np.ndarray:
    """Spearman's correlation over all rows."""
    truth, guesses = Order(values_N), [Order(predicted_N) for predicted_N in predicted_SN]
    found = []
    for weights_RG in draw.blocks(len(values_N)):
        weights_RN = weights_RG[:, draw.group_of_N] * weights_N
        truth_RN = truth.ranks(weights_RN)
        ranks = (guess.ranks(weights_RN) for guess in guesses)
        found.append([weighted_correlation(each, truth_RN, weights_RN) for each in ranks])
    return np.concatenate(found, axis=1)


def _by_protein(
    score: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    values_N: np.ndarray,
    predicted_SN: np.ndarray,
    weights_N: np.ndarray,
    proteins_N: np.ndarray,
    draw: _Draw,
) -> np.ndarray:
    """Mean of the proteins' own scores."""
    S = len(predicted_SN)
    sums_GK = np.zeros((draw.groups, S + 1))  # of each seed's scores, and number of proteins
    for protein, rows in _members(proteins_N, 1):
        group = draw.group_of_N[rows[0]]
        if (draw.group_of_N[rows] != group).any():
            raise ValueError(f"proteins_N: {protein!r} is in two groups")
        rows = rows[weights_N[rows] > 0]
        if len(rows) < LEAST_ROWS or np.ptp(values_N[rows]) == 0:
            continue
        scores_S = [score(values_N[rows], y_N[rows], weights_N[rows]) for y_N in predicted_SN]
        sums_GK[group] += [*np.nan_to_num(scores_S), 1]
    total_RK = draw.total(sums_GK)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total_RK[:, :S] / total_RK[:, S:]).T


def _members(groups_N: np.ndarray, least: int) -> Iterator[tuple[Hashable, np.ndarray]]:
    """Each group with at least so many rows, and its rows."""
    groups_G, sizes_G = np.unique(groups_N, return_counts=True)
    parts = np.split(np.argsort(groups_N, kind="stable"), np.cumsum(sizes_G)[:-1])
    for group, rows in zip(groups_G.tolist(), parts, strict=True):
        if len(rows) >= least:
            yield group, rows
