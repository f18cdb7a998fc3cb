"""No model saw what it predicts, and predictions are those of plain scikit-learn loops."""

import csv
import gzip

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from protemb.variants import evaluation
from protemb.variants.evaluation import (
    CellData,
    fit_rows,
    nested_pairs,
    out_of_fold,
    out_of_fold_labels,
)
from protemb.variants.regressors import class_probabilities, fit_classifier, fit_regressor

N, F = 60, 5


@pytest.fixture
def rows():
    """Columns, target, folds for two seeds, groups and weights."""
    rng = np.random.default_rng(0)
    base_NB = (rng.random((N, 4)) < 0.5).astype(np.float32)
    features_NC = rng.normal(size=(N, 3)).astype(np.float32)
    data = CellData(base_NB, features_NC, base_NB[:, ::-1], -features_NC)
    target_N = features_NC[:, 0] + base_NB[:, 1]
    groups_N = np.arange(N) // 4
    fold_SN = np.stack([groups_N % F, rng.permutation(15)[groups_N] % F])
    return data, target_N, fold_SN, groups_N, rng.uniform(0.5, 2, N)


class Recorder:
    """Predicts, for a row that names itself in its first column, which folds it was fitted to.

    Args:
        base_NB: number of the row, then 1 or -1 for a direct or a reverse mutation.
        target_N: of the same rows.
        fold_N: of all rows.
    """

    def __init__(self, base_NB, target_N, fold_N):
        self.seen = set(base_NB[:, 0].astype(int).tolist())
        self.directions = set(zip(*base_NB.T.astype(int).tolist(), strict=True))
        self.signs = target_N * base_NB[:, 1]
        folds = np.unique(fold_N[sorted(self.seen)])
        self.code = float((2**folds).sum())

    def predict(self, X_NX):
        asked = set(X_NX[:, 0].astype(int).tolist())
        assert not asked & self.seen, "a model predicts what it was fitted to"
        return np.full(len(X_NX), self.code)


@pytest.fixture
def recorders(monkeypatch, rows):
    """Every model of the test, as it is fitted; the folds are those of the first seed."""
    fold_N, made = rows[2][0], []

    def fit(word, base_NB, features_NC, target_N, groups_N, weights_N, seed):
        assert len(base_NB) == len(features_NC) == len(target_N) == len(groups_N) == len(weights_N)
        numbers = base_NB[:, 0].astype(int)
        np.testing.assert_array_equal(groups_N, rows[3][numbers])
        np.testing.assert_array_equal(weights_N, rows[4][numbers])
        np.testing.assert_array_equal(features_NC, base_NB[:, 1:] * rows[0].features_NC[numbers])
        made.append(Recorder(base_NB, target_N, fold_N))
        return made[-1]

    monkeypatch.setattr(evaluation, "fit_regressor", fit)
    return made


def named(rows):
    """The same data with columns that name the row and its direction."""
    numbers_N, ones_N = np.arange(N, dtype=np.float32), np.ones(N, np.float32)
    base_NB, reverse_NB = (np.stack([numbers_N, sign * ones_N], 1) for sign in (1, -1))
    return CellData(base_NB, rows[0].features_NC, reverse_NB, rows[0].reverse_NC)


EVERY = 2**F - 1


@pytest.mark.parametrize("augment", [False, True])
def test_every_row_is_predicted_by_the_model_of_the_other_folds(rows, recorders, augment):
    _, _, fold_SN, groups_N, weights_N = rows
    found = out_of_fold(
        "mlp50", named(rows), np.ones(N), fold_SN[:1], [7], groups_N, weights_N, augment
    )
    np.testing.assert_array_equal(found.direct_SN[0], EVERY - 2.0 ** fold_SN[0])
    np.testing.assert_array_equal(found.reverse_SN, found.direct_SN)
    assert len(recorders) == F
    for recorder in recorders:
        assert (recorder.signs == 1).all()  # a reverse mutation has the negative target
        directions = {1, -1} if augment else {1}
        assert recorder.directions == {(n, d) for n in recorder.seen for d in directions}


