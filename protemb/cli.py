"""The `protemb` command: what is done with data and trained models outside of training."""

import argparse
import sys
from collections.abc import Sequence

from protemb import __version__
from protemb.apps.commands import (
    data,
    embed,
    evaluate,
    models,
    scan,
    search,
    shards,
    similarity,
    sweeps,
)
from protemb.apps.starting import machine_errors
from protemb.errors import ProtembError

COMMANDS = (models, embed, shards, search, similarity, evaluate, scan, data, sweeps)

EPILOG = """\
protemb predict runs/demo/RUN new.fasta                    hosts and probabilities
protemb embed runs/demo/RUN new.fasta -o vectors.h5        one vector per protein
protemb inspect vectors.h5                                 what a file or run holds
protemb audit hosts.fasta --label-field 4                  duplicates, conflicts, balance
protemb fetch influenza_ha                                 real data, checked hashes
protemb status runs/demo/SWEEP                             what became of its points
protemb sync runs/demo/SWEEP                               W&B's offline runs to its server
protemb collect runs/demo/SWEEP                            a sweep's table and heatmap
protemb convert ssa.sav -o models/ssa                      a published model; then embed models/ssa
protemb similarity models/ssa a.fasta b.fasta              alike in structure?
protemb search library.h5 queries.h5 -k 10                 the nearest vectors
protemb report runs/demo/SWEEP                             which network is better, and why
protemb evaluate vectors.h5 hosts.csv --label host           what do the vectors know?
protemb scan runs/variants/demo/RUN one.fasta -o scan.csv   all substitutions, with a heatmap

Training: python train.py --help
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run; bad input is one line on stderr and exit code 2."""
    options = parser().parse_args(arguments)
    try:
        with machine_errors():
            options.run(options)
    except ProtembError as error:
        print(f"protemb: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


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
    for module in COMMANDS:
        module.add(commands)
    return top


if __name__ == "__main__":
    main()
