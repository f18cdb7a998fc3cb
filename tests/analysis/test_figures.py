"""Figures say what they were given: texts, marks and bytes, read back from the drawn artists."""

import math
import subprocess
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from protemb.analysis import figures
from protemb.analysis.canvas import COLOURS, GREY, canvas, shorten
from protemb.analysis.maps import Map
from protemb.intervals import Interval

NAMES = ["avian", "$x_1$ \\frac{a}{b}", "Ñandú 鳥", "x" * 100]
ROWS = [
    ("length", Interval(0.21, 0.19, 0.24)),
    ("bilstm/mean", Interval(0.812, 0.79, 0.834)),
    ("3-mer logistic regression", Interval(0.79, 0.76, 0.81)),
]
HISTORY = [
    {"epoch": e, "residues_per_second": 9e4, "train/loss": 1 / e, "val/loss": 1.5 / e}
    | ({"val/macro_f1": 0.1 * e} if e % 2 else {})
    for e in range(1, 6)
]
CELLS = {
    ("lstm", "mean"): Interval(0.7, 0.65, 0.75),
    ("lstm", "last"): None,
    ("cnn", "mean"): Interval(0.5, math.nan, math.nan),
    ("cnn", "ends"): Interval(0.9, 0.85, 0.95),
}


def make_map(N, method="tsne", trust=0.9512, indices=None):
    points_M2 = np.random.default_rng(N).normal(size=(N, 2))
    return Map(points_M2, np.arange(N) if indices is None else indices, method, 7, trust, {})


