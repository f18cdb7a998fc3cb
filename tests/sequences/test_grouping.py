import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from protemb.sequences.grouping import assign_groups, connected_groups

SHARES = (0.7, 0.1, 0.2)


def deal(groups, labels, shares=SHARES, seed=0, first_has_all=True):
    rng = np.random.default_rng(seed)
    return assign_groups(
        np.asarray(groups), np.asarray(labels), shares, rng, first_has_all=first_has_all
    )


def shares_of(part_N, labels_N, P):
    """Share of each class in each part: (classes, parts)."""
    counts = np.zeros((labels_N.max() + 1, P))
    np.add.at(counts, (labels_N, part_N), 1)
    return counts / counts.sum(axis=1, keepdims=True)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(0, 12), min_size=n, max_size=n)] * 2)
    )
)
def test_connected_groups_agree_with_a_walk(columns):
    first, second = columns
    group = list(range(len(first)))
    for _ in first:  # spread the smallest index along equal values until nothing changes
        for i in range(len(first)):
            for j in range(len(first)):
                if first[i] == first[j] or second[i] == second[j]:
                    group[i] = group[j] = min(group[i], group[j])
    found = connected_groups(np.array(first), np.array(second))
    expected = np.array(group)
    assert ((found[:, None] == found) == (expected[:, None] == expected)).all()


# Labels of each class's groups: the sizes of its groups, at least as many as there are parts.
PURE = st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=8), min_size=1, max_size=5)


@given(PURE, st.integers(0, 3), st.booleans())
def test_a_class_with_a_group_for_each_part_is_in_each_part(sizes_of_classes, seed, first_has_all):
    sizes = [size for sizes in sizes_of_classes for size in sizes]
    class_of = [c for c, sizes in enumerate(sizes_of_classes) for _ in sizes]
    groups_N = np.repeat(np.arange(len(sizes)), sizes)
    labels_N = np.repeat(class_of, sizes)
    part_N = deal(groups_N, labels_N, seed=seed, first_has_all=first_has_all)
    assert (shares_of(part_N, labels_N, 3) > 0).all()
    assert all(len(set(part_N[groups_N == g])) == 1 for g in range(len(sizes)))


MIXED = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=60)


@given(MIXED, st.integers(0, 3))
def test_the_first_part_gets_every_class_and_groups_stay_whole(records, seed):
    groups_N, labels_N = np.array(records).T
    part_N = deal(groups_N, labels_N, seed=seed)
    assert set(labels_N[part_N == 0]) == set(labels_N)
    for group in set(groups_N):
        assert len(set(part_N[groups_N == group])) == 1


@pytest.mark.parametrize("shares", [SHARES, (0.5, 0.25, 0.25), (0.05, 0.05, 0.9)])
def test_every_class_comes_close_to_its_shares(shares):
    rng = np.random.default_rng(1)
    groups_N = rng.integers(0, 600, 3000)  # groups of about 5, of mixed classes
    labels_N = rng.choice(4, 3000, p=[0.6, 0.3, 0.07, 0.03])
    found = shares_of(deal(groups_N, labels_N, shares), labels_N, 3)
    # Within two groups of the target, in records of the class.
    assert np.abs(found - shares).max() * np.bincount(labels_N).min() < 10
    assert np.abs(found[0] - shares).max() < 0.01


def test_single_records_are_dealt_to_the_record():
    labels_N = np.repeat([0, 1, 2], [1000, 100, 7])
    counts = shares_of(deal(np.arange(1107), labels_N), labels_N, 3).T * [1000, 100, 7]
    assert np.abs(counts - np.outer(SHARES, [1000, 100, 7])).max() < 1


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_are_as_even_as_those_of_scikit_learn(grouped):
    rng = np.random.default_rng(2)
    groups_N = rng.geometric(0.02, 2000) if grouped else np.arange(2000)
    labels_N = (groups_N + rng.integers(0, 2, 2000)) % 5
    fold_N = deal(groups_N, labels_N, [0.2] * 5, first_has_all=False)
    theirs_N = np.empty(2000, np.int64)
    peers = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for fold, (_, test) in enumerate(peers.split(labels_N, labels_N, groups_N)):
        theirs_N[test] = fold
    ours, theirs = (np.abs(shares_of(f, labels_N, 5) - 0.2).mean() for f in (fold_N, theirs_N))
    assert ours <= theirs + 0.005


def test_a_large_group_can_be_tested_too():
    # Ten groups of ten: each has its fair chance of the test part, whatever its name.
    groups_N, labels_N = np.repeat(np.arange(10), 10), np.tile([0, 1], 50)
    tested = np.zeros(10)
    for seed in range(200):
        part_N = deal(groups_N, labels_N, seed=seed)
        assert np.bincount(part_N, minlength=3).tolist() == [70, 10, 20]
        tested[np.unique(groups_N[part_N == 2])] += 1
    assert (np.abs(tested / 200 - 0.2) < 0.12).all()  # four standard errors


def test_the_largest_group_is_not_always_trained_on():
    groups_N = np.repeat(np.arange(42), [18, *[2] * 41])
    parts = [deal(groups_N, [0] * 100, seed=seed) for seed in range(100)]
    assert 10 <= sum(part_N[0] == 2 for part_N in parts) <= 50
    assert all(np.abs(np.bincount(part_N) - [70, 10, 20]).max() <= 2 for part_N in parts)


def test_a_class_too_small_for_all_parts_is_trained_on():
    labels_N = np.repeat([0, 1, 2], [100, 2, 1])
    part_N = deal(np.arange(103), labels_N)
    assert 0 in part_N[labels_N == 1] and part_N[labels_N == 2].tolist() == [0]
    assert len(set(part_N[labels_N == 1])) == 2


def test_many_small_classes_leave_the_parts_their_sizes():
    labels_N = np.repeat(np.arange(200), 3)  # one record of each class for each part
    sizes = np.bincount(deal(np.arange(600), labels_N))
    assert sizes.tolist() == [200, 200, 200]
    labels_N = np.repeat(np.arange(200), 2)
    sizes = np.bincount(deal(np.arange(400), labels_N))
    # Half of them have to be trained on; the other half keeps test the larger part.
    assert sizes[0] == 200 and 60 < sizes[1] < 90 and 110 < sizes[2] < 140


def test_a_class_is_not_moved_where_less_would_stay_behind():
    # Nearly all of class 1 is one group: better no validation of it than next to no training.
    groups_N = np.repeat(np.arange(23), [80, 1, 1, *[5] * 20])
    labels_N = np.repeat([1, 0], [82, 100])
    for seed in range(20):
        part_N = deal(groups_N, labels_N, seed=seed)
        assert part_N[0] == 0


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    rng = np.random.default_rng(3)
    groups_N, labels_N = rng.integers(0, 40, 200), rng.integers(0, 3, 200)
    parts = [deal(groups_N, labels_N, seed=seed).tolist() for seed in (0, 0, 1, 2)]
    assert parts[0] == parts[1]
    assert parts[0] != parts[2] != parts[3] != parts[0]
