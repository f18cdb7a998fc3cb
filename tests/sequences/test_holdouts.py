"""Splits in which the data say who is tested: against loops over the records.

tests/sequences/test_splits.py has the worked examples of `TimeSplit` and `PredefinedSplit`.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import ConfigError, InputError, ProtembError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.holdouts import LeaveOutSplit, PredefinedSplit, TimeSplit
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore

SUBTYPES = ("", "H1N1", "H3N2", "H5N1")
WORDS = {"train": 0, "validation": 1, "valid": 1, "val": 1, "test": 2, "none": -1}


def make_data(sequences, labels, **fields) -> LabelledSet:
    """Records by the numbers of their sequences and labels."""
    store = TokenStore.from_sequences(
        (f"r{i}", "".join("ARNDCQEGHI"[int(digit)] for digit in str(s)))
        for i, s in enumerate(sequences)
    )
    columns = {name: np.asarray(column) for name, column in fields.items()}
    return LabelledSet.from_labels(store, [f"host {c}" for c in labels], columns)


STORE = make_data(range(60), [0] * 60).store


def quick_data(sequences, labels, **fields) -> LabelledSet:
    """The same of up to 60 records without building a store: for many small sets."""
    columns = {name: np.asarray(column) for name, column in fields.items()}
    store = replace(STORE, sequence_of_N=np.asarray(sequences))
    return LabelledSet.from_labels(store, [f"host {c}" for c in labels], columns)


def absent(data, split) -> dict[str, list[str]]:
    """Classes that a part lacks, by the part's name."""
    lacking = {
        name: sorted(set(data.label_names) - {data.label_names[c] for c in data.labels_N[records]})
        for name, records in split.parts.items()
    }
    return {name: classes for name, classes in lacking.items() if classes}


def records_of(third):
    """Lists of (sequence, label, something third)."""
    return st.lists(
        st.tuples(st.integers(0, 25), st.integers(0, 3), third), min_size=1, max_size=60
    )


# ---- one value is tested ---------------------------------------------------------------------


@given(records_of(st.sampled_from(SUBTYPES)), st.sampled_from(SUBTYPES[1:]), st.integers(0, 3))
def test_any_set_is_left_out_as_a_loop_says_or_refused(records, value, seed):
    sequences, labels, subtypes = zip(*records, strict=True)
    data = quick_data(sequences, labels, subtype=subtypes)
    tested = {s for s, _, subtype in records if subtype == value}
    expected = []
    for sequence, _, subtype in records:
        if subtype == value:
            expected.append("test")
        elif not subtype or sequence in tested:
            expected.append("none")
        else:
            expected.append("fitted")
    rest = {s for (s, _, _), part in zip(records, expected, strict=True) if part == "fitted"}
    way = LeaveOutSplit(field="subtype", value=value, seed=seed)
    if not tested or len(rest) < 2:
        with pytest.raises(ConfigError, match=r"^split\.value: got 'H"):
            way.split(data)
        return

    split = way.split(data)
    codes = split.part_of_N(len(data)).tolist()
    found = [{-1: "none", 0: "fitted", 1: "fitted", 2: "test"}[code] for code in codes]
    assert found == expected
    parts_of = {s: {codes[i] for i, r in enumerate(records) if r[0] == s} - {-1} for s in rest}
    assert all(len(parts) == 1 for parts in parts_of.values())  # repeats are fitted on or chosen by
    fitted = [i for i, part in enumerate(expected) if part == "fitted"]
    assert set(data.labels_N[split.train]) == set(data.labels_N[fitted])
    assert split.parameters.get("absent_classes", {}) == absent(data, split)
    assert split.parameters["without_value"] == subtypes.count("")
    kept_out = [i for i, part in enumerate(expected) if part == "none" and subtypes[i]]
    assert split.parameters["repeats_left_out"] == len(kept_out)
    assert json.loads(json.dumps(split.parameters))["value"] == value
    assert split.method == "leave_out" and way.split(data).fingerprint == split.fingerprint


@pytest.fixture(scope="module")
def hosts() -> LabelledSet:
    """1,200 records of 500 or so sequences, three classes of unequal size, three subtypes."""
    rng = np.random.default_rng(0)
    sequences = rng.integers(0, 600, 1200)
    labels = np.array([0, 0, 0, 0, 1, 1, 2])[sequences % 7]
    subtypes = np.array(SUBTYPES[1:])[sequences % 3]
    return make_data(sequences, labels, subtype=subtypes)


