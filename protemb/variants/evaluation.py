"""Predictions for rows by models that saw neither them nor their group.

Shape letters: N = rows, S = seeds, B = base features, C = embedding features, F = folds, K =
classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.pipeline import Pipeline

from protemb.variants.regressors import (
    SEEDLESS,
    class_probabilities,
    fit_classifier,
    fit_regressor,
    join_columns,
)


@dataclass(frozen=True, eq=False)
class CellData:
    """Columns of one cell of the grid.

    Args:
        base_NB: what stands beside the embedding.
        features_NC: the embedding; None for the base alone.
        reverse_base_NB: the same of the reverse mutations (the variant is the wild type, and the
            other way round); None where nothing of them is asked.
        reverse_NC: their embedding; None where either of the two is missing.
    """

    base_NB: np.ndarray
    features_NC: np.ndarray | None = None
    reverse_base_NB: np.ndarray | None = None
    reverse_NC: np.ndarray | None = None

    def __post_init__(self) -> None:
        both = self.features_NC is not None and self.reverse_base_NB is not None
        if both != (self.reverse_NC is not None):
            raise ValueError("reverse_NC: expected where there are features and reverse_base_NB")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of the rows, and of their reverse mutations by the same models.

    Args:
        direct_SN: float64.
        reverse_SN: the same of the reverse mutations; None where the data has none.
    """

    direct_SN: np.ndarray
    reverse_SN: np.ndarray | None


def out_of_fold(
    word: str,
    data: CellData,
    target_N: np.ndarray,
    fold_SN: np.ndarray,
    seeds: Sequence[int],
    groups_N: np.ndarray,
    weights_N: np.ndarray,
    augment: bool = False,
) -> Predictions:
    """Predict every row, once per seed, by the model that was fitted without the row's fold.

    Args:
        word: one of `protemb.variants.regressors.REGRESSORS`.
        data: columns.
        target_N: what is predicted.
        fold_SN: fold of each row for each seed.
        seeds: S.
        groups_N: what inner folds keep together.
        weights_N: of the rows.
        augment: fit the training rows' reverse mutations too, with the negative target.

    Raises:
        ConfigError: as `fit_regressor`.
        ValueError: a single fold, or nothing to augment with.
    """
    fits = _Fits(word, data, target_N, groups_N, weights_N, augment)
    reverse = data.reverse_base_NB is not None
    direct_SN = np.empty(fold_SN.shape)
    reverse_SN = np.empty(fold_SN.shape) if reverse else None
    for row, (fold_N, seed) in enumerate(zip(fold_SN, seeds, strict=True)):
        if row and word in SEEDLESS and (fold_N == fold_SN[0]).all():
            direct_SN[row] = direct_SN[0]
            if reverse_SN is not None:
                reverse_SN[row] = reverse_SN[0]
            continue
        for fold in _folds(fold_N):
            held_out = np.flatnonzero(fold_N == fold)
            fitted = fits.fit(np.flatnonzero(fold_N != fold), seed)
            direct_SN[row, held_out] = fits.predict(fitted, held_out)
            if reverse_SN is not None:
                reverse_SN[row, held_out] = fits.predict_reverse(fitted, held_out)
    return Predictions(direct_SN, reverse_SN)


def out_of_fold_labels(
    word: str,
    data: CellData,
    labels_N: np.ndarray,
    classes: int,
    fold_SN: np.ndarray,
    seeds: Sequence[int],
    groups_N: np.ndarray,
    weights_N: np.ndarray,
) -> np.ndarray:
    """Probabilities_SNK of the classes, in the same way.

    Args:
        word: one of `protemb.variants.regressors.CLASSIFIERS`.
        data: columns.
        labels_N: class codes.
        classes: K; those that a training fold lacks get probability 0.
        fold_SN: fold of each row for each seed.
        seeds: S.
        groups_N: what inner folds keep together.
        weights_N: of the rows.

    Raises:
        ConfigError: as `fit_classifier`.
        ValueError: a single fold.
    """
    found_SNK = np.empty((*fold_SN.shape, classes))
    for row, (fold_N, seed) in enumerate(zip(fold_SN, seeds, strict=True)):
        if row and word in SEEDLESS and (fold_N == fold_SN[0]).all():
            found_SNK[row] = found_SNK[0]
            continue
        for fold in _folds(fold_N):
            seen, held_out = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
            base, features = _rows(data.base_NB, data.features_NC, seen)
            others = labels_N[seen], groups_N[seen], weights_N[seen]
            fitted = fit_classifier(word, base, features, *others, seed)
            X_NX = join_columns(*_rows(data.base_NB, data.features_NC, held_out))
            found_SNK[row, held_out] = class_probabilities(fitted, X_NX, classes)
    return found_SNK


