"""Cells chosen and joined where they are not scored.

The best of many cells owes a part of its score to luck (the winner's curse; Cawley and Talbot
2010, J Mach Learn Res 11:2079). Here everything that is chosen for an outer fold, be it a cell, a
number of cells or weights, is chosen on predictions of models that never saw that fold, and then
used on it (nested folds: Varma and Simon 2006, BMC Bioinformatics 7:91).

Shape letters: F = outer folds, V = cells, N = rows of the table, M = rows outside one outer fold,
K = numbers of cells, R = the score and its bootstrap replicates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

SIZES = (2, 3, 5, 10)  # numbers of cells that `average_of_best` chooses from


def pearson(
    predictions_VN: np.ndarray, values_N: np.ndarray, weights_N: np.ndarray | None = None
) -> np.ndarray:
    """Return Pearson's r of each row with the values; NaN where either is constant.

    >>> pearson(np.array([[1.0, 2, 3], [3, 2, 1], [5, 5, 5]]), np.array([1.0, 2, 3])).round(6)
    array([ 1., -1., nan])
    """
    share_N = np.ones(len(values_N)) if weights_N is None else weights_N
    share_N = share_N / share_N.sum()
    x = predictions_VN - (predictions_VN @ share_N)[..., None]
    y = values_N - values_N @ share_N
    # Asked of the numbers: rounding leaves a constant with a little variance.
    constant = (np.ptp(predictions_VN, axis=-1) == 0) | (np.ptp(values_N) == 0)
    size = np.sqrt((x * x) @ share_N * (y * y @ share_N))
    return np.divide(
        x @ (y * share_N), size, out=np.full(size.shape, np.nan), where=~constant & (size > 0)
    )


@dataclass(frozen=True, eq=False)
class Choice:
    """One cell chosen for each outer fold, and what its score is worth.

    `choosing_F` are the chosen cells' scores on the rows that chose them, `untouched_F` on the
    fold that did not (NaN where it is too small to say); one fold's score lacks the differences
    between folds, so compare the mean of `choosing_F` with `honest`, the score of all untouched
    predictions taken together. `naive` is the score of the cell that is best on the very rows
    that it is reported on.
    """

    names_F: tuple[str, ...]
    predictions_N: np.ndarray
    choosing_F: np.ndarray
    untouched_F: np.ndarray
    honest: float
    naive_name: str
    naive: float

    @property
    def choosing(self) -> float:
        """Mean score on the choosing rows: it promises `choosing - honest` too much."""
        return float(self.choosing_F.mean())


def choose(
    inner_FVN: np.ndarray,
    outer_VN: np.ndarray,
    fold_N: np.ndarray,
    values_N: np.ndarray,
    names: Sequence[str],
    weights_N: np.ndarray | None = None,
) -> Choice:
    """Choose the best cell for each outer fold on the rows outside it.

    Args:
        inner_FVN: `[f, v, n]` is the prediction of cell v for row n by models that saw neither
            the outer fold f nor the row's own fold; means over seeds will do. NaN on fold f.
        outer_VN: predictions by models that did not see the row's fold.
        fold_N: 0 to F - 1.
        values_N: what is predicted.
        names: of the V cells, distinct.
        weights_N: of the rows; None for ones.

    Raises:
        ValueError: arrays that do not fit together, fewer than three folds, or NaN elsewhere.
    """
    weights_N = np.ones(len(values_N)) if weights_N is None else weights_N
    grid = _Grid(inner_FVN, outer_VN, fold_N, values_N, names, weights_N)
    made = _run(_best, grid)
    naive_V = pearson(outer_VN, values_N, weights_N)
    naive = _largest(naive_V)
    return Choice(
        names_F=tuple(next(iter(members)) for members in made["members_F"]),
        predictions_N=made["predictions_N"],
        choosing_F=made["choosing_F"],
        untouched_F=made["untouched_F"],
        honest=float(pearson(made["predictions_N"][None], values_N, weights_N)[0]),
        naive_name=names[naive],
        naive=float(naive_V[naive]),
    )


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Honest predictions of one strategy.

    `members_F` gives each outer fold's cells with their weights, `facts_F` what the strategy says
    of its choice there, `choosing_F` and `untouched_F` Pearson's r as in `Choice`.
    """

    predictions_N: np.ndarray
    members_F: tuple[Mapping[str, float], ...]
    facts_F: tuple[Mapping[str, float], ...]
    choosing_F: np.ndarray
    untouched_F: np.ndarray


