"""The figures of gaps and bands say what they were given: texts and marks, read back."""

import math

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from protemb.analysis.leakage import Band, gap_table
from protemb.analysis.leakage_figure import band_figure, gap_figure
from protemb.intervals import Interval


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **o: (saved.append(figure), save(figure, *a, **o))[1]
    )
    return saved


def texts(figure):
    return {text.get_text() for text in figure.findobj(Text) if text.get_text()}


def marks(axes):
    """Coordinates of all marks of a panel."""
    dots = [line for line in axes.lines if line.get_marker() in ("o", "^")]
    return np.concatenate([line.get_xydata() for line in dots]) if dots else np.empty((0, 2))


def bars(axes):
    """Both ends of every interval of a panel."""
    lines = [own for own in axes.collections if isinstance(own, LineCollection)]
    return [segment for own in lines for segment in own.get_segments() if len(segment)]


def noisy(value, seed):
    return [(value, value + 0.02 * np.random.default_rng(seed).normal(size=200))]


TABLE = gap_table(
    {
        ("mean", "random"): noisy(0.7, 1),
        ("mean", "unique"): noisy(0.5, 2),
        ("lstm", "random"): noisy(0.9, 3),
        ("lstm", "unique"): noisy(0.8, 4),
        ("lstm", "time"): [(0.4, None)],
        ("$x_1$ " + "x" * 90, "unique"): [(math.nan, None)],
    }
)
BANDS = [
    Band(0, 0.5, 0, 0, 0, None, None),
    Band(0.5, 0.9, 1, 1, 1, Interval(1, math.nan, math.nan), None),
    Band(0.9, 0.99, 0, 0, 0, None, None),
    Band(0.99, 1, 1200, 900, 6, Interval(0.75, 0.7, 0.8), Interval(0.6, 0.5, 0.7)),
    Band(1, None, 0, 0, 0, None, None),
]


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("name", ["gaps", "one", "bands"])
def test_whole_files_the_same_each_time(name, suffix, tmp_path):
    draw = {
        "gaps": lambda path: gap_figure(TABLE, path, metric="accuracy"),
        "one": lambda path: gap_figure(
            gap_table({("a", "unique"): [(0.5, None)]}), path, metric="accuracy"
        ),
        "bands": lambda path: band_figure({"lstm": BANDS, "$b_1$": BANDS}, path, chance=0.2),
    }[name]
    first, second = (tmp_path / f"{name}{number}.{suffix}" for number in (1, 2))
    assert (draw(first), draw(second)) == (first, second)
    assert first.read_bytes() == second.read_bytes()
    image = imread(first.with_suffix(".png"))
    assert min(image.shape[:2]) > 100 and image.std() > 0


def test_gaps_stand_in_rows_from_the_best_down(drawn, tmp_path):
    gap_figure(TABLE, tmp_path / "gaps.png", metric="balanced accuracy")
    left, right = drawn[0].axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names[1:] == ["mean", "lstm"]  # from the bottom up
    assert names[0].startswith("$x_1$ x") and len(names[0]) == 40
    assert texts(drawn[0]) >= {"random", "unique", "time", "balanced accuracy", "undefined"}
    assert "difference to split=unique" in texts(drawn[0])
    rows = {"mean": 1, "lstm": 2}
    for axes, cells in ((left, TABLE.cells), (right, TABLE.gaps)):
        found = {(round(y), round(x, 9)) for x, y in marks(axes) if not math.isnan(x)}
        expected = {
            (rows[model], round(score.value, 9))
            for (model, _), score in cells.items()
            if model in rows
        }
        assert found == expected
        ends = {(round(a[0], 9), round(b[0], 9)) for a, b in bars(axes) if not math.isnan(a[0])}
        assert ends == {
            (round(score.low, 9), round(score.high, 9))
            for score in cells.values()
            if not math.isnan(score.low)
        }
    # Nothing of one row overlaps another.
    assert all(abs(y - round(y)) < 0.5 for _, y in marks(left))


def test_bands_stand_over_their_records(drawn, tmp_path):
    other = [*BANDS]
    other[3] = Band(0.99, 1, 1200, 900, 6, Interval(0.25, 0.2, 0.3), None)
    band_figure({"lstm": BANDS, "mean": other}, tmp_path / "bands.png", chance=1 / 6)
    above, below = drawn[0].axes
    # The empty band before the first record is left out, later ones are not.
    names = [label.get_text() for label in below.get_xticklabels()]
    assert names == ["0.5\nto 0.9", "0.9\nto 0.99", "0.99\nto 1", "identical"]
    found = sorted((round(x), y) for x, y in marks(above))
    assert found == [(0, 1), (0, 1), (2, 0.25), (2, 0.75)]
    ends = sorted((a[1], b[1]) for a, b in bars(above) if not math.isnan(a[1]))
    assert ends == [(0.2, 0.3), (0.7, 0.8)]
    assert [bar.get_height() for bar in below.patches] == [1, 0, 1200, 0]
    assert texts(drawn[0]) >= {"1\n(1)", "0\n(0)", "1,200\n(900)", "lstm", "mean", "chance"}
    assert len({x for x, _ in marks(above)}) == 4  # side by side


def test_bands_of_other_records_are_refused(tmp_path):
    other = [*BANDS[:3], Band(0.99, 1, 7, 7, 6, Interval(0.25, 0.2, 0.3), None), BANDS[4]]
    for bands in ({}, {"a": BANDS, "b": other}):
        with pytest.raises(ValueError, match="expected one for all models"):
            band_figure(bands, tmp_path / "bands.png")
    assert not list(tmp_path.iterdir())
