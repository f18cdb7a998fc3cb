"""Heatmap of a grid of cells: what each adds to a baseline, as a PNG or SVG file.

Shape letters: R, K = rows and columns of the grid.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from protemb.analysis.canvas import FONT_SIZE, GREY, INK, canvas, shorten, text_width
from protemb.intervals import Interval

WIDTH, HEIGHT = 1.12, 0.36
"""Inches of a cell."""
SMALL = 6.8
"""Points of an interval."""
BETWEEN = " · "
"""Parts the group of a row, such as its encoder, from the rest of its name."""


@dataclass(frozen=True)
class CellScore:
    """One cell of a grid.

    Attributes:
        difference: of its score to the baseline's.
        score: of the cell itself.
        marked: whether the difference's corrected interval excludes 0.
    """

    difference: Interval
    score: float
    marked: bool


def cell_heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], CellScore],
    path: str | PathLike[str],
    *,
    title: str,
    baseline: float,
    metric: str = "r",
) -> Path:
    """Draw what each cell adds to the baseline, with its interval below.

    White is the baseline, purple better, orange worse. A frame marks cells whose corrected
    interval excludes 0. The best score of each row stands on the right. Hatched cells have no
    result, or one that is undefined.

    Args:
        rows: names from the top down, such as `unirep64 · states · position`; rows that follow
            each other and begin alike up to the first ` · ` are one group, named once.
        columns: names from the left.
        cells: by row and column.
        path: file to write, `.png` or `.svg`.
        title: of the figure.
        baseline: the score that differences are to.
        metric: what the scores are.

    Raises:
        ValueError: no rows or columns, or names that come twice.
    """
    for name, given in (("rows", rows), ("columns", columns)):
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{name}: got {list(given)}, expected names, each once")
    groups, names = _split(rows)
    column_names = [shorten(name, 24) for name in columns]
    left = text_width(*names) + (text_width(*groups) * 1.1 + 0.15 if any(groups) else 0)
    width = max(left + WIDTH * len(columns) + 2.2, text_width(shorten(title, 90)) * 1.1)
    slanted = text_width(*column_names) > WIDTH
    height = HEIGHT * len(rows) + 1.5 + slanted * 0.5 * text_width(*column_names)
    with canvas(path, width, height) as figure:
        axes = figure.add_subplot()
        figure.suptitle(shorten(title, 90), fontsize=10)
        scale, colours = _scale(cells), colormaps["PuOr"]
        values_RK = np.full((len(rows), len(columns)), np.nan)
        for (row, column), _ in np.ndenumerate(values_RK):
            cell = cells.get((rows[row], columns[column]))
            values_RK[row, column] = math.nan if cell is None else cell.difference.value
            _draw_cell(axes, row, column, cell, scale, colours)
        image = axes.imshow(values_RK, cmap=colours, norm=scale, aspect="auto")
        _label(axes, names, column_names, slanted)
        _name_groups(figure, axes, groups)
        best = [max(_scores(cells, row, columns), default=math.nan) for row in rows]
        _best_labels(axes, best, metric)
        label = f"difference of {metric} to the baseline ({baseline:.3f})"
        figure.colorbar(image, ax=axes, aspect=30, shrink=min(1, 8 / len(rows)), label=label)
        _explain(figure, cells, bool(np.isnan(values_RK).any()))
    return Path(path)


def _split(rows: Sequence[str]) -> tuple[list[str], list[str]]:
    """Groups and the rest of the names; without groups where a row names none."""
    parts = [row.partition(BETWEEN) for row in rows]
    if not all(between for _, between, _ in parts):
        return [""] * len(rows), [shorten(row, 40) for row in rows]
    return [shorten(group, 24) for group, *_ in parts], [shorten(rest, 40) for *_, rest in parts]


def _scale(cells: Mapping[tuple[str, str], CellScore]) -> Normalize:
    """As far up as down: the middle of the colours is the baseline."""
    sizes = (abs(cell.difference.value) for cell in cells.values())
    most = max((size for size in sizes if math.isfinite(size)), default=0) or 0.1
    return Normalize(-most, most)


def _draw_cell(
    axes: Axes, row: int, column: int, cell: CellScore | None, scale: Normalize, colours: Colormap
) -> None:
    corner = (column - 0.5, row - 0.5)
    if cell is None or math.isnan(cell.difference.value):
        axes.add_patch(Rectangle(corner, 1, 1, fc="white", ec=GREY, hatch="///", lw=0))
        if cell is not None:
            _write(axes, column, row, "undefined", FONT_SIZE, "black").set_bbox(
                {"facecolor": "white", "lw": 0, "pad": 1}
            )
        return
    difference = cell.difference
    red, green, blue = to_rgb(colours(float(scale(difference.value))))
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
    bounded = not math.isnan(difference.low)
    value = _write(axes, column, row - 0.17 * bounded, _signed(difference.value), FONT_SIZE, ink)
    if bounded:
        ends = f"[{_signed(difference.low)}, {_signed(difference.high)}]"
        _write(axes, column, row + 0.24, ends, SMALL, ink)
    if cell.marked:
        value.set_fontweight("bold")
        inner = (column - 0.46, row - 0.43)
        axes.add_patch(Rectangle(inner, 0.92, 0.86, fill=False, ec=ink, lw=1.8))


def _write(axes: Axes, x: float, y: float, text: str, size: float, colour: str):
    shown = axes.text(x, y, text, ha="center", va="center", fontsize=size, color=colour)
    shown.set_in_layout(False)  # it is inside the axes; measuring hundreds of them takes long
    return shown


def _signed(number: float) -> str:
    return f"{number:+z.3f}".replace("-", "−")  # as on an axis


def _label(axes: Axes, rows: Sequence[str], columns: Sequence[str], slanted: bool) -> None:
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns)
    axes.tick_params(which="both", length=0)
    if slanted:
        axes.tick_params(axis="x", labelrotation=30)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white")
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)


def _name_groups(figure: Figure, axes: Axes, groups: Sequence[str]) -> None:
    """Write each group's name on the left of the rows' names, and part the groups."""
    pixels = max(label.get_window_extent().width for label in axes.get_yticklabels())
    points = 72 * pixels / figure.dpi
    first = 0
    for group, members in groupby(groups):
        last = first + len(list(members)) - 1
        if first:
            axes.axhline(first - 0.5, color=INK, lw=1.2)
        axes.annotate(
            group,
            (0, (first + last) / 2),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-points - 14, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            weight="bold",
        )
        first = last + 1


def _scores(
    cells: Mapping[tuple[str, str], CellScore], row: str, columns: Sequence[str]
) -> list[float]:
    found = (cells[row, column].score for column in columns if (row, column) in cells)
    return [score for score in found if not math.isnan(score)]


def _best_labels(axes: Axes, best: Sequence[float], metric: str) -> None:
    right = axes.secondary_yaxis("right")
    texts = ["none" if math.isnan(score) else f"{score:z.3f}".replace("-", "−") for score in best]
    right.set_yticks(range(len(best)), texts)
    right.set_ylabel(f"best {metric} of the row")
    right.tick_params(length=0)
    right.spines[:].set_visible(False)


def _explain(figure: Figure, cells: Mapping[tuple[str, str], CellScore], unknown: bool) -> None:
    entries: dict[str, Artist] = {}
    if any(cell.marked for cell in cells.values()):
        frame = Patch(fill=False, ec=INK, lw=1.8)
        entries["framed: the corrected interval excludes 0"] = frame
    if unknown:
        entries["no result"] = Patch(fc="white", ec=GREY, hatch="///", lw=0)
    if entries:
        names, marks = list(entries), list(entries.values())
        figure.legend(marks, names, loc="outside lower left", ncols=len(names))