def ensembles(
    inner_FVN: np.ndarray,
    outer_VN: np.ndarray,
    fold_N: np.ndarray,
    values_N: np.ndarray,
    names: Sequence[str],
    *,
    weights_N: np.ndarray | None = None,
) -> dict[str, Ensemble]:
    """Join cells by every strategy of `STRATEGIES`, all chosen inside the nested folds.

    Arguments and errors are those of `choose`.
    """
    weights_N = np.ones(len(values_N)) if weights_N is None else weights_N
    grid = _Grid(inner_FVN, outer_VN, fold_N, values_N, names, weights_N)
    return {name: Ensemble(**_run(strategy, grid)) for name, strategy in STRATEGIES.items()}


@dataclass(frozen=True, eq=False)
class _Grid:
    """The arguments of `choose`, checked."""

    inner_FVN: np.ndarray
    outer_VN: np.ndarray
    fold_N: np.ndarray
    values_N: np.ndarray
    names: Sequence[str]
    weights_N: np.ndarray

    def __post_init__(self) -> None:
        F, V, N = self.inner_FVN.shape
        shapes = (self.outer_VN.shape, self.fold_N.shape, self.values_N.shape, (len(self.names),))
        if shapes != ((V, N), (N,), (N,), (V,)) or len(set(self.names)) != V:
            raise ValueError(f"{V} cells and {N} rows: got {shapes}, or names that come twice")
        if F < 3 or not np.array_equal(np.unique(self.fold_N), np.arange(F)):
            raise ValueError(f"fold_N: expected 0 to {F - 1}, all there, and three or more")
        known_FN = np.isfinite(self.inner_FVN).all(1) | (self.fold_N == np.arange(F)[:, None])
        if not known_FN.all() or not np.isfinite(np.vstack([self.outer_VN, self.values_N])).all():
            raise ValueError("predictions or values: got some that are not finite")


@dataclass(frozen=True, eq=False)
class _Blend:
    """A sum of cells with weights, plus a constant, and what is known of it."""

    weights_V: np.ndarray
    constant: float = 0.0
    facts: Mapping[str, float] = field(default_factory=dict)

    def of(self, predictions_VN: np.ndarray) -> np.ndarray:
        return self.weights_V @ predictions_VN + self.constant


Strategy = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], _Blend]
"""Sees inner_VM, values_M, weights_M and fold_M: what there is outside one outer fold."""


def _best(
    inner_VM: np.ndarray, values_M: np.ndarray, weights_M: np.ndarray, _: np.ndarray
) -> _Blend:
    """The best cell alone."""
    return _mean_of([_largest(pearson(inner_VM, values_M, weights_M))], len(inner_VM))


def _average_of_best(
    inner_VM: np.ndarray, values_M: np.ndarray, weights_M: np.ndarray, fold_M: np.ndarray
) -> _Blend:
    """The mean of the k best cells; k is what does best on folds that did not rank the cells."""
    V = len(inner_VM)
    sizes_K = [size for size in SIZES if size <= V] or [V]
    joined_KM = np.empty((len(sizes_K), len(values_M)))
    for fold in np.unique(fold_M):
        out_M = fold_M == fold
        ranked_V = _ranked(pearson(inner_VM[:, ~out_M], values_M[~out_M], weights_M[~out_M]))
        for place, size in enumerate(sizes_K):
            joined_KM[place, out_M] = inner_VM[ranked_V[:size]][:, out_M].mean(0)
    k = sizes_K[_largest(pearson(joined_KM, values_M, weights_M))]
    ranked_V = _ranked(pearson(inner_VM, values_M, weights_M))
    return replace(_mean_of(ranked_V[:k], V), facts={"k": k})


