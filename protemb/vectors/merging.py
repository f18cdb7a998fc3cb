"""Join the shards of one input, and prove that nothing is missing and nothing is there twice.

Shape letters: N = records of the input, B = records of a block.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from protemb.errors import ConfigError, InputError
from protemb.sequences.reading import Shard
from protemb.sequences.repeats import repeated
from protemb.vectors.formats.rows import TableReader
from protemb.vectors.residues import ResidueTable, ResidueWriter
from protemb.vectors.resuming import stored_facts
from protemb.vectors.writers import open_writer

BLOCK = 4096
OWN = ("shard", "data", "deviation", "repeated_records", "no_label")
"""Facts in which shards may differ."""
TOTAL = "records_known"
"""Fact: how many records of the whole input have known letters."""


def merge(shards: Sequence[Path], output: Path, layout: str = "table") -> int:
    """Write one file from all shards of an input; return the number of records.

    Args:
        shards: files of `protemb embed --shard`, in any order.
        output: as for `open_writer`; of states, an `.h5` file.
        layout: of vectors in HDF5. Vectors come in the order of the input, states shard by shard.

    Raises:
        InputError: a shard is missing, damaged, given twice, or of other inputs or options; or a
            record is missing, or two shards have the same id.
    """
    found = [_facts(path) for path in shards]
    facts = _common(shards, found)
    ordered = [path for _, path in sorted(zip(map(_number, found), shards, strict=True))]
    repeated = sum(fact.get("repeated_records", 0) for fact in found)
    facts |= _added(found, ("repeated_records", "no_label"))
    expected = facts[TOTAL] - repeated
    if facts.get("no_label") == expected:
        raise InputError(str(shards[0]), f"no record of any shard has a label in {facts['labels']}")
    if facts["layout"] == "per-residue":
        if layout != "table":
            raise ConfigError("--layout", layout, "nothing: states have a layout of their own")
        return _merge_states(ordered, output, facts, expected)
    facts["layout"] = layout
    return _merge_vectors(ordered, output, facts, expected, layout)


def _facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(str(path), "no such file")
    try:
        facts = stored_facts(path)
    except (OSError, ValueError) as error:
        raise InputError(str(path), f"not a readable shard ({error})") from None
    if "shard" not in facts or TOTAL not in facts:
        raise InputError(str(path), "not a shard: it was not made with --shard")
    return facts


def _added(found: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, int]:
    """Counts that every shard makes of its own records."""
    return {
        name: sum(f.get(name, 0) for f in found)  # an empty share counts no labels
        for name in names
        if any(name in f for f in found)
    }


def _number(facts: dict[str, Any]) -> int:
    return Shard.parse(facts["shard"]).number


def _common(shards: Sequence[Path], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Facts of the whole; refuses shards that do not belong together, or are not all there."""
    first = found[0]
    of = Shard.parse(first["shard"]).of
    for path, facts in zip(shards, found, strict=True):
        for name in {**first, **facts}:
            if name not in OWN and facts.get(name) != first.get(name):
                expected = f"{first.get(name)!r} as in {shards[0]}"
                raise InputError(str(path), f"{name}: got {facts.get(name)!r}, expected {expected}")
        if Shard.parse(facts["shard"]).of != of:
            raise InputError(str(path), f"shard {facts['shard']}, expected one of {of}")
    numbers = sorted(map(_number, found))
    missing = sorted(set(range(1, of + 1)) - set(numbers))
    if missing:
        raise InputError(str(shards[0]), f"shards {', '.join(map(str, missing))} of {of} missing")
    if len(numbers) > of:
        raise InputError(str(shards[0]), "a shard was given twice")
    return {name: fact for name, fact in first.items() if name not in OWN}


def _merge_vectors(
    shards: Sequence[Path], output: Path, facts: dict[str, Any], expected: int, layout: str
) -> int:
    """Rows in the order of the input, a block at a time."""
    with ExitStack() as stack:
        readers = [stack.enter_context(TableReader(path)) for path in shards]
        places = [_places(reader) for reader in readers]
        total = _prove(places, facts[TOTAL], expected, output)
        again = repeated(lambda: chain.from_iterable(map(_ids, readers)))
        if again is not None:
            raise _two_sequences(output, again)
        writer = stack.enter_context(open_writer(output, facts, layout=layout))
        for start in range(0, facts[TOTAL], BLOCK):
            ids, vectors_BD, labels_B = _block(readers, places, start, start + BLOCK)
            if ids:
                writer.append(ids, vectors_BD, labels_B)
    return total


def _places(reader: TableReader) -> np.ndarray:
    if reader.records_N is None or (np.diff(reader.records_N) <= 0).any():
        raise InputError(reader.source, "its records have no places in the input")
    return reader.records_N


def _prove(places: Sequence[np.ndarray], known: int, expected: int, output: Path) -> int:
    """Every place once, and as many as the input has; return how many.

    A record that was given again under the same id leaves its place empty.

    Args:
        places: of each shard's records, ascending.
        known: places of the input.
        expected: how many of them are taken.
        output: what errors name.
    """
    taken_N = np.zeros(known, bool)
    for places_M in places:
        if len(places_M) and not 0 <= places_M[0] <= places_M[-1] < known:
            raise InputError(str(output), f"a shard has places outside the input's {known:,}")
        if taken_N[places_M].any():
            raise InputError(str(output), "two shards have the same record")
        taken_N[places_M] = True
    total = sum(map(len, places))
    if total != expected:
        raise InputError(str(output), f"the shards have {total:,} records, the input {expected:,}")
    return total


def _block(
    readers: Sequence[TableReader], places: Sequence[np.ndarray], start: int, stop: int
) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Rows whose places are from `start` to before `stop`, in order."""
    ids: list[str] = []
    vectors, labels, found = [], [], []
    for reader, places_N in zip(readers, places, strict=True):
        first, last = np.searchsorted(places_N, (start, stop)).tolist()
        texts, vectors_BD, labels_B = reader.block(first, last)
        ids += texts
        labels += [] if labels_B is None else [labels_B]
        vectors.append(vectors_BD)
        found.append(places_N[first:last])
    order = np.argsort(np.concatenate(found))
    labels_B = np.concatenate(labels).astype(str)[order] if labels else None
    return [ids[row] for row in order], np.concatenate(vectors)[order], labels_B


def _ids(reader: TableReader) -> Iterator[str]:
    for start in range(0, len(reader), BLOCK):
        yield from reader.ids(start, start + BLOCK)


def _two_sequences(output: Path, record_id: str) -> InputError:
    """Identical sequences are in the same shard, so an id of two shards has two."""
    return InputError(str(output), "comes twice with different sequences", None, record_id)


def _merge_states(
    shards: Sequence[Path], output: Path, facts: dict[str, Any], expected: int
) -> int:
    """States of all shards, protein by protein."""
    with ExitStack() as stack:
        tables = [stack.enter_context(ResidueTable.open(path)) for path in shards]
        total = sum(map(len, tables))
        if total != expected:
            raise InputError(str(output), f"the shards have {total:,} records, not {expected:,}")
        writer = stack.enter_context(ResidueWriter(output, facts, facts["dtype"]))
        for number, table in enumerate(tables):
            for record_id, states_LD in table.items():
                if any(record_id in earlier for earlier in tables[:number]):
                    raise _two_sequences(output, record_id)
                writer.append(record_id, states_LD)
    return total
