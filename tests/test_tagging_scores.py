"""Scores of residue labels against slow readings of their definitions."""

import math
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from protemb.intervals import bootstrap_weights
from protemb.sequences.segments import NOT_COUNTED, find_segments, present_marks
from protemb.tagging_scores import (
    Tagging,
    bootstrap_tagging,
    compare_taggings,
    confusion_counts,
    segment_overlap,
    tagging_scores,
)

LETTERS = "BHi"


def codes(text):
    """Letters as codes; '?' does not count."""
    return np.array([NOT_COUNTED if c == "?" else LETTERS.index(c) for c in text], np.uint8)


def tagging(*texts, segments=(0, 1), marks=((0,), (1,))):
    offsets = np.cumsum([0, *map(len, texts)])
    return Tagging(codes("".join(texts)), offsets, LETTERS, segments, marks)


def runs(text, letter):
    """(start, stop) of the runs of a letter, by walking along the text."""
    found, place = [], 0
    for own, group in groupby(text):
        length = len(list(group))
        if own == letter:
            found.append((place, place + length))
        place += length
    return found


def hidden(true, predicted):
    return "".join("?" if t == "?" else p for t, p in zip(true, predicted, strict=True))


def sov_by_hand(true, predicted):
    """SOV'99 as the paper writes it: loops over labels and over all pairs of segments."""
    predicted = hidden(true, predicted)
    total, normal = 0.0, 0
    for letter in LETTERS:
        for b1, e1 in runs(true, letter):
            partners = [(b, e) for b, e in runs(predicted, letter) if b < e1 and b1 < e]
            for b2, e2 in partners:
                minov = len(set(range(b1, e1)) & set(range(b2, e2)))
                maxov = len(range(min(b1, b2), max(e1, e2)))
                delta = min(maxov - minov, minov, int(0.5 * (e1 - b1)), int(0.5 * (e2 - b2)))
                total += (minov + delta) / maxov * (e1 - b1)
                normal += e1 - b1
            if not partners:
                normal += e1 - b1
    return total / normal if normal else 0.0


def topology_by_hand(true, predicted):
    predicted = hidden(true, predicted)
    both = [
        sorted((*span, letter) for letter in "BH" for span in runs(text, letter))
        for text in (true, predicted)
    ]
    return len(both[0]) == len(both[1]) and all(
        a[2] == b[2] and min(a[1], b[1]) - max(a[0], b[0]) >= 5 for a, b in zip(*both, strict=True)
    )


def kind_by_hand(text):
    return {letter for letter in "BH" if any(e - b >= 5 for b, e in runs(text, letter))}


@st.composite
def proteins(draw):
    """True and predicted labels in runs, some of them long enough to be membrane segments."""
    piece = st.tuples(st.sampled_from("BHi?"), st.integers(1, 9))
    texts = []
    for _ in range(draw(st.integers(1, 4))):
        true = "".join(c * n for c, n in draw(st.lists(piece, min_size=1, max_size=6)))
        other = "".join(c * n for c, n in draw(st.lists(piece, max_size=6))).replace("?", "i")
        shift = draw(st.integers(0, 4))
        moved = ("i" * shift + true.replace("?", "H"))[: len(true)]
        source = moved if draw(st.booleans()) else other
        texts.append((true, source.ljust(len(true), "i")[: len(true)]))
    return texts


