"""Put finished grids into the docs: docs/results/variants_NAME.json, figures, docs/variants.md.

    python scripts/publish_variants.py fireprotdb=runs/variants/fireprotdb/RUN s2648=RUN

Names are those of the page's parts; figures become docs/images/variants/*.png.
"""

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from publish_benchmark import interval, quoted

from protemb.apps.runs import read_result
from protemb.files import read_json, write_json, write_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "variants.md"
RESULTS, IMAGES = ROOT / "docs" / "results", ROOT / "docs" / "images" / "variants"
FIGURES = {"fireprotdb": ("cells", "proteins", "measured-best", "alike"), "choice": ("choice",)}
"""Figures of the page, by grid."""
KEPT = ("commit", "version")
SHOWN = 10
"""Cells in a table of the page; the file has all."""


def main(runs: Mapping[str, Path]) -> None:
    """Collect, copy, fill in."""
    for name, folder in runs.items():
        record = read_result(folder)
        if not record or record["status"] != "done":
            raise SystemExit(f"{folder} holds no finished grid")
        write_json(RESULTS / f"variants_{name}.json", facts_of(record))
        IMAGES.mkdir(parents=True, exist_ok=True)
        for figure in FIGURES[name] if name in FIGURES else ():
            shutil.copy(folder / "report" / f"{figure}.png", IMAGES / f"{figure}.png")
    found = {
        path.stem.removeprefix("variants_"): read_json(path)
        for path in sorted(RESULTS.glob("variants_*.json"))
    }
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8"), found))


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a grid, and what it was made with."""
    config = record["config"]
    taken = ("scores", "contrasts", "antisymmetry", "leak", "nested", "folds", "units", "metric")
    data = {key: value for key, value in record["data"].items() if key != "reading"}
    return {
        "command": " ".join(["python variants.py", *map(quoted, record["overrides"])]),
        "code": {key: record["code"][key] for key in KEPT},
        "versions": record["versions"],
        "machine": record["machine"],
        "seconds": record["seconds"],
        "settings": {key: config[key] for key in ("regressor", "seeds", "folds", "nested")},
        "encoders": config["encoders"] and sorted(config["encoders"]),
        "verdict": record["verdict"],
        "data": data,
        **{name: record[name] for name in taken},
    }


def fill(text: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with the parts of every file."""
    for name, facts in found.items():
        parts = {
            "cells": cells(facts),
            "verdict": "".join(f"- {sentence}\n" for sentence in facts["verdict"]),
            "choice": choice(facts),
            "leak": leak(facts),
            "reverse": reverse(facts),
            "made": made(facts),
        }
        for part, content in parts.items():
            mark = f"{name}:{part}"
            pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
            text = re.sub(pattern, lambda m, c=content: m[1] + c + m[2], text, flags=re.DOTALL)
    return text


def lines(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    body = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in body)


def ranked(facts: Mapping[str, Any]) -> list[str]:
    """Cells, the best first, with the baseline among them."""
    metric = facts["metric"]
    return sorted(facts["scores"], key=lambda name: -facts["scores"][name][metric]["value"])


def cells(facts: Mapping[str, Any]) -> str:
    """The best cells, the best controls, the baseline."""
    metric, names = facts["metric"], ranked(facts)
    shown = [*names[:SHOWN], *(["baseline"] if "baseline" not in names[:SHOWN] else [])]
    others = list(facts["scores"]["baseline"])
    picked = [name for name in others if name in ("spearman", "rmse", "protein_spearman")]
    rows = []
    for name in shown:
        contrast = facts["contrasts"].get(name, {})
        more = (f"{facts['scores'][name][other]['value']:.3f}" for other in picked)
        p = contrast.get("p_holm")
        rows.append(
            (
                "**baseline**" if name == "baseline" else name,
                interval(facts["scores"][name][metric]),
                interval(contrast.get("difference")),
                "" if p is None else f"{p:.2g}",
                *more,
            )
        )
    heads = (
        "cell",
        f"{metric}",
        "minus baseline",
        "p (Holm)",
        *(n.replace("_", " ") for n in picked),
    )
    return lines(heads, rows)


def choice(facts: Mapping[str, Any]) -> str:
    """Strategies on untouched folds."""
    nested = facts["nested"]
    if nested is None:
        return ""
    rows = [
        (
            name.replace("_", " "),
            interval(each["score"]),
            "" if name == "best" else interval(each["gain"]),
        )
        for name, each in nested["strategies"].items()
    ]
    return lines(("chosen inside nested folds", "on untouched folds", "minus the best cell"), rows)


def leak(facts: Mapping[str, Any]) -> str:
    """The baseline four ways."""
    found = facts["leak"]
    rows = [
        (
            "folds by protein, interval over proteins",
            interval(facts["scores"]["baseline"][facts["metric"]]),
        ),
        ("folds by protein, interval over rows", interval(found["rows"])),
        ("random folds", interval(found["random"])),
        ("random folds, the mean of the protein's other rows", interval(found["identity"])),
    ]
    return lines(("baseline", "Pearson's r"), rows)


def reverse(facts: Mapping[str, Any]) -> str:
    """Antisymmetry of the best cells and the baseline."""
    names = [*ranked(facts)[:3], "baseline"]
    rows = [
        (
            name,
            *(
                interval(facts["antisymmetry"][name][key])
                for key in ("direct", "reverse", "between", "bias")
            ),
        )
        for name in dict.fromkeys(names)
    ]
    return lines(("cell", "direct r", "reverse r", "between", "bias"), rows)


def made(facts: Mapping[str, Any]) -> str:
    """The command and what it ran with."""
    versions = facts["versions"]
    used = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "scikit-learn"))
    return f"```bash\n{facts['command']}\n```\n\n{used}; commit {facts['code']['commit']}.\n"


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all("=" in word for word in sys.argv[1:]):
        raise SystemExit(__doc__)
    main({name: Path(path) for name, _, path in (word.partition("=") for word in sys.argv[1:])})
