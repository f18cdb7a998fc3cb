"""Figures of predicted effects: points, colours, texts and panels, read back from the artists."""

import math
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from protemb.analysis.canvas import COLOURS, GREY
from protemb.analysis.measured_figure import (
    ORDER,
    PANEL,
    choice_figure,
    measured_figure,
    protein_scores_figure,
    scan_figure,
)
from protemb.sequences.amino_acids import RESIDUES

NAN = math.nan


def variants(N=300, proteins=9, seed=0):
    rng = np.random.default_rng(seed)
    measured_N = rng.normal(1, 1.5, N)
    names = ["$1A_b$", "x" * 60, *[f"2XY{v}" for v in range(proteins - 2)]]
    proteins_N = np.array(names)[rng.zipf(1.5, N) % proteins]
    return measured_N, 0.4 * measured_N + rng.normal(0, 0.6, N), proteins_N


def scan(L, seed=0):
    rng = np.random.default_rng(seed)
    sequence = "".join(rng.choice(list(RESIDUES), size=L))
    return rng.normal(0.5, 1, size=(L, 20)), sequence


PROTEINS = [
    ("small", 10, 0.9, 0.1),
    ("large", 400, 0.4, 0.35),
    ("none", 12, NAN, 0.2),
    ("x" * 60, 100, 0.6, NAN),
]
CHOICES = [
    ("best", [0.5, 0.46, 0.48], [0.3, 0.4, NAN], 0.37),
    ("average of the best $k$", [0.5, 0.52, 0.51], [0.45, 0.4, 0.41], 0.43),
    ("nothing", [0.5], [NAN], NAN),
]
DRAWINGS = {
    "measured": lambda path: measured_figure(*variants(), path, title="$t$" * 60, unit="kcal/mol"),
    "proteins": lambda path: protein_scores_figure(PROTEINS, path, title="t" * 200),
    "scan": lambda path: scan_figure(*scan(93), path, title="$t$", unit="ΔΔG (kcal/mol)"),
    "short scan": lambda path: scan_figure(*scan(1), path, title="t" * 200, unit="ΔΔG"),
    "choice": lambda path: choice_figure(CHOICES, path, title="a $b$"),
    "one choice": lambda path: choice_figure(CHOICES[:1], path, title="b"),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: saved.append(self) or save(self, *a, **k)
    )
    return saved


def legend_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


# ---- every figure ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_bytes_each_time(name, tmp_path):
    for copy in ("a", "b"):
        assert DRAWINGS[name](tmp_path / f"{copy}.svg") == tmp_path / f"{copy}.svg"
    for kind in ("svg", "png"):
        first, second = (tmp_path / f"{copy}.{kind}" for copy in "ab")
        assert first.read_bytes() == second.read_bytes()
    image = imread(tmp_path / "a.png")
    for edge in (image[:3], image[-3:], image[:, :3], image[:, -3:]):
        assert (edge == 1).all()
    assert max(image.shape) < 2600


@pytest.mark.parametrize("name", DRAWINGS)
def test_labels_do_not_overlap_and_are_no_formulas(name, tmp_path, drawn, monkeypatch):
    DRAWINGS[name](tmp_path / "a.png")
    figure = drawn[-1]
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {}
    monkeypatch.setattr(
        Text, "draw", lambda text, _: boxes.update({text: text.get_window_extent(renderer)})
    )
    figure.draw(renderer)
    shown = {text: box for text, box in boxes.items() if text.get_text() and text.get_visible()}
    assert len(shown) >= 6 and not any(text.get_parse_math() for text in shown)
    for (one, a), (other, b) in combinations(shown.items(), 2):
        assert not a.overlaps(b), (one, other)


# ---- predicted against measured --------------------------------------------------------------


def points(figure):
    """Colour of each point."""
    return {
        tuple(point): to_hex(shape.get_facecolors()[0])
        for shape in figure.axes[0].collections
        for point in shape.get_offsets().tolist()
    }


def test_points_have_the_colour_of_their_protein(tmp_path, drawn):
    measured_N, predicted_N, proteins_N = variants()
    measured_figure(
        measured_N, predicted_N, proteins_N, tmp_path / "m.png", title="t", unit="kcal/mol", named=3
    )
    names, counts = np.unique(proteins_N, return_counts=True)
    largest = [names[i] for i in np.argsort(-counts, kind="stable")[:3]]
    colours = {name: COLOURS[i].lower() for i, name in enumerate(largest)}
    expected = {
        (x, y): colours.get(name, GREY.lower())
        for x, y, name in zip(measured_N, predicted_N, proteins_N, strict=True)
    }
    assert points(drawn[0]) == expected
    texts = legend_of(drawn[0])
    sizes = [int(text.rpartition("(")[2][:-1]) for text in texts[:4]]
    assert sizes[:3] == sorted(counts)[::-1][:3] and sum(sizes) == 300
    assert texts[3].startswith("6 others") and texts[4] == "predicted = measured"
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == "measured (kcal/mol)"
    assert axes.get_ylabel() == "predicted (kcal/mol)"
    (line,) = axes.lines
    assert line.get_xy1() == (0, 0) and line.get_slope() == 1


