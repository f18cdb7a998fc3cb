"""Figures of a run, as PNG files: the same input gives the same bytes, no window is opened.

Every function returns the path it wrote. Names are drawn as they are, long ones shortened.

Shape letters: C = classes, N = vectors that maps were made from, M = those on a map,
R, K = rows and columns of a grid.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle, product
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from protemb.analysis.canvas import (
    COLOURS,
    FONT_SIZE,
    GREY,
    MARKERS,
    canvas,
    legend_below,
    panels,
    score_text,
    shorten,
    text_width,
)
from protemb.analysis.maps import Map
from protemb.intervals import Interval

LISTED = len(COLOURS) * len(MARKERS)
"""Classes that a map tells apart; the rarer ones are 'other'."""

METHODS = {"pca": "PCA", "tsne": "t-SNE"}
CELL = 1.3
"""Inches that an interval needs."""


def confusion_matrix(
    counts_CC: np.ndarray, names: Sequence[str], path: str | PathLike[str]
) -> Path:
    """Draw counts of true (rows) against predicted classes (columns).

    A cell's colour is its share of the true class; each class' recall stands on the right.
    Above 30 classes the counts are left out.

    Args:
        counts_CC: integers.
        names: of the C classes.
        path: PNG to write.
    """
    C, counted = len(names), len(names) <= 30
    shown = [shorten(name, 24) for name in names]
    totals_C1 = counts_CC.sum(1, keepdims=True)
    shares_CC = np.divide(counts_CC, totals_C1, out=np.zeros((C, C)), where=totals_C1 > 0)
    recalls = [f"{shares_CC[c, c]:.2f}" if totals_C1[c] else "none" for c in range(C)]
    cell = max(0.36, 0.14 + text_width(str(counts_CC.max()))) if counted else 14 / C
    side = C * cell + text_width(*shown)
    with canvas(path, side + 2.2, side + 0.6) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares_CC, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares_CC if counted else np.empty((0, 0))):
            _cell_text(axes, row, column, str(counts_CC[row, column]), light=share > 0.5)
        _label_grid(axes, shown, shown, cell)
        axes.set(xlabel="predicted", ylabel="true")
        _right_labels(axes, recalls, cell, title="recall")
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8, aspect=30)
    return Path(path)


def learning_curves(
    history: Sequence[Mapping[str, float]], path: str | PathLike[str], best_epoch: int
) -> Path:
    """Draw a panel per metric with a curve per part, and mark the best epoch.

    Args:
        history: one row per epoch: `epoch`, and values named part/metric, such as `val/loss`.
            Values without a part are not drawn.
        path: PNG to write.
        best_epoch: the epoch that was kept.
    """
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in history:
        for name, value in row.items():
            part, slash, metric = name.partition("/")
            if slash:
                curves.setdefault((metric, part), []).append((row["epoch"], value))
    metrics = sorted({metric for metric, _ in curves}, key=lambda name: (name != "loss", name))
    parts = sorted({part for _, part in curves})
    with panels(path, len(metrics), (3.4, 2.3)) as (figure, grid):
        legend: dict[str, Line2D] = {}
        for axes, metric in zip(grid, metrics, strict=True):
            for part, colour in zip(parts, cycle(COLOURS), strict=False):
                if curve := curves.get((metric, part)):
                    (legend[part],) = axes.plot(*zip(*curve, strict=True), ".-", color=colour)
            legend["best epoch"] = axes.axvline(best_epoch, color=GREY, ls="--", zorder=0)
            axes.set(title=shorten(metric.replace("_", " "), 40), xlabel="epoch")
            axes.set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        legend_below(figure, legend)
    return Path(path)


def map_figure(
    maps: Sequence[tuple[str, Map]], labels_N: np.ndarray, path: str | PathLike[str]
) -> Path:
    """Draw maps side by side, points coloured by label; the 12 most frequent labels are listed.

    Args:
        maps: title and map of each panel.
        labels_N: names for all the vectors that the maps were made from.
        path: PNG to write.
    """
    names, counts = np.unique(labels_N, return_counts=True)
    listed = sorted(names[np.argsort(-counts, kind="stable")[:LISTED]].tolist())
    looks = dict(zip(listed, product(MARKERS, COLOURS), strict=False))
    other = (".", GREY)
    with panels(path, len(maps), (4, 4.3), legend=2.2) as (figure, grid):
        for axes, (title, drawn) in zip(grid, maps, strict=True):
            look_M = [looks.get(label, other) for label in labels_N[drawn.indices_M].tolist()]
            # Shuffled, else the last class would cover the others.
            order_M = np.random.default_rng(0).permutation(len(look_M))
            for shape in (other[0], *MARKERS):
                rows = [row for row in order_M if look_M[row][0] == shape]
                axes.scatter(
                    drawn.points_M2[rows, 0],
                    drawn.points_M2[rows, 1],
                    c=[look_M[row][1] for row in rows],
                    marker=shape,
                    s=16,
                    lw=0,
                    alpha=0.7,
                    rasterized=True,  # thousands of points are heavy as outlines
                )
            axes.set_title(f"{shorten(title, 40)}\n{_map_facts(drawn)}")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
            axes.set_aspect("equal", "datalim")
        if len(names) > len(listed):
            looks[f"other ({len(names) - len(listed)} classes)"] = other
        figure.legend(
            [Line2D([], [], ls="", marker=shape, color=colour) for shape, colour in looks.values()],
            [shorten(name, 28) for name in looks],
            loc="outside right center",
        )
    return Path(path)


def _map_facts(drawn: Map) -> str:
    trust = "undefined" if drawn.trustworthiness is None else f"{drawn.trustworthiness:.3f}"
    return f"{METHODS[drawn.method]}, seed {drawn.seed}, trustworthiness {trust}"


def scores_figure(
    rows: Sequence[tuple[str, Interval]],
    path: str | PathLike[str],
    *,
    ours: Collection[str],
    metric: str,
    chance: float | None = None,
) -> Path:
    """Draw scores with their intervals, best on top, baselines in a colour of their own.

    Args:
        rows: name and score.
        path: PNG to write.
        ours: names that are not baselines. A line marks the best baseline.
        metric: what the score is.
        chance: the score of guessing, where it is known.
    """
    ranked = sorted(rows, key=lambda row: np.nan_to_num(row[1].value, nan=-np.inf))
    names = [shorten(name, 40) for name, _ in ranked]
    legend: dict[str, Line2D] = {}
    with canvas(path, 6 + text_width(*names), 1.2 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        for place, (name, score) in enumerate(ranked):
            kind, colour = ("trained", COLOURS[1]) if name in ours else ("baseline", COLOURS[0])
            axes.plot([score.low, score.high], [place, place], color=colour, lw=2)
            (legend[kind],) = axes.plot(score.value, place, "o", color=colour)
        baselines = [score.value for name, score in ranked if name not in ours]
        if baselines and not math.isnan(baselines[-1]):
            best = axes.axvline(baselines[-1], color=COLOURS[0], ls="--", lw=1.2, zorder=0)
            legend["best baseline"] = best
        if chance is not None:
            legend["chance"] = axes.axvline(chance, color=GREY, ls=":", zorder=0)
        axes.set_yticks(range(len(ranked)), names)
        axes.set(xlabel=metric, ylim=(-0.6, len(ranked) - 0.4))
        axes.tick_params(axis="y", length=0)
        _right_labels(axes, [score_text(score) for _, score in ranked])
        legend_below(figure, legend)
    return Path(path)


def heatmap(
    cells: Mapping[tuple[str, str], Interval | None], path: str | PathLike[str], *, title: str
) -> Path:
    """Draw scores with their intervals on a grid, such as encoder x pooling.

    Args:
        cells: score by (row, column), in the order to show. None is drawn as `failed`, a cell of
            the grid that is not there as `missing`.
        path: PNG to write.
        title: of the figure.
    """
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    row_names = [shorten(name, 40) for name in rows]
    values_RK = np.full((len(rows), len(columns)), np.nan)
    for (row, column), score in cells.items():
        if score is not None:
            values_RK[rows.index(row), columns.index(column)] = score.value
    known = values_RK[~np.isnan(values_RK)]
    scale = Normalize(*(known.min(), known.max()) if known.size else (0, 1))
    width = text_width(*row_names) + CELL * len(columns) + 1.6
    with canvas(path, max(width, text_width(title) + 0.5), 0.6 * len(rows) + 1.3) as figure:
        axes = figure.add_subplot(title=title)
        image = axes.imshow(values_RK, cmap="cividis", norm=scale, aspect="auto")
        for (row, column), value in np.ndenumerate(values_RK):
            cell = (rows[row], columns[column])
            score = cells.get(cell)
            text = score_text(score) if score else "failed" if cell in cells else "missing"
            text = text.replace(" ", "\n", 1)  # the value above its interval
            shown = _cell_text(axes, row, column, text, light=scale(value) < 0.5)
            if math.isnan(value):
                shown.set_backgroundcolor("white")
                corner = (column - 0.5, row - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, fc="white", ec=GREY, hatch="///", lw=0))
        _label_grid(axes, row_names, [shorten(name, 24) for name in columns], CELL)
        figure.colorbar(image, ax=axes, aspect=30)
    return Path(path)


def _cell_text(axes: Axes, row: int, column: int, text: str, *, light: bool) -> Text:
    colour = "white" if light else "black"
    shown = axes.text(column, row, text, ha="center", va="center", color=colour)
    shown.set_in_layout(False)  # it is inside the axes; measuring a thousand of them takes long
    return shown


def _label_grid(axes: Axes, rows: Sequence[str], columns: Sequence[str], cell: float) -> None:
    """Name the rows and columns of an image whose cells are `cell` inches wide; part the cells."""
    size = _font_size(cell)
    axes.set_yticks(range(len(rows)), rows, fontsize=size)
    axes.set_xticks(range(len(columns)), columns, fontsize=size)
    if text_width(*columns) > cell:
        axes.tick_params(axis="x", labelrotation=45)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _right_labels(axes: Axes, labels: Sequence[str], cell: float = 1, title: str = "") -> None:
    """Write a label on the right of each row."""
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(labels)), labels, fontsize=_font_size(cell))
    right.set_ylabel(title)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)


def _font_size(cell: float) -> float:
    """Points of a line that fits into `cell` inches."""
    return min(FONT_SIZE, 0.8 * 72 * cell)
