"""Every number of docs/question.md is in the file that the report made."""

import json
import math
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "question.md").read_text(encoding="utf-8")
NUMBERS = json.loads((ROOT / "docs" / "results" / "question.json").read_text(encoding="utf-8"))


def every_number(node: object) -> Iterator[float]:
    if isinstance(node, bool) or node is None:
        return
    if isinstance(node, int | float):
        yield float(node)
    elif isinstance(node, dict):
        for value in node.values():
            yield from every_number(value)
    elif isinstance(node, list):
        for value in node:
            yield from every_number(value)


def test_tables_and_verdict_are_those_of_the_file():
    fill = runpy.run_path(str(ROOT / "scripts" / "publish_report.py"))["fill"]
    assert fill(PAGE, NUMBERS) == PAGE


def prose() -> str:
    text = re.sub(r"<!-- (verdict|table:).*?<!-- / -->", "", PAGE, flags=re.DOTALL)
    return re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("found", sorted(set(re.findall(r"\d+\.\d+", prose()))))
def test_numbers_in_sentences_are_in_the_file(found):
    digits = len(found.partition(".")[2])
    values = {round(abs(value), digits) for value in every_number(NUMBERS) if math.isfinite(value)}
    assert float(found) in values


def test_figures_are_those_that_are_shown():
    shown = set(re.findall(r"images/question/([\w-]+\.png)", PAGE))
    assert shown == {path.name for path in (ROOT / "docs" / "images" / "question").iterdir()}
