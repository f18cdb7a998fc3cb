"""What every benchmark shares: one core, rows of measurements, a printed table, a JSON file.

A row holds the values of each round, as they were measured. Both sides are measured in the same
run, in turn, so that a round's ratio compares neighbours in time.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
# Read by the numerical libraries when they are loaded, so before any import of them.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def use_one_core() -> None:
    """Keep this process and its children on one thread and, where it can be asked for, one core."""
    os.environ |= ONE_THREAD
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


@dataclass(frozen=True)
class Row:
    """One comparison, or one absolute measurement.

    Args:
        job: what was done.
        unit: of `ours` and `theirs`.
        ours: one value per round.
        against: the baseline; "" when `ours` is judged by itself.
        theirs: its values, in the same rounds.
        relation: "ratio" is ours / theirs, "difference" is ours - theirs.
        target: the bound, such as ">= 2.2" or "<= 0.4"; "" where none is set.
    """

    job: str
    unit: str
    ours: Sequence[float]
    against: str = ""
    theirs: Sequence[float] = ()
    relation: str = "ratio"
    target: str = ""

    def judged(self) -> list[float]:
        """What the target is about, one value per round."""
        if not self.against:
            return list(self.ours)
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.relation == "difference":
            return [ours - theirs for ours, theirs in pairs]
        return [ours / theirs for ours, theirs in pairs]

    def as_dict(self) -> dict[str, object]:
        """Raw values, and the median and spread of what is judged."""
        judged = self.judged()
        median = statistics.median(judged)
        return asdict(self) | {
            "median": median,
            "low": min(judged),
            "high": max(judged),
            "reached": _reached(median, self.target),
        }


def _reached(value: float, target: str) -> bool | None:
    if not target:
        return None
    sign, bound = target.split()
    return value >= float(bound) if sign == ">=" else value <= float(bound)


def interleave(
    sides: dict[str, Callable[[], float]], rounds: int, once: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Measure every side once in each round, in turn; those in `once` in the first round only."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, measure in sides.items():
            if number == 0 or name not in once:
                values[name].append(measure())
                print(f"round {number + 1}: {name}: {values[name][-1]:.4g}", file=sys.stderr)
    return values


def row_of(
    values: dict[str, list[float]], ours: str, theirs: str, job: str, unit: str, **more: str
) -> Row:
    """Pair two sides of `interleave` over the rounds in which both were measured."""
    rounds = min(len(values[ours]), len(values[theirs]))
    pair = values[ours][:rounds], values[theirs][:rounds]
    return Row(job, unit, pair[0], against=theirs, theirs=pair[1], **more)


def arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    return parser


def write(
    name: str,
    rows: Sequence[Row],
    packages: Sequence[str],
    *,
    versions: dict[str, str] | None = None,
    settings: dict[str, object] | None = None,
) -> None:
    """Print the rows as a table and write them to results/<name>.json."""
    report = {
        "benchmark": name,
        "command": _command(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages}
        | (versions or {}),
        "settings": settings or {},
        "rows": [row.as_dict() for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(report, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    for cells in table_cells(report):
        print("  ".join(cells))


def _command() -> str:
    """The command line as others would type it: paths cut to their last part."""
    words = [word.rsplit("/", 1)[-1] for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def hardware() -> dict[str, object]:
    """Processor, cores and how busy the machine was with other work."""
    info = Path("/proc/cpuinfo")
    models = [
        line.split(":", 1)[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


HEAD = ("job", "against", "ours", "theirs", "unit", "result [range]", "target", "")


def table_cells(report: dict) -> list[tuple[str, ...]]:
    """The rows of a report as text, under a head."""
    cells = [HEAD]
    for row in report["rows"]:
        ours, theirs = (
            number(statistics.median(row[side])) if row[side] else "" for side in ("ours", "theirs")
        )
        times = " x" if row["against"] and row["relation"] == "ratio" else ""
        result = number(row["median"]) + times
        if len(row["ours"]) > 1:
            result += f" [{number(row['low'])} to {number(row['high'])}]"
        verdict = {True: "reached", False: "missed", None: ""}[row["reached"]]
        cells.append(
            (row["job"], row["against"], ours, theirs, row["unit"], result, row["target"], verdict)
        )
    return cells


def number(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> number(12345.6), number(21.96), number(0.04567), number(0)
    ('12,300', '22', '0.0457', '0')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"
