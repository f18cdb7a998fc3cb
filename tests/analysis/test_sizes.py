"""Curves over data and tables over parameters, against lines and differences by other means."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.analysis.sizes import capacity_table, size_curve
from protemb.intervals import percentile_interval

R = 400
SIZES = (250, 500, 1000, 2000)


def shared(spread=0.02, seed=0):
    """Draws of one test part, which all models share."""
    return spread * np.random.default_rng(seed).normal(size=R)


def straight(model, start, gain, sizes=SIZES, spread=0.02, own=0.001, seed=1):
    """Runs on a line: `start` at 250 records, `gain` per doubling."""
    rng = np.random.default_rng(seed)
    for size in sizes:
        value = start + gain * math.log2(size / 250)
        yield size, model, value, value + shared(spread) + own * rng.normal(size=R)


# ---- gain per doubling -----------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.lists(st.integers(1, 40), min_size=6, max_size=6),
)
def test_the_gain_is_the_least_squares_slope(values, steps):
    sizes = np.round(100 * np.cumprod(1.1 + np.array(steps) / 10))[: len(values)]
    curves = size_curve([(size, "m", v, None) for size, v in zip(sizes, values, strict=True)])
    curve = curves.curves["m"]
    assert curve.gain.value == pytest.approx(np.polyfit(np.log2(sizes), values, 1)[0], abs=1e-9)
    last = (values[-1] - values[-2]) / np.log2(sizes[-1] / sizes[-2])
    assert curve.last_gain.value == pytest.approx(last, abs=1e-9)
    assert math.isnan(curve.gain.low) and [p.score.value for p in curve.points] == values


def test_the_interval_of_the_gain_is_that_of_refitted_draws():
    points = list(straight("m", 0.5, 0.05, own=0.01))
    curve = size_curve(points).curves["m"]
    draws_ZR = np.stack([replicates_R for *_, replicates_R in points])
    slopes_R = np.polyfit(np.log2(SIZES), draws_ZR, 1)[0]
    expected = percentile_interval(0.05, slopes_R)
    assert vars(curve.gain) == pytest.approx(vars(expected))
    # What moves all sizes alike does not move the slope.
    assert curve.gain.high - curve.gain.low < 0.02
    last = draws_ZR[-1] - draws_ZR[-2]
    assert vars(curve.last_gain) == pytest.approx(vars(percentile_interval(0.05, last)))


def test_a_curve_that_flattens_gains_less_at_its_end():
    points = [(size, "m", v, None) for size, v in zip(SIZES, (0.4, 0.6, 0.7, 0.7), strict=True)]
    curve = size_curve(points).curves["m"]
    assert curve.last_gain.value == pytest.approx(0) and curve.gain.value == pytest.approx(0.1)


def test_one_size_has_no_gain():
    curve = size_curve([(100, "m", 0.5, None)]).curves["m"]
    assert curve.gain is curve.last_gain is None and curve.points[0].train_records == 100
    assert size_curve([]).as_dict() == {"curves": {}, "crossings": []}


def test_runs_of_a_size_are_averaged_and_sizes_nearly_the_same_are_one():
    points = [(100, "a", 0.4, None), (104, "a", 0.6, None), (102, "b", 0.5, None)]
    points += [(106, "a", 0.9, None), (211, "b", 0.7, None), (200, "a", 0.7, None)]
    found = size_curve(points).curves
    # 106 is more than 5 % above 100; 211 more than 5 % above 200.
    assert [p.train_records for p in found["a"].points] == [102, 106, 200]
    assert [p.score.value for p in found["a"].points] == pytest.approx([0.5, 0.9, 0.7])
    assert found["a"].points[0].runs == (0.4, 0.6)
    assert [p.train_records for p in found["b"].points] == [102, 211]


def test_what_cannot_be_a_size_is_refused():
    with pytest.raises(ValueError, match="less than 1"):
        size_curve([(0, "m", 0.5, None)])
    with pytest.raises(ValueError, match="same shape"):
        size_curve([(10, "m", 0.5, np.ones(3)), (10, "m", 0.5, np.ones(4))])


def test_curves_go_into_json():
    points = [*straight("m", 0.5, 0.05), (250, "n", math.nan, None)]
    plain = size_curve(points).as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["curves"]["n"] == {
        "points": [
            {
                "train_records": 250,
                "score": {"value": None, "low": None, "high": None},
                "runs": [None],
            }
        ],
        "gain": None,
        "last_gain": None,
    }
    assert plain["curves"]["m"]["gain"]["value"] == pytest.approx(0.05)


# ---- crossings -------------------------------------------------------------------------------


def test_two_lines_cross_where_algebra_says():
    # 0.5 + 0.02 x = 0.425 + 0.08 x at x = 1.25 doublings of 250 records.
    points = [*straight("early", 0.5, 0.02), *straight("late", 0.425, 0.08, seed=2)]
    (crossing,) = size_curve(points).crossings
    assert (crossing.before, crossing.after) == ("early", "late")
    assert crossing.train_records == round(250 * 2**1.25) and crossing.sure
    (turned,) = size_curve(points[4:] + points[:4]).crossings
    assert turned == crossing


def test_a_crossing_within_the_noise_is_not_sure():
    points = [
        *straight("early", 0.5, 0.02, own=0.1),
        *straight("late", 0.41, 0.08, own=0.1, seed=2),
    ]
    (crossing,) = size_curve(points).crossings
    assert not crossing.sure
    points = [(size, model, value, None) for size, model, value, _ in points]
    assert [c.sure for c in size_curve(points).crossings] == [False]


def test_each_crossing_needs_its_own_proof():
    """A leads clearly, then B by nothing to speak of, then A clearly again."""
    noise = np.random.default_rng(0).normal(size=(4, R))
    points = []
    for size, lead, noise_R in zip(SIZES, (0.2, -0.01, -0.01, 0.2), noise, strict=True):
        points += [
            (size, "B", 0.5, np.full(R, 0.5)),
            (size, "A", 0.5 + lead, 0.5 + lead + 0.05 * noise_R),
        ]
    found = size_curve(points).crossings
    assert [(c.before, c.after, c.sure) for c in found] == [("A", "B", False), ("B", "A", False)]
    assert 250 < found[0].train_records < 500 and 1000 < found[1].train_records < 2000


def test_ties_are_no_crossing_but_lie_in_its_middle():
    def points(leads):
        for size, lead in zip(SIZES, leads, strict=True):
            yield from ((size, "a", 0.5 + lead, None), (size, "b", 0.5, None))

    (crossing,) = size_curve(list(points((0.25, 0, 0, -0.25)))).crossings
    assert crossing.train_records == round(math.sqrt(500 * 1000))
    assert size_curve(list(points((0.25, 0, 0, 0.25)))).crossings == ()
    assert size_curve(list(points((0, 0, 0, -0.25)))).crossings == ()
    assert size_curve(list(points((0.25, 0.125, 0.125, 0)))).crossings == ()


def test_only_sizes_of_both_models_count():
    points = [
        (100, "a", 0.9, None),
        (200, "b", 0.1, None),
        (400, "a", 0.1, None),
        (800, "b", 0.9, None),
    ]
    assert size_curve(points).crossings == ()


# ---- capacity --------------------------------------------------------------------------------


def test_models_beside_their_parameters():
    rng = np.random.default_rng(0)
    own = 0.005 * rng.normal(size=(3, R))
    rows = [
        ("dense", 1000, 0.6, 0.6 + shared() + own[0]),
        ("lstm", 20_000, 0.7, 0.7 + shared() + own[1]),
        ("matched", 20_500, 0.62, 0.62 + shared() + own[2]),
        ("frozen", 8_000_000, math.nan, None),
    ]
    table = capacity_table(rows)
    assert [row.model for row in table] == ["dense", "lstm", "matched", "frozen"]
    assert [row.ratio for row in table] == [1, 20, 20.5, 8000]
    assert table[0].difference is None
    for row, (_, _, value, replicates_R) in list(zip(table, rows, strict=True))[1:3]:
        assert vars(row.score) == pytest.approx(vars(percentile_interval(value, replicates_R)))
        expected = percentile_interval(value - 0.6, replicates_R - rows[0][3])
        assert vars(row.difference) == pytest.approx(vars(expected))
    plain = [row.as_dict() for row in table]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain[3]["difference"] == {"value": None, "low": None, "high": None}
    assert plain[3]["runs"] == [None] and plain[0]["difference"] is None

    against = capacity_table(rows, "lstm")
    assert against[1].difference is None and against[0].difference.value == pytest.approx(-0.1)
    assert [row.ratio for row in against] == [row.ratio for row in table]
    apart = capacity_table(rows, paired=False)[1].difference
    paired = table[1].difference
    assert apart.high - apart.low > 2 * (paired.high - paired.low)


def test_runs_of_a_model_are_averaged_and_their_spread_is_counted():
    rows = [("a", 10, value, value + shared(0.001)) for value in (0.5, 0.6, 0.7)]
    rows += [("b", 20, value, value + shared(0.001)) for value in (0.6, 0.6, 0.6)]
    first, second = capacity_table(rows)
    assert first.score.value == pytest.approx(0.6) and first.runs == (0.5, 0.6, 0.7)
    # Student's t with two degrees of freedom: 4.303 standard errors of 0.1 / sqrt(3).
    assert first.score.high - first.score.value == pytest.approx(4.303 * 0.1 / 3**0.5, rel=0.1)
    assert second.score.high - second.score.value < 0.003
    assert second.difference.low < -0.2 and second.difference.high > 0.2


def test_models_that_do_not_add_up_are_refused():
    assert capacity_table([]) == ()
    with pytest.raises(ValueError, match="a: got 20 parameters"):
        capacity_table([("a", 10, 0.5, None), ("a", 20, 0.5, None)])
    with pytest.raises(ValueError, match="a: got 0 parameters"):
        capacity_table([("a", 0, 0.5, None)])
    with pytest.raises(ValueError, match=r"reference: got 'c', expected one of \['a'\]"):
        capacity_table([("a", 1, 0.5, None)], "c")
