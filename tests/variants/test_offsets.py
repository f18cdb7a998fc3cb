import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protemb.errors import InputError
from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.mutations import Mutation, Substitution
from protemb.variants.offsets import find_offset, place_rows
from protemb.variants.rows import Log, Place, Row


def loop_counts(mutations, sequence, max_offset):
    """How many mutations fit by offset, letter by letter."""
    counts = {}
    for offset in range(-max_offset, max_offset + 1):
        counts[offset] = 0
        for mutation in set(mutations):
            good = True
            for one in mutation.substitutions:
                place = one.position + offset
                good = good and place in range(len(sequence)) and sequence[place] == one.wild
            counts[offset] += good
    return counts


@st.composite
def proteins(draw):
    # Few letters make rivals likely.
    letters = draw(st.sampled_from(["AK", "AKLM", RESIDUES]))
    sequence = draw(st.text(letters, min_size=1, max_size=25))
    mutations = []
    for _ in range(draw(st.integers(1, 6))):
        places = draw(st.lists(st.integers(-8, 33), min_size=1, max_size=3, unique=True))
        found = (Substitution(at, draw(st.sampled_from(letters)), "W") for at in places)
        mutations.append(Mutation(tuple(found)))
    return sequence, mutations


@given(proteins(), st.integers(0, 12))
def test_the_count_is_that_of_a_loop(protein, max_offset):
    sequence, mutations = protein
    counts = loop_counts(mutations, sequence, max_offset)
    best = [offset for offset, count in counts.items() if count == max(counts.values())]
    found = find_offset(mutations, sequence, max_offset)
    assert (found.fitted, found.mutations) == (max(counts.values()), len(set(mutations)))
    if 0 in best:
        assert (found.offset, found.rivals) == (0, ())
    else:
        assert found.offset == min(best, key=lambda offset: (abs(offset), offset))
        assert found.rivals == (tuple(best) if len(best) > 1 else ())


@given(st.data())
def test_a_planted_offset_is_found(data):
    sequence = data.draw(st.text(RESIDUES, min_size=10, max_size=60))
    planted = data.draw(st.integers(-15, 15))
    places = data.draw(
        st.lists(st.integers(0, len(sequence) - 1), min_size=3, max_size=12, unique=True)
    )
    true = [Mutation((Substitution(at, sequence[at], "x"),)) for at in places]
    written = [mutation.shifted(-planted) for mutation in true]
    # Some rows are wrong: a residue that no place of the protein has.
    wrong = [Mutation((Substitution(at, "-", "x"),)) for at in places[: len(places) // 2]]
    counts = loop_counts(written, sequence, 15)
    assume(sum(count == len(written) for count in counts.values()) == 1)
    found = find_offset(written + wrong, sequence, 15)
    assert (found.offset, found.fitted, found.rivals) == (planted, len(true), ())
    assert [mutation.shifted(found.offset) for mutation in written] == true


@given(st.text(RESIDUES, min_size=1, max_size=12), st.integers(1, 30), st.data())
def test_a_wrapped_index_is_never_accepted(sequence, max_offset, data):
    """Every residue is named at the place where a negative index, or one too large, finds it."""
    shift = data.draw(st.sampled_from([-1, 1])) * (len(sequence) + max_offset)
    mutations = [
        Mutation((Substitution(at + shift, letter, "x"),)) for at, letter in enumerate(sequence)
    ]
    assert all(sequence[one.positions[0] % len(sequence)] for one in mutations)
    found = find_offset(mutations, sequence, max_offset)
    assert found == find_offset(mutations, sequence, 0)
    assert (found.offset, found.fitted, found.rivals) == (0, 0, ())


def test_a_repeated_measurement_has_one_vote():
    # Nine times the same row at +2, two different ones at +1.
    sequence = "AKLMK"
    rows = [Mutation.parse("K3A")] * 9 + [Mutation.parse("A0G"), Mutation.parse("L2G")]
    assert find_offset(rows, sequence, 2).offset == 1


def row(text, line, protein="P"):
    return Row(Place("t.csv", line, protein, text), Mutation.parse(text), 0.5, "", protein, 1, ())


def settle(rows, sequence, max_offset, ambiguous="drop", unfitted="drop"):
    log = Log()
    wild_types = {"P": sequence, "Q": "MKLV"}
    left, report = place_rows(
        rows, wild_types, max_offset, log, ambiguous=ambiguous, unfitted=unfitted
    )
    return left, report, log


def test_rows_without_a_place_are_listed_and_left_out():
    rows = [row("M11A", 2), row("K12A", 3), row("L13A", 4), row("V13A", 5), row("M1L", 6, "Q")]
    left, report, log = settle(rows, "MKLV", 12)
    assert [(one.place.line, str(one.mutation)) for one in left] == [
        (2, "M1A"),
        (3, "K2A"),
        (4, "L3A"),
        (6, "M1L"),
    ]
    assert report["chosen"] == {"P": -10} and report["partly_fitted"] == {"P": [3, 4]}
    assert (report["fitted"], report["mutations"]) == (4, 5)
    assert report["listed"] == ["t.csv:5 P V13A: residue 3 is L, not V (offset -10)"]
    assert log.counts == {"unfitted": 1}
    with pytest.raises(InputError, match=r"^t.csv:5: record 'P V13A': residue 3 is L, not V"):
        settle(rows, "MKLV", 12, unfitted="error")


def test_rival_offsets_have_three_fates():
    rows = [row("K3A", 2), row("M1A", 3, "Q")]
    left, report, log = settle(rows, "AKAAAK", 3)  # K is at 2 and at 6
    assert [one.place.protein for one in left] == ["Q"]
    assert report["ambiguous"] == {"P": [-1, 3]} and log.counts == {"ambiguous offset": 1}
    assert report["listed"] == [
        "t.csv:2 P K3A: 2 offsets (-1, +3) each fit 1 of 1 mutations",
    ]
    left, report, log = settle(rows, "AKAAAK", 3, ambiguous="keep")
    assert [str(one.mutation) for one in left] == ["K2A", "M1A"]
    assert len(report["listed"]) == 1 and not log.counts
    with pytest.raises(InputError, match=r"t.csv:2: record 'P K3A': 2 offsets \(-1, \+3\)"):
        settle(rows, "AKAAAK", 3, ambiguous="error")
    # 0 is one of the best: no doubt, whatever else fits as well.
    left, report, _ = settle([row("K2A", 2)], "AKAAAK", 5, ambiguous="error")
    assert str(left[0].mutation) == "K2A" and not report["ambiguous"]


def test_many_mutations_are_quick():
    random = np.random.default_rng(0)
    sequence = "".join(random.choice(list(RESIDUES), 500))
    scan = [
        Mutation((Substitution(at + 7, letter, new),))
        for at, letter in enumerate(sequence)
        for new in RESIDUES
        if new != letter
    ]
    assert find_offset(scan, sequence, 1000).offset == -7
