"""Every way in which an input can be wrong: one clear line that says where."""

import bz2
import gzip
import io
import lzma
import zipfile
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from protemb.errors import InputError
from protemb.sequences.labels import Rule
from protemb.sequences.source import FileSource

GOOD = b">a|x\nMKV\n>b|y\nMKL\n>c|x\nMKA\n>d|y\nMKT\n"
CSV = b"id,host,sequence\na,x,MKV\nb,y,MKL\nc,x,MKA\nd,y,MKT\n"
META = b"id,host,year\na,x,2001\nb,y,2002\nc,x,2003\nd,y,2004\n"
BY_COLUMN = {"label": Rule(column="host")}
JOIN = BY_COLUMN | {"metadata": "meta.csv", "metadata_key": "id", "record_key": Rule(field=1)}


@dataclass
class Bad:
    """What is wrong, and what the error must name."""

    name: str
    files: dict[str, bytes]
    words: str  # must stand in the problem
    line: int | None = None
    record: str | None = None
    options: dict = field(default_factory=dict)
    path: str | list[str] = ""  # the first file when not given
    source: str = ""  # the file to be named; the first when not given


def fasta(name: str, data: bytes, words: str, line=None, record=None, **options) -> Bad:
    return Bad(name, {"hosts.fasta": data}, words, line, record, options)


def table(name: str, data: bytes, words: str, line=None, record=None, **options) -> Bad:
    return Bad(name, {"hosts.csv": data}, words, line, record, BY_COLUMN | options)


def joined(name: str, meta: bytes, words: str, line=None, record=None, source="", **options) -> Bad:
    files = {"hosts.fasta": GOOD, "meta.csv": meta}
    return Bad(name, files, words, line, record, JOIN | options, source=source or "meta.csv")


def synonyms(name: str, text: bytes, words: str, line=None) -> Bad:
    files = {"hosts.fasta": GOOD, "names.yaml": text}
    return Bad(name, files, words, line, options={"synonyms": "names.yaml"}, source="names.yaml")


def residue(name: str, sequence: bytes, words: str, **options) -> Bad:
    data = b"\n>a|x\nMKV\n>b|y\n" + sequence + b"\n"
    return fasta(name, data, words + ", not a letter of aa21", 4, "b|y", **options)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zip_of(data: bytes) -> bytes:
    handle = io.BytesIO()
    with zipfile.ZipFile(handle, "w") as archive:
        archive.writestr("hosts.fasta", data)
    return handle.getvalue()


def parquet() -> bytes:
    handle = io.BytesIO()
    pq.write_table(pa.table({"id": list("abcd"), "host": list("xyxy")}), handle)
    return handle.getvalue()


def flipped(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 0xFF]) + data[index + 1 :]


LONG = GOOD * 3000  # compresses to more than a few bytes, so that a cut falls into the data
NO_LABEL = "missing_label=drop leaves such records out"

