"""What became of every point of a sweep, read from its folder; quick, and nothing is changed."""

import csv
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protemb.apps.points import read_points
from protemb.apps.runs import RESULT, read_result
from protemb.claims import CLAIM, holder

FINISHED, RUNNING, MISSING = "finished", "running", "missing"
STOPPED = "stopped (killed?)"
STATES = (FINISHED, "pruned", RUNNING, "interrupted", STOPPED, "failed", MISSING)


@dataclass(frozen=True)
class PointState:
    """One point of a sweep.

    Attributes:
        folder: its name in the sweep's folder; "." for the folder itself.
        state: one of `STATES`. A record that says `running` is believed only while a process
            holds the folder.
        detail: who computes it and how far it is, the first line of the error, or the objective.
    """

    folder: str
    state: str
    detail: str = ""


def sweep_states(sweep: Path) -> list[PointState]:
    """The points that the sweep's command named, then others that lie there, by name.

    A folder that is a run itself is its only point.
    """
    if (sweep / RESULT).exists():
        return [point_state(sweep, ".")]
    named = list(read_points(sweep))
    others = {path.parent.name for name in (RESULT, CLAIM) for path in sweep.glob(f"*/{name}")}
    return [point_state(sweep / name, name) for name in [*named, *sorted(others.difference(named))]]


def point_state(folder: Path, name: str) -> PointState:
    """What became of one point."""
    # The lock first: a run that ends in between has written its record.
    held = holder(folder / CLAIM)
    record = read_result(folder)
    if held is not None:
        return PointState(name, RUNNING, ", ".join(filter(None, (str(held), _epoch(folder)))))
    if record is None:
        return PointState(name, MISSING)
    if record["status"] == "done":
        objective = record.get("objective")
        return PointState(name, FINISHED, "" if objective is None else f"{objective:.4g}")
    if record["status"] == "running":
        return PointState(name, STOPPED, _epoch(folder))
    return PointState(name, record["status"], _first_line(record.get("error", "")))


def count_states(points: Sequence[PointState]) -> str:
    """Read as `3 finished, 1 failed`, in the order of `STATES`."""
    counts = Counter(point.state for point in points)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def study_states(sweep: Path) -> dict[str, list[PointState]]:
    """The trials of every study of a sweep that tunes, by the study's name."""
    studies = {path.name: sweep_states(path) for path in sorted(sweep.glob("trials/*"))}
    return {name: trials for name, trials in studies.items() if trials}


def print_states(points: Sequence[PointState]) -> None:
    """One line for each point: state, folder, detail."""
    width = max(len(point.state) for point in points)
    for point in points:
        print(f"{point.state:{width}}  {point.folder}  {point.detail}".rstrip())


def is_grid(record: dict[str, Any]) -> bool:
    """Whether a run's record is one of variants.py."""
    return "encoders" in record.get("config", {})


def _first_line(text: str) -> str:
    line = next(iter(str(text).splitlines()), "")
    return "".join(letter if letter.isprintable() else " " for letter in line)


def _epoch(folder: Path) -> str:
    """How far training is, where the CSV logger tells; empty where it does not."""
    epochs: list[str] = []
    # A log may go while it is looked at: a run that begins anew sets the old one aside.
    with suppress(FileNotFoundError):
        logs = folder.glob("logs/version_*/metrics.csv")
        if latest := max(logs, key=lambda path: path.stat().st_mtime, default=None):
            with open(latest, newline="", encoding="utf-8") as handle:
                epochs = [row["epoch"] for row in csv.DictReader(handle) if row.get("epoch")]
    if not epochs or not epochs[-1].isdecimal():
        return ""
    return f"epoch {int(epochs[-1]) + 1}{_of_epochs(folder)}"


def _of_epochs(folder: Path) -> str:
    import yaml

    try:
        text = (folder / ".hydra" / "config.yaml").read_text(encoding="utf-8")
        return f" of {int(yaml.safe_load(text)['trainer']['max_epochs'])}"
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return ""
