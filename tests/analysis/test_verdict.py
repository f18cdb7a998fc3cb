"""The verdict: every outcome has its words, and the numbers are those of the interval."""

import math
import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.analysis.significance import judged, outcome
from protemb.analysis.verdict import (
    Contrast,
    Findings,
    OrderEffect,
    blind_words,
    compare_words,
    order_words,
    table_words,
    verdict,
)
from protemb.intervals import Interval

MARGIN = 0.02
# One interval for each outcome, with the outcome that it has on its own.
INTERVALS = {
    "above": Interval(0.0712, 0.0304, 0.1099),
    "below": Interval(-0.0712, -0.1099, -0.0304),
    "equivalent": Interval(0.0041, -0.0052, 0.0133),
    "unclear": Interval(0.0104, -0.0395, 0.0606),
}
ABOVE = "0.071 [0.030, 0.110]"
BELOW = "0.071 [0.030, 0.110]"  # how far the other one is above
SAME = "0.004 [-0.005, 0.013]"
UNCLEAR = "0.010 [-0.040, 0.061]"


def contrast(said, first="lstm/mean", second="kmer3", interval=None) -> Contrast:
    return Contrast(first, second, interval or INTERVALS[said], said)


ONE_TRAINING = "Shuffled test sequences and table vectors are those of one training"


def sentences(**found) -> list[str]:
    """The verdict of two or more seeds, so that nothing is added about seeds."""
    said = verdict(Findings(**{"split": "unique", "seeds": 3, "margin": MARGIN} | found))
    return [sentence for sentence in said if not sentence.startswith(ONE_TRAINING)]


def test_the_intervals_have_the_outcomes_they_are_named_for():
    assert {said: outcome(interval, MARGIN) for said, interval in INTERVALS.items()} == {
        said: said for said in INTERVALS
    }


# ---- the table of rules ----------------------------------------------------------------------

COMPARED = {
    "above": f"lstm/mean is above kmer3 by {ABOVE}",
    "below": f"lstm/mean is below kmer3 by {BELOW}",
    "equivalent": f"lstm/mean and kmer3 are the same within 0.02 ({SAME})",
    "unclear": f"no difference between lstm/mean and kmer3 is shown ({UNCLEAR})",
}
MAY_DIFFER = "but the tests over all pairs do not exclude chance"


@pytest.mark.parametrize("said", COMPARED)
def test_a_comparison(said):
    assert compare_words(contrast(said), MARGIN) == COMPARED[said]


@pytest.mark.parametrize("said", ["above", "below"])
def test_an_interval_without_zero_claims_nothing_among_many_comparisons(said):
    """The outcome was corrected for the number of comparisons; the interval shows its own sign."""
    one = contrast("unclear", interval=INTERVALS[said])
    sign = "" if said == "above" else "-"
    numbers = "0.071 [0.030, 0.110]" if said == "above" else "-0.071 [-0.110, -0.030]"
    assert compare_words(one, MARGIN) == f"lstm/mean and kmer3 may differ ({numbers}), {MAY_DIFFER}"
    assert sentences(best=one) == [
        f"On split=unique, lstm/mean and kmer3 may differ ({sign}{numbers.removeprefix(sign)} "
        f"balanced accuracy), {MAY_DIFFER}."
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("above", f"lstm/mean is above kmer3 by {ABOVE} balanced accuracy"),
        ("below", f"lstm/mean is below kmer3 by {BELOW} balanced accuracy"),
        ("equivalent", f"lstm/mean and kmer3 are the same within 0.02 ({SAME} balanced accuracy)"),
        (
            "unclear",
            f"no difference between lstm/mean and kmer3 is shown ({UNCLEAR} balanced accuracy)",
        ),
    ],
)
def test_the_best_network_comes_first_with_split_and_unit(said, words):
    question = (contrast("above", "lstm/mean", "table/mean"),)
    assert sentences(best=contrast(said), question=question) == [
        f"On split=unique, {words}.",
        f"lstm/mean is above table/mean by {ABOVE}.",
    ]


