"""Figures of what scores owe to near relatives in the training part, as PNG or SVG files.

Every function returns the path it was given.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from protemb.analysis.canvas import (
    COLOURS,
    GREY,
    MARKERS,
    canvas,
    legend_below,
    shorten,
    text_width,
)
from protemb.analysis.leakage import Band, GapTable
from protemb.intervals import Interval

LINE = 0.17
"""Inches between the intervals of one row."""


def interval_marks(
    axes: Axes, places: Sequence[float], scores: Sequence[Interval], look: tuple[str, str]
) -> Artist:
    """Draw scores upright at their places, with the intervals that they have.

    Args:
        axes: To draw on.
        places: Along the horizontal axis.
        scores: One for each place; what is NaN is not drawn.
        look: Marker and colour.
    """
    axes.vlines(places, [s.low for s in scores], [s.high for s in scores], color=look[1], lw=1.6)
    return axes.plot(places, [s.value for s in scores], look[0], color=look[1], ms=5)[0]


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give each name a marker and a colour; after 12 names they come again."""
    return dict(zip(names, cycle(product(MARKERS, COLOURS)), strict=False))


def gap_figure(table: GapTable, path: str | PathLike[str], *, metric: str) -> Path:
    """Draw a row per model: its scores by split, and beside them what each gives or takes.

    Args:
        table: Of `protemb.analysis.leakage.gap_table`. Models are drawn from the best under the
            reference down.
        path: File to write, `.png` or `.svg`.
        metric: What the score is.
    """
    unknown = Interval(math.nan, math.nan, math.nan)
    scores = {model: table.cells.get((model, table.reference), unknown) for model in table.models}
    # From the bottom up.
    ranked = sorted(table.models, key=lambda model: np.nan_to_num(scores[model].value, nan=-1e9))
    names = [shorten(model, 40) for model in ranked]
    look = looks(table.splits)
    row = LINE * len(table.splits) + 0.18
    height = row * len(ranked) + 1.2
    with canvas(path, 6.6 + text_width(*names), height) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        legend: dict[str, Artist] = {}
        for number, split in enumerate(table.splits):
            # The first split on top.
            shift = ((len(table.splits) - 1) / 2 - number) * LINE / row
            for axes, cells in ((left, table.cells), (right, table.gaps)):
                drawn = [
                    (y + shift, cells[model, split])
                    for y, model in enumerate(ranked)
                    if (model, split) in cells
                ]
                marks = _lying_marks(axes, drawn, look[split])
                legend.setdefault(shorten(split, 28), marks)
        for y, model in enumerate(ranked):
            found = [table.cells[key] for key in table.cells if key[0] == model]
            if all(math.isnan(score.value) for score in found):
                where = left.get_yaxis_transform()  # across: shares of the panel
                left.text(0.5, y, "undefined", transform=where, ha="center", va="center")
        right.axvline(0, color=GREY, ls="--", zorder=0)
        for axes in (left, right):
            for y in range(1, len(ranked)):
                axes.axhline(y - 0.5, color=GREY, lw=0.4, alpha=0.5, zorder=0)
            axes.tick_params(axis="y", length=0)
        left.set_yticks(range(len(ranked)), names)
        left.set(xlabel=metric, ylim=(-0.5, len(ranked) - 0.5))
        right.set(xlabel=f"difference to split={shorten(table.reference, 28)}")
        legend_below(figure, legend)
    return Path(path)


def _lying_marks(
    axes: Axes, drawn: Sequence[tuple[float, Interval]], look: tuple[str, str]
) -> Artist:
    places, scores = [y for y, _ in drawn], [score for _, score in drawn]
    axes.hlines(places, [s.low for s in scores], [s.high for s in scores], color=look[1], lw=1.6)
    return axes.plot([s.value for s in scores], places, look[0], color=look[1], ms=5)[0]


def band_figure(
    bands: Mapping[str, Sequence[Band]], path: str | PathLike[str], *, chance: float | None = None
) -> Path:
    """Draw accuracy by identity to the nearest training sequence, over the numbers of records.

    Bands below the first one with records are left out.

    Args:
        bands: Of each model, by `protemb.analysis.leakage.identity_bands`, for the same test
            records.
        path: File to write, `.png` or `.svg`.
        chance: Accuracy of guessing, where it is known.

    Raises:
        ValueError: No models, or models tested on other records.
    """
    sizes = {
        tuple((band.name, band.records, band.groups) for band in own) for own in bands.values()
    }
    if len(sizes) != 1:
        raise ValueError(f"bands: got {len(sizes)} sets of records, expected one for all models")
    shown = next(iter(bands.values()))
    first = next((place for place, band in enumerate(shown) if band.records), 0)
    shown = shown[first:]
    look = looks(list(bands))
    legend_width = text_width(*(shorten(model, 28) for model in bands)) + 0.5
    width = max(0.75, 0.1 * len(bands) + 0.3) * len(shown) + 1
    with canvas(path, max(width, 3.5) + legend_width, 4) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        legend: dict[str, Artist] = {}
        for number, (model, own) in enumerate(bands.items()):
            shift = (number - (len(bands) - 1) / 2) * 0.8 / len(bands)
            scored = [
                (place + shift, band.accuracy)
                for place, band in enumerate(own[first:])
                if band.accuracy is not None
            ]
            marks = interval_marks(
                above, [place for place, _ in scored], [score for _, score in scored], look[model]
            )
            legend[shorten(model, 28)] = marks
        if chance is not None:
            legend["chance"] = above.axhline(chance, color=GREY, ls=":", zorder=0)
        above.set(ylabel="accuracy")
        places = range(len(shown))
        bars = below.bar(places, [band.records for band in shown], 0.7, color=GREY)
        counts = [f"{band.records:,}\n({band.groups:,})" for band in shown]
        below.bar_label(bars, counts, fontsize=8)
        below.set_xticks(places, [band.name.replace(" to ", "\nto ") for band in shown])
        below.set(ylabel="records\n(groups)", xlabel="identity to the nearest training sequence")
        below.margins(y=0.55)
        below.set_yticks([])
        for axes in (above, below):
            axes.tick_params(axis="x", length=0)
            for place in range(1, len(shown)):
                axes.axvline(place - 0.5, color=GREY, lw=0.4, alpha=0.5, zorder=0)
        figure.legend(list(legend.values()), list(legend), loc="outside right upper")
    return Path(path)
