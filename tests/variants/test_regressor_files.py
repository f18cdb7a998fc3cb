import json
import os

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from protemb.errors import CheckpointError
from protemb.variants.regressor_files import load_regressor, save_regressor
from protemb.variants.regressors import (
    CLASSIFIERS,
    REGRESSORS,
    class_probabilities,
    fit_classifier,
    fit_regressor,
    join_columns,
)

N = 60


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    base_NB = (rng.random((N, 4)) < 0.5).astype(np.float32)
    base_NB[:, 0] = rng.normal(size=N)
    features_NC = rng.normal(size=(N, 3)).astype(np.float32)
    return base_NB, features_NC, features_NC[:, 0] + base_NB[:, 1], np.arange(N) // 6, np.ones(N)


@pytest.mark.parametrize("word", REGRESSORS)
def test_a_regressor_comes_back(tmp_path, sample, word):
    fitted = fit_regressor(word, *sample, seed=0)
    facts = {"cell": "unirep64/states/position/difference", "seed": 0, "names": ["a", "b"]}
    save_regressor(tmp_path / "new" / "regressor.skops", fitted, facts)
    loaded, found = load_regressor(tmp_path / "new" / "regressor.skops")
    assert found == facts
    X_NX = join_columns(*sample[:2])
    np.testing.assert_array_equal(loaded.predict(X_NX), fitted.predict(X_NX))


@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("word", CLASSIFIERS)
def test_a_classifier_comes_back(tmp_path, sample, word, classes):
    base_NB, features_NC, target_N, groups_N, weights_N = sample
    labels_N = np.digitize(target_N, np.linspace(-1, 2, classes - 1))
    fitted = fit_classifier(word, base_NB, features_NC, labels_N, groups_N, weights_N, seed=0)
    save_regressor(tmp_path / "c.skops", fitted, {})
    loaded, _ = load_regressor(tmp_path / "c.skops")
    X_NX = join_columns(base_NB, features_NC)
    expected = class_probabilities(fitted, X_NX, 3)
    np.testing.assert_array_equal(class_probabilities(loaded, X_NX, 3), expected)


def test_the_same_regressor_without_numeric_columns_or_base(tmp_path, sample):
    _, features_NC, *others = sample
    fitted = fit_regressor("ridge", np.zeros((N, 0), np.float32), features_NC, *others, seed=0)
    save_regressor(tmp_path / "r.skops", fitted, {})
    loaded, _ = load_regressor(tmp_path / "r.skops")
    np.testing.assert_array_equal(loaded.predict(features_NC), fitted.predict(features_NC))


def touch(column):
    os.system("true")
    return column


@pytest.mark.parametrize(
    "step", [FunctionTransformer(touch), FunctionTransformer(os.system)], ids=["ours", "os"]
)
def test_other_types_are_refused(tmp_path, step):
    path = tmp_path / "bad.skops"
    head = json.dumps({"format": 1, "facts": {}})
    pipeline = Pipeline([("step", step)])
    skops.io.dump({"protemb": head, "regressor": pipeline}, path)
    with pytest.raises(CheckpointError, match="holds types that no regressor needs"):
        load_regressor(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a stored regressor of protemb"),
        ({"regressor": 1}, "not a stored regressor of protemb"),
        ({"protemb": "{", "regressor": Pipeline([])}, "its facts cannot be read"),
        ({"protemb": "[]", "regressor": Pipeline([])}, "its facts cannot be read"),
        ({"protemb": '{"format": 2, "facts": {}}', "regressor": 1}, "format: got 2, expected 1"),
        ({"protemb": '{"format": 1, "facts": {}}', "regressor": StandardScaler()}, "no regressor"),
    ],
)
def test_foreign_files_are_refused(tmp_path, content, message):
    skops.io.dump(content, tmp_path / "other.skops")
    with pytest.raises(CheckpointError, match=message):
        load_regressor(tmp_path / "other.skops")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_regressor(tmp_path / "none.skops")
    with pytest.raises(CheckpointError, match="directory"):
        load_regressor(tmp_path)


def test_damage_is_found(tmp_path, sample):
    path = tmp_path / "r.skops"
    fitted = fit_regressor("ridge", *sample, seed=0)
    save_regressor(path, fitted, {"a": 1})
    raw, X_NX = path.read_bytes(), join_columns(*sample[:2])
    rng, refused = np.random.default_rng(0), 0
    for cut in (0, 10, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        with pytest.raises(CheckpointError, match="damaged"):
            load_regressor(path)
    for place in rng.choice(len(raw), 100, replace=False):
        changed = bytearray(raw)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        try:
            loaded, _ = load_regressor(path)
        except CheckpointError:
            refused += 1
        else:  # dates and the like are not read
            np.testing.assert_array_equal(loaded.predict(X_NX), fitted.predict(X_NX))
    assert refused >= 50


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path, sample):
    fitted = fit_regressor("ridge", *sample, seed=0)
    with pytest.raises(ValueError):
        save_regressor(tmp_path / "r.skops", fitted, {"score": float("nan")})
    with pytest.raises(TypeError):
        save_regressor(tmp_path / "r.skops", Pipeline([("step", (x for x in "a"))]), {})
    assert list(tmp_path.iterdir()) == []
