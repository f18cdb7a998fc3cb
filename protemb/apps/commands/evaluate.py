"""`protemb evaluate`: what a table of vectors says about its records' labels or values."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb.apps.commands.arguments import count
from protemb.errors import ConfigError

if TYPE_CHECKING:
    from protemb.apps.variants.probing import Probe, ProbeTargets

EPILOG = """\
protemb evaluate vectors.h5                                   the labels stored with the vectors
protemb evaluate vectors.h5 hosts.csv --id accession --label host --group cluster
protemb evaluate vectors.parquet melting.csv --value Tm --regressor random_forest -o result.json

Every vector is predicted by a model fitted without its fold; folds and intervals keep groups whole.
"""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    evaluate = commands.add_parser(
        "evaluate",
        help="what vectors say about labels or values",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument("vectors", help="vector table: .h5, .parquet, .npz or .h5ad")
    evaluate.add_argument(
        "table", nargs="?", help="CSV, TSV or Parquet (default: labels stored with the vectors)"
    )
    evaluate.add_argument("--id", metavar="COLUMN", help="of the vectors' ids (default: id)")
    target = evaluate.add_mutually_exclusive_group()
    target.add_argument("--label", metavar="COLUMN", help="of classes")
    target.add_argument("--value", metavar="COLUMN", help="of numbers")
    evaluate.add_argument(
        "--group",
        metavar="COLUMN",
        help="of what no fold may part, such as a cluster (default: equal vectors are a group)",
    )
    evaluate.add_argument(
        "--missing",
        choices=["error", "drop"],
        default="error",
        help="rows without a vector, vectors without a row: refuse, or leave them out",
    )
    evaluate.add_argument("--folds", type=count, default=10, metavar="N", help="(default: 10)")
    evaluate.add_argument(
        "--seeds", default="0,1,2", metavar="N,...", help="of the regressor (default: 0,1,2)"
    )
    evaluate.add_argument(
        "--regressor",
        metavar="WORD",
        help="ridge, mlp50, random_forest, gaussian_process, hist_gbdt; for labels logistic, "
        "mlp50, random_forest, hist_gbdt (default: ridge or logistic)",
    )
    evaluate.add_argument(
        "--replicates", type=count, default=2000, metavar="N", help="bootstrap (default: 2000)"
    )
    evaluate.add_argument("-o", "--output", help="JSON file to write")
    evaluate.set_defaults(run=evaluate_vectors)


def evaluate_vectors(options: argparse.Namespace) -> None:
    """Match, fit, score; print the scores beside the trivial ones."""
    from protemb.apps.commands.targets import read_targets
    from protemb.apps.variants.probing import probe, probe_facts
    from protemb.files import write_json

    seeds = _seeds(options.seeds)
    targets, left_out = read_targets(options)
    found = probe(targets, options.regressor, options.folds, seeds, options.replicates)
    for line in _notes(options, targets, left_out):
        print(line)
    _print_scores(found)
    said = sentence(found)
    print(said)
    if options.output is not None:
        facts = probe_facts(found) | _input_facts(options)
        write_json(options.output, facts | {"left_out": dict(left_out), "said": said})
        print(f"Scores and predictions: {options.output}")


def _seeds(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise ConfigError("--seeds", text, "whole numbers from 0 on, each once, such as 0,1,2")
    return [int(part) for part in parts]


def _notes(
    options: argparse.Namespace, targets: "ProbeTargets", left_out: Counter[str]
) -> list[str]:
    import numpy as np

    from protemb.apps.commands.targets import equal_rows

    own_N = equal_rows(targets.vectors_ND)
    distinct, groups = len(np.unique(own_N)), len(np.unique(targets.groups_N))
    lines = [f"left out, {reason}: {times:,}" for reason, times in sorted(left_out.items())]
    by = "equal vectors are a group" if options.group is None else f"by {options.group}"
    size = f"{len(targets.ids):,} vectors of {targets.vectors_ND.shape[1]:,} numbers"
    lines.append(f"{size}, {distinct:,} of them distinct; {groups:,} groups ({by})")
    if options.group is not None:
        pairs = np.unique(
            np.stack([own_N, np.unique(targets.groups_N, return_inverse=True)[1]]), axis=1
        )
        shared = int((np.bincount(pairs[0]) > 1).sum())
        if shared:
            lines.append(f"{shared:,} vectors stand in several groups: folds can part them")
    return lines


def _print_scores(found: "Probe") -> None:
    import math

    from rich.table import Table

    from protemb.apps.results import console

    folds = int(found.fold_N.max()) + 1
    table = Table(
        title=f"{found.regressor}, {folds} folds, {len(found.seeds)} seeds "
        r"\[95 % intervals over groups]",
        title_justify="left",
        header_style="bold",
    )
    table.add_column("score", no_wrap=True)
    for heading in ("vectors", "majority" if found.targets.labels_N is not None else "mean"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, score in found.scores.items():
        trivial = found.trivial.get(name)
        if not math.isnan(score.value):
            shown = name.replace("protein_", "within groups, ").replace("_", " ")
            table.add_row(shown, str(score), "undefined" if trivial is None else str(trivial))
    console().print(table)


def sentence(found: "Probe") -> str:
    """Whether the vectors are above what can be said without them."""
    import numpy as np

    from protemb.apps.variants.verdict import NAMES

    targets, main = found.targets, found.scores[found.metric]
    first = f"{found.regressor} on these vectors has {NAMES[found.metric]} {main}"
    if targets.labels_N is None:
        ends = {
            "above": "above 0: they say something about the values",
            "below": "below 0: they mislead",
            "unclear": "no correlation is shown",
        }
        return f"{first}; {ends[found.outcome]}."
    name = targets.label_names[int(np.bincount(targets.labels_N).argmax())]
    trivial = f"the majority class, {name} ({found.trivial[found.metric].value:.3f})"
    if found.outcome == "unclear":
        return f"{first}; no difference to {trivial} is shown: {found.difference}."
    return f"{first}; {found.outcome} {trivial}: difference {found.difference}."


def _input_facts(options: argparse.Namespace) -> dict[str, Any]:
    from protemb import __version__
    from protemb.files import hash_file

    columns = {name: getattr(options, name) for name in ("id", "label", "value", "group")}
    files = {"vectors": options.vectors, "table": options.table}
    return {
        "protemb": __version__,
        "columns": columns,
        "files": {
            what: {"name": Path(path).name, "sha256": hash_file(path)}
            for what, path in files.items()
            if path is not None
        },
    }
