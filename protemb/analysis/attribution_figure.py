"""The figure of attributions along a protein: a profile per class, above it the named regions.

Shape letters: C = classes, P = columns.
"""

from collections.abc import Mapping
from itertools import cycle
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from protemb.analysis.attribution_summary import ClassProfile
from protemb.analysis.canvas import (
    COLOURS,
    FONT_SIZE,
    GREY,
    canvas,
    legend_below,
    shorten,
    text_width,
)

WIDTH = 8.5
"""Inches of the chain."""
ROW, LANE = 0.85, 0.22
"""Inches of a class, and of one lane of regions."""
PALE = "#DDDDDD"


def attribution_figure(
    profile: ClassProfile,
    path: str | PathLike[str],
    *,
    title: str,
    regions: Mapping[str, tuple[int, int]] | None = None,
    top: int = 3,
) -> Path:
    """Draw the mean attributions of each class along the columns.

    The pale area is the mean absolute value (what matters), the bars are the mean value (what
    speaks for the class, upwards, and against it). All classes have one scale. Columns where no
    record has a residue are left empty.

    Args:
        profile: of the classes.
        path: file to write.
        title: of the figure.
        regions: first and last position of parts of the protein, 1-based, by name; they may
            overlap.
        top: positions of each class that are named, those with the largest absolute value,
            without near neighbours of larger ones.
    """
    regions = regions or {}
    names = [shorten(name, 20) for name in profile.labels]
    C, P = profile.signed_CP.shape
    lanes = _lanes(regions, P)
    heights = [LANE * (1 + max(lanes, default=-0.9)), *[ROW] * C]
    width = WIDTH + text_width(*names) + 0.9
    with canvas(path, max(width, text_width(title)), sum(heights) + 1.2) as figure:
        grid = figure.subplots(C + 1, 1, sharex=True, height_ratios=heights)
        _draw_regions(grid[0], regions, lanes)
        grid[0].set(title=shorten(title, 90), xlim=(0.5, P + 0.5))
        limits = _limits(profile)
        for axes, name, row in zip(grid[1:], names, range(C), strict=True):
            absolute_P, signed_P = profile.absolute_CP[row], profile.signed_CP[row]
            _draw_class(axes, absolute_P, signed_P)
            _name_peaks(axes, absolute_P, top)
            counted = f"{name}\nn = {profile.counts_CP[row].max(initial=0):,}"
            axes.set_ylabel(counted, rotation=0, ha="right", va="center")
            axes.set_ylim(*limits)
            axes.locator_params(axis="y", nbins=3)
            _mark_regions(axes, regions)
        grid[-1].set_xlabel("position")
        legend_below(
            figure,
            {
                "mean absolute attribution": Patch(color=PALE),
                "for the class": Patch(color=COLOURS[0]),
                "against it": Patch(color=COLOURS[1]),
            },
        )
    return Path(path)


def peaks(absolute_P: np.ndarray, count: int, apart: int) -> list[int]:
    """Return 0-based columns of the largest values, largest first, none within `apart` of another.

    Values below a fifth of the largest are no peaks.

    >>> peaks(np.array([0.0, 5, 9, 8, 0, 0, 3, np.nan]), 3, 2)
    [2, 6]
    """
    found: list[int] = []
    least = np.nanmax(absolute_P, initial=0) / 5
    for column in np.argsort(-np.nan_to_num(absolute_P), kind="stable").tolist():
        if len(found) == count or not absolute_P[column] > least:
            break
        if all(abs(column - other) > apart for other in found):
            found.append(column)
    return found


def _lanes(regions: Mapping[str, tuple[int, int]], length: int) -> list[int]:
    """The lowest lane in which each region and its name touch no other one's."""
    ends: list[float] = []
    lanes = {}
    for name, (first, last) in sorted(regions.items(), key=lambda item: item[1]):
        middle, half = (first + last) / 2, text_width(name) / 2 * length / WIDTH
        start, stop = min(first, middle - half), max(last, middle + half)
        lane = next((i for i, end in enumerate(ends) if end < start), len(ends))
        ends[lane : lane + 1] = [stop]
        lanes[name] = lane
    return [lanes[name] for name in regions]


def _draw_regions(axes: Axes, regions: Mapping[str, tuple[int, int]], lanes: list[int]) -> None:
    axes.axis("off")
    axes.set_ylim(0, 1 + max(lanes, default=0))
    places = zip(regions.items(), lanes, cycle(COLOURS[2:]), strict=False)
    for (name, (first, last)), lane, colour in places:
        gap = min(1.5, (last - first) / 4)  # so that neighbours stay apart
        size = (last - first + 1 - gap, 0.9)
        start = first - 0.5 + gap / 2
        axes.add_patch(Rectangle((start, lane + 0.05), *size, fc=colour, alpha=0.35, lw=0))
        axes.text((first + last) / 2, lane + 0.5, name, ha="center", va="center")


def _mark_regions(axes: Axes, regions: Mapping[str, tuple[int, int]]) -> None:
    borders = {edge for first, last in regions.values() for edge in (first - 0.5, last + 0.5)}
    for border in sorted(borders):
        axes.axvline(border, color=GREY, lw=0.5, ls=":", zorder=0)


def _draw_class(axes: Axes, absolute_P: np.ndarray, signed_P: np.ndarray) -> None:
    position_P = np.arange(1, len(signed_P) + 1)
    for colour, part_P in (
        (PALE, absolute_P),
        (COLOURS[0], signed_P.clip(min=0)),
        (COLOURS[1], signed_P.clip(max=0)),
    ):
        # As outlines, a chain of 500 residues would make an SVG of a megabyte.
        axes.fill_between(position_P, part_P, step="mid", color=colour, lw=0, rasterized=True)
    axes.axhline(0, color=GREY, lw=0.6)
    axes.tick_params(axis="x", length=2)


def _name_peaks(axes: Axes, absolute_P: np.ndarray, top: int) -> None:
    apart = round(text_width("0000") * len(absolute_P) / WIDTH)
    for column in peaks(absolute_P, top, apart):
        axes.annotate(
            str(column + 1),
            (column + 1, absolute_P[column]),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=FONT_SIZE - 1,
        )


def _limits(profile: ClassProfile) -> tuple[float, float]:
    """One scale for all classes, with room for the numbers above the peaks."""
    highest = np.nanmax(profile.absolute_CP, initial=0)
    lowest = np.nanmin(profile.signed_CP, initial=0)
    reach = (highest - lowest) or 1.0
    return float(lowest - 0.05 * reach), float(highest + 0.3 * reach)
