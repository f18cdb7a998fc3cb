import json
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from protemb.errors import ConfigError, InputError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.holdouts import PredefinedSplit, TimeSplit
from protemb.sequences.splits import ClusterSplit, GroupSplit, RandomSplit, UniqueSplit
from protemb.sequences.tokens import TokenStore


def make_data(sequences, labels, **fields) -> LabelledSet:
    """Records by the numbers of their sequences and labels."""
    store = TokenStore.from_sequences(
        (f"r{i}", "".join("ARNDCQEGHI"[int(digit)] for digit in str(s)))
        for i, s in enumerate(sequences)
    )
    columns = {name: np.asarray(column) for name, column in fields.items()}
    return LabelledSet.from_labels(store, [f"host {c}" for c in labels], columns)


@pytest.fixture(scope="module")
def hosts() -> LabelledSet:
    """600 records, 350 or so sequences, three classes, groups that cross both."""
    rng = np.random.default_rng(0)
    sequences = rng.integers(0, 500, 600)
    labels = (sequences + (rng.random(600) < 0.05)) % 5 // 2
    groups = np.array([f"farm {s // 4}" for s in sequences])
    years = rng.integers(2000, 2020, 600)
    return make_data(sequences, labels, group=groups, year=years)


@pytest.fixture
def table(tmp_path: Path, hosts) -> Path:
    path = tmp_path / "clusters.tsv"
    lines = (f"r{s // 7}\t{hosts.store.id(i)}\n" for i, s in enumerate(hosts.sequences_N))
    path.write_text("".join(lines))
    return path


def splitter(name, table, **options):
    return {
        "random": RandomSplit(**options),
        "unique": UniqueSplit(**options),
        "group": GroupSplit(**options),
        "cluster": ClusterSplit(table=table, **options),
    }[name]


def parts_of(column, split, n):
    """The set of parts that each value of a column is in."""
    part_of_N = split.part_of_N(n)
    return [set(part_of_N[column == value].tolist()) for value in np.unique(column)]


GROUPED = ("random", "unique", "group", "cluster")


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.2), (0.4, 0.3, 0.3)])
def test_parts_are_complete_grouped_and_balanced(hosts, table, name, seed, fractions):
    split = splitter(name, table, seed=seed, fractions=fractions).split(hosts)
    n = len(hosts)
    assert sorted(np.concatenate(list(split.parts.values()))) == list(range(n))
    assert (split.method, split.parameters["seed"]) == (name, seed)

    groups = {
        "random": np.arange(n),
        "unique": hosts.sequences_N,
        "group": hosts.fields["group"],
        "cluster": hosts.sequences_N // 7,
    }[name]
    assert all(len(parts) == 1 for parts in parts_of(groups, split, n))
    together = all(len(parts) == 1 for parts in parts_of(hosts.sequences_N, split, n))
    assert together == (name != "random")  # only the naive split tears repeats apart

    for c in range(3):
        of_class = hosts.labels_N == c
        shares = [of_class[records].sum() / of_class.sum() for records in split.parts.values()]
        assert np.abs(np.subtract(shares, fractions)).max() < 0.03
    assert "absent_classes" not in split.parameters


@pytest.mark.parametrize("name", GROUPED)
def test_the_split_depends_on_the_seed_and_on_nothing_else(hosts, table, name):
    first, again, other = (splitter(name, table, seed=s).split(hosts) for s in (0, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert first.test.tolist() != other.test.tolist()


@pytest.mark.parametrize("name", GROUPED)
def test_the_tests_of_all_folds_are_the_records(hosts, table, name):
    splits = [splitter(name, table, folds=4, fold=fold).split(hosts) for fold in range(4)]
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(len(hosts)))
    for fold, split in enumerate(splits):
        assert (split.parameters["folds"], split.parameters["fold"]) == (4, fold)
        assert sum(map(len, split.parts.values())) == len(hosts)
        assert abs(len(split.test) / len(hosts) - 0.25) < 0.02
        # Fractions 0.7 and 0.1 of train and validation: an eighth of the rest.
        assert abs(len(split.validation) / len(hosts) - 0.75 / 8) < 0.02
        if name != "random":
            parts = parts_of(hosts.sequences_N, split, len(hosts))
            assert all(map(lambda p: len(p) == 1, parts))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 25)), min_size=1),
    st.integers(0, 2),
)
def test_any_set_is_split_whole_or_refused(records, seed):
    sequences, labels, groups = np.array(records).T
    data = make_data(sequences, labels, group=groups.astype(str))
    for way in (RandomSplit(seed=seed), UniqueSplit(seed=seed), GroupSplit(seed=seed)):
        try:
            split = way.split(data)
        except ConfigError as error:
            # Only where every class insists on being trained on, or there are too few groups.
            assert "more groups per class, to fill each part" in str(error)
            continue
        part_of_N = split.part_of_N(len(data))
        assert (part_of_N >= 0).all() and set(part_of_N) == {0, 1, 2}
        assert set(data.labels_N[split.train]) == set(data.labels_N)
        absent = split.parameters.get("absent_classes", {})
        for part, rows in split.parts.items():
            missing = sorted(set(range(len(data.label_names))) - set(data.labels_N[rows]))
            assert absent.get(part, []) == [data.label_names[c] for c in missing]
        if way.name != "random":
            assert all(len(parts) == 1 for parts in parts_of(sequences, split, len(data)))
        if way.name == "group":
            assert all(len(parts) == 1 for parts in parts_of(groups, split, len(data)))


