"""Turn a report into committed files, and fill the documentation's tables from them.

    python scripts/publish_report.py runs/influenza_ha/SWEEP

copies report.json to docs/results/question.json and the figures that docs/question.md shows to
docs/images/question/, and replaces what stands in docs/question.md between
`<!-- table:KEY COLUMN|COLUMN -->` (or `<!-- verdict -->`) and `<!-- / -->`.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from protemb.analysis.document import cell_text
from protemb.files import write_json, write_text
from protemb.intervals import Interval

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "question.md"
NUMBERS = ROOT / "docs" / "results" / "question.json"
PICTURES = ROOT / "docs" / "images" / "question"
BLOCK = re.compile(r"(<!-- (verdict|table:[^>]*?) -->\n).*?(<!-- / -->)", re.DOTALL)


def main(folder: Path) -> None:
    """Copy, then fill in."""
    numbers = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    write_json(NUMBERS, numbers)
    page = PAGE.read_text(encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in sorted(set(re.findall(r"images/question/([\w-]+\.png)", page))):
        shutil.copyfile(folder / "report" / name, PICTURES / name)
    write_text(PAGE, fill(page, numbers))


def fill(page: str, numbers: dict[str, Any]) -> str:
    """The page with its blocks made from the numbers."""
    return BLOCK.sub(lambda match: match[1] + _block(match[2], numbers) + match[3], page)


def _block(name: str, numbers: dict[str, Any]) -> str:
    if name == "verdict":
        return "".join(f"> {line}\n>\n" for line in numbers["verdict"])
    key, _, chosen = name.removeprefix("table:").partition(" ")
    rows = numbers["tables"][key]
    columns = chosen.split("|") if chosen else list(rows[0])
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(row[column]) for column in columns)} |" for row in rows]
    return "\n".join([*lines, ""])


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = Interval(*(float("nan") if value[end] is None else value[end] for end in ENDS))
    return cell_text(value, 3).replace("|", "\\|")


ENDS = ("value", "low", "high")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