def _stack(
    inner_VM: np.ndarray, values_M: np.ndarray, weights_M: np.ndarray, _: np.ndarray
) -> _Blend:
    """Non-negative least squares on standardised predictions (Breiman 1996, Mach Learn 24:49)."""
    scaler = StandardScaler().fit(inner_VM.T, sample_weight=weights_M)
    scaled_MV = scaler.transform(inner_VM.T)
    fitted = LinearRegression(positive=True).fit(scaled_MV, values_M, weights_M)
    weights_V = fitted.coef_ / scaler.scale_
    constant = float(fitted.intercept_ - weights_V @ scaler.mean_)
    return _Blend(weights_V, constant, {"constant": constant})


def _pair(
    inner_VM: np.ndarray, values_M: np.ndarray, weights_M: np.ndarray, fold_M: np.ndarray
) -> _Blend:
    """The two cells whose mean has the largest r, among all pairs.

    r of a mean is large where both cells are good and their errors differ: with equal scores and
    variances it is r * sqrt(2 / (1 + correlation of the two)).
    """
    V = len(inner_VM)
    covariance = np.cov(np.vstack([inner_VM, values_M]), aweights=weights_M)
    with_values_V, own_V = covariance[:V, V], covariance.diagonal()[:V]
    variance_VV = own_V[:, None] + own_V + 2 * covariance[:V, :V]
    variance_VV[~np.triu(variance_VV > 1e-12 * own_V.max(), 1)] = np.nan
    # r but for the values' own deviation, which all pairs share.
    ratio_VV = (with_values_V[:, None] + with_values_V) / np.sqrt(variance_VV)
    first, second = divmod(_largest(ratio_VV.ravel()), V)
    if first == second:  # no pair has a score
        return _best(inner_VM, values_M, weights_M, fold_M)
    blend = _mean_of([first, second], V)
    shown = np.vstack([inner_VM[[first, second]], blend.of(inner_VM)])
    scores = pearson(shown, values_M, weights_M).tolist()
    between = float(pearson(inner_VM[[first]], inner_VM[second], weights_M)[0])
    names = ("first", "second", "mean", "correlation")
    return replace(blend, facts=dict(zip(names, [*scores, between], strict=True)))


STRATEGIES: Mapping[str, Strategy] = {
    "best": _best,
    "average_of_best": _average_of_best,
    "stack": _stack,
    "pair": _pair,
    "average_of_all": lambda inner_VM, *_: _mean_of(range(len(inner_VM)), len(inner_VM)),
}


def _run(strategy: Strategy, grid: _Grid) -> dict[str, Any]:
    predictions_N = np.empty(len(grid.values_N))
    members, facts, choosing, untouched = [], [], [], []
    for fold, inner_VN in enumerate(grid.inner_FVN):
        here_N = grid.fold_N == fold
        inner_VM, values_M = inner_VN[:, ~here_N], grid.values_N[~here_N]
        weights_M = grid.weights_N[~here_N]
        blend = strategy(inner_VM, values_M, weights_M, grid.fold_N[~here_N])
        predictions_N[here_N] = blend.of(grid.outer_VN[:, here_N])
        weights = zip(grid.names, blend.weights_V.tolist(), strict=True)
        members.append({name: weight for name, weight in weights if weight})
        facts.append(blend.facts)
        choosing.append(pearson(blend.of(inner_VM)[None], values_M, weights_M)[0])
        there = predictions_N[None, here_N], grid.values_N[here_N], grid.weights_N[here_N]
        untouched.append(pearson(*there)[0])
    return {
        "predictions_N": predictions_N,
        "members_F": tuple(members),
        "facts_F": tuple(facts),
        "choosing_F": np.array(choosing),
        "untouched_F": np.array(untouched),
    }


def _mean_of(cells: Sequence[int] | np.ndarray, V: int) -> _Blend:
    weights_V = np.zeros(V)
    weights_V[list(cells)] = 1 / len(cells)
    return _Blend(weights_V)


def _ranked(scores_V: np.ndarray) -> np.ndarray:
    """Cells from the best down; the first of equals first, NaN last."""
    return np.argsort(-np.nan_to_num(scores_V, nan=-np.inf), kind="stable")


def _largest(scores_V: np.ndarray) -> int:
    return int(np.nan_to_num(scores_V, nan=-np.inf).argmax())
