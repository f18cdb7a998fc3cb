"""What a report says, apart from how it looks: `page` writes it as HTML, `markdown` as text.

Every text is plain: no markup in it is ever obeyed. A blank line parts paragraphs. Keys name
places of the page (`report.html#key`) and are unique in a document.

Shape letters: M = points of a map.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import quote

import numpy as np

from protemb.intervals import Interval

KEY = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Link:
    """A way to a file beside the report.

    Args:
        text: what is shown.
        href: path relative to the report, or `#key` for a place in it.

    Raises:
        ValueError: the path is absolute.
    """

    text: str
    href: str

    def __post_init__(self) -> None:
        if PurePosixPath(self.href).is_absolute():
            raise ValueError(f"href: got {self.href!r}, expected a path relative to the report")


Cell = str | int | float | None | Interval | Link


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: its heading.
        kind: what its cells hold; `number` and `interval` sort by value.
        hint: what the heading means, in a sentence.
        digits: decimals of floats and intervals.
    """

    name: str
    kind: Literal["text", "number", "interval", "link"] = "text"
    hint: str = ""
    digits: int = 2


@dataclass(frozen=True)
class Table:
    """Rows that a reader can sort; a cell that is None, NaN or a NaN interval is unknown.

    Raises:
        ValueError: a row is shorter or longer than the columns.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    key: str

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {row}: got {len(row)} cells, expected {len(self.columns)}")


@dataclass(frozen=True)
class Picture:
    """A figure that `canvas` wrote.

    Args:
        path: the SVG, absolute or relative to the report; a PNG of that name lies beside it.
        alt: what a reader who cannot see it should know.
        caption: stands below it.
    """

    path: str | PathLike[str]
    alt: str
    caption: str


@dataclass(frozen=True, eq=False)
class Scatter:
    """Maps of the same records, one shown at a time, coloured by any field.

    Args:
        key: of the place in the page.
        maps: points_M2 by the map's name, in the order to offer them; a record that a map leaves
            out is NaN there.
        ids: names of the M records.
        fields: M values by the field's name, such as host or year. A field is numeric when all
            its values are numbers; None, NaN and the empty string are unknown.
        colour_by: the field that colours the points at first.
        caption: stands below it.
        notes: a line about each map, such as its trustworthiness.

    Raises:
        ValueError: shapes or names that do not fit.
    """

    key: str
    maps: Mapping[str, np.ndarray]
    ids: Sequence[str]
    fields: Mapping[str, Sequence[str | int | float | None]]
    colour_by: str
    caption: str
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        M = len(self.ids)
        if not self.maps:
            raise ValueError("maps: got none, expected at least one")
        for name, points_M2 in self.maps.items():
            if np.shape(points_M2) != (M, 2):
                raise ValueError(
                    f"map {name!r}: got shape {np.shape(points_M2)}, expected {(M, 2)}"
                )
        for name, values in self.fields.items():
            if len(values) != M:
                raise ValueError(f"field {name!r}: got {len(values)} values, expected {M}")
        if self.colour_by not in self.fields:
            raise ValueError(f"colour_by: got {self.colour_by!r}, expected one of the fields")
        if unknown := set(self.notes) - set(self.maps):
            raise ValueError(f"notes: got {sorted(unknown)}, expected names of maps")


@dataclass(frozen=True)
class Note:
    """Paragraphs between other blocks: plain, a warning, or how something was computed."""

    text: str
    kind: Literal["plain", "warning", "method"] = "plain"


@dataclass(frozen=True)
class Code:
    """Text to copy as it is, such as a command or a methods paragraph."""

    text: str


Block = Table | Picture | Scatter | Note | Code


@dataclass(frozen=True)
class Section:
    """A heading, what it is about, and its blocks."""

    title: str
    key: str
    intro: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report.

    Args:
        title: of the page.
        subtitle: one line below it.
        verdict: what was found, a plain sentence each; shown first.
        facts: data, split, runs, date, version and the like, by name.
        sections: in reading order.

    Raises:
        ValueError: a key is malformed or there twice.
    """

    title: str
    subtitle: str
    verdict: tuple[str, ...]
    facts: Mapping[str, str]
    sections: tuple[Section, ...]

    def __post_init__(self) -> None:
        blocks = [block for section in self.sections for block in section.blocks]
        keys = [section.key for section in self.sections]
        keys += [block.key for block in blocks if isinstance(block, Table | Scatter)]
        for key in keys:
            if not KEY.fullmatch(key) or keys.count(key) > 1:
                raise ValueError(f"key {key!r}: expected lower-case letters, digits, -; only once")


