"""The clustered matrix: its order, tree, colours and labels, read back from what was drawn."""

import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.cluster.hierarchy import cophenet, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from protemb.analysis.canvas import COLOURS, GREY
from protemb.analysis.clustermap import OTHER, UNDEFINED, clustered, clustermap


def correlations(V, seed=0, families=4):
    """Of V rows from a few families, in mixed order."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(families, 60))
    rows = shared[rng.integers(families, size=V)] + 0.7 * rng.normal(size=(V, 60))
    return np.corrcoef(rows).reshape(V, V)


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """Draw a matrix; return the order and the figure as it was when it was saved."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: saved.append(self) or save(self, *a, **k)
    )

    def drawn(matrix_VV, names=None, **options):
        names = names or [f"cell {v}" for v in range(len(matrix_VV))]
        order = clustermap(names, matrix_VV, tmp_path / "c.png", title="predictions", **options)
        assert imread(tmp_path / "c.png").ndim == 3
        return order, saved[-1]

    return drawn


def square_of(figure):
    (axes,) = (axes for axes in figure.axes if axes.get_title())
    return axes


@pytest.mark.parametrize("V", [1, 2, 3, 24])
def test_cells_are_correlations_in_the_order_returned(V, draw):
    matrix_VV = correlations(V)
    order, figure = draw(matrix_VV)
    assert sorted(order) == list(range(V))
    axes = square_of(figure)
    (image,) = axes.images
    np.testing.assert_array_equal(image.get_array(), matrix_VV[np.ix_(order, order)])
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"cell {v}" for v in order]
    lowest, highest = image.get_clim()
    assert highest == 1 and lowest <= matrix_VV.min() and lowest <= 0.9
    low, high = axes.get_ylim()
    assert low > high, "the first row is on top"


def test_the_tree_is_average_linkage_on_one_minus_r():
    matrix_VV = correlations(30)
    order, tree = clustered(matrix_VV)
    pairs = squareform(1 - matrix_VV, checks=False)
    expected = cophenet(linkage(pairs, "average"))
    np.testing.assert_allclose(cophenet(tree), expected, rtol=1e-9)
    joined_VV = squareform(expected)[np.ix_(order, order)]
    for row in range(30):  # farther along the row, later joined: no branches cross
        assert (np.diff(joined_VV[row, row:]) >= -1e-9).all()
    # Turned so that neighbours are near.
    plain = linkage(pairs, "average")

    def steps(places):
        return sum(1 - matrix_VV[a, b] for a, b in zip(places[:-1], places[1:], strict=True))

    best = leaves_list(optimal_leaf_ordering(plain, pairs)).tolist()
    assert steps(order) == pytest.approx(steps(best))
    assert steps(order) < steps(leaves_list(plain).tolist())


def test_leaves_stand_beside_their_rows(draw):
    order, figure = draw(correlations(12))
    tree, square = figure.axes[0], square_of(figure)
    (lines,) = tree.collections
    segments = [path.vertices for path in lines.get_paths()]
    assert len(segments) == 11
    leaves = sorted({y for s in segments for x, y in (s[0], s[-1]) if x == 0})
    assert leaves == [5 + 10 * v for v in range(12)]
    figure.canvas.draw()
    for place, y in enumerate(leaves):
        of_leaf = tree.transData.transform((0, y))[1]
        assert of_leaf == pytest.approx(square.transData.transform((0, place))[1], abs=1)
    left, right = tree.get_xlim()
    assert left > right == 0  # the root is far from the matrix


