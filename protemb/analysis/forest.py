"""Forest plot of paired differences, as a PNG or SVG file."""

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from protemb.analysis.canvas import (
    COLOURS,
    GREY,
    canvas,
    legend_below,
    shorten,
    text_width,
)
from protemb.intervals import Interval

ROW = 0.28
"""Inches between two rows."""

LOOKS = {
    "above": ("o", COLOURS[0]),
    "below": ("s", COLOURS[1]),
    "equivalent": ("D", COLOURS[2]),
    "unclear": ("o", GREY),
}
"""Marker and colour of each outcome of a comparison."""


def forest(
    rows: Sequence[tuple[str, Interval, str]],
    path: str | PathLike[str],
    *,
    margin: float,
    metric: str,
) -> Path:
    """Draw differences with their intervals, the first row on top.

    The band of differences that do not matter is shaded, a line marks zero, the numbers stand on
    the right. An undefined difference has a row without a mark.

    Args:
        rows: What was compared, its difference and its outcome (a key of `LOOKS`).
        path: File to write, `.png` or `.svg`.
        margin: Differences up to this size do not matter.
        metric: What the differences are of.

    Raises:
        ValueError: No rows.
    """
    if not rows:
        raise ValueError("rows: got none, expected one or more")
    names = [shorten(name, 64) for name, _, _ in rows]
    texts = [_text(difference) for _, difference, _ in rows]
    width = 4 + text_width(*names) + text_width(*texts)
    with canvas(path, width, 1.3 + ROW * len(rows)) as figure:
        axes = figure.add_subplot()
        legend: dict[str, Artist] = {}
        if margin > 0:
            label = f"within ±{margin:g}"
            legend[label] = axes.axvspan(-margin, margin, color=GREY, alpha=0.2, lw=0)
        axes.axvline(0, color=GREY, lw=1.2, zorder=0.5)
        legend |= _draw(axes, rows)
        axes.set_yticks(range(len(rows)), names)
        axes.set(xlabel=f"difference of {metric}", ylim=(len(rows) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), texts)
        right.tick_params(length=0)
        right.spines[:].set_visible(False)
        legend_below(figure, legend)
    return Path(path)


def _draw(axes: Axes, rows: Sequence[tuple[str, Interval, str]]) -> dict[str, Artist]:
    """Draw the intervals; return a mark of each outcome there is, in the order of `LOOKS`."""
    marks: dict[str, Artist] = {}
    for place, (_, difference, outcome) in enumerate(rows):
        if math.isnan(difference.value):
            continue
        shape, colour = LOOKS[outcome]
        axes.plot([difference.low, difference.high], [place, place], color=colour, lw=2)
        (marks[outcome],) = axes.plot(difference.value, place, shape, color=colour, ms=5)
    return {outcome: marks[outcome] for outcome in LOOKS if outcome in marks}


def _text(difference: Interval) -> str:
    if math.isnan(difference.value):
        return "undefined"
    ends = (
        "" if math.isnan(difference.low) else f" [{difference.low:+z.3f}, {difference.high:+z.3f}]"
    )
    return f"{difference.value:+z.3f}{ends}".replace("-", "−")  # as on the axis
