"""Scores of several runs as one, and differences between scores.

A run is its score and the score's bootstrap replicates, as `protemb.scores.bootstrap_scores`
makes them. Intervals of means hold both kinds of chance: which groups of records are tested, and,
from two runs on, how runs differ. What is learned from a few runs about the latter is little, so
the values of all runs are kept beside their mean.

Shape letters: K = runs, R = bootstrap replicates.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.stats import t as student_t

from protemb.intervals import Interval, percentile_interval

Run: TypeAlias = tuple[float, np.ndarray | None]
"""A score and its replicates_R, or None without."""

Mean: TypeAlias = tuple[float, np.ndarray]
"""A mean score and its replicates_R; R = 0 where there are none."""


Bounds: TypeAlias = tuple[float, float]
"""The least and the largest value that a score can have."""

ANY: Bounds = (-math.inf, math.inf)


def mean_of_runs(runs: Sequence[Run], rng: np.random.Generator) -> Mean:
    """Average runs, draw by draw, and let the draws vary as much as other runs would.

    Runs that are tested on the same records must have been resampled with the same draws (the
    same groups and seed), runs tested on other records (folds) with draws of their own.

    To the mean of each draw comes noise: Student's t with one degree of freedom less than runs,
    since few runs say little about their own spread, times the standard error of the mean. What
    the draws explain of the spread of the runs (the interaction of runs and records) is taken off
    the squared error once, as in Obuchowski and Rockette (1995). A single run gives no noise.

    Args:
        runs: One or more.
        rng: Draws the noise; means that are compared need one generator, not one seed each.

    Returns:
        The mean and its replicates_R; R = 0 where a run has none.

    Raises:
        ValueError: No runs, or runs with different numbers of replicates.
    """
    if not runs:
        raise ValueError("runs: got none, expected one or more")
    values_K = np.array([value for value, _ in runs], np.float64)
    replicates = [_replicates(run) for run in runs]
    if not all(map(len, replicates)):
        return float(values_K.mean()), np.empty(0)
    replicates_KR = np.stack(replicates)
    K, R = replicates_KR.shape
    spread = _spread(values_K, replicates_KR) if K > 1 else 0.0
    # Even steps through the distribution, in random order: chance moves the tails less.
    noise_R = student_t.ppf((rng.permutation(R) + 0.5) / R, max(K - 1, 1))
    return float(values_K.mean()), replicates_KR.mean(0) + spread * noise_R


def _spread(values_K: np.ndarray, replicates_KR: np.ndarray) -> float:
    """Standard error of the mean over runs, beyond what the draws explain."""
    K = len(values_K)
    apart_KR = replicates_KR - replicates_KR.mean(0)
    apart_KR = apart_KR[:, ~np.isnan(apart_KR).any(0)]
    if not apart_KR.size:
        return 0.0
    error = values_K.var(ddof=1) / K - apart_KR.var(1).sum() / (K * (K - 1))
    return math.sqrt(error) if error > 0 else 0.0


def _replicates(run: Run) -> np.ndarray:
    return np.empty(0) if run[1] is None else run[1]


def score_interval(mean: Mean, bounds: Bounds) -> Interval:
    """The mean score with its interval, which the noise must not take beyond what is possible."""
    return percentile_interval(*mean).within(*bounds)


def paired_difference(first: Run, second: Run) -> Interval:
    """First minus second, for scores on the same test records and the same draws of them.

    Raises:
        ValueError: Different numbers of replicates.
    """
    return _difference(first, second, None)


def independent_difference(first: Run, second: Run, *, seed: int = 0) -> Interval:
    """First minus second, for scores on different test records.

    The replicates of one are shuffled before they are subtracted: draws with the same seed go
    alike in both, which would be taken for a pairing that is not there. Where the two test parts
    share records the true interval is narrower, so this one is on the safe side.

    Raises:
        ValueError: Different numbers of replicates.
    """
    return _difference(first, second, np.random.default_rng(seed))


def _difference(first: Run, second: Run, rng: np.random.Generator | None) -> Interval:
    value, first_R, second_R = first[0] - second[0], _replicates(first), _replicates(second)
    if not len(first_R) or not len(second_R):
        return percentile_interval(value, np.empty(0))
    if len(first_R) != len(second_R):
        raise ValueError(f"replicates: got {len(first_R)} and {len(second_R)}, expected as many")
    return percentile_interval(value, first_R - (rng.permutation(second_R) if rng else second_R))


def plain_values(values: Iterable[float]) -> list[float | None]:
    """Numbers for JSON, None for NaN."""
    return [None if math.isnan(value) else value for value in values]