def nested_pairs(
    word: str,
    data: CellData,
    target_N: np.ndarray,
    fold_N: np.ndarray,
    seed: int,
    groups_N: np.ndarray,
    weights_N: np.ndarray,
    augment: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions to choose by, for every fold, that never saw it; and those to report.

    A choice among cells that is reported on fold f may look at no model that was fitted to fold f,
    nor score a row by a model that was fitted to the row. One model per unordered pair of folds,
    fitted without both, serves two choices: it predicts fold k for the choice about j, and fold j
    for that about k. With one model per fold for the report, F (F - 1) / 2 + F fits in all.

    Args:
        word: one of `protemb.variants.regressors.REGRESSORS`.
        data: columns.
        target_N: what is predicted.
        fold_N: fold of each row: 0 to F - 1, none empty.
        seed: of the models.
        groups_N: what inner folds keep together.
        weights_N: of the rows.
        augment: see `out_of_fold`.

    Returns:
        inner_FN: row f holds the predictions of all rows outside fold f, by models that saw neither
        fold f nor the row's own; NaN on fold f. outer_N: by models that did not see the row's
        fold, as `out_of_fold` gives them.

    Raises:
        ConfigError: as `fit_regressor`.
        ValueError: fewer than three folds, or codes that are not 0 to F - 1.
    """
    folds = _folds(fold_N)
    F = len(folds)
    if F < 3 or folds != list(range(F)):
        raise ValueError(f"fold_N: got folds {folds}, expected 0 to F - 1, at least three")
    fits = _Fits(word, data, target_N, groups_N, weights_N, augment)
    inner_FN, outer_N = np.full((F, len(fold_N)), np.nan), np.empty(len(fold_N))
    rows_F = [np.flatnonzero(fold_N == fold) for fold in folds]
    for first, second in combinations(folds, 2):
        fitted = fits.fit(np.flatnonzero((fold_N != first) & (fold_N != second)), seed)
        inner_FN[first, rows_F[second]] = fits.predict(fitted, rows_F[second])
        inner_FN[second, rows_F[first]] = fits.predict(fitted, rows_F[first])
    for fold in folds:
        fitted = fits.fit(np.flatnonzero(fold_N != fold), seed)
        outer_N[rows_F[fold]] = fits.predict(fitted, rows_F[fold])
    return inner_FN, outer_N


def fit_rows(
    word: str,
    data: CellData,
    target_N: np.ndarray,
    groups_N: np.ndarray,
    weights_N: np.ndarray,
    seed: int,
    augment: bool = False,
) -> Pipeline:
    """Fit one regressor to all rows, as `out_of_fold` fits it to training rows."""
    fits = _Fits(word, data, target_N, groups_N, weights_N, augment)
    return fits.fit(np.arange(len(target_N)), seed)


@dataclass(frozen=True, eq=False)
class _Fits:
    """Everything that does not change from fit to fit."""

    word: str
    data: CellData
    target_N: np.ndarray
    groups_N: np.ndarray
    weights_N: np.ndarray
    augment: bool

    def __post_init__(self) -> None:
        if self.augment and self.data.reverse_base_NB is None:
            raise ValueError("augment: expected data with reverse mutations")

    def fit(self, rows: np.ndarray, seed: int) -> Pipeline:
        """Fit to these rows and, with `augment`, to their reverses."""
        data, twice = self.data, 2 if self.augment else 1
        base, features = _rows(data.base_NB, data.features_NC, rows)
        target = self.target_N[rows]
        if self.augment:
            assert data.reverse_base_NB is not None
            reverse_base, reverse = _rows(data.reverse_base_NB, data.reverse_NC, rows)
            base, target = np.concatenate([base, reverse_base]), np.concatenate([target, -target])
            if features is not None and reverse is not None:
                features = np.concatenate([features, reverse])
        groups, weights = np.tile(self.groups_N[rows], twice), np.tile(self.weights_N[rows], twice)
        return fit_regressor(self.word, base, features, target, groups, weights, seed)

    def predict(self, fitted: Pipeline, rows: np.ndarray) -> np.ndarray:
        """Predict rows."""
        return fitted.predict(join_columns(*_rows(self.data.base_NB, self.data.features_NC, rows)))

    def predict_reverse(self, fitted: Pipeline, rows: np.ndarray) -> np.ndarray:
        """Predict the rows' reverse mutations."""
        assert self.data.reverse_base_NB is not None
        parts = _rows(self.data.reverse_base_NB, self.data.reverse_NC, rows)
        return fitted.predict(join_columns(*parts))


def _rows(
    base_NB: np.ndarray, features_NC: np.ndarray | None, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    return base_NB[rows], None if features_NC is None else features_NC[rows]


def _folds(fold_N: np.ndarray) -> list[int]:
    folds = np.unique(fold_N).tolist()
    if len(folds) < 2:
        raise ValueError(f"fold_N: got {len(folds)} fold, expected two or more")
    return folds
