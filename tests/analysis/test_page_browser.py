"""The page as a reader meets it, in a real browser: Chromium without a screen."""

import re

import numpy as np
import pytest

from protemb.analysis.canvas import COLOURS, canvas
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
)
from protemb.analysis.page import write_page
from protemb.intervals import Interval

HOSTILE = "\"'><script>window.canary=1</script><img src=x onerror=window.canary=1><b>&amp;bold</b>"
POINT = ".scatterlayer .point"
M = 1300
HOSTS = ["avian", "human", "swine", "equine"]


@pytest.fixture
def visit(browser):
    """Open a file; what goes wrong in the page, or asks for anything, fails the test."""
    contexts, trouble = [], []

    def open_file(path, width=1280, height=900, **options):
        viewport = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda r: (
                r.url in (path.as_uri(),)
                or r.url[:5] in ("data:", "blob:")
                or trouble.append(r.url)
            ),
        )
        page.goto(path.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert trouble == []


def realistic(folder):
    """A report of the size that the real data give: 12 maps, 15 pictures, wide tables."""
    rng = np.random.default_rng(0)
    paths = [folder / "figures" / f"{number}.svg" for number in range(15)]
    for path in paths[:3]:
        with canvas(path, 9, 3) as figure:
            axes = figure.add_subplot(title="drawn")
            axes.plot(rng.normal(size=200).cumsum())
    for path in paths[3:]:
        path.write_bytes(paths[0].read_bytes())
    pictures = tuple(Picture(path, "a line", "A line.") for path in paths)
    columns = (
        Column("encoder"),
        Column("score", "interval", "More is better."),
        *(Column(f"another score {number}", "interval") for number in range(5)),
        Column("n", "number"),
        Column("run", "link"),
    )
    scores = [0.5, None, -0.2, 0.11, 0.9, 0.1]
    names = ["b 10", "b 9", "a", "d", "c", "e"]
    rows = tuple(
        (
            name,
            score and Interval(score, score - 0.1, score + 0.05),
            *[Interval(0.5, 0.4, 0.6)] * 5,
            number,
            Link("run", "runs/a b"),
        )
        for number, (name, score) in enumerate(zip(names, scores, strict=True))
    )
    fields = {
        "host": rng.choice(HOSTS, M, p=[0.4, 0.3, 0.2, 0.1]).tolist(),
        "country": rng.choice([f"country {number}" for number in range(30)], M).tolist(),
        "year": [None, *rng.integers(1934, 2024, M - 1).tolist()],
    }
    maps = {f"encoder {number}": rng.normal(size=(M, 2)) for number in range(12)}
    ids = [f"A/{number:04}" for number in range(M)]
    scatter = Scatter("maps", maps, ids, fields, "host", "Dots.", {"encoder 1": "trusted 0.93"})
    sections = (
        Section("Scores", "scores", "Some.\n\nMore.", (Table(columns, rows, "All", "table"),)),
        Section("Maps", "vectors", "Dots.", (scatter, Note("Beware.", "warning"))),
        Section("Figures", "figures", "Lines.", pictures),
        Section("Methods", "methods", "", (Code("protemb report\n  runs"),)),
    )
    facts = {"data": "influenza_ha", "version": "1.0"}
    return Document("A report", "of runs", ("It works.", "It does."), facts, sections), scatter


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    document, scatter = realistic(folder)
    return write_page(document, folder / "report.html"), scatter


def show_map(page):
    """Bring the map to the screen and wait for its points."""
    page.locator("figure.scatter .plot").scroll_into_view_if_needed()
    page.wait_for_selector(POINT)


def drawn(page):
    """Colours of the points, and their places by the record's id."""
    names, colours, places = page.evaluate(
        """() => {
            const { customdata, x, y, marker } = document.querySelector(".canvas").data[0];
            const { ids } = JSON.parse(document.querySelector(".data").textContent);
            return [customdata.map((row) => ids[row]), marker.color, x.map((x, i) => [x, y[i]])];
        }"""
    )
    return dict(zip(names, colours, strict=True)), dict(zip(names, places, strict=True))


def fill(page, selector):
    return page.locator(selector).first.evaluate("e => getComputedStyle(e).fill")


# ---- the whole page --------------------------------------------------------------------------


def test_small_and_quick(report, visit):
    path, _ = report
    assert path.stat().st_size < 10e6
    timing = "performance.getEntriesByType('navigation')[0].loadEventEnd"
    for _ in range(3):  # the machine may be busy once, not thrice
        if 0 < visit(path).evaluate(timing) < 3000:
            return
    pytest.fail("the page took more than 3 s to open, three times")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme(report, visit, scheme):
    page = visit(report[0], color_scheme=scheme)

    def lightness():
        paper, text = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('.plate text')).fill]"
        )
        return [sum(map(int, re.findall(r"\d+", colour)[:3])) / 765 for colour in (paper, text)]

    paper, text = lightness()
    assert (paper > 0.9 and text < 0.2) if scheme == "light" else (paper < 0.1 and text > 0.8)
    page.locator("#_theme").click()
    after = lightness()
    assert (after[0] > 0.5) == (scheme == "dark") and (after[1] < 0.5) == (scheme == "dark")
    page.reload()
    assert lightness() == after
    page.emulate_media(media="print")
    assert lightness()[0] == 1


