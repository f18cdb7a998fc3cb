"""Every number of docs/benchmarks is in the file beside its page."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docs" / "benchmarks").glob("*.json"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def every_number(node: object) -> Iterator[float]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from every_number(value)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield float(node)


def test_the_promised_benchmarks_are_there():
    assert {path.stem for path in FILES} == {"tmbed", "flip_ss", "scope", "deeploc", "gb1"}


@every_file
def test_tables_are_those_of_the_file(path):
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    fill = runpy.run_path(str(ROOT / "scripts" / "publish_benchmark.py"))["fill"]
    assert fill(text, json.loads(path.read_text())) == text


@every_file
def test_numbers_in_sentences_are_in_the_file(path):
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    prose = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", prose, flags=re.DOTALL)
    values = list(every_number(json.loads(path.read_text())))
    for found in set(re.findall(r"\d+\.\d+", prose)):
        digits = len(found.partition(".")[2])
        assert float(found) in {round(abs(value), digits) for value in values}, found


@every_file
def test_every_network_stands_beside_a_control(path):
    payload = json.loads(path.read_text())
    kinds = {row["kind"] for row in payload["rows"]}
    assert kinds == {"trained", "baseline"} and payload["commands"]
    first = payload["metrics"][0]
    for row in payload["rows"]:
        score = row["scores"][first]
        assert score is None or None not in (score["low"], score["high"]), row["model"]
    assert "/" + "tmp" not in json.dumps(payload["commands"])


def test_a_changed_table_is_found():
    fill = runpy.run_path(str(ROOT / "scripts" / "publish_benchmark.py"))["fill"]
    payload = json.loads(FILES[0].read_text())
    text = FILES[0].with_suffix(".md").read_text()
    payload["rows"][0]["model"] = "another"
    assert fill(text, payload) != text
