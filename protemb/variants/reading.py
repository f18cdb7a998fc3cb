"""From files to a table of variants, by rules that a config can write down.

Shape letters: N = rows (one measured variant each).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from protemb.errors import ConfigError, InputError
from protemb.variants.duplicates import Policy, settle_duplicates
from protemb.variants.mutations import Mutation, MutationError
from protemb.variants.offsets import UNFITTED, place_rows
from protemb.variants.rows import Columns, Log, Row, check_chains, read_entries, read_mutation
from protemb.variants.table import VariantTable
from protemb.variants.wild_types import Lookup, WildTypes

Fate = Literal["error", "drop"]
KINDS = ("categorical", "numeric")
WORDS = {
    "unfitted": ("error", "drop"),
    "ambiguous": ("error", "drop", "keep"),
    "duplicates": ("error", "mean", "first", "keep"),
    "missing": ("error", "drop"),
}


@dataclass(frozen=True, kw_only=True)
class TableSource:
    """Tables of protein, mutation and value (or label) from the user's files.

    Attributes:
        path: CSV, TSV or Parquet (plain, gzip or zstd); several are joined end to end.
        protein: Column of the protein's id; several columns are joined with "_".
        mutation: Column of mutations such as A123G (see `Mutation.parse`); None: every row is a
            whole protein as it is.
        value: Column of the measured number; either this or `label`.
        label: Column of the class.
        sequence: Column of the wild type's sequence; it may be empty in some rows of a protein.
        fasta: Wild types by protein id.
        lookup: Has `get(protein_id)`; asked for proteins that are not in the table and FASTA.
        covariates: Further columns as features: names of categorical columns, or
            {name: {column: ..., kind: categorical or numeric}}; without `column`, the name is it.
        weight: Column of weights above 0.
        group: Column of what folds and intervals keep together; the protein when None.
        mutation_base: What the first residue is called in the mutations, 1 or 0.
        max_offset: How far the numbering of a protein may be off; 0: positions must fit as they
            are.
        unfitted: Fate of rows whose mutation cannot be placed: it is no substitution of one of
            the 20 residues, or its wild-type residue does not stand there.
        ambiguous: Fate of proteins where several offsets fit equally many mutations and 0 is none
            of them; "keep" takes the smallest.
        duplicates: Fate of rows of the same protein and mutation (see `settle_duplicates`).
        missing: Fate of rows without protein, mutation, value, label, weight, group or sequence.
    """

    path: str | Sequence[str]
    protein: str | Sequence[str] = "protein"
    mutation: str | None = "mutation"
    value: str | None = None
    label: str | None = None
    sequence: str | None = None
    fasta: str | None = None
    lookup: Lookup | None = None
    covariates: Mapping[str, Mapping[str, str]] | Sequence[str] | None = None
    weight: str | None = None
    group: str | None = None
    mutation_base: int = 1
    max_offset: int = 0
    unfitted: Fate = "error"
    ambiguous: Literal["error", "drop", "keep"] = "error"
    duplicates: Policy = "error"
    missing: Fate = "error"

    def __post_init__(self) -> None:
        if (self.value is None) == (self.label is None):
            both = {"value": self.value, "label": self.label}
            raise ConfigError("table", both, "a value column or a label column, one of them")
        if self.sequence is None and self.fasta is None and self.lookup is None:
            raise ConfigError("table.sequence", None, "a column; or else a fasta, or a lookup")
        for option, words in WORDS.items():
            if getattr(self, option) not in words:
                raise ConfigError(f"table.{option}", getattr(self, option), " or ".join(words))
        if self.mutation_base not in (0, 1):
            raise ConfigError("table.mutation_base", self.mutation_base, "0 or 1")
        if type(self.max_offset) is not int:
            raise ConfigError("table.max_offset", self.max_offset, "a whole number")
        if self.lookup is not None and not hasattr(self.lookup, "get"):
            expected = "{_target_: ..., kind: pdb or uniprot, cache: ...}"
            raise ConfigError("table.lookup", self.lookup, expected)
        if self.max_offset < 0:
            raise ConfigError("table.max_offset", self.max_offset, "a number of residues, or 0")
        if self.max_offset and self.mutation is None:
            raise ConfigError("table.max_offset", self.max_offset, "0 without a mutation column")
        for option in ("path", "protein"):
            given = getattr(self, option)
            if not isinstance(given, str | Sequence) or not _several(given):
                raise ConfigError(f"table.{option}", getattr(self, option), "one at least")
        _covariates(self.covariates)

    def load(self) -> VariantTable:
        """Read everything.

        Raises:
            InputError: With the file, the line and the row: the files cannot be used as the
                options say, or no row is left.
            DownloadError: From the lookup.
        """
        paths, columns, log = _several(self.path), self._columns(), Log()
        wild_types = WildTypes(self.fasta, self.lookup)
        rows = self._read(paths, columns, wild_types, log)
        check_chains(rows)
        rows, sequences, sequence_report = wild_types.complete(rows, log, self.missing)
        rows, offset_report = place_rows(
            rows,
            sequences,
            self.max_offset,
            log,
            ambiguous=self.ambiguous,
            unfitted=self.unfitted,
        )
        rows, duplicate_report = settle_duplicates(
            rows, self.duplicates, weighted=self.weight is not None
        )
        if not rows:
            counts = ", ".join(f"{reason} {count}" for reason, count in log.counts.items())
            problem = f"none of {log.rows_read} rows can be used (left out: {counts})"
            raise InputError(paths[0], problem)
        report = {
            "files": list(paths),
            "rows_read": log.rows_read,
            "rows_kept": len(rows),
            "dropped": log.report(),
            "duplicates": duplicate_report,
            "offsets": offset_report,
            "sequences": sequence_report,
        }
        return _table(rows, sequences, columns, report)

    def _columns(self) -> Columns:
        return Columns(
            protein=_several(self.protein),
            mutation=self.mutation,
            value=self.value,
            label=self.label,
            sequence=self.sequence,
            weight=self.weight,
            group=self.group,
            covariates=_covariates(self.covariates),
        )

    def _read(
        self, paths: Sequence[str], columns: Columns, wild_types: WildTypes, log: Log
    ) -> list[Row]:
        """Read rows with their mutations as written; rows that miss something are left out."""
        rows = []
        for place, values in read_entries(paths, columns, log):
            if place.protein and self.sequence is not None:
                wild_types.add(place, values[self.sequence])
            if what := columns.missing(place, values):
                log.leave_out(place, f"no {what}", f"the row has no {what}", self.missing)
                continue
            mutation = Mutation()
            if self.mutation is not None:
                try:
                    mutation = read_mutation(place.text, self.mutation_base)
                except MutationError as error:
                    log.listed.append(place.example(error.problem))
                    log.leave_out(place, UNFITTED, error.problem, self.unfitted)
                    continue
            rows.append(columns.row(place, mutation, values))
        return rows


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _covariates(
    given: Mapping[str, Mapping[str, str]] | Sequence[str] | None,
) -> dict[str, tuple[str, str]]:
    """Return (column, kind) by name.

    Raises:
        ConfigError: A kind is not said, or is none of the two; or there is an unknown option.
    """
    if given is None:
        return {}
    if isinstance(given, str):
        raise ConfigError("table.covariates", given, "a list of columns, or a mapping")
    if not isinstance(given, Mapping):
        return {column: (column, "categorical") for column in given}
    found = {}
    for name, options in given.items():
        known = isinstance(options, Mapping) and set(options) <= {"column", "kind"}
        if not known or options.get("kind") not in KINDS:
            expected = "kind: categorical or numeric (and column, if it has another name)"
            raise ConfigError(f"table.covariates.{name}", options, expected)
        found[name] = (options.get("column", name), options["kind"])
    return found


def _table(
    rows: Sequence[Row],
    sequences: Mapping[str, str],
    columns: Columns,
    report: dict[str, object],
) -> VariantTable:
    proteins = [row.place.protein for row in rows]
    values_N, labels_N, label_names = None, None, ()
    if columns.label is None:
        values_N = np.array([row.value for row in rows], np.float64)
    else:
        names, codes_N = np.unique([row.label for row in rows], return_inverse=True)
        labels_N, label_names = codes_N.astype(np.int64), tuple(names.tolist())
        report["classes"] = dict(zip(label_names, np.bincount(labels_N).tolist(), strict=True))
    covariates = {
        name: np.array(
            [row.covariates[number] for row in rows],
            dtype=str if kind == "categorical" else np.float64,
        )
        for number, (name, (_, kind)) in enumerate(columns.covariates.items())
    }
    report["proteins"] = len(set(proteins))
    report["covariates"] = {name: _summary(column_N) for name, column_N in covariates.items()}
    return VariantTable(
        proteins_N=np.array(proteins, dtype=str),
        mutations=tuple(row.mutation for row in rows),
        wild_types={protein: sequences[protein] for protein in sorted(set(proteins))},
        values_N=values_N,
        labels_N=labels_N,
        label_names=label_names,
        groups_N=np.array([row.group for row in rows], dtype=str),
        covariates=covariates,
        weights_N=np.array([row.weight for row in rows], np.float64),
        report=report,
    )


def _summary(column_N: np.ndarray) -> dict[str, object]:
    if column_N.dtype.kind == "U":
        names, counts = np.unique(column_N, return_counts=True)
        return {"categories": dict(zip(names.tolist(), counts.tolist(), strict=True))}
    return {"missing": int(np.isnan(column_N).sum())}