INPUTS = [
    # the file itself
    Bad("missing file", {}, "cannot be read: No such file", path="hosts.fasta"),
    Bad("a folder", {"folder/x": b""}, "is a folder", path="folder", source="folder"),
    fasta("empty file", b"", "the file is empty"),
    fasta("empty gzip", gzip.compress(b""), "the file is empty"),
    fasta("empty zstd", zstd(b""), "the file is empty"),
    fasta("blank lines only", b"\n \n\r\n", "no line starts with '>'"),
    fasta("comments only", b"; a\n;b\n", "no line starts with '>'"),
    fasta("binary", b"\x7fELF\x02\0\0\0\n>a|x\nMK\n", "binary data"),
    fasta("cut-off gzip", gzip.compress(LONG)[:-20], "cut off"),
    fasta("gzip without its end", gzip.compress(LONG)[:-4], "cut off"),
    fasta("corrupt gzip", flipped(gzip.compress(LONG), 30), "damaged"),
    fasta("gzip with a wrong checksum", flipped(gzip.compress(GOOD), -6), "damaged"),
    fasta("gzip with other bytes behind", gzip.compress(GOOD) + b"more", "damaged"),
    fasta("cut-off zstd", zstd(LONG)[:-20], "cut off"),
    fasta("corrupt zstd", flipped(zstd(GOOD), -6), "damaged"),
    fasta("zstd with other bytes behind", zstd(GOOD) + b"more", "damaged"),
    fasta("bzip2", bz2.compress(GOOD), "bzip2-compressed"),
    fasta("xz", lzma.compress(GOOD), "xz-compressed"),
    fasta("zip", zip_of(GOOD), "zip archive"),
    fasta("parquet as fasta", parquet(), "Parquet file"),
    fasta("UTF-16", GOOD.decode().encode("utf-16"), "UTF-16"),
    fasta("old Mac line ends", GOOD.replace(b"\n", b"\r"), "carriage return", 1),
    # FASTA
    fasta("text before the first header", b"\n;c\nMKV\n>a|x\nMK\n", "before the first '>'", 3),
    fasta("a table as fasta", CSV, "before the first '>'", 1),
    fasta("empty record", b">a|x\n>b|y\nMK\n", "no sequence", 1, "a|x"),
    fasta("empty last record", b">a|x\nMK\n>b|y\n", "no sequence", 3, "b|y"),
    fasta("empty last record, no line end", b">a|x\nMK\n>b|y", "no sequence", 3, "b|y"),
    fasta("comment for a sequence", b">a|x\n; MKV\n\n>b|y\nMK", "no sequence", 1, "a|x"),
    fasta("nothing after '>'", b">a|x\nMK\n>\nMK\n", "nothing after '>'", 3),
    fasta("'>' at the very end", b">a|x\nMK\n>", "nothing after '>'", 3),
    fasta("blanks after '>'", b">a|x\nMK\n> \t\nMK\n", "nothing after '>'", 3),
    fasta("header not UTF-8", b">a|x\nMK\n>b\xe9|y\nMK\n", "not UTF-8 (byte 0xe9)", 3),
    fasta("carriage return in a sequence", b">a|x\nMK\rVL\n", "carriage return", 1, "a|x"),
    fasta("carriage return in a header", b">a|x\nMK\n>b\r|y\nMK\n", "carriage return", 3),
    fasta("tab in the id", b">a|x\nMK\n>b\tc|y\nMK\n", "a tab or a line break", 3, "b\tc|y"),
    fasta("line separator in the id", ">b\u2028|y\nMK\n".encode(), "line break", 1, "b\u2028|y"),
    fasta("no id field", b">a|x\nMK\n>b\nMK\n", "no id in field 2", 3, "b", id=Rule(field=2)),
    fasta("empty id", b">a|x\nMK\n>|y\nMK\n", "no id in field 1", 3, "|y", id=Rule(field=1)),
    fasta(
        "same id, other sequence",
        b">a|x\nMK\n>b|y\nMK\n>a|x\nMKV\n",
        "differs from the one given on line 1",
        5,
        "a|x",
    ),
    fasta(
        "same id and sequence, other label",
        b">a|x\nMK\n>b|y\nMK\n>b|x\nMK\n",
        "the label differs from the one in hosts.fasta:3 under the same id",
        5,
        "b",
        id=Rule(field=1),
    ),
    fasta(
        "same id and sequence, other year",
        b">a|x|2001\nMK\n>b|y|2001\nMK\n>a|x|2002\nMK\n",
        "the year differs from the one in hosts.fasta:1 under the same id",
        5,
        "a",
        id=Rule(field=1),
        year=Rule(field=3),
    ),
    Bad(
        "same id in two files, other sequence",
        {"1.fa": GOOD, "2.fa": b">e|x\nMK\n>b|y\nMKLL\n"},
        "the sequences in 1.fa:3 and 2.fa:3 differ under one id",
        record="b|y",
        path=["1.fa", "2.fa"],
    ),
    Bad("second file missing", {"1.fa": GOOD}, "No such file", path=["1.fa", "2.fa"],
        source="2.fa"),
    # letters
    residue("unknown residue", b"MK\n\nVJ", "residue 4 is 'J'"),
    residue("unknown residue in lower case", b"mkj", "residue 3 is 'j'"),
    residue("digit", b"MKV10", "residue 4 is '1'"),
    residue("digit, unknown as x", b"MKV10", "residue 4 is '1'", letters={"unknown": "x"}),
    residue("blank inside", b"MK VL", "residue 3 is ' '"),
    residue("gap", b"MK-VL", "residue 3 is '-'"),
    residue("gap, records dropped", b"MK-VL", "residue 3 is '-'", letters={"unknown": "drop"}),
    residue("'>' inside", b"MKV\nVL>c|x", "residue 6 is '>'"),
    residue("stop inside", b"MK*VL", "residue 3 is '*'"),
    residue("two stops", b"MKV**", "residue 4 is '*'"),
    residue("stop refused", b"MKV*", "residue 4 is '*'", letters={"stop": "error"}),
    residue("lower case refused", b"MKv", "residue 3 is 'v'", letters={"lower": "error"}),
    residue("umlaut", "MKÄ".encode(), "residue 3 is 'Ã'"),
    fasta("only a stop", b">a|x\nMK\n>b|y\n*\n", "the sequence is empty", 3, "b|y"),
    fasta(
        "every record dropped", b">a|x\nJ\n>b|y\nJ\n", "no record", letters={"unknown": "drop"}
    ),
    # labels
    fasta("no label at all", b">a\nMK\n>b\nMK\n", f"field 2 (delimiter '|') not found; {NO_LABEL}",
        1, "a"),
    fasta("no label at all, dropped", b">a\nMK\n>b\nMK\n", "no record", missing_label="drop"),
    fasta("empty label", b">a|x\nMK\n>b|\nMK\n", f"field 2 (delimiter '|') is ''; {NO_LABEL}", 3,
        "b|"),
    fasta("label that says unknown", b">a|x\nMK\n>b|Unknown\nMK\n", "is 'Unknown'", 3, "b|Unknown"),
    fasta("field out of range", GOOD, "field 9 (delimiter '|') not found", 1, "a|x",
        label=Rule(field=9)),
    fasta("missing key", GOOD, "key 'host' not found", 1, "a|x", label=Rule(key="host")),
    fasta("missing key, later", b">a host=x\nMK\n>b\nMK\n", "key 'host'", 3, "b",
        label=Rule(key="host")),
    fasta("no match", GOOD, "pattern '(?P<label>z)' not found", 1, "a|x",
        label=Rule(regex="(?P<label>z)")),
    fasta("one class", b">a|x\nMK\n>b|x\nMKV\n", "every record has the label 'x'"),
    fasta("one record", b">a|x\nMK\n", "every record has the label 'x'"),
    fasta("class with one member", GOOD + b">e|z\nM\n", "min_class_size=2 leaves it out", 9, "e|z"),
    fasta("class with one member behind a repeat", b">a|x\nMKV\n" + GOOD + b">e|z\nM\n",
        "class 'z' has only this record", 11, "e|z"),
    fasta("no class large enough", GOOD, "0 of 2 classes have min_class_size=3", min_class_size=3),
    fasta(
        "one class large enough", GOOD + b">e|x\nM\n", "the largest is 'x' with 3", min_class_size=3
    ),
    # further columns
    fasta("bad year", b">a|x|2001\nMK\n>b|y|19x4\nMK\n", "the year is '19x4'", 3, "b|y|19x4",
        year=Rule(field=3)),
    fasta("year of five digits", b">a|x|20010\nMK\n", "the year is '20010'", 1, "a|x|20010",
        year=Rule(field=3)),
    fasta("no year", GOOD, "no year: field 3", 1, "a|x", year=Rule(field=3)),
    fasta("no group", b">a|x|g\nMK\n>b|y|NA\nMK\n", "no group: field 3 (delimiter '|') is 'NA'", 3,
        "b|y|NA", group=Rule(field=3)),
    fasta("no split", GOOD, "no split: key 'SET' not found", 1, "a|x", split=Rule(key="SET")),
    fasta("position 0", b">a|x|0\nMK\n", "'0', expected a number from 1 to 2", 1, "a|x|0",
        position=Rule(field=3)),
    fasta("position behind the end", b">a|x|3\nMK*\n", "'3', expected a number from 1 to 2", 1,
        "a|x|3", position=Rule(field=3)),
    fasta("position no number", b">a|x|K2\nMK\n", "'K2', expected a number", 1, "a|x|K2",
        position=Rule(field=3)),
    # tables
    table("missing label column", CSV.replace(b"host", b"hots"),
        "no column 'host'; the columns are: id, hots, sequence", 1),
    table("missing sequence column", CSV, "no column 'seq'", 1, sequence_column="seq"),
    table("missing id column", CSV, "no column 'acc'", 1, id=Rule(column="acc")),
    table("semicolons in a .csv", CSV.replace(b",", b";"),
        "has no ',' but 2 ';'; delimiter=';' seems right", 1),
    table("tabs in a .csv", CSV.replace(b",", b"\t"),
        r"has no ',' but 2 '\t'; delimiter='\t' seems", 1),
    table("wrong delimiter given", CSV, "has no ';' but 2 ','", 1, delimiter=";"),
    table("fasta as a table", GOOD, "FASTA, in a file whose name says table", 1),
    table("empty table", b"", "the file is empty"),
    table("blank table", b"\n\n", "no rows below the column names"),
    table("only column names", b"id,host,sequence\n", "no rows below the column names"),
    table("too few fields", CSV + b"e,x\n", "got 2 fields, expected 3", 6),
    table("too many fields", b"id,host,sequence\na,x,MK,\n", "got 4 fields, expected 3", 2),
    table("column named twice", b"id,host,host\na,x,MK\n", "'host' is given twice", 1),
    table("quote never closed", CSV + b'e,"x,MKV\nf,y,MK\n', "broken quotes", 6),
    table("text behind a quote", CSV + b'e,"x"y,MKV\n', "broken quotes", 6),
    table("label of two lines", CSV + b'e,"x\ny",MKV\n', "a line break", 6, "e"),
    table("row not UTF-8", CSV + b"e,\xe9,MK\n", "not UTF-8 (byte 0xe9)", 6),
    table("table with old Mac line ends", CSV.replace(b"\n", b"\r"), "carriage return", 1),
    table("binary table", b"id,\0\0", "binary data"),
    table("cut-off table", gzip.compress(CSV * 2000)[:-20], "cut off"),
    table("empty cell for a sequence", CSV + b"e,x,\n", "the sequence is empty", 6, "e"),
    table("empty cell for an id", CSV + b",x,MK\n", "no id in column 'id'", 6),
    table("empty cell for a label", CSV + b"e,,MK\n", f"column 'host' is ''; {NO_LABEL}", 6, "e"),
    table("unknown residue in a table", CSV + b"e,x,MJ\n", "residue 2 is 'J'", 6, "e"),
    table("parquet named .csv", parquet(), "Parquet file"),
    Bad("csv named .parquet", {"h.parquet": CSV}, "is no Parquet file", options=BY_COLUMN),
    Bad("cut-off parquet", {"h.parquet": parquet()[:-30]}, "Parquet file is damaged",
        options=BY_COLUMN),
    Bad("parquet, missing column", {"h.parquet": parquet()}, "no column 'sequence'", 1,
        options=BY_COLUMN),
    # metadata
    joined("no row for a record", META.replace(b"c,", b"z,"), "no row for the key 'c' in meta.csv",
        5, "c|x", "hosts.fasta"),
    joined("no key in a record", META, "field 7 (delimiter '|') not found", 1, "a|x", "hosts.fasta",
        record_key=Rule(field=7)),
    joined("two rows that differ", META + b"b,x,2001\n", "the key 'b' stands in an earlier row", 6),
    joined("row without a key", META + b",x,2001\n", "the key column 'id' is empty", 6),
    joined("no key column", META, "no column 'acc'", 1, metadata_key="acc"),
    joined("no label column", META, "no column 'hosts'", 1, label=Rule(column="hosts")),
    joined("metadata only column names", b"id,host\n", "no rows below"),
    joined("metadata file missing", META, "No such file", metadata="none.csv", source="none.csv"),
    # synonyms
    synonyms("a list", b"- human\n", "expected a map", 1),
    synonyms("an empty file", b"# nothing\n", "expected a map", 1),
    synonyms("a text for a list", b"human: [man]\nswine: Sus scrofa\n", "'swine': expected a list",
        2),
    synonyms("a name of two labels", b"human: [man]\nswine:\n- pig\n- man\n",
        "'man' belongs to 'human' and to 'swine'", 4),
    synonyms("a label as a name", b"human: [swine]\nswine: [pig]\n", "'swine' belongs to 'human'",
        2),
    synonyms("a map for a name", b"human: [man]\nswine: [{a: b}]\n", "'swine': expected a name", 2),
    synonyms("no YAML", b"human: [man\nswine: x\n", "no YAML", 2),
    synonyms("not UTF-8", b"human: [\xe9]\n", "no YAML: characters"),
]  # fmt: skip


