"""A table of variants: what was measured, on which protein, by which mutation.

Shape letters: N = rows (one measured variant each).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from protemb.variants.mutations import Mutation


@dataclass(frozen=True, eq=False)
class VariantTable:
    """Measured variants; every mutation fits the wild type of its row.

    Attributes:
        proteins_N: Protein id of each row (str).
        mutations: One for each row; 0-based places in the wild type.
        wild_types: Sequence by protein id.
        values_N: Measured values, float64; None for a table of labels.
        labels_N: int64, places in `label_names`; None for a table of values.
        label_names: Sorted.
        groups_N: What folds and intervals keep together (str); the protein unless a column says
            otherwise.
        covariates: By name: str (categorical, "" is a category of its own) or float64 (numeric,
            NaN = missing), each of length N.
        weights_N: float64, above 0.
        report: Plain counts and lists of everything that reading did.
        fingerprint: Hash of all content but the report; made here when it is not given.
    """

    proteins_N: np.ndarray
    mutations: tuple[Mutation, ...]
    wild_types: Mapping[str, str]
    values_N: np.ndarray | None
    labels_N: np.ndarray | None
    label_names: tuple[str, ...]
    groups_N: np.ndarray
    covariates: Mapping[str, np.ndarray]
    weights_N: np.ndarray
    report: Mapping[str, object] = field(default_factory=dict)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if (self.values_N is None) == (self.labels_N is None):
            raise ValueError("expected values or labels, one of them")
        for name, column_N in self._columns().items():
            if column_N.shape != (len(self),):
                raise ValueError(f"{name}: got shape {column_N.shape}, expected ({len(self)},)")
        if len(self.mutations) != len(self):
            raise ValueError(f"got {len(self.mutations)} mutations, expected {len(self)}")
        for row, mutation in enumerate(self.mutations):
            if problem := mutation.misfit(self.wild_type(row)):
                raise ValueError(f"row {row}, {self.proteins_N[row]} {mutation}: {problem}")
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", self._fingerprint())

    def __len__(self) -> int:
        return len(self.proteins_N)

    @property
    def has_mutations(self) -> bool:
        """False when every row is a whole protein as it is."""
        return any(mutation.substitutions for mutation in self.mutations)

    def wild_type(self, row: int) -> str:
        """Return the sequence that the row's mutation starts from."""
        return self.wild_types[str(self.proteins_N[row])]

    def variant(self, row: int) -> str:
        """Return the sequence with the row's mutation."""
        return self.mutations[row].apply(self.wild_type(row))

    def select(self, rows: np.ndarray | Sequence[int]) -> "VariantTable":
        """Return some rows as a table of its own, in the order given.

        Args:
            rows: Numbers of rows, or one bool for each row.
        """
        places = np.asarray(rows)
        if places.dtype == bool:
            if places.shape != (len(self),):
                raise ValueError(f"got a mask of shape {places.shape}, expected ({len(self)},)")
            places = np.flatnonzero(places)
        places = places.astype(np.int64)
        proteins_N = self.proteins_N[places]
        return replace(
            self,
            proteins_N=proteins_N,
            mutations=tuple(self.mutations[row] for row in places.tolist()),
            wild_types={name: self.wild_types[name] for name in np.unique(proteins_N).tolist()},
            values_N=None if self.values_N is None else self.values_N[places],
            labels_N=None if self.labels_N is None else self.labels_N[places],
            groups_N=self.groups_N[places],
            covariates={name: column_N[places] for name, column_N in self.covariates.items()},
            weights_N=self.weights_N[places],
            fingerprint="",
        )

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {"proteins": self.proteins_N, "groups": self.groups_N, "weights": self.weights_N}
        columns |= {"values": self.values_N} if self.values_N is not None else {}
        columns |= {"labels": self.labels_N} if self.labels_N is not None else {}
        named = {f"covariate {name}": column_N for name, column_N in self.covariates.items()}
        return columns | named

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()

        def add(part: bytes) -> None:
            # The length keeps neighbours apart: (ab, c) and (a, bc) must differ.
            digest.update(len(part).to_bytes(8, "little") + part)

        for name, column_N in sorted(self._columns().items()):
            add(name.encode())
            if column_N.dtype.kind == "U":
                for text in column_N.tolist():
                    add(text.encode())
            else:
                add(column_N.dtype.str.encode() + column_N.tobytes())
        for mutation in self.mutations:
            add(f"{mutation.chain}:{mutation}".encode())
        for protein in sorted(set(self.proteins_N.tolist())):
            add(self.wild_types[protein].encode())
        for label in self.label_names:
            add(label.encode())
        return digest.hexdigest()