@pytest.mark.parametrize("width", [360, 1280])
def test_no_sideways_scrolling(report, visit, width):
    page = visit(report[0], width, 740, is_mobile=width < 400, has_touch=width < 400)
    show_map(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#table .scroll")
    assert width == 1280 or box.evaluate("e => e.scrollWidth > e.clientWidth")
    # The first column stays in sight.
    left = page.locator("#table tbody th").first.bounding_box()["x"]
    box.evaluate("e => e.scrollTo(9999, 0)")
    assert page.locator("#table tbody th").first.bounding_box()["x"] == pytest.approx(left, abs=1)


def test_contents_lead_to_sections(report, visit):
    page = visit(report[0])
    assert page.locator("nav a").all_text_contents() == ["Scores", "Maps", "Figures", "Methods"]
    page.locator("nav a", has_text="Figures").click()
    page.wait_for_function(
        "Math.abs(document.getElementById('figures').getBoundingClientRect().top) < 40"
    )


def test_copy(report, visit):
    page = visit(report[0], permissions=["clipboard-read", "clipboard-write"])
    page.locator(".copy").click()
    page.wait_for_function("document.querySelector('.copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == "protemb report\n  runs"


# ---- tables ----------------------------------------------------------------------------------


def test_tables_sort(report, visit):
    page = visit(report[0])

    def state(name):
        heading = page.locator("#table thead th", has_text=name).first
        return page.locator("#table tbody th").all_text_contents(), heading.get_attribute(
            "aria-sort"
        )

    def button(name):
        return page.locator("#table thead button", has_text=name).first

    assert state("score") == (["b 10", "b 9", "a", "d", "c", "e"], "none")
    button("score").click()
    # By value, not by text, and the unknown one last.
    assert state("score") == (["a", "e", "d", "b 10", "c", "b 9"], "ascending")
    button("score").press("Enter")
    assert state("score") == (["c", "b 10", "d", "e", "a", "b 9"], "descending")
    button("encoder").focus()
    page.keyboard.press("Space")
    assert state("encoder") == (["a", "b 9", "b 10", "c", "d", "e"], "ascending")
    assert state("score")[1] == "none"
    page.locator("#table thead th.number button").click()
    assert state("encoder")[0] == ["b 10", "b 9", "a", "d", "c", "e"]


# ---- maps ------------------------------------------------------------------------------------


def test_maps_and_colours(report, visit):
    path, scatter = report
    page = visit(path)
    show_map(page)
    assert page.locator(POINT).count() == M
    by_host = dict(zip(sorted(HOSTS), COLOURS, strict=False))
    expected = dict(zip(scatter.ids, (by_host[h] for h in scatter.fields["host"]), strict=True))
    colours, first_places = drawn(page)
    assert colours == expected
    assert len({fill(page, f"{POINT} >> nth={n}") for n in range(40)}) == len(HOSTS)

    page.select_option(".colour select", label="country")
    assert "other (18)" in page.locator(".legend").inner_text()
    assert len(set(drawn(page)[0].values())) == len(COLOURS) + 1
    page.select_option(".colour select", label="year")
    by_year, _ = drawn(page)
    years = dict(zip(scatter.ids, scatter.fields["year"], strict=True))
    green = {
        years[name]: int(re.findall(r"\d+", c)[1]) for name, c in by_year.items() if years[name]
    }
    assert [green[year] for year in sorted(green)] == sorted(green.values())  # viridis only rises
    assert by_year[scatter.ids[0]] == "#8C8C8C"
    assert page.locator(".scale").inner_text().split() == ["1934", "2023"]

    page.select_option(".map select", label="encoder 1")
    _, places = drawn(page)
    found_M2 = np.array([places[name] for name in scatter.ids])
    np.testing.assert_allclose(found_M2, scatter.maps["encoder 1"], atol=1e-3)
    assert places != first_places
    assert page.locator(".note").inner_text() == "1300 points · trusted 0.93"


def test_hover_legend_and_search(report, visit):
    path, scatter = report
    page = visit(path)
    show_map(page)
    x_M = scatter.maps["encoder 0"][:, 0]
    for row, end in ((x_M.argmin(), min), (x_M.argmax(), max)):  # no other point is near these
        middles = page.evaluate(
            """() => [...document.querySelectorAll(".scatterlayer .point")]
                .map((point) => point.getBoundingClientRect())
                .map((box) => [box.x + box.width / 2, box.y + box.height / 2])"""
        )
        page.mouse.move(*end(middles))
        page.locator(".tip strong", has_text=scatter.ids[row]).wait_for(state="visible")
        pairs = [f"{name}{values[row]}" for name, values in scatter.fields.items()]
        assert page.locator(".tip dl div").all_text_contents() == pairs
    page.mouse.move(5, 5)
    page.wait_for_selector(".tip", state="hidden")

    human = page.locator(".legend button", has_text="human")
    human.click()
    assert human.get_attribute("aria-pressed") == "false"
    hidden = scatter.fields["host"].count("human")
    assert page.locator(POINT).count() == M - hidden
    human.press("Enter")
    assert page.locator(POINT).count() == M
    human.dblclick()
    assert page.locator(POINT).count() == hidden
    page.select_option(".colour select", label="year")
    assert page.locator(POINT).count() == M

    page.fill("input[type=search]", "a/000")
    assert page.locator(".found").text_content() == "10 found"
    sizes = page.evaluate("document.querySelector('.canvas').data[0].marker.size")
    assert sorted(sizes)[-11:] == [min(sizes)] + [max(sizes)] * 10 and max(sizes) > min(sizes)
    page.fill("input[type=search]", "A/0007")
    assert f"host {scatter.fields['host'][7]}" in page.locator(".found").text_content()


def test_a_finger(report, visit):
    """A tap tells the point, and a swipe on a map scrolls the page."""
    page = visit(report[0], 360, 740, is_mobile=True, has_touch=True)
    page.locator(".plot").evaluate("e => e.scrollIntoView({block: 'center'})")
    page.wait_for_selector(POINT)
    box = page.locator(POINT).nth(5).bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".tip", state="visible")
    tip = page.locator(".tip").bounding_box()
    assert tip["x"] >= 0 and tip["x"] + tip["width"] <= 360
    before = page.evaluate("scrollY")
    touch = page.context.new_cdp_session(page)
    for kind, move in [("touchStart", 0), *(("touchMove", 15 * n) for n in range(1, 9))]:
        points = [{"x": 180, "y": 420 - move}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"scrollY > {before} + 50")


# ---- hostile texts ---------------------------------------------------------------------------


def test_texts_are_never_markup(visit, tmp_path):
    points_M2 = np.array([[0.0, 0], [1, 1], [2, 0]])
    fields = {HOSTILE: [HOSTILE, "b", None], "<i>": [1, 2, 3]}
    scatter = Scatter(
        "maps",
        {HOSTILE: points_M2, "<u>": points_M2},
        [HOSTILE] * 3,
        fields,
        HOSTILE,
        HOSTILE,
        {HOSTILE: HOSTILE},
    )
    table = Table(
        (Column(HOSTILE, "text", HOSTILE),),
        ((HOSTILE,), (Link(HOSTILE, HOSTILE),)),
        HOSTILE,
        "table",
    )
    with canvas(tmp_path / "a.svg", 4, 2) as figure:
        figure.add_subplot(title=HOSTILE)
    picture = Picture("a.svg", HOSTILE, HOSTILE)
    section = Section(
        HOSTILE, "part", HOSTILE, (table, picture, scatter, Note(HOSTILE), Code(HOSTILE))
    )
    document = Document(HOSTILE, HOSTILE, (HOSTILE,), {HOSTILE: HOSTILE}, (section,))
    page = visit(write_page(document, tmp_path / "report.html"))
    show_map(page)
    box = page.locator(POINT).first.bounding_box()
    page.mouse.move(box["x"] + 3, box["y"] + 3, steps=3)
    page.wait_for_selector(".tip", state="visible")
    assert page.locator(".tip strong").text_content() == HOSTILE
    page.fill("input[type=search]", "canary")
    page.select_option(".colour select", "1")
    page.select_option(".colour select", "0")
    page.locator("thead button").click()
    page.locator(".legend button").first.click()
    assert any(HOSTILE in text for text in page.locator(".legend span").all_text_contents())
    assert page.title() == page.locator("h1").text_content() == HOSTILE
    assert page.locator("b, i, u, img, iframe").count() == 0
    assert page.evaluate("window.canary") is None


def test_the_policy_stops_what_would_slip_through(browser, report):
    path = report[0].with_name("planted.html")
    planted = HOSTILE + '<img src="https://localhost/x.png"><link rel=stylesheet href="a.css">'
    path.write_text(report[0].read_text().replace("<main", planted + "<main"))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(path.as_uri())
        assert page.locator("body b").count() == 1 and page.evaluate("window.canary") is None
        stopped = page.evaluate(
            """() => new Promise((tell) => {
                addEventListener("securitypolicyviolation", (e) => tell(e.violatedDirective));
                fetch("https://localhost/").catch(() => setTimeout(tell, 500));
            })"""
        )
        assert stopped == "connect-src"
