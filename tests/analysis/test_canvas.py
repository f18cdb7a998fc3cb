"""A canvas gives the PNG it always gave, or an SVG that follows the theme, with a PNG beside."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.style import context

from protemb.analysis.canvas import INK, STYLE, canvas

SVG = "{http://www.w3.org/2000/svg}"


def draw(figure):
    axes = figure.add_subplot(title="a <b> title", xlabel="#010002 kept")
    axes.plot([0, 1], [0, 1], "o-", label="line")
    axes.imshow(np.eye(3), cmap="Blues")
    axes.text(0, 0, "in a cell", color="black")
    axes.axvline(1, color=INK)
    axes.legend()


def write(path):
    with canvas(path, 4, 3) as figure:
        draw(figure)


def elements(path, name):
    return list(ElementTree.parse(path).iter(SVG + name))


def test_a_png_is_what_matplotlib_writes(tmp_path):
    write(tmp_path / "a.png")
    with context(["default", STYLE]):
        figure = Figure(figsize=(4, 3), layout="constrained")
        draw(figure)
        figure.savefig(tmp_path / "b.png", dpi=150, bbox_inches="tight", pad_inches=0.08)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_svg_has_its_png_beside_it(tmp_path):
    write(tmp_path / "deep" / "a.svg")
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a.png", "a.svg"]
    write(tmp_path / "b.png")
    # Ink is black but for two steps of 255.
    np.testing.assert_allclose(
        imread(tmp_path / "deep" / "a.png"), imread(tmp_path / "b.png"), atol=2.01 / 255
    )


def test_an_svg_is_the_same_each_time(tmp_path):
    write(tmp_path / "a.svg")
    write(tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert not elements(tmp_path / "a.svg", "metadata")


def test_ink_follows_the_text_around_it(tmp_path):
    write(tmp_path / "a.svg")
    texts = {text.text: text.get("style") for text in elements(tmp_path / "a.svg", "text")}
    for name in ("a <b> title", "#010002 kept", "line"):
        assert "fill: currentColor" in texts[name]
    assert "fill" not in texts["in a cell"]  # black on its cell, whatever the theme
    styles = [path.get("style", "") for path in elements(tmp_path / "a.svg", "path")]
    assert sum("stroke: currentColor" in style for style in styles) >= 3  # spines and the line
    assert not any(INK in style for style in [*texts.values(), *styles])


def test_an_svg_has_no_background(tmp_path):
    with canvas(tmp_path / "a.svg", 2, 2) as figure:
        figure.add_subplot()
    filled = [path.get("style", "") for path in elements(tmp_path / "a.svg", "path")]
    assert filled and not any("fill: #ffffff" in style for style in filled)


def test_a_failed_svg_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), canvas(tmp_path / "a.svg", 2, 2) as figure:
        figure.add_subplot()
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())
