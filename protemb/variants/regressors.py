"""Regressors and classifiers of scikit-learn on what stands beside an embedding, and on it.

Each is one `Pipeline` that takes the columns of `np.hstack([base_NB, features_NC])`: what is
learned from the training rows (means and scales of columns, components, hyperparameters) is
inside it, so nothing of the held-out rows can get in.

Shape letters: N = rows, B = base features, C = embedding features, X = all of them, K = classes,
A = regularisation strengths.
"""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from protemb.errors import ConfigError
from protemb.variants.mlp import fit_mlp
from protemb.variants.strengths import ITERATIONS, choose_alpha, choose_c

REGRESSORS = ("mlp50", "ridge", "random_forest", "gaussian_process", "hist_gbdt")
CLASSIFIERS = ("logistic", "mlp50", "random_forest", "hist_gbdt")
SEEDLESS = ("ridge", "logistic")
"""These come out the same for every seed."""

COMPONENTS = 50
"""Principal components that a Gaussian process sees at most."""
TUNED_ROWS = 500
"""Rows that its hyperparameters are fitted to at most."""

# What scikit-learn says of its own defaults, which are kept as they are published: 200 epochs.
_STOPPED = "Stochastic Optimizer: Maximum iterations"
# A kernel part that features without signal do not need is driven to its bound.
_AT_BOUND = "The optimal value found for dimension"


def fit_regressor(
    word: str,
    base_NB: np.ndarray,
    features_NC: np.ndarray | None,
    target_N: np.ndarray,
    groups_N: np.ndarray,
    weights_N: np.ndarray,
    seed: int,
) -> Pipeline:
    """Fit one regressor; `predict` takes the base and embedding columns side by side.

    Embedding features are standardised, and so are base columns that hold anything but 0 and 1 in
    the training rows; one-hot columns stay as they are. The target's scale is left alone.

    - `mlp50`: one hidden layer of 50, everything else as scikit-learn has it.
    - `ridge`: the strength comes from folds over the groups, see `choose_alpha`.
    - `random_forest`: a third of the columns at each split and at least five rows in a leaf, as
      for regression in Liaw and Wiener (2002, R News 2/3: 18).
    - `gaussian_process`: constant x squared exponential + noise (Rasmussen and Williams 2006,
      chapter 5) on at most `COMPONENTS` principal components. The embedding as a whole is scaled
      to the variance of one column, so that its many columns do not drown the one-hots.
      Hyperparameters maximise the likelihood of at most `TUNED_ROWS` rows; then all rows are
      fitted, a row's noise divided by its weight.
    - `hist_gbdt`: gradient boosting on binned columns, as scikit-learn has it.

    Args:
        word: one of `REGRESSORS`.
        base_NB: float32.
        features_NC: float32; None for the base alone.
        target_N: what is predicted.
        groups_N: what inner folds keep together.
        weights_N: of the rows, above 0; not passed on when all are equal.
        seed: of all that is random.

    Raises:
        ConfigError: an unknown word, or one that needs more groups than there are.
    """
    if word not in REGRESSORS:
        raise ConfigError("regressor", word, f"one of {', '.join(REGRESSORS)}")
    X_NX = join_columns(base_NB, features_NC)
    columns = _columns(base_NB, features_NC, whole=word == "gaussian_process")
    if word == "gaussian_process":
        return _fit_process(columns, X_NX, target_N, weights_N, seed)
    if word == "mlp50":
        model = MLPRegressor(hidden_layer_sizes=(50,), random_state=seed)
        # scikit-learn would compute in float64 for a float64 target, at two thirds of the speed.
        target_N, weights_N = target_N.astype(np.float32), weights_N.astype(np.float32)
        if _equal(weights_N):
            fit_mlp(model, columns.fit_transform(X_NX), target_N)
            return Pipeline([("columns", columns), ("model", model)])
    elif word == "ridge":
        model = Ridge(choose_alpha(columns, X_NX, target_N, groups_N, weights_N))
    elif word == "random_forest":
        model = RandomForestRegressor(max_features=1 / 3, min_samples_leaf=5, random_state=seed)
    else:
        model = HistGradientBoostingRegressor(random_state=seed)
    return _fit(columns, model, X_NX, target_N, weights_N)


