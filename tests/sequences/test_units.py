"""Units of resampling: against a walk over edit distances, and the groups that splits keep."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.sequences import units
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.holdouts import LeaveOutSplit, PredefinedSplit, TimeSplit
from protemb.sequences.partition import Split
from protemb.sequences.splits import ClusterSplit, GroupSplit, RandomSplit, UniqueSplit
from protemb.sequences.thinning import thin
from protemb.sequences.tokens import TokenStore
from protemb.sequences.units import resampling_units

LETTERS = "ARNDCQEGHILKMFPSTWYV"


def data_of(texts: Sequence[str], labels=None, **fields) -> LabelledSet:
    store = TokenStore.from_sequences((f"r{i}", text) for i, text in enumerate(texts))
    columns = {name: np.asarray(column) for name, column in fields.items()}
    return LabelledSet.from_labels(store, labels or ["a"] * len(texts), columns)


def all_tested(data, groups=None) -> Split:
    """Every record is in the test part."""
    groups_N = None if groups is None else np.asarray(groups)
    return Split.from_codes(np.full(len(data), 2), "by hand", {}, groups_N)


def same(first, second) -> bool:
    """Two columns of codes that take the same rows together."""
    first, second = np.asarray(first), np.asarray(second)
    return bool(((first[:, None] == first) == (second[:, None] == second)).all())


def edits(first: str, second: str) -> int:
    """Least number of substitutions, insertions and deletions, row by row."""
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        before, row = row, [i]
        for j, other in enumerate(second, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other)))
    return row[-1]


def walk(texts: Sequence[str], identity: float) -> list[int]:
    """Unit of each text: the longest that is free takes all free ones that are near."""
    distinct = list(dict.fromkeys(texts))
    unit_of: dict[str, int] = {}
    for first in sorted(distinct, key=lambda text: -len(text)):
        if first in unit_of:
            continue
        unit_of[first] = len(unit_of)
        for text in distinct:
            longest = max(len(first), len(text))
            if text not in unit_of and 1 - edits(first, text) / longest >= identity:
                unit_of[text] = unit_of[first]
    return [unit_of[text] for text in texts]


def mutate(rng, text: str, number: int) -> str:
    """Change residues to others, leave some out or put some in."""
    letters = list(text)
    for _ in range(number):
        place, kind = rng.integers(len(letters)), rng.random()
        if kind < 0.7:
            letters[place] = rng.choice([other for other in LETTERS if other != letters[place]])
        elif kind < 0.85 and len(letters) > 1:
            del letters[place]
        else:
            letters.insert(place, rng.choice(list(LETTERS)))
    return "".join(letters)


def relatives(rng, families: int, size: int, length: int, changes: int) -> list[str]:
    """Families of near relatives, with repeats, mixed."""
    texts = []
    for _ in range(families):
        root = "".join(rng.choice(list(LETTERS), size=int(rng.integers(length, length + 5))))
        texts += [mutate(rng, root, int(rng.integers(0, changes + 1))) for _ in range(size)]
    return [texts[i] for i in rng.permutation(len(texts))]


# ---- near sequences --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "length", "changes"), [(0.9, 30, 5), (0.8, 20, 6), (0.99, 100, 2), (0.5, 8, 6)]
)
def test_near_sequences_are_one_unit_as_in_a_walk(identity, length, changes):
    rng = np.random.default_rng(1)
    texts = relatives(rng, 5 if length > 50 else 8, 5, length, changes)
    data = data_of(texts)
    unit_M, facts = resampling_units(data, all_tested(data), identity=identity)
    expected = walk(texts, identity)
    assert same(unit_M, expected)
    count = len(set(expected))
    assert 1 < count < len(set(texts))  # some were taken together, others were not
    assert facts == {"kind": "similar", "identity": identity, "count": count}
    assert set(unit_M.tolist()) == set(range(count))


@given(
    st.lists(st.text("ARN", min_size=1, max_size=7), min_size=1, max_size=12),
    st.sampled_from([0.3, 0.5, 0.75, 0.99, 1.0]),
)
@settings(max_examples=60)
def test_any_short_sequences_are_grouped_as_in_a_walk(texts, identity):
    """Too short for shared k-mers to bound anything."""
    data = data_of(texts)
    unit_M, facts = resampling_units(data, all_tested(data), identity=identity)
    assert same(unit_M, walk(texts, identity))
    assert sorted(set(unit_M.tolist())) == list(range(facts["count"]))
    assert all(unit_M[i] == unit_M[texts.index(text)] for i, text in enumerate(texts))


@pytest.mark.parametrize("length", [100, 200, 300, 700])
def test_one_change_in_a_hundred_residues_is_the_limit(length):
    rng = np.random.default_rng(length)
    root = "".join(rng.choice(list(LETTERS), size=length))
    for changes, together in ((length // 100, True), (length // 100 + 1, False)):
        other = list(root)
        for place in rng.choice(length, size=changes, replace=False):
            other[place] = "A" if root[place] != "A" else "R"
        assert edits(root, "".join(other)) == changes
        data = data_of([root, "".join(other)])
        unit_M, facts = resampling_units(data, all_tested(data))
        assert (unit_M[0] == unit_M[1]) == together
        assert facts == {"kind": "similar", "identity": 0.99, "count": 2 - together}


def test_training_records_take_no_test_records_together():
    """The first and the last are near the root, but not near each other."""
    root = LETTERS * 5
    data = data_of([root, "W" + root[1:], root[:-1] + "W", "W" + root[1:]])
    assert resampling_units(data, all_tested(data))[1]["count"] == 1
    split = Split.from_codes(np.array([0, 2, 2, 2]), "by hand", {})
    unit_M, facts = resampling_units(data, split)
    assert same(unit_M, [0, 1, 0]) and facts["count"] == 2


def test_rows_are_those_of_the_test_part():
    texts = ["MKVA", "MKVC", "MKVA", "WWWW", "MKVA", "WWWW"]
    data = data_of(texts)
    split = Split.from_codes(np.array([2, 0, 2, 2, -1, 2]), "by hand", {})
    unit_M, _ = resampling_units(data, split)
    assert same(unit_M, [texts[i] == "WWWW" for i in split.test])


def test_many_sequences_are_only_compared_for_equality(monkeypatch):
    texts = ["MKVA" * 30, "MKVA" * 29 + "MKVC", "MKVA" * 30, "WWWW"]
    data = data_of(texts)
    monkeypatch.setattr(units, "MOST_COMPARED", 2)
    unit_M, facts = resampling_units(data, all_tested(data))
    assert same(unit_M, [0, 1, 0, 2])
    assert facts == {"kind": "identical", "identity": 1.0, "count": 3}
    monkeypatch.setattr(units, "MOST_COMPARED", 3)
    assert resampling_units(data, all_tested(data))[1]["count"] == 2


def test_identity_one_takes_equal_sequences_alone():
    data = data_of(["MKVA" * 30, "MKVA" * 29 + "MKVC", "MKVA" * 30])
    unit_M, facts = resampling_units(data, all_tested(data), identity=1)
    assert same(unit_M, [0, 1, 0])
    assert facts == {"kind": "identical", "identity": 1.0, "count": 2}


# ---- groups of the split ---------------------------------------------------------------------


def joined(first, second) -> list[int]:
    """Rows that share a value of either column, directly or through others: spread the least."""
    group = list(range(len(first)))
    for _ in first:
        for i in range(len(first)):
            for j in range(len(first)):
                if first[i] == first[j] or second[i] == second[j]:
                    group[i] = group[j] = min(group[i], group[j])
    return group


@pytest.mark.parametrize("families", [19, 20, 21])
@pytest.mark.parametrize("names", [str, int])
def test_twenty_groups_of_the_split_are_enough(families, names):
    """Two records each, far apart as sequences."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(LETTERS), size=12)) for _ in range(2 * families)]
    data = data_of(texts)
    groups = [names(i // 2) for i in range(2 * families)]
    unit_M, facts = resampling_units(data, all_tested(data, groups))
    assert facts["groups"] == families
    if families >= 20:
        assert same(unit_M, groups)
        assert (facts["kind"], facts["count"]) == ("group", families)
    else:
        assert same(unit_M, texts)
        assert (facts["kind"], facts["count"]) == ("similar", 2 * families)


def test_groups_are_joined_by_near_sequences():
    rng = np.random.default_rng(3)
    texts = relatives(rng, 40, 3, 25, 2)
    groups = [f"farm {i}" for i in rng.integers(0, 400, len(texts))]
    expected = joined(walk(texts, 0.9), groups)
    data = data_of(texts)
    near_M, _ = resampling_units(data, all_tested(data), identity=0.9)
    unit_M, facts = resampling_units(data, all_tested(data, groups), identity=0.9)
    count = len(set(expected))
    assert count < len(set(groups)) and count < len(set(near_M.tolist()))
    assert facts == {"kind": "group", "identity": 0.9, "groups": count, "count": count}
    assert same(unit_M, expected)


def test_groups_no_larger_than_the_units_are_not_mentioned():
    data = data_of(["MKVA", "MKVA", "WWWW", "CCCC"])
    for groups in ([0, 0, 1, 2], [0, 1, 2, 3]):
        unit_M, facts = resampling_units(data, all_tested(data, groups))
        assert same(unit_M, [0, 0, 1, 2])
        assert facts == {"kind": "similar", "identity": 0.99, "count": 3}


def test_only_groups_with_test_records_count():
    """25 groups, of which the test part has 5."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(LETTERS), size=12)) for _ in range(50)]
    codes = np.where(np.arange(50) < 10, 2, 0)
    split = Split.from_codes(codes, "by hand", {}, np.arange(50) // 2)
    _, facts = resampling_units(data_of(texts), split)
    assert facts == {"kind": "similar", "identity": 0.99, "groups": 5, "count": 10}


# ---- the groups that splits keep -------------------------------------------------------------


@pytest.fixture(scope="module")
def farms() -> LabelledSet:
    """240 records of 150 or so sequences in 80 or so farms."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 200, 240)
    texts = ["".join(LETTERS[int(digit)] for digit in f"{kind:03}") + "WWWWW" for kind in kinds]
    labels = [f"host {kind % 2}" for kind in kinds]
    years = rng.integers(2000, 2020, 240)
    return data_of(texts, labels, group=[f"farm {kind // 2}" for kind in kinds], year=years)


def table_of(farms, folder: Path) -> Path:
    path = folder / "clusters.tsv"
    rows = enumerate(farms.sequences_N)
    path.write_text("".join(f"r{s // 5}\t{farms.store.id(i)}\n" for i, s in rows))
    return path


def test_splits_say_what_they_kept_together(farms, tmp_path: Path):
    expected = {
        RandomSplit(): range(240),
        UniqueSplit(): farms.sequences_N,
        GroupSplit(): farms.fields["group"],
        ClusterSplit(table=table_of(farms, tmp_path)): farms.sequences_N // 5,
        GroupSplit(folds=3, fold=1): farms.fields["group"],
    }
    for way, groups in expected.items():
        split = way.split(farms)
        assert same(split.groups_N, groups)
        codes_N = split.part_of_N(240)
        assert all(len(set(codes_N[split.groups_N == g])) == 1 for g in split.groups_N)


def test_other_splits_keep_no_groups(farms, tmp_path: Path):
    split = GroupSplit().split(farms)
    split.write(tmp_path / "split.tsv", farms.store)
    for other in (
        TimeSplit(train_until=2010, validation_until=2014).split(farms),
        LeaveOutSplit(field="group", value="farm 3").split(farms),
        PredefinedSplit(file=tmp_path / "split.tsv").split(farms),
    ):
        assert other.groups_N is None


def test_groups_are_no_part_of_what_a_split_is(farms, tmp_path: Path):
    """A split that is read back from its file is the same, though the file has no groups."""
    split = GroupSplit().split(farms)
    codes_N = split.part_of_N(240)
    without = Split.from_codes(codes_N, split.method, split.parameters)
    assert without.groups_N is None and without.fingerprint == split.fingerprint


def test_a_thinner_training_part_has_the_same_units(farms):
    split = GroupSplit(fractions=(0.5, 0.1, 0.4)).split(farms)
    (unit_M, facts), (same_M, same_facts) = (
        resampling_units(farms, each) for each in (split, thin(farms, split, 0.3))
    )
    assert facts["kind"] == "group" and facts["count"] >= 20
    assert same_facts == facts
    np.testing.assert_array_equal(same_M, unit_M)
    assert same(unit_M, farms.fields["group"][split.test])
