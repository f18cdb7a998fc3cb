"""Which vectors may stand beside each other: those of one checkpoint, level, pooling and alphabet.

A distance between vectors of two models is a number without a meaning, and nothing about the
numbers shows it; so whoever mixes tables calls `check_same` first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from protemb.errors import InputError

MUST_AGREE = ("checkpoint", "level", "pooling", "alphabet")


class Sourced(Protocol):
    """A table of vectors or states that knows its file and its facts."""

    @property
    def source(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...


def check_same(tables: Sequence[Sourced]) -> None:
    """Refuse tables whose vectors cannot be compared with those of the first.

    A fact that one table states and another does not differs: it cannot be known to agree.
    Tables of others, which state none of them, have to agree in width.

    Raises:
        InputError: names the second table and its value, and the first and its own.
    """
    for table in tables[1:]:
        first, second = _facts(tables[0]), _facts(table)
        for name, expected in first.items():
            if second[name] != expected:
                raise InputError(
                    table.source,
                    f"{name} {_shown(second[name])} does not mix with "
                    f"{name} {_shown(expected)} of {tables[0].source}",
                )


def check_facts(table: Sourced, facts: Mapping[str, Any]) -> None:
    """Refuse a table that was not made with these facts.

    Raises:
        InputError: names the table, the fact, what it is and what it has to be.
    """
    for name, expected in facts.items():
        got = table.attributes.get(name)
        if got != expected:
            raise InputError(table.source, f"{name}: got {_shown(got)}, expected {expected!r}")


def _facts(table: Sourced) -> dict[str, Any]:
    stated = {name: table.attributes.get(name) for name in MUST_AGREE}
    # Tables that do not say so were not made in such batches.
    legacy = table.attributes.get("legacy_batches", 0)
    return {**stated, "legacy_batches": legacy, "width": table.width}


def _shown(value: Any) -> str:
    return "(not stated)" if value is None else repr(value)
