import csv
import gzip
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser
from hydra.utils import instantiate
from omegaconf import OmegaConf

from protemb.errors import InputError
from protemb.sequences.alphabet import AA21, LetterPolicy
from protemb.sequences.dataset import report_lines
from protemb.sequences.labels import Rule
from protemb.sequences.reading import read_sequences
from protemb.sequences.records import RecordFiles
from protemb.sequences.source import FileSource

HOSTS = """\
>P1|human|H1|2001|1
MKVLA
>P2|swine|H1|2002-05-01|2
MKVLAG
>P3|human|H2|2003|5
MKVLA
>P4|Homo sapiens|H2|2004|1
MKO*
>P5|swine|H3|2005|3
mkvlb
>P6|unknown|H3||
MKJ
"""


def rows_of(text: str) -> list[tuple[str, str]]:
    return list(SimpleFastaParser(io.StringIO(text)))


def labels_of(data) -> list[str]:
    return [data.label_names[code] for code in data.labels_N]


@pytest.fixture
def hosts(tmp_path):
    path = tmp_path / "hosts.fasta"
    path.write_text(HOSTS)
    return path


def test_what_a_file_says_is_what_the_set_holds(hosts):
    data = FileSource(
        hosts,
        label=Rule(field=2),
        id=Rule(field=1),
        group=Rule(field=3),
        year=Rule(field=4),
        position=Rule(field=5),
        fields={"again": Rule(field=3), "none": Rule(field=9)},
        missing_label="drop",
        min_class_size=2,
    ).load()
    assert list(data.store.ids()) == ["P1", "P2", "P3", "P5"]
    assert labels_of(data) == ["human", "swine", "human", "swine"]
    assert [data.store.sequence(i) for i in range(4)] == ["MKVLA", "MKVLAG", "MKVLA", "MKVLX"]
    assert data.sequences_N.tolist() == [0, 1, 0, 2]
    assert data.labels_N.dtype == np.int64 and data.label_names == ("human", "swine")
    assert data.fields["group"].tolist() == ["H1", "H1", "H2", "H3"]
    assert data.fields["year"].tolist() == [2001, 2002, 2003, 2005]
    assert data.fields["position"].tolist() == [0, 1, 4, 2]
    assert data.fields["again"].tolist() == data.fields["group"].tolist()
    assert data.fields["none"].tolist() == [""] * 4
    assert data.report == json.loads(json.dumps(data.report))
    assert data.report == {
        "records_read": 6,
        "records_kept": 4,
        "distinct_sequences": 3,
        "no_label": {"unknown": 1},
        "small_classes": {"Homo sapiens": 1},
        "classes": {"human": 2, "swine": 2},
        "merged_labels": {},
        "no_field": {"none": 5},
        "repeated_records": 0,
        "unknown_letters_dropped": 0,
        "letters": {"lower_case_records": 1, "synonym_residues": 2, "terminal_stops": 1},
    }
    assert report_lines(data.report)[:3] == [
        "6 records read, 4 kept, 3 distinct sequences",
        "left out, no label: 1 (unknown 1)",
        "left out, class below the minimum size: 1 (Homo sapiens 1)",
    ]


def test_synonyms_merge_labels_and_may_name_a_missing_value(hosts, tmp_path):
    names = tmp_path / "names.yaml"
    names.write_text("human: [Homo sapiens]\nswine: [unknown]\n")
    policy = LetterPolicy(unknown="drop")
    data = FileSource(hosts, label={"field": 2}, synonyms=names, letters=policy).load()
    assert data.class_sizes == {"human": 3, "swine": 2}
    assert data.report["merged_labels"] == {"Homo sapiens -> human": 1, "unknown -> swine": 1}
    assert data.report["unknown_letters_dropped"] == 1
    assert data.store.id(3) == "P4|Homo sapiens|H2|2004|1"


def test_repeated_records_are_kept_once_with_their_columns_aligned(hosts):
    hosts.write_text(">a|x\nMK\n>b|y\nMV\n>a|x\nmk*\n>c|y\nMK\n>d|x\nMA\n>b|y\nMV\n")
    data = FileSource(hosts, label=Rule(field=2), fields={"word": Rule(field=1)}).load()
    assert list(data.store.ids()) == ["a|x", "b|y", "c|y", "d|x"]
    assert labels_of(data) == ["x", "y", "y", "x"]
    assert data.fields["word"].tolist() == ["a", "b", "c", "d"]
    assert data.report["repeated_records"] == 2 and data.report["records_read"] == 6


def test_several_files_are_one_set(hosts, tmp_path):
    text = HOSTS.encode()
    cut = text.index(b">P4")
    first, second = tmp_path / "1.fa.gz", tmp_path / "2.fa"
    first.write_bytes(gzip.compress(text[:cut]))
    second.write_bytes(text[cut:])
    options = {"label": Rule(field=2), "missing_label": "drop", "min_class_size": 2}
    assert (
        FileSource([first, second], **options).load().fingerprint
        == FileSource(hosts, **options).load().fingerprint
    )


