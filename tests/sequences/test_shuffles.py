"""What each change keeps, and that shuffles are uniform, against full enumeration."""

import time
from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from protemb.errors import ConfigError
from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.shuffles import (
    SHUFFLES,
    reverse,
    rotate,
    shuffle_dipeptides,
    shuffle_residues,
    shuffled_set,
    substitute,
    swap_segments,
)
from protemb.sequences.tokens import TokenStore

RANDOM = {
    "swap": swap_segments,
    "residues": shuffle_residues,
    "dipeptides": shuffle_dipeptides,
    "substitute": substitute,
}
# Few letters, so that residues and dipeptides repeat; many, as proteins have.
SEQUENCES = st.one_of(
    st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(0, 20), max_size=60)
).map(lambda tokens: np.array(tokens, np.uint8))
SEEDS = st.integers(0, 2**32)
FALSE_ALARM = 1e-6  # draws are seeded: a test that passes once passes always


def letters(text):
    return np.frombuffer(text.encode(), np.uint8) - ord("A")


def dipeptides(tokens):
    return Counter(pairwise(np.asarray(tokens).tolist()))


def same_dipeptides_and_ends(tokens):
    """Every sequence with these dipeptide counts and ends, by trying all orders."""
    first, *middle, last = tokens.tolist()
    orders = {(first, *order, last) for order in permutations(middle)}
    return {order for order in orders if dipeptides(order) == dipeptides(tokens)}


def is_uniform(draw, outcomes, draws_each=300):
    """Chi-square test that all outcomes, and no others, come equally often."""
    rng = np.random.default_rng(5)
    counts = Counter(tuple(draw(rng).tolist()) for _ in range(draws_each * len(outcomes)))
    assert set(counts) == set(outcomes)
    return chisquare(list(counts.values())).pvalue > FALSE_ALARM


@given(SEQUENCES, SEEDS)
@example(np.zeros(0, np.uint8), 0)
@example(np.array([3], np.uint8), 0)
@example(np.array([3, 20], np.uint8), 0)
@example(np.full(40, 7, np.uint8), 0)
def test_every_change_keeps_what_it_says(tokens, seed):
    before = tokens.copy()
    tokens.setflags(write=False)  # stores hand out views of their memory
    changed = {name: change(tokens, np.random.default_rng(seed)) for name, change in RANDOM.items()}
    changed |= {"reverse": reverse(tokens), "rotate": rotate(tokens, seed)}
    for name, result in changed.items():
        assert result.dtype == np.uint8 and len(result) == len(tokens)
        assert result.base is None or not np.shares_memory(result, tokens)
        if name != "substitute":
            assert sorted(result.tolist()) == sorted(tokens.tolist())
    assert np.array_equal(tokens, before)

    assert dipeptides(changed["dipeptides"]) == dipeptides(tokens)
    assert np.array_equal(changed["dipeptides"][:1], tokens[:1])
    assert np.array_equal(changed["dipeptides"][-1:], tokens[-1:])
    assert (dipeptides(tokens) - dipeptides(changed["rotate"])).total() <= 1
    assert (dipeptides(tokens) - dipeptides(changed["swap"])).total() <= 4
    assert np.array_equal(changed["reverse"], tokens[::-1])


@given(SEQUENCES, st.integers(-100, 100), st.integers(-100, 100))
def test_rotations_add_up(tokens, by, more):
    assert np.array_equal(rotate(tokens, 0), tokens)
    assert np.array_equal(rotate(rotate(tokens, by), more), rotate(tokens, by + more))
    assert np.array_equal(rotate(tokens, len(tokens)), tokens)
    if len(tokens):
        assert rotate(tokens, by)[0] == tokens[by % len(tokens)]


# With and without equal ends, with homopolymer runs, residues seen once, and a final residue that
# is met on the way.
@pytest.mark.parametrize(
    "text", ["ABABCACB", "ABCABCABA", "AABBAABB", "ABCBDBEB", "AAABA", "ABDACDBAD", "BAAACABAC"]
)
def test_dipeptide_shuffle_is_uniform_over_all_there_are(text):
    tokens = letters(text)
    outcomes = same_dipeptides_and_ends(tokens)
    assert len(outcomes) > 1
    assert is_uniform(lambda rng: shuffle_dipeptides(tokens, rng), outcomes)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), SEEDS)
def test_dipeptide_shuffle_stays_among_them(tokens, seed):
    tokens = np.array(tokens, np.uint8)
    if len(tokens) > 1:
        drawn = shuffle_dipeptides(tokens, np.random.default_rng(seed))
        assert tuple(drawn.tolist()) in same_dipeptides_and_ends(tokens)


@pytest.mark.parametrize("text", ["", "A", "AB", "ABC", "AAAAAAAA", "ABABABAB", "ABCDEFGH"])
def test_what_has_one_order_stays(text):
    tokens = letters(text)
    for seed in range(20):
        drawn = shuffle_dipeptides(tokens, np.random.default_rng(seed))
        assert np.array_equal(drawn, tokens)