def cell_value(cell: Cell) -> float | None:
    """The number that a cell sorts by; None where it has none.

    >>> cell_value(Interval(0.5, 0.4, 0.6)), cell_value(math.nan), cell_value("a")
    (0.5, None, None)
    """
    value = cell.value if isinstance(cell, Interval) else cell
    if value is None or isinstance(value, str | Link) or math.isnan(value):
        return None
    return float(value)


def table_rows(table: Table) -> list[dict[str, object]]:
    """The rows as plain values for JSON, by column; links are their texts, NaN is None.

    >>> table = Table((Column("a"), Column("b", "number")), (("x", math.nan),), "caption", "key")
    >>> table_rows(table)
    [{'a': 'x', 'b': None}]
    """
    names = [column.name for column in table.columns]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in table.rows]


def _plain(cell: Cell) -> object:
    if isinstance(cell, Interval):
        return cell.as_dict()
    if isinstance(cell, Link):
        return cell.text
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def cell_text(cell: Cell, digits: int = 2) -> str:
    """A cell as a reader sees it: `–` where it is unknown, an interval without its missing ends.

    >>> cell_text(Interval(0.931, 0.912, 0.95)), cell_text(-0.5), cell_text(0.0004), cell_text(6294)
    ('0.93 [0.91, 0.95]', '−0.50', '4e−4', '6294')
    """
    if isinstance(cell, Link):
        return cell.text
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, Interval):
        return "–" if cell is None or math.isnan(cell) else _number(cell, digits)
    if math.isnan(cell.value):
        return "–"
    if math.isnan(cell.low) or math.isnan(cell.high):
        return _fixed(cell.value, digits)
    value, low, high = (_fixed(end, digits) for end in (cell.value, cell.low, cell.high))
    return f"{value} [{low}, {high}]"


def _number(value: float, digits: int) -> str:
    """Whole numbers whole, with commas from 10,000 on (years have none); floats fixed."""
    if isinstance(value, int | np.integer):
        return _minus(f"{value:,}" if abs(value) >= 10_000 else str(value))
    if 0 < abs(value) < 0.5 * 10**-digits:
        return _minus(f"{value:.0e}".replace("e-0", "e-"))
    return _fixed(value, digits)


def _fixed(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}".replace("inf", "∞")
    return _minus(text if re.search("[1-9∞]", text) else text.removeprefix("-"))  # no -0.00


def _minus(text: str) -> str:
    return text.replace("-", "−")


def paragraphs(text: str) -> list[str]:
    """Parts of a text between blank lines.

    >>> paragraphs("one\\n\\n two\\nlines\\n")
    ['one', 'two\\nlines']
    """
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def slug(name: str) -> str:
    """A name as part of a key or a file's name.

    >>> slug("lstm/last (hidden_dim=4)"), slug("leave_out")
    ('lstm-last-hidden-dim-4', 'leave-out')
    """
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


def href(path: str) -> str:
    """A path as a link within the folder, whatever letters it holds.

    >>> href("runs/a b:1/"), href("javascript:alert(1)"), href("#order")
    ('runs/a%20b%3A1/', 'javascript%3Aalert%281%29', '#order')
    """
    return quote(path, safe="/#" if path.startswith("#") else "/")