@pytest.mark.parametrize("validation", [0.125, 0.4])
def test_validation_gets_its_share_of_every_class(hosts, validation):
    way = LeaveOutSplit(field="subtype", value="H3N2", validation=validation)
    split = way.split(hosts)
    subtypes = hosts.fields["subtype"]
    assert set(subtypes[split.test]) == {"H3N2"}
    assert set(subtypes[split.train]) == set(subtypes[split.validation]) == {"H1N1", "H5N1"}
    for c in range(3):
        train, chosen = (
            (hosts.labels_N[part] == c).sum() for part in (split.train, split.validation)
        )
        assert abs(chosen / (train + chosen) - validation) < 0.03


def test_the_seed_deals_the_others_out_and_leaves_the_test_part_alone(hosts):
    first, other = (
        LeaveOutSplit(field="subtype", value="H5N1", seed=seed).split(hosts) for seed in (0, 1)
    )
    assert first.test.tolist() == other.test.tolist()
    assert first.train.tolist() != other.train.tolist()
    assert first.fingerprint != other.fingerprint
    assert [split.parameters["seed"] for split in (first, other)] == [0, 1]


@pytest.mark.parametrize("value", [2010, "2010"])
def test_numbers_can_be_left_out_too(value):
    """Hydra reads split.value=2010 as a number."""
    years = np.arange(40) % 4 + 2008
    split = LeaveOutSplit(field="year", value=value).split(
        make_data(range(40), [0] * 40, year=years)
    )
    assert split.test.tolist() == [i for i in range(40) if i % 4 == 2]
    assert split.parameters["value"] == "2010"


def test_a_left_out_split_is_read_back_from_its_file(tmp_path: Path, hosts):
    split = LeaveOutSplit(field="subtype", value="H1N1").split(hosts)
    split.write(tmp_path / "split.tsv", hosts.store)
    again = PredefinedSplit(file=tmp_path / "split.tsv").split(hosts)
    assert again.fingerprint == split.fingerprint
    assert (again.method, again.parameters) == ("leave_out", split.parameters)


def test_a_real_subtype_is_never_trained_on(real_data: Path):
    from protemb.sequences.source import FileSource

    data = FileSource(
        real_data / "influenza_ha_host" / "ha_host.fasta.gz",
        id={"field": 1},
        label={"field": 4},
        fields={"subtype": {"field": 3}},
        missing_label="drop",
        min_class_size=59,
    ).load()
    split = LeaveOutSplit(field="subtype", value="H5N1").split(data)
    subtypes = data.fields["subtype"]
    tested = {data.store.sequence(i) for i in split.test}
    fitted = np.concatenate([split.train, split.validation])
    assert "H5N1" not in subtypes[fitted]
    assert tested.isdisjoint(data.store.sequence(i) for i in fitted)
    count = Counter(subtypes.tolist())
    assert len(split.test) == count["H5N1"] > 500
    left_out = split.parameters["repeats_left_out"] + split.parameters["without_value"]
    assert len(split.test) + len(fitted) + left_out == len(data)


# ---- a later time is tested ------------------------------------------------------------------


@given(records_of(st.integers(-1, 9)), st.integers(1, 7), st.integers(1, 2))
def test_any_set_is_cut_by_year_as_a_loop_says_or_refused(records, cut, more):
    sequences, labels, years = zip(*records, strict=True)
    data = quick_data(sequences, labels, year=years)
    expected, earliest = [], {}
    for sequence, _, year in records:
        part = 0 if year <= cut else 1 if year <= cut + more else 2
        expected.append(part if year > 0 else -1)
        if year > 0:
            earliest[sequence] = min(part, earliest.get(sequence, 2))
    repeats = 0
    for i, sequence in enumerate(sequences):
        if expected[i] >= 0 and earliest[sequence] < expected[i]:
            expected[i], repeats = -1, repeats + 1
    way = TimeSplit(train_until=cut, validation_until=cut + more)
    if not {0, 1, 2} <= set(expected):
        with pytest.raises(ConfigError, match="expected years that leave records for"):
            way.split(data)
        return
    split = way.split(data)
    assert split.part_of_N(len(data)).tolist() == expected
    assert split.parameters["repeats_left_out"] == repeats
    assert split.parameters["without_year"] == sum(year <= 0 for year in years)
    assert split.parameters.get("absent_classes", {}) == absent(data, split)


