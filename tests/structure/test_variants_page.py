"""Every number of docs/variants.md is in the files that finished grids left."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "variants.md"
FILES = {
    path.stem.removeprefix("variants_"): path
    for path in sorted((ROOT / "docs" / "results").glob("variants_*.json"))
}


@pytest.fixture
def fill(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    return runpy.run_path(str(ROOT / "scripts" / "publish_variants.py"))["fill"]


def found():
    return {name: json.loads(path.read_text()) for name, path in FILES.items()}


def every_number(node):
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from every_number(value)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield float(node)


def test_tables_are_those_of_the_files(fill):
    text = PAGE.read_text(encoding="utf-8")
    assert FILES and fill(text, found()) == text
    changed = found()
    first = changed["fireprotdb"]
    first["scores"]["baseline"][first["metric"]]["value"] += 0.1
    assert fill(text, changed) != text


def test_numbers_in_sentences_are_in_the_files():
    text = PAGE.read_text(encoding="utf-8")
    prose = re.sub(r"<!-- ([\w:]+) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", prose, flags=re.DOTALL)
    values = [value for facts in found().values() for value in every_number(facts)]
    for number in set(re.findall(r"\d+\.\d+", prose)):
        digits = len(number.partition(".")[2])
        assert float(number) in {round(abs(value), digits) for value in values}, number


def test_the_known_facts_came_out():
    facts = found()["fireprotdb"]
    baseline, leak = facts["scores"]["baseline"]["pearson"], facts["leak"]
    assert 0.33 <= baseline["value"] <= 0.36
    assert 0.45 <= leak["random"]["value"] <= 0.49
    rows = leak["rows"]["high"] - leak["rows"]["low"]
    assert baseline["high"] - baseline["low"] > rows
    assert facts["data"]["rows"] == 3404 and facts["data"]["proteins"] == 100


def test_96_cells_of_trained_encoders_stand_beside_controls():
    facts = found()["fireprotdb"]
    encoders = {name.split("/")[0] for name in facts["contrasts"]}
    controls = {"onehot", "blosum62", "physchem", "random"}
    trained = [name for name in facts["contrasts"] if name.split("/")[0] not in controls]
    assert controls < encoders and len(trained) == 96
    assert "/" + "tmp" not in json.dumps(found())
