"""The nearest vectors of a table, exactly, in blocks.

Products of blocks in float32 find candidates: every row whose score, give or take the largest error
that such a product can have, may be among the best. Their scores are then computed in float64, row
by row, so that equal vectors have equal scores and ties go to the smaller index.

Shape letters: N = rows of the table, M = queries, D = features, k = neighbours, B = rows of a
block, Q = queries of a block, C = candidates (pairs of a query and a row).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from protemb.errors import ConfigError, MissingExtra

METRICS = ("cosine", "euclidean", "dot")
BLOCK = 8192
"""Rows of the table in one product."""
QUERIES = 512
"""Queries in one product: 16 MiB with a full block."""

# Largest relative rounding error of a float32 operation, and what underflow can lose.
_ROUNDING, _UNDERFLOW = 2.0**-24, 2.0**-126
# Numbers that exact scores of candidates hold at once.
_NUMBERS = 2**22


def check_metric(metric: str) -> None:
    """Raise ConfigError unless the metric is one of `METRICS`."""
    if metric not in METRICS:
        raise ConfigError("metric", metric, f"one of {', '.join(METRICS)}")


def nearest(
    table_ND: np.ndarray,
    queries_MD: np.ndarray,
    k: int,
    metric: str = "cosine",
    block: int = BLOCK,
    *,
    own_M: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best rows of each query, best first: indices_Mk and scores_Mk (float64).

    The scores are cosine similarities, Euclidean distances (smallest first) or dot products, to
    float64 rounding. Rows with the same score stand in the order of their index. A vector of zeros
    has the cosine 0 with every other.

    Args:
        table_ND: float32, finite; may be a memory map.
        queries_MD: float32, finite.
        k: neighbours of each query; all rows where the table has fewer.
        metric: one of `METRICS`.
        block: rows of the table in one product.
        own_M: row that a query must not find (itself), or -1. With it, a table of N rows has N - 1
            neighbours.
        progress: called with the number of queries after each block of them.

    Raises:
        ConfigError: no such metric, or `k` below 1.
        ValueError: shapes that do not fit, or numbers that are not finite.
    """
    _check(table_ND, queries_MD, k, metric)
    k = min(k, len(table_ND) - (own_M is not None))
    indices_Mk = np.empty((len(queries_MD), k), np.int64)
    scores_Mk = np.empty((len(queries_MD), k))
    own_M = np.full(len(queries_MD), -1) if own_M is None else np.asarray(own_M)
    for start in range(0, len(queries_MD) if k else 0, QUERIES):
        here = slice(start, start + QUERIES)
        best = _Best(queries_MD[here], own_M[here], k, metric)
        for row in range(0, len(table_ND), block):
            best.add(np.asarray(table_ND[row : row + block], np.float32), row)
        indices_Mk[here], scores_Mk[here] = best.indices_Qk, best.scores_Qk
        if progress is not None:
            progress(len(best.indices_Qk))
    return indices_Mk, -scores_Mk if metric == "euclidean" else scores_Mk


def _check(table_ND: np.ndarray, queries_MD: np.ndarray, k: int, metric: str) -> None:
    check_metric(metric)
    if k < 1:
        raise ConfigError("k", k, "a whole number from 1 on")
    shapes = table_ND.shape, queries_MD.shape
    if table_ND.ndim != 2 or queries_MD.ndim != 2 or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"got shapes {shapes[0]} and {shapes[1]}, expected rows of one width")
    for array, name in ((table_ND, "table"), (queries_MD, "queries")):
        for start in range(0, len(array), BLOCK):
            finite_B = np.isfinite(array[start : start + BLOCK]).all(1)
            if not finite_B.all():
                row = start + int(np.argmin(finite_B))
                raise ValueError(f"{name}: row {row} holds numbers that are not finite")


def exact_scores(one_CD: np.ndarray, other_CD: np.ndarray, metric: str) -> np.ndarray:
    """Return scores_C of rows with rows in float64; a larger one is nearer."""
    one_CD, other_CD = one_CD.astype(np.float64), other_CD.astype(np.float64)
    if metric == "euclidean":
        return -np.sqrt(np.square(one_CD - other_CD).sum(1))
    products_C = (one_CD * other_CD).sum(1)
    if metric == "dot":
        return products_C
    lengths_C = _lengths(one_CD) * _lengths(other_CD)
    return np.divide(products_C, lengths_C, out=np.zeros_like(products_C), where=lengths_C > 0)


