"""Intervals against numpy and scipy; the draw against what a multinomial must do."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protemb.intervals import Interval, bootstrap_weights, percentile_interval


def test_interval_goes_to_json_whole():
    interval = Interval(0.5, math.nan, math.nan)
    text = json.dumps(interval.as_dict(), allow_nan=False)
    assert json.loads(text) == {"value": 0.5, "low": None, "high": None}
    assert str(interval) == "0.500 [no interval]"


NUMBERS = st.floats(-10, 10)


@given(st.lists(NUMBERS, min_size=3, max_size=3).map(sorted), NUMBERS, NUMBERS)
def test_impossible_ends_are_cut_off_and_nothing_else(numbers, least, most):
    low, value, high = numbers
    least, most = min(least, most, value), max(least, most, value)  # the value itself is possible
    cut = Interval(value, low, high).within(least, most)
    assert (cut.value, cut.low, cut.high) == (value, max(low, least), min(high, most))
    assert least <= cut.low <= cut.value <= cut.high <= most
    assert cut.within(least, most) == cut
    assert Interval(value, low, high).within(-math.inf, math.inf) == Interval(value, low, high)


def test_ends_that_cannot_be_given_stay_so():
    none = Interval(0.5, math.nan, math.nan).within(0, 1)
    assert none.value == 0.5 and math.isnan(none.low) and math.isnan(none.high)
    upper = Interval(0.5, math.nan, 1.2).within(0, 1)
    assert math.isnan(upper.low) and upper.high == 1
    lower = Interval(math.nan, -0.2, math.nan).within(0, 1)
    assert math.isnan(lower.value) and lower.low == 0 and math.isnan(lower.high)


def test_every_replicate_draws_as_many_groups_as_there_are():
    groups_N = np.array(["b", "a", "b", "c", "a", "d"])
    group_of_N, weights_RG = bootstrap_weights(groups_N, replicates=50, seed=0)
    assert np.array(["a", "b", "c", "d"])[group_of_N].tolist() == groups_N.tolist()
    assert weights_RG.shape == (50, 4)
    assert (weights_RG.sum(1) == 4).all()


def test_weights_have_the_moments_of_a_multinomial():
    G = 10
    _, weights_RG = bootstrap_weights(np.arange(G), replicates=20_000, seed=1)
    covariance_GG = np.cov(weights_RG.T)
    # n draws of equal chances: variance n p (1 - p), covariance -n p p.
    expected_GG = np.eye(G) - 1 / G
    # The variance of a variance of nearly Poisson counts is 3 / R; five standard errors.
    np.testing.assert_allclose(weights_RG.mean(0), 1, atol=5 / math.sqrt(20_000))
    np.testing.assert_allclose(covariance_GG, expected_GG, atol=5 * math.sqrt(3 / 20_000))


def test_a_draw_is_shared_by_all_that_name_the_same_groups():
    """Paired comparisons rely on it: order and names of the groups' members do not matter."""
    groups_N = np.array([3, 3, 7, 9, 9, 9])
    _, weights_RG = bootstrap_weights(groups_N, replicates=5, seed=4)
    order = np.array([5, 0, 3, 2, 1, 4])
    group_of_N, same_RG = bootstrap_weights(groups_N[order] * 10, replicates=5, seed=4)
    np.testing.assert_array_equal(same_RG, weights_RG)
    assert group_of_N.tolist() == [2, 0, 2, 1, 0, 2]
    _, other_RG = bootstrap_weights(groups_N, replicates=5, seed=5)
    assert (other_RG != weights_RG).any()


def test_one_group_cannot_be_resampled():
    group_of_N, weights_RG = bootstrap_weights(np.zeros(3), replicates=10, seed=0)
    assert group_of_N.tolist() == [0, 0, 0] and weights_RG.shape == (0, 1)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_interval_equals_scipys_percentile_bootstrap(level):
    sample_N = np.random.default_rng(2).exponential(size=60)
    group_of_N, weights_RG = bootstrap_weights(np.arange(60), replicates=20_000, seed=0)
    means_R = weights_RG[:, group_of_N] @ sample_N / 60
    ours = percentile_interval(sample_N.mean(), means_R, level=level)
    result = stats.bootstrap(
        (sample_N,),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        confidence_level=level,
        rng=np.random.default_rng(3),
    )
    expected = (result.confidence_interval.low, result.confidence_interval.high)
    # An end of either interval is known to about 2 % of the standard error.
    atol = 0.1 * result.standard_error
    np.testing.assert_allclose((ours.low, ours.high), expected, rtol=0, atol=atol)


def test_undefined_replicates_are_left_out():
    replicates_R = np.array([0.1, math.nan, 0.3, 0.2, math.nan])
    interval = percentile_interval(0.2, replicates_R, level=0.5)
    low, high = np.percentile([0.1, 0.2, 0.3], [25, 75])
    assert interval == Interval(0.2, pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(
    ("value", "replicates"),
    [
        (0.2, [0.1, math.nan, math.nan]),
        (math.nan, [0.1, 0.2, 0.3]),
        (0.2, []),
    ],
)
def test_no_interval_without_enough_replicates(value, replicates):
    interval = percentile_interval(value, np.array(replicates))
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert interval.value == value or math.isnan(value)


def test_half_of_the_replicates_are_enough():
    assert percentile_interval(0.1, np.array([0.1, math.nan])) == Interval(0.1, 0.1, 0.1)
