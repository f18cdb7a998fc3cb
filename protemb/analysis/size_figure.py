"""Figures of scores over the size of the training part and of the network, as PNG or SVG files.

Every function returns the path it was given.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from protemb.analysis.canvas import GREY, canvas, shorten, text_width
from protemb.analysis.leakage_figure import interval_marks, looks
from protemb.analysis.sizes import CapacityRow, SizeCurves

WIDTH = 4.2
"""Inches from the smallest to the largest size, about."""


def size_figure(
    sizes: SizeCurves, path: str | PathLike[str], *, metric: str, chance: float | None = None
) -> Path:
    """Draw a curve per model over the number of training records.

    Models stand a little side by side, so that their intervals can be told apart.

    Args:
        sizes: Of `protemb.analysis.sizes.size_curve`.
        path: File to write, `.png` or `.svg`.
        metric: What the score is.
        chance: The score of guessing, where it is known.

    Raises:
        ValueError: No curves.
    """
    if not sizes.curves:
        raise ValueError("curves: got none, expected one or more")
    look = looks(list(sizes.curves))
    legend: dict[str, Artist] = {}
    with canvas(path, WIDTH + 1 + _legend_width(list(sizes.curves)), 3.6) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log", base=2)
        for number, (model, curve) in enumerate(sizes.curves.items()):
            shift = 2 ** (0.05 * (number - (len(sizes.curves) - 1) / 2))
            places = [shift * point.train_records for point in curve.points]
            scores = [point.score for point in curve.points]
            axes.plot(places, [score.value for score in scores], color=look[model][1], lw=1)
            legend[shorten(model, 28)] = interval_marks(axes, places, scores, look[model])
        if chance is not None:
            legend["chance"] = axes.axhline(chance, color=GREY, ls=":", zorder=0)
        records = {point.train_records for own in sizes.curves.values() for point in own.points}
        _name_sizes(axes, sorted(records))
        axes.set(xlabel="training records", ylabel=metric)
        figure.legend(list(legend.values()), list(legend), loc="outside right upper")
    return Path(path)


def capacity_figure(rows: Sequence[CapacityRow], path: str | PathLike[str], *, metric: str) -> Path:
    """Draw each model's score over its number of parameters.

    Args:
        rows: Of `protemb.analysis.sizes.capacity_table`.
        path: File to write, `.png` or `.svg`.
        metric: What the score is.

    Raises:
        ValueError: No rows.
    """
    if not rows:
        raise ValueError("rows: got none, expected one or more")
    look = looks([row.model for row in rows])
    legend: dict[str, Artist] = {}
    with canvas(path, WIDTH + 1 + _legend_width([row.model for row in rows]), 3.6) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        for row in rows:
            marks = interval_marks(axes, [row.parameters], [row.score], look[row.model])
            legend[shorten(row.model, 28)] = marks
        _name_sizes(axes, sorted({row.parameters for row in rows}))
        axes.set(xlabel="trained parameters", ylabel=metric)
        figure.legend(list(legend.values()), list(legend), loc="outside right upper")
    return Path(path)


def _legend_width(names: Sequence[str]) -> float:
    return text_width(*(shorten(name, 28) for name in names)) + 0.5


def _name_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    """Put ticks at the sizes themselves, but for those too close to the one before."""
    span = np.log(max(sizes[-1] / sizes[0], 2))
    named = [sizes[0]]
    for size in sizes[1:]:
        inches = WIDTH * np.log(size / named[-1]) / span
        if inches > (text_width(f"{named[-1]:,}") + text_width(f"{size:,}")) / 2 + 0.1:
            named.append(size)
    axes.xaxis.set_major_locator(FixedLocator(named))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    # Room at both sides, also around a single size.
    room = np.exp(0.08 * span)
    axes.set_xlim(sizes[0] / room, sizes[-1] * room)
