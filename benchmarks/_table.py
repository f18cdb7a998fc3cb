"""Fills the tables of README.md from results/*.json: `python benchmarks/_table.py`."""

import json
import re
from pathlib import Path

from _report import RESULTS, table_cells

PAGE = Path(__file__).parent / "README.md"


def section(report: dict) -> str:
    """Command, machine, versions and rows of one benchmark as Markdown."""
    machine = report["hardware"]
    facts = [
        f"`{report['command']}`",
        f"{report['date']}, {machine['processor']}, {machine['cores']} cores "
        f"(load {machine['load']}), {machine['system']}",
        ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        *(f"{name}: {value}" for name, value in report["settings"].items()),
    ]
    head, *rows = table_cells(report)
    lines = [head, ("---",) * len(head), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join(f"- {fact}" for fact in facts) + "\n\n" + table


def fill(page: str, sections: dict[str, str]) -> str:
    """Replace what stands between `<!-- name -->` and `<!-- end -->`.

    >>> fill("a <!-- x -->old<!-- end --> b", {"x": "new"})
    'a <!-- x -->\\nnew\\n<!-- end --> b'
    """
    for name, text in sections.items():
        marks = re.compile(rf"(<!-- {name} -->).*?(<!-- end -->)", re.DOTALL)
        assert marks.search(page), f"README.md has no place for {name}"
        page = marks.sub(lambda found, text=text: f"{found[1]}\n{text}\n{found[2]}", page)
    return page


def main() -> None:
    """Rewrite README.md."""
    reports = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    sections = {report["benchmark"]: section(report) for report in reports}
    PAGE.write_text(fill(PAGE.read_text(), sections))


if __name__ == "__main__":
    main()
