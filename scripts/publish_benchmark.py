"""Put finished runs into a committed table: docs/benchmarks/NAME.json, and NAME.md filled from it.

    python scripts/publish_benchmark.py tmbed accuracy,sov runs/tmbed/RUN runs/tmbed/RUN ...

All runs must have the same test part. A row is a trained network or a baseline; the first score is
the one that rows are sorted by and that differences to the best baseline are of.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protemb.apps.runs import read_result
from protemb.apps.sweep import BEFORE, METRICS
from protemb.files import read_json, write_json, write_text

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "benchmarks"


def main(name: str, metrics: Sequence[str], folders: Sequence[Path]) -> None:
    """Collect, write, fill in."""
    records = [read_result(folder) for folder in folders]
    done = [record for record in records if record and record["status"] == "done"]
    if len(done) != len(folders):
        missing = len(folders) - len(done)
        raise SystemExit(f"{missing} of {len(folders)} folders hold no finished run")
    if len({(folder / "split.tsv").read_text() for folder in folders}) > 1:
        raise SystemExit("the runs were not tested on the same records")
    payload = {
        "commands": [" ".join(["python train.py", *map(quoted, r["overrides"])]) for r in done],
        "data": done[0]["data"]["name"],
        "units": done[0]["units"],
        "metrics": list(metrics),
        "versions": done[0]["versions"],
        "machine": done[0]["machine"],
        "rows": rows_of(done, metrics),
    }
    write_json(PAGES / f"{name}.json", payload)
    fill_page(name)


def quoted(override: str) -> str:
    """An override as it is typed; the place of files is the reader's own."""
    key, _, value = override.partition("=")
    shown = f"{key}={value.rsplit('/', 1)[-1]}" if key.startswith("paths.") else override
    return shlex.quote(shown)


def rows_of(records: Sequence[dict[str, Any]], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Networks and baselines, each once, best first."""
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        for label, scores in record["scores"].items():
            trained = label == record["label"]
            if label == BEFORE:
                label = f"{record['label']}, {BEFORE}"
            if not trained and label in rows:
                continue
            name = f"{label}, seed {record['seeds']['model']}" if trained else label
            rows[name] = {
                "model": name,
                "kind": "trained" if trained else "baseline",
                "scores": {metric: scores.get(metric) for metric in metrics},
            }
            if trained:
                rows[name]["difference"] = difference_of(record, metrics[0])
                rows[name]["parameters"] = record["parameters"]
                rows[name]["epochs"] = record["epochs"]
    return sorted(rows.values(), key=lambda row: -(value_of(row, metrics[0]) or 0))


def value_of(row: dict[str, Any], metric: str) -> float | None:
    """A row's score, where it has one."""
    found = row["scores"][metric]
    return found["value"] if found else None


def difference_of(record: dict[str, Any], metric: str) -> dict[str, Any] | None:
    """Paired difference of a score to the best baseline, where the run holds it."""
    if metric in record.get("differences", {}):
        return record["differences"][metric]
    difference = record["difference"]
    own = (difference or {}).get("metric", METRICS[record["config"]["task"]["kind"]])
    return difference if own == metric else None


def fill_page(name: str) -> None:
    """Replace what stands between the marks of a page."""
    page = PAGES / f"{name}.md"
    text = page.read_text(encoding="utf-8") if page.exists() else f"# {name}\n\n{MARKS}"
    write_text(page, fill(text, read_json(PAGES / f"{name}.json")))


MARKS = "<!-- rows -->\n<!-- /rows -->\n\n<!-- commands -->\n<!-- /commands -->\n"


def fill(text: str, payload: dict[str, Any]) -> str:
    """The page with the tables of its file."""
    parts = {"rows": table(payload), "commands": commands(payload)}
    for mark, content in parts.items():
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        text = re.sub(pattern, lambda m, c=content: m[1] + c + m[2], text, flags=re.DOTALL)
    return text


def table(payload: dict[str, Any]) -> str:
    """Rows of the page's table."""
    metrics = payload["metrics"]
    heads = ["model", *(metric.replace("_", " ") for metric in metrics), "minus best baseline"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for row in payload["rows"]:
        name = f"**{row['model']}**" if row["kind"] == "trained" else row["model"]
        cells = [interval(row["scores"][metric]) for metric in metrics]
        difference = row.get("difference")
        against = f" ({difference['against']})" if difference else ""
        lines.append(f"| {name} | {' | '.join(cells)} | {interval(difference)}{against} |")
    return "\n".join(lines) + "\n"


def interval(found: dict[str, Any] | None) -> str:
    """Value and ends, with a real minus; nothing where there is no value."""
    if not found or found["value"] is None:
        return ""
    ends = (found.get("low"), found.get("high"))
    shown = "" if None in ends else " [{:.3f}, {:.3f}]".format(*ends)
    return f"{found['value']:.3f}{shown}".replace("-", "−")


def commands(payload: dict[str, Any]) -> str:
    """The commands, and what they ran with."""
    versions = payload["versions"]
    used = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch") if name in versions)
    machine = payload["machine"]
    return (
        "```bash\n"
        + "\n".join(payload["commands"])
        + f"\n```\n\n{used}; {machine['cores']} cores, {machine['platform'].split('-')[0]}.\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","), [Path(folder) for folder in sys.argv[3:]])
