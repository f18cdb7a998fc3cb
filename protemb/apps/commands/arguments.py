"""What several commands share: arguments, reading sequences, devices, progress bars."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protemb.sequences.alphabet import Alphabet
    from protemb.sequences.labels import Rule
    from protemb.sequences.reading import Reading, Shard

SAY_EVERY = 60.0
"""Seconds between lines of progress where there is no terminal."""


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1 on")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 to below 1")
    return value


def add_model(command: argparse.ArgumentParser) -> None:
    """Arguments of commands that run a model over sequences."""
    command.add_argument(
        "model", help="checkpoint file, a run folder for its best one, or a converted model"
    )
    command.add_argument("fasta", help="sequences, plain, .gz or .zst")
    command.add_argument(
        "--id-field", type=int, metavar="N", help="header field that is the id (default: all of it)"
    )
    command.add_argument("--id-delimiter", default="|", help="between header fields (default: |)")
    command.add_argument(
        "--unknown",
        choices=["error", "x", "drop"],
        default="error",
        help="letters outside the alphabet: refuse, read as X, or leave the record out",
    )
    command.add_argument("--residues", type=int, default=32_768, help="budget of one batch")
    command.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")


def add_label(command: argparse.ArgumentParser) -> None:
    """Arguments that say where a record's label stands."""
    command.add_argument("--label-field", type=int, metavar="N", help="header field, from 1")
    command.add_argument("--label-key", metavar="KEY", help="KEY=value in the header")
    command.add_argument("--label-regex", metavar="PATTERN", help="with a group (?P<label>...)")
    command.add_argument("--label-column", metavar="NAME", help="column of the table or metadata")


def label_rule(options: argparse.Namespace, delimiter: str) -> "Rule":
    """Where a record's label stands."""
    from protemb.sequences.labels import Rule

    return Rule(
        field=options.label_field,
        delimiter=delimiter,
        key=options.label_key,
        regex=options.label_regex,
        column=options.label_column,
    )


def read_records(
    options: argparse.Namespace,
    alphabet: "Alphabet",
    folder: Path,
    shard: "Shard | None" = None,
    label: "Rule | None" = None,
) -> "Reading":
    """The records to run a model over, read into `folder`; what was done to letters is said."""
    from protemb.sequences.alphabet import LetterPolicy
    from protemb.sequences.labels import Rule
    from protemb.sequences.reading import read_to

    rule = Rule(field=options.id_field, delimiter=options.id_delimiter)
    policy = LetterPolicy(unknown=options.unknown)
    reading = read_to(folder, options.fasta, alphabet, policy, rule, shard, label)
    for name, count in letter_counts(reading.report).items():
        if count:
            print(f"{name.replace('_', ' ')}: {count:,}", file=sys.stderr)
    return reading


def letter_counts(report: Mapping[str, Any]) -> dict[str, int]:
    """What reading changed or left out."""
    counts = {**report, **report["letters"]}
    return {
        name: count
        for name, count in counts.items()
        if isinstance(count, int) and name not in ("records_read", "records_kept", "records_known")
    }


def input_facts(options: argparse.Namespace) -> dict[str, str | int]:
    """Which file is read, by its content, and by which rules."""
    from protemb.errors import InputError
    from protemb.files import hash_file

    path = Path(options.fasta)
    if path.exists() and not path.is_file():
        raise InputError(options.fasta, "not a file; it is read twice, so a pipe will not do")
    try:
        sha256 = hash_file(options.fasta)
    except OSError as error:
        raise InputError(options.fasta, f"cannot be read: {error.strerror}") from None
    return {
        "input": Path(options.fasta).name,
        "input_sha256": sha256,
        "unknown_letters": options.unknown,
        "id_field": options.id_field or 0,
        "id_delimiter": options.id_delimiter,
    }


@contextmanager
def counted_progress(
    what: str, total: int, done: int, unit: str = "residues"
) -> Iterator[Callable[[int], None]]:
    """Count residues, or something else: a bar on a terminal, now and then a line in a log.

    Args:
        what: is being done.
        total: residues.
        done: of them, before this process began.
        unit: what is counted.
    """
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = said = time.monotonic()
    now, digits = done, 0 if unit == "residues" else 2
    with progress_bar(*columns) as bar:
        task = bar.add_task(what, total=total, completed=done, rate="")

        def advance(residues: int) -> None:
            nonlocal now, said
            now += residues
            seconds = max(time.monotonic() - began, 1e-9)
            rate = (now - done) / seconds
            bar.update(task, completed=now, rate=f"{rate:,.{digits}f} {unit}/s")
            if bar.disable and time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                left = timedelta(seconds=round((total - now) / rate))
                share = f"{now / total:.0%} of {total:,} {unit}, {rate:,.{digits}f}/s"
                print(f"{what}: {share}, {left} left", file=sys.stderr, flush=True)

        yield advance


def progress_bar(*columns: Any) -> Any:
    """A bar on a terminal's stderr, and nothing in a pipe or file."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