@pytest.mark.parametrize("said", COMPARED)
@pytest.mark.parametrize("kind", ["question", "metadata"])
def test_other_comparisons(kind, said):
    one = contrast(said)
    words = COMPARED[said]
    upper = words[0].upper() + words[1:] if said == "unclear" else words
    assert sentences(**{kind: one if kind == "metadata" else (one,)}) == [f"{upper}."]


TABLES = {
    "above": "of lstm/mean are better than those of kmer3 (0.071 [0.030, 0.110])",
    "below": "of lstm/mean are worse than those of kmer3 (-0.071 [-0.110, -0.030])",
    "equivalent": f"of lstm/mean are, within 0.02, worth those of kmer3 ({SAME})",
    "unclear": f"of lstm/mean do not clearly differ from those of kmer3 ({UNCLEAR})",
}


@pytest.mark.parametrize("said", TABLES)
def test_tables(said):
    expected = f"Averaged table vectors {TABLES[said]}"
    assert table_words([contrast(said)], MARGIN) == [expected]
    assert sentences(tables=(contrast(said),)) == [f"{expected}."]


def test_tables_with_one_outcome_share_a_sentence():
    """Numbers stand in the order of the names, and each table is told of once."""
    tables = (
        contrast("unclear", "a/mean", "t/mean"),
        contrast("above", "b/mean", "t/mean", Interval(0.1, 0.05, 0.2)),
        contrast("unclear", "c/mean", "t/mean", Interval(-0.01, -0.05, 0.03)),
        contrast("above", "d/mean", "other", Interval(0.3, 0.25, 0.4)),
        contrast("unclear", "e/mean", "t/mean", Interval(0.02, -0.01, 0.05)),
    )
    assert table_words(tables, MARGIN) == [
        "Averaged table vectors of b/mean are better than those of t/mean (0.100 [0.050, 0.200])",
        "Averaged table vectors of d/mean are better than those of other (0.300 [0.250, 0.400])",
        "Averaged table vectors of a/mean, c/mean and e/mean do not clearly differ from those of "
        f"t/mean ({UNCLEAR}; -0.010 [-0.050, 0.030]; 0.020 [-0.010, 0.050])",
    ]
    assert table_words([], MARGIN) == []


TEST = {
    "above": f"loses {ABOVE} when its test sequences are shuffled",
    "below": f"gains {BELOW} when its test sequences are shuffled",
    "equivalent": f"keeps its score within 0.02 when its test sequences are shuffled ({SAME})",
    "unclear": f"does not clearly lose or gain when its test sequences are shuffled ({UNCLEAR})",
}
SHUFFLED = "its test sequences are shuffled", "it is trained and tested on shuffled sequences"
BOTH = {said: words.replace(*SHUFFLED) for said, words in TEST.items()}


@pytest.mark.parametrize("said", TEST)
def test_what_shuffling_does(said):
    lost, other = INTERVALS[said], INTERVALS["equivalent"]
    test, both = OrderEffect("lstm/mean", test=lost), OrderEffect("lstm/mean", both=lost)
    assert order_words(test, MARGIN) == f"lstm/mean {TEST[said]}"
    assert order_words(both, MARGIN) == f"lstm/mean {BOTH[said]}"
    mixed = OrderEffect("lstm/mean", lost, other), OrderEffect("lstm/mean", other, lost)
    assert sentences(order=(test, *mixed)) == [
        f"lstm/mean {TEST[said]}.",
        f"lstm/mean {TEST[said]} and {BOTH['equivalent']}.",
        f"lstm/mean {TEST['equivalent']} and {BOTH[said]}.",
    ]


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (["t/mean"], "t/mean cannot see the order of residues: shuffling does not change its"),
        (["t/max", "a/b"], "t/max and a/b cannot see the order of residues: shuffling does not"),
        (["a/b", "c/d", "e/f"], "a/b, c/d and e/f cannot see the order of residues: shuffling"),
    ],
)
def test_what_cannot_see_order_is_said_once_and_without_numbers(models, words):
    effects = [OrderEffect(model, INTERVALS["above"], blind=True) for model in models]
    seeing = OrderEffect("lstm/mean", test=INTERVALS["above"])
    found = sentences(order=(effects[0], seeing, *effects[1:]))
    assert found == [f"lstm/mean {TEST['above']}.", f"{blind_words(models)}."]
    assert found[1].startswith(words) and found[1].endswith(" vectors.")
    assert ("its vectors" in found[1]) == (len(models) == 1)
    assert not re.search(r"\d", found[1])


