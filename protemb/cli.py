"""The `protemb` command: what is done with data and trained models outside of training."""

import argparse
import sys
from collections.abc import Sequence

from protemb import __version__
from protemb.errors import ProtembError

EPILOG = """\
protemb predict runs/demo/RUN new.fasta                    hosts and probabilities
protemb embed runs/demo/RUN new.fasta -o vectors.h5        one vector per protein
protemb inspect vectors.h5                                 what a file or run holds
protemb audit hosts.fasta --label-field 4                  duplicates, conflicts, balance
protemb fetch influenza_ha                                 real data, checked hashes
protemb summarize runs/demo/SWEEP                          a sweep's table and heatmap
protemb convert ssa.sav -o models/ssa                    a published model; then embed models/ssa
protemb report runs/demo/SWEEP                             which network is better, and why

Training: python train.py --help
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run; bad input is one line on stderr and exit code 2."""
    options = parser().parse_args(arguments)
    # Commands import what they need when they run, so that --help answers at once.
    from protemb.apps import commands

    try:
        getattr(commands, options.command)(options)
    except ProtembError as error:
        print(f"protemb: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
    except OSError as error:
        # A full disk, a folder in the way, no permission: the machine's word, not a defect.
        print(f"protemb: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="protemb",
        description="Protein sequence embeddings: train, compare, use.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"protemb {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    predict = commands.add_parser("predict", help="labels and probabilities of new sequences")
    _add_model(predict)
    predict.add_argument("-o", "--output", help="file to write (default: standard output)")
    predict.add_argument(
        "--format", choices=["table", "jsonl"], default="table", help="tab-separated or JSON lines"
    )
    predict.add_argument(
        "--top", type=_count, metavar="N", help="only the most probable classes (default: all)"
    )

    embed = commands.add_parser("embed", help="one vector per sequence")
    _add_model(embed)
    embed.add_argument(
        "-o", "--output", required=True, help="vectors.h5, vectors.parquet or vectors.npz"
    )
    embed.add_argument("--level", help="table, states, ... (default: as trained or published)")
    embed.add_argument("--pooling", help="mean, max, last or ends (default: as trained)")

    convert = commands.add_parser("convert", help="a published model from its original file")
    convert.add_argument("file", help="checkpoint of Bepler and Berger or ProSE, UniRep's .npz")
    convert.add_argument("-o", "--output", required=True, help="folder to make, such as models/ssa")

    inspect = commands.add_parser("inspect", help="what a checkpoint, run or vector table holds")
    inspect.add_argument("file", help="checkpoint, run folder, or .h5 / .parquet / .npz vectors")

    audit = commands.add_parser("audit", help="duplicates, conflicts and balance of labelled data")
    audit.add_argument("file", nargs="+", help="FASTA or table, plain, .gz or .zst")
    audit.add_argument("--label-field", type=int, metavar="N", help="header field, from 1")
    audit.add_argument("--label-key", metavar="KEY", help="KEY=value in the header")
    audit.add_argument("--label-regex", metavar="PATTERN", help="with a group (?P<label>...)")
    audit.add_argument("--label-column", metavar="NAME", help="column of the table or metadata")
    audit.add_argument("--delimiter", default="|", help="between header fields (default: |)")
    audit.add_argument("--metadata", metavar="TABLE", help="table to join")
    audit.add_argument("--metadata-key", metavar="NAME", help="its key column")
    audit.add_argument("--record-key-field", type=int, metavar="N", help="header field to join on")
    audit.add_argument("--missing-label", choices=["error", "drop"], default="error")
    audit.add_argument("--min-class-size", type=int, default=1, metavar="N")
    audit.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=WHERE",
        help="another field to hold against the label: header field (subtype=3) or column "
        "(region=region); may be repeated",
    )
    audit.add_argument("--unknown", choices=["error", "x", "drop"], default="error")
    audit.add_argument("--json", action="store_true", help="everything, as JSON")

    fetch = commands.add_parser("fetch", help="get a data set from its public source")
    fetch.add_argument("name", choices=["influenza_ha", "demo"])
    fetch.add_argument("-o", "--output", help="folder (default: data/NAME)")
    fetch.add_argument("--base-url", help="a mirror of the source's files")

    report = commands.add_parser("report", help="compare and explain the runs of sweeps")
    report.add_argument(
        "folder", nargs="+", help="sweeps on the same data; the first gets the report"
    )
    report.add_argument(
        "--margin",
        type=_share,
        default=0.02,
        help="differences of balanced accuracy up to this do not matter (default: 0.02)",
    )
    report.add_argument(
        "--replicates",
        type=_count,
        default=10_000,
        metavar="N",
        help="bootstrap replicates and permutations (default: 10,000)",
    )
    report.add_argument(
        "--jobs", type=_count, metavar="N", help="processes (default: one for each core)"
    )

    summarize = commands.add_parser("summarize", help="table and heatmap of a sweep's folder")
    summarize.add_argument("folder")
    return top


def _count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1 on")
    return int(text)


def _share(text: str) -> float:
    """A number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 to below 1")
    return value


def _add_model(command: argparse.ArgumentParser) -> None:
    """Arguments of commands that run a model over sequences."""
    command.add_argument(
        "checkpoint", help="checkpoint file, a run folder for its best one, or a converted model"
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


if __name__ == "__main__":
    main()