def test_the_strip_has_the_colours_of_the_legend(draw):
    groups = ["b", "a", "c", "b", "a", "b"]
    order, figure = draw(correlations(6), groups=groups)
    (legend,) = figure.legends
    looks = {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert list(looks) == ["b", "a", "c"]
    assert list(looks.values()) == [colour.lower() for colour in COLOURS[:3]]
    rows = {
        round(patch.get_y() + 0.5): to_hex(patch.get_facecolor())
        for patch in figure.axes[1].patches
    }
    assert rows == {row: looks[groups[place]] for row, place in enumerate(order)}


def test_many_groups_are_told_apart_and_the_rest_is_grey(draw):
    groups = [f"encoder {v}" for v in range(20)]
    order, figure = draw(correlations(20), groups=groups)
    (legend,) = figure.legends
    looks = [(to_hex(p.get_facecolor()), p.get_hatch()) for p in legend.get_patches()]
    assert len(set(looks)) == 19 and looks[-1][0] == GREY.lower()
    assert [text.get_text() for text in legend.get_texts()] == [*groups[:18], OTHER]
    grey = sum(to_hex(p.get_facecolor()) == GREY.lower() for p in figure.axes[1].patches)
    assert grey == 2


def test_no_groups_no_legend(draw):
    assert not draw(correlations(5))[1].legends


def test_undefined_correlations_count_as_zero_and_are_hatched(draw):
    matrix_VV = correlations(8)
    matrix_VV[3, :] = matrix_VV[:, 3] = math.nan
    order, figure = draw(matrix_VV)
    assert order == clustered(np.nan_to_num(matrix_VV))[0]
    shown = np.ma.filled(square_of(figure).images[0].get_array().astype(float), math.nan)
    assert np.isnan(shown).sum() == 15
    assert [patch.get_hatch() for patch in square_of(figure).patches] != [None]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [UNDEFINED]
    # An undefined diagonal alone, as of a constant, is nothing to speak of.
    np.fill_diagonal(matrix := correlations(4), math.nan)
    assert not draw(matrix)[1].legends


@pytest.mark.parametrize("V", [2, 24, 150, pytest.param(400, marks=pytest.mark.slow)])
def test_labels_fit_and_do_not_overlap(V, draw):
    names = [f"unirep{v} · states · window(5) · absolute difference" for v in range(V)]
    groups = [f"encoder {v % 9}" for v in range(V)]
    order, figure = draw(correlations(V), names, groups=groups)
    axes = square_of(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    labels = [label for label in axes.get_yticklabels() if label.get_text()]
    boxes = [label.get_window_extent(renderer) for label in labels]
    above, below = boxes[:-1], boxes[1:]
    # Letters stand apart where their lines, a little taller than letters, touch.
    height = max(label.get_fontsize() for label in labels) * figure.dpi / 72
    assert all(a.y0 + a.height / 2 - b.y0 - b.height / 2 > 0.95 * height
               for a, b in zip(above, below, strict=True))  # fmt: skip
    assert len(labels) == V if V <= 150 else V / 4 < len(labels) < V
    assert min(label.get_fontsize() for label in labels) >= 4.5
    bar = next(a for a in figure.axes if a.get_ylabel() == "correlation")
    edge = bar.get_window_extent(renderer).x0
    assert max(box.x1 for box in boxes) <= edge + 1
    size = figure.get_size_inches()
    assert max(size) < 19


def test_one_row_has_no_tree(draw):
    order, figure = draw(np.ones((1, 1)))
    assert order == [0] and not figure.axes[0].collections


@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names(draw):
    names = ["x" * 300, "$a_1$", "line\nbreak", "<b>", "鳥"]
    order, figure = draw(correlations(5), names, groups=["g" * 99, "$", "", "\n", "ok"])
    labels = square_of(figure).get_yticklabels()
    assert not any(label.get_parse_math() for label in labels)
    assert max(len(label.get_text()) for label in labels) == 48
    assert "line break" in [label.get_text() for label in labels]


def test_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        clustermap(list("abcdef"), correlations(6), tmp_path / f"{name}.svg", title="t" * 200)
    for kind in ("svg", "png"):
        first, second = (tmp_path / f"{name}.{kind}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()
    image = imread(tmp_path / "a.png")
    for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
        assert (edge == 1).all()


@pytest.mark.parametrize(
    ("names", "V", "groups"), [([], 0, None), (["a"], 2, None), (["a", "b"], 2, ["g"])]
)
def test_sizes_fit(names, V, groups, tmp_path):
    with pytest.raises(ValueError, match="correlations_VV: got"):
        clustermap(names, np.eye(V), tmp_path / "c.png", title="t", groups=groups)
    assert not list(tmp_path.iterdir())
