"""Figures of predicted effects of variants, as PNG or SVG files.

Every function returns the path it was given. Names are drawn as they are, long ones shortened.

Shape letters: N = variants, L = residues of a protein, A = the 20 residues, F = folds.
"""

import math
from collections.abc import Sequence
from itertools import pairwise, product
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from protemb.analysis.canvas import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    canvas,
    legend_below,
    shorten,
    text_width,
)
from protemb.sequences.amino_acids import CLASSES, RESIDUES

LOOKS = tuple(product(MARKERS, COLOURS))
"""Marker and colour of each protein that is named."""
CELL, PANEL = 0.115, 80
"""Inches of a substitution in a scan, and positions of a panel, at most."""
ORDER = "".join(CLASSES.values())
"""Residues by property."""


def measured_figure(
    measured_N: np.ndarray,
    predicted_N: np.ndarray,
    proteins_N: np.ndarray,
    path: str | PathLike[str],
    *,
    title: str,
    unit: str,
    named: int = 6,
) -> Path:
    """Draw predicted against measured values, the proteins with most rows in colour.

    Args:
        measured_N: rows with a NaN here or in the predictions are left out, and counted.
        predicted_N: by models that did not see the row.
        proteins_N: protein of each row.
        path: file to write, `.png` or `.svg`.
        title: of the figure.
        unit: of both axes.
        named: proteins in colour, at most 12.
    """
    known_N = np.isfinite(measured_N) & np.isfinite(predicted_N)
    x, y, names_N = measured_N[known_N], predicted_N[known_N], np.asarray(proteins_N)[known_N]
    names, counts = np.unique(names_N, return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")[: min(named, len(LOOKS))]].tolist()
    legend: dict[str, Artist] = {}
    with canvas(path, 4.6 + 2.6, 4.4) as figure:
        axes = figure.add_subplot()
        axes.set_title(shorten(title, 48))
        groups = [(name, names_N == name, look) for name, look in zip(largest, LOOKS, strict=False)]
        others_N = ~np.isin(names_N, largest)
        rest = f"{len(names) - len(largest)} others"
        for name, rows_N, (shape, colour) in [*groups, (rest, others_N, (".", GREY))]:
            if rows_N.any():
                zorder = 1 if colour == GREY else 2
                own = axes.scatter(
                    x[rows_N], y[rows_N], c=colour, marker=shape, s=14, lw=0, alpha=0.7,
                    zorder=zorder, rasterized=True,  # thousands of points are heavy as outlines
                )  # fmt: skip
                legend[f"{shorten(str(name), 20)} ({rows_N.sum():,})"] = own
        axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # where the points are
        line = axes.axline((0, 0), slope=1, color=GREY, ls="--", lw=1.2, zorder=0)
        legend["predicted = measured"] = line
        axes.set(xlabel=f"measured ({unit})", ylabel=f"predicted ({unit})")
        missing = "" if known_N.all() else f"\nleft out: {(~known_N).sum():,}"
        axes.text(0.03, 0.97, _fit(x, y) + missing, transform=axes.transAxes, va="top")
        figure.legend(list(legend.values()), list(legend), loc="outside right upper")
    return Path(path)


def _fit(x: np.ndarray, y: np.ndarray) -> str:
    defined = len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
    r = f"{np.corrcoef(x, y)[0, 1]:z.3f}".replace("-", "−") if defined else "undefined"
    rmse = f"{np.sqrt(np.mean((x - y) ** 2)):.3f}" if len(x) else "undefined"
    return f"r = {r}\nRMSE = {rmse}\n{len(x):,} rows"


def protein_scores_figure(
    rows: Sequence[tuple[str, int, float, float]],
    path: str | PathLike[str],
    *,
    title: str,
    metric: str = "Pearson r",
) -> Path:
    """Draw each protein's score, the best on top, with the baseline's beside it.

    A dot's area grows with the rows of the protein. Lines mark the means over the proteins that
    have a score. An undefined score has no dot; proteins without one stand at the bottom.

    Args:
        rows: protein, number of rows, score of the model and of the baseline.
        path: file to write, `.png` or `.svg`.
        title: of the figure.
        metric: what the scores are.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("rows: got none, expected one or more")
    ranked = sorted(rows, key=lambda row: -np.nan_to_num(row[2], nan=-np.inf))
    names = [shorten(name, 28) for name, *_ in ranked]
    counts, scores, baselines = (np.array([row[i] for row in ranked], float) for i in (1, 2, 3))
    places, areas = np.arange(len(ranked)), 8 + 90 * counts / counts.max()
    with canvas(path, 5.6 + text_width(*names), 1.5 + 0.19 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.set_title(shorten(title, 80))
        axes.hlines(places, baselines, scores, color=GREY, lw=0.8, zorder=1)
        own = axes.scatter(scores, places, s=areas, color=COLOURS[0], lw=0, alpha=0.85, zorder=3)
        other = axes.scatter(baselines, places, s=26, marker="|", color=COLOURS[1], zorder=2)
        legend: dict[str, Artist] = {"model (area: rows)": own, "baseline": other}
        for name, values, colour in (("model", scores, 0), ("baseline", baselines, 1)):
            if np.isfinite(values).any():
                line = axes.axvline(np.nanmean(values), color=COLOURS[colour], ls="--", zorder=0)
                legend[f"mean of the {name}: {np.nanmean(values):z.3f}"] = line
        for place in np.flatnonzero(np.isnan(scores)):
            where = axes.get_yaxis_transform()  # across: shares of the panel
            axes.text(0.01, int(place), "undefined", transform=where, va="center")
        axes.axvline(0, color=INK, lw=0.6, zorder=0)
        axes.set_yticks(places, names)
        axes.set(xlabel=metric, ylim=(len(ranked) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        right = axes.secondary_yaxis("right")
        right.set_yticks(places, [f"{count:,.0f}" for count in counts])
        right.set_ylabel("rows")
        right.tick_params(length=0)
        right.spines[:].set_visible(False)
        figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=2)
    return Path(path)


def scan_figure(
    scores_LA: np.ndarray,
    sequence: str,
    path: str | PathLike[str],
    *,
    title: str,
    unit: str,
    residues: str = ORDER,
) -> Path:
    """Draw the predicted effect of every substitution of a protein.

    White is 0, purple above, orange below. A dot marks the protein's own residue, what is NaN is
    hatched. Long proteins go on in the next panel; positions count from 1.

    Args:
        scores_LA: columns in the order of `protemb.sequences.amino_acids.RESIDUES`; the protein's
            own residues are not read.
        sequence: of the protein.
        path: file to write, `.png` or `.svg`.
        title: of the figure.
        unit: what the scores are.
        residues: the 20 letters from the top down; those of neighbours in one class of
            `CLASSES` stand together.

    Raises:
        ValueError: an empty sequence, scores of other sizes, or other letters.
    """
    L = len(sequence)
    if not L or scores_LA.shape != (L, len(RESIDUES)) or sorted(residues) != sorted(RESIDUES):
        raise ValueError(f"scores_LA: got {scores_LA.shape} for {L} and {residues!r}")
    shown_AL = scores_LA[:, [RESIDUES.index(letter) for letter in residues]].T.astype(float)
    own = np.array([[letter == residue for letter in sequence] for residue in residues])
    most = float(np.nanmax(np.abs(shown_AL), where=~own & ~np.isnan(shown_AL), initial=0)) or 1.0
    shown_AL[own] = 0
    panels = math.ceil(L / PANEL)
    step = math.ceil(L / panels)
    width = CELL * max(step, 30)
    with canvas(path, width + 1.5, panels * (CELL * 20 + 0.55) + 0.6) as figure:
        grid = figure.subplots(panels, 1, squeeze=False).ravel()
        figure.suptitle(shorten(title, 90), fontsize=10)
        for axes, start in zip(grid, range(0, L, step), strict=True):
            own_places = np.argwhere(own[:, start : start + step])
            own_places[:, 1] += start
            part_AL = shown_AL[:, start : start + step]
            end = start + part_AL.shape[1]
            corner = (start + 0.5, -0.5)
            size = (part_AL.shape[1], len(residues))
            if np.isnan(part_AL).any():
                behind = Rectangle(corner, *size, fc="white", ec=GREY, hatch="/////", lw=0)
                axes.add_patch(behind).set_zorder(-1)
            image = axes.imshow(
                part_AL, cmap="PuOr", vmin=-most, vmax=most, aspect="auto",
                interpolation="nearest", extent=(start + 0.5, end + 0.5, 19.5, -0.5),
            )  # fmt: skip
            axes.plot(own_places[:, 1] + 1, own_places[:, 0], "o", color="black", ms=2.6, mew=0)
            _label_scan(axes, residues, sequence, range(start + 1, start + step + 1))
        bar = figure.colorbar(image, ax=list(grid), aspect=30, shrink=max(0.2, 0.9 / panels))
        bar.set_label(shorten(unit, 40))
        legend: dict[str, Artist] = {
            "the protein's own residue": Line2D([], [], ls="", marker="o", color=INK, ms=3)
        }
        if np.isnan(shown_AL).any():
            legend["no score"] = Patch(fc="white", ec=GREY, hatch="/////", lw=0)
        legend_below(figure, legend)
    return Path(path)


def _label_scan(axes: Axes, residues: str, sequence: str, positions: range) -> None:
    """Number every tenth position below, write the sequence above, part the classes."""
    there = [position for position in positions if position <= len(sequence)]
    kind = {letter: name for name, kin in CLASSES.items() for letter in kin}
    for row, (one, other) in enumerate(pairwise(residues)):
        if kind[one] != kind[other]:
            axes.hlines(row + 0.5, there[0] - 0.5, there[-1] + 0.5, color=GREY, lw=0.5)
    tens = [position for position in there if position % 10 == 0 or position == there[0]]
    if len(tens) > 1 and tens[1] - tens[0] < 4:
        del tens[1]  # the numbers would touch
    letters: dict[str, Any] = {"fontsize": 6, "family": "DejaVu Sans Mono"}
    axes.set_yticks(range(len(residues)), list(residues), **letters)
    axes.set_xticks(tens, [str(position) for position in tens], fontsize=7)
    axes.set_xlim(positions[0] - 0.5, max(positions[-1], positions[0] + 29) + 0.5)
    above = axes.secondary_xaxis("top")
    above.set_xticks(there, [sequence[position - 1] for position in there], **letters)
    above.tick_params(length=0, pad=1)
    axes.tick_params(axis="y", length=0, pad=1)
    for side in (axes.spines, above.spines):
        side[:].set_visible(False)


def choice_figure(
    rows: Sequence[tuple[str, Sequence[float], Sequence[float], float]],
    path: str | PathLike[str],
    *,
    title: str,
    metric: str = "Pearson r",
) -> Path:
    """Draw how much of a score was luck: on the rows that chose, and on those that did not.

    A thin line is an outer fold, the thick one the mean of those with both scores. The diamond is
    the score of all untouched rows taken together, which has the differences between folds that
    the choosing rows also have.

    Args:
        rows: what was chosen (the best cell, an ensemble), its scores on the choosing rows and on
            the untouched fold, by outer fold, and the score of all untouched rows together (NaN
            for none).
        path: file to write, `.png` or `.svg`.
        title: of the figure.
        metric: what the scores are.

    Raises:
        ValueError: no rows, or scores that are not pairs.
    """
    if not rows or any(len(choosing) != len(untouched) for _, choosing, untouched, _ in rows):
        raise ValueError("rows: expected one or more, with two scores for each fold")
    names = [shorten(name, 24) for name, *_ in rows]
    step = max(1.95, text_width(*names) + 0.3)
    legend: dict[str, Artist] = {}
    with canvas(path, max(step * len(rows) + 0.9, text_width(title), 4.5), 4) as figure:
        grid = figure.subplots(1, len(rows), sharey=True, squeeze=False).ravel()
        figure.suptitle(shorten(title, 80), fontsize=10)
        for axes, name, (_, choosing_F, untouched_F, together) in zip(
            grid, names, rows, strict=True
        ):
            pairs_F2 = np.column_stack([choosing_F, untouched_F]).astype(float)
            pairs_F2 = pairs_F2[np.isfinite(pairs_F2).all(1)]
            for pair in pairs_F2:
                (legend["one fold"],) = axes.plot([0, 1], pair, ".-", color=GREY, lw=0.7, ms=4)
            if len(pairs_F2):
                means = pairs_F2.mean(0)
                (mean,) = axes.plot([0, 1], means, "o-", color=COLOURS[0], lw=2.2, zorder=3)
                legend["mean of the folds"] = mean
                for x, value, side in ((0, means[0], "right"), (1, means[1], "left")):
                    text = f" {value:z.3f} ".replace("-", "−")
                    axes.text(x, value, text, ha=side, va="center", weight="bold", zorder=4)
            else:
                axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center")
            if np.isfinite(together):
                (dot,) = axes.plot(1, together, "D", color=COLOURS[1], ms=6, zorder=3.5)
                legend["all untouched rows together"] = dot
            axes.set(title=name, xlim=(-0.75, 1.75))
            axes.set_xticks([0, 1], ["choosing\nrows", "untouched\nfold"])
            axes.axhline(0, color=GREY, lw=0.6, ls=":", zorder=0)
        grid[0].set_ylabel(metric)
        legend_below(figure, legend)
    return Path(path)
