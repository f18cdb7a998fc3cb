"""How strongly a linear model is regularised, chosen by folds over groups of the training rows.

Shape letters: N = training rows, M = rows held out inside them, X = columns, A = strengths.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from protemb.errors import ConfigError

INNER_FOLDS = 5
ALPHAS = np.logspace(-1, 6, 15)
"""Strengths of ridge regression; a standardised column of 1,000 rows has a square sum of 1,000."""
INVERSES = np.logspace(-3, 2, 6)
"""Inverse strengths of logistic regression."""
ITERATIONS = 1000
"""Of logistic regression, at most."""

_SMALLEST = 1e-12


def choose_alpha(
    columns: ColumnTransformer,
    X_NX: np.ndarray,
    target_N: np.ndarray,
    groups_N: np.ndarray,
    weights_N: np.ndarray,
) -> float:
    """Return the one of `ALPHAS` with the least squared error on groups that it did not see.

    All strengths cost one eigendecomposition per inner fold, of the smaller of the two products
    of the columns with themselves (Hoerl and Kennard 1970, Technometrics 12: 55, section 4).

    Args:
        columns: what happens to the columns; fitted inside each fold, on a copy.
        X_NX: training rows.
        target_N: what is predicted.
        groups_N: what the folds keep together.
        weights_N: of the rows.

    Raises:
        ConfigError: the rows are all of one group.
    """
    error_A = np.zeros(len(ALPHAS))
    for inner, held_out, X_inner, X_held in _inner_folds("ridge", columns, X_NX, groups_N):
        guess_MA = _ridge_path(X_inner, target_N[inner], weights_N[inner], X_held)
        error_A += weights_N[held_out] @ (guess_MA - target_N[held_out, None]) ** 2
    return float(ALPHAS[error_A.argmin()])


def choose_c(
    columns: ColumnTransformer,
    X_NX: np.ndarray,
    labels_N: np.ndarray,
    groups_N: np.ndarray,
    weights_N: np.ndarray,
) -> float:
    """Return the one of `INVERSES` that gives unseen groups' labels the largest likelihood.

    Labels that an inner fold's training rows lack do not count in it: no strength could find them.
    Arguments and errors are those of `choose_alpha`.
    """
    likelihood_A = np.zeros(len(INVERSES))
    for inner, held_out, X_inner, X_held in _inner_folds("logistic", columns, X_NX, groups_N):
        classes = np.unique(labels_N[inner])
        known_M = np.isin(labels_N[held_out], classes)
        if len(classes) == 1 or not known_M.any():
            continue
        place_M = np.searchsorted(classes, labels_N[held_out][known_M])
        for place, inverse in enumerate(INVERSES):
            model = LogisticRegression(C=inverse, max_iter=ITERATIONS)
            model.fit(X_inner, labels_N[inner], weights_N[inner])
            chance_M = model.predict_proba(X_held[known_M])[np.arange(len(place_M)), place_M]
            terms_M = np.log(np.maximum(chance_M, _SMALLEST))
            likelihood_A[place] += weights_N[held_out][known_M] @ terms_M
    return float(INVERSES[likelihood_A.argmax()])


def _inner_folds(
    word: str, columns: ColumnTransformer, X_NX: np.ndarray, groups_N: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of both sides and their columns, as the regressor would see them."""
    groups = len(np.unique(groups_N))
    if groups < 2:
        raise ConfigError(
            "regressor",
            word,
            "another one, or more folds (folds.count, nested): its strength is chosen between "
            "groups, and all training rows are of one group",
        )
    splitter = GroupKFold(min(INNER_FOLDS, groups))
    for inner, held_out in splitter.split(X_NX, groups=groups_N):
        change = clone(columns).fit(X_NX[inner])
        yield inner, held_out, change.transform(X_NX[inner]), change.transform(X_NX[held_out])


def _ridge_path(
    X_NX: np.ndarray, target_N: np.ndarray, weights_N: np.ndarray, X_MX: np.ndarray
) -> np.ndarray:
    """Predictions_MA of ridge regressions with an intercept, for each of `ALPHAS`."""
    share_N = weights_N / weights_N.sum()
    centre_X, centre = share_N @ X_NX.astype(np.float64), share_N @ target_N
    root_N = np.sqrt(weights_N)
    Z_NX = (X_NX - centre_X) * root_N[:, None]
    y_N = (target_N - centre) * root_N
    Z_MX = X_MX - centre_X
    # With Z = U S V': V (S^2 + a)^-1 V' Z' y = Z' U (S^2 + a)^-1 U' y.
    if Z_NX.shape[1] <= len(Z_NX):
        squares, turn = np.linalg.eigh(Z_NX.T @ Z_NX)
        left, right = Z_MX @ turn, turn.T @ (Z_NX.T @ y_N)
    else:
        squares, turn = np.linalg.eigh(Z_NX @ Z_NX.T)
        left, right = (Z_MX @ Z_NX.T) @ turn, turn.T @ y_N
    return centre + left @ (right[:, None] / (squares.clip(0)[:, None] + ALPHAS))
