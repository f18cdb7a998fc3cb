"""The forest plot says what it was given: rows, numbers, colours and the band, read back."""

import math
from itertools import pairwise

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from protemb.analysis.forest import LOOKS, forest
from protemb.intervals import Interval

UNDEFINED = Interval(math.nan, math.nan, math.nan)
ROWS = [
    ("lstm − $b_1$", Interval(0.07, 0.03, 0.11), "above"),
    ("lstm − bilstm", Interval(-0.05, -0.08, -0.021), "below"),
    ("a − b", Interval(0.003, -0.006, 0.012), "equivalent"),
    ("x" * 90, Interval(0.04, -0.02, 0.1), "unclear"),
    ("nothing", UNDEFINED, "unclear"),
    ("no ends", Interval(0.02, math.nan, math.nan), "unclear"),
]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw rows; return the figure as it was when it was saved."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: saved.append(self) or save(self, *a, **k)
    )

    def draw(rows, margin=0.02):
        assert forest(rows, tmp_path / "f.png", margin=margin, metric="mcc") == tmp_path / "f.png"
        assert imread(tmp_path / "f.png").ndim == 3
        return saved[-1]

    return draw


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_each_row_has_its_name_mark_and_numbers(drawn):
    figure = drawn(ROWS)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:3] == [name for name, _, _ in ROWS[:3]] and len(names[3]) == 64
    lines = {
        (round(float(line.get_ydata()[0])), len(line.get_xdata())): line
        for line in axes.lines
        if len(set(line.get_ydata())) == 1
    }
    for place, (_, difference, outcome) in enumerate(ROWS[:4]):
        ends, mark = lines[place, 2], lines[place, 1]
        assert tuple(ends.get_xdata()) == (difference.low, difference.high)
        assert list(mark.get_xdata()) == [difference.value]
        assert (mark.get_marker(), mark.get_color()) == LOOKS[outcome]
        assert ends.get_color() == mark.get_color()
    assert (4, 1) not in lines and (5, 1) in lines
    top, bottom = axes.transData.transform([(0, 0), (0, 5)])[:, 1]
    assert top > bottom, "the first row is on top"
    written = texts(figure)
    for text in ("+0.070 [+0.030, +0.110]", "−0.050 [−0.080, −0.021]", "undefined", "+0.020"):
        assert text in written


def test_band_and_zero_are_marked(drawn):
    axes = drawn(ROWS, margin=0.03).axes[0]
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.03, 0.03))
    assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)
    assert not drawn(ROWS, margin=0).axes[0].patches


def test_legend_names_what_is_drawn_and_nothing_else(drawn):
    (legend,) = drawn([ROWS[2], ROWS[0], ROWS[4]]).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "within ±0.02",
        "above",
        "equivalent",
    ]


def test_outcomes_look_different():
    assert len({to_hex(colour) for _, colour in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[4:5], ROWS * 6])
def test_texts_do_not_overlap(drawn, rows):
    figure = drawn(rows)
    figure.canvas.draw()
    for labels in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_svg_is_written_with_a_png_beside_it(tmp_path):
    path = forest(ROWS, tmp_path / "pairs.svg", margin=0.02, metric="mcc")
    assert path.read_text(encoding="utf-8").count("<svg") == 1
    assert imread(tmp_path / "pairs.png").ndim == 3


def test_no_rows_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="rows: got none"):
        forest([], tmp_path / "f.png", margin=0.02, metric="mcc")
    assert not list(tmp_path.iterdir())
