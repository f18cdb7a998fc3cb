"""Regressors against scikit-learn put together by hand."""

import warnings

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protemb.errors import ConfigError
from protemb.variants.regressors import (
    CLASSIFIERS,
    REGRESSORS,
    class_probabilities,
    fit_classifier,
    fit_regressor,
    join_columns,
)
from protemb.variants.strengths import ALPHAS, INVERSES, ITERATIONS, choose_alpha, choose_c

N, B, C = 160, 8, 12


def sample(seed=0, rows=N, width=C):
    """Base (the first column is a number, the others one-hots), features, target, groups."""
    rng = np.random.default_rng(seed)
    base_NB = (rng.random((rows, B)) < 0.3).astype(np.float32)
    base_NB[:, 0] = rng.normal(7, 2, rows)
    groups_N = np.arange(rows) // 16
    features_NC = rng.normal(3, 5, (rows, width)).astype(np.float32)
    target_N = base_NB[:, 1] + 0.3 * features_NC[:, 0] + rng.normal(0, 0.4, rows)
    return base_NB, features_NC, target_N, groups_N


def scaled(base_NB, features_NC):
    """What a regressor sees, by hand."""
    number, features = base_NB[:, :1], features_NC
    number, features = ((x - x.mean(0)) / x.std(0) for x in (number, features))
    return np.hstack([base_NB[:, 1:], number, features])


def weights(seed=0):
    return np.random.default_rng(seed).uniform(0.2, 3, N)


@pytest.mark.parametrize("word", REGRESSORS)
@pytest.mark.parametrize("even", [True, False])
def test_every_regressor_learns_and_repeats(word, even):
    base_NB, features_NC, target_N, groups_N = sample()
    weights_N = np.ones(N) if even else weights()
    rows, rest = np.arange(120), np.arange(120, N)
    fits = [
        fit_regressor(
            word, base_NB[rows], features_NC[rows], target_N[rows], groups_N[rows],
            weights_N[rows], seed=3,
        ).predict(join_columns(base_NB[rest], features_NC[rest]))
        for _ in range(2)
    ]  # fmt: skip
    np.testing.assert_array_equal(*fits)
    assert np.corrcoef(fits[0], target_N[rest])[0, 1] > 0.6
    assert abs(fits[0].mean() - target_N[rest].mean()) < 0.6


@pytest.mark.parametrize("word", REGRESSORS)
def test_the_scale_of_features_does_not_matter_and_that_of_the_target_stays(word):
    base_NB, features_NC, target_N, groups_N = sample(1)
    first, second = (
        fit_regressor(word, base_NB, scale * features_NC, target_N, groups_N, np.ones(N), seed=0)
        for scale in (np.float32(1), np.float32(1024))
    )
    plain = first.predict(join_columns(base_NB, features_NC))
    large = second.predict(join_columns(base_NB, 1024 * features_NC))
    np.testing.assert_allclose(plain, large, atol=1e-3)
    assert np.std(plain) == pytest.approx(np.std(target_N), rel=0.35)


@pytest.mark.parametrize("word", REGRESSORS)
def test_weights_count(word):
    """Rows that say the opposite are ignored when they weigh next to nothing."""
    base_NB, features_NC, target_N, groups_N = sample(2)
    odd_N = np.arange(N) % 2 == 1
    spoilt_N = np.where(odd_N, -5 * target_N, target_N)
    weights_N = np.where(odd_N, 1e-3, 1.0)
    fitted = fit_regressor(word, base_NB, features_NC, spoilt_N, groups_N, weights_N, seed=0)
    guess_N = fitted.predict(join_columns(base_NB, features_NC))
    assert np.corrcoef(guess_N[~odd_N], target_N[~odd_N])[0, 1] > 0.5


