"""What a sweep leaves behind: a table of its runs, and a heatmap of encoder and pooling."""

import math
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from protemb.analysis.figures import heatmap
from protemb.apps.results import console
from protemb.apps.runs import RESULT, read_result, stored
from protemb.apps.sweep_status import (
    FINISHED,
    RUNNING,
    PointState,
    is_grid,
    print_states,
    sweep_states,
)
from protemb.apps.tuning.outcome import unfinished
from protemb.claims import claim
from protemb.errors import ProtembError
from protemb.files import whole_file
from protemb.intervals import Interval, percentile_interval
from protemb.scores import bootstrap_scores

# The score that a sweep is about, by kind of task.
METRICS = {
    "classification": "balanced_accuracy",
    "residue": "accuracy",
    "similarity": "spearman",
    "lm": "cross_entropy",
    "masked_lm": "cross_entropy",
}
BEFORE = "before training"
LOWER_IS_BETTER = ("cross_entropy",)
REPLICATES = 1000
# Overrides that repeat a cell (averaged) or are in its row and column already.
REPEATS = ("seed", "split.fold")
IN_LABEL = ("encoder", "pooling", "network", "level", "task.hidden", "experiment")

# Of whoever writes the summary or the report.
SUMMARY_LOCK = ".summary.lock"

Record = dict[str, Any]


@contextmanager
def summarising(folder: Path) -> Iterator[None]:
    """Let one process at a time write summary and report; remove what a killed one left."""
    with claim(folder / SUMMARY_LOCK, wait=True):
        # What lies in a run's own folder is its holder's, also while it is written.
        ours = () if (folder / RESULT).exists() else folder.glob(".part-*")
        for part in (*ours, *folder.glob("report/.part-*")):
            if part.suffix != ".json" or part.parent != folder:  # points.json is written outside
                part.unlink(missing_ok=True)
        yield


def finish_sweep(folder: Path, report: bool = False) -> bool:
    """Summarise a sweep's folder, and report on it; several processes do so in turn.

    Args:
        folder: the sweep's.
        report: compare and explain the finished runs as well; the verdict comes last.

    Returns:
        Whether all is well: every point is finished, or another process is at it.
    """
    with summarising(folder):
        points = sweep_states(folder)
        well = all(point.state in (FINISHED, RUNNING) for point in points)
        well = well and not unfinished(folder)
        records = summarise(folder, points)
        if report and any(record["status"] == "done" for record in records):
            from protemb.apps.report.write import make_report, print_report

            try:
                print_report(*make_report([folder]))
            except ProtembError as error:
                print(f"protemb: no report: {error}", file=sys.stderr)
                well = False
    return well


def summarise(folder: Path, points: Sequence[PointState] | None = None) -> list[Record]:
    """Write summary.parquet and heatmap.png into a sweep's folder; print the table.

    Args:
        folder: the sweep's.
        points: what became of each of its points; None to look.
    """
    points = sweep_states(folder) if points is None else points
    found = {path.parent: read_result(path.parent) for path in sorted(folder.glob("*/result.json"))}
    records = [record | {"folder": path.name} for path, record in found.items() if record]
    if not any(map(is_grid, records)):
        _summarise_runs(folder, records)
    elif records:
        print_states(points)
    print_outcome(points)
    if records:
        print(f"Summary: {folder}")
    return records


def _summarise_runs(folder: Path, records: Sequence[Record]) -> None:
    if not records:
        print(f"{folder}: no runs")
        return
    write_summary(records, folder / "summary.parquet")
    cells = average_cells(records, folder)
    told = _told(records)
    if cells:
        data = told["config"]["data"]["name"] if "config" in told else ""
        title = f"{metric_of(told).replace('_', ' ')} on the test part, {data}"
        heatmap(cells, folder / "heatmap.png", title=title)
    print_summary(records, cells)


def _told(records: Sequence[Record]) -> Record:
    """A record that tells the config; one that was refused before it began does not."""
    return next((record for record in records if "config" in record), records[0])


def metric_of(record: Mapping[str, Any]) -> str:
    """The score that a run is about."""
    task = record.get("config", {}).get("task", {})
    return METRICS[task.get("kind", "classification")]


def write_summary(records: Sequence[Record], path: Path) -> None:
    """One row per run: folder, status, error, every override, every score with its interval."""
    rows = []
    for record in records:
        row: dict[str, Any] = {name: record.get(name) for name in ("folder", "status", "error")}
        row |= {f"choice/{name}": value for name, value in options(record).items()}
        row["seconds"] = record["seconds"]
        for metric, interval in record.get("scores", {}).get(record.get("label"), {}).items():
            row |= {f"{metric}/{end}": value for end, value in interval.items()}
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    with whole_file(path) as part:
        pq.write_table(table, part)


def options(record: Mapping[str, Any]) -> dict[str, str]:
    """The overrides of a run by key.

    >>> options({"overrides": ["encoder=lstm", "seed=1"]})
    {'encoder': 'lstm', 'seed': '1'}
    """
    pairs = (item.partition("=") for item in record.get("overrides") or ())
    return {key.lstrip("+~"): value for key, _, value in pairs}


