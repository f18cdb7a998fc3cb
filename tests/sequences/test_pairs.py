"""Pairs by level: which there are, how often each is drawn, and who is never in one."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from protemb.errors import ConfigError, InputError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.pairs import PairSampler, hierarchy, read_pairs, shared_levels
from protemb.sequences.tokens import TokenStore


def by_hand(codes_NK, sequences_N, records):
    """Every pair of different sequences, as a set for each level."""
    found = [set() for _ in range(codes_NK.shape[1] + 1)]
    for a, b in combinations(records.tolist(), 2):
        if sequences_N[a] != sequences_N[b] or (codes_NK[a] != codes_NK[b]).any():
            level = 0
            while level < codes_NK.shape[1] and codes_NK[a, level] == codes_NK[b, level]:
                level += 1
            found[level].add(frozenset((a, b)))
    return found


def nested(columns_NK):
    """Codes under which equal numbers in a column are equal in all columns before."""
    kept = [columns_NK[:, : k + 1] for k in range(columns_NK.shape[1])]
    return np.stack([np.unique(part, axis=0, return_inverse=True)[1] for part in kept], 1)


def random_codes(rng, records, levels=3, width=3):
    return nested(rng.integers(width, size=(records, levels)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(1, 4))
def test_numbers_name_every_pair_once(seed, records, levels):
    rng = np.random.default_rng(seed)
    codes_NK = random_codes(rng, records + 5, levels, 2)
    sequences_N = rng.integers(records + 5, size=records + 5)
    chosen = rng.permutation(records + 5)[:records]
    sampler = PairSampler(codes_NK, sequences_N, chosen)
    for level, expected in enumerate(by_hand(codes_NK, sequences_N, chosen)):
        total = int(sampler.totals[level])
        pairs = sampler.pairs(level, np.arange(total))
        assert total == len(expected)
        assert {frozenset(pair) for pair in pairs.records_P2.tolist()} == expected
        assert (shared_levels(codes_NK, pairs.records_P2) == level).all()
        assert (pairs.levels_P == level).all()


def test_levels_are_drawn_by_their_number_of_pairs_to_the_power_tau():
    rng = np.random.default_rng(0)
    codes_NK = random_codes(rng, 60)
    sampler = PairSampler(codes_NK, np.arange(60), np.arange(60))
    totals = np.array([len(x) for x in by_hand(codes_NK, np.arange(60), np.arange(60))], float)
    for tau in (0.0, 0.5, 1.0):
        pairs = sampler.draw(40_000, tau, seed=3, epoch=5)
        observed = np.bincount(pairs.levels_P, minlength=4)
        assert chisquare(observed, 40_000 * totals**tau / (totals**tau).sum()).pvalue > 1e-3


def test_pairs_of_a_level_are_drawn_alike_and_in_no_order():
    rng = np.random.default_rng(1)
    codes_NK = random_codes(rng, 16, 2, 2)
    sampler = PairSampler(codes_NK, np.arange(16), np.arange(16))
    pairs = sampler.draw(60_000, 0.5, seed=0, epoch=0)
    for level, every in enumerate(by_hand(codes_NK, np.arange(16), np.arange(16))):
        drawn = np.sort(pairs.records_P2[pairs.levels_P == level], 1)
        found, counts = np.unique(drawn, axis=0, return_counts=True)
        assert {frozenset(pair) for pair in found.tolist()} == every
        assert chisquare(counts).pvalue > 1e-3
    halves = [np.bincount(half, minlength=3) for half in np.split(pairs.levels_P, 2)]
    assert np.abs(halves[0] - halves[1]).max() < 5 * np.sqrt(60_000 / 4)


def test_a_draw_is_a_function_of_seed_and_epoch():
    sampler = PairSampler(random_codes(np.random.default_rng(2), 50), np.arange(50), np.arange(50))

    def drawn(seed, epoch):
        return sampler.draw(200, 0.5, seed=seed, epoch=epoch).records_P2

    assert (drawn(1, 2) == drawn(1, 2)).all()
    assert (drawn(1, 2) != drawn(1, 3)).any() and (drawn(1, 2) != drawn(2, 2)).any()
    fixed = [sampler.fixed(100, 0.5, seed=seed).records_P2 for seed in (0, 0, 1)]
    assert (fixed[0] == fixed[1]).all() and (fixed[0] != fixed[2]).any()


def test_fixed_pairs_differ_and_keep_the_shares():
    codes_NK = random_codes(np.random.default_rng(4), 80)
    sampler = PairSampler(codes_NK, np.arange(80), np.arange(80))
    pairs = sampler.fixed(300, 0.5, seed=0)
    assert len({frozenset(pair) for pair in pairs.records_P2.tolist()}) == len(pairs)
    expected = np.minimum(300 * sampler.shares(0.5), sampler.totals)
    assert np.abs(np.bincount(pairs.levels_P) - expected).max() <= 1
    everything = sampler.fixed(10**6, 0.0, seed=0)
    assert len(everything) == 80 * 79 // 2


def test_a_large_group_does_not_stand_for_all_in_fixed_pairs():
    sizes = [100, 25, 25]
    codes_NK = np.repeat(np.arange(3), sizes)[:, None]
    sampler = PairSampler(codes_NK, np.arange(150), np.arange(150))
    pairs = sampler.fixed(1000, 0.5, seed=0)
    inside = pairs[pairs.levels_P == 1].records_P2[:, 0]
    counts = np.bincount(codes_NK[inside, 0])
    roots = np.sqrt([size * (size - 1) / 2 for size in sizes])
    assert chisquare(counts, counts.sum() * roots / roots.sum()).pvalue > 1e-3
    # A group that is used up leaves its share to the others.
    small = PairSampler(np.repeat([0, 1], [40, 2])[:, None], np.arange(42), np.arange(42))
    pairs = small.fixed(700, 0.0, seed=0)
    assert np.bincount(pairs.levels_P).tolist() == [80, 350]
    assert (pairs.records_P2[pairs.levels_P == 1] >= 40).all(1).sum() == 1


def test_only_the_chosen_records_are_in_pairs():
    codes_NK = random_codes(np.random.default_rng(5), 90)
    train, test = np.arange(0, 90, 2), np.arange(1, 90, 2)
    samplers = [PairSampler(codes_NK, np.arange(90), part) for part in (train, test)]
    drawn = [
        set(sampler.draw(5000, 0.5, seed=0, epoch=0).records_P2.ravel().tolist())
        for sampler in samplers
    ]
    assert drawn == [set(train.tolist()), set(test.tolist())]


@pytest.mark.parametrize("records", [0, 1])
def test_a_part_without_pairs_is_refused(records):
    sampler = PairSampler(np.zeros((3, 2), int), np.arange(3), np.arange(records))
    with pytest.raises(ConfigError, match="records in a part"):
        sampler.shares(0.5)
    sampler = PairSampler(np.zeros((3, 2), int), np.arange(3), np.arange(3))
    with pytest.raises(ConfigError, match=r"task\.tau: got -0\.5"):
        sampler.shares(-0.5)


def labelled(**fields):
    count = len(next(iter(fields.values())))
    store = TokenStore.from_sequences([(f"d{i}", "MKV" + "A" * i) for i in range(count)])
    columns = {name: np.array(column) for name, column in fields.items()}
    return LabelledSet.from_labels(store, ["x", "y"] * (count // 2), columns)


def test_a_level_is_shared_only_below_a_shared_one():
    data = labelled(fold=["1", "2", "1", "1"], family=["9", "9", "9", "8"])
    codes_NK = hierarchy(data, ["fold", "family"])
    pairs_P2 = np.array([[0, 1], [0, 2], [0, 3], [1, 3]])
    assert shared_levels(codes_NK, pairs_P2).tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least one field"),
        (["kingdom"], r"got 'kingdom', expected fields of the data \(it has fold\)"),
        (["fold"], "a value for every record; 'd2' has none"),
    ],
)
def test_levels_that_the_data_lacks_are_named(names, message):
    with pytest.raises(ConfigError, match=message):
        hierarchy(labelled(fold=["1", "2", "", "1"]), names)


def test_a_file_of_pairs_is_read(tmp_path):
    data = labelled(fold=["1", "2", "1", "1"])
    path = tmp_path / "pairs.csv"
    path.write_text("id_a,id_b,label\nd0,d3,1\nd2,d1,0\n")
    pairs = read_pairs(path, data.store)
    assert pairs.records_P2.tolist() == [[0, 3], [2, 1]] and pairs.levels_P.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,label\nd0,d3,1\n", "expected the columns id_a, id_b, label"),
        ("id_a,id_b,label\nd0,d3,1\nd0,d9,0\n", r"pairs\.csv:3: record 'd9': the data has no such"),
        ("id_a,id_b,label\nd0,d3,2\n", "label: got '2', expected 0 or 1"),
        ("id_a,id_b,label\nd0\n", "the data has no such id"),
        ("id_a,id_b,label\nd0,d3,1\n", "expected pairs with the label 0 and"),
    ],
)
def test_a_bad_file_of_pairs_is_one_clear_error(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path, labelled(fold=["1", "2", "1", "1"]).store)
