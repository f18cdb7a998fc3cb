"""Files with a label per residue, record by record: three-line files, and pairs of FASTA files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from protemb.errors import ConfigError, InputError
from protemb.sequences.fasta import FastaRecord, read_fasta
from protemb.sequences.labels import Rule
from protemb.sequences.records import BREAKS, Entry
from protemb.sequences.streams import open_text

AMINO_ACIDS = b"ACDEFGHIKLMNPQRSTVWY"
MANY = 12
"""So many different amino acid letters in one record's labels are a sequence, not labels."""
THREE = "three lines a record: header, sequence, labels"
BLANK = 0
"""Byte of a residue that does not count."""


class Labels(NamedTuple):
    """What a file says of one record's residues: as written, and where."""

    source: str
    line: int
    written: bytes
    header: str


class Item(NamedTuple):
    """A record and its labels; without a mask all residues count."""

    entry: Entry
    labels: Labels
    mask: Labels | None
    file: int


def read_three_line(path: str, id_rule: Rule, file: int = 0) -> Iterator[Item]:
    """Yield the records of a three-line file (header, sequence, labels), plain, gzip or zstd.

    Blank lines are skipped.

    Raises:
        InputError: With the line: a record without one of its lines, or no id.
    """
    with open_text(path) as handle:
        lines = ((number, text.strip()) for number, text in enumerate(handle, start=1))
        filled = ((number, text) for number, text in lines if text)
        empty = True
        for line, header in filled:
            empty = False
            if not header.startswith(b">"):
                got = header[:20].decode("utf-8", "replace")
                raise InputError(path, f"got {got!r}, expected a '>' header ({THREE})", line)
            name = _decoded(path, header[1:].strip(), line)
            rest = list(islice(filled, 2))
            for what, number in (("sequence", 0), ("labels", 1)):
                if len(rest) <= number or rest[number][1].startswith(b">"):
                    raise InputError(path, f"the record has no {what} ({THREE})", line, name)
            (_, sequence), (label_line, labels) = rest
            entry = _entry(path, line, name, sequence, id_rule)
            yield Item(entry, Labels(path, label_line, labels, name), None, file)
        if empty:
            raise InputError(path, "no record")


def read_paired(sequences: str, labels: str, mask: str | None, id_rule: Rule) -> Iterator[Item]:
    """Yield the records of a FASTA file with those of the same id in a FASTA file of labels.

    Labels and mask are held in memory; sequences are read one by one.

    Raises:
        InputError: A record is missing in one of the files, or is there twice.
    """
    found = _by_id(labels, id_rule)
    masks = None if mask is None else _by_id(mask, id_rule)
    for record in read_fasta(sequences):
        entry = _entry(sequences, record.line, record.header, record.sequence, id_rule)
        one = _taken(found, entry, labels, "labels")
        hidden = None if masks is None else _taken(masks, entry, str(mask), "mask")
        yield Item(entry, one, hidden, 0)
    for left, what in ((found, "labels"), (masks or {}, "mask")):
        for name, one in left.items():
            problem = f"{what} of a record that {sequences} does not have"
            raise InputError(one.source, problem, one.line, name)


def _by_id(path: str, id_rule: Rule) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    for record in read_fasta(path):
        name = _entry_of(path, record, id_rule).id
        if name in found:
            problem = f"the id is there twice, first on line {found[name].line}"
            raise InputError(path, problem, record.line, name)
        found[name] = Labels(path, record.line, record.sequence, record.header)
    return found


def _taken(found: dict[str, Labels], entry: Entry, path: str, what: str) -> Labels:
    if entry.id not in found:
        raise entry.error(f"no {what} of this record in {path}, or its id is there twice")
    return found.pop(entry.id)


def _entry_of(path: str, record: FastaRecord, id_rule: Rule) -> Entry:
    return _entry(path, record.line, record.header, record.sequence, id_rule)


