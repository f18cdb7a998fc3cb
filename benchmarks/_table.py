"""Fills the tables of README.md and docs/benchmarks/speed.md: `python benchmarks/_table.py`.

Both come from results/*.json; README.md has the words beside them.
"""

import json
import re
from pathlib import Path

from _report import RESULTS, table_cells

PAGE = Path(__file__).parent / "README.md"
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks" / "speed.md"
HEAD = """\
# Speed and memory

Every measurement of `benchmarks/`, with its machine and versions. Both sides of a row are measured
in turn in one run, as processor time of one thread unless a job says otherwise, so read the ratios;
in brackets stand the lowest and the highest round. What each benchmark does, and why a target was
missed, is in `benchmarks/README.md`.

<!-- Written by benchmarks/_table.py. -->
"""


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


def docs_page(sections: dict[str, str]) -> str:
    """All sections under their names.

    >>> docs_page({"scan_all": "- a"}).splitlines()[-3:]
    ['## Scan all', '', '- a']
    """
    parts = (
        f"\n## {name.replace('_', ' ').capitalize()}\n\n{sections[name]}\n" for name in sections
    )
    return HEAD + "".join(parts)


def all_sections() -> dict[str, str]:
    """The section of every benchmark that has results, by name."""
    reports = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return {report["benchmark"]: section(report) for report in reports}


def main() -> None:
    """Rewrite both pages."""
    sections = all_sections()
    PAGE.write_text(fill(PAGE.read_text(), sections))
    DOCS.write_text(docs_page(sections))


if __name__ == "__main__":
    main()