@pytest.mark.parametrize("bad", INPUTS, ids=lambda bad: bad.name)
def test_bad_input_is_one_clear_line(bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in bad.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    path = bad.path or next(iter(bad.files))
    options = {"label": Rule(field=2)} | bad.options

    with pytest.raises(InputError) as caught:
        FileSource(path, **options).load(tmp_path / "cache")
    error, first = caught.value, path if isinstance(path, str) else path[0]
    assert type(error) is InputError
    assert (error.source, error.line, error.record) == (bad.source or first, bad.line, bad.record)
    assert bad.words in error.problem

    text = str(error)
    assert len(text.splitlines()) == 1 and len(text) < 300
    assert text.startswith(error.source if bad.line is None else f"{error.source}:{bad.line}: ")
    assert bad.record is None or f"record {bad.record!r}: " in text
    left = [path for path in (tmp_path / "cache").rglob("*") if path.name != "datasets"]
    assert not left


def test_the_good_files_of_these_tests_are_good(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in {"hosts.fasta": GOOD, "hosts.csv": CSV, "meta.csv": META}.items():
        (tmp_path / name).write_bytes(data)
    sets = [
        FileSource("hosts.fasta", label=Rule(field=2), id=Rule(field=1)).load(),
        FileSource("hosts.csv", **BY_COLUMN).load(),
        FileSource("hosts.fasta", id=Rule(field=1), **JOIN).load(),
    ]
    assert len({data.fingerprint for data in sets}) == 1
