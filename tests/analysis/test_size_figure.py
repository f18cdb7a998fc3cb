"""The figures of sizes say what they were given: texts and marks, read back."""

import math

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from protemb.analysis.size_figure import capacity_figure, size_figure
from protemb.analysis.sizes import SizeCurves, capacity_table, size_curve


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **o: (saved.append(figure), save(figure, *a, **o))[1]
    )
    return saved


def noisy(value, seed=0):
    return value, value + 0.02 * np.random.default_rng(seed).normal(size=200)


CURVES = size_curve(
    [
        (size, model, *noisy(start + gain * place))
        for model, start, gain in (("$m_1$", 0.5, 0.02), ("lstm", 0.45, 0.1))
        for place, size in enumerate((250, 500, 1000))
    ]
    + [(500, "x" * 90, math.nan, None)]
)
ROWS = capacity_table(
    [
        ("dense", 1_500, *noisy(0.6)),
        ("lstm", 21_900, *noisy(0.7, 1)),
        ("matched", 22_100, *noisy(0.65, 2)),
        ("undefined", 43_000, math.nan, None),
        ("large", 7_500_000, 0.8, None),
    ]
)
DRAWINGS = {
    "curves": lambda path: size_figure(CURVES, path, metric="balanced accuracy", chance=0.2),
    "one point": lambda path: size_figure(size_curve([(9, "m", 0.5, None)]), path, metric="m"),
    "capacity": lambda path: capacity_figure(ROWS, path, metric="balanced accuracy"),
    "one model": lambda path: capacity_figure(ROWS[:1], path, metric="m"),
}


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("name", DRAWINGS)
def test_whole_files_the_same_each_time(name, suffix, tmp_path):
    first, second = (tmp_path / f"{number}.{suffix}" for number in (1, 2))
    assert (DRAWINGS[name](first), DRAWINGS[name](second)) == (first, second)
    assert first.read_bytes() == second.read_bytes()
    image = imread(first.with_suffix(".png"))
    assert min(image.shape[:2]) > 100 and image.std() > 0


def found(axes):
    """Marks with a value, and ends of intervals, of a panel."""
    dots = [line.get_xydata() for line in axes.lines if line.get_marker() in ("o", "^")]
    lines = [own for own in axes.collections if isinstance(own, LineCollection)]
    bars = [segment for own in lines for segment in own.get_segments() if len(segment)]
    return np.concatenate(dots), [bar for bar in bars if not np.isnan(bar).any()]


def shown(figure):
    return {text.get_text() for text in figure.findobj(Text) if text.get_text()}


def test_curves_over_training_records(drawn, tmp_path):
    DRAWINGS["curves"](tmp_path / "curves.png")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    dots, bars = found(axes)
    expected = [
        (point.train_records, point.score)
        for curve in CURVES.curves.values()
        for point in curve.points
    ]
    for (x, y), (records, score) in zip(dots, expected, strict=True):
        assert x == pytest.approx(records, rel=0.1)
        assert y == pytest.approx(score.value, nan_ok=True)
    ends = [(bar[0, 1], bar[1, 1]) for bar in bars]
    wanted = [(score.low, score.high) for _, score in expected if not math.isnan(score.low)]
    assert ends == pytest.approx(np.array(wanted))
    assert len({x for x, _ in dots}) == len(dots)  # side by side
    assert shown(drawn[0]) >= {"$m_1$", "lstm", "chance", "training records", "balanced accuracy"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["250", "500", "1,000"]


def test_scores_over_parameters(drawn, tmp_path):
    DRAWINGS["capacity"](tmp_path / "capacity.png")
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "log"
    dots, bars = found(axes)
    assert dots == pytest.approx(
        np.array([(row.parameters, row.score.value) for row in ROWS]), nan_ok=True
    )
    assert [(bar[0, 0], bar[0, 1], bar[1, 1]) for bar in bars] == pytest.approx(
        np.array([(row.parameters, row.score.low, row.score.high) for row in ROWS[:3]])
    )
    # 22,100 and 43,000 would be written over 21,900.
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["1,500", "21,900", "7,500,000"]
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
    assert shown(drawn[0]) >= {row.model for row in ROWS}


def test_nothing_to_draw_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="got none"):
        size_figure(SizeCurves({}, ()), tmp_path / "a.png", metric="m")
    with pytest.raises(ValueError, match="got none"):
        capacity_figure([], tmp_path / "a.png", metric="m")
    assert not list(tmp_path.iterdir())
