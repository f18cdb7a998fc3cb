"""The page holds what the document says and nothing else; its life is in test_page_browser.py."""

import json
import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.analysis.canvas import canvas
from protemb.analysis.document import (
    Code,
    Column,
    Document,
    Link,
    Note,
    Picture,
    Scatter,
    Section,
    Table,
    cell_text,
    cell_value,
)
from protemb.analysis.inline import inline_svg
from protemb.analysis.page import render, write_page
from protemb.analysis.pagedata import LISTED, as_json, payload
from protemb.intervals import Interval

HOSTILE = "\"'><script>canary()</script><b onclick=canary()>&amp;<!--"
VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """Elements in order, the text in them, and that each is closed where it should be."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append((self.open[-1] if self.open else "", text))

    def within(self, tag):
        return [text for place, text in self.texts if place == tag]


@pytest.fixture
def picture(tmp_path):
    with canvas(tmp_path / "figures" / "a.svg", 3, 2) as figure:
        axes = figure.add_subplot(title="drawn")
        axes.plot([0, 1], [0, 1], "o-")
    return tmp_path / "figures" / "a.svg"


def make(word, picture, *, scatter=True):
    """A document in which every text is `word`."""
    columns = (Column(word, "text", word), Column(word, "interval", word), Column(word, "link"))
    rows = (
        (word, Interval(0.5, 0.4, 0.6), Link(word, word)),
        (word, None, Link(word, "#part")),
        (None, Interval(-0.1, -0.2, 0.1), None),
    )
    points_M2 = np.array([[0.0, 1], [2, 3], [np.nan, np.nan]])
    maps = Scatter("maps", {word: points_M2}, [word] * 3, {word: [word, "", word]}, word, word)
    blocks = (
        Table(columns, rows, word, "scores"),
        Picture(picture, word, word),
        *([maps] if scatter else []),
        Note(word, "warning"),
        Note(word),
        Code(word),
        Picture(picture, word, word),
    )
    return Document(word, word, (word, word), {word: word}, (Section(word, "part", word, blocks),))


# ---- safety ----------------------------------------------------------------------------------


def test_texts_are_never_markup(tmp_path, picture):
    tame = Reader(render(make("tame", picture), base=tmp_path))
    wild = Reader(render(make(HOSTILE, picture), base=tmp_path))
    assert [tag for tag, _ in wild.elements] == [tag for tag, _ in tame.elements]
    assert [set(attrs) for _, attrs in wild.elements] == [set(attrs) for _, attrs in tame.elements]
    for tag in ("title", "h1", "h2", "code", "dt", "dd", "figcaption", "summary", "p"):
        expected = [text.replace("tame", HOSTILE) for text in tame.within(tag)]
        assert wild.within(tag) == expected and (
            tag == "summary" or any(HOSTILE in t for t in expected)
        )


def test_only_known_scripts_run(tmp_path, picture):
    page = render(make("a", picture), base=tmp_path)
    policy = dict(Reader(page).elements[[t for t, _ in Reader(page).elements].index("meta") + 1][1])
    assert policy["http-equiv"] == "Content-Security-Policy"
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    hashes = {
        f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
        for kind, text in scripts
        if "json" not in kind
    }
    directives = dict(part.strip().split(" ", 1) for part in policy["content"].split(";"))
    assert directives["default-src"] == "'none'"
    assert set(directives["script-src"].split()) == hashes and len(hashes) == 4


def test_nothing_is_elsewhere(tmp_path, picture):
    elements = Reader(render(make(HOSTILE, picture), base=tmp_path)).elements
    targets = [attrs[name] for _, attrs in elements for name in ("src", "href") if name in attrs]
    assert targets and not [
        t for t in targets if re.match(r"(?!data:image/png|data:,)[a-z]+:|/", t)
    ]


def test_no_map_no_plotly(tmp_path, picture):
    assert len(render(make("a", picture, scatter=False), base=tmp_path)) < 100_000


@given(st.text())
def test_json_in_a_page_reads_back(text):
    written = as_json({"a": [text]})
    assert json.loads(written) == {"a": [text]}
    assert not set("<>&\u2028\u2029") & set(written)


# ---- pictures --------------------------------------------------------------------------------


def test_ids_are_unique_and_found(tmp_path, picture):
    page = render(make("a", picture), base=tmp_path)
    elements = Reader(page).elements
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    svg = "".join(re.findall(r"<svg width.*?</svg>", page, re.DOTALL))
    wanted = re.findall(r'(?:url\(|href=")#([^)"]+)', svg)
    assert wanted and set(wanted) <= set(ids)
    linked = {attrs["href"] for tag, attrs in elements if tag == "a" and "href" in attrs}
    assert {"figures/a.svg", "figures/a.png", "#part"} <= linked


def test_a_picture_keeps_to_itself(tmp_path):
    path = tmp_path / "a.svg"
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'width="72pt" height="36pt" onload="x()"><style>*{color:red}</style><script>x()</script>'
        '<a xlink:href="javascript:x()"><text>no</text></a><!-- x -->'
        '<image xlink:href="https://host/x.png"/><use xlink:href="#m" onclick="x()"/>'
        '<g id="m" clip-path="url(#m)"><text>a &lt; b</text></g></svg>'
    )
    assert inline_svg(path, alt='a "b"', prefix="p_") == (
        '<svg width="96" height="48" style="min-width: 96px" role="img" '
        'aria-label="a &quot;b&quot;"><image /><use href="#p_m" />'
        '<g id="p_m" clip-path="url(#p_m)"><text>a &lt; b</text></g></svg>'
    )


def test_a_missing_picture(tmp_path):
    with pytest.raises(FileNotFoundError):
        render(make("a", tmp_path / "gone.svg"), base=tmp_path)


# ---- tables ----------------------------------------------------------------------------------


def bars(*intervals):
    table = Table((Column("x", "interval"),), tuple((i,) for i in intervals), "", "t")
    page = render(Document("", "", (), {}, (Section("", "s", "", (table,)),)), base=None)
    places = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)".*?<circle cx="([\d.]+)"', page)
    zeros = {float(x) for x in re.findall(r'class="zero" x1="([\d.]+)"', page)}
    return [tuple(map(float, place)) for place in places], zeros


def test_bars_are_to_scale():
    (one, two), zeros = bars(Interval(0.1, -0.1, 0.3), Interval(0.2, 0.1, 0.4))
    pixels = np.array([one[0], one[2], one[1], two[0], two[2], two[1]])
    values = np.array([-0.1, 0.1, 0.3, 0.1, 0.2, 0.4])
    slope = (pixels[5] - pixels[0]) / 0.5
    np.testing.assert_allclose(pixels, pixels[0] + slope * (values + 0.1), atol=0.06)
    assert 0 < pixels.min() < pixels.max() < 56
    assert list(zeros) == pytest.approx([pixels[0] + slope * 0.1], abs=0.06)
    assert bars(Interval(0.2, 0.1, 0.3))[1] == set()  # no zero where all have one sign


@pytest.mark.parametrize("ends", [(0.5, np.nan, np.nan), (0.5, 0.5, 0.5), (np.nan,) * 3])
def test_no_bar_without_ends(ends):
    assert bars(Interval(*ends)) == ([], set())


@pytest.mark.parametrize(
    ("cell", "digits", "text", "value"),
    [
        (Interval(0.931, 0.912, 0.95), 2, "0.93 [0.91, 0.95]", 0.931),
        (Interval(-0.004, -0.02, 0.001), 2, "0.00 [−0.02, 0.00]", -0.004),
        (Interval(0.5, np.nan, np.nan), 1, "0.5", 0.5),
        (Interval(np.nan, np.nan, np.nan), 1, "–", None),
        (np.float64(1234.5), 1, "1,234.5", 1234.5),
        (np.int64(-12345), 2, "−12,345", -12345),
        (0.0, 2, "0.00", 0.0),
        (2e-7, 3, "2e−7", 2e-7),
        (np.inf, 2, "∞", np.inf),
        (None, 2, "–", None),
        (np.nan, 2, "–", None),
        ("0.5", 2, "0.5", None),
        (Link("here", "a"), 2, "here", None),
    ],
)
def test_cells(cell, digits, text, value):
    assert (cell_text(cell, digits), cell_value(cell)) == (text, value)


# ---- maps ------------------------------------------------------------------------------------


def test_the_maps_data_belong_together():
    M = 50
    rng = np.random.default_rng(0)
    points_M2 = rng.normal(size=(M, 2)) * 1e-3
    points_M2[7, 1] = np.nan
    hosts = [f"host {c}" for c in rng.integers(20, size=M)]
    years = [None, np.nan, *np.arange(1950, 1950 + M - 2)]
    fields = {"host": hosts, "year": years}
    scatter = Scatter("m", {"own": points_M2}, [f"id {i}" for i in range(M)], fields, "year", "")
    data = json.loads(as_json(payload(scatter)))
    rows = [int(name.split()[1]) for name in data["ids"]]
    assert sorted(rows) == list(range(M)) != rows and data["colourBy"] == 1
    host, year = data["fields"]
    assert [host["names"][code] for code in host["values"]] == [hosts[row] for row in rows]
    assert year["kind"] == "numbers"
    assert year["values"] == [None if row < 2 else 1948 + row for row in rows]
    drawn_M2 = np.array([data["maps"][0]["x"], data["maps"][0]["y"]], float).T
    assert np.isnan(drawn_M2[rows.index(7)]).all()
    kept = [place for place, row in enumerate(rows) if row != 7]
    np.testing.assert_allclose(
        drawn_M2[kept], points_M2[rows][kept], atol=1e-4 * np.nanmax(np.ptp(points_M2, axis=0))
    )


def test_the_most_frequent_classes_are_listed():
    values = [f"c{i}" for i in range(20) for _ in range(30 - i)] + ["", None]
    points_M2 = np.zeros((len(values), 2))
    scatter = Scatter("m", {"own": points_M2}, values, {"class": values}, "class", "")
    (field,) = payload(scatter)["fields"]
    assert field["listed"] == LISTED and len(field["names"]) == 20
    frequent = [name for name, _ in Counter(values[:-2]).most_common(LISTED)]
    assert field["names"][:LISTED] == sorted(frequent)
    assert field["values"].count(-1) == 2


@pytest.mark.parametrize("values", [["1", 2, 3], [True, False, True], ["", None, ""]])
def test_not_all_numbers_are_classes(values):
    scatter = Scatter("m", {"own": np.zeros((3, 2))}, "abc", {"x": values}, "x", "")
    assert payload(scatter)["fields"][0]["kind"] == "classes"


# ---- documents -------------------------------------------------------------------------------


def test_write_page(tmp_path, picture):
    document = make("a", "figures/a.svg")
    path = write_page(document, str(tmp_path / "report.html"))
    assert path.read_text() == render(document, base=tmp_path)
    assert path.read_text() == render(make("a", picture), base=tmp_path)


@pytest.mark.parametrize("key", ["", "A", "1a", "a b", "a_b", "part"])
def test_bad_keys(key, picture):
    section = make("a", picture).sections[0]
    with pytest.raises(ValueError, match="key"):
        Document("", "", (), {}, (section, replace(section, key=key, blocks=())))


@pytest.mark.parametrize(
    "make_it",
    [
        lambda: Table((Column("a"),), ((1, 2),), "", "t"),
        lambda: Link("a", "/etc"),
        lambda: Scatter("m", {}, "ab", {"x": "ab"}, "x", ""),
        lambda: Scatter("m", {"a": np.zeros((3, 2))}, "ab", {"x": "ab"}, "x", ""),
        lambda: Scatter("m", {"a": np.zeros((2, 2))}, "ab", {"x": "abc"}, "x", ""),
        lambda: Scatter("m", {"a": np.zeros((2, 2))}, "ab", {"x": "ab"}, "y", ""),
        lambda: Scatter("m", {"a": np.zeros((2, 2))}, "ab", {"x": "ab"}, "x", "", {"b": ""}),
    ],
)
def test_what_does_not_fit(make_it):
    with pytest.raises(ValueError, match="expected"):
        make_it()
