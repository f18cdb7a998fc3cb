"""Means of runs and their differences, against textbook intervals and a known truth."""

import math

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import sem, t

from protemb.analysis.means import independent_difference, mean_of_runs, paired_difference
from protemb.intervals import bootstrap_weights


def rng():
    return np.random.default_rng(0)


def test_runs_that_agree_are_averaged_draw_by_draw():
    replicates = np.random.default_rng(0).normal(size=(3, 50))
    value, mean_R = mean_of_runs([(0.3, replicates_R) for replicates_R in replicates], rng())
    assert value == pytest.approx(0.3)
    assert mean_R == pytest.approx([sum(draw) / 3 for draw in replicates.T])


def test_a_single_run_stays_as_it_is():
    value, same_R = mean_of_runs([(0.3, np.arange(5.0))], rng())
    assert value == 0.3 and same_R.tolist() == [0, 1, 2, 3, 4]


def test_runs_that_differ_widen_by_students_t():
    """Where the draws say nothing, the interval of the mean is the textbook's."""
    values = [0.5, 0.62, 0.58]
    mean, mean_R = mean_of_runs([(value, np.full(20_000, value)) for value in values], rng())
    assert mean == pytest.approx(np.mean(values))
    error = sem(values)
    expected = t.interval(0.95, 2, mean, error)
    assert np.quantile(mean_R, [0.025, 0.975]) == pytest.approx(np.array(expected), rel=1e-3)


def test_spread_that_the_draws_explain_counts_once():
    # Runs whose draws go their own ways: their values must differ by so much anyway.
    replicates_KR = 0.6 + 0.1 * np.random.default_rng(1).normal(size=(4, 5000))
    values_K = replicates_KR[:, 0]
    expected = values_K.var(ddof=1) / 4 - sum(
        np.var(row_R - replicates_KR.mean(0)) for row_R in replicates_KR
    ) / (4 * 3)
    _, mean_R = mean_of_runs(list(zip(values_K, replicates_KR, strict=True)), rng())
    noise_R = mean_R - replicates_KR.mean(0)
    scale = math.sqrt(max(expected, 0)) * t.ppf(0.975, 3)
    assert np.quantile(noise_R, 0.975) == pytest.approx(scale, rel=0.01)
    # Values closer to each other than their draws: no noise at all.
    close = [(0.6, replicates_R) for replicates_R in replicates_KR]
    assert mean_of_runs(close, rng())[1] == pytest.approx(replicates_KR.mean(0))


def test_undefined_draws_stay_undefined_and_disturb_no_others():
    first_R, second_R = np.array([0.1, np.nan, 0.3, 0.2]), np.array([0.1, 0.2, 0.3, 0.2])
    _, mean_R = mean_of_runs([(0.2, first_R), (0.4, second_R)], rng())
    assert np.isnan(mean_R).tolist() == [False, True, False, False]
    _, mean_R = mean_of_runs([(0.2, np.full(4, np.nan)), (0.4, second_R)], rng())
    assert np.isnan(mean_R).all()


@pytest.mark.parametrize("without", [None, np.empty(0)])
def test_a_run_without_replicates_leaves_the_mean_without(without):
    value, mean_R = mean_of_runs([(0.5, np.ones(5)), (0.7, without)], rng())
    assert value == pytest.approx(0.6) and len(mean_R) == 0
    for subtract in (paired_difference, independent_difference):
        gap = subtract((0.5, np.ones(5)), (0.2, without))
        assert gap.value == pytest.approx(0.3) and math.isnan(gap.low) and math.isnan(gap.high)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="got none"):
        mean_of_runs([], rng())
    with pytest.raises(ValueError, match="same shape"):
        mean_of_runs([(0.5, np.ones(5)), (0.5, np.ones(6))], rng())
    with pytest.raises(ValueError, match="got 5 and 6"):
        independent_difference((0.5, np.ones(5)), (0.5, np.ones(6)))


def test_independent_scores_add_their_variances_and_paired_ones_do_not():
    noise = np.random.default_rng(0).normal(size=20_000)
    first, second = (0.7, 0.7 + 0.03 * noise), (0.5, 0.5 + 0.04 * noise)
    apart = independent_difference(first, second)
    assert apart.value == pytest.approx(0.2)
    assert (apart.high - apart.low) / 2 == pytest.approx(1.96 * 0.05, rel=0.03)
    assert apart == independent_difference(first, second)
    assert independent_difference(first, second, seed=1) != apart
    together = paired_difference(first, second)
    assert (together.high - together.low) / 2 == pytest.approx(1.96 * 0.01, rel=0.03)


@pytest.mark.parametrize("runs", [1, 3])
def test_gaps_cover_the_truth(runs):
    """Two test parts of 80 groups, as hard as 0.8 and 0.6; more runs than one differ by chance.

    A run moves the logit of every group, and each group has a difficulty of its own.
    """
    rng, hits = np.random.default_rng(0), 0
    spread = 0.3 if runs > 1 else 0.0
    large = rng.normal(size=(200_000, 2)) * [1, spread]
    levels = (1.6, 0.5)
    truth = np.subtract(*(expit(level + large.sum(1)).mean() for level in levels))
    group_of_N, weights_RG = bootstrap_weights(np.arange(80), replicates=300, seed=0)
    simulations = 1500
    for _ in range(simulations):
        means = []
        for level in levels:
            logit_KG = level + rng.normal(size=80) + spread * rng.normal(size=(runs, 1))
            right_KG = rng.random((runs, 80)) < expit(logit_KG)
            scores = [(row.mean(), weights_RG @ row / 80) for row in right_KG]
            means.append(mean_of_runs(scores, rng))
        gap = independent_difference(*means)
        hits += gap.low <= truth <= gap.high
    assert 0.93 <= hits / simulations <= 0.97
