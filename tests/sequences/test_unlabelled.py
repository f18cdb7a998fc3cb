"""Sequences without labels: what is read and refused, what the cache knows, which splits work."""

import gzip

import numpy as np
import pytest

from protemb.errors import ConfigError, InputError
from protemb.sequences.splits import ClusterSplit, RandomSplit, UniqueSplit
from protemb.sequences.thinning import thin
from protemb.sequences.unlabelled import SequenceSource


def _write(path, records):
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records))
    return path


@pytest.fixture
def many(tmp_path):
    """60 records, every sequence twice."""
    rng = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    sequences = ["".join(rng.choice(letters, rng.integers(5, 30))) for _ in range(30)]
    records = [(f"r{i}", sequences[i % 30]) for i in range(60)]
    return _write(tmp_path / "many.fasta", records)


def test_records_are_those_of_the_file(tmp_path):
    path = _write(tmp_path / "a.fasta", [("P1|x", "mkv"), ("P2|y", "MKVA*"), ("P3|z", "MKV")])
    data = SequenceSource(path, id={"field": 1}).load(tmp_path / "cache")
    assert [(data.store.id(i), data.store.sequence(i)) for i in range(3)] == [
        ("P1", "MKV"),
        ("P2", "MKVA"),
        ("P3", "MKV"),
    ]
    assert data.labels_N.tolist() == [0, 0, 0] and len(data.label_names) == 1
    assert data.report["records_read"] == data.report["records_kept"] == 3
    assert data.report["distinct_sequences"] == 2
    assert data.report["letters"] == {"lower_case_records": 1, "terminal_stops": 1}


def test_several_files_are_read_as_one_and_tables_too(tmp_path):
    first = _write(tmp_path / "a.fasta", [("a", "MK")])
    with gzip.open(tmp_path / "b.fasta.gz", "wt") as out:
        out.write(">b\nMV\n")
    data = SequenceSource([first, tmp_path / "b.fasta.gz"]).load()
    assert list(data.store.ids()) == ["a", "b"]
    (tmp_path / "c.csv").write_text("id,sequence,host\na,MK,duck\nb,MV,\n")
    table = SequenceSource(tmp_path / "c.csv").load()
    assert table.fingerprint == data.fingerprint


@pytest.mark.parametrize(("unknown", "kept"), [("x", ["MXK", "MK"]), ("drop", ["MK"])])
def test_the_policy_for_letters_holds(tmp_path, unknown, kept):
    path = _write(tmp_path / "a.fasta", [("a", "MJK"), ("b", "MK")])
    data = SequenceSource(path, letters={"unknown": unknown}).load()
    assert [data.store.sequence(i) for i in range(len(data))] == kept
    assert data.report["records_read"] == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (">a\nMJK\n", "a.fasta:1: record 'a': residue 2 is 'J', not a letter of aa21"),
        ("MK\n", "a.fasta:1: text before the first '>' header"),
        (">a\nMK\n>a\nMV\n", "a.fasta:3: record 'a'"),
        ("", "a.fasta: "),
    ],
)
def test_bad_files_are_one_line_and_leave_nothing(tmp_path, text, problem):
    (tmp_path / "a.fasta").write_text(text)
    with pytest.raises(InputError) as caught:
        SequenceSource(tmp_path / "a.fasta").load(tmp_path / "cache")
    assert problem in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_nothing_left_is_an_error(tmp_path):
    path = _write(tmp_path / "a.fasta", [("a", "MJK")])
    with pytest.raises(InputError, match="no record has known letters only"):
        SequenceSource(path, letters={"unknown": "drop"}).load()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        SequenceSource(tmp_path / "gone.fasta").load()
    with pytest.raises(ConfigError, match="letters.unknown: got 'y'"):
        SequenceSource(path, letters={"unknown": "y"})


def test_the_cache_is_named_by_content_and_options(tmp_path):
    path, cache = _write(tmp_path / "a.fasta", [("a|x", "MK")]), tmp_path / "cache"

    def folders(*args, **options):
        SequenceSource(*args, **options).load(cache)
        return len(list((cache / "datasets").iterdir()))

    assert folders(path) == folders(path) == 1
    moved = tmp_path / "b.fasta"
    path.rename(moved)
    assert folders(moved) == 1
    assert folders(moved, id={"field": 1}) == 2
    assert folders(moved, letters={"unknown": "x"}) == 3
    _write(moved, [("a|x", "MV")])
    assert folders(moved) == 4
    data = SequenceSource(moved).load(cache)
    assert data.store.sequence(0) == "MV"
    assert data.fingerprint == SequenceSource(moved).load().fingerprint


@pytest.mark.parametrize("splitter", [RandomSplit, UniqueSplit])
def test_splits_need_no_labels(many, splitter):
    data = SequenceSource(many).load()
    split = splitter(fractions=(0.6, 0.2, 0.2)).split(data)
    sizes = [len(records) for records in split.parts.values()]
    assert sum(sizes) == 60 and np.abs(np.array(sizes) - [36, 12, 12]).max() <= 2
    if splitter is UniqueSplit:
        parts = [set(data.sequences_N[records]) for records in split.parts.values()]
        assert sum(map(len, parts)) == 30
    folds = [splitter(folds=3, fold=fold).split(data).test for fold in range(3)]
    assert sorted(np.concatenate(folds).tolist()) == list(range(60))
    half = thin(data, split, 0.5)
    assert len(np.unique(data.sequences_N[half.train])) == round(
        0.5 * len(np.unique(data.sequences_N[split.train]))
    )


def test_clusters_from_a_table_stay_together(many, tmp_path):
    data = SequenceSource(many).load()
    cluster_of = {name: f"r{int(name[1:]) % 10}" for name in data.store.ids()}
    table = tmp_path / "clusters.tsv"
    table.write_text("".join(f"{head}\t{name}\n" for name, head in cluster_of.items()))
    split = ClusterSplit(table=table).split(data)
    parts = [
        {cluster_of[data.store.id(record)] for record in records}
        for records in split.parts.values()
    ]
    assert all(parts) and sum(map(len, parts)) == 10