def _lengths(rows_CD: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(rows_CD.astype(np.float64)).sum(1))


def _directions(rows_BD: np.ndarray) -> np.ndarray:
    """Rows of length 1, or of zeros."""
    lengths_B = _lengths(rows_BD)
    lengths_B[lengths_B == 0] = 1
    return rows_BD / lengths_B[:, None]


class _Best:
    """The k best rows so far of a block of queries; places that are still empty score -inf."""

    def __init__(self, queries_QD: np.ndarray, own_Q: np.ndarray, k: int, metric: str) -> None:
        self.queries_QD = np.asarray(queries_QD, np.float32)
        self.own_Q, self.k, self.metric = own_Q, k, metric
        self.indices_Qk = np.full((len(queries_QD), k), -1)
        self.scores_Qk = np.full((len(queries_QD), k), -np.inf)

    def add(self, rows_BD: np.ndarray, first: int) -> None:
        """Take in a block of the table, whose first row has the index `first`."""
        rough_QB, error_Q = self._rough(rows_BD)
        at_Q = np.flatnonzero((self.own_Q >= first) & (self.own_Q < first + len(rows_BD)))
        rough_QB[at_Q, self.own_Q[at_Q] - first] = -np.inf
        worst_Q = self.scores_Qk[:, -1]
        floor_Q = (-np.square(worst_Q) if self.metric == "euclidean" else worst_Q) - error_Q
        chosen_QB = self._reaching(rough_QB, floor_Q)
        if chosen_QB.sum() > 8 * self.k * len(rough_QB) and len(rows_BD) > self.k:
            # Better than all before it, as the first block is: the block's own best count too.
            own_Q = np.partition(rough_QB, -self.k, axis=1)[:, -self.k]
            chosen_QB &= self._reaching(rough_QB, own_Q - 2 * error_Q)
        query_C, row_C = np.nonzero(chosen_QB)
        scores_C = np.empty(len(query_C))
        step = max(1, _NUMBERS // max(1, rows_BD.shape[1]))
        for start in range(0, len(query_C), step):
            here = slice(start, start + step)
            pairs = self.queries_QD[query_C[here]], rows_BD[row_C[here]]
            scores_C[here] = exact_scores(*pairs, self.metric)
        self._keep(query_C, row_C + first, scores_C)

    @staticmethod
    def _reaching(rough_QB: np.ndarray, floor_Q: np.ndarray) -> np.ndarray:
        """Where a score reaches the floor; -inf, a query's own row, never does."""
        floor_Q = np.maximum(floor_Q, np.finfo(np.float64).min)
        return rough_QB >= floor_Q[:, None]

    def _rough(self, rows_BD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores from a float32 product (Euclid: minus the squared distance), their largest error.

        The block's mean is taken off before the product and put back behind it, in float64: where
        vectors differ little from one another, the error goes with the difference.
        """
        queries_QD, rows_BD = self.queries_QD.astype(np.float64), rows_BD.astype(np.float64)
        if self.metric == "cosine":
            queries_QD, rows_BD = _directions(queries_QD), _directions(rows_BD)
        mean_D = rows_BD.mean(0)
        lengths_Q, longest = _lengths(queries_QD), _lengths(rows_BD).max() + _lengths(mean_D[None])
        along_Q, along_B = queries_QD @ mean_D, (rows_BD - mean_D) @ mean_D
        queries_QD, rows_BD = queries_QD - mean_D, rows_BD - mean_D
        apart_Q, apart_B = _lengths(queries_QD), _lengths(rows_BD)
        with np.errstate(over="ignore", invalid="ignore"):
            rough_QB = queries_QD.astype(np.float32) @ rows_BD.astype(np.float32).T
        if not np.isfinite(rough_QB).all():  # beyond float32
            rough_QB = queries_QD @ rows_BD.T
        rough_QB = rough_QB.astype(np.float64)
        # Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1; eight more
        # operations for what is done before and after the product.
        steps = 1.01 * (rows_BD.shape[1] + 8)
        error_Q = steps * (
            _ROUNDING * apart_Q * apart_B.max() + 4 * _ROUNDING**2 * lengths_Q * longest
        )
        if self.metric == "euclidean":
            rough_QB *= 2
            rough_QB -= np.square(apart_B)
            rough_QB -= np.square(apart_Q)[:, None]
            error_Q = 2 * error_Q + 4 * steps * _ROUNDING**2 * np.square(lengths_Q + longest)
        else:
            rough_QB += along_B
            rough_QB += along_Q[:, None]
        return rough_QB, error_Q + 4 * rows_BD.shape[1] * _UNDERFLOW

    def _keep(self, query_C: np.ndarray, index_C: np.ndarray, scores_C: np.ndarray) -> None:
        """The best k of those kept and those new, ties by index."""
        queries = len(self.queries_QD)
        query_C = np.concatenate([np.repeat(np.arange(queries), self.k), query_C])
        index_C = np.concatenate([self.indices_Qk.reshape(-1), index_C])
        scores_C = np.concatenate([self.scores_Qk.reshape(-1), scores_C])
        order_C = np.lexsort((index_C, -scores_C, query_C))
        counts_Q = np.bincount(query_C, minlength=queries)
        starts_Q = np.cumsum(counts_Q) - counts_Q
        chosen_Qk = order_C[starts_Q[:, None] + np.arange(self.k)]
        self.indices_Qk, self.scores_Qk = index_C[chosen_Qk], scores_C[chosen_Qk]


def nearest_by_faiss(
    table_ND: np.ndarray,
    queries_MD: np.ndarray,
    k: int,
    metric: str = "cosine",
    *,
    approximate: bool = False,
    own_M: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, with an index of the faiss library in memory.

    Neighbours are chosen in float32, so that near ties may fall otherwise than in `nearest`; their
    scores are computed again in float64. An approximate index (Malkov and Yashunin 2018, HNSW
    graph) misses some of them: measure it with `recall`. Where it finds fewer than k, the index
    is -1.

    Raises:
        MissingExtra: faiss is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise MissingExtra("search with an index", "faiss-cpu", "faiss") from None
    _check(table_ND, queries_MD, k, metric)
    rows_ND, asked_MD = (np.require(x, np.float32, ["C"]) for x in (table_ND, queries_MD))
    if metric == "cosine":
        rows_ND, asked_MD = (_directions(x).astype(np.float32) for x in (rows_ND, asked_MD))
    kind = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    dim, wanted = rows_ND.shape[1], min(k + (own_M is not None), len(rows_ND))
    if approximate:
        index: Any = faiss.IndexHNSWFlat(dim, 32, kind)
        index.hnsw.efSearch = max(128, 2 * wanted)
    else:
        index = faiss.IndexFlat(dim, kind)
    index.add(rows_ND)
    _, found_Mk = index.search(asked_MD, wanted)
    scores_Mk: np.ndarray = np.empty(found_Mk.shape)
    for query, found_k in enumerate(found_Mk):
        scores_Mk[query] = exact_scores(queries_MD[query][None], table_ND[found_k], metric)
    away_Mk = found_Mk < 0
    if own_M is not None:
        away_Mk |= found_Mk == own_M[:, None]
    found_Mk, scores_Mk = np.where(away_Mk, -1, found_Mk), np.where(away_Mk, -np.inf, scores_Mk)
    order_Mk = np.lexsort((found_Mk, -scores_Mk))[:, : min(k, len(rows_ND) - (own_M is not None))]
    found_Mk = np.take_along_axis(found_Mk, order_Mk, 1)
    scores_Mk = np.take_along_axis(scores_Mk, order_Mk, 1)
    return found_Mk, -scores_Mk if metric == "euclidean" else scores_Mk


def recall(found_Mk: np.ndarray, exact_Mk: np.ndarray) -> float:
    """Return the share of the exact neighbours that were found.

    >>> recall(np.array([[2, 1], [5, -1]]), np.array([[1, 2], [5, 7]]))
    0.75
    """
    pairs = zip(found_Mk.tolist(), exact_Mk.tolist(), strict=True)
    return sum(len(set(found) & set(exact)) for found, exact in pairs) / exact_Mk.size