GAPS = {
    "above": f"With split=random lstm/mean scores {ABOVE} higher than with split=unique",
    "below": f"With split=random lstm/mean scores {BELOW} lower than with split=unique",
    "equivalent": (
        f"With split=random lstm/mean scores the same as with split=unique, within 0.02 ({SAME})"
    ),
    "unclear": f"lstm/mean shows no clear gap between split=random and unique ({UNCLEAR})",
}


@pytest.mark.parametrize("said", GAPS)
def test_gaps_between_splits(said):
    found = sentences(gaps=(("lstm/mean", "random", INTERVALS[said]),))
    assert found == [f"{GAPS[said]}."]


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.05, 0.1])
def test_the_margin_is_named_as_it_was_given(margin):
    interval = Interval(0, -margin / 2, margin / 2)
    found = sentences(
        margin=margin,
        best=contrast("equivalent", interval=interval),
        order=(OrderEffect("lstm/mean", test=interval),),
        gaps=(("lstm/mean", "random", interval),),
    )
    assert len(found) == 3 and all(f"within {margin:g}" in sentence for sentence in found)


# ---- the whole -------------------------------------------------------------------------------


def test_sentences_stand_in_the_order_of_their_weight():
    found = sentences(
        best=contrast("above"),
        question=(contrast("below", "gru/last", "composition"), contrast("unclear", "a/b", "c/d")),
        order=(
            OrderEffect("table/mean", blind=True),
            OrderEffect("lstm/mean", test=INTERVALS["above"]),
        ),
        tables=(contrast("equivalent", second="table/mean"),),
        metadata=contrast("below", "lstm/mean", "subtype+year"),
        gaps=(
            ("lstm/mean", "random", INTERVALS["above"]),
            ("lstm/mean", "time", INTERVALS["below"]),
        ),
        rare=(("bovine", 4), ("equine", 9)),
        seeds=1,
        unfinished=3,
    )
    assert found == [
        f"On split=unique, {COMPARED['above']} balanced accuracy.",
        f"gru/last is below composition by {BELOW}.",
        f"No difference between a/b and c/d is shown ({UNCLEAR}).",
        f"lstm/mean {TEST['above']}.",
        "table/mean cannot see the order of residues: shuffling does not change its vectors.",
        "Averaged table vectors of lstm/mean are, within 0.02, worth those of table/mean "
        f"({SAME}).",
        f"lstm/mean is below subtype+year by {BELOW}.",
        f"With split=random lstm/mean scores {ABOVE} higher than with split=unique.",
        f"With split=time lstm/mean scores {BELOW} lower than with split=unique.",
        "Rare in the test part: bovine (4 independent groups) and equine (9 independent groups). "
        "A rare class counts as much as any other, so intervals of balanced accuracy are wide.",
        "One training seed each: another seed may give another answer.",
        "3 runs did not finish and are not part of this.",
    ]


def test_nothing_was_compared():
    alone = "Nothing was compared: a comparison needs two models on one split."
    assert sentences() == [alone]
    assert sentences(seeds=1, unfinished=2) == [
        alone,
        "One training seed each: another seed may give another answer.",
        "2 runs did not finish and are not part of this.",
    ]


@pytest.mark.parametrize(
    ("rare", "words"),
    [
        ((("bovine", 4),), "bovine (4 independent groups)."),
        ((("bovine", 1),), "bovine (1 independent group)."),
        (
            (("bovine", 4), ("equine", 7), ("swine", 9)),
            "bovine (4 independent groups), equine (7 independent groups) and swine (9 "
            "independent groups).",
        ),
    ],
)
def test_classes_of_few_groups_are_named(rare, words):
    (_, found) = sentences(best=contrast("above"), rare=rare)
    assert found.startswith(f"Rare in the test part: {words} ")


def test_a_single_run_is_no_plural():
    assert sentences(unfinished=1)[-1] == "1 run did not finish and is not part of this."


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_one_seed_is_a_warning(seeds):
    found = sentences(best=contrast("above"), seeds=seeds)
    assert ("One training seed" in found[-1]) == (seeds == 1) and len(found) == 1 + (seeds == 1)


