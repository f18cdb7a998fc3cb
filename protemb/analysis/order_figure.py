"""Figures of order probes: how far vectors move with the residues, and what a score loses by it."""

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from protemb.analysis.canvas import (
    COLOURS,
    FONT_SIZE,
    GREY,
    canvas,
    legend_below,
    shorten,
    text_width,
)
from protemb.analysis.order import Movement, OrderProbe
from protemb.analysis.shuffle_drop import ShuffleDrop
from protemb.intervals import Interval

TITLES = {
    "substitution": "one residue\nreplaced",
    "rotation": "rotated",
    "segments": "two segments\nswapped",
    "reversal": "reversed",
    "dipeptides": "shuffled,\nneighbour pairs kept",
    "residues": "shuffled",
}
DISTANCE = "distance moved, in typical distances between two proteins"
MOVED, STILL = COLOURS[0], COLOURS[1]
STRIP = 10
"""The strip for 0 is as wide as from 1 to this number."""


def order_figure(rows: Mapping[str, OrderProbe], path: str | PathLike[str]) -> Path:
    """Draw how far each kind of vector moves, a column for each change of the sequences.

    The axis is logarithmic, with a strip for 0 on its left: a square there is a vector that did not
    move at all. The line at 1 is the typical distance between two proteins. Where all proteins have
    the same vector there is no such distance: `no scale`.

    Args:
        rows: probe by name, such as `lstm states/mean`, in the order to show, one at least.
        path: PNG or SVG to write.
    """
    names = [shorten(name, 40) for name in rows]
    low, high = _limits(rows)
    legend: dict[str, Line2D] = {}
    with canvas(
        path, 1.6 * len(TITLES) + text_width(*names) + 0.3, 1.5 + 0.25 * len(rows)
    ) as sheet:
        panels = sheet.subplots(1, len(TITLES), sharey=True)
        for axes, (change, title) in zip(panels, TITLES.items(), strict=True):
            _log_axis(axes, low, high)
            for place, probe in enumerate(rows.values()):
                legend |= _draw_movement(axes, place, probe.movements[change], low)
            legend["typical distance between two proteins"] = axes.axvline(
                1, color=GREY, ls=":", zorder=0
            )
            axes.set_title(title)
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        sheet.supxlabel(
            "distance moved, in typical distances between two proteins", fontsize=FONT_SIZE
        )
        # Not below, where the label of the axes is.
        marks, words = list(legend.values()), list(legend)
        sheet.legend(marks, words, loc="outside upper center", ncols=len(legend))
    return Path(path)


def _draw_movement(axes: Axes, place: int, moves: Movement, low: float) -> dict[str, Line2D]:
    """Draw one cell; return what the legend has to explain."""
    score, zero = moves.distance, low / STRIP**0.5
    if moves.unchanged:
        (mark,) = axes.plot(zero, place, "s", color=STILL, ms=7)
        return {"did not move at all": mark}
    if math.isnan(score.value):
        word = "moves, no scale" if moves.sequences else "cannot change"
        axes.text(low * 1.3, place, word, va="center", color=GREY, style="italic")
        return {}
    # A share of the sequences can stand still: the interval may reach into the strip.
    axes.plot(np.maximum([score.low, score.high], zero), [place, place], color=MOVED, lw=2)
    (mark,) = axes.plot(max(score.value, zero), place, "o", color=MOVED)
    return {"moved (mean and interval)": mark}


def _limits(rows: Mapping[str, OrderProbe]) -> tuple[float, float]:
    """Ends of the logarithmic part: whole decades around all that moved."""
    moved = [
        moves.distance.value
        for probe in rows.values()
        for moves in probe.movements.values()
        if moves.distance.value > 0
    ]
    low = 10.0 ** math.floor(math.log10(min(moved, default=0.1)))
    return min(low, 0.1), max(3.0, 1.5 * max(moved, default=1))


def _log_axis(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low / STRIP, high)
    axes.axvspan(low / STRIP, low, color=GREY, alpha=0.15, lw=0)
    decades = range(math.floor(math.log10(high)), round(math.log10(low)) - 1, -1)
    shown = [10.0**decade for decade in decades][:: 1 if len(decades) < 3 else 2]
    axes.set_xticks([low / STRIP**0.5, *shown], ["0", *(f"{tick:g}" for tick in shown)])
    axes.minorticks_off()


def drop_figure(
    rows: Mapping[str, Mapping[str, ShuffleDrop]],
    path: str | PathLike[str],
    *,
    metric: str,
    chance: float | None = None,
) -> Path:
    """Draw each model's score on sequences as they are and on changed ones; the loss is written.

    Args:
        rows: drops by model and kind, in the order to show, one at least.
        path: PNG or SVG to write.
        metric: what the scores are.
        chance: the score of guessing; None for no line.
    """
    lines: list[tuple[str, Interval | None, str, str]] = []
    for model, drops in rows.items():
        lines.append((shorten(model, 40), None, "", ""))
        lines += [("as they are", drop.intact, STILL, "") for drop in [*drops.values()][:1]]
        for kind, drop in drops.items():
            words = TITLES[kind].replace("\n", " ")
            lines.append((words, drop.shuffled, MOVED, f"loses {_text(drop.drop)}"))
    names = [name for name, *_ in lines]
    legend: dict[str, Line2D] = {}
    with canvas(path, 6.4 + text_width(*names), 1.1 + 0.25 * len(lines)) as figure:
        axes = figure.add_subplot()
        for place, (_, score, colour, _) in enumerate(lines):
            if score is not None:
                axes.plot([score.low, score.high], [place, place], color=colour, lw=2)
                (mark,) = axes.plot(score.value, place, "o", color=colour)
                legend["intact sequences" if colour == STILL else "changed sequences"] = mark
            elif place:
                axes.axhline(place - 0.5, color=GREY, lw=0.6)
        if chance is not None:
            legend["chance"] = axes.axvline(chance, color=GREY, ls=":", zorder=0)
        axes.set_yticks(range(len(lines)), names)
        for label, (_, score, *_) in zip(axes.get_yticklabels(), lines, strict=True):
            label.set_fontweight("bold" if score is None else "normal")
        axes.set(xlabel=metric, ylim=(len(lines) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(lines)), [loss for *_, loss in lines])
        right.tick_params(length=0)
        right.spines[:].set_visible(False)
        legend_below(figure, legend)
    return Path(path)


def _text(score: Interval) -> str:
    if math.isnan(score.value):
        return "undefined"
    return f"{score.value:.3f}" if math.isnan(score.low) else str(score)
