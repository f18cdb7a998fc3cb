"""Scores as functions of sums over records: what to add up, and what to make of the sums.

Each equals the score of the same name in `protemb.scores.weighted_scores`. Written this way, a
score under any weighting of groups follows from a product of weights and sums.

Shape letters: N = records, C = classes, K = sums that a score is made of; X = any leading axes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from protemb.errors import ConfigError
from protemb.scores import CALIBRATION_BINS

RANKED = "auroc"
"""The one score that is no function of sums."""

Columns = Callable[[np.ndarray, np.ndarray], np.ndarray]
Value = Callable[[np.ndarray], np.ndarray]


def summed_metric(metric: str, names: Sequence[str]) -> tuple[Columns, Value]:
    """Find what to add up over records, and the score of sums.

    Returns:
        A function of labels_N and probabilities_NC that gives columns_NK, and one of sums_XK that
        gives the score_X; NaN where it is undefined.

    Raises:
        ConfigError: No such metric.
    """
    if metric in SUMMED:
        return SUMMED[metric]
    recalls = [f"recall/{name}" for name in names]
    if metric not in recalls:
        raise ConfigError("metric", metric, f"one of {', '.join([*SUMMED, RANKED, *recalls])}")
    c = recalls.index(metric)
    return lambda *run: _true_and_hits(*run)[:, [c, len(names) + c]], _mean_recall


def _predicted(probabilities_NC: np.ndarray) -> np.ndarray:
    return probabilities_NC.argmax(1)


def _in_columns(column_of_N: np.ndarray, amount_N: np.ndarray, K: int) -> np.ndarray:
    columns_NK = np.zeros((len(column_of_N), K))
    columns_NK[np.arange(len(column_of_N)), column_of_N] = amount_N
    return columns_NK


def _true_and_hits(labels_N: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    C, ones_N = probabilities_NC.shape[1], np.ones(len(labels_N))
    correct_N = _predicted(probabilities_NC) == labels_N
    return np.concatenate(
        [_in_columns(labels_N, ones_N, C), _in_columns(labels_N, correct_N, C)], axis=1
    )


def _true_hits_predicted(labels_N: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    C, ones_N = probabilities_NC.shape[1], np.ones(len(labels_N))
    predicted_NC = _in_columns(_predicted(probabilities_NC), ones_N, C)
    return np.concatenate([_true_and_hits(labels_N, probabilities_NC), predicted_NC], axis=1)


def _count_and_hits(labels_N: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    return np.stack([np.ones(len(labels_N)), _predicted(probabilities_NC) == labels_N], axis=1)


def _count_and_loss(labels_N: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    eps = np.finfo(np.float64).eps
    chosen_N = probabilities_NC[np.arange(len(labels_N)), labels_N].astype(np.float64)
    return np.stack([np.ones(len(labels_N)), -np.log(chosen_N.clip(eps, 1 - eps))], axis=1)


def _count_and_gaps(labels_N: np.ndarray, probabilities_NC: np.ndarray) -> np.ndarray:
    top_N, ones_N = probabilities_NC.max(1), np.ones((len(labels_N), 1))
    bin_of_N = np.minimum((top_N * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap_N = top_N - (_predicted(probabilities_NC) == labels_N)
    return np.concatenate([ones_N, _in_columns(bin_of_N, gap_N, CALIBRATION_BINS)], axis=1)


def _ratio(sums_XK: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no records
        return np.abs(sums_XK[..., 1:]).sum(-1) / sums_XK[..., 0]


def _mean_recall(sums_XK: np.ndarray) -> np.ndarray:
    true_XC, hits_XC = np.split(sums_XK, 2, axis=-1)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: a class without records
        return _mean_of_defined(hits_XC / true_XC)


def _macro_f1(sums_XK: np.ndarray) -> np.ndarray:
    true_XC, hits_XC, predicted_XC = np.split(sums_XK, 3, axis=-1)
    with np.errstate(invalid="ignore"):  # as above
        return _mean_of_defined(
            np.where(true_XC > 0, 2 * hits_XC / (true_XC + predicted_XC), np.nan)
        )


def _matthews(sums_XK: np.ndarray) -> np.ndarray:
    """Gorodkin (2004), equation 8; 0 where labels or predictions are constant."""
    true_XC, hits_XC, predicted_XC = np.split(sums_XK, 3, axis=-1)
    total_X = true_XC.sum(-1)
    covariance_X = hits_XC.sum(-1) * total_X - (true_XC * predicted_XC).sum(-1)
    variances_X = (total_X**2 - (true_XC**2).sum(-1)) * (total_X**2 - (predicted_XC**2).sum(-1))
    return np.divide(
        covariance_X, np.sqrt(variances_X), out=np.zeros_like(total_X), where=variances_X > 0
    )


def _mean_of_defined(values_XC: np.ndarray) -> np.ndarray:
    return np.nansum(values_XC, -1) / np.isfinite(values_XC).sum(-1)


SUMMED: dict[str, tuple[Columns, Value]] = {
    "accuracy": (_count_and_hits, _ratio),
    "balanced_accuracy": (_true_and_hits, _mean_recall),
    "macro_f1": (_true_hits_predicted, _macro_f1),
    "mcc": (_true_hits_predicted, _matthews),
    "log_loss": (_count_and_loss, _ratio),
    "calibration_error": (_count_and_gaps, _ratio),
}
