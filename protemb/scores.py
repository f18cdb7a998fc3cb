"""Scores of class predictions, each with a bootstrap interval over groups of records.

Every score equals scikit-learn's on the same (resampled) records. A class without a record has
no recall, F1 or AUROC: macro averages leave it out instead of counting it as 0.

Shape letters: N = records, C = classes, R = bootstrap replicates.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from protemb.intervals import Interval, bootstrap_weights, percentile_interval

CALIBRATION_BINS = 15
# Record weights are made for as many replicates at a time as fit into this many numbers.
BLOCK = 2**22


def classification_scores(
    labels_N: np.ndarray,
    probabilities_NC: np.ndarray,
    groups_N: np.ndarray,
    names: Sequence[str],
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Score predicted probabilities, with intervals that resample whole groups.

    A class whose records are all of one group gets a recall without an interval. A calibration
    error grows as distinct records get fewer, so its interval leans upwards: for well calibrated
    predictions it can lie above the value.

    Args:
        labels_N: True class of each record, 0 to C - 1.
        probabilities_NC: Rows that add up to 1; the largest (the first of equals) is predicted.
        groups_N: Records with equal values (the same sequence, say) are resampled together.
        names: The C class names.
        replicates: Bootstrap replicates; 0 for no intervals.
        seed: Seed of the resampling.
        level: Coverage that the intervals aim at.

    Returns:
        An interval for each score of `weighted_scores`.
    """
    values, replicates_of = bootstrap_scores(
        labels_N, probabilities_NC, groups_N, names, replicates=replicates, seed=seed
    )
    return {
        key: percentile_interval(value, replicates_of[key], level=level)
        for key, value in values.items()
    }


