"""The Markdown says what the document says: read back by a parser of GitHub's dialect."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

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
from protemb.analysis.markdown import escape, render
from protemb.intervals import Interval

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
LETTERS = st.text(st.sampled_from("ab1 \n\\`*_{}[]()<>#+-.!|~$&;:=^/'\"é–"), max_size=30)


def read(text):
    """The tokens of a text, and its inline texts without markup."""
    tokens = PARSER.parse(text)
    return tokens, [flat(token) for token in tokens if token.type == "inline"]


def flat(token):
    return "".join(
        flat(child) if child.type == "image" else child.content for child in token.children or ()
    )


def document(*blocks, **changes):
    """A document around the blocks."""
    facts = {
        "title": "Title",
        "subtitle": "",
        "verdict": ("Nothing.",),
        "facts": {},
        "sections": (Section("Part", "part", "", blocks),),
    }
    return Document(**facts | changes)


@given(LETTERS)
def test_text_stays_text(text):
    expected = " ".join(text.split())
    tokens, texts = read(escape(text))
    assert texts == ([expected] if expected else [])
    kinds = {token.type for token in tokens}
    assert kinds <= {"paragraph_open", "inline", "paragraph_close"}
    children = [child.type for token in tokens for child in token.children or ()]
    assert set(children) <= {"text", "text_special"}


@given(LETTERS, LETTERS)
def test_cells_links_and_pictures_stay_whole(text, other):
    folder = Path("reports")
    columns = (Column(text), Column("run", "link"))
    table = Table(columns, ((other, Link(text, "runs/a (b)/")),), text, "t")
    picture = Picture("a (1).svg", text, other)
    tokens, texts = read(render(document(table, picture), folder))
    clean, plain = " ".join(text.split()), " ".join(other.split())
    start = texts.index("Part") + 1
    captions = [clean] if clean else []
    cells = [clean, "run", plain, clean]
    alone = [clean, *([plain] if plain else [])]  # the picture's words, its caption
    assert texts[start:] == captions + cells + alone
    inline = [child for token in tokens for child in token.children or ()]
    assert [c.attrs["href"] for c in inline if c.type == "link_open"] == ["runs/a%20%28b%29/"]
    assert [c.attrs["src"] for c in inline if c.type == "image"] == ["a%20%281%29.png"]


def everywhere(text):
    """A document in which every text, but those of code, is `text`."""
    table = Table((Column(text, "text", text),), ((text,), (Link(text, "a"),)), text, "table")
    maps = Scatter("maps", {text: np.zeros((1, 2))}, [text], {text: [text]}, text, text)
    notes = [Note(text, kind) for kind in ("plain", "warning", "method")]
    blocks = (table, Picture("a.svg", text, text), maps, *notes)
    section = Section(text, "part", text, blocks)
    return Document(text, text, (text, text), {text: text}, (section,))


@given(LETTERS.filter(str.strip))
def test_no_text_is_markup_anywhere(text):
    def shape(word):
        tokens, texts = read(render(everywhere(word), Path("reports")))
        inline = [child.type for token in tokens for child in token.children or ()]
        marks = [kind for kind in inline if not kind.startswith("text")]
        return [token.type for token in tokens], marks, texts

    line = " ".join(text.split())
    kinds, marks, texts = shape(line)
    assert (kinds, marks) == shape("word")[:2]
    assert texts == [found.replace("word", line) for found in shape("word")[2]]


@given(LETTERS)
def test_code_is_untouched(text):
    tokens, _ = read(render(document(Code(text)), Path("reports")))
    (code,) = [token.content for token in tokens if token.type == "fence"]
    assert code == text + "\n"


def test_the_whole(tmp_path):
    columns = (
        Column("encoder"),
        Column("score", "interval", "More is better."),
        Column("n", "number"),
    )
    rows = (("lstm", Interval(0.931, 0.912, 0.95), 6294), ("mean", None, math.nan))
    points_M2 = np.zeros((3, 2))
    blocks = (
        Table(columns, rows, "Scores", "scores"),
        Picture(tmp_path / "figures" / "a.svg", "Bars", "Below."),
        Scatter("maps", {"own": points_M2}, "abc", {"host": "xyz"}, "host", "Dots."),
        Note("First.\n\nSecond.", "warning"),
        Note("Third.", "method"),
        Code("protemb report"),
    )
    text = render(
        document(*blocks, subtitle="Sub", verdict=("One.", "Two."), facts={"data": "HA"}), tmp_path
    )
    assert text == (
        "# Title\n\nSub\n\n> One.\n>\n> Two.\n\n- **data:** HA\n\n## Part\n\n**Scores**\n\n"
        "| encoder | score | n |\n| --- | ---: | ---: |\n"
        "| lstm | 0.93 [0.91, 0.95] | 6294 |\n| mean | – | – |\n\n"
        "- **score:** More is better.\n\n![Bars](figures/a.png)\n\n*Below.*\n\n"
        "[Map of 3 points](report.html#maps), to be coloured by any field, in the page: own.\n\n"
        "*Dots.*\n\n**Caution.** First.\n\nSecond.\n\n**How it was done.** Third.\n\n"
        "```text\nprotemb report\n```\n"
    )
    # One quotation of two paragraphs.
    kinds = [token.type for token in PARSER.parse(text)]
    assert kinds.count("blockquote_open") == 1 and kinds.count("table_open") == 1


@pytest.mark.parametrize("text", ["0.93 [0.91, 0.95]", "macro_f1", "a-b", "−0.5", "1.5 (x)"])
def test_raw_text_stays_readable(text):
    assert escape(text) == text
