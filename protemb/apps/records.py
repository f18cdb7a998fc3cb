"""The records and the split that a config names."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from protemb.apps.config import build
from protemb.errors import ConfigError, InputError
from protemb.files import write_text
from protemb.sequences.audit import audit, audit_lines, audit_split, audit_split_lines
from protemb.sequences.dataset import LabelledSet, report_lines
from protemb.sequences.partition import Split
from protemb.sequences.residue_source import ResidueSource

Found = TypeVar("Found")


def load_data(values: Mapping[str, Any]) -> LabelledSet:
    """The records that the config names."""
    return read_source(values, build(values["data"]["source"]).load)


def load_any(values: Mapping[str, Any]) -> LabelledSet:
    """The records that the config names, for a task that asks for no labels."""
    source = build(values["data"]["source"])
    if isinstance(source, ResidueSource):
        return read_source(values, source.load_residues).labelled
    return read_source(values, source.load)


def read_source(values: Mapping[str, Any], read: Callable[[Path], Found]) -> Found:
    """Read through the cache; where a file is missing, say how to get it."""
    try:
        return read(Path(values["paths"]["cache"]))
    except InputError as error:
        hint = values["data"]["hint"]
        if hint is None or Path(error.source).exists():
            raise
        raise InputError(error.source, f"{error.problem} ({hint})") from error


def load_split(values: Mapping[str, Any], data: LabelledSet) -> Split:
    """Who trains, validates and tests; a split that leaves nobody to validate is refused."""
    split = build(values["split"]).split(data, Path(values["paths"]["cache"]))
    if not len(split.validation):
        raise ConfigError("split", split.method, "a validation part that is not empty")
    return split


def announce(
    values: Mapping[str, Any],
    data: LabelledSet,
    split: Split,
    folder: Path,
    more: str,
    counted: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write split and audit, say what was read; return what the audit found of both.

    Args:
        values: the config.
        data: the records.
        split: their parts.
        folder: the run's.
        more: what else there is to say of the records, in a few words.
        counted: further lines on what reading did.
    """
    split.write(folder / "split.tsv", data.store)
    facts, split_facts = audit(data), audit_split(data, split)
    said = [*report_lines(data.report), *counted]
    lines = [*said, *audit_lines(facts), *audit_split_lines(split_facts)]
    write_text(folder / "audit.txt", "\n".join(lines) + "\n")
    print("\n".join(said))
    sizes = ", ".join(f"{len(records):,} {name}" for name, records in split.parts.items())
    print(
        f"{values['data']['name']}: {len(data):,} records, {data.store.n_sequences:,} distinct "
        f"sequences, {more}; split {split.method}: {sizes} (audit.txt)"
    )
    return facts, split_facts