def bootstrap_scores(
    labels_N: np.ndarray,
    probabilities_NC: np.ndarray,
    groups_N: np.ndarray,
    names: Sequence[str],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Score predictions, and score them again in every bootstrap replicate of their groups.

    Calls with the same groups and seed draw the same replicates, so differences are paired.

    Returns:
        The values, and replicates_R, by the keys of `weighted_scores`. A class in a single group
        has a recall without replicates (NaN).
    """
    labels_N, probabilities_NC = np.asarray(labels_N), np.asarray(probabilities_NC, np.float64)
    _check(labels_N, probabilities_NC, groups_N, names)
    N = len(labels_N)
    group_of_N, weights_RG = bootstrap_weights(groups_N, replicates=replicates, seed=seed)

    values = weighted_scores(labels_N, probabilities_NC, np.ones((1, N)), names)
    blocks = [
        weighted_scores(labels_N, probabilities_NC, block_RG[:, group_of_N], names)
        for block_RG in np.array_split(weights_RG, len(weights_RG) * N // BLOCK + 1)
    ]
    replicates_of = {key: np.concatenate([block[key] for block in blocks]) for key in values}
    for c, name in enumerate(names):
        if len(np.unique(group_of_N[labels_N == c])) < 2:
            replicates_of[f"recall/{name}"][:] = np.nan
    return {key: float(value_1[0]) for key, value_1 in values.items()}, replicates_of


def score_difference(
    labels_N: np.ndarray,
    first_NC: np.ndarray,
    second_NC: np.ndarray,
    groups_N: np.ndarray,
    names: Sequence[str],
    *,
    metric: str = "balanced_accuracy",
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Score of the first predictions minus that of the second, paired by bootstrap replicate."""
    (first, first_of), (second, second_of) = (
        bootstrap_scores(labels_N, rows_NC, groups_N, names, replicates=replicates, seed=seed)
        for rows_NC in (first_NC, second_NC)
    )
    return percentile_interval(first[metric] - second[metric], first_of[metric] - second_of[metric])


def score_bounds(metric: str) -> tuple[float, float]:
    """The least and the largest value that a score can have.

    >>> score_bounds("balanced_accuracy"), score_bounds("log_loss")
    ((0.0, 1.0), (0.0, inf))
    """
    return -1.0 if metric == "mcc" else 0.0, np.inf if metric == "log_loss" else 1.0


def weighted_scores(
    labels_N: np.ndarray,
    probabilities_NC: np.ndarray,
    weights_RN: np.ndarray,
    names: Sequence[str],
) -> dict[str, np.ndarray]:
    """Score one set of predictions under R weightings of its records.

    Returns:
        An array of length R for each of `accuracy`, `balanced_accuracy` and `macro_f1` (means over
        the classes that have records), `mcc` (0 where either side is constant), `auroc` (mean of
        one class against the rest, over the classes for which both exist), `log_loss` (natural
        logarithm, probabilities clipped to [eps, 1 - eps]), `calibration_error` (expected
        difference between the top probability and the accuracy, in 15 bins of equal width) and
        `recall/<name>`. NaN where undefined.
    """
    weights_RN = weights_RN.astype(np.float64)
    N, C = probabilities_NC.shape
    rows_N, predicted_N = np.arange(N), probabilities_NC.argmax(1)
    correct_N, top_N = predicted_N == labels_N, probabilities_NC.max(1)
    bins_N = np.minimum((top_N * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    eps = np.finfo(np.float64).eps
    loss_N = -np.log(probabilities_NC[rows_N, labels_N].clip(eps, 1 - eps))

    total_R = weights_RN.sum(1)
    true_RC = _class_sums(weights_RN, labels_N, np.ones(N), C)
    predicted_RC = _class_sums(weights_RN, predicted_N, np.ones(N), C)
    hits_RC = _class_sums(weights_RN, labels_N, correct_N, C)
    gap_RK = _class_sums(weights_RN, bins_N, top_N - correct_N, CALIBRATION_BINS)
    auroc_RC = np.stack(
        [_auroc(labels_N == c, probabilities_NC[:, c], weights_RN) for c in range(C)], 1
    )

    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: a class without records
        recall_RC = hits_RC / true_RC
        f1_RC = np.where(true_RC > 0, 2 * hits_RC / (true_RC + predicted_RC), np.nan)
    return {
        "accuracy": hits_RC.sum(1) / total_R,
        "balanced_accuracy": _mean_of_defined(recall_RC),
        "macro_f1": _mean_of_defined(f1_RC),
        "mcc": _matthews(hits_RC, true_RC, predicted_RC),
        "auroc": _mean_of_defined(auroc_RC),
        "log_loss": weights_RN @ loss_N / total_R,
        "calibration_error": np.abs(gap_RK).sum(1) / total_R,
        **{f"recall/{name}": recall_RC[:, c] for c, name in enumerate(names)},
    }


def confusion(labels_N: np.ndarray, predicted_N: np.ndarray, C: int) -> np.ndarray:
    """Count records by true (row) and predicted (column) class.

    >>> confusion(np.array([0, 0, 2]), np.array([0, 1, 2]), 3).tolist()
    [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    """
    return np.bincount(labels_N * C + predicted_N, minlength=C * C).reshape(C, C)


def _check(
    labels_N: np.ndarray,
    probabilities_NC: np.ndarray,
    groups_N: np.ndarray,
    names: Sequence[str],
) -> None:
    expected = (len(labels_N), len(names))
    if probabilities_NC.shape != expected or not len(labels_N):
        raise ValueError(
            f"probabilities: got shape {probabilities_NC.shape}, expected a row for each of "
            f"{expected[0]} labels (one at least) and a column for each of {expected[1]} names"
        )
    if len(groups_N) != len(labels_N):
        raise ValueError(
            f"groups: got {len(groups_N)}, expected one for each of {expected[0]} labels"
        )
    if labels_N.min() < 0 or labels_N.max() >= len(names):
        raise ValueError(
            f"labels: got {labels_N.min()} to {labels_N.max()}, expected 0 to {len(names) - 1}"
        )
    # Written so that NaN, what a diverged training predicts, fails too.
    if not (probabilities_NC.min() >= 0 and np.abs(probabilities_NC.sum(1) - 1).max() < 1e-3):
        raise ValueError("probabilities: got values below 0, or rows that do not add up to 1")


def _class_sums(
    weights_RN: np.ndarray, class_of_N: np.ndarray, amount_N: np.ndarray, C: int
) -> np.ndarray:
    """Return sums_RC: weight times amount, added up over the records of each class."""
    N = len(class_of_N)
    return weights_RN @ csr_array(
        (amount_N.astype(np.float64), class_of_N, np.arange(N + 1)), (N, C)
    )


def _auroc(positive_N: np.ndarray, score_N: np.ndarray, weights_RN: np.ndarray) -> np.ndarray:
    """Return auroc_R: chance that a positive scores above a negative, ties counting half."""
    positives, negatives = np.flatnonzero(positive_N), np.flatnonzero(~positive_N)
    negatives = negatives[np.argsort(score_N[negatives])]
    weight_RP, weight_RM = weights_RN[:, positives], weights_RN[:, negatives]
    # Weight of the negatives below each rank, from none to all of them.
    below_RM1 = np.concatenate([np.zeros((len(weights_RN), 1)), weight_RM.cumsum(1)], 1)
    ranks = [
        np.searchsorted(score_N[negatives], score_N[positives], side) for side in ("left", "right")
    ]
    wins_RP = (below_RM1[:, ranks[0]] + below_RM1[:, ranks[1]]) / 2
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: one of the two sides is missing
        return (weight_RP * wins_RP).sum(1) / (weight_RP.sum(1) * below_RM1[:, -1])


def _matthews(hits_RC: np.ndarray, true_RC: np.ndarray, predicted_RC: np.ndarray) -> np.ndarray:
    """Return mcc_R, the correlation of true and predicted classes; 0 where one is constant."""
    total_R = true_RC.sum(1)
    covariance_R = hits_RC.sum(1) * total_R - (true_RC * predicted_RC).sum(1)
    variances_R = (total_R**2 - (true_RC**2).sum(1)) * (total_R**2 - (predicted_RC**2).sum(1))
    return np.divide(
        covariance_R, np.sqrt(variances_R), out=np.zeros_like(total_R), where=variances_R > 0
    )


def _mean_of_defined(values_RC: np.ndarray) -> np.ndarray:
    """Return mean_R over the values that are not NaN; NaN where all are."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values_RC, 1) / np.isfinite(values_RC).sum(1)
