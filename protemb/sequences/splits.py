"""Ways to deal records out to train, validation and test; conf/split names them.

`holdouts` has those in which the data say what the test part is.

Every splitter is a plain object with keyword options, and `split(data)` is a pure function of
options and data. Shape letters: N = records, P = parts.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from protemb.errors import ConfigError
from protemb.sequences.clusters import find_clusters, read_clusters
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.grouping import assign_groups, connected_groups
from protemb.sequences.partition import PART_CODES, PARTS, Split


class Splitter(ABC):
    """Divides the records of a data set."""

    @abstractmethod
    def split(self, data: LabelledSet, cache_dir: Path | None = None) -> Split:
        """Return the split; `cache_dir` may keep what is slow to compute."""


@dataclass(frozen=True, kw_only=True)
class GroupedSplitter(Splitter):
    """Stratified split that keeps groups whole; what a group is, its children say.

    Args:
        fractions: Shares of train, validation and test.
        seed: Of this split alone.
        folds: Cross-validation: the test part is one of so many folds, which together hold every
            record once. The validation share is then taken from the rest.
        fold: Which fold is the test part, from 0.
    """

    name: ClassVar[str]

    fractions: Sequence[float] = (0.7, 0.1, 0.2)
    seed: int = 0
    folds: int | None = None
    fold: int = 0

    def __post_init__(self) -> None:
        # Hydra hands over its own kind of list.
        object.__setattr__(self, "fractions", tuple(self.fractions))
        shares = list(self.fractions)
        if len(shares) != 3 or abs(sum(shares) - 1) > 1e-9 or min(shares) <= 0:
            expected = "three shares above 0 (train, validation, test) that add up to 1"
            raise ConfigError("split.fractions", shares, expected)
        if self.seed < 0:
            raise ConfigError("split.seed", self.seed, "0 or more")
        if self.folds is not None and self.folds < 2:
            raise ConfigError("split.folds", self.folds, "2 or more, or null for a single split")
        if not 0 <= self.fold < (self.folds or 1):
            expected = f"0 to {self.folds - 1}" if self.folds else "0, or split.folds as well"
            raise ConfigError("split.fold", self.fold, expected)

    @abstractmethod
    def groups(
        self, data: LabelledSet, cache_dir: Path | None
    ) -> tuple[np.ndarray, dict[str, object]]:
        """Return group_of_N and plain facts on how the groups were made."""

    def split(self, data: LabelledSet, cache_dir: Path | None = None) -> Split:
        """Deal whole groups out, every part close to its share of every class.

        Raises:
            ConfigError: There are too few groups for the parts.
        """
        groups_N, facts = self.groups(data, cache_dir)
        n_groups = len(np.unique(groups_N))
        parameters: dict[str, object] = {"seed": self.seed, "fractions": list(self.fractions)}
        parameters |= facts | {"groups": n_groups}
        if self.folds:
            part_of_N = self._folded(data, groups_N, self.folds)
            parameters |= {"folds": self.folds, "fold": self.fold}
        else:
            rng, shares = np.random.default_rng(self.seed), self.fractions
            part_of_N = assign_groups(groups_N, data.labels_N, shares, rng, first_has_all=True)
        parameters |= absent_classes(data, part_of_N)
        split = Split.from_codes(part_of_N, self.name, parameters, groups_N)
        if not all(len(records) for records in split.parts.values()):
            expected = "more groups per class, to fill each part"
            raise ConfigError(f"split={self.name}", f"{n_groups} groups", expected)
        return split

    def _folded(self, data: LabelledSet, groups_N: np.ndarray, folds: int) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        shares = [1 / folds] * folds
        fold_of_N = assign_groups(groups_N, data.labels_N, shares, rng, first_has_all=False)
        rest = np.flatnonzero(fold_of_N != self.fold)
        train, validation, _ = self.fractions
        shares = [train / (train + validation), validation / (train + validation)]
        rng = np.random.default_rng((self.seed, self.fold))
        part_of_N = np.full(len(data), PART_CODES["test"])
        part_of_N[rest] = assign_groups(
            groups_N[rest], data.labels_N[rest], shares, rng, first_has_all=True
        )
        return part_of_N


@dataclass(frozen=True, kw_only=True)
class RandomSplit(GroupedSplitter):
    """Naive: records are dealt one by one, so identical sequences get onto both sides."""

    name = "random"

    def groups(self, data: LabelledSet, cache_dir: Path | None) -> tuple[np.ndarray, dict]:
        """Every record is a group of its own."""
        return np.arange(len(data)), {}


@dataclass(frozen=True, kw_only=True)
class UniqueSplit(GroupedSplitter):
    """Identical sequences stay together."""

    name = "unique"

    def groups(self, data: LabelledSet, cache_dir: Path | None) -> tuple[np.ndarray, dict]:
        """A group is a distinct sequence."""
        return data.sequences_N, {}


@dataclass(frozen=True, kw_only=True)
class GroupSplit(GroupedSplitter):
    """Records with the same value in a field stay together, and identical sequences too.

    A record without a value ("") is held together by its sequence alone, and counted.

    Args:
        field: Name of a field of the data.
    """

    name = "group"

    field: str = "group"

    def groups(self, data: LabelledSet, cache_dir: Path | None) -> tuple[np.ndarray, dict]:
        """A group is connected through equal values and equal sequences."""
        column_N = field_of(data, self.field)
        values, codes_N = np.unique(column_N, return_inverse=True)
        blank = np.flatnonzero(column_N.astype(str) == "")
        codes_N[blank] = len(values) + np.arange(len(blank))
        facts = {"field": self.field, "without_value": len(blank)}
        return connected_groups(data.sequences_N, codes_N), facts


@dataclass(frozen=True, kw_only=True)
class ClusterSplit(GroupedSplitter):
    """Clusters of similar sequences stay together, and identical sequences too.

    Args:
        table: Clusters made elsewhere, one "representative<TAB>member" per line (as MMseqs2
            writes them); every id of the data must be a member.
        method: "table", "mmseqs" (the binary on PATH), "pyhmmer" (extra `homology`), or "auto":
            the table when given, else mmseqs, else pyhmmer.
        identity: Sequences at least so identical (0 to 1) should share a cluster.
        coverage: ... if their alignment covers at least this share of both (0 to 1).
    """

    name = "cluster"

    table: str | Path | None = None
    method: str = "auto"
    identity: float = 0.8
    coverage: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        methods = ("auto", "table", "mmseqs", "pyhmmer")
        if self.method not in methods:
            raise ConfigError("split.method", self.method, " or ".join(methods))
        if (self.method == "table") > (self.table is not None):
            raise ConfigError("split.table", None, "a file, as split.method=table asks for")
        if self.table is not None and self.method not in ("auto", "table"):
            raise ConfigError("split.method", self.method, "auto or table, as split.table is given")
        for option in ("identity", "coverage"):
            if not 0 < getattr(self, option) <= 1:
                raise ConfigError(f"split.{option}", getattr(self, option), "above 0, at most 1")

    def groups(self, data: LabelledSet, cache_dir: Path | None) -> tuple[np.ndarray, dict]:
        """A group is connected through clusters and equal sequences."""
        if self.table is not None:
            codes_N, facts = read_clusters(self.table, data.store)
            return connected_groups(data.sequences_N, codes_N), facts
        cluster_of_S, facts = find_clusters(
            data.store, self.method, self.identity, self.coverage, cache_dir
        )
        return cluster_of_S[data.sequences_N], facts


def field_of(data: LabelledSet, name: str) -> np.ndarray:
    """Return a column of the data; ConfigError when it has none of that name."""
    if name not in data.fields:
        given = ", ".join(data.fields) or "none"
        raise ConfigError("split.field", name, f"a field of the data (it has {given})")
    return data.fields[name]


def absent_classes(data: LabelledSet, part_of_N: np.ndarray) -> dict[str, object]:
    """Name the classes that a part lacks, as {"absent_classes": {part: names}}, or nothing."""
    counts_CP = np.zeros((len(data.label_names), len(PARTS)), np.int64)
    placed = part_of_N >= 0
    np.add.at(counts_CP, (data.labels_N[placed], part_of_N[placed]), 1)
    names = np.array(data.label_names)
    absent = {part: names[counts_CP[:, p] == 0].tolist() for p, part in enumerate(PARTS)}
    absent = {part: missing for part, missing in absent.items() if missing}
    return {"absent_classes": absent} if absent else {}
