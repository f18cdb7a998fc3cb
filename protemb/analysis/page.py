"""A document as one HTML file that asks the network for nothing.

Texts are escaped by the template; what the maps need is JSON in which no tag can end. The page's
own content security policy names the hash of each script, so nothing else in it ever runs.
"""

import itertools
import math
import os
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple
from functools import cache
from hashlib import sha256
from os import PathLike
from pathlib import Path

import jinja2
from markupsafe import Markup

from protemb.analysis.document import (
    Block,
    Cell,
    Column,
    Document,
    Link,
    Picture,
    Scatter,
    Table,
    cell_text,
    cell_value,
    href,
    paragraphs,
)
from protemb.analysis.inline import inline_svg
from protemb.analysis.pagedata import as_json, payload
from protemb.files import write_text
from protemb.intervals import Interval

TEMPLATES = Path(__file__).parent / "templates"
BAR = 56
"""Width of the bar beside an interval, in pixels."""


def write_page(document: Document, path: str | PathLike[str]) -> Path:
    """Write the page; pictures and links are relative to its folder."""
    path = Path(path)
    write_text(path, render(document, base=path.parent))
    return path


def render(document: Document, *, base: Path) -> str:
    """Give the page as text.

    Args:
        document: what to say.
        base: folder that the page will lie in.

    Raises:
        OSError: a picture is not there.
    """
    count = itertools.count(1)
    sections = [
        (section, [_view(block, base, f"picture{next(count)}_") for block in section.blocks])
        for section in document.sections
    ]
    names = ["theme", "page"]
    if any(view["kind"] == "scatter" for _, views in sections for view in views):
        names += ["scatter", "plotly"]
    scripts = {name: _script(name) for name in names}
    return (
        _environment()
        .get_template("page.html")
        .render(
            document=document,
            sections=sections,
            style=Markup(_asset("page.css")),
            scripts={name: Markup(text) for name, text in scripts.items()},
            policy=_policy(scripts.values()),
        )
    )


def _view(block: Block, base: Path, prefix: str) -> dict[str, object]:
    """A block as the template wants it: its kind, itself, and what takes computing."""
    view: dict[str, object] = {"kind": type(block).__name__.lower(), "block": block}
    if isinstance(block, Table):
        scales = [_scale(cells) for cells in zip(*block.rows, strict=True)]
        view["rows"] = [
            [_cell(*cell) for cell in zip(row, block.columns, scales, strict=True)]
            for row in block.rows
        ]
    elif isinstance(block, Picture):
        path = base / block.path
        view["svg"] = Markup(inline_svg(path, alt=block.alt, prefix=prefix))
        view["files"] = {
            name: Path(os.path.relpath(path.with_suffix(f".{name}"), base)).as_posix()
            for name in ("svg", "png")
        }
    elif isinstance(block, Scatter):
        view["data"] = Markup(as_json(payload(block)))
    return view


def _cell(cell: Cell, column: Column, scale: tuple[float, float]) -> dict[str, object]:
    return {
        "text": cell_text(cell, column.digits),
        "value": cell_value(cell),
        "href": cell.href if isinstance(cell, Link) else None,
        "bar": _bar(cell, scale) if isinstance(cell, Interval) else None,
        "number": isinstance(cell, int | float | Interval),
    }


def _scale(cells: Sequence[Cell]) -> tuple[float, float]:
    """The lowest and the highest number that the intervals of a column show."""
    ends = [end for cell in cells if isinstance(cell, Interval) for end in astuple(cell)]
    known = [end for end in ends if math.isfinite(end)]
    return (min(known), max(known)) if known else (0, 0)


def _bar(cell: Interval, scale: tuple[float, float]) -> dict[str, float] | None:
    """Places of an interval on a line of BAR pixels; `zero` where the column has both signs."""
    least, most = scale
    if not all(map(math.isfinite, astuple(cell))) or least == most:
        return None
    ends = asdict(cell) | ({"zero": 0.0} if least < 0 < most else {})
    margin = 4  # so that no dot is cut
    step = (BAR - 2 * margin) / (most - least)
    return {name: round(margin + (end - least) * step, 1) for name, end in ends.items()}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["paragraphs"] = paragraphs
    environment.filters["href"] = href
    return environment


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    if name != "plotly":
        return _asset(f"{name}.js")
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("\r", "")  # a browser would drop it, and with it the hash


def _policy(scripts: Iterable[str]) -> str:
    """No request leaves, and only these scripts run."""
    hashes = (b64encode(sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{hash}'" for hash in hashes)
    # Colours and sizes of pictures stand in style attributes. Saving a map draws it from a blob.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