@pytest.mark.parametrize("name", ["lstm/mean", "biLSTM-64/attention", "rnn/ends+h32", "l1/last"])
@pytest.mark.parametrize("said", INTERVALS)
def test_names_of_models_keep_their_case(name, said):
    interval = INTERVALS[said]
    one = Contrast(name, "kmer3", interval, said)
    found = sentences(
        best=one,
        question=(one,),
        order=(
            OrderEffect(name, test=interval),
            OrderEffect(name, both=interval),
            OrderEffect(name, blind=True),
        ),
        tables=(one,),
        gaps=((name, "random", interval),),
        metadata=one,
    )
    assert len(found) == 8
    for sentence in found:
        assert name in sentence
        assert sentence.startswith(name) or sentence[0].isupper()
        assert sentence.endswith(".") and "\n" not in sentence and "  " not in sentence


# ---- whatever the numbers --------------------------------------------------------------------

SIGNS = ("above", "below")
COMPARISONS, SHUFFLES = ("best", "question", "metadata"), ("test", "both")
UP = dict.fromkeys(COMPARISONS, " is above ") | dict.fromkeys(SHUFFLES, " loses ")
UP |= {"tables": " better than ", "gaps": " higher than "}
DOWN = dict.fromkeys(COMPARISONS, " is below ") | dict.fromkeys(SHUFFLES, " gains ")
DOWN |= {"tables": " worse than ", "gaps": " lower than "}
CLAIMS = sorted({*UP.values(), *DOWN.values()})
AT_MOST = st.floats(-1, 1)
MARGINS = st.sampled_from([0.0, 0.005, 0.02, 0.1])


@st.composite
def intervals(draw) -> Interval:
    low, value, high = sorted(draw(AT_MOST) for _ in range(3))
    return Interval(value, low, high)


def numbers_in(sentence: str) -> tuple[float, ...]:
    """Value and ends of the one interval in a sentence."""
    (found,) = re.findall(r"(-?\d+\.\d{3}) \[(-?\d+\.\d{3}), (-?\d+\.\d{3})\]", sentence)
    return tuple(map(float, found))


def numbers_of(interval: Interval, turned: bool) -> tuple[float, ...]:
    value, low, high = interval.value, interval.low, interval.high
    return (-value, -high, -low) if turned else (value, low, high)


def all_kinds(interval: Interval, said: str, margin: float) -> dict[str, str]:
    """Each kind of sentence about one interval."""
    one = Contrast("lstm/mean", "kmer3", interval, said)
    effects = {
        "test": OrderEffect("lstm/mean", test=interval),
        "both": OrderEffect("lstm/mean", both=interval),
    }
    kinds = {
        "best": {"best": one},
        "question": {"question": (one,)},
        "tables": {"tables": (one,)},
        "metadata": {"metadata": one},
        "gaps": {"gaps": (("lstm/mean", "random", interval),)},
        **{name: {"order": (effect,)} for name, effect in effects.items()},
    }
    said_of = {kind: sentences(margin=margin, **found) for kind, found in kinds.items()}
    assert all(len(found) == 1 for found in said_of.values())
    return {kind: found[0] for kind, found in said_of.items()}


@given(intervals(), MARGINS, st.sampled_from([0.0, 0.04, 0.2]))
def test_numbers_are_those_of_the_interval_and_claims_those_of_the_outcome(interval, margin, p):
    corrected, alone = outcome(interval, margin, p), outcome(interval, margin)
    for kind, sentence in all_kinds(interval, corrected, margin).items():
        # Only contrasts carry an outcome of their own; the others are judged by the interval.
        said = alone if kind in ("gaps", "test", "both") else corrected
        claims = [claim for claim in CLAIMS if claim in sentence]
        assert claims == ([UP[kind] if said == "above" else DOWN[kind]] if said in SIGNS else [])
        # "below by", "gains" and "lower" have the sign in their words; "worse" has it in brackets.
        turned = said == "below" and kind != "tables"
        assert numbers_in(sentence) == pytest.approx(numbers_of(interval, turned), abs=5.001e-4)
        if claims and kind != "tables":
            assert min(numbers_in(sentence)) >= 0
        assert ("within" in sentence) == (said == "equivalent")
        if kind != "tables":
            assert ("may differ" in sentence) == (said != alone)


