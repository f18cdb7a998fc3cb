"""What several commands share: arguments, reading sequences, devices, progress bars."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from protemb.errors import ConfigError

if TYPE_CHECKING:
    from protemb.sequences.alphabet import Alphabet
    from protemb.sequences.tokens import TokenStore


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


def open_device(name: str) -> Any:
    """The device that was asked for, if it is there."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError("--device", name, "a device of this machine") from error
    return device


def read_records(options: argparse.Namespace, alphabet: "Alphabet") -> "TokenStore":
    """The records to run a model over; what was done to letters is said."""
    from protemb.sequences.alphabet import LetterPolicy
    from protemb.sequences.labels import Rule
    from protemb.sequences.source import read_sequences

    rule = Rule(field=options.id_field, delimiter=options.id_delimiter)
    policy = LetterPolicy(unknown=options.unknown)
    store, report = read_sequences(options.fasta, alphabet, policy, rule)
    for name, count in {**report, **report["letters"]}.items():
        if name not in ("records_read", "records_kept", "letters") and count:
            print(f"{name.replace('_', ' ')}: {count}", file=sys.stderr)
    return store


def progress_bar(*columns: Any) -> Any:
    """A bar on a terminal's stderr, and nothing in a pipe or file."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