DRAWINGS = {
    "confusion": lambda path: figures.confusion_matrix(np.arange(16).reshape(4, 4), NAMES, path),
    "two long names": lambda path: figures.confusion_matrix(
        np.eye(2, dtype=int), ["x" * 99] * 2, path
    ),
    "curves": lambda path: figures.learning_curves(HISTORY, path, 3),
    "maps": lambda path: figures.map_figure(
        [("own", make_map(20)), ("$b_1$", make_map(20, "pca", None))], np.array(NAMES * 5), path
    ),
    "scores": lambda path: figures.scores_figure(
        ROWS, path, ours=("bilstm/mean",), metric="balanced accuracy", chance=1 / 6
    ),
    "heatmap": lambda path: figures.heatmap(CELLS, path, title="balanced accuracy, $x_1$"),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = Figure.savefig

    def keep(figure, *args, **options):
        saved.append(figure)
        return save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def texts(figure):
    return {text.get_text() for text in figure.findobj(Text) if text.get_text()}


def draw(name, drawn, path):
    DRAWINGS[name](path / f"{name}.png")
    return drawn[-1]


# ---- every figure ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_whole_png_the_same_each_time(name, tmp_path):
    before = dict(matplotlib.rcParams)
    path = tmp_path / "figures" / "a.png"
    assert DRAWINGS[name](path) == path
    DRAWINGS[name](str(tmp_path / "b.png"))
    assert path.read_bytes() == (tmp_path / "b.png").read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
    image = imread(path)
    assert 200 < image.shape[0] < 1500 and 400 < image.shape[1] < 2500
    # Nothing touches the border: what does was cut off.
    for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
        assert (edge == 1).all()
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50
    assert dict(matplotlib.rcParams) == before


def test_the_readers_own_style_does_not_matter(tmp_path):
    DRAWINGS["scores"](tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.dpi": 20}):
        DRAWINGS["scores"](tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_window_and_no_shared_figures(tmp_path):
    code = """if True:
        import sys
        from protemb.analysis.figures import scores_figure
        from protemb.intervals import Interval
        scores_figure([("a", Interval(0.5, 0.4, 0.6))], sys.argv[1], ours=(), metric="AUROC")
        assert not {"matplotlib.pyplot", "openTSNE", "sklearn", "torch"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s.png")], check=True)


@pytest.mark.parametrize("name", DRAWINGS)
def test_names_are_not_formulas(name, tmp_path, drawn):
    shown = draw(name, drawn, tmp_path).findobj(Text)
    assert not any(text.get_parse_math() or text.get_usetex() for text in shown)


def test_a_failed_drawing_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), canvas(tmp_path / "a.png", 2, 2) as figure:
        figure.add_subplot()
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", DRAWINGS)
def test_labels_do_not_overlap(name, tmp_path, drawn, monkeypatch):
    figure = draw(name, drawn, tmp_path)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {}
    monkeypatch.setattr(
        Text, "draw", lambda text, _: boxes.update({text: text.get_window_extent(renderer)})
    )
    figure.draw(renderer)
    # A slanted text's box is larger than the text.
    boxes = {text: box for text, box in boxes.items() if text.get_text() and text.get_visible()}
    upright = [(text, box) for text, box in boxes.items() if text.get_rotation() % 90 == 0]
    assert len(upright) >= 6
    for (one, a), (other, b) in combinations(upright, 2):
        assert not a.overlaps(b), (one, other)


@pytest.mark.parametrize(
    "name",
    ["avian", "é" * 24, "a" * 25, "Influenza A virus of birds", "tab\tand\nline", "bell\a", ""],
)
def test_shorten(name):
    short = shorten(name, 24)
    plain = " ".join(name.split()).replace("\a", "?")
    assert short.isprintable() and len(short) <= 24
    if len(plain) <= 24:
        assert short == plain
    else:
        start, end = short.split("…")
        assert plain.startswith(start) and plain.endswith(end) and len(start) - len(end) in (0, 1)


# ---- confusion -------------------------------------------------------------------------------


def test_confusion_counts_and_recall(tmp_path, drawn):
    counts_CC = np.array([[739, 10, 251], [0, 11, 2], [0, 0, 0]])
    figures.confusion_matrix(counts_CC, ["a", "b", "$c_1$"], tmp_path / "c.png")
    axes = drawn[0].axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(j, i): str(counts_CC[i, j]) for i in range(3) for j in range(3)}
    (right,) = axes.child_axes
    assert [label.get_text() for label in right.get_yticklabels()] == ["0.74", "0.85", "none"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "$c_1$"]
    (image,) = axes.images
    expected = [[0.739, 0.01, 0.251], [0, 11 / 13, 2 / 13], [0, 0, 0]]
    np.testing.assert_allclose(image.get_array(), expected)
    assert axes.get_xlabel() == "predicted" and axes.get_ylabel() == "true"
    # Light on dark, dark on light.
    assert axes.texts[0].get_color() == "white" and axes.texts[1].get_color() == "black"


def assert_fits(figure):
    """The first cell's text lies inside it."""
    axes = figure.axes[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (left, bottom), (right, top) = axes.transData.transform([[-0.5, 0.5], [0.5, -0.5]])
    box = axes.texts[0].get_window_extent(renderer)
    assert left < box.x0 < box.x1 < right and bottom < box.y0 < box.y1 < top


@pytest.mark.parametrize("C", [2, 12, 30])
def test_confusion_counts_fit_their_cells(C, tmp_path, drawn):
    names = [f"class {c}" for c in range(C)]
    figures.confusion_matrix(np.full((C, C), 123456), names, tmp_path / "c.png")
    assert_fits(drawn[0])


def test_many_classes_have_no_counts(tmp_path, drawn):
    figures.confusion_matrix(
        np.eye(90, dtype=int), [f"class {c}" for c in range(90)], tmp_path / "c.png"
    )
    axes = drawn[0].axes[0]
    assert not axes.texts and len(axes.get_yticklabels()) == 90
    assert max(imread(tmp_path / "c.png").shape) < 3500


# ---- curves ----------------------------------------------------------------------------------


def test_curves_are_the_history(tmp_path, drawn):
    figure = draw("curves", drawn, tmp_path)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "macro f1"]
    train, val, best = figure.axes[0].lines
    np.testing.assert_allclose(train.get_xydata(), [(e, 1 / e) for e in range(1, 6)])
    np.testing.assert_allclose(val.get_xydata(), [(e, 1.5 / e) for e in range(1, 6)])
    assert best.get_xdata() == [3, 3]
    macro_f1, _ = figure.axes[1].lines
    np.testing.assert_allclose(macro_f1.get_xydata(), [(e, 0.1 * e) for e in (1, 3, 5)])
    assert macro_f1.get_color() == val.get_color() != train.get_color()
    assert {"train", "val", "best epoch"} <= texts(figure)


def test_one_epoch(tmp_path, drawn):
    figures.learning_curves(
        [{"epoch": 1, "val/loss": math.nan, "val/mcc": 0.5}], tmp_path / "c.png", 1
    )
    for axes in drawn[0].axes:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low < tick < high] == [1]


# ---- maps ------------------------------------------------------------------------------------


def test_map_points_and_colours(tmp_path, drawn):
    labels_N = np.array(["swine", "avian", "human"] * 30)
    indices_M = np.arange(1, 90, 5)
    one = make_map(len(indices_M), indices=indices_M)
    figures.map_figure(
        [("table / mean", one), ("own", make_map(90, "pca", None))], labels_N, tmp_path / "m.png"
    )
    axes, second = drawn[0].axes
    found = {
        tuple(point): to_hex(colour)
        for shape in axes.collections
        for point, colour in zip(shape.get_offsets().tolist(), shape.get_facecolors(), strict=False)
    }
    by_order = dict(zip(["avian", "human", "swine"], COLOURS, strict=False))
    expected = {
        tuple(point): by_order[labels_N[index]].lower()
        for point, index in zip(one.points_M2.tolist(), indices_M, strict=True)
    }
    assert found == expected
    assert axes.get_title() == "table / mean\nt-SNE, seed 7, trustworthiness 0.951"
    assert second.get_title() == "own\nPCA, seed 7, trustworthiness undefined"
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["avian", "human", "swine"]


def test_rare_classes_are_other(tmp_path, drawn):
    labels_N = np.array([f"host {c:02}" for c in range(20) for _ in range(30 - c)])
    rng = np.random.default_rng(0)
    labels_N = rng.permutation(labels_N)
    figures.map_figure([("own", make_map(len(labels_N)))], labels_N, tmp_path / "m.png")
    (legend,) = drawn[0].legends
    listed = [text.get_text() for text in legend.get_texts()]
    assert listed == [*(f"host {c:02}" for c in range(12)), "other (8 classes)"]
    looks = [(line.get_color(), line.get_marker()) for line in legend.get_lines()]
    assert len(set(looks)) == 13 and looks[-1] == (GREY, ".")
    grey = sum(
        to_hex(colour) == GREY.lower()
        for shape in drawn[0].axes[0].collections
        for colour in shape.get_facecolors()
    )
    assert grey == sum(30 - c for c in range(12, 20))


@pytest.mark.filterwarnings("ignore:Glyph")
def test_the_legend_leaves_the_points_alone(tmp_path, drawn):
    figure = draw("maps", drawn, tmp_path)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    legend = figure.legends[0].get_window_extent(renderer)
    assert not any(axes.get_window_extent(renderer).overlaps(legend) for axes in figure.axes)


# ---- scores ----------------------------------------------------------------------------------


def test_scores_are_sorted_with_their_intervals(tmp_path, drawn):
    figure = draw("scores", drawn, tmp_path)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["length", "3-mer logistic regression", "bilstm/mean"]  # from the bottom up
    scores = dict(ROWS)
    bars, dots = axes.lines[:-2:2], axes.lines[1:-2:2]
    for place, name in enumerate(names):
        score = scores[name]
        np.testing.assert_allclose(dots[place].get_xydata(), [(score.value, place)])
        np.testing.assert_allclose(
            bars[place].get_xydata(), [(score.low, place), (score.high, place)]
        )
    assert dots[0].get_color() == dots[1].get_color() != dots[2].get_color()
    best, chance = axes.lines[-2:]
    assert best.get_xdata() == [0.79, 0.79] and chance.get_xdata() == [1 / 6, 1 / 6]
    (right,) = axes.child_axes
    assert [text.get_text() for text in right.get_yticklabels()] == [str(scores[n]) for n in names]
    assert {"balanced accuracy", "trained", "baseline", "best baseline", "chance"} <= texts(figure)


def test_scores_without_interval_or_value(tmp_path, drawn):
    nothing = Interval(math.nan, math.nan, math.nan)
    rows = [("none", nothing), ("one", Interval(0.5, math.nan, math.nan))]
    figures.scores_figure(rows, tmp_path / "s.png", ours=("one",), metric="AUROC")
    axes = drawn[0].axes[0]
    (right,) = axes.child_axes
    assert [text.get_text() for text in right.get_yticklabels()] == ["undefined", "0.500"]
    assert not {"best baseline", "chance"} & texts(drawn[0])


# ---- heatmap ---------------------------------------------------------------------------------


def test_heatmap_cells(tmp_path, drawn):
    axes = draw("heatmap", drawn, tmp_path).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["lstm", "cnn"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["mean", "last", "ends"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {
        (0, 0): "0.700\n[0.650, 0.750]",
        (1, 0): "failed",
        (2, 0): "missing",
        (0, 1): "0.500",
        (1, 1): "missing",
        (2, 1): "0.900\n[0.850, 0.950]",
    }
    hatched = {
        (patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in axes.patches if patch.get_hatch()
    }
    assert hatched == {(1, 0), (2, 0), (1, 1)}
    (image,) = axes.images
    np.testing.assert_allclose(
        image.get_array().filled(np.nan), [[0.7, np.nan, np.nan], [0.5, np.nan, 0.9]]
    )
    assert (image.norm.vmin, image.norm.vmax) == (0.5, 0.9)
    assert axes.get_title() == "balanced accuracy, $x_1$"


@pytest.mark.parametrize(
    "cells",
    [{("a", "b"): None}, {("a", "b"): Interval(3, 2, 4)}, {("a", "b"): Interval(*[math.nan] * 3)}],
)
def test_heatmap_of_one_cell(cells, tmp_path, drawn):
    figures.heatmap(cells, tmp_path / "h.png", title="loss")
    assert {"failed", "3.000\n[2.000, 4.000]", "undefined"} & texts(drawn[0])


@pytest.mark.parametrize(("R", "K"), [(1, 1), (8, 2), (2, 8)])
def test_intervals_fit_their_cells(R, K, tmp_path, drawn):
    cells = {(f"encoder {r}", f"pooling {k}"): ROWS[0][1] for r in range(R) for k in range(K)}
    figures.heatmap(cells, tmp_path / "h.png", title="m")
    assert_fits(drawn[0])