@given(intervals(), intervals(), MARGINS)
def test_words_differ_where_outcomes_differ(first, second, margin):
    words = []
    for interval in (first, second):
        said = outcome(interval, margin)
        kinds = all_kinds(interval, said, margin)
        words.append(
            {kind: re.sub(r"-?\d+\.\d{3}", "#", sentence) for kind, sentence in kinds.items()}
        )
    equal = outcome(first, margin) == outcome(second, margin)
    assert all((words[0][kind] == words[1][kind]) == equal for kind in words[0])


def test_every_outcome_has_words_of_its_own():
    for table in (COMPARED, TABLES, TEST, BOTH, GAPS):
        words = [re.sub(r"-?\d+\.\d{3}", "#", sentence) for sentence in table.values()]
        assert all(first != second for first, second in combinations(words, 2))


@pytest.mark.parametrize("value", [0.5, 0.0, -0.5])
def test_a_value_without_an_interval_claims_nothing(value):
    interval = Interval(value, math.nan, math.nan)
    said = outcome(interval, MARGIN)
    assert said == "unclear"
    for sentence in all_kinds(interval, said, MARGIN).values():
        assert not any(word in sentence for word in (*CLAIMS, "within", "the same"))
        assert f"{value:.3f} [no interval]" in sentence


# ---- families of which nothing but intervals is known ----------------------------------------


@given(intervals(), MARGINS)
def test_a_family_of_one_is_judged_alone(interval, margin):
    reach = min(abs(interval.value - end) for end in (interval.low, interval.high))
    if abs(abs(interval.value) - reach) > 1e-9:  # an interval that ends at 0 to the last digit
        assert judged([interval], margin) == [outcome(interval, margin)]


def test_families_without_any_effect_claim_something_in_5_of_100():
    values_RQ = np.random.default_rng(0).normal(size=(4000, 12))
    reach = 1.959964
    claims = sum(
        bool({"above", "below"} & set(judged([Interval(x, x - reach, x + reach) for x in row], 0)))
        for row in values_RQ.tolist()
    )
    assert 0.04 < claims / 4000 < 0.06


def test_order_and_gaps_are_one_family():
    """Each interval leaves zero out by a little: alone a claim, together none."""
    barely = [Interval(0.05 + i / 1000, 0.001, 0.1) for i in range(8)]
    alone = sentences(order=(OrderEffect("lstm/mean", test=barely[0]),))
    assert " loses " in alone[0]
    together = sentences(
        order=tuple(OrderEffect(f"m{i}/mean", barely[i], barely[i + 1]) for i in (0, 2, 4)),
        gaps=(("lstm/mean", "random", barely[6]), ("lstm/mean", "time", barely[7])),
    )
    assert len(together) == 5
    assert [claim for claim in CLAIMS for sentence in together if claim in sentence] == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"order": (OrderEffect("a/b", test=INTERVALS["above"]),)}, True),
        ({"tables": (contrast("unclear"),)}, True),
        ({"order": (OrderEffect("a/b", test=INTERVALS["above"]),), "seeds": 1}, False),
        ({"order": (OrderEffect("a/b", blind=True),)}, False),
        ({"best": contrast("above")}, False),
    ],
)
def test_one_training_is_not_the_network(found, expected):
    said = verdict(Findings(**{"split": "unique", "seeds": 3} | found))
    assert any(sentence.startswith(ONE_TRAINING) for sentence in said) == expected


def test_missing_parts_and_classes_are_told():
    gaps = (
        ("a/b", "leave_out", INTERVALS["below"]),
        ("a/b", "time", INTERVALS["below"]),
    )
    found = sentences(gaps=gaps, other_classes=("leave_out",), dropped=("c/d", "e/f"))
    lacking = "; its test parts lack some classes, so that chance alone scores higher there."
    assert [sentence.endswith(lacking) for sentence in found] == [True, False, False]
    assert found[2] == "Not compared, as some of their test parts are missing: c/d and e/f."
