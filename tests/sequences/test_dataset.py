import json
from dataclasses import replace

import numpy as np
import pytest

from protemb.errors import InputError
from protemb.sequences.dataset import LabelledSet, report_lines, without_classes
from protemb.sequences.tokens import TokenStore

RECORDS = [("a/1", "MKV"), ("b|2", "MKVL"), ("c 3", "MKV"), ("d", "AAA"), ("e", "MKVL")]
LABELS = ["swine", "avian", "avian", "bat", "swine"]


@pytest.fixture
def data():
    fields = {
        "group": np.array(["x", "long name ü", "x", "", "y"]),
        "year": np.array([2001, 2002, 2003, 2004, 2005]),
        "../../evil": np.array(list("abcde")),
    }
    store = TokenStore.from_sequences(RECORDS)
    return LabelledSet.from_labels(store, LABELS, fields, {"records_read": 5, "records_kept": 5})


def test_labels_are_codes_into_sorted_names(data):
    assert data.label_names == ("avian", "bat", "swine")
    assert [data.label_names[code] for code in data.labels_N] == LABELS
    assert data.class_sizes == {"avian": 2, "bat": 1, "swine": 2}
    assert data.sequences_N.tolist() == [0, 1, 0, 2, 1] and len(data) == 5


def test_a_saved_set_opens_as_it_was_and_stays_in_its_folder(data, tmp_path):
    data.save(tmp_path / "sets" / "one")
    copy = LabelledSet.open(tmp_path / "sets" / "one")
    assert copy.fingerprint == data.fingerprint == replace(copy, fingerprint="").fingerprint
    assert list(copy.store.ids()) == [record_id for record_id, _ in RECORDS]
    assert copy.label_names == data.label_names and copy.report == data.report
    assert np.array_equal(copy.labels_N, data.labels_N)
    assert list(copy.fields) == list(data.fields)
    for name, column_N in data.fields.items():
        assert np.array_equal(copy.fields[name], column_N)
        assert isinstance(copy.fields[name].base, np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["sets"]
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["one"]


def test_save_never_writes_over_anything(data, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        data.save(tmp_path)


def test_open_refuses_what_is_no_set(data, tmp_path):
    with pytest.raises(InputError, match="not a data set"):
        LabelledSet.open(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="got data set format 99"):
        LabelledSet.open(tmp_path)


def test_fingerprint_sees_sequences_ids_labels_and_fields(data):
    def change(**values):
        return replace(data, fingerprint="", **values).fingerprint

    other = TokenStore.from_sequences([("z", "MKV"), *RECORDS[1:]])
    renamed = TokenStore.from_sequences([("a/1", "MKA"), *RECORDS[1:]])
    fields = {name: column_N[::-1] for name, column_N in data.fields.items()}
    prints = [
        data.fingerprint,
        change(store=other),
        change(store=renamed),
        change(labels_N=data.labels_N[::-1]),
        change(label_names=("avian", "bat", "pig")),
        change(fields=fields),
        change(fields={}),
    ]
    assert len(set(prints)) == len(prints)
    assert change(report={"other": 1}) == data.fingerprint


def test_classes_can_be_left_out(data, tmp_path):
    less = without_classes(data, {"avian"}, tmp_path / "less")
    assert list(less.store.ids()) == ["a/1", "d", "e"]
    assert [less.store.sequence(i) for i in range(3)] == ["MKV", "AAA", "MKVL"]
    assert [less.label_names[code] for code in less.labels_N] == ["swine", "bat", "swine"]
    assert less.fields["year"].tolist() == [2001, 2004, 2005]
    assert less.labels_N.dtype == np.int64


def test_every_count_of_a_report_becomes_one_line():
    report = {
        "records_read": 6294,
        "records_kept": 6280,
        "distinct_sequences": 4747,
        "no_label": {"unknown": 1, "(not there)": 1},
        "small_classes": {"other": 12},
        "merged_labels": {"Homo sapiens -> human": 1200},
        "no_field": {"region": 3},
        "classes": {"avian": 6000, "human": 280},
        "repeated_records": 1,
        "unknown_letters_dropped": 2,
        "letters": {
            "lower_case_records": 3,
            "terminal_stops": 4,
            "synonym_residues": 5,
            "unknown_residues": 1006,
        },
    }
    lines = report_lines(report)
    assert lines == [
        "6,294 records read, 6,280 kept, 4,747 distinct sequences",
        "left out, no label: 2 (unknown 1, (not there) 1)",
        "left out, class below the minimum size: 12 (other 12)",
        "left out, letters outside the alphabet: 2",
        "left out, same id and sequence as an earlier record: 1",
        "records with lower-case letters, read as upper case: 3",
        "records with a '*' at the end, removed: 4",
        "residues read as the letter they are a synonym of: 5",
        "residues outside the alphabet, read as X: 1,006",
        "records with a label that was merged: 1,200 (Homo sapiens -> human 1,200)",
        "empty values of further fields: 3 (region 3)",
        "records by class: 6,280 (avian 6,000, human 280)",
    ]
    assert report_lines({name: report[name] for name in list(report)[:3]}) == lines[:1]


def test_a_report_names_the_largest_of_many_classes():
    sizes = {f"c{number:02}": number for number in range(1, 21)}
    (_, line) = report_lines({"records_read": 210, "records_kept": 210, "classes": sizes})
    assert line.startswith("records by class: 210 (c20 20, c19 19, ")
    assert line.endswith(", c09 9, and 8 more)")
