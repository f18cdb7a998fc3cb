"""The figure of a residue table: who is near whom, beside the same picture of BLOSUM62.

Shape letters: A = the 20 residues, V = rows of a table, D = features of a row.
"""

from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from protemb.analysis.canvas import COLOURS, GREY, canvas, legend_below, shorten
from protemb.analysis.residue_table import table_distances
from protemb.sequences.amino_acids import CLASSES, HYDROPATHY, RESIDUES, reference_distances

LOOKS = dict(zip(CLASSES, COLOURS, strict=True))
"""Colour of each class of residues."""

SIZE = (10.6, 5.3)
"""Inches of the figure; with the ratios below, cells are square."""
WIDTHS = (20, 1, 20, 1, 0.7, 0.7)
HEIGHTS = (3.2, 20)


def table_figure(rows_VD: np.ndarray, path: str | PathLike[str], *, title: str) -> Path:
    """Draw the distances between the 20 residues of a table, and those of BLOSUM62.

    Each picture has the order of its own clustering (average linkage, neighbouring leaves as
    near as they can be), which the tree above shows. A cell's colour is the rank of its pair,
    which is also what `residue_table.mantel` compares. Colours of letters are classes; the strip
    on the right is Kyte and Doolittle's hydropathy. Where all distances are equal there is
    nothing to cluster: residues stand by class, without a tree.

    Args:
        rows_VD: rows in the order of AA21; X and padding, where they are given, are left out.
        path: file to write.
        title: of the table's picture.
    """
    pictures = (
        (shorten(title, 48), table_distances(rows_VD)),
        ("BLOSUM62", reference_distances()["BLOSUM62"]),
    )
    with canvas(path, *SIZE) as figure:
        grid = figure.subplots(2, len(WIDTHS), width_ratios=WIDTHS, height_ratios=HEIGHTS)
        for unused in grid[0, [1, 3, 4, 5]]:
            unused.remove()
        for place, (heading, distance_AA) in zip((0, 2), pictures, strict=True):
            order_A, tree = clustered(distance_AA)
            _tree(grid[0, place], heading, tree)
            nearness = _square(grid[1, place], distance_AA, order_A)
            hydropathy = _strip(grid[1, place + 1], order_A)
        figure.colorbar(hydropathy, cax=grid[1, 4], label="hydropathy")
        bar = figure.colorbar(nearness, cax=grid[1, 5], label="pairs of residues by distance")
        bar.set_ticks(
            [0, 0.25, 0.5, 0.75, 1], labels=["nearest", "25 %", "50 %", "75 %", "farthest"]
        )
        legend_below(figure, {name: Patch(color=colour) for name, colour in LOOKS.items()})
    return Path(path)


def clustered(distance_AA: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the order of the residues, order_A, and the tree as scipy's linkage matrix.

    Where all distances are equal the order is that of `CLASSES`, and there is no tree.
    """
    pairs = squareform(distance_AA, checks=False)
    if np.ptp(pairs) <= 1e-12 * pairs.max():
        return np.array([RESIDUES.index(letter) for letter in "".join(CLASSES.values())]), None
    tree = optimal_leaf_ordering(linkage(pairs, "average"), pairs)
    return leaves_list(tree), tree


def _tree(above: Axes, heading: str, tree: np.ndarray | None) -> None:
    above.axis("off")
    above.set_title(heading)
    if tree is None:
        above.text(0.5, 0.4, "all distances are equal", ha="center", transform=above.transAxes)
        return
    dendrogram(tree, ax=above, no_labels=True, link_color_func=lambda _: GREY)
    # Leaves hang from just below the first join, else long stems leave no room for the joins.
    lowest, highest = tree[0, 2], tree[-1, 2]
    above.set_ylim(lowest - 0.15 * (highest - lowest), None)


def _square(square: Axes, distance_AA: np.ndarray, order_A: np.ndarray) -> AxesImage:
    """Draw the rank of each pair, from 0 to 1; a residue and itself are no pair."""
    pairs = squareform(distance_AA, checks=False)
    ranks_AA = squareform((rankdata((pairs / (pairs.max() or 1)).round(12)) - 1) / (len(pairs) - 1))
    np.fill_diagonal(ranks_AA, np.nan)
    _letters(square, order_A)
    shown_AA = ranks_AA[np.ix_(order_A, order_A)]
    return square.imshow(shown_AA, cmap="cividis", vmin=0, vmax=1, aspect="auto")


def _strip(strip: Axes, order_A: np.ndarray) -> AxesImage:
    strip.set(xticks=[], yticks=[])
    strip.spines[:].set_visible(False)
    steepest = float(np.abs(HYDROPATHY).max())
    return strip.imshow(
        HYDROPATHY[order_A, None], cmap="PuOr_r", vmin=-steepest, vmax=steepest, aspect="auto"
    )


def _letters(square: Axes, order_A: np.ndarray) -> None:
    """Name rows and columns by one-letter codes on the colour of their class."""
    names = [RESIDUES[place] for place in order_A]
    square.set_xticks(range(len(names)), names, family="DejaVu Sans Mono", weight="bold")
    square.set_yticks(range(len(names)), names, family="DejaVu Sans Mono", weight="bold")
    square.tick_params(length=0, pad=6)
    for label in (*square.get_xticklabels(), *square.get_yticklabels()):
        colour = next(LOOKS[name] for name, kin in CLASSES.items() if label.get_text() in kin)
        light = np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) > 0.5
        label.set(color="black" if light else "white")
        label.set_bbox({"facecolor": colour, "lw": 0, "boxstyle": "round,pad=0.18"})
    square.spines[:].set_visible(False)
