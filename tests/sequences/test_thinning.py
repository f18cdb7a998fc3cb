"""A thinner training part: which sequences stay, against loops over the records."""

import math
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import ConfigError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.sequences.splits import GroupSplit, RandomSplit
from protemb.sequences.thinning import thin
from protemb.sequences.tokens import TokenStore

STORE = TokenStore.from_sequences((f"r{i}", "MK" + "V" * i) for i in range(300))


def make_data(sequences, labels, **fields) -> LabelledSet:
    """Up to 300 records by the numbers of their sequences and labels."""
    store = replace(STORE, sequence_of_N=np.asarray(sequences))
    return LabelledSet.from_labels(store, [f"host {c}" for c in labels], fields)


RECORDS = st.lists(  # sequence, label, part
    st.tuples(
        st.integers(0, 7), st.sampled_from([0, 0, 1, 2, 3]), st.sampled_from([-1, 0, 0, 1, 2])
    ),
    min_size=1,
    max_size=60,
)
# A label for each sequence, and all of them trained on.
PURE = st.lists(
    st.integers(0, 30).map(lambda sequence: (sequence, sequence % 3, 0)), min_size=10, max_size=60
)
SHARES = st.sampled_from([1e-9, 0.05, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.999])


def given_parts(records):
    sequences, labels, codes = zip(*records, strict=True)
    data = make_data(sequences, labels)
    return data, Split.from_codes(np.array(codes), "by hand", {"seed": 7}, data.sequences_N)


@given(RECORDS, SHARES, st.integers(0, 5))
def test_only_the_training_part_gets_thinner_and_by_whole_sequences(records, share, seed):
    data, split = given_parts(records)
    thinned = thin(data, split, share, seed=seed)
    kept = set(data.sequences_N[thinned.train])
    expected = [i for i in split.train if data.sequences_N[i] in kept]
    assert thinned.train.tolist() == expected and thinned.train.dtype == np.int64
    np.testing.assert_array_equal(thinned.validation, split.validation)
    np.testing.assert_array_equal(thinned.test, split.test)
    np.testing.assert_array_equal(thinned.groups_N, split.groups_N)
    assert thinned.method == split.method
    expected = {"seed": 7, "train_share": share, "train_share_seed": seed}
    assert thinned.parameters == expected and split.parameters == {"seed": 7}


@given(RECORDS, SHARES, st.integers(0, 5))
def test_every_label_that_was_trained_on_still_is(records, share, seed):
    data, split = given_parts(records)
    thinned = thin(data, split, share, seed=seed)
    assert set(data.labels_N[thinned.train]) == set(data.labels_N[split.train])


@given(st.one_of(PURE, RECORDS), SHARES, st.integers(0, 5))
def test_each_label_keeps_its_share_of_sequences(records, share, seed):
    """A sequence counts with its most frequent label, the first name of equally frequent ones."""
    data, split = given_parts(records)
    kept = set(data.sequences_N[thin(data, split, share, seed=seed).train])
    labels_of = defaultdict(Counter)
    for i in split.train:
        labels_of[data.sequences_N[i]][int(data.labels_N[i])] += 1
    sequences_of = defaultdict(list)
    for sequence, labels in labels_of.items():
        sequences_of[min(labels, key=lambda c: (-labels[c], c))].append(sequence)
    # One more may stay for a label that is not the most frequent of any sequence.
    rare = set(data.labels_N[split.train].tolist()) - set(sequences_of)
    more = 0
    for own in sequences_of.values():
        least = max(1, round(share * len(own)))
        more += len(kept.intersection(own)) - least
        assert len(kept.intersection(own)) >= least
    assert more <= len(rare)


@given(st.one_of(PURE, RECORDS), SHARES, SHARES, st.integers(0, 5))
def test_a_smaller_share_is_a_part_of_a_larger_one(records, first, second, seed):
    data, split = given_parts(records)
    small, large = (
        set(thin(data, split, share, seed=seed).train) for share in sorted([first, second])
    )
    assert small <= large <= set(split.train)


def test_the_whole_is_the_split_itself():
    data, split = given_parts([(0, 0, 0), (1, 1, 0), (2, 0, 2)])
    assert thin(data, split, 1, seed=3) is split
    assert thin(data, split, 1.0) is split


def test_a_label_with_one_sequence_keeps_it_and_all_its_records():
    data, split = given_parts([(i, 0, 0) for i in range(12)] + [(15, 1, 0)] * 5 + [(0, 0, 2)])
    for seed in range(10):
        train = thin(data, split, 0.25, seed=seed).train
        assert len(train) == 3 + 5 and set(range(12, 17)) <= set(train)


def test_a_label_that_is_never_the_most_frequent_stays():
    """Sequence 3 is host 0 twice and host 1 once; no other record is host 1."""
    records = [(i, 0, 0) for i in range(10)] + [(3, 0, 0), (3, 1, 0)]
    data, split = given_parts(records)
    trains = [thin(data, split, 0.1, seed=seed).train for seed in range(20)]
    assert all(11 in train for train in trains)


@pytest.fixture(scope="module")
def hosts() -> LabelledSet:
    """300 records of 150 or so sequences in three classes; a sequence has one label."""
    sequences = np.random.default_rng(0).integers(0, 200, 300)
    groups = np.array([f"farm {s // 3}" for s in sequences])
    return make_data(sequences, sequences % 7 % 3, group=groups)


def test_the_seed_decides_and_nothing_else(hosts):
    split = GroupSplit().split(hosts)
    first, again, other = (thin(hosts, split, 0.5, seed=seed) for seed in (0, 0, 1))
    assert first.train.tolist() == again.train.tolist() != other.train.tolist()
    prints = {each.fingerprint for each in (split, first, again, other)}
    assert len(prints) == 3


def test_no_sequence_is_preferred():
    """Of 10 sequences of a class 3 stay: each in 30 % of the draws."""
    data, split = given_parts([(i, i % 2, 0) for i in range(16)] + [(i, 0, 0) for i in (1, 3)] * 2)
    # 1 and 3 are of class 0 now (two records against one), with the 8 even ones.
    times = Counter()
    draws = 2000
    for seed in range(draws):
        times.update(set(data.sequences_N[thin(data, split, 0.3, seed=seed).train].tolist()))
    error = 5 * math.sqrt(draws * 0.3 * 0.7)
    for sequence in (0, 1, 2, 3, 4, 6, 8, 10, 12, 14):
        assert abs(times[sequence] - 0.3 * draws) < error
    error = 5 * math.sqrt(draws * (1 / 3) * (2 / 3))
    for sequence in (5, 7, 9, 11, 13, 15):
        assert abs(times[sequence] - draws / 3) < error


def test_repeats_on_the_other_side_stay_there(hosts):
    """The naive split has equal sequences on both sides: only the training side is thinned."""
    split = RandomSplit().split(hosts)
    thinned = thin(hosts, split, 0.2)
    shared = set(hosts.sequences_N[split.train]) & set(hosts.sequences_N[split.test])
    gone = shared - set(hosts.sequences_N[thinned.train])
    assert gone and gone <= set(hosts.sequences_N[thinned.test])


@pytest.mark.parametrize("share", [0, -0.1, 1.001, math.nan, math.inf])
def test_a_share_out_of_range_is_one_clear_line(hosts, share):
    with pytest.raises(ConfigError) as caught:
        thin(hosts, GroupSplit().split(hosts), share)
    expected = f"train_share: got {share!r}, expected a share above 0, at most 1"
    assert str(caught.value) == expected