def test_a_table_is_as_good_as_a_fasta_file(hosts, tmp_path):
    rows = [(*header.split("|"), sequence) for header, sequence in rows_of(HOSTS)]
    table = tmp_path / "hosts.tsv"
    with table.open("w", newline="") as handle:
        csv.writer(handle, delimiter="\t").writerows(
            [("acc", "host", "sub", "year", "site", "protein"), *rows]
        )
    common = {"missing_label": "drop", "min_class_size": 2}
    columns = {name: {"column": name} for name in ("acc", "host", "sub", "year", "site")}
    from_table = FileSource(
        table,
        sequence_column="protein",
        id=columns["acc"],
        label=columns["host"],
        group=columns["sub"],
        year=columns["year"],
        position=columns["site"],
        **common,
    ).load()
    from_fasta = FileSource(
        hosts,
        id=Rule(field=1),
        label=Rule(field=2),
        group=Rule(field=3),
        year=Rule(field=4),
        position=Rule(field=5),
        **common,
    ).load()
    assert from_table.fingerprint == from_fasta.fingerprint
    assert from_table.report == from_fasta.report


def test_a_second_load_maps_and_does_not_parse(hosts, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    options = {"label": Rule(field=2), "missing_label": "drop", "min_class_size": 2}
    first = FileSource(hosts, **options).load(cache)
    (tmp_path / "moved").mkdir()
    moved = hosts.rename(tmp_path / "moved" / "other.fasta")

    def parse(_):
        raise AssertionError("parsed again")

    monkeypatch.setattr(RecordFiles, "__iter__", parse)
    second = FileSource(moved, **options).load(cache)
    assert second.fingerprint == first.fingerprint and second.report == first.report
    assert isinstance(second.labels_N.base, np.memmap)
    assert isinstance(second.store.tokens_T.base, np.memmap)
    # Whatever could change the result is another entry.
    for change in (
        {"label": Rule(field=3)},
        {"id": Rule(field=1)},
        {"group": Rule(field=3)},
        {"fields": {"group2": Rule(field=3)}},
        {"missing_values": ("", "unknown", "x")},
        {"min_class_size": 3},
        {"letters": {"unknown": "x"}},
    ):
        with pytest.raises(AssertionError, match="parsed again"):
            FileSource(moved, **options | change).load(cache)
    moved.write_text(HOSTS + ">P7|human\nMK\n")
    with pytest.raises(AssertionError, match="parsed again"):
        FileSource(moved, **options).load(cache)
    assert len(list((cache / "datasets").iterdir())) == 1


@pytest.mark.parametrize("target", [True, False])
def test_hydra_builds_it_from_nested_nodes(hosts, target):
    rule = {"_target_": "protemb.sequences.labels.Rule"} if target else {}
    policy = {"_target_": "protemb.sequences.alphabet.LetterPolicy"} if target else {}
    config = {
        "_target_": "protemb.sequences.source.FileSource",
        "path": [str(hosts)],
        "label": {**rule, "field": 2, "key": None, "delimiter": "|"},
        "group": {**rule, "field": None},
        "fields": {"subtype": {**rule, "field": 3}},
        "letters": {**policy, "unknown": "x"},
        "missing_label": "drop",
        "min_class_size": 2,
    }
    data = instantiate(OmegaConf.create(config)).load()
    assert data.class_sizes == {"human": 2, "swine": 2}
    assert list(data.fields) == ["subtype"] and data.fields["subtype"][3] == "H3"


def test_unlabelled_sequences_take_the_same_way(hosts):
    data = FileSource(hosts, label=Rule(field=3), id=Rule(field=1), letters={"unknown": "x"}).load()
    store, report = read_sequences(hosts, AA21, LetterPolicy(unknown="x"), Rule(field=1))
    assert store.fingerprint == data.store.fingerprint
    dropped = report["unknown_letters_dropped"]
    assert report.pop("records_known") == report["records_read"] - dropped
    assert report == {name: data.report[name] for name in report}
    assert report["letters"]["unknown_residues"] == 1 and report["records_read"] == 6
    assert report_lines(report)[0] == "6 records read, 6 kept"
    with pytest.raises(InputError, match="residue 3 is 'J', not a letter of aa21"):
        read_sequences(hosts, AA21, LetterPolicy(), Rule())


def test_reading_imports_nothing_heavy():
    code = "import sys, protemb.sequences.source; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "pytorch_lightning", "hydra", "omegaconf", "pyarrow", "zstandard", "yaml"}
    assert not heavy & set(done.stdout.split())
