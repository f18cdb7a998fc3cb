"""Every number of docs/scaling.md comes from the measurements, or from the script's constants."""

import copy
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scaling.md"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "publish_scaling.py"))


def test_tables_are_those_of_the_measurements(script):
    text = PAGE.read_text(encoding="utf-8")
    reports = script["read"]()
    assert script["fill"](text, reports) == text
    for name in ("scale", "costs"):
        for number in range(len(reports[name]["rows"])):
            changed = copy.deepcopy(reports)
            row = changed[name]["rows"][number]
            row["ours"] = [2 * value + 1000 for value in row["ours"]]
            used = not (row["job"].startswith("disk") or row["unit"] == "bytes a protein")
            used &= not row["job"].startswith("embed, shard 2/2")
            assert (script["fill"](text, changed) != text) == used, row["job"]


def test_parts_of_the_page_are_all_filled(script):
    text = PAGE.read_text(encoding="utf-8")
    for part in re.findall(r"<!-- (\w+) -->", text):
        content = re.search(rf"<!-- {part} -->\n(.*?)<!-- /{part} -->", text, re.DOTALL)[1]
        assert content.strip(), part
    emptied = re.sub(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", r"\1\3", text, flags=re.DOTALL)
    assert script["fill"](emptied, script["read"]()) == text


def test_what_uniref50_costs_is_arithmetic(script):
    """One row by hand: products, hours and bytes of one network."""
    reports = script["read"]()
    rows = {row["job"]: row["ours"] for row in reports["costs"]["rows"]}
    proteins, residues = 68_360_540, 19_582_371_375
    rate = sorted(rows["embed, UniRep, 1900, length 286"])
    hours = residues / ((rate[0] + rate[-1]) / 2 if len(rate) == 2 else rate[len(rate) // 2]) / 3600
    products = 2 * 5 * 1900 * (1900 + 10)
    gpu = residues * products / (19.5e12 / 4) / 3600
    table = script["uniref"](script["costs_of"](reports)).splitlines()
    line = next(line for line in table if line.startswith("| UniRep, 1900"))
    cells = [float(cell.split()[0].replace(",", "")) for cell in line.split("|")[2:-1]]
    expected = [products / 1e6, hours, gpu, 1900, 4 * 1900 * proteins / 1e9]
    expected += [2 * 1900 * proteins / 1e9, 2 * 1900 * residues / 1e12]
    assert cells == pytest.approx(expected, rel=0.01)


def test_numbers_in_sentences_are_those_of_the_script(script):
    text = PAGE.read_text(encoding="utf-8")
    for number in (script["PROTEINS"], script["RESIDUES"]):
        assert f"{number:,}" in text
    assert f"mean length of {int(script['RESIDUES'] / script['PROTEINS'])}" in text
    assert f"{script['GPU_FLOPS']['float32'] / 1e12:g} TFLOP/s" in text
    assert f"{script['GPU_FLOPS']['bfloat16'] / 1e12:g} in bfloat16" in text
    assert script["REACHED"] == {"float32": 0.25, "bfloat16": 0.4}  # a quarter, two fifths
    assert f"protein of {script['CONTEXT']} residues" in text


def test_growth_is_bounded_and_nothing_is_quadratic(script):
    scale = script["Scale"](script["read"]()["scale"], 60)
    assert script["whole"](scale.large) == 10_000_000
    limits = {"store": 60, "split": 250, "plan": 80, "embed": 100, "merge": 40}
    for stage, limit in limits.items():
        assert scale.bytes_each(stage) < limit, stage
        few, many = scale.pair(stage)
        assert many < 25 * few, stage