def fit_classifier(
    word: str,
    base_NB: np.ndarray,
    features_NC: np.ndarray | None,
    labels_N: np.ndarray,
    groups_N: np.ndarray,
    weights_N: np.ndarray,
    seed: int,
) -> Pipeline:
    """Fit one classifier in the same way; see `class_probabilities` for what it predicts.

    `logistic` takes its strength from folds over the groups, see `choose_c`. The others are as in
    `fit_regressor`, but a random forest's splits see the square root of the columns. With one
    class among the training rows, that class is predicted.

    Args:
        word: one of `CLASSIFIERS`.
        base_NB: float32.
        features_NC: float32; None for the base alone.
        labels_N: class codes.
        groups_N: what inner folds keep together.
        weights_N: of the rows.
        seed: of all that is random.

    Raises:
        ConfigError: an unknown word, or one that needs more groups than there are.
    """
    if word not in CLASSIFIERS:
        raise ConfigError("classifier", word, f"one of {', '.join(CLASSIFIERS)}")
    X_NX, columns = join_columns(base_NB, features_NC), _columns(base_NB, features_NC)
    if len(np.unique(labels_N)) == 1:
        model = DummyClassifier(strategy="prior")
    elif word == "mlp50":
        model = MLPClassifier(hidden_layer_sizes=(50,), random_state=seed)
    elif word == "logistic":
        C = choose_c(columns, X_NX, labels_N, groups_N, weights_N)
        model = LogisticRegression(C=C, max_iter=ITERATIONS)
    elif word == "random_forest":
        model = RandomForestClassifier(random_state=seed)
    else:
        model = HistGradientBoostingClassifier(random_state=seed)
    return _fit(columns, model, X_NX, labels_N, weights_N)


def class_probabilities(fitted: Pipeline, X_NX: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities_NK of the classes 0 to K - 1; 0 for those that the training rows lacked."""
    found_NK = np.zeros((len(X_NX), classes))
    found_NK[:, fitted.classes_] = fitted.predict_proba(X_NX)
    return found_NK


def join_columns(base_NB: np.ndarray, features_NC: np.ndarray | None) -> np.ndarray:
    """The columns that a fitted regressor takes, float32."""
    parts = [base_NB] if features_NC is None else [base_NB, features_NC]
    return np.hstack(parts).astype(np.float32, copy=False)


def _columns(
    base_NB: np.ndarray, features_NC: np.ndarray | None, *, whole: bool = False
) -> ColumnTransformer:
    """What happens to the columns before the regressor sees them.

    Args:
        base_NB: training rows.
        features_NC: training rows.
        whole: scale the embedding as a whole to the variance of one column.
    """
    B, C = base_NB.shape[1], 0 if features_NC is None else features_NC.shape[1]
    one_hot_B = np.isin(base_NB, (0, 1)).all(0)
    parts = [
        ("one_hot", "passthrough", np.flatnonzero(one_hot_B).tolist()),
        ("numeric", StandardScaler(), np.flatnonzero(~one_hot_B).tolist()),
        ("features", StandardScaler(), list(range(B, B + C))),
    ]
    return ColumnTransformer(
        [part for part in parts if part[2]],
        transformer_weights={"features": C**-0.5} if whole and C else None,
    )


def _fit(
    columns: ColumnTransformer,
    model: object,
    X_NX: np.ndarray,
    target_N: np.ndarray,
    weights_N: np.ndarray,
) -> Pipeline:
    # Equal weights are left out: they would only cost time, and the last bits.
    options = {} if _equal(weights_N) else {"model__sample_weight": weights_N}
    pipeline = Pipeline([("columns", columns), ("model", model)])
    return _quietly(lambda: pipeline.fit(X_NX, target_N, **options), _STOPPED)


def _equal(weights_N: np.ndarray) -> bool:
    return bool((weights_N == weights_N[0]).all())


def _fit_process(
    columns: ColumnTransformer,
    X_NX: np.ndarray,
    target_N: np.ndarray,
    weights_N: np.ndarray,
    seed: int,
) -> Pipeline:
    scaled_NX = columns.fit_transform(X_NX)
    components = min(COMPONENTS, *scaled_NX.shape)
    reduction = PCA(components, random_state=seed)
    # Not `fit_transform`, which differs from what `predict` will see in the last bits.
    reduced_NX = reduction.fit(scaled_NX).transform(scaled_NX).astype(np.float64)
    rows = np.random.default_rng(seed).permutation(len(X_NX))[:TUNED_ROWS]
    kernel = ConstantKernel() * RBF() + WhiteKernel()
    tuned = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    _quietly(lambda: tuned.fit(reduced_NX[rows], target_N[rows]), _AT_BOUND)
    signal, noise = tuned.kernel_.k1, tuned.kernel_.k2.noise_level
    model = GaussianProcessRegressor(
        signal, alpha=noise * weights_N.mean() / weights_N, optimizer=None, normalize_y=True
    )
    model.fit(reduced_NX, target_N)
    return Pipeline([("columns", columns), ("components", reduction), ("model", model)])


def _quietly(fit: Callable[[], Pipeline], message: str) -> Pipeline:
    """Fit without the one warning that is expected."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message, ConvergenceWarning)
        return fit()