def test_mlp50_is_scikit_learns_on_one_hots_as_they_are_and_scaled_features():
    base_NB, features_NC, target_N, groups_N = sample(3)
    base_NB[:, 0] = base_NB[:, 0] > 7
    fitted = fit_regressor("mlp50", base_NB, features_NC, target_N, groups_N, np.ones(N), seed=5)
    model = MLPRegressor(hidden_layer_sizes=(50,), random_state=5)
    X = np.hstack([base_NB, StandardScaler().fit_transform(features_NC)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected_N = model.fit(X, target_N.astype(np.float32)).predict(X)
    assert X.dtype == fitted[-1].coefs_[0].dtype == fitted[-1]._optimizer.ms[0].dtype == np.float32
    guess_N = fitted.predict(join_columns(base_NB, features_NC))
    np.testing.assert_allclose(guess_N, expected_N, atol=1e-5)


def test_only_the_warning_that_is_expected_is_silenced():
    base_NB, features_NC, target_N, groups_N = sample(4)
    fit_regressor("mlp50", base_NB, None, target_N, groups_N, np.ones(N), seed=0)  # no warning
    with pytest.raises(ValueError, match="NaN"):
        fit_regressor("mlp50", base_NB, None, np.full(N, np.nan), groups_N, np.ones(N), seed=0)
    assert not any(
        entry[0] == "ignore" and entry[2] is ConvergenceWarning for entry in warnings.filters
    )


def test_without_features_the_base_stands_alone():
    base_NB, features_NC, target_N, groups_N = sample(5)
    fitted = fit_regressor("ridge", base_NB, None, target_N, groups_N, np.ones(N), seed=0)
    assert fitted.predict(base_NB).shape == (N,)
    empty_N0 = np.zeros((N, 0), np.float32)
    alone = fit_regressor("ridge", empty_N0, features_NC, target_N, groups_N, np.ones(N), seed=0)
    assert alone.predict(features_NC).shape == (N,)


def as_it_is():
    return ColumnTransformer([("features", StandardScaler(), [0, 1, 2])], remainder="passthrough")


@pytest.mark.parametrize("width", [C, 300])
@pytest.mark.parametrize("even", [True, False])
def test_ridge_takes_the_strength_that_a_plain_loop_takes(width, even):
    base_NB, features_NC, target_N, groups_N = sample(6, width=width)
    X_NX = join_columns(base_NB, features_NC).astype(np.float64)
    weights_N = np.ones(N) if even else weights()
    error_A = []
    for alpha in ALPHAS:
        total = 0.0
        for inner, held in GroupKFold(5).split(X_NX, groups=groups_N):
            model = make_pipeline(as_it_is(), Ridge(alpha))
            model.fit(X_NX[inner], target_N[inner], ridge__sample_weight=weights_N[inner])
            total += weights_N[held] @ (model.predict(X_NX[held]) - target_N[held]) ** 2
        error_A.append(total)
    found = choose_alpha(as_it_is(), X_NX, target_N, groups_N, weights_N)
    assert found == ALPHAS[np.argmin(error_A)]
    assert ALPHAS[0] < found < ALPHAS[-1]
    fitted = fit_regressor("ridge", base_NB, features_NC, target_N, groups_N, weights_N, seed=0)
    Z = scaled(base_NB, features_NC)
    expected = Ridge(fitted[-1].alpha).fit(Z, target_N, weights_N).predict(Z)
    guess_N = fitted.predict(join_columns(base_NB, features_NC))
    np.testing.assert_allclose(guess_N, expected, atol=2e-4)


def test_logistic_takes_the_strength_that_a_plain_loop_takes():
    base_NB, features_NC, target_N, groups_N = sample(7)
    labels_N = np.digitize(target_N, [0.5, 2])
    X_NX, weights_N = join_columns(base_NB, features_NC), weights()
    terms_A = np.zeros(len(INVERSES))
    for inner, held in GroupKFold(5).split(X_NX, groups=groups_N):
        for place, inverse in enumerate(INVERSES):
            model = make_pipeline(as_it_is(), LogisticRegression(C=inverse, max_iter=ITERATIONS))
            model.fit(
                X_NX[inner], labels_N[inner], logisticregression__sample_weight=weights_N[inner]
            )
            chance = model.predict_proba(X_NX[held])[np.arange(len(held)), labels_N[held]]
            terms_A[place] += weights_N[held] @ np.log(chance)
    assert choose_c(as_it_is(), X_NX, labels_N, groups_N, weights_N) == INVERSES[terms_A.argmax()]


@pytest.mark.parametrize("word", ["ridge", "logistic"])
def test_a_strength_cannot_be_chosen_inside_one_group(word):
    base_NB, features_NC, target_N, _ = sample()
    fit = fit_regressor if word == "ridge" else fit_classifier
    with pytest.raises(ConfigError, match="all training rows are of one group"):
        fit(word, base_NB, features_NC, target_N > 1, np.zeros(N), np.ones(N), 0)


def test_a_gaussian_process_with_even_weights_is_the_one_with_its_noise_in_the_kernel():
    base_NB, features_NC, target_N, groups_N = sample(8, width=80)
    word = "gaussian_process"
    fitted = fit_regressor(word, base_NB, features_NC, target_N, groups_N, np.ones(N), seed=0)
    assert fitted["components"].n_components_ == 50
    Z = fitted[:-1].transform(join_columns(base_NB, features_NC)).astype(np.float64)
    model = fitted["model"]
    by_hand = GaussianProcessRegressor(
        model.kernel_, alpha=model.alpha[0], optimizer=None, normalize_y=True
    ).fit(Z, target_N)
    np.testing.assert_allclose(model.predict(Z), by_hand.predict(Z), atol=1e-6)
    assert len(set(model.alpha.tolist())) == 1
    # The whole embedding varies as much as one column, beside one-hots that stay as they are.
    columns = fitted["columns"].transform(join_columns(base_NB, features_NC))
    assert columns[:, B:].var(0).sum() == pytest.approx(1, rel=1e-4)
    assert set(np.unique(columns[:, : B - 1])) == {0, 1}


@pytest.mark.parametrize("word", CLASSIFIERS)
@pytest.mark.parametrize("even", [True, False])
def test_every_classifier_learns(word, even):
    base_NB, features_NC, target_N, groups_N = sample(9)
    labels_N = np.digitize(target_N, [0.5, 2]) * 2  # classes 1 and 3 are missing
    weights_N = np.ones(N) if even else weights()
    fitted = fit_classifier(word, base_NB, features_NC, labels_N, groups_N, weights_N, seed=0)
    chances_NK = class_probabilities(fitted, join_columns(base_NB, features_NC), 5)
    assert chances_NK.shape == (N, 5) and not chances_NK[:, [1, 3]].any()
    np.testing.assert_allclose(chances_NK.sum(1), 1, atol=1e-5)
    assert (chances_NK.argmax(1) == labels_N).mean() > 0.75


@pytest.mark.parametrize("word", CLASSIFIERS)
def test_one_class_alone_is_predicted(word):
    base_NB, features_NC, _, groups_N = sample()
    labels_N = np.full(N, 2)
    fitted = fit_classifier(word, base_NB, features_NC, labels_N, groups_N, np.ones(N), seed=0)
    assert isinstance(fitted[-1], DummyClassifier)
    chances_NK = class_probabilities(fitted, join_columns(base_NB, features_NC), 3)
    assert (chances_NK == [0, 0, 1]).all()


def test_unknown_words_are_refused():
    base_NB, features_NC, target_N, groups_N = sample()
    with pytest.raises(ConfigError, match="expected one of mlp50, ridge"):
        fit_regressor("logistic", base_NB, features_NC, target_N, groups_N, np.ones(N), 0)
    with pytest.raises(ConfigError, match="expected one of logistic, mlp50"):
        fit_classifier("ridge", base_NB, features_NC, target_N, groups_N, np.ones(N), 0)
