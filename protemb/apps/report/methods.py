"""Sections of the report on how it was made: methods to paste into a paper, and the runs."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from protemb import __version__
from protemb.analysis.document import Block, Code, Column, Link, Note, Section, Table
from protemb.apps.report.compare import SplitComparison
from protemb.apps.report.gather import Gathered, Run
from protemb.apps.report.sections import METRIC
from protemb.apps.runs import code_facts
from protemb.intervals import Interval


def facts_of(gathered: Gathered, main: SplitComparison) -> dict[str, str]:
    """What stands in the head of the report."""
    record = main.runs[0].record
    data = record["data"]
    return {
        "data": data["name"],
        "records": f"{data['records']:,}" if "records" in data else "unknown",
        "classes": ", ".join(gathered.names),
        "splits": ", ".join(gathered.splits),
        "finished runs": str(len(gathered.runs)),
        "unfinished runs": str(len(gathered.unfinished)),
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, protemb {__version__}",
    }


def methods_section(
    gathered: Gathered,
    main: SplitComparison,
    margin: float,
    replicates: int,
    missing: str | None,
) -> Section:
    """A paragraph ready for a paper."""
    run = main.runs[0]
    values, parts = run.values, run.record["split"]["parts"]
    sizes = ", ".join(f"{part['records']:,} {name}" for name, part in parts.items())
    seeds = sorted({each.seed for each in main.runs})
    optimizer = values["optimizer"]
    epochs = sorted({each.record["epochs"] for each in main.runs})
    trained = {len({each.seed for each in main.runs if each.model == m}) for m in main.networks}
    folds = sorted({each.part for each in main.runs} - {""})
    versions = run.record["versions"]
    text = (
        f"Networks were trained with protemb {run.record['code']['version']} "
        f"(commit {run.record['code']['commit'] or 'unknown'}) on {values['data']['name']} "
        f"({len(gathered.names)} classes; split {main.split}: {sizes} records"
        + (f" in {run.part}, the first of {len(folds)} parts ({_list(folds)})" if folds else "")
        + f"; {_separated(values['split'])}). Networks were trained with "
        f"{'' if len(trained) == 1 else 'up to '}{_count(max(trained), 'seed')} ({_list(seeds)}) "
        f"for {_range(epochs)} epochs "
        f"({optimizer['_target_'].rsplit('.', 1)[-1]}, learning rate {optimizer['lr']:g}, class "
        f"weights {values['task']['class_weights']}); the epoch with the best "
        f"{values['objective'].replace('_', ' ')} was kept. Scores are of the test part, which was "
        "used for nothing else but to choose the best baseline. Intervals of these scores and of "
        f"their differences are 95 % t-intervals; observations are {_unit(run.record['units'])}. "
        "Their standard error is the jackknife's over observations, together with the spread "
        f"between training seeds where there are several; {replicates:,} bootstrap replicates give "
        "their skewness. Differences are paired; one is claimed when its interval leaves out zero "
        "and when it and a group permutation test survive Holm's correction over all pairs of the "
        f"split; differences whose interval lies within ±{margin:g} {METRIC} count as the same. "
        "Probes, order, tables and residues are of one checkpoint of each network (the lowest "
        "seed); their intervals are percentiles of a bootstrap over the same observations. "
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + "."
    )
    blocks: list[Block] = [Code(text), Note(_analysed(), "method")]
    if missing is not None:
        blocks.insert(0, Note(f"{missing} So nothing here looks into the networks.", "warning"))
    for name, reason in gathered.unfinished:
        blocks.append(Note(f"{name}: {reason}", "warning"))
    return Section("Methods", "methods", "Ready to paste into a paper.", tuple(blocks))


def _analysed() -> str:
    commit = code_facts()["commit"]
    return f"This page was made by protemb {__version__}" + (
        f", commit {commit}." if commit else "."
    )


def _separated(split: Mapping[str, Any]) -> str:
    if split.get("seed") is not None:
        return f"split seed {split['seed']}"
    return "split by time" if "train_until" in split else "split as given"


UNITS = {
    "group": "the groups that the split keeps together",
    "identical": "distinct sequences",
    "similar": "groups of sequences at least {:g} % identical",
}


def _unit(facts: Mapping[str, Any]) -> str:
    return UNITS[facts["kind"]].format(100 * facts["identity"])


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _list(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def runs_section(gathered: Gathered, home: Path) -> Section:
    """Every run, with a way to its folder."""
    rows = tuple(_row(run, home) for run in gathered.runs)
    columns = (
        Column("run", "link"),
        Column("model"),
        Column("split"),
        Column("part"),
        Column("seed", "number"),
        Column("training share", "number", digits=3),
        Column("order"),
        Column("best epoch", "number"),
        Column(METRIC, "interval", digits=3),
        Column("seconds", "number", digits=0),
    )
    return Section(
        "Runs",
        "runs",
        "A run's folder has its config, predictions, checkpoint and the audit of its data.",
        (Table(columns, rows, "All finished runs.", "runs-table"),),
    )


def _row(run: Run, home: Path) -> tuple[Any, ...]:
    score = run.record["scores"][run.record["label"]]["balanced_accuracy"]
    ends = (float("nan") if score[end] is None else score[end] for end in ("value", "low", "high"))
    place = os.path.relpath(run.folder, home)
    order = "as it is" if run.shuffle == "none" else f"{run.shuffle} shuffled"
    return (
        Link(run.folder.name[:40], place),
        run.model,
        run.split,
        run.part,
        run.seed,
        run.train_share,
        order,
        run.record["best_epoch"],
        Interval(*ends),
        run.record["seconds"],
    )
