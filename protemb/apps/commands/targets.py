"""Vectors and what a table says of their records, matched by id.

Shape letters: N = records, D = features of a vector.
"""

import argparse
import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from protemb.apps.variants.probing import ProbeTargets
from protemb.errors import ConfigError, InputError, ProtembError
from protemb.sequences.tables import read_table, require_columns
from protemb.variants.rows import NO_NUMBER
from protemb.vectors.table import VectorTable

NO_LABELS = "holds no labels: name a table, and its column with --label or --value"


@dataclass(frozen=True)
class _Known:
    """What a row says of one record; "" where it says nothing."""

    target: str
    group: str
    line: int | None = None


def read_targets(options: argparse.Namespace) -> tuple[ProbeTargets, Counter[str]]:
    """Read vectors and what is known of them, in the order of the vectors.

    Returns:
        targets: of the records that have both.
        left_out: counts by reason.

    Raises:
        ConfigError: a column of no table.
        InputError: an id repeats, has no row or no vector (unless these are left out), a value is
            no number, or a vector is not finite.
    """
    table = VectorTable.read(options.vectors)
    _check_vectors(table)
    known = _stored(options, table) if options.table is None else _listed(options, table)
    source = options.table or options.vectors
    wanted = "value" if options.value is not None else "label"
    left_out: Counter[str] = Counter()

    def leave_out(reason: str, error: ProtembError) -> None:
        if options.missing == "error":
            raise error
        left_out[reason] += 1

    rows: list[int] = []
    for row, name in enumerate(table.ids):
        each = known.get(name)
        if each is None:
            error = InputError(
                source, "no row of this id (--missing drop leaves it out)", None, name
            )
            leave_out("vectors without a row", error)
        elif lacks := _lacks(options, each):
            error = InputError(source, f"the row has no {lacks}", each.line, name)
            leave_out(f"rows without a {lacks}", error)
        else:
            rows.append(row)
    ids = set(table.ids)
    for name in (name for name in known if name not in ids):
        problem = "no vector of this id (--missing drop leaves it out)"
        leave_out("rows without a vector", InputError(options.vectors, problem, None, name))
    if not rows:
        raise InputError(options.vectors, f"none of the vectors has a {wanted} in {source}")
    found = [known[table.ids[row]] for row in rows]
    return _targets(options, table, rows, found), left_out


def _check_vectors(table: VectorTable) -> None:
    finite_N = np.isfinite(table.vectors_ND).all(1)
    if not finite_N.all():
        name = table.ids[int(np.argmin(finite_N))]
        raise InputError(table.source, "its vector holds numbers that are not finite", record=name)
    for name, times in Counter(table.ids).items():
        if times > 1:
            raise InputError(table.source, f"{times} vectors have this id", record=name)


def _stored(options: argparse.Namespace, table: VectorTable) -> dict[str, _Known]:
    for name in ("id", "label", "value", "group"):
        if (given := getattr(options, name)) is not None:
            raise ConfigError(f"--{name}", given, "a table that has this column")
    return {name: _Known(label, "") for name, label in _labels(table).items()}


def _listed(options: argparse.Namespace, table: VectorTable) -> dict[str, _Known]:
    """What the table's rows say, by id."""
    key, column = options.id or "id", options.label or options.value
    stored = {} if column is not None else _labels(table)
    needed = [name for name in (key, column, options.group) if name is not None]
    found: dict[str, _Known] = {}
    for values, line in read_table(options.table):
        if not found:
            require_columns(options.table, values, needed)
        name = values[key]
        if not name:
            raise InputError(options.table, f"the column {key!r} is empty", line)
        if name in found:
            problem = f"an earlier row (line {found[name].line}) has the same id"
            raise InputError(options.table, problem, line, name)
        target = stored.get(name, "") if column is None else values[column]
        group = values[options.group] if options.group is not None else ""
        found[name] = _Known(target, group, line)
    return found


def _labels(table: VectorTable) -> dict[str, str]:
    if table.labels is None:
        raise InputError(table.source, NO_LABELS)
    return dict(zip(table.ids, table.labels.tolist(), strict=True))


def _lacks(options: argparse.Namespace, known: _Known) -> str | None:
    if options.value is not None and known.target.lower() in NO_NUMBER:
        return "value"
    if not known.target:
        return "label"
    return "group" if options.group is not None and not known.group else None


def _targets(
    options: argparse.Namespace, table: VectorTable, rows: list[int], found: list[_Known]
) -> ProbeTargets:
    vectors_ND = table.vectors_ND[rows]
    ids = [table.ids[row] for row in rows]
    own_N = equal_rows(vectors_ND)
    groups_N = own_N if options.group is None else np.array([each.group for each in found])
    targets = ProbeTargets(ids, vectors_ND, groups_N, values_N=np.zeros(len(ids)))
    if options.value is not None:
        pairs = zip(ids, found, strict=True)
        return replace(targets, values_N=np.array([_number(options, *pair) for pair in pairs]))
    names, codes_N = np.unique([each.target for each in found], return_inverse=True)
    return replace(
        targets,
        values_N=None,
        labels_N=codes_N.astype(np.int64),
        label_names=tuple(names.tolist()),
    )


def _number(options: argparse.Namespace, name: str, known: _Known) -> float:
    try:
        number = float(known.target)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        problem = f"column {options.value!r}: got {known.target!r}, expected a number"
        raise InputError(options.table, problem, known.line, name)
    return number


def equal_rows(vectors_ND: np.ndarray) -> np.ndarray:
    """Code of each row, from 0; rows with the same numbers have the same."""
    codes: dict[bytes, int] = {}
    # 0 is added as -0 and 0 are equal, but not the same bytes.
    return np.array([codes.setdefault(row.tobytes(), len(codes)) for row in vectors_ND + 0.0])
