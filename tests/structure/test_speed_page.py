"""The tables of speed are those of the results, in both places."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield runpy.run_path(str(ROOT / "benchmarks" / "_table.py"))
    sys.modules.pop("_report", None)


def test_both_pages_hold_every_result(table):
    sections = table["all_sections"]()
    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert table["fill"](readme, sections) == readme
    page = (ROOT / "docs" / "benchmarks" / "speed.md").read_text(encoding="utf-8")
    assert table["docs_page"](sections) == page


def test_a_changed_result_is_found(table):
    sections = table["all_sections"]() | {"startup": "other"}
    readme = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert table["fill"](readme, sections) != readme