@pytest.mark.parametrize("augment", [False, True])
def test_choices_about_a_fold_come_from_models_that_never_saw_it(rows, recorders, augment):
    _, _, fold_SN, groups_N, weights_N = rows
    fold_N = fold_SN[0]
    inner_FN, outer_N = nested_pairs(
        "mlp50", named(rows), np.ones(N), fold_N, 0, groups_N, weights_N, augment
    )
    assert len(recorders) == F * (F - 1) // 2 + F
    np.testing.assert_array_equal(outer_N, EVERY - 2.0**fold_N)
    for fold in range(F):
        assert np.isnan(inner_FN[fold, fold_N == fold]).all()
        others = fold_N != fold
        expected = EVERY - 2.0**fold - 2.0 ** fold_N[others]
        np.testing.assert_array_equal(inner_FN[fold, others], expected)


def test_predictions_are_those_of_a_plain_loop(rows):
    data, target_N, fold_SN, groups_N, weights_N = rows
    found = out_of_fold("mlp50", data, target_N, fold_SN, [3, 4], groups_N, weights_N)
    for place, seed in enumerate([3, 4]):
        for fold in range(F):
            train, test = fold_SN[place] != fold, fold_SN[place] == fold
            fitted = fit_regressor(
                "mlp50", data.base_NB[train], data.features_NC[train], target_N[train],
                groups_N[train], weights_N[train], seed,
            )  # fmt: skip
            for predicted_SN, base, features in (
                (found.direct_SN, data.base_NB, data.features_NC),
                (found.reverse_SN, data.reverse_base_NB, data.reverse_NC),
            ):
                expected = fitted.predict(np.hstack([base[test], features[test]]))
                np.testing.assert_array_equal(predicted_SN[place, test], expected)
    outer = nested_pairs(
        "mlp50", data, target_N, fold_SN[0], 3, groups_N, weights_N
    )[1]  # fmt: skip
    np.testing.assert_array_equal(outer, found.direct_SN[0])


def test_a_fit_to_all_rows_is_that_of_a_training_fold_without_held_out_rows(rows):
    data, target_N, _, groups_N, weights_N = rows
    for augment in (False, True):
        fitted = fit_rows("mlp50", data, target_N, groups_N, weights_N, 3, augment)
        columns, target, twice = np.hstack([data.base_NB, data.features_NC]), target_N, 1
        if augment:
            reverse = np.hstack([data.reverse_base_NB, data.reverse_NC])
            columns, target = np.concatenate([columns, reverse]), np.append(target_N, -target_N)
            twice = 2
        groups, weights = np.tile(groups_N, twice), np.tile(weights_N, twice)
        expected = fit_regressor(
            "mlp50", columns[:, :4], columns[:, 4:], target, groups, weights, 3
        )  # fmt: skip
        np.testing.assert_array_equal(fitted.predict(columns), expected.predict(columns))


def test_what_no_seed_changes_is_fitted_once(rows, monkeypatch):
    data, target_N, fold_SN, groups_N, weights_N = rows
    same_SN = np.stack([fold_SN[0], fold_SN[0], fold_SN[1]])
    arguments = data, target_N, same_SN, [0, 1, 2], groups_N, weights_N
    seeds = []

    def fit(*arguments):
        seeds.append(arguments[-1])
        return fit_regressor(*arguments)

    monkeypatch.setattr(evaluation, "fit_regressor", fit)
    found = out_of_fold("ridge", *arguments)
    assert seeds == [0] * F + [2] * F
    for predicted_SN in (found.direct_SN, found.reverse_SN):
        np.testing.assert_array_equal(predicted_SN[0], predicted_SN[1])
        assert (predicted_SN[2] != predicted_SN[0]).any() and np.isfinite(predicted_SN).all()


