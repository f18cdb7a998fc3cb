"""`protemb audit` and `protemb fetch`: data before any model."""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protemb.apps.commands.arguments import add_label, label_rule, progress_bar
from protemb.errors import ConfigError

if TYPE_CHECKING:
    from protemb.sequences.labels import Rule


def add(commands: Any) -> None:
    """Add the commands to the command line."""
    audit = commands.add_parser("audit", help="duplicates, conflicts and balance of labelled data")
    audit.add_argument("file", nargs="+", help="FASTA or table, plain, .gz or .zst")
    add_label(audit)
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
    audit.set_defaults(run=audit_data)

    fetch = commands.add_parser("fetch", help="get a data set from its public source")
    fetch.add_argument("name", choices=["influenza_ha", "fireprotdb", "demo"])
    fetch.add_argument("-o", "--output", help="folder (default: data/NAME)")
    fetch.add_argument("--base-url", help="a mirror of the source's files")
    fetch.set_defaults(run=fetch_data)


def audit_data(options: argparse.Namespace) -> None:
    """Print the audit of labelled data."""
    from protemb.sequences.alphabet import LetterPolicy
    from protemb.sequences.audit import audit, audit_lines
    from protemb.sequences.dataset import report_lines
    from protemb.sequences.labels import Rule
    from protemb.sequences.source import FileSource

    label = label_rule(options, options.delimiter)
    data = FileSource(
        options.file,
        label=label,
        metadata=options.metadata,
        metadata_key=options.metadata_key,
        record_key=Rule(field=options.record_key_field, delimiter=options.delimiter),
        fields=dict(_field(options.delimiter, text) for text in options.field),
        letters=LetterPolicy(unknown=options.unknown),
        missing_label=options.missing_label,
        min_class_size=options.min_class_size,
    ).load()
    facts = audit(data)
    if options.json:
        print(json.dumps({"reading": data.report, **facts}, indent=2))
    else:
        print("\n".join([*report_lines(data.report), *audit_lines(facts)]))


def _field(delimiter: str, text: str) -> "tuple[str, Rule]":
    """Read `subtype=3` (header field) or `region=region` (column)."""
    from protemb.sequences.labels import Rule

    name, equals, where = text.partition("=")
    if not (name and equals and where):
        raise ConfigError("--field", text, "NAME=WHERE, such as subtype=3 or region=region")
    if where.isdigit():
        return name, Rule(field=int(where), delimiter=delimiter)
    return name, Rule(column=where)


def fetch_data(options: argparse.Namespace) -> None:
    """Get a data set; what is there already is not fetched again."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn

    from protemb.sequences.demo import write_demo_fasta
    from protemb.sequences.influenza import build_influenza_ha
    from protemb.variants.fireprot import build_fireprotdb

    builders: dict[str, Callable[..., Path]] = {
        "influenza_ha": build_influenza_ha,
        "fireprotdb": build_fireprotdb,
    }
    root = Path(os.environ.get("PROTEMB_HOME", "."))  # as in conf/paths
    folder = Path(options.output) if options.output else root / "data" / options.name
    if options.name == "demo":
        path = folder / "demo.fasta"
        write_demo_fasta(path)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with progress_bar(*columns) as progress:
            tasks: dict[str, Any] = {}

            def show(name: str, done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(name, total=total)
                progress.update(tasks[name], completed=done)

            build = builders[options.name]
            path = build(folder, base_url=options.base_url, progress=show)
    print(path)
