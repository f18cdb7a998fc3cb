"""Columns beside the labels, grown record by record: numbers, and texts that repeat."""

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Set

import numpy as np

from protemb.sequences.labels import Rule
from protemb.sequences.records import Entry

NUMBERS = ("year", "position")

# "2004", "2004.0" (a table with gaps), "2004-05", "2004-05-17", "2004-05-17 00:00:00"
YEAR = re.compile(r"(\d{4})(\.0+|-\d\d(-\d\d([T ].*)?)?)?", re.ASCII)


class TextColumn:
    """Texts, each distinct one held once.

    >>> column = TextColumn()
    >>> for text in ("swine", "avian", "swine"):
    ...     column.append(text)
    >>> column.codes()
    (('avian', 'swine'), array([1, 0, 1]))
    """

    def __init__(self) -> None:
        self._code_of: dict[str, int] = {}
        self._codes = array("q")

    def append(self, text: str) -> None:
        """Add the next record's text."""
        self._codes.append(self._code_of.setdefault(text, len(self._code_of)))

    def codes(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the sorted distinct texts and each record's index into them (int64)."""
        names = sorted(self._code_of)
        rank = np.empty(len(names), np.int64)
        rank[[self._code_of[name] for name in names]] = np.arange(len(names))
        return tuple(names), rank[np.frombuffer(self._codes, np.int64)]


class Fields:
    """The optional columns of a set: what their rules find, checked and collected.

    Args:
        required: Rules of "group", "year", "split", "position": a missing value is an error.
        optional: Rules of further texts: a missing value is "".
        missing_values: Texts that count as no value, case-folded.

    Attributes:
        missing: Records without a value, by the name of the optional field.
    """

    def __init__(
        self,
        required: Mapping[str, Rule],
        optional: Mapping[str, Rule],
        missing_values: Set[str],
    ) -> None:
        self._required, self._missing_values = required, missing_values
        self._rules = {**required, **optional}
        self._texts = {name: TextColumn() for name in self._rules if name not in NUMBERS}
        self._numbers = {name: array("q") for name in self._rules if name in NUMBERS}
        self.missing: Counter[str] = Counter()

    def append(self, entry: Entry, residues: int) -> None:
        """Add the values of the next record, which has this many residues."""
        for name, rule in self._rules.items():
            text = rule.extract(entry.header, entry.row, name)
            if text is None or text.casefold() in self._missing_values:
                if name in self._required:
                    found = "not found" if text is None else f"is {text!r}"
                    raise entry.error(f"no {name}: {rule} {found}")
                self.missing[name] += 1
                text = ""
            if name not in NUMBERS:
                self._texts[name].append(text)
                continue
            try:
                number = parse_year(text) if name == "year" else parse_position(text, residues)
            except ValueError as error:
                raise entry.error(str(error)) from None
            self._numbers[name].append(number)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the columns by name: texts, or numbers as int64."""
        columns: dict[str, np.ndarray] = {}
        for name in self._rules:
            if name in NUMBERS:
                columns[name] = np.array(self._numbers[name], np.int64)
            else:
                names, codes_N = self._texts[name].codes()
                columns[name] = np.array(names, str)[codes_N]
        return columns


def parse_year(text: str) -> int:
    """Read a year, or the year of an ISO date.

    >>> parse_year("2004-05-17")
    2004
    """
    match = YEAR.fullmatch(text)
    if not match:
        raise ValueError(f"the year is {text!r}, expected four digits or an ISO date")
    return int(match[1])


def parse_position(text: str, residues: int) -> int:
    """Read a 1-based position inside a sequence; return it 0-based.

    >>> parse_position("1", residues=3)
    0
    """
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 1 <= int(text) <= residues:
        raise ValueError(f"the position is {text!r}, expected a number from 1 to {residues}")
    return int(text) - 1
