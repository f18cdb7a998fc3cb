"""What lets a long computation go on: a folder beside the output, for one process at a time."""

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from protemb.claims import HeldElsewhere, claim
from protemb.errors import InputError
from protemb.files import read_json, write_json
from protemb.vectors.formats.blocks import Plain, table_format
from protemb.vectors.formats.h5ad import read_h5ad_facts
from protemb.vectors.formats.hdf5 import read_facts
from protemb.vectors.formats.records import LAYOUT, WIDTH

MARKS = (LAYOUT, WIDTH)
"""What the layout keeps beside the facts."""


class WorkFolder:
    """The folder `OUTPUT.partial`; use it in a `with` block.

    It stays when the block is left by an error or a kill, and the same facts find it again. What
    other facts left there is removed. After a success it goes.

    Args:
        output: file that will be made.
        facts: everything that the rows in it depend on.

    Raises:
        InputError: another process works on this output.
    """

    def __init__(self, output: Path, facts: Mapping[str, Plain]) -> None:
        self.path, self.facts = work_folder(output), dict(facts)
        self.output = output

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(self.output)
        with ExitStack() as stack:
            try:
                stack.enter_context(claim(lock))
            except HeldElsewhere as held:
                raise InputError(str(self.output), f"{held.by} is writing it") from None
            stack.callback(lock.unlink, missing_ok=True)
            self._begin()
            self._stack = stack.pop_all()
        return self.path

    def _begin(self) -> None:
        key = self.path / "facts.json"
        try:
            same = read_json(key) == self.facts
        except (OSError, ValueError):
            same = False
        if not same:
            shutil.rmtree(self.path, ignore_errors=True)
            write_json(key, self.facts)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        rows = self.path / "rows"
        if kind is None or not (rows.exists() and rows.stat().st_size):
            shutil.rmtree(self.path, ignore_errors=True)
        self._stack.close()


def work_folder(output: Path) -> Path:
    """Where the rows for an output are collected."""
    return output.with_name(f"{output.name}.partial")


def _lock(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial.lock")


def finished_with(output: Path, facts: Mapping[str, Plain]) -> bool:
    """Whether the output is there, made with these facts, and a kill left nothing beside it."""
    return made_with(output, facts) and not _lock(output).exists()


def made_with(output: Path, facts: Mapping[str, Plain]) -> bool:
    """Whether the output is there, made with these facts."""
    try:
        found = stored_facts(output)
    except Exception:  # not there, or damaged in one of the many ways of four libraries
        return False
    return all(found.get(name) == fact for name, fact in facts.items())


def stored_facts(path: Path) -> dict[str, Any]:
    """The attributes of a file of vectors or states, without its rows."""
    match table_format(path):
        case "hdf5":
            import h5py

            with h5py.File(path) as file:
                facts = read_facts(file)
                return {name: fact for name, fact in facts.items() if name not in MARKS}
        case "parquet":
            import pyarrow.parquet as pq

            return json.loads((pq.read_schema(path).metadata or {}).get(b"protemb", "{}"))
        case "npz":
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
                return json.loads(arrays["attributes"].item())
        case _:
            return read_h5ad_facts(path)
