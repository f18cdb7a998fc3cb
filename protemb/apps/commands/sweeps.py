"""`protemb status`, `collect` and `report`: how far a sweep is, and what its runs say together."""

import argparse
from pathlib import Path
from typing import Any

from protemb.apps.commands.arguments import count, share
from protemb.errors import InputError


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    status = commands.add_parser("status", help="what became of every point of a sweep")
    status.add_argument("folder", help="a sweep's, or one run's")
    status.set_defaults(run=show_status)

    collect = commands.add_parser("collect", help="what the end of a sweep does: table and heatmap")
    collect.add_argument("folder")
    collect.add_argument("--report", action="store_true", help="and compare and explain the runs")
    collect.set_defaults(run=collect_sweep)

    sync = commands.add_parser("sync", help="send what W&B wrote offline, of a sweep or a run")
    sync.add_argument("folder")
    sync.add_argument("--dry-run", action="store_true", help="only show what would be sent")
    sync.set_defaults(run=sync_sweep)

    report = commands.add_parser("report", help="compare and explain the runs of sweeps")
    report.add_argument(
        "folder", nargs="+", help="sweeps on the same data; the first gets the report"
    )
    report.add_argument(
        "--margin",
        type=share,
        default=0.02,
        help="differences of balanced accuracy up to this do not matter (default: 0.02)",
    )
    report.add_argument(
        "--replicates",
        type=count,
        default=10_000,
        metavar="N",
        help="bootstrap replicates and permutations (default: 10,000)",
    )
    report.add_argument(
        "--jobs", type=count, metavar="N", help="processes (default: one for each core)"
    )
    report.set_defaults(run=report_sweeps)


def show_status(options: argparse.Namespace) -> None:
    """Print one line for each point, and counts; exit code 1 unless all are finished."""
    from protemb.apps.sweep_status import (
        FINISHED,
        count_states,
        print_states,
        study_states,
        sweep_states,
    )

    points = sweep_states(_existing(options.folder))
    studies = study_states(Path(options.folder))
    if not points and not studies:
        raise InputError(options.folder, "no runs inside")
    for name, trials in studies.items():
        print(f"{name}: {len(trials)} trials: {count_states(trials)}")
    if points:
        print_states(points)
    print(f"{len(points)} points: {count_states(points) or 'none is chosen yet'}")
    if not points or any(point.state != FINISHED for point in points):
        raise SystemExit(1)


def collect_sweep(options: argparse.Namespace) -> None:
    """Summarise a sweep's folder as its end does, with the same exit code."""
    from protemb.apps.runs import RESULT
    from protemb.apps.sweep_status import sweep_states

    folder = _existing(options.folder)
    if (folder / RESULT).exists():
        raise InputError(options.folder, "a run, not a sweep")
    if not sweep_states(folder):
        raise InputError(options.folder, "no runs inside")
    from protemb.apps.sweep import finish_sweep

    if not finish_sweep(folder, options.report):
        raise SystemExit(1)


def sync_sweep(options: argparse.Namespace) -> None:
    """Send the offline runs of a sweep to W&B; what is sent already is left out."""
    from protemb.apps.syncing import SyncFailed, offline_runs, sync

    runs, busy = offline_runs(_existing(options.folder))
    for folder in busy:
        print(f"Left out, still running: {folder}")
    if options.dry_run:
        for part in (part for parts in runs for part in parts):
            print(part)
    elif runs:
        sync(runs)
        refused = {part for parts in offline_runs(Path(options.folder))[0] for part in parts}
        refused &= {part for parts in runs for part in parts}
        if refused:
            raise SyncFailed(f"{min(refused)}: not sent ({len(refused)} in all)")
    print(f"{len(runs)} runs {'to send' if options.dry_run else 'sent'}.")


def _existing(name: str) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder")
    return folder


def report_sweeps(options: argparse.Namespace) -> None:
    """Write a sweep's report and print its verdict."""
    from protemb.apps.report.write import make_report, print_report
    from protemb.apps.sweep import summarising

    folders = [Path(folder) for folder in options.folder]
    with summarising(_existing(options.folder[0])):
        page, said = make_report(
            folders, margin=options.margin, replicates=options.replicates, jobs=options.jobs
        )
    print_report(page, said)