def test_residue_shuffle_is_uniform():
    tokens = letters("AABCB")
    outcomes = set(permutations(tokens.tolist()))
    assert is_uniform(lambda rng: shuffle_residues(tokens, rng), outcomes)


def test_segments_swap_uniformly():
    tokens = letters("ABCDE")  # all different: the swap can be read off
    outcomes = []
    for a in range(6):
        for b in range(a + 1, 6):
            for c in range(b, 6):
                for d in range(c + 1, 6):
                    order = [*range(a), *range(c, d), *range(b, c), *range(a, b), *range(d, 5)]
                    outcomes.append(tuple(order))
    assert len(set(outcomes)) == len(outcomes)  # so equally likely pairs give equal chances
    assert is_uniform(lambda rng: swap_segments(tokens, rng), outcomes)
    assert swap_segments(letters("AB"), np.random.default_rng(0)).tolist() == [1, 0]


@given(SEQUENCES, SEEDS, st.integers(0, 70))
def test_substitutions_change_as_many_residues_as_asked(tokens, seed, count):
    changed = substitute(tokens, np.random.default_rng(seed), count)
    differs = changed != tokens
    assert differs.sum() == min(count, len(tokens))
    assert (changed[differs] < 20).all()


@pytest.mark.parametrize("old", [0, 7, 19, 20])
def test_a_residue_becomes_each_other_one_equally_often(old):
    tokens = np.full(2, old, np.uint8)
    outcomes = {pair for new in range(20) if new != old for pair in [(new, old), (old, new)]}
    assert is_uniform(lambda rng: substitute(tokens, rng), outcomes, 200)


def test_the_longest_protein_is_shuffled_at_once():
    titin = np.random.default_rng(0).integers(0, 21, 34_350).astype(np.uint8)
    # The walk meets its rare exits late here.
    slow = np.repeat(np.arange(20, dtype=np.uint8), 1717)
    for tokens in (titin, slow):
        start = time.perf_counter()
        drawn = shuffle_dipeptides(tokens, np.random.default_rng(0))
        assert time.perf_counter() - start < 1
        assert dipeptides(drawn) == dipeptides(tokens)


RECORDS = [("a", "MKVLAAXKMK"), ("b ü", "ARNDARCQARND"), ("c", "MKVLAAXKMK"), ("d", "W")]


@pytest.fixture
def data():
    fields = {"group": np.array(list("xyxz")), "year": np.arange(4)}
    report = {"records_read": 5, "distinct_sequences": 3}
    labels = ["swine", "avian", "bat", "bat"]
    return LabelledSet.from_labels(TokenStore.from_sequences(RECORDS), labels, fields, report)


@pytest.mark.parametrize("kind", SHUFFLES)
def test_a_shuffled_set_is_the_same_but_for_the_order(data, kind, tmp_path):
    shuffled = shuffled_set(data, kind, 3)
    assert list(shuffled.store.ids()) == list(data.store.ids())
    assert np.array_equal(shuffled.labels_N, data.labels_N)
    assert shuffled.label_names == data.label_names and shuffled.fields is data.fields
    assert np.array_equal(shuffled.sequences_N, data.sequences_N)
    assert shuffled.fingerprint != data.fingerprint
    for record, (_, sequence) in enumerate(RECORDS):
        assert sorted(shuffled.store.sequence(record)) == sorted(sequence)
        if kind == "dipeptides":
            drawn = shuffled.store.tokens(record)
            assert dipeptides(drawn) == dipeptides(data.store.tokens(record))
    fact = shuffled.report["shuffled"]
    assert fact == {"kind": kind, "seed": 3, "unchanged": fact["unchanged"]}
    assert 1 <= fact["unchanged"] < 3  # a single residue has one order
    assert shuffled.report["records_read"] == 5 and "shuffled" not in data.report
    shuffled.save(tmp_path / "saved")


@pytest.mark.parametrize("kind", SHUFFLES)
def test_a_shuffle_depends_on_the_seed_and_the_sequence_alone(data, kind):
    def sequences(labelled, seed):
        store = shuffled_set(labelled, kind, seed).store
        return {store.id(n): store.sequence(n) for n in range(len(store))}

    other = LabelledSet.from_labels(TokenStore.from_sequences(RECORDS[:0:-1]), ["a", "b", "a"])
    known = sequences(data, 0)
    assert sequences(data, 0) == known
    assert sequences(other, 0) == {name: known[name] for name in ("b ü", "c", "d")}
    assert len({tuple(sequences(data, seed).values()) for seed in range(20)}) > 1


def test_sequences_that_become_the_same_are_counted(data):
    store = TokenStore.from_sequences([("a", "AR"), ("b", "RA")])
    pair = LabelledSet.from_labels(store, ["x", "y"])
    found = {shuffled_set(pair, "residues", seed).report["distinct_sequences"] for seed in range(9)}
    assert found == {1, 2}


def test_an_unknown_shuffle_is_refused(data):
    with pytest.raises(ConfigError, match="shuffle: got 'codons', expected one of residues, dip"):
        shuffled_set(data, "codons", 0)


def test_the_standard_residues_come_first():
    assert AA21.symbols.index("X") == AA21.size - 1 == 20