def test_reverse_mutations_teach_the_sign(rows):
    """On features that only see which way a mutation goes, the augmented fit is antisymmetric."""
    data, _, fold_SN, groups_N, weights_N = rows
    plain = CellData(
        np.ones((N, 1), np.float32), data.features_NC, np.ones((N, 1), np.float32), data.reverse_NC
    )
    target_N = data.features_NC[:, 0] + 3.0  # biased, as tables of destabilising mutations are
    arguments = plain, target_N, fold_SN, [0, 1], groups_N, weights_N
    biased, mended = (out_of_fold("ridge", *arguments, augment) for augment in (False, True))
    assert abs((biased.direct_SN + biased.reverse_SN).mean()) > 5
    np.testing.assert_allclose(mended.direct_SN + mended.reverse_SN, 0, atol=1e-5)


def test_data_without_reverses(rows):
    data, target_N, fold_SN, groups_N, weights_N = rows
    arguments = target_N, fold_SN, [0, 1], groups_N, weights_N
    found = out_of_fold("ridge", CellData(data.base_NB), *arguments)
    assert found.reverse_SN is None and np.isfinite(found.direct_SN).all()
    with pytest.raises(ValueError, match="augment"):
        out_of_fold("ridge", CellData(data.base_NB), *arguments, augment=True)
    with pytest.raises(ValueError, match="reverse_NC"):
        CellData(data.base_NB, data.features_NC, data.base_NB)
    with pytest.raises(ValueError, match="got 1 fold"):
        out_of_fold("ridge", data, target_N, 0 * fold_SN, [0, 1], groups_N, weights_N)
    with pytest.raises(ValueError, match="at least three"):
        nested_pairs("ridge", data, target_N, fold_SN[0] % 2, 0, groups_N, weights_N)
    with pytest.raises(ValueError, match="0 to F - 1"):
        nested_pairs("ridge", data, target_N, fold_SN[0] + 1, 0, groups_N, weights_N)


@pytest.mark.parametrize("word", ["logistic", "hist_gbdt"])
def test_labels_are_predicted_in_the_same_way(rows, word):
    data, target_N, fold_SN, groups_N, weights_N = rows
    labels_N = np.digitize(target_N, [0.2, 0.8])
    labels_N[fold_SN[0] == 2] = 3  # a class that one fold alone has
    arguments = labels_N, 4, fold_SN, [0, 1], groups_N, weights_N
    found_SNK = out_of_fold_labels(word, data, *arguments)
    assert found_SNK.shape == (2, N, 4)
    np.testing.assert_allclose(found_SNK.sum(2), 1, atol=1e-5)
    assert not found_SNK[0, fold_SN[0] == 2, 3].any()
    train, test = fold_SN[1] != 0, fold_SN[1] == 0
    fitted = fit_classifier(
        word, data.base_NB[train], data.features_NC[train], labels_N[train], groups_N[train],
        weights_N[train], 1,
    )  # fmt: skip
    columns = np.hstack([data.base_NB[test], data.features_NC[test]])
    np.testing.assert_array_equal(found_SNK[1, test], class_probabilities(fitted, columns, 4))
    assert isinstance(fitted[-1], LogisticRegression) == (word == "logistic")


@pytest.mark.slow
def test_the_known_baseline_of_fireprotdb_comes_out(real_data):
    """Pooled r about 0.33 under GroupKFold(10) by protein, for one-hots alone."""
    path = real_data / "fireprotdb_ddg" / "fireprot_seed_columns.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    proteins_N = np.array([row["protein"] for row in table])
    target_N = np.array([float(row["ddG"]) for row in table])
    mutations = [row["mutation"] for row in table]
    columns = (
        [row["struc"] for row in table],
        [m[0] for m in mutations],
        [m[-1] for m in mutations],
    )
    base_NB = np.hstack(
        [np.equal.outer(np.array(column), np.unique(column)) for column in columns]
    ).astype(np.float32)
    fold_N = np.empty(len(table), np.int64)
    for fold, (_, held) in enumerate(GroupKFold(10).split(base_NB, groups=proteins_N)):
        fold_N[held] = fold
    found = out_of_fold(
        "mlp50", CellData(base_NB), target_N, fold_N[None], [0], proteins_N, np.ones(len(table))
    )
    assert np.corrcoef(found.direct_SN[0], target_N)[0, 1] == pytest.approx(0.334, abs=0.003)
