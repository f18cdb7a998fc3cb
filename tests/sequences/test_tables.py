import csv
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.errors import InputError
from protemb.sequences.tables import is_table, read_lookup, read_table

# Text that survives a table: no white space at the ends, no NUL, no lone carriage return.
cells = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12).map(str.strip)
inner = st.one_of(cells, st.sampled_from(['say "so"', "a,b", "a\tb", "two\nlines", "'", '"']))


@settings(deadline=None)  # shared machines are slow at times
@given(
    st.lists(cells.filter(bool), min_size=2, max_size=4, unique=True),
    st.data(),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([bytes, gzip.compress, zstandard.ZstdCompressor().compress]),
    st.booleans(),
)
def test_rows_come_back_as_written(tmp_path_factory, columns, data, delimiter, end, pack, bom):
    size = len(columns)
    rows = data.draw(
        st.lists(st.lists(inner, min_size=size, max_size=size), min_size=1, max_size=4)
    )
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(columns)
    lines = []
    for row in rows:
        lines.append(text.getvalue().count("\n") + 1)
        writer.writerow(row)
    path = tmp_path_factory.mktemp("table") / "any.name"
    path.write_bytes(pack(("\ufeff" * bom + text.getvalue()).encode()))

    read = list(read_table(path, delimiter))
    assert [list(row.values.values()) for row in read] == rows
    assert all(list(row.values) == columns for row in read)
    assert [row.line for row in read] == lines


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("t.csv", ","), ("t.tsv", "\t"), ("t.tab", "\t"), ("t.csv.gz", ","), ("t.TSV", "\t")],
)
def test_the_name_gives_the_delimiter(tmp_path, name, delimiter):
    path = tmp_path / name
    path.write_text(f"id{delimiter}a;b;c;d\n1{delimiter}2\n")
    assert [row.values for row in read_table(path)] == [{"id": "1", "a;b;c;d": "2"}]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_otherwise_the_first_row_gives_it(tmp_path, delimiter):
    path = tmp_path / "table.txt"
    path.write_text(delimiter.join(["\nid", "host", "year\n\n1", "cat dog", "2\n"]))
    (row,) = read_table(path)
    assert row.values == {"id": "1", "host": "cat dog", "year": "2"} and row.line == 4


def test_parquet_gives_the_text_that_csv_gives(tmp_path, real_data):
    source = real_data / "influenza_ha_host/ha_host.csv.gz"
    rows = [row.values for row in read_table(source)]
    columns = {name: [row[name] or None for row in rows] for name in rows[0]}
    columns["year"] = [int(text) for text in columns["year"]]
    pq.write_table(pa.table(columns), tmp_path / "ha.parquet")
    read = list(read_table(tmp_path / "ha.parquet"))
    assert [row.values for row in read] == rows
    assert [row.line for row in read] == list(range(1, len(rows) + 1))


def test_parquet_whole_numbers_with_gaps_stay_whole(tmp_path):
    table = pa.table({"year": pa.array([2004.0, None]), "share": pa.array([0.5, 1.25])})
    pq.write_table(table, tmp_path / "t.parquet")
    rows = [row.values for row in read_table(tmp_path / "t.parquet")]
    assert rows == [{"year": "2004", "share": "0.5"}, {"year": "", "share": "1.25"}]


def test_real_tables_match_the_counts_in_their_readmes(real_data):
    rows = [row.values for row in read_table(real_data / "scope_astral/th_35.tsv.gz")]
    assert len(rows) == 12_346
    assert all(len(row["seq"]) == int(row["seq_len"]) for row in rows)
    assert len({row["family"] for row in rows}) == 4_432


def test_lookup_keeps_what_is_asked_for_and_forgives_equal_rows(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("acc,host,note\nA,cat,1\nB,dog,2\nA,cat,3\n")
    assert read_lookup(path, "acc", ("host",)) == {"A": ("cat",), "B": ("dog",)}
    with pytest.raises(InputError, match=r"m\.csv:4: the key 'A' stands in an earlier row"):
        read_lookup(path, "acc", ("host", "note"))


def test_names_tell_tables_from_fasta():
    tables = ("a.csv", "a.tsv", "a.tab", "a.parquet", "a.csv.gz", "x/a.tsv.zst", "A.CSV")
    others = ("a.fasta", "a.fa.gz", "a", "csv", "a.csv.fasta", "a.txt")
    assert [is_table(name) for name in tables + others] == [True] * 7 + [False] * 6