def _entry(path: str, line: int, header: str, sequence: bytes, id_rule: Rule) -> Entry:
    name = id_rule.extract(header, wanted="id") if id_rule.given else header
    if not name:
        raise InputError(path, f"no id in {id_rule}", line, header)
    if BREAKS.search(name):
        raise InputError(path, "the id holds a tab or a line break", line, header)
    return Entry(path, line, name, header, {}, sequence)


def _decoded(path: str, name: bytes, line: int) -> str:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(path, "the header is not UTF-8", line) from None
    if not text:
        raise InputError(path, "nothing after '>'", line)
    return text


@dataclass(frozen=True)
class LabelLetters:
    """Which letters are labels, and how they are read.

    Args:
        known: Labels that may stand in the files beside those of `merge` and `unknown`; None for
            any printable character.
        merge: Labels that are read as another one: {"b": "B"}.
        unknown: Labels of residues that do not count.
    """

    known: str | None
    merge: Mapping[str, str]
    unknown: str

    def __post_init__(self) -> None:
        every = [*(self.known or ""), *self.unknown, *self.merge, *self.merge.values()]
        for letter in every:
            if len(letter) != 1 or not "!" <= letter <= "~":
                raise ConfigError("labels", letter, "single printable ASCII characters")
        twice = set(self.unknown) & {*(self.known or ""), *self.merge, *self.merge.values()}
        if twice:
            raise ConfigError("unknown", self.unknown, "letters that are not labels as well")
        if self.known is not None and not set(self.merge.values()) <= set(self.known):
            raise ConfigError("merge", dict(self.merge), f"labels among {self.known!r}")

    @property
    def accepted(self) -> bytes:
        """Everything that may stand in a file."""
        if self.known is None:
            return bytes(range(ord("!"), ord("~") + 1))
        return "".join([self.known, self.unknown, *self.merge]).encode("ascii")

    @property
    def table(self) -> bytes:
        """What each byte is read as; unknown labels are `BLANK`."""
        table = np.arange(256, dtype=np.uint8)
        for written, read_as in self.merge.items():
            table[ord(written)] = ord(read_as)
        for letter in self.unknown:
            table[ord(letter)] = BLANK
        return table.tobytes()

    def read(self, item: Item) -> bytes:
        """The labels of one record, merged, with `BLANK` where a residue does not count.

        Raises:
            InputError: They look like a sequence, have another length than it, or hold a letter
                that is none of the labels; or the mask has another length or letter.
        """
        labels, sequence = item.labels, item.entry.sequence
        length = len(sequence) - sequence.endswith(b"*")  # a stop is no residue
        strange = labels.written.translate(None, self.accepted)
        if len(set(labels.written) & set(AMINO_ACIDS)) >= MANY and (strange or not self.known):
            raise _error(item, labels, "the labels look like a sequence")
        if strange:
            place = labels.written.index(strange[:1]) + 1
            expected = f"one of {self.accepted.decode('ascii')}" if self.known else "a letter"
            problem = f"label {place} is {chr(strange[0])!r}, expected {expected}"
            raise _error(item, labels, problem)
        if len(labels.written) != length:
            problem = f"got {len(labels.written)} labels, expected {length}, one per residue"
            raise _error(item, labels, problem)
        read = labels.written.translate(self.table)
        return read if item.mask is None else self._masked(item, item.mask, read)

    def _masked(self, item: Item, mask: Labels, read: bytes) -> bytes:
        if len(mask.written) != len(read):
            problem = f"got a mask of {len(mask.written)}, expected {len(read)}, one per residue"
            raise _error(item, mask, problem)
        strange = mask.written.translate(None, b"01")
        if strange:
            place = mask.written.index(strange[:1]) + 1
            raise _error(item, mask, f"mask {place} is {chr(strange[0])!r}, expected 0 or 1")
        counted_L = np.frombuffer(mask.written, np.uint8) == ord("1")
        return np.where(counted_L, np.frombuffer(read, np.uint8), BLANK).astype(np.uint8).tobytes()


def _error(item: Item, place: Labels, problem: str) -> InputError:
    return InputError(place.source, problem, place.line, item.entry.id)
