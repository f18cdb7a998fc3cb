import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.mutations import THREE_TO_ONE, Mutation, MutationError, Substitution

ONE_TO_THREE = {one: three for three, one in THREE_TO_ONE.items()}
sequences = st.text(RESIDUES, min_size=1, max_size=30)


@st.composite
def cases(draw):
    """A sequence, and a mutation of it as (position, new residue) pairs in any order."""
    sequence = draw(sequences)
    places = draw(st.lists(st.integers(0, len(sequence) - 1), min_size=1, max_size=4, unique=True))
    news = [draw(st.sampled_from(RESIDUES.replace(sequence[place], ""))) for place in places]
    return sequence, list(zip(places, news, strict=True))


@given(cases(), st.sampled_from(":/,;"), st.sampled_from(["", "A:", "1:", "AB:"]))
def test_text_says_what_it_says(case, separator, chain):
    sequence, changes = case
    pieces = [f"{sequence[place]}{place + 1}{new}" for place, new in changes]
    mutation = Mutation.parse(chain + separator.join(pieces))

    expected = list(sequence)
    for place, new in changes:
        expected[place] = new
    assert mutation.apply(sequence) == "".join(expected)
    assert mutation.fits(sequence) and mutation.chain == chain.rstrip(":")
    assert mutation.positions == tuple(sorted(place for place, _ in changes))
    assert str(mutation) == ":".join(sorted(pieces, key=lambda piece: int(piece[1:-1])))
    assert Mutation.parse(str(mutation)).substitutions == mutation.substitutions

    three = [f"{ONE_TO_THREE[p[0]]}{p[1:-1]}{ONE_TO_THREE[p[-1]]}" for p in pieces]
    for text in (f"p.[{';'.join(three)}]", "; ".join(f"p.{piece}" for piece in three)):
        assert Mutation.parse(text).substitutions == mutation.substitutions


@given(cases(), st.integers(-40, 40))
def test_back_and_forth(case, offset):
    sequence, changes = case
    mutation = Mutation(tuple(Substitution(at, sequence[at], new) for at, new in changes), "A")
    variant = mutation.apply(sequence)
    assert mutation.reversed().apply(variant) == sequence
    assert mutation.reversed().reversed() == mutation
    assert mutation.shifted(offset).shifted(-offset) == mutation
    assert mutation.shifted(offset).positions == tuple(at + offset for at in mutation.positions)
    # The same chain further on in a longer one; before its beginning nothing fits.
    assert mutation.shifted(40).fits("W" * 40 + sequence)
    assert not mutation.shifted(-len(sequence)).fits(sequence)


def test_no_place_wraps():
    assert not Mutation.parse("K0A").fits("AKLK")  # index -1 would be the last K
    assert not Mutation.parse("L-1A").fits("AKLK")
    assert not Mutation.parse("K5A").fits("AKLK")
    with pytest.raises(ValueError, match="A1G: residue 1 is K, not A"):
        Mutation.parse("A1G").apply("KA")
    with pytest.raises(ValueError, match="position 0 is outside the 2 residues"):
        Mutation.parse("A0G").apply("KA")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "got ''"),
        ("A5", "got 'A5'"),
        ("a5g", "got 'a5g'"),
        ("A5G;", "got ''"),
        ("A12:C5D", "got 'A12'"),
        ("A5*", r"got 'A5\*'"),
        ("p.Ala5=", "got 'p.Ala5='"),
        ("p.Ala5Ter", "Ter is none of the 20"),
        ("A5X", "X is none of the 20"),
        ("B5A", "B is none of the 20"),
        ("A5A", "A5A changes nothing"),
        ("L27CN", "27C has an insertion letter"),
        ("A5G:A5C", "position 5 is given twice"),
        ("A5G:A5G", "position 5 is given twice"),
        ("A:A5G,B:C6D", "chains A and B"),
        ("A5G C6D", "got 'A5G C6D'"),
        ("A1.5G", "got 'A1.5G'"),
        ("A٥G", "got 'A٥G'"),
    ],
)
def test_what_is_no_substitution(text, problem):
    with pytest.raises(MutationError, match=problem) as caught:
        Mutation.parse(text)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_wild_type_itself():
    nothing = Mutation()
    assert nothing.apply("MK") == "MK" and nothing.fits("") and not nothing.positions
    assert str(nothing) == "" and nothing.reversed() == nothing


def test_two_at_one_place_are_refused():
    with pytest.raises(ValueError, match="two substitutions"):
        Mutation((Substitution(1, "A", "G"), Substitution(1, "A", "C")))


def test_three_letter_names_are_those_of_the_chemists():
    from Bio.Data.IUPACData import protein_letters_3to1

    assert THREE_TO_ONE == {name: protein_letters_3to1[name] for name in THREE_TO_ONE}
    assert len(THREE_TO_ONE) == 20