def test_twelve_single_sequences_are_enough_for_any_split():
    data = make_data(range(12), [0] * 9 + [1] * 3)
    for way in (RandomSplit(), UniqueSplit()):
        split = way.split(data)
        assert all(set(data.labels_N[rows]) == {0, 1} for rows in split.parts.values())


def test_a_class_too_small_for_all_parts_is_named():
    data = make_data(range(32), [0] * 30 + [1, 2])
    split = UniqueSplit().split(data)
    absent = split.parameters["absent_classes"]
    assert absent == {"validation": ["host 1", "host 2"], "test": ["host 1", "host 2"]}


def test_groups_are_joined_by_identical_sequences():
    # Farms 0 and 1 share sequence 5, farms 1 and 2 share sequence 6: one group of 6 records.
    sequences = [5, 1, 5, 6, 6, 2, *range(10, 70)]
    farms = ["0", "0", "1", "1", "2", "2", *map(str, range(10, 70))]
    data = make_data(sequences, [0] * 66, group=farms)
    for seed in range(10):
        split = GroupSplit(seed=seed).split(data)
        assert len(set(split.part_of_N(66)[:6])) == 1
    assert split.parameters["groups"] == 61


def test_a_table_of_clusters_cannot_tear_identical_sequences_apart(tmp_path: Path):
    data = make_data([*[1, 2] * 10, *range(10, 40)], [0] * 50)
    table = tmp_path / "clusters.tsv"
    table.write_text("".join(f"r{i}\tr{i}\n" for i in range(50)))
    split = ClusterSplit(table=table).split(data)
    assert all(len(parts) == 1 for parts in parts_of(data.sequences_N, split, 50))
    assert (split.parameters["clusters"], split.parameters["groups"]) == (50, 32)


def test_records_without_a_group_are_not_one_group():
    data = make_data(range(40), [0] * 40, group=[""] * 30 + ["a"] * 5 + ["b"] * 5)
    split = GroupSplit().split(data)
    assert (split.parameters["without_value"], split.parameters["groups"]) == (30, 32)


def test_any_field_can_be_the_group():
    years = np.arange(90) % 20 + 2000
    split = GroupSplit(field="year").split(make_data(range(90), [0] * 90, year=years))
    assert all(len(parts) == 1 for parts in parts_of(years, split, 90))


def test_one_group_cannot_be_split():
    data = make_data([1, 2, 2, 3], [0, 0, 1, 1], group=["a", "a", "b", "b"])
    with pytest.raises(ConfigError, match="split=group: got '1 groups', expected more"):
        GroupSplit().split(data)


class TestTime:
    YEARS = (2014, 2015, 2016, 2018, 2019, 0, 2013, 2017, 2020, 2021)

    def data(self, sequences=range(10), years=YEARS):
        return make_data(sequences, [0, 1] * 5, year=years)

    def test_the_cut_years_belong_to_the_earlier_part(self):
        split = TimeSplit(train_until=2015, validation_until=2018).split(self.data())
        assert split.train.tolist() == [0, 1, 6]
        assert split.validation.tolist() == [2, 3, 7]
        assert split.test.tolist() == [4, 8, 9]
        assert split.parameters["without_year"] == 1
        assert split.parameters["repeats_left_out"] == 0

    def test_repeats_leave_the_later_part(self):
        #            train    validation  test
        # sequence 7: 0, 1    2           8      sequence 8: -, 3, 4; the undated record has 9
        data = self.data(sequences=[7, 7, 7, 8, 8, 9, 1, 2, 7, 9])
        split = TimeSplit(train_until=2015, validation_until=2018).split(data)
        assert split.train.tolist() == [0, 1, 6]
        assert split.validation.tolist() == [3, 7]
        assert split.test.tolist() == [9]  # an undated record makes no other one a repeat
        assert split.parameters["repeats_left_out"] == 3
        assert split.parameters["without_year"] == 1

    @pytest.mark.parametrize(
        ("cuts", "message"),
        [
            ((2000, 2001), "records for train (the data has 2013 to 2021)"),
            ((2018, 2030), "records for test (the data has 2013 to 2021)"),
            ((2030, 2031), "records for validation (the data has 2013 to 2021)"),
        ],
    )
    def test_cuts_that_leave_a_part_empty(self, cuts, message):
        with pytest.raises(ConfigError) as caught:
            TimeSplit(train_until=cuts[0], validation_until=cuts[1]).split(self.data())
        assert message in str(caught.value)

    def test_data_without_any_year(self):
        with pytest.raises(ConfigError, match="records for train$"):
            TimeSplit(train_until=1, validation_until=2).split(self.data(years=[0] * 10))


