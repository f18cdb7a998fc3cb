"""Ranks and correlations of one column under many weightings of its rows.

Shape letters: P = rows of a column (records, pairs), R = weightings, such as bootstrap replicates.
"""

import numpy as np

ROUNDING = 1e-26
"""Squares of a constant column, less its mean, come to less than this share of its squares."""


class Order:
    """A column sorted once, and where its runs of equal values begin and end."""

    def __init__(self, values_P: np.ndarray) -> None:
        self.order = np.argsort(values_P, kind="stable")
        sorted_P = values_P[self.order]
        edge_P = np.append(sorted_P[1:] != sorted_P[:-1], True)
        self.ends = np.flatnonzero(edge_P)  # last place of each run
        self.run_P = np.concatenate([[0], np.cumsum(edge_P[:-1])])

    def below(self, weights_RP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight below each run, and up to its end."""
        until = np.cumsum(weights_RP[:, self.order], 1)[:, self.ends]
        return np.pad(until[:, :-1], ((0, 0), (1, 0))), until

    def ranks(self, weights_RP: np.ndarray) -> np.ndarray:
        """Midranks of the values when each is there as often as its weight says.

        >>> Order(np.array([5.0, 3.0, 5.0])).ranks(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]]))
        array([[2.5, 1. , 2.5],
               [3. , 1.5, 3. ]])
        """
        below, until = self.below(weights_RP)
        ranks_RP = np.empty_like(weights_RP)
        ranks_RP[:, self.order] = ((below + until + 1) / 2)[:, self.run_P]
        return ranks_RP


def weighted_correlation(x: np.ndarray, y: np.ndarray, weights_RP: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation by row, of columns or of rows of columns; NaN if constant."""
    total_R1 = weights_RP.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        least_x, least_y = (ROUNDING * (weights_RP * column**2).sum(1) for column in (x, y))
        x = x - (weights_RP * x).sum(1, keepdims=True) / total_R1
        y = y - (weights_RP * y).sum(1, keepdims=True) / total_R1
        xy, xx, yy = ((weights_RP * product).sum(1) for product in (x * y, x * x, y * y))
        return np.where((xx > least_x) & (yy > least_y), xy / np.sqrt(xx * yy), np.nan)


def pearson(x_P: np.ndarray, y_P: np.ndarray, weights_P: np.ndarray) -> float:
    """Weighted Pearson correlation of two columns; NaN where one is constant."""
    return float(weighted_correlation(centred(x_P), centred(y_P), weights_P[None])[0])


def spearman(x_P: np.ndarray, y_P: np.ndarray, weights_P: np.ndarray) -> float:
    """Correlation of midranks, as if each row were there as often as its weight says."""
    weights_1P = weights_P[None]
    x_1P, y_1P = (Order(column_P).ranks(weights_1P) for column_P in (x_P, y_P))
    return float(weighted_correlation(x_1P, y_1P, weights_1P)[0])


def centred(column: np.ndarray) -> np.ndarray:
    """Subtract the mean along the last axis; a constant column becomes zeros, exactly."""
    column = column - column[..., :1]  # else the mean's rounding error would stay
    return column - column.mean(-1, keepdims=True)