def test_the_corner_has_r_and_rmse_of_the_rows_drawn(tmp_path, drawn):
    measured_N, predicted_N, proteins_N = variants()
    measured_N[:2], predicted_N[2] = NAN, math.inf
    measured_figure(measured_N, predicted_N, proteins_N, tmp_path / "m.png", title="t", unit="u")
    x, y = measured_N[3:], predicted_N[3:]
    rmse = math.sqrt(((x - y) ** 2).mean())
    (corner,) = drawn[0].axes[0].texts
    assert corner.get_text().splitlines() == [
        f"r = {np.corrcoef(x, y)[0, 1]:.3f}",
        f"RMSE = {rmse:.3f}",
        "297 rows",
        "left out: 3",
    ]
    assert len(points(drawn[0])) == 297


@pytest.mark.parametrize(
    ("measured", "first"),
    [([NAN, NAN], "r = undefined"), ([1.0, 1.0], "r = undefined"), ([2.0, 1.0], "r = −1.000")],
)
def test_few_rows(measured, first, tmp_path, drawn):
    rows = (np.array(measured), np.array([0.1, 0.3]), np.array(["a", "b"]))
    measured_figure(*rows, tmp_path / "m.png", title="t", unit="u")
    assert drawn[0].axes[0].texts[0].get_text().startswith(first)


# ---- proteins --------------------------------------------------------------------------------


def test_proteins_are_sorted_with_the_baseline_beside_them(tmp_path, drawn):
    protein_scores_figure(PROTEINS, tmp_path / "p.png", title="t", metric="Spearman")
    axes = drawn[0].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [name[:5] for name in names] == ["small", "xxxxx", "large", "none"]
    low, high = axes.get_ylim()
    assert low > high, "the best is on top"
    _, own, other = axes.collections
    offsets = np.ma.filled(own.get_offsets(), NAN).tolist()
    np.testing.assert_equal(offsets, [[0.9, 0], [0.6, 1], [0.4, 2], [NAN, NAN]])
    offsets = np.ma.filled(other.get_offsets(), NAN).tolist()
    np.testing.assert_equal(offsets, [[0.1, 0], [NAN, NAN], [0.35, 2], [0.2, 3]])
    areas = own.get_sizes()
    slope = np.diff(areas[[0, 1, 2]]) / np.diff([10, 100, 400])
    assert slope[0] == pytest.approx(slope[1]) and slope[0] > 0
    (right,) = axes.child_axes
    assert [label.get_text() for label in right.get_yticklabels()] == ["10", "100", "400", "12"]
    assert [(text.get_text(), text.get_position()[1]) for text in axes.texts] == [("undefined", 3)]
    assert axes.get_xlabel() == "Spearman"
    model, baseline = (0.9 + 0.6 + 0.4) / 3, (0.1 + 0.35 + 0.2) / 3
    assert legend_of(drawn[0])[2:] == [
        f"mean of the model: {model:.3f}",
        f"mean of the baseline: {baseline:.3f}",
    ]
    lines = [line.get_xdata()[0] for line in axes.lines]
    assert lines == [pytest.approx(model), pytest.approx(baseline), 0]


def test_no_scores_at_all(tmp_path, drawn):
    protein_scores_figure([("a", 10, NAN, NAN)], tmp_path / "p.png", title="t")
    assert legend_of(drawn[0]) == ["model (area: rows)", "baseline"]
    with pytest.raises(ValueError, match="rows: got none"):
        protein_scores_figure([], tmp_path / "q.png", title="t")


# ---- scans -----------------------------------------------------------------------------------


@pytest.mark.parametrize("L", [1, PANEL, PANEL + 1, 233])
def test_panels_hold_every_substitution_once(L, tmp_path, drawn):
    scores_LA, sequence = scan(L)
    scores_LA[0, 3] = NAN
    scan_figure(scores_LA, sequence, tmp_path / "s.png", title="t", unit="kcal/mol")
    panels = [axes for axes in drawn[0].axes if axes.images]
    assert len(panels) == math.ceil(L / PANEL)
    limits, dots, found = set(), {}, {}
    for axes in panels:
        (image,) = axes.images
        left, right, bottom, top = image.get_extent()
        assert (bottom, top) == (19.5, -0.5)
        limits.add(image.get_clim())
        letters = [label.get_text() for label in axes.get_yticklabels()]
        assert "".join(letters) == ORDER
        values = np.ma.filled(image.get_array().astype(float), NAN)
        for (row, column), value in np.ndenumerate(values):
            found[round(left + 0.5) + column, letters[row]] = value
        (dotted,) = axes.lines
        dots |= {int(x): letters[int(y)] for x, y in dotted.get_xydata()}
        (above,) = axes.child_axes
        there = range(round(left + 0.5), round(right - 0.5) + 1)
        written = [label.get_text() for label in above.get_xticklabels()]
        assert list(above.get_xticks()) == list(there)
        assert "".join(written) == sequence[there[0] - 1 : there[-1]]
        for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
            assert label.get_text() == str(tick) and (tick % 10 == 0 or tick == there[0])
    assert dots == {position: letter for position, letter in enumerate(sequence, 1)}
    expected = {
        (position + 1, letter): 0.0 if sequence[position] == letter else scores_LA[position, a]
        for position in range(L)
        for a, letter in enumerate(RESIDUES)
    }
    assert found.keys() == expected.keys()
    np.testing.assert_equal([found[key] for key in expected], list(expected.values()))
    substituted = [abs(x) for x in expected.values() if not math.isnan(x)]
    assert limits == {(-max(substituted), max(substituted))}


