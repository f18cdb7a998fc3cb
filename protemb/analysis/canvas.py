"""A sheet to draw on that becomes a PNG or an SVG: sizes in inches, literal text, safe colours."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from protemb.files import whole_file, write_text
from protemb.intervals import Interval

# Okabe and Ito (2008), without the two that are faint or heavy on white: colour-blind readers
# can tell them apart. Shapes double their number.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "^")
GREY = "#8C8C8C"

# What stands on paper, and paper. The eye sees black and white, but no other black and white
# have these values: a page can tell them, in an SVG, from those of a coloured cell's number, which
# must not change with the theme.
INK = "#010002"
PAPER = "#fffffe"

FONT_SIZE = 9
FONT = "'DejaVu Sans'"
# As wide: a reader who lacks the font sees the same layout.
LIKE_IT = "'Bitstream Vera Sans', Verdana, sans-serif"
STYLE = {
    "font.family": FONT.strip("'"),
    "font.size": FONT_SIZE,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.parse_math": False,
}
INKED = {
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    "svg.fonttype": "none",
    "svg.hashsalt": "protemb",
}
SAVED: dict[str, Any] = {"dpi": 150, "bbox_inches": "tight", "pad_inches": 0.08}


@contextmanager
def canvas(path: str | PathLike[str], width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of width x height inches; it is written when the block ends well.

    A path that ends in `.svg` gives that file and a PNG beside it; any other gives a PNG. The
    SVG has no background, its texts are texts, and what is drawn in INK takes the colour of the
    text around it: on a page, the theme's.
    """
    path = Path(path)
    vector = path.suffix == ".svg"
    with (
        matplotlib.style.context(["default", STYLE, INKED if vector else {}]),
        warnings.catch_warnings(),
        whole_file(path.with_suffix(".png") if vector else path) as image,
    ):
        # A letter that the font lacks is drawn as a box: visible, and no reason for noise.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.savefig(image, format="png", **SAVED)
        if vector:
            figure.set_layout_engine("none")  # the places are found; the drawing is the same
            _write_svg(figure, path)


def _write_svg(figure: Figure, path: Path) -> None:
    """The same figure gives the same bytes: no date, and ids from a fixed salt."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with StringIO() as drawing:
        figure.savefig(drawing, format="svg", transparent=True, metadata=nothing, **SAVED)
        svg = drawing.getvalue()
    # Only inside `style`: a label may hold the same letters.
    svg = svg.replace(f": {INK}", ": currentColor").replace(f": {FONT}", f": {FONT}, {LIKE_IT}")
    write_text(path, svg)


@contextmanager
def panels(
    path: str | PathLike[str], count: int, size: tuple[float, float], legend: float = 0
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure of `count` panels of that size, three in a row, with room for a legend."""
    columns = min(3, count)
    rows = math.ceil(count / columns)
    with canvas(path, columns * size[0] + legend, rows * size[1] + 0.3) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for unused in grid[count:]:
            unused.remove()
        yield figure, list(grid[:count])


def legend_below(figure: Figure, entries: Mapping[str, Artist]) -> None:
    """Explain the artists in one line under the figure."""
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=len(entries)
    )


def shorten(name: str, limit: int) -> str:
    """One printable line of at most `limit` characters, cut in the middle: both ends tell most.

    >>> shorten("Influenza A virus of the northern pintail", 20)
    'Influenza …n pintail'
    >>> shorten("line\\nbreak", 20)
    'line break'
    """
    name = "".join(letter if letter.isprintable() else "?" for letter in " ".join(name.split()))
    if len(name) <= limit:
        return name
    tail = (limit - 1) // 2
    return f"{name[: limit - 1 - tail]}…{name[-tail:]}"


def score_text(score: Interval) -> str:
    """A score as figures write it.

    >>> score_text(Interval(0.5, math.nan, math.nan)), score_text(Interval(math.nan, 0, 1))
    ('0.500', 'undefined')
    """
    if math.isnan(score.value):
        return "undefined"
    return f"{score.value:.3f}" if math.isnan(score.low) else str(score)


def text_width(*lines: str) -> float:
    """Inches that the longest line takes at the normal size, roughly."""
    return 0.075 * max(map(len, lines))