# ---- a given list ----------------------------------------------------------------------------


@given(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=20))
def test_any_column_of_parts_is_taken_or_refused(words):
    data = quick_data(range(len(words)), [0] * len(words), split=words)
    codes = [WORDS[word] for word in words]
    if 0 in codes and 2 in codes:
        assert PredefinedSplit().split(data).part_of_N(len(words)).tolist() == codes
    else:
        first = "test" if 0 in codes else "train"
        with pytest.raises(InputError) as caught:
            PredefinedSplit().split(data)
        assert str(caught.value) == f"field 'split': no record of the data is in part {first!r}"


def test_a_file_goes_before_the_column(tmp_path: Path):
    data = make_data(range(3), [0] * 3, split=["train", "train", "test"])
    (tmp_path / "own.tsv").write_text("id\tpart\nr0\ttest\nr1\tval\nr2\ttrain\n")
    split = PredefinedSplit(file=tmp_path / "own.tsv").split(data)
    assert split.part_of_N(3).tolist() == [2, 1, 0]


# ---- what cannot work ------------------------------------------------------------------------

DATA = {"sequences": [1, 2, 3, 4], "labels": [0, 1, 0, 1]}
FOUR = {"subtype": ["H1N1", "H1N1", "H3N2", ""], "year": [2001, 2002, 2003, 0]}


def leave_out(**options):
    way = LeaveOutSplit(**{"field": "subtype", "value": "H1N1"} | options)
    return way.split(make_data(**DATA, **FOUR))


def predefined(tmp_path, text) -> Split:
    (tmp_path / "split.tsv").write_text(text)
    return PredefinedSplit(file=tmp_path / "split.tsv").split(make_data(**DATA, **FOUR))


@pytest.mark.parametrize(
    ("make", "start", "words"),
    [
        (lambda _: leave_out(validation=0), "split.validation: got 0, expected a share", []),
        (lambda _: leave_out(validation=1.0), "split.validation: got 1.0, expected a share", []),
        (lambda _: leave_out(validation=float("nan")), "split.validation: got nan, expected", []),
        (lambda _: leave_out(seed=-1), "split.seed: got -1, expected", ["0 or more"]),
        (
            lambda _: leave_out(field="clade"),
            "split.field: got 'clade', expected a field of the data (it has subtype, year)",
            [],
        ),
        (lambda _: leave_out(value="H7N9"), "split.value: got 'H7N9'", ["H1N1, H3N2"]),
        (lambda _: leave_out(value=""), "split.value: got ''", ["H1N1, H3N2"]),
        (lambda _: leave_out(), "split.value: got 'H1N1'", ["H1N1, H3N2"]),  # one other sequence
        (
            lambda _: TimeSplit(train_until=5, validation_until=4),
            "split.validation_until: got 4, expected a year after split.train_until=5",
            [],
        ),
        (
            lambda _: TimeSplit(train_until=1, validation_until=9).split(make_data(**DATA, **FOUR)),
            "split.train_until, split.validation_until: got [1, 9], expected years that leave",
            ["2001 to 2003"],
        ),
        (
            lambda _: PredefinedSplit().split(make_data(**DATA, **FOUR)),
            "split.field: got 'split', expected a field of the data (it has subtype, year)",
            [],
        ),
        (
            lambda _: PredefinedSplit(field="subtype").split(make_data(**DATA, **FOUR)),
            "field 'subtype': record 'r3': got part '', expected train, validation, valid, val",
            [],
        ),
        (
            lambda path: predefined(
                path, "id\tpart\n" + "".join(f"r{i}\ttrain\n" for i in range(4))
            ),
            "",
            ["split.tsv: no record of the data is in part 'test'"],
        ),
        (lambda path: predefined(path, "id\tpart\nr0\ttrain\nr9\ttest\n"), "", [":3:", "'r9'"]),
    ],
)
def test_what_cannot_work_is_one_clear_line(tmp_path: Path, make, start, words):
    with pytest.raises(ProtembError) as caught:
        make(tmp_path)
    message = str(caught.value)
    assert message.startswith(start) and "\n" not in message
    assert all(word in message for word in words)