def test_only_missing_scores_are_hatched(tmp_path, drawn):
    scores_LA, sequence = scan(150)
    own = [RESIDUES.index(letter) for letter in sequence]
    scores_LA[range(150), own] = NAN  # the protein's own: a dot, no hatching
    scan_figure(scores_LA, sequence, tmp_path / "a.png", title="t", unit="u")
    assert legend_of(drawn[0]) == ["the protein's own residue"]
    assert not any(patch.get_hatch() for axes in drawn[0].axes for patch in axes.patches)
    scores_LA[140, (own[140] + 1) % 20] = NAN
    scan_figure(scores_LA, sequence, tmp_path / "a.png", title="t", unit="u")
    assert legend_of(drawn[1]) == ["the protein's own residue", "no score"]
    hatched = [[p.get_hatch() for p in axes.patches] for axes in drawn[1].axes if axes.images]
    assert not hatched[0] and len(hatched[1]) == 1


def test_unknown_residues_and_nothing_to_show(tmp_path, drawn):
    scan_figure(np.full((3, 20), NAN), "AXZ", tmp_path / "a.png", title="t", unit="u")
    axes = drawn[0].axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1, ORDER.index("A")]]
    assert axes.images[0].get_clim() == (-1, 1)


def test_residues_may_have_another_order(tmp_path, drawn):
    scores_LA, sequence = scan(5)
    scan_figure(scores_LA, sequence, tmp_path / "a.png", title="t", unit="u", residues=RESIDUES)
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(RESIDUES)
    shown = axes.images[0].get_array()
    own = np.array([[letter == residue for residue in RESIDUES] for letter in sequence])
    np.testing.assert_array_equal(shown, np.where(own, 0, scores_LA).T)


@pytest.mark.parametrize(
    ("shape", "sequence", "residues"),
    [((0, 20), "", ORDER), ((3, 20), "AA", ORDER), ((2, 21), "AA", ORDER), ((2, 20), "AA", "ARN")],
)
def test_a_scan_fits_its_protein(shape, sequence, residues, tmp_path):
    with pytest.raises(ValueError, match="scores_LA: got"):
        scan_figure(
            np.zeros(shape), sequence, tmp_path / "a.png", title="t", unit="u", residues=residues
        )
    assert not list(tmp_path.iterdir())


# ---- choices ---------------------------------------------------------------------------------


def test_choices_have_their_folds_means_and_the_whole(tmp_path, drawn):
    choice_figure(CHOICES, tmp_path / "c.png", title="t", metric="r")
    best, average, nothing = drawn[0].axes
    assert [axes.get_title() for axes in drawn[0].axes] == [name for name, *_ in CHOICES]

    def lines(axes, colour):
        return [line.get_ydata() for line in axes.lines if line.get_color() == colour][:-1]

    np.testing.assert_array_equal(lines(best, GREY), [[0.5, 0.3], [0.46, 0.4]])  # both are known
    np.testing.assert_allclose(lines(average, GREY), np.array(CHOICES[1][1:3]).T)
    (mean,) = (line for line in best.lines if line.get_color() == COLOURS[0])
    np.testing.assert_allclose(mean.get_ydata(), [0.48, 0.35])
    assert [text.get_text().strip() for text in best.texts] == ["0.480", "0.350"]
    (dot,) = (line for line in average.lines if line.get_marker() == "D")
    assert dot.get_xydata().tolist() == [[1, 0.43]]
    assert [text.get_text() for text in nothing.texts] == ["undefined"]
    assert len(nothing.lines) == 1  # the line of 0
    assert legend_of(drawn[0]) == ["one fold", "mean of the folds", "all untouched rows together"]
    assert best.get_ylabel() == "r"
    assert len({axes.get_ylim() for axes in drawn[0].axes}) == 1


@pytest.mark.parametrize("rows", [[], [("best", [0.5], [0.4, 0.3], 0.4)]])
def test_choices_are_pairs(rows, tmp_path):
    with pytest.raises(ValueError, match="rows: expected one or more"):
        choice_figure(rows, tmp_path / "c.png", title="t")
    assert not list(tmp_path.iterdir())
