"""The records and the split that a config names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protemb.apps.config import build
from protemb.errors import ConfigError, InputError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split


def load_data(values: Mapping[str, Any]) -> LabelledSet:
    """The records that the config names."""
    try:
        return build(values["data"]["source"]).load(Path(values["paths"]["cache"]))
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


def print_parts(values: Mapping[str, Any], data: LabelledSet, split: Split, more: str) -> None:
    """One line: how many records, and how many in each part."""
    sizes = ", ".join(f"{len(records):,} {name}" for name, records in split.parts.items())
    print(
        f"{values['data']['name']}: {len(data):,} records, {data.store.n_sequences:,} distinct "
        f"sequences, {more}; split {split.method}: {sizes} (audit.txt)"
    )
