"""A document as Markdown in GitHub's dialect: pictures are the PNGs, maps are in the page."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from protemb.analysis.document import (
    Block,
    Cell,
    Code,
    Column,
    Document,
    Link,
    Note,
    Picture,
    Scatter,
    Table,
    cell_text,
    href,
    paragraphs,
)

LABELS = {"warning": "Caution", "method": "How it was done"}
# What would be markup wherever it stands. An underscore within a word is none, nor is a bracket
# that no link, picture or footnote could be made of: intervals stay readable in the raw text.
SPECIAL = re.compile(
    r"[\\`*<|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|!(?=\[)|\[(?=\^)|\](?=[(\[:])"
)
IN_LINK = re.compile(rf"{SPECIAL.pattern}|[\[\]]")
# What would be markup at the start of a line: numbers of a list; headings, bullets, rulers.
NUMBERED = re.compile(r"^\d+(?=[.)](\s|$))")
LEADING = re.compile(r"^(?=>|[#+=-]+(\s|$))")


def render(document: Document, base: Path, page: str = "report.html") -> str:
    """Give the report as Markdown.

    Args:
        document: what to say.
        base: folder that the file will lie in.
        page: the report as HTML, relative to it; what only works there is linked.
    """
    parts = [
        f"# {escape(document.title)}",
        escape(document.subtitle),
        "\n>\n".join(f"> {escape(sentence)}" for sentence in document.verdict),
        "\n".join(f"- **{escape(name)}:** {escape(fact)}" for name, fact in document.facts.items()),
    ]
    for section in document.sections:
        parts += [f"## {escape(section.title)}", *map(escape, paragraphs(section.intro))]
        parts += [_block(block, base, page) for block in section.blocks]
    return _joined(parts) + "\n"


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, parts))


def escape(text: str, special: re.Pattern[str] = SPECIAL) -> str:
    r"""One line of plain text that Markdown leaves as it is.

    >>> escape("a*b | macro_f1\n<b>"), escape("1. one"), escape("- two"), escape("[0.1, 0.2]")
    ('a\\*b \\| macro_f1 \\<b>', '1\\. one', '\\- two', '[0.1, 0.2]')
    """
    text = special.sub(r"\\\g<0>", " ".join(text.split()))
    return LEADING.sub(r"\\", NUMBERED.sub(r"\g<0>\\", text))


def _link(text: str, target: str) -> str:
    return f"[{escape(text, IN_LINK)}]({target})"


def _block(block: Block, base: Path, page: str) -> str:
    match block:
        case Table():
            return _table(block)
        case Picture():
            path = os.path.relpath((base / block.path).with_suffix(".png"), base)
            picture = _link(block.alt, href(Path(path).as_posix()))
            return _joined([f"!{picture}", _caption(block.caption)])
        case Scatter():
            names = ", ".join(map(escape, block.maps))
            place = _link(f"Map of {len(block.ids)} points", f"{href(page)}#{block.key}")
            offer = f"{place}, to be coloured by any field, in the page: {names}."
            return _joined([offer, _caption(block.caption)])
        case Note():
            label = f"**{LABELS[block.kind]}.** " if block.kind in LABELS else ""
            return label + _joined(map(escape, paragraphs(block.text)))
        case Code():
            longest = max(map(len, re.findall("`+", block.text)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"{fence}text\n{block.text}\n{fence}"


def _caption(text: str) -> str:
    return f"*{escape(text)}*" if text.strip() else ""


def _table(table: Table) -> str:
    rules = ["---:" if c.kind in ("number", "interval") else "---" for c in table.columns]
    lines = [
        [escape(column.name) for column in table.columns],
        rules,
        *(list(map(_cell, row, table.columns)) for row in table.rows),
    ]
    hints = [f"- **{escape(c.name)}:** {escape(c.hint)}" for c in table.columns if c.hint]
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    caption = f"**{escape(table.caption)}**" if table.caption.strip() else ""
    return _joined([caption, grid, "\n".join(hints)])


def _cell(cell: Cell, column: Column) -> str:
    if isinstance(cell, Link):
        return _link(cell.text, href(cell.href))
    return escape(cell_text(cell, column.digits))
