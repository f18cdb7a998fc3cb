"""Features that stand beside the embedding, and make the baseline when they stand alone.

Shape letters: N = table rows, B = base features, A = the 20 residues, K = categories.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.mutations import Mutation
from protemb.variants.table import VariantTable


@dataclass(frozen=True)
class BaseColumns:
    """What the base features of a table are; the same for every other row that a model meets.

    Columns: the covariates in the order of their names, then how often each of the 20 residues is
    replaced (`wild A` ...), then how often each is put in (`new A` ...): one-hot for single
    substitutions, counts for several, zero without mutation. X is none of the 20 and is not
    counted. For the reverse mutation the two blocks change places and the covariates stay.

    A categorical covariate is one-hot over the categories of the whole table, the empty one among
    them. Where a numeric one is missing it has the mean of the rest, and a column `... missing` of
    its own says so. Neither looks at the measured values; scaling is left to the folds.

    Args:
        categories: of each categorical covariate.
        means: of each numeric covariate, and whether a value of it was missing.
    """

    categories: Mapping[str, tuple[str, ...]]
    means: Mapping[str, tuple[float, bool]]

    @classmethod
    def of(cls, table: VariantTable) -> Self:
        """Those of a table."""
        categories, means = {}, {}
        for name, values_N in table.covariates.items():
            if values_N.dtype.kind == "f":
                known = values_N[~np.isnan(values_N)]
                means[name] = float(known.mean()) if len(known) else 0.0, len(known) < len(values_N)
            else:
                categories[name] = tuple(sorted(set(values_N.tolist())))
        return cls(categories, means)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Read what `as_dict` gave."""
        return cls(
            {name: tuple(map(str, words)) for name, words in facts["categories"].items()},
            {name: (float(mean), bool(gap)) for name, (mean, gap) in facts["means"].items()},
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "categories": {name: list(words) for name, words in self.categories.items()},
            "means": {name: list(pair) for name, pair in self.means.items()},
        }

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates, in the order of their columns."""
        return tuple(sorted([*self.categories, *self.means]))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        found: list[str] = []
        for name in self.covariates:
            if name in self.categories:
                found += [f"{name}={category}" for category in self.categories[name]]
            else:
                found += [name] + [f"{name} missing"] * self.means[name][1]
        residues = [f"{side} {letter}" for side in ("wild", "new") for letter in RESIDUES]
        return (*found, *residues)

    def features(
        self, mutations: Sequence[Mutation], covariates: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return base_NB and reverse_base_NB, both float32.

        Args:
            mutations: N.
            covariates: values_N by name; a category that the table did not have has no column.
        """
        columns = [self._covariate(name, np.asarray(covariates[name])) for name in self.covariates]
        substitutions = [mutation.substitutions for mutation in mutations]
        wild_NA = _counts([s.wild for s in row] for row in substitutions)
        new_NA = _counts([s.new for s in row] for row in substitutions)
        return (
            np.hstack([*columns, wild_NA, new_NA], dtype=np.float32),
            np.hstack([*columns, new_NA, wild_NA], dtype=np.float32),
        )

    def _covariate(self, name: str, values_N: np.ndarray) -> np.ndarray:
        if name in self.categories:
            return values_N.astype(str)[:, None] == np.array(self.categories[name])
        mean, gap = self.means[name]
        missing_N = np.isnan(values_N)
        filled_N = np.where(missing_N, mean, values_N)
        return np.stack([filled_N, missing_N], axis=1) if gap else filled_N[:, None]


def base_features(table: VariantTable) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return base_NB and reverse_base_NB of a table, and the names of their columns."""
    columns = BaseColumns.of(table)
    return *columns.features(table.mutations, table.covariates), columns.names


def _counts(letters_by_row: Iterable[list[str]]) -> np.ndarray:
    """How often each of the 20 residues is in each list, counts_NA."""
    rows = [[letters.count(residue) for residue in RESIDUES] for letters in letters_by_row]
    return np.array(rows, np.float32).reshape(-1, len(RESIDUES))
