"""Rows of variant tables: where each column stands, what a row says, what was left out and why."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from protemb.errors import InputError
from protemb.sequences.tables import read_table, require_columns
from protemb.variants.mutations import Mutation

EXAMPLES = 20  # rows that a report shows for each reason
LARGEST = 1e18  # squares of it still fit into float32
# What tables write where a number is missing; no text column is read this way.
NO_NUMBER = {"", "nan", "na", "n/a", "null", "none"}


class Place(NamedTuple):
    """Where a row stands, and the words by which people find it."""

    source: str
    line: int
    protein: str
    text: str  # the mutation as written

    @property
    def where(self) -> str:
        """Return `file:line`."""
        return f"{self.source}:{self.line}"

    def error(self, problem: str) -> InputError:
        """Return an error that names the place."""
        record = f"{self.protein} {self.text}".strip() or None
        return InputError(self.source, problem, self.line, record)

    def example(self, reason: str) -> str:
        """Return `file:line protein mutation: reason`, with the file's name alone."""
        record = f"{self.protein} {self.text}".strip()
        return f"{Path(self.source).name}:{self.line} {record}: {reason}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured variant; value is NaN in a table of labels, label "" in a table of values."""

    place: Place
    mutation: Mutation
    value: float
    label: str
    group: str
    weight: float
    covariates: tuple[str | float, ...]


@dataclass
class Log:
    """Counts what reading left out, by reason; `listed` names rows that have no sure place."""

    rows_read: int = 0
    listed: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(
        self, place: Place, reason: str, problem: str, policy: Literal["error", "drop"]
    ) -> None:
        """Count a row that is left out, or raise when the policy is "error"."""
        if policy == "error":
            raise place.error(problem)
        self.counts[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(place.example(problem))

    def report(self) -> dict[str, object]:
        """Return rows and examples by reason, as plain values."""
        return {
            reason: {"rows": count, "examples": self.examples[reason]}
            for reason, count in sorted(self.counts.items())
        }


@dataclass(frozen=True)
class Columns:
    """The columns that a table is read by; see `TableSource` for what they are."""

    protein: tuple[str, ...]
    mutation: str | None
    value: str | None
    label: str | None
    sequence: str | None
    weight: str | None
    group: str | None
    covariates: Mapping[str, tuple[str, str]]  # by name: the column, and its kind

    @property
    def needed(self) -> list[str]:
        """All columns that a file must have."""
        optional = (
            *(self.mutation, self.value, self.label, self.sequence, self.weight, self.group),
            *(column for column, _ in self.covariates.values()),
        )
        return [*self.protein, *(column for column in optional if column is not None)]

    def place(self, source: str, line: int, values: Mapping[str, str]) -> Place:
        """Name a row; the protein is "" when a part of its id is missing."""
        parts = [values[column] for column in self.protein]
        text = values[self.mutation] if self.mutation is not None else ""
        return Place(source, line, "_".join(parts) if all(parts) else "", text)

    def missing(self, place: Place, values: Mapping[str, str]) -> str | None:
        """Name the first thing that a row has to have and has not."""
        if not place.protein:
            return "protein"
        for what in ("mutation", "label", "group"):
            column = getattr(self, what)
            if column is not None and not values[column]:
                return what
        for what in ("value", "weight"):
            column = getattr(self, what)
            if column is not None and values[column].lower() in NO_NUMBER:
                return what
        return None

    def row(self, place: Place, mutation: Mutation, values: Mapping[str, str]) -> Row:
        """Read the rest of a row of which nothing is missing."""
        weight = 1.0 if self.weight is None else _number(place, self.weight, values)
        if weight <= 0:
            raise place.error(f"the weight is {weight:g}, expected a number above 0")
        return Row(
            place,
            mutation,
            math.nan if self.value is None else _number(place, self.value, values),
            "" if self.label is None else values[self.label],
            place.protein if self.group is None else values[self.group],
            weight,
            tuple(
                values[column]
                if kind == "categorical"
                else _number(place, column, values, missing=math.nan)
                for column, kind in self.covariates.values()
            ),
        )


def read_entries(
    paths: Sequence[str], columns: Columns, log: Log
) -> Iterator[tuple[Place, dict[str, str]]]:
    """Yield all rows of all files, each with its place."""
    for path in paths:
        for number, (values, line) in enumerate(read_table(path)):
            if number == 0:
                require_columns(path, values, columns.needed)
            log.rows_read += 1
            yield columns.place(path, line, values), values


def read_mutation(text: str, base: int) -> Mutation:
    """Read positions that count from `base`, 0 or 1.

    Raises:
        MutationError: It is no substitution.
    """
    mutation = Mutation.parse(text)
    return mutation.shifted(1 - base) if base != 1 else mutation


def check_chains(rows: Sequence[Row]) -> None:
    """Raise when mutations of one protein name different chains: one sequence is not both."""
    chains: dict[str, Row] = {}
    for row in rows:
        if row.mutation.chain:
            first = chains.setdefault(row.place.protein, row)
            if first.mutation.chain != row.mutation.chain:
                problem = f"chain {row.mutation.chain!r}, but chain {first.mutation.chain!r} in"
                advice = "one protein id for each chain is needed (several columns make one)"
                raise row.place.error(f"{problem} {first.place.where}; {advice}")


def _number(
    place: Place, column: str, values: Mapping[str, str], missing: float | None = None
) -> float:
    text = values[column]
    if missing is not None and text.lower() in NO_NUMBER:
        return missing
    try:
        number = float(text)
    except ValueError:
        raise place.error(f"column {column!r} is {text!r}, expected a number") from None
    if not abs(number) <= LARGEST:
        raise place.error(f"column {column!r} is {text!r}, expected a finite number of usual size")
    return number
