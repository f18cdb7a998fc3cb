"""Tables with named columns: CSV and TSV (plain, gzip, zstd) and Parquet, row by row."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from protemb.errors import InputError
from protemb.sequences.streams import LONE_RETURN, open_file, open_text

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
CANDIDATES = (",", "\t", ";", "|")
PARQUET_SUFFIX, PARQUET_MAGIC = ".parquet", b"PAR1"
COMPRESSED = (".gz", ".zst")


class TableRow(NamedTuple):
    """One row: text by column name, and its line in the file (Parquet: its number)."""

    values: dict[str, str]
    line: int


def is_table(path: str | Path) -> bool:
    """Tables are told from FASTA by their names: .csv, .tsv, .tab (.gz, .zst) or .parquet.

    >>> is_table("hosts.csv.gz"), is_table("hosts.fasta")
    (True, False)
    """
    suffix = _suffix(path)
    return suffix in DELIMITERS or suffix == PARQUET_SUFFIX


def read_table(path: str | Path, delimiter: str | None = None) -> Iterator[TableRow]:
    """Yield the rows of a table whose first row names the columns.

    White space around names and values is not part of them; an empty Parquet value is "".
    Without `delimiter`, the name decides (.csv, .tsv, .tab), then the first row.

    Raises:
        InputError: With the line: no rows, a row with too few or too many fields, a column name
            given twice, a delimiter that does not fit the first row, broken quotes, no UTF-8.
    """
    if _suffix(path) == PARQUET_SUFFIX:
        rows = _read_parquet(path)
    else:
        rows = _read_delimited(path, delimiter)
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise InputError(str(path), "no rows below the column names")


def read_lookup(
    path: str | Path, key: str, columns: Sequence[str], delimiter: str | None = None
) -> dict[str, tuple[str, ...]]:
    """Read a metadata table into {value of the key column: values of `columns`}.

    Raises:
        InputError: With the line: a row has no key, or two rows with one key differ in `columns`.
    """
    source = str(path)
    lookup: dict[str, tuple[str, ...]] = {}
    texts: dict[str, str] = {}  # metadata repeat few texts often: hold each once
    for row, line in read_table(path, delimiter):
        if not lookup:
            require_columns(source, row, (key, *columns))
        values = tuple(texts.setdefault(row[column], row[column]) for column in columns)
        if not row[key]:
            raise InputError(source, f"the key column {key!r} is empty", line)
        if lookup.setdefault(row[key], values) != values:
            problem = f"the key {row[key]!r} stands in an earlier row with other values"
            raise InputError(source, problem, line)
    return lookup


def require_columns(source: str, row: Mapping[str, str], needed: Sequence[str]) -> None:
    """Raise when a needed column is not there, and say which there are."""
    for column in needed:
        if column not in row:
            names = ", ".join(row)
            raise InputError(source, f"no column {column!r}; the columns are: {names}", 1)


def _suffix(path: str | Path) -> str:
    name = Path(path)
    return (Path(name.stem) if name.suffix in COMPRESSED else name).suffix.lower()


def _read_delimited(path: str | Path, delimiter: str | None) -> Iterator[TableRow]:
    source = str(path)
    with open_text(path) as handle:
        first = handle.peek().lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8", "replace")
        if first.startswith(">"):
            raise InputError(source, "FASTA, in a file whose name says table", 1)
        delimiter = _delimiter(source, first, delimiter or DELIMITERS.get(_suffix(path)))
        reader = csv.reader(_decode(source, handle), delimiter=delimiter, strict=True)
        columns: list[str] | None = None
        end = 0
        try:
            for fields in reader:
                line, end = end + 1, reader.line_num
                if not fields:
                    continue
                fields = [field.strip() for field in fields]
                if columns is None:
                    columns = _unique(source, fields)
                elif len(fields) == len(columns):
                    yield TableRow(dict(zip(columns, fields, strict=True)), line)
                else:
                    problem = f"got {len(fields)} fields, expected {len(columns)} as in the header"
                    raise InputError(source, problem, line)
        except csv.Error as error:
            # A quote that is never closed swallows lines until the end or csv's field limit.
            broken = f"broken quotes or a field too long ({error})"
            problem = LONE_RETURN if "new-line" in str(error) else broken
            raise InputError(source, problem, end + 1) from None


def _delimiter(source: str, first: str, expected: str | None) -> str:
    """Return the delimiter, after checking it against the first row."""
    counts = {candidate: first.count(candidate) for candidate in CANDIDATES}
    likely = max(counts, key=lambda candidate: counts[candidate])
    if expected is None:
        return likely
    if counts[likely] and expected not in first:
        problem = (
            f"wrong delimiter: the first row has no {expected!r} but {counts[likely]} {likely!r}; "
            f"delimiter={likely!r} seems right"
        )
        raise InputError(source, problem, 1)
    return expected


def _decode(source: str, handle: io.BufferedReader) -> Iterator[str]:
    for number, line in enumerate(handle, start=1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InputError(source, f"the row is not UTF-8 (byte 0x{byte:02x})", number) from None


def _unique(source: str, columns: list[str]) -> list[str]:
    for column in columns:
        if columns.count(column) > 1:
            raise InputError(source, f"the column name {column!r} is given twice", 1)
    return columns


def _read_parquet(path: str | Path) -> Iterator[TableRow]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    source = str(path)
    with open_file(path) as file:
        if not file.peek(4).startswith(PARQUET_MAGIC):
            raise InputError(source, "is named .parquet, but is no Parquet file")
        try:
            table = ParquetFile(file)
            columns = _unique(source, table.schema_arrow.names)
            number = 0
            for batch in table.iter_batches(batch_size=4096):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield TableRow(dict(zip(columns, map(_text, values), strict=True)), number)
        except (ArrowException, OSError) as error:
            problem = " ".join(str(error).split())
            raise InputError(source, f"the Parquet file is damaged ({problem})") from None


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers become floats wherever a column has gaps
    return str(value).strip()
