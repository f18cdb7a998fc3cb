"""`protemb report` and `protemb summarize`: what a sweep's runs say together."""

import argparse
from pathlib import Path
from typing import Any

from protemb.apps.commands.arguments import count, share
from protemb.errors import InputError


def add(commands: Any) -> None:
    """Add the commands to the command line."""
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

    summarize = commands.add_parser("summarize", help="table and heatmap of a sweep's folder")
    summarize.add_argument("folder")
    summarize.set_defaults(run=summarize_sweep)


def summarize_sweep(options: argparse.Namespace) -> None:
    """Print and write the summary of a sweep's folder."""
    from protemb.apps.sweep import summarise

    folder = Path(options.folder)
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder")
    summarise(folder)


def report_sweeps(options: argparse.Namespace) -> None:
    """Write a sweep's report and print its verdict."""
    from protemb.apps.report.write import make_report, print_report

    folders = [Path(folder) for folder in options.folder]
    page, said = make_report(
        folders, margin=options.margin, replicates=options.replicates, jobs=options.jobs
    )
    print_report(page, said)
