"""Clustered matrix of correlations, such as those of cells' predictions, as a PNG or SVG file.

Shape letters: V = what is clustered.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from os import PathLike

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
from scipy.spatial.distance import squareform

from protemb.analysis.canvas import COLOURS, FONT_SIZE, GREY, canvas, shorten, text_width

LARGEST, SMALLEST = 11.0, 3.6
"""Inches of the matrix."""
LEAST_FONT = 4.5
"""Points of the smallest labels; where they do not fit, some are left out."""
HATCHES = ("", "////", "....")
OTHER, UNDEFINED = "other groups", "undefined correlation"


def clustermap(
    names: Sequence[str],
    correlations_VV: np.ndarray,
    path: str | PathLike[str],
    *,
    title: str,
    groups: Sequence[str] | None = None,
) -> list[int]:
    """Draw correlations in the order of their clustering, with the tree on the left.

    Average linkage on 1 - r (Sokal and Michener 1958), leaves turned so that neighbours are as
    near as they can be (Bar-Joseph, Gifford and Jaakkola 2001, Bioinformatics 17:S22). An
    undefined correlation counts as 0 there and is hatched.

    Args:
        names: of the V rows.
        correlations_VV: symmetric, NaN where undefined; the diagonal is not read.
        path: file to write, `.png` or `.svg`.
        title: of the figure.
        groups: of the V rows, such as their encoders: a strip of colours beside the matrix. The
            first 18 are told apart.

    Returns:
        The order from the top down, as places in `names`.

    Raises:
        ValueError: no names, or sizes that do not fit.
    """
    V = len(names)
    if not V or correlations_VV.shape != (V, V) or (groups is not None and len(groups) != V):
        raise ValueError(f"correlations_VV: got {correlations_VV.shape} for {V} names and groups")
    order, tree = clustered(correlations_VV)
    looks = _looks(groups or [])
    shown = [shorten(name, 48) for name in names]
    side = min(max(0.17 * V, SMALLEST), LARGEST)
    size = min(FONT_SIZE, max(LEAST_FONT, 0.85 * 72 * side / V))
    labels = text_width(*shown) * size / FONT_SIZE
    width = side + labels + 2.9
    if undefined := bool(np.isnan(correlations_VV[~np.eye(V, dtype=bool)]).any()):
        looks[UNDEFINED] = ("white", HATCHES[1])
    legend_rows = math.ceil(len(looks) / _legend_columns(looks, width)) if looks else 0
    with canvas(path, width, side + 0.6 + 0.22 * legend_rows) as figure:
        ratios = (1.3, 0.16 if groups else 0.01, side, 0.16)
        left, strip, square, bar = figure.subplots(1, 4, width_ratios=ratios)
        figure.set_layout_engine("constrained", wspace=0.01, w_pad=0.02)
        square.set_title(shorten(title, 90))
        _draw_tree(left, tree, V)
        _draw_strip(strip, [groups[place] for place in order] if groups else [], looks, V)
        image = _draw_square(square, correlations_VV[np.ix_(order, order)], undefined)
        _name_rows(square, [shown[place] for place in order], size, 72 * side / V)
        figure.colorbar(image, cax=bar, label="correlation")
        _legend(figure, looks, width)
    return order


def clustered(correlations_VV: np.ndarray) -> tuple[list[int], np.ndarray | None]:
    """Return the order of the rows and the tree as scipy's linkage matrix, None for a single row.

    >>> clustered(np.array([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]]))[0]
    [1, 2, 0]
    """
    V = len(correlations_VV)
    if V == 1:
        return [0], None
    distance_VV = 1 - np.nan_to_num((correlations_VV + correlations_VV.T) / 2, nan=0.0)
    np.fill_diagonal(distance_VV, 0)
    pairs = squareform(np.maximum(distance_VV, 0), checks=False)  # rounding may give r above 1
    tree = linkage(pairs, "average", optimal_ordering=True)
    return leaves_list(tree).tolist(), tree


def _looks(groups: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and hatch of each group, in the order in which they come; grey for too many."""
    names = list(dict.fromkeys(groups))
    looks = dict(zip(names, ((c, h) for h, c in product(HATCHES, COLOURS)), strict=False))
    return looks | ({OTHER: (GREY, "")} if len(names) > len(looks) else {})


def _draw_tree(axes: Axes, tree: np.ndarray | None, V: int) -> None:
    axes.axis("off")
    if tree is None:
        return
    dendrogram(tree, ax=axes, orientation="left", no_labels=True, link_color_func=lambda _: GREY)
    # Leaves stand at 5, 15, ...; the first one on top, as in the matrix.
    axes.set_ylim(10 * V, 0)
    axes.set_xlim(1.02 * max(tree[-1, 2], 1e-9), 0)


def _draw_strip(
    axes: Axes, groups: Sequence[str], looks: Mapping[str, tuple[str, str]], V: int
) -> None:
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(V - 0.5, -0.5))
    for row, group in enumerate(groups):
        colour, hatch = looks.get(group, (GREY, ""))
        axes.add_patch(Rectangle((0, row - 0.5), 1, 1, fc=colour, ec="white", hatch=hatch, lw=0))


def _draw_square(axes: Axes, shown_VV: np.ndarray, undefined: bool) -> AxesImage:
    """Draw the matrix; the scale goes from the smallest correlation, rounded down, to 1."""
    V = len(shown_VV)
    known = shown_VV[~np.eye(V, dtype=bool) & ~np.isnan(shown_VV)]
    lowest = math.floor(10 * min(known.min(initial=1), 0.9)) / 10
    if undefined:  # shows where the image has no colour
        behind = Rectangle((-0.5, -0.5), V, V, fc="white", ec=GREY, hatch=HATCHES[1], lw=0)
        axes.add_patch(behind).set_zorder(-1)
    return axes.imshow(
        shown_VV, cmap="cividis", vmin=lowest, vmax=1, aspect="auto", interpolation="nearest"
    )


def _name_rows(axes: Axes, names: Sequence[str], size: float, row: float) -> None:
    """Name the rows on the right; every second or third where `row` points are too few."""
    step = math.ceil(0.999 * size / row)
    axes.yaxis.tick_right()
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize=size)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _legend_columns(looks: Mapping[str, tuple[str, str]], width: float) -> int:
    one = text_width(*(shorten(name, 28) for name in looks)) + 0.55
    return max(1, min(len(looks), int(width / one)))


def _legend(figure: Figure, looks: Mapping[str, tuple[str, str]], width: float) -> None:
    if looks:
        figure.legend(
            [_patch(*look) for look in looks.values()],
            [shorten(name, 28) for name in looks],
            loc="outside lower center",
            ncols=_legend_columns(looks, width),
        )


def _patch(colour: str, hatch: str) -> Patch:
    return Patch(fc=colour, ec=GREY if colour == "white" else "white", hatch=hatch, lw=0)