@given(proteins())
def test_every_score_is_its_definition(pairs):
    given_ = tagging(*(true for true, _ in pairs))
    predicted_T = codes("".join(predicted for _, predicted in pairs))
    scored = [(t, p) for t, p in pairs if set(t) != {"?"}]
    values, _ = bootstrap_tagging(given_, predicted_T, np.arange(len(pairs)), replicates=0)

    sov_P = segment_overlap(given_, predicted_T)
    assert sov_P == pytest.approx([sov_by_hand(t, p) for t, p in pairs])
    flat = [(t, p) for pair in pairs for t, p in zip(*pair, strict=True) if t != "?"]
    if not scored:
        assert math.isnan(values["accuracy"]) and math.isnan(values["sov"])
        return
    true, predicted = zip(*flat, strict=True)
    assert values["sov"] == pytest.approx(np.mean([sov_by_hand(t, p) for t, p in scored]))
    assert values["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    present = sorted(set(true))
    assert values["macro_f1"] == pytest.approx(
        f1_score(true, predicted, labels=present, average="macro", zero_division=0)
    )
    shares = [np.mean([a == b for a, b in zip(t, p, strict=True) if a != "?"]) for t, p in scored]
    assert values["protein_accuracy"] == pytest.approx(np.mean(shares))
    assert values["topology"] == pytest.approx(np.mean([topology_by_hand(*x) for x in scored]))
    members = [topology_by_hand(t, p) for t, p in scored if set(t) & set("BH")]
    if members:
        assert values["membrane_topology"] == pytest.approx(np.mean(members))
    else:
        assert math.isnan(values["membrane_topology"])
    kinds = [(kind_by_hand(t), kind_by_hand(hidden(t, p))) for t, p in scored]
    assert values["kind"] == pytest.approx(np.mean([a == b for a, b in kinds]))
    each = [
        np.mean([a == b for a, b in kinds if a == own]) for own in {frozenset(a) for a, _ in kinds}
    ]
    assert values["balanced_kind"] == pytest.approx(np.mean(each))
    assert (
        confusion_counts(given_, predicted_T)
        == confusion_matrix(true, predicted, labels=list(LETTERS))
    ).all()


@pytest.mark.parametrize(
    ("true", "predicted", "sov"),
    [
        # One helix found in the middle: minov 4, maxov 10, delta min(6, 4, 5, 2) = 2; the coil
        # that is too much costs nothing of its own, the paper counts true segments only.
        ("H" * 10, "iiiHHHHiii", 0.6),
        # Found in two parts: each pair counts the true segment's length, delta is
        # min(5, 5, 5, 2) = 2 and min(6, 4, 5, 2) = 2.
        ("H" * 10, "HHHHHiHHHH", (7 / 10 + 6 / 10) / 2),
        # One residue too long: delta min(1, 5, 2, 3) = 1 makes up for it, for coil as well.
        ("HHHHHiiiii", "HHHHHHiiii", 1.0),
        ("HHHHH", "iiiii", 0.0),
        ("HHHHH", "HHHHH", 1.0),
        # A residue that does not count ends a segment: two of two, and one of them is found.
        ("HH?HH", "HHHii", 0.5),
    ],
)
def test_worked_segment_overlaps(true, predicted, sov):
    assert sov_by_hand(true, predicted) == pytest.approx(sov)
    assert segment_overlap(tagging(true), codes(predicted)) == pytest.approx([sov])


@pytest.mark.parametrize(
    ("true", "predicted", "right"),
    [
        ("iiHHHHHHHHii", "iiiiiHHHHHii", 1),  # five shared residues
        ("iiHHHHHHHHii", "iiiiiiHHHHHi", 0),  # four
        ("iiHHHHHHHHii", "iiBBBBBBBBii", 0),  # another kind of segment
        ("HHHHHHHHHHHH", "HHHHHiHHHHHH", 0),  # two for one
        ("iiiiiiii", "iiiiiiii", 1),
        ("iiiiiiii", "iiHiiiii", 0),
        ("ii????ii", "iiHHHHii", 1),  # what does not count is not looked at
    ],
)
def test_worked_topologies(true, predicted, right):
    scores = tagging_scores(tagging(true), codes(predicted), [0], replicates=0)
    assert scores["topology"].value == right


def test_a_stray_residue_makes_no_kind():
    segments = find_segments(codes("HHHHiHHHHH"), np.array([0, 5, 10]))
    assert present_marks(segments, 2, [[1]]).tolist() == [[False], [True]]


def test_intervals_resample_groups():
    rng = np.random.default_rng(0)
    true = ["".join(rng.choice(list(LETTERS), 40)) for _ in range(12)]
    given_ = tagging(*true)
    predicted_T = np.where(rng.random(480) < 0.6, given_.codes_T, 2).astype(np.uint8)
    groups_P = np.repeat(np.arange(4), 3)
    _, drawn = bootstrap_tagging(given_, predicted_T, groups_P, replicates=20, seed=3)
    _, weights_RG = bootstrap_weights(groups_P, replicates=20, seed=3)
    right_PL = (given_.codes_T == predicted_T).reshape(12, 40)
    sov_P = segment_overlap(given_, predicted_T)
    for r, weights_G in enumerate(weights_RG):
        chosen = [p for g, n in enumerate(weights_G) for p in [3 * g, 3 * g + 1, 3 * g + 2] * n]
        assert drawn["accuracy"][r] == pytest.approx(right_PL[chosen].mean())
        assert drawn["sov"][r] == pytest.approx(sov_P[chosen].mean())
    scores = tagging_scores(given_, predicted_T, groups_P, replicates=200)
    assert scores["accuracy"].low < scores["accuracy"].value < scores["accuracy"].high
    one = tagging_scores(given_, predicted_T, np.zeros(12), replicates=200)
    assert math.isnan(one["accuracy"].low)  # a single group says nothing


def test_differences_are_paired_and_against_the_best_by_each_score():
    rng = np.random.default_rng(1)
    given_ = tagging(*["".join(rng.choice(list(LETTERS), 60)) for _ in range(30)])
    true_T = given_.codes_T
    rough = np.where(rng.random(len(true_T)) < 0.7, true_T, 0).astype(np.uint8)
    poor = np.full(len(true_T), 2, np.uint8)
    scores, gaps = compare_taggings(
        given_, {"ours": true_T, "rough": rough, "poor": poor}, np.arange(30), replicates=100
    )
    rival, gap = gaps["accuracy"]
    assert rival == "rough" and gap.low > 0
    assert gap.value == pytest.approx(1 - scores["rough"]["accuracy"].value)
    assert gaps["accuracy"][1].high - gaps["accuracy"][1].low < 0.1
    _, none = compare_taggings(given_, {"ours": rough, "same": rough}, np.arange(30))
    assert none["sov"][1].low == none["sov"][1].high == 0
    assert compare_taggings(given_, {"ours": rough}, np.arange(30))[1] == {}


def test_the_numbers_of_predictions_must_fit():
    with pytest.raises(ValueError, match="got .*2.* expected .*3"):
        tagging_scores(tagging("HHH"), codes("HH"), [0])
