"""The quick way to a multilayer perceptron against scikit-learn's own."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from protemb.variants.mlp import fit_mlp
from protemb.variants.regressors import fit_regressor


def sample(rows, columns, seed, dtype):
    rng = np.random.default_rng(seed)
    X_NX = rng.normal(size=(rows, columns))
    target_N = X_NX[:, 0] - 2 * np.maximum(X_NX[:, -1], 0) + rng.normal(0, 0.5, rows)
    return X_NX.astype(dtype), target_N.astype(dtype)


def plain(model, X_NX, target_N):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X_NX, target_N)


@settings(max_examples=25)
@given(
    rows=st.integers(2, 450),
    columns=st.integers(1, 40),
    hidden=st.integers(1, 60),
    epochs=st.integers(1, 30),
    seed=st.integers(0, 2**31 - 1),
)
def test_it_is_scikit_learns(rows, columns, hidden, epochs, seed):
    X_NX, target_N = sample(rows, columns, seed, np.float64)
    options = {"hidden_layer_sizes": (hidden,), "max_iter": epochs, "random_state": seed}
    theirs = plain(MLPRegressor(**options), X_NX, target_N)
    ours = fit_mlp(MLPRegressor(**options), X_NX, target_N)
    assert ours.n_iter_ == theirs.n_iter_
    for a, b in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(X_NX), theirs.predict(X_NX), rtol=1e-8, atol=1e-9)


def test_it_stops_where_scikit_learn_stops():
    rng = np.random.default_rng(0)
    X_NX, target_N = rng.normal(size=(60, 30)), np.zeros(60)
    options = {"hidden_layer_sizes": (20,), "random_state": 1, "max_iter": 1000}
    theirs = plain(MLPRegressor(**options), X_NX, target_N)
    ours = fit_mlp(MLPRegressor(**options), X_NX, target_N)
    assert 11 < theirs.n_iter_ < 1000 and ours.n_iter_ == theirs.n_iter_
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)


def test_in_float32_the_first_epochs_agree():
    X_NX, target_N = sample(300, 12, 5, np.float32)
    options = {"hidden_layer_sizes": (50,), "random_state": 2, "max_iter": 5}
    theirs = plain(MLPRegressor(**options), X_NX, target_N)
    ours = fit_mlp(MLPRegressor(**options), X_NX, target_N)
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float32
    np.testing.assert_allclose(ours.predict(X_NX), theirs.predict(X_NX), atol=1e-5)


def test_other_options_are_refused():
    X_NX, target_N = sample(20, 3, 0, np.float64)
    with pytest.raises(AssertionError):
        fit_mlp(MLPRegressor(hidden_layer_sizes=(5,), alpha=1.0), X_NX, target_N)


def test_weights_take_the_plain_way():
    X_NX, target_N = sample(80, 6, 3, np.float32)
    groups_N, ones_N = np.arange(80), np.ones(80)
    half = ones_N.copy()
    half[:40] = 2
    base_NB = np.zeros((80, 1), np.float32)
    quick, weighted = (
        fit_regressor("mlp50", base_NB, X_NX, target_N, groups_N, weights_N, 0)
        for weights_N in (ones_N, half)
    )
    X = np.hstack([base_NB, X_NX])
    assert np.abs(quick.predict(X) - weighted.predict(X)).max() > 1e-3
