"""From files to a token store: one way for labelled and for unlabelled records."""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from protemb.errors import ConfigError, InputError, UnknownResidue
from protemb.sequences.alphabet import Alphabet, LetterPolicy, Tokenizer
from protemb.sequences.fasta import read_fasta
from protemb.sequences.labels import Rule
from protemb.sequences.tables import is_table, read_table, require_columns
from protemb.sequences.tokens import TokenStore, TokenStoreBuilder

# In an id or a label they would break the lines and columns of all that is written later.
BREAKS = re.compile(r"[\x00\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")


class Entry(NamedTuple):
    """A record as its file has it; a table's record has no header, a FASTA record no row."""

    source: str
    line: int
    id: str
    header: str
    row: Mapping[str, str]
    sequence: bytes

    def error(self, problem: str) -> InputError:
        """Return an error that names the place of this record."""
        return InputError(self.source, problem, self.line, self.id)


@dataclass(frozen=True)
class RecordFiles:
    """FASTA files, or tables with a sequence in each row; iterate over it for the entries.

    Args:
        paths: All FASTA or all tables.
        id: Where the id stands; not given = the whole header, or the column `id`.
        sequence_column: Of tables.
        delimiter: Of tables; None = by the name or the first row.
        columns: Further columns that a table must have.
    """

    paths: tuple[str, ...]
    id: Rule = Rule()
    sequence_column: str = "sequence"
    delimiter: str | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len({is_table(path) for path in self.paths}) != 1:
            raise ConfigError("path", list(self.paths), "FASTA files, or tables, not both")
        self.id.check("id", columns=self.are_tables, headers=not self.are_tables)

    @property
    def are_tables(self) -> bool:
        """Whether the records are rows of tables."""
        return is_table(self.paths[0])

    def __iter__(self) -> Iterator[Entry]:
        for path in self.paths:
            yield from self._table(path) if self.are_tables else self._fasta(path)

    def _fasta(self, path: str) -> Iterator[Entry]:
        for header, sequence, line in read_fasta(path):
            name = self.id.extract(header, wanted="id") if self.id.given else header
            yield self._checked(Entry(path, line, name or "", header, {}, sequence))

    def _table(self, path: str) -> Iterator[Entry]:
        id_column = self.id.column or "id"
        needed = (id_column, self.sequence_column, *self.columns)
        for number, (row, line) in enumerate(read_table(path, self.delimiter)):
            if number == 0:
                require_columns(path, row, needed)
            sequence = row[self.sequence_column].encode()
            yield self._checked(Entry(path, line, row[id_column], "", row, sequence))

    def _checked(self, entry: Entry) -> Entry:
        if not entry.id:
            place = self.id if self.id.given else "column 'id'"
            raise InputError(entry.source, f"no id in {place}", entry.line, entry.header or None)
        if not entry.id.isprintable() and BREAKS.search(entry.id):
            raise entry.error("the id holds a tab or a line break; an `id` rule can choose a part")
        return entry


class Share(Protocol):
    """Which sequences are wanted."""

    def holds(self, tokens_L: np.ndarray) -> bool:
        """Whether a sequence is."""
        ...


class Recorder:
    """Appends the residues of entries to a new store; use it in a `with` block.

    With a shard, records of the other shares are read and counted, and nothing else.
    """

    def __init__(
        self, folder: Path, alphabet: Alphabet, policy: LetterPolicy, shard: Share | None = None
    ) -> None:
        self._tokenizer, self._shard = Tokenizer(alphabet, policy), shard
        self.known = 0  # records with known letters, those of other shares too
        self._places = array("q")  # with a shard; without one, every place is taken
        self._builder = TokenStoreBuilder(folder, alphabet)
        self._lines = array("q")
        self._ids = array("q")  # hashes
        self._starts: list[tuple[int, str]] = []  # first record of each file

    def __len__(self) -> int:
        return len(self._lines)

    def __enter__(self) -> "Recorder":
        self._builder.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._builder.__exit__(*raised)

    def add(self, entry: Entry) -> int:
        """Append one record; return its number of residues, 0 when the policy drops it."""
        try:
            tokens_L = self._tokenizer.encode(entry.id, entry.sequence)
        except UnknownResidue as error:
            problem = f"residue {error.position} is {error.symbol!r}, not a letter of "
            raise entry.error(problem + error.alphabet) from error
        if tokens_L is None:
            return 0
        self.known += 1
        if self._shard is not None and not self._shard.holds(tokens_L):
            return 0
        if entry.source != self._builder.source:
            self._builder.source = entry.source
            self._starts.append((len(self), entry.source))
        self._builder.append(entry.id, tokens_L, entry.line)
        if self._shard is not None:
            self._places.append(self.known - 1)
        self._lines.append(entry.line)
        self._ids.append(hash(entry.id))
        return len(tokens_L)

    def finish(self) -> tuple[TokenStore, np.ndarray]:
        """Write the store; return it and kept_A, False where an added record was a repeat.

        Raises:
            InputError: An id came twice with different sequences.
        """
        try:
            return self._builder.finish()
        except InputError as error:
            if len(self._starts) == 1 or error.record is None:
                raise
            # The builder knows lines, not files.
            same_id = np.flatnonzero(np.array(self._ids) == hash(error.record)).tolist()
            places = [f"{source}:{line}" for source, line in map(self.place, same_id)]
            problem = f"the sequences in {' and '.join(places)} differ under one id"
            raise InputError(self._starts[0][1], problem, None, error.record) from None

    def first_same(self) -> np.ndarray:
        """Return first_A: for each added record, the first one with the same id."""
        _, first, inverse = np.unique(self._ids, return_index=True, return_inverse=True)
        return first[inverse]

    def place(self, record: int) -> tuple[str, int]:
        """Return file and line of an added record (0-based, repeats included)."""
        _, source = self._starts[bisect_right(self._starts, record, key=lambda s: s[0]) - 1]
        return source, self._lines[record]

    def places(self) -> np.ndarray:
        """Place of each added record among all records with known letters, from 0."""
        if self._shard is None:
            return np.arange(self.known)
        return np.array(self._places, np.int64)

    def counts(self) -> dict[str, Any]:
        """Say what was done, for a report."""
        letters = dict(self._tokenizer.counts)
        dropped = letters.pop("dropped_unknown", 0)
        return {
            "records_read": self.known + dropped,
            "unknown_letters_dropped": dropped,
            "repeated_records": self._builder.counts["repeated_records"],
            "letters": {name: count for name, count in sorted(letters.items()) if count},
        }
