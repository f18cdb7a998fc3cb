"""What every format has in common: blocks of rows that fit together, and writers that take them.

Shape letters: N = records in the table, B = records in one block, D = features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from protemb.errors import ConfigError, InputError, MissingExtra
from protemb.files import whole_file

Plain = str | int | float | bool

SUFFIXES = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".parquet": "parquet",
    ".npz": "npz",
    ".h5ad": "h5ad",
}

# Rows come to the disk in groups of whole HDF5 chunks: many when they are narrow, but never
# more than about 8 MiB, and always the same ones, however the caller cut them.
CHUNK_ROWS = 256
GROUP_BYTES = 8 * 2**20
GROUP_CHUNKS = 16


def table_format(path: str | PathLike[str]) -> str:
    """Name the format that the suffix of `path` stands for.

    >>> table_format("runs/HA/vectors.H5")
    'hdf5'

    Raises:
        ConfigError: The suffix stands for none of them.
    """
    try:
        return SUFFIXES[Path(path).suffix.lower()]
    except KeyError:
        raise ConfigError(
            "vector table",
            str(path),
            "a name that ends in .h5 (or .hdf5), .parquet, .npz or .h5ad",
        ) from None


class Block(NamedTuple):
    """Rows that fit together; `records_B` is the place of each row in the input, int64."""

    ids: tuple[str, ...]
    vectors_BD: np.ndarray
    labels_B: np.ndarray | None = None
    records_B: np.ndarray | None = None

    def rows(self, start: int, stop: int) -> "Block":
        """Some of the rows, without a copy of the vectors."""
        some = slice(start, stop)
        return Block(
            self.ids[some],
            self.vectors_BD[some],
            None if self.labels_B is None else self.labels_B[some],
            None if self.records_B is None else self.records_B[some],
        )

    def copy(self) -> "Block":
        """The same rows in memory that nobody else writes to."""
        return Block(
            self.ids,
            self.vectors_BD.copy(),
            None if self.labels_B is None else self.labels_B.copy(),
            None if self.records_B is None else self.records_B.copy(),
        )


def make_block(
    ids: Sequence[str],
    vectors_BD: np.ndarray,
    labels_B: np.ndarray | Sequence[str] | None = None,
    records_B: np.ndarray | None = None,
) -> Block:
    """Bring columns to their types: text, float32 (C order), text, int64.

    Raises:
        ConfigError: They do not fit together, or an id holds a NUL.
    """
    block = Block(
        tuple(map(str, ids)),
        np.require(vectors_BD, np.float32, ["C", "W"]),
        None if labels_B is None else np.asarray(labels_B, dtype=str),
        None if records_B is None else np.asarray(records_B, dtype=np.int64),
    )
    if block.vectors_BD.ndim != 2:
        raise ConfigError("vectors", f"shape {block.vectors_BD.shape}", "records x features")
    if any("\0" in text for text in block.ids):
        raise ConfigError("ids", "a NUL character", "text that every format can keep")
    rows = len(block.vectors_BD)
    for name, values in (
        ("ids", block.ids),
        ("labels", block.labels_B),
        ("records", block.records_B),
    ):
        if values is not None and len(values) != rows:
            raise ConfigError(name, len(values), f"one for each of {rows} vectors")
    return block


def plain_facts(attributes: Mapping[str, Plain]) -> dict[str, Plain]:
    """A copy of `attributes`.

    Raises:
        ConfigError: A value is more than text, a number or a truth value.
    """
    for name, value in attributes.items():
        if not isinstance(value, Plain):
            raise ConfigError(f"attribute {name!r}", value, "text, a number or a truth value")
    return dict(attributes)


class TableWriter(ABC):
    """Takes rows block by block and hands them on in groups of one size.

    The file takes its name when the `with` block ends; after an error there is none. The same
    rows make the same file, however they were cut into blocks.
    """

    keeps_records = False

    def __init__(self, path: str | PathLike[str], attributes: Mapping[str, Plain]) -> None:
        self.path, self.attributes, self.rows = path, plain_facts(attributes), 0
        self._pending: list[Block] = []
        self._waiting = 0
        self._empty: Block | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open(stack.enter_context(whole_file(self.path)), stack)
            self._stack = stack.pop_all()
        return self

    def append(
        self,
        ids: Sequence[str],
        vectors_BD: np.ndarray,
        labels_B: np.ndarray | None = None,
        records_B: np.ndarray | None = None,
    ) -> None:
        """Add one block of rows; labels come with every block or with none.

        Args:
            ids: B texts.
            vectors_BD: numbers, kept as float32; the array may be used again afterwards.
            labels_B: name of each row's class.
            records_B: place of each row in the input, int64; the HDF5 table layout alone
                keeps it.

        Raises:
            ConfigError: the columns do not fit together.
        """
        block = make_block(ids, vectors_BD, labels_B, records_B)
        assert self.keeps_records or records_B is None, "this format keeps no record numbers"
        if self._empty is None:
            self._empty = block.rows(0, 0)
        assert same_columns(self._empty, block), "blocks of one table have the same columns"
        group, start = group_rows(block.vectors_BD.shape[1]), 0
        while start < len(block.ids):
            piece = block.rows(start, start + group - self._waiting)
            start += len(piece.ids)
            self._pending.append(piece)
            self._waiting += len(piece.ids)
            if self._waiting == group:
                self._flush()
        if self._pending:  # the caller may write into the array that it lent us
            self._pending[-1] = self._pending[-1].copy()

    def _flush(self) -> None:
        block = join(self._pending)
        self._pending, self._waiting = [], 0
        self._write(block)
        self.rows += len(block.ids)

    def __exit__(self, *raised: Any) -> None:
        if raised[0] is not None:
            self._stack.__exit__(*raised)
            return
        with self._stack:
            assert self._empty is not None, "a table needs at least one block, even an empty one"
            if self._waiting or not self.rows:
                self._pending = self._pending or [self._empty]
                self._flush()
            self._finish()

    @abstractmethod
    def _open(self, part: Path, stack: ExitStack) -> None:
        """Open the file `part`; what has to be closed goes on the stack."""

    @abstractmethod
    def _write(self, block: Block) -> None:
        """Write the next rows, which start at `self.rows`."""

    def _finish(self) -> None:  # noqa: B027 - most formats have nothing left to write
        """Write what can only be known at the end, before the stack is closed."""


def group_rows(width: int) -> int:
    """Rows that go to the disk together, for vectors of `width` features.

    >>> group_rows(64), group_rows(6165), group_rows(10**6)
    (4096, 256, 256)
    """
    chunks = GROUP_BYTES // (4 * max(1, width) * CHUNK_ROWS)
    return CHUNK_ROWS * min(max(1, chunks), GROUP_CHUNKS)


def same_columns(first: Block, second: Block) -> bool:
    """Whether two blocks have the same columns, and vectors of one width."""
    present = [tuple(column is None for column in block) for block in (first, second)]
    return present[0] == present[1] and first.vectors_BD.shape[1] == second.vectors_BD.shape[1]


def join(blocks: Sequence[Block]) -> Block:
    """The rows of all blocks in one, without a copy when there is one already."""
    if len(blocks) == 1:
        return blocks[0]
    labels = [block.labels_B for block in blocks if block.labels_B is not None]
    records = [block.records_B for block in blocks if block.records_B is not None]
    return Block(
        tuple(text for block in blocks for text in block.ids),
        np.concatenate([block.vectors_BD for block in blocks]),
        np.concatenate(labels) if labels else None,
        np.concatenate(records) if records else None,
    )


@contextmanager
def reading(path: str | PathLike[str], kind: str = "vector table") -> Iterator[None]:
    """Turn whatever a reader raises on a missing, damaged or foreign file into one line.

    Raises:
        InputError: names the file and what the library said.
    """
    if not Path(path).is_file():
        raise InputError(str(path), "no such file")
    try:
        yield
    except (InputError, MissingExtra):
        raise
    # Given damaged bytes, the libraries raise nearly every type there is.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(str(path), f"not a readable {kind} ({reason})") from error