def label_extras(records: Sequence[Mapping[str, Any]], beside: Collection[str] = ()) -> list[str]:
    """What tells runs apart that their labels do not: the overrides that vary, as text.

    Args:
        records: of the runs.
        beside: overrides that are told in another way, such as the split.
    """
    given = [options(record) for record in records]
    # What was tuned was chosen for each test part anew, and is a part of the method.
    tuned = {key for record in records for key in record.get("config", {}).get("tuned") or ()}
    alike = {*REPEATS, *IN_LABEL, *beside, "tuned", *tuned}
    varied = {
        key
        for key in {key for row in given for key in row} - alike
        if len({row.get(key) for row in given}) > 1
    }
    return [", ".join(f"{key}={row[key]}" for key in sorted(varied) if key in row) for row in given]


Cells = Mapping[tuple[str, str], Interval | None]


def average_cells(records: Sequence[Record], folder: Path) -> Cells:
    """Mean score of the finished runs (seeds, folds) of each cell, by (encoder, pooling).

    None stands for a cell without a finished run.

    The interval resamples the units of the test part, the same draw for every run that has the
    same test part, and takes the percentiles of the cell's mean.
    """
    extras = label_extras(records)
    if metric_of(_told(records)) != METRICS["classification"]:
        return _plain_cells(records, extras)
    replicates: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for record, extra in zip(records, extras, strict=True):
        if "label" not in record:  # running, or refused before it began
            continue
        encoder, _, pooling = record["label"].partition("/")
        name = f"{encoder} ({extra})" if extra else encoder
        runs = replicates[name, pooling]
        if record["status"] == "done":
            runs.append(_replicates(folder / record["folder"]))
    means = {cell: np.mean(runs, axis=0) if runs else None for cell, runs in replicates.items()}
    return {
        cell: None if mean_R1 is None else percentile_interval(float(mean_R1[0]), mean_R1[1:])
        for cell, mean_R1 in means.items()
    }


def _plain_cells(records: Sequence[Record], extras: Sequence[str]) -> Cells:
    """Mean score of each cell; with an interval where the cell is one run."""
    found: dict[tuple[str, str], list[Interval]] = defaultdict(list)
    for record, extra in zip(records, extras, strict=True):
        if "label" in record:
            encoder, _, rest = record["label"].partition("/")
            runs = found[f"{encoder} ({extra})" if extra else encoder, rest]
            if record["status"] == "done":
                runs.append(_interval(record["scores"][record["label"]][metric_of(record)]))
    return {cell: _mean(runs) if runs else None for cell, runs in found.items()}


def _interval(ends: Mapping[str, float | None]) -> Interval:
    return Interval(**{end: math.nan if x is None else x for end, x in ends.items()})


def _mean(rows: Sequence[Interval]) -> Interval:
    """The one value, where all are the same; else the mean, without interval."""
    if len(set(rows)) == 1:
        return rows[0]
    return Interval(float(np.mean([row.value for row in rows])), math.nan, math.nan)


def _replicates(folder: Path) -> np.ndarray:
    """The run's score on its test part, followed by that of every bootstrap replicate."""
    test = [("part", "==", "test")]
    table = stored(folder / "predictions.parquet", pq.read_table, filters=test)
    names = [name for name in table.column_names if name.startswith("p(")]
    probabilities_NC = np.column_stack([table[name].to_numpy() for name in names])
    index = {name[2:-1]: c for c, name in enumerate(names)}
    labels_N = np.array([index[label] for label in table["label"].to_pylist()])
    groups_N = table["unit"].to_numpy()
    values, replicates_of = bootstrap_scores(
        labels_N, probabilities_NC, groups_N, list(index), replicates=REPLICATES
    )
    metric = METRICS["classification"]
    return np.concatenate([[values[metric]], replicates_of[metric]])


def average_baselines(records: Sequence[Record]) -> dict[str, Interval]:
    """Mean score of each baseline over the runs; with more than one split, without interval."""
    found: dict[str, list[Interval]] = defaultdict(list)
    for record in records:
        for name, row in record.get("scores", {}).items():
            # What a network was before training is no baseline of the data.
            own = name in (record["label"], BEFORE)
            if not own and row.get(metric_of(record)):
                found[name].append(_interval(row[metric_of(record)]))
    return {name: _mean(rows) for name, rows in found.items()}


def print_summary(records: Sequence[Record], cells: Cells) -> None:
    """The cells and the baselines, best first."""
    metric = metric_of(_told(records))
    rows = [
        ("/".join(filter(None, cell)), interval) for cell, interval in cells.items() if interval
    ]
    baselines = average_baselines(records)
    table = Table(title="Test scores", title_justify="left", header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column(f"{metric.replace('_', ' ')} [95 %]", justify="right")
    table.add_column("", style="dim")
    ranked = [(name, interval, "") for name, interval in rows]
    ranked += [(name, interval, "baseline") for name, interval in baselines.items()]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    for name, interval, note in sorted(ranked, key=lambda item: sign * item[1].value):
        table.add_row(name, str(interval), note)
    console().print(table)


def print_outcome(points: Sequence[PointState]) -> None:
    """How many are done, and what became of the others."""
    done = sum(point.state == FINISHED for point in points)
    elsewhere = sum(point.state == RUNNING for point in points)
    told = [f"{done} runs done", f"{len(points) - done - elsewhere} not"]
    if elsewhere:
        told.insert(1, f"{elsewhere} running elsewhere")
    print(f"{', '.join(told)}.")
    for point in points:
        if point.state != FINISHED:
            print(f"  {point.folder}: {point.state} {point.detail}".rstrip())
