"""A sheet to draw on that becomes a PNG file: sizes in inches, literal text, safe colours."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from protemb.files import whole_file

# Okabe and Ito (2008), without the two that are faint or heavy on white: colour-blind readers
# can tell them apart. Shapes double their number.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "^")
GREY = "#8C8C8C"

FONT_SIZE = 9
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_SIZE,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.parse_math": False,
}


@contextmanager
def canvas(path: str | PathLike[str], width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of width x height inches; it is written when the block ends well."""
    with (
        matplotlib.style.context(["default", STYLE]),
        warnings.catch_warnings(),
        whole_file(path) as part,
    ):
        # A letter that the font lacks is drawn as a box: visible, and no reason for noise.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.savefig(part, format="png", dpi=150, bbox_inches="tight", pad_inches=0.08)


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


def text_width(*lines: str) -> float:
    """Inches that the longest line takes at the normal size, roughly."""
    return 0.075 * max(map(len, lines))
