"""Search spaces: what is read, what is refused, and that Hydra reads drawn values back."""

import math

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from protemb.apps.tuning.space import Categories, Range, override, read_space
from protemb.apps.tuning.sweep import outer_choices
from protemb.errors import ConfigError

PARSER = OverridesParser.create()
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT


def _parsed(*texts):
    return PARSER.parse_overrides(list(texts))


@given(VALUES)
def test_hydra_reads_a_drawn_value_as_it_was(value):
    (item,) = _parsed(override("encoder.x", value))
    found = item.value()
    found = str(found) if isinstance(value, str) else found
    assert found == value and isinstance(found, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    "word", ["null", "True", "nan", "1e5", "12", "it's", "a,b", "[1]", "\\", ""]
)
def test_a_text_stays_a_text(word):
    (item,) = _parsed(override("encoder.x", word))
    assert not item.is_sweep_override()
    assert str(item.value()) == word and not isinstance(item.value(), bool | int | float | list)


@given(
    st.dictionaries(st.sampled_from(["encoder", "task"]), st.integers(1, 50), min_size=1),
    st.integers(0, 50),
    st.booleans(),
)
def test_dots_and_nesting_are_the_same(lows, width, log):
    node = {name: {"low": low, "high": low + width, "log": log} for name, low in lows.items()}
    nested = {name: {"x": {"y": what}} for name, what in node.items()}
    dotted = {f"{name}.x.y": what for name, what in node.items()}
    assert read_space(nested) == read_space(dotted)
    assert read_space(dotted) == {
        f"{name}.x.y": Range(low, low + width, log) for name, low in lows.items()
    }


@given(st.integers(-5, 5), st.integers(1, 20), st.floats(0.01, 3), st.booleans())
def test_a_step_leads_from_low_to_high(low, count, step, whole):
    step = math.ceil(step) if whole else step
    what = read_space({"x": {"low": low, "high": low + count * step, "step": step}})["x"]
    assert what.whole == whole and what.step == step
    wrong = {"low": low, "high": low + (count + 0.5) * step, "step": step}
    with pytest.raises(ConfigError, match=r"x\.step: got .*, expected steps that lead"):
        read_space({"x": wrong})


def test_ranges_are_whole_only_if_all_of_it_is():
    found = read_space({"a": {"low": 1, "high": 2.5}, "b": {"low": 1, "high": 3, "step": 0.5}})
    assert {type(x) for what in found.values() for x in what.ends} == {float}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({}, "space: got {}, expected options"),
        ({"a": 3}, "space.a: got 3, expected a list, or {low, high}"),
        ({"a": {"low": 1}}, "space.a: got {'low': 1}, expected a list, or"),
        ({"a": {"low": 1, "high": 2, "base": 2}}, "expected a list, or"),
        ({"a": {"low": 3, "high": 2}}, "expected low not above high"),
        ({"a": {"low": "1", "high": 2}}, "expected numbers"),
        ({"a": {"low": 0.0, "high": float("inf")}}, "expected numbers"),
        ({"a": {"low": True, "high": 2}}, "expected numbers"),
        ({"a": {"low": 0, "high": 2, "log": True}}, "with log, low above 0"),
        ({"a": {"low": 1, "high": 3, "log": True, "step": 1}}, "with log, low above 0"),
        ({"a": {"low": 1, "high": 3, "log": 1}}, "space.a.log: got 1, expected true or false"),
        ({"a": {"low": 1, "high": 3, "step": 0}}, "a.step: got 0"),
        ({"a": []}, "at least one"),
        ({"a": [[1]]}, "at least one"),
        ({"a": [1, 1.0]}, "every value once"),
        ({"a": {"b": [1]}, "a.b": [2]}, "space.a.b: got [2], expected every option once"),
    ],
)
def test_what_cannot_be_drawn_from_is_named(node, message):
    with pytest.raises(ConfigError) as caught:
        read_space(node)
    assert message in str(caught.value)


def test_every_combination_of_outer_choices_is_a_study():
    space = {"encoder.x": Categories((1, 2)), "lr": Categories((1, 2))}
    combinations, left = outer_choices(
        _parsed("a=1", "encoder=lstm,gru", "split.fold=0,1", "+b=[1,2]", "a=2", "~c"), space
    )
    assert combinations == [
        ("a=2", f"encoder={encoder}", f"split.fold={fold}", "+b=[1,2]", "~c")
        for encoder in ("lstm", "gru")
        for fold in (0, 1)
    ]
    assert left == space


def test_what_the_user_chose_is_not_tuned():
    space = {"encoder.x": Categories((1, 2)), "lr": Categories((1, 2))}
    combinations, left = outer_choices(_parsed("lr=0.1,0.2"), space)
    assert combinations == [("lr=0.1",), ("lr=0.2",)] and list(left) == ["encoder.x"]
    with pytest.raises(ConfigError, match="an option that was not chosen"):
        outer_choices(_parsed("lr=0.1", "encoder.x=2"), space)


@pytest.mark.parametrize("choice", ["seed=0,1", "lr=interval(0,1)"])
def test_choices_that_cannot_be_outer_ones_are_named(choice):
    with pytest.raises(ConfigError, match="expected one value, and seeds in hydra.sweeper.seeds"):
        outer_choices(_parsed(choice), {"encoder.x": Categories((1, 2))})
