"""Figure of scores by level and pooling, model by model."""

from collections.abc import Mapping
from itertools import cycle
from os import PathLike
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from protemb.analysis.canvas import (
    COLOURS,
    GREY,
    canvas,
    legend_below,
    score_text,
    shorten,
    text_width,
)
from protemb.analysis.levels import CLASSIFIER_INPUT
from protemb.intervals import Interval

LEVELS = ("states", "table", CLASSIFIER_INPUT)


def level_figure(
    rows: Mapping[str, Mapping[str, Interval]],
    path: str | PathLike[str],
    *,
    metric: str,
    chance: float | None,
) -> Path:
    """Draw a dot and an interval for each `level/pooling` of each model; a level has a colour.

    Args:
        rows: score by model and name, such as `states/mean`, in the order to show, one at least.
            A score that is NaN is written as `undefined`.
        path: PNG or SVG to write.
        metric: what the scores are.
        chance: the score of guessing; None for no line.
    """
    # A model's name stands in a line of its own above its scores.
    lines: list[tuple[str, Interval | None]] = []
    for model, scores in rows.items():
        lines += [(shorten(model, 40), None), *scores.items()]
    names = [shorten(name, 40) for name, _ in lines]
    levels = dict.fromkeys(LEVELS)  # first, so that they keep their colours
    levels |= dict.fromkeys(_level(name) for name, score in lines if score is not None)
    colours = dict(zip(levels, cycle(COLOURS), strict=False))
    legend: dict[str, Line2D] = {}
    with canvas(path, 5.6 + text_width(*names), 1.1 + 0.25 * len(lines)) as figure:
        axes = figure.add_subplot()
        for place, (name, score) in enumerate(lines):
            if score is not None:
                colour = colours[_level(name)]
                axes.plot([score.low, score.high], [place, place], color=colour, lw=2)
                (legend[_level(name)],) = axes.plot(score.value, place, "o", color=colour)
            elif place:
                axes.axhline(place - 0.5, color=GREY, lw=0.6)
        if chance is not None:
            legend["chance"] = axes.axvline(chance, color=GREY, ls=":", zorder=0)
        axes.set_yticks(range(len(lines)), names)
        for label, (_, score) in zip(axes.get_yticklabels(), lines, strict=True):
            label.set_fontweight("normal" if score is not None else "bold")
        axes.set(xlabel=metric, ylim=(len(lines) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        _write_scores(axes, lines)
        legend_below(figure, {shorten(name, 24): mark for name, mark in legend.items()})
    return Path(path)


def _level(name: str) -> str:
    return name.partition("/")[0]


def _write_scores(axes: Axes, lines: list[tuple[str, Interval | None]]) -> None:
    """Write each score on the right of its row."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(
        range(len(lines)), ["" if score is None else score_text(score) for _, score in lines]
    )
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
