"""The heatmap of cells says what it was given: numbers, colours, frames and groups, read back."""

import math
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Annotation, Text

from protemb.analysis.cell_figure import CellScore, cell_heatmap
from protemb.intervals import Interval

NAN = math.nan
ROWS = ["a · states · mean", "a · states · last", "$b_1$ · table · mean"]
COLUMNS = ["wild type", "difference"]
CELLS = {
    (ROWS[0], "wild type"): CellScore(Interval(0.1, 0.06, 0.14), 0.45, True),
    (ROWS[0], "difference"): CellScore(Interval(-0.05, -0.08, 0.01), 0.3, False),
    (ROWS[1], "wild type"): CellScore(Interval(NAN, NAN, NAN), NAN, False),
    (ROWS[1], "difference"): CellScore(Interval(0.02, NAN, NAN), 0.37, False),
    (ROWS[2], "difference"): CellScore(Interval(-0.2, -0.25, -0.15), 0.15, True),
}


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """Draw a grid; return the figure as it was when it was saved."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: saved.append(self) or save(self, *a, **k)
    )

    def drawn(rows=ROWS, columns=COLUMNS, cells=CELLS, title="what cells add"):
        path = tmp_path / "c.png"
        assert cell_heatmap(rows, columns, cells, path, title=title, baseline=0.352) == path
        return saved[-1]

    return drawn


def grid(R, K, seed=0):
    rng = np.random.default_rng(seed)
    rows = [f"encoder {r // 6} · states · window({r % 6})" for r in range(R)]
    columns = ["wild type", "variant", "concatenated", "difference", "absolute difference"][:K]
    cells = {}
    for row, column in product(rows, columns):
        x = rng.normal(0, 0.1)
        cells[row, column] = CellScore(Interval(x, x - 0.05, x + 0.05), 0.35 + x, abs(x) > 0.1)
    return rows, columns, cells


def number(x):
    return f"{x:+.3f}".replace("-", "−")


def written(axes):
    """Texts of each cell, by (row, column)."""
    found = {}
    for text in axes.texts:
        if not isinstance(text, Annotation):
            x, y = text.get_position()
            found.setdefault((round(y), round(x)), []).append(text)
    return found


def test_cells_say_their_difference_and_interval(draw):
    axes = draw().axes[0]
    texts = {cell: [text.get_text() for text in own] for cell, own in written(axes).items()}
    assert texts == {
        (0, 0): ["+0.100", "[+0.060, +0.140]"],
        (0, 1): ["−0.050", "[−0.080, +0.010]"],
        (1, 0): ["undefined"],
        (1, 1): ["+0.020"],
        (2, 1): ["−0.200", "[−0.250, −0.150]"],
    }
    value, interval = written(axes)[0, 0]
    assert interval.get_fontsize() < value.get_fontsize()
    assert interval.get_position()[1] > value.get_position()[1]  # below


def test_colours_are_centred_at_the_baseline(draw):
    figure = draw()
    (image,) = figure.axes[0].images
    expected = [[0.1, -0.05], [NAN, 0.02], [NAN, -0.2]]
    np.testing.assert_allclose(image.get_array().filled(NAN), expected)
    assert (image.norm.vmin, image.norm.vmax) == (-0.2, 0.2)
    middle = image.cmap(image.norm(0.0))
    assert min(middle[:3]) > 0.95
    worse, better = image.cmap(image.norm(-0.2)), image.cmap(image.norm(0.2))
    assert worse[0] > worse[2] and better[2] > better[0]  # orange; purple
    assert any(
        "difference of r to the baseline (0.352)" in axes.get_ylabel() for axes in figure.axes
    )


def test_texts_stand_out_from_their_cells(draw):
    rows, columns, cells = grid(24, 4)
    axes = draw(rows, columns, cells).axes[0]
    (image,) = axes.images

    def luminance(colour):  # of WCAG 2.2
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    for (row, column), texts in written(axes).items():
        behind = luminance(image.cmap(image.norm(image.get_array()[row, column]))[:3])
        for text in texts:
            ink = luminance(to_rgb(text.get_color()))
            bright, dark = max(behind, ink) + 0.05, min(behind, ink) + 0.05
            assert bright / dark > 4, (row, column)
    assert {text.get_color() for texts in written(axes).values() for text in texts} == {
        "black",
        "white",
    }


def test_frames_are_the_marked_cells(draw):
    figure = draw()
    axes = figure.axes[0]
    frames = {
        (
            round(patch.get_y() + patch.get_height() / 2),
            round(patch.get_x() + patch.get_width() / 2),
        )
        for patch in axes.patches
        if not patch.get_fill()
    }
    assert frames == {(0, 0), (2, 1)}
    bold = {cell for cell, texts in written(axes).items() if texts[0].get_fontweight() == "bold"}
    assert bold == frames
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "framed: the corrected interval excludes 0",
        "no result",
    ]


def test_cells_without_a_result_are_hatched(draw):
    axes = draw().axes[0]
    hatched = {
        (round(patch.get_y() + 0.5), round(patch.get_x() + 0.5))
        for patch in axes.patches
        if patch.get_hatch()
    }
    assert hatched == {(1, 0), (2, 0)}


def test_nothing_to_explain_has_no_legend(draw):
    cells = {(row, column): CellScore(Interval(0.0, -0.1, 0.1), 0.3, False) for row, column in
             product(ROWS, COLUMNS)}  # fmt: skip
    figure = draw(cells=cells)
    assert not figure.legends
    assert figure.axes[0].images[0].norm.vmax > 0  # all differences are 0


def test_rows_are_grouped_and_have_their_best_score(draw):
    axes = draw().axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["states · mean", "states · last", "table · mean"]
    groups = {text.get_text(): text.xy[1] for text in axes.texts if isinstance(text, Annotation)}
    assert groups == {"a": 0.5, "$b_1$": 2.0}
    assert [line.get_ydata()[0] for line in axes.lines] == [1.5]  # between the groups
    (right,) = axes.child_axes
    assert [label.get_text() for label in right.get_yticklabels()] == ["0.450", "0.370", "0.150"]
    assert right.get_ylabel() == "best r of the row"


def test_rows_without_groups_keep_their_names(draw):
    axes = draw(rows=["one", ROWS[0]], cells={}).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", ROWS[0]]
    assert not [text for text in axes.texts if text.get_text()]
    (right,) = axes.child_axes
    assert [label.get_text() for label in right.get_yticklabels()] == ["none", "none"]


HOSTILE = (["x" * 99 + " · " + "y" * 99, "x\ny · $z$"], ["k" * 99, "<b>\a"], {})


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("given", [grid(24, 4), grid(40, 5), grid(1, 1), HOSTILE])
def test_everything_fits(given, draw, monkeypatch):
    figure = draw(*given, title="t" * 200)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {}
    monkeypatch.setattr(
        Text, "draw", lambda text, _: boxes.update({text: text.get_window_extent(renderer)})
    )
    figure.draw(renderer)
    axes = figure.axes[0]
    for (row, column), texts in written(axes).items():
        corners = [[column - 0.5, row + 0.5], [column + 0.5, row - 0.5]]
        (left, bottom), (right, top) = axes.transData.transform(corners)
        for text in texts:
            box = boxes[text]
            assert left < box.x0 < box.x1 < right and bottom < box.y0 < box.y1 < top
        assert not any(boxes[one].overlaps(boxes[other]) for one, other in pairwise(texts))
    outer = [text for text in boxes if text.get_text() and text.get_visible()]
    outer = [text for text in outer if text.get_rotation() % 90 == 0]
    outer = [text for text in outer if text not in sum(written(axes).values(), [])]
    for one, other in combinations(outer, 2):
        assert not boxes[one].overlaps(boxes[other]), (one, other)
    assert not any(text.get_parse_math() for text in outer)


def test_the_same_bytes_each_time(tmp_path):
    for folder in ("a", "b"):
        path = tmp_path / folder / "c.svg"
        cell_heatmap(ROWS, COLUMNS, CELLS, path, title="t", baseline=0.3, metric="ρ")
        assert sorted(file.name for file in path.parent.iterdir()) == ["c.png", "c.svg"]
    for name in ("c.svg", "c.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    image = imread(tmp_path / "a" / "c.png")
    for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
        assert (edge == 1).all()


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_names_come_once(names, tmp_path):
    for rows, columns, wrong in ((names, COLUMNS, "rows"), (ROWS, names, "columns")):
        with pytest.raises(ValueError, match=f"{wrong}: got"):
            cell_heatmap(rows, columns, {}, tmp_path / "c.png", title="t", baseline=0)
    assert not list(tmp_path.iterdir())