class TestPredefined:
    @pytest.mark.parametrize("name", ["unique", "time"])
    def test_a_written_split_is_taken_as_it_was(self, tmp_path: Path, hosts, name):
        way = (
            UniqueSplit()
            if name == "unique"
            else TimeSplit(train_until=2012, validation_until=2015)
        )
        split = way.split(hosts)
        split.write(tmp_path / "split.tsv", hosts.store)
        again = PredefinedSplit(file=tmp_path / "split.tsv").split(hosts)
        assert again.fingerprint == split.fingerprint

    def test_a_column_may_hold_it(self):
        words = ["train", "val", "valid", "validation", "test", "none"]
        data = make_data(range(6), [0, 1] * 3, split=words)
        split = PredefinedSplit().split(data)
        assert split.part_of_N(6).tolist() == [0, 1, 1, 1, 2, -1]
        assert split.parameters == {
            "field": "split",
            "absent_classes": {"train": ["host 1"], "test": ["host 1"]},
        }

    def test_unknown_words_and_empty_parts(self):
        data = make_data(range(3), [0] * 3, split=["train", "testing", "test"])
        with pytest.raises(InputError, match="record 'r1': got part 'testing', expected train,"):
            PredefinedSplit().split(data)
        data = make_data(range(3), [0] * 3, set=["train", "val", "val"])
        with pytest.raises(InputError, match="field 'set': no record of the data is in .* 'test'"):
            PredefinedSplit(field="set").split(data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSplit(fractions=[0.8, 0.2]), "split.fractions: got [0.8, 0.2], expected"),
        (lambda: RandomSplit(fractions=[0.8, 0.1, 0.2]), "split.fractions: got"),
        (lambda: RandomSplit(fractions=[0.8, 0.0, 0.2]), "split.fractions: got"),
        (lambda: RandomSplit(seed=-1), "split.seed: got -1, expected 0 or more"),
        (lambda: RandomSplit(folds=1), "split.folds: got 1, expected 2 or more"),
        (lambda: RandomSplit(folds=3, fold=3), "split.fold: got 3, expected 0 to 2"),
        (lambda: RandomSplit(fold=1), "split.fold: got 1, expected 0, or split.folds as well"),
        (lambda: ClusterSplit(method="linclust"), "split.method: got 'linclust', expected auto or"),
        (lambda: ClusterSplit(method="table"), "split.table: got None, expected a file"),
        (lambda: ClusterSplit(method="mmseqs", table="x"), "split.method: got 'mmseqs', expected"),
        (lambda: ClusterSplit(identity=30), "split.identity: got 30, expected above 0, at most 1"),
        (lambda: ClusterSplit(coverage=0), "split.coverage: got 0, expected above 0, at most 1"),
        (
            lambda: TimeSplit(train_until=2018, validation_until=2018),
            "split.validation_until: got 2018, expected a year after split.train_until=2018",
        ),
        (
            lambda: GroupSplit(field="farm").split(make_data([1], [0], group=["a"], year=[3])),
            "split.field: got 'farm', expected a field of the data (it has group, year)",
        ),
        (
            lambda: TimeSplit(train_until=1, validation_until=2).split(make_data([1], [0])),
            "split.field: got 'year', expected a field of the data (it has none)",
        ),
        (
            lambda: UniqueSplit().split(make_data([1, 1, 1, 2, 2], [0] * 5)),
            "split=unique: got '2 groups', expected more groups per class, to fill each part",
        ),
    ],
)
def test_options_that_cannot_work_say_so(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_a_config_makes_the_splitter():
    config = OmegaConf.create(
        {"_target_": "protemb.sequences.splits.GroupSplit", "fractions": [0.5, 0.3, 0.2], "seed": 2}
    )
    way = instantiate(config)
    assert way == GroupSplit(fractions=(0.5, 0.3, 0.2), seed=2)
    data = make_data(range(30), [0] * 30, group=np.arange(30).astype(str))
    assert json.loads(json.dumps(way.split(data).parameters))["fractions"] == [0.5, 0.3, 0.2]


def test_influenza_hosts_are_split_as_asked(real_data: Path):
    from protemb.sequences.source import FileSource

    path = real_data / "influenza_ha_host" / "ha_host.fasta.gz"
    data = FileSource(
        path, label={"field": 4}, id={"field": 1}, missing_label="drop", min_class_size=59
    ).load()
    split = UniqueSplit().split(data)
    targets = np.outer(np.bincount(data.labels_N), [0.7, 0.1, 0.2])
    for p, records in enumerate(split.parts.values()):
        counts = np.bincount(data.labels_N[records], minlength=6)
        # 22 bovine sequences have 59 records: no closer than a group.
        assert (np.abs(counts - targets[:, p]) <= 3).all()
    parts = parts_of(data.sequences_N, split, len(data))
    assert all(len(part) == 1 for part in parts)
