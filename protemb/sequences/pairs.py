"""Pairs of records, and how many levels of a hierarchy the two share.

Structures are filed by class, fold, superfamily and family (SCOP); a pair's level counts how many
of these, from the first on, are the same: 0 (not even the class) to K (the family). Pairs of the
lowest level are a thousand times more than those of the highest, so Bepler and Berger (2019,
arXiv 1902.08661, section 3.3) draw a level in proportion to its number of pairs to the power tau,
and then a pair of it, all alike.

Shape letters: N = records of the data, M = records to draw from, K = fields of the hierarchy, so
K + 1 levels, P = pairs.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protemb.errors import ConfigError, InputError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.streams import open_text
from protemb.sequences.tokens import TokenStore

COLUMNS = ("id_a", "id_b", "label")


@dataclass(frozen=True)
class Pairs:
    """Pairs of records.

    Attributes:
        records_P2: indices of the records.
        levels_P: how many fields of the hierarchy they share; or 0 and 1 from a file.
    """

    records_P2: np.ndarray
    levels_P: np.ndarray

    def __len__(self) -> int:
        return len(self.levels_P)

    def __getitem__(self, chosen: slice | np.ndarray) -> "Pairs":
        return Pairs(self.records_P2[chosen], self.levels_P[chosen])


def hierarchy(data: LabelledSet, names: Sequence[str]) -> np.ndarray:
    """Return codes_NK: equal numbers in column k are equal values in all fields up to the k-th.

    Raises:
        ConfigError: the data has no such field, or a record has no value in it.
    """
    if not names:
        raise ConfigError("task.levels", list(names), "at least one field of the data")
    code_N, columns = np.zeros(len(data), np.int64), []
    for name in names:
        if name not in data.fields:
            expected = f"fields of the data (it has {', '.join(data.fields) or 'none'})"
            raise ConfigError("task.levels", name, expected)
        column_N = data.fields[name].astype(str)
        blank = np.flatnonzero(column_N == "")
        if len(blank):
            expected = f"a value for every record; {data.store.id(int(blank[0]))!r} has none"
            raise ConfigError("task.levels", name, expected)
        _, own_N = np.unique(column_N, return_inverse=True)
        _, code_N = np.unique(code_N * (own_N.max() + 1) + own_N, return_inverse=True)
        columns.append(code_N)
    return np.stack(columns, 1)


def shared_levels(codes_NK: np.ndarray, records_P2: np.ndarray) -> np.ndarray:
    """Return levels_P: how many fields two records share, from the first on.

    >>> shared_levels(np.array([[0, 0], [0, 1], [2, 2]]), np.array([[0, 0], [0, 1], [1, 2]]))
    array([2, 1, 0])
    """
    return (codes_NK[records_P2[:, 0]] == codes_NK[records_P2[:, 1]]).sum(1)


class PairSampler:
    """All pairs of some records by level; every pair of different sequences has a number.

    Records are sorted by their codes, so that those that share k fields are neighbours: one run of
    places for each k. The partners of a record at level k, counted once per pair, are then the
    places behind its run of k + 1 and inside its run of k; numbers are places in the list of these.

    Args:
        codes_NK: as `hierarchy` makes them.
        sequences_N: equal numbers are equal sequences; they are no pair.
        records: indices of those to draw from.

    >>> codes_NK = np.array([[0], [0], [1], [1]])
    >>> PairSampler(codes_NK, np.arange(4), np.arange(4)).totals.tolist()
    [4, 2]
    """

    def __init__(self, codes_NK: np.ndarray, sequences_N: np.ndarray, records: np.ndarray) -> None:
        self.codes_NK = codes_NK
        keys_MK1 = np.column_stack([codes_NK[records], sequences_N[records]])
        order = np.lexsort(keys_MK1.T[::-1])
        self.sorted_M, keys_MK1 = records[order], keys_MK1[order]
        # Column k: the end of the run that shares the first k keys; k = 0 is everybody.
        self._ends = np.full((codes_NK.shape[1] + 2, len(records)), len(records), np.int64)
        differs_M = np.zeros(max(len(records) - 1, 0), bool)
        for k in range(keys_MK1.shape[1]):
            differs_M |= keys_MK1[1:, k] != keys_MK1[:-1, k]
            ends = np.append(np.flatnonzero(differs_M) + 1, len(records))
            self._ends[k + 1] = ends[np.searchsorted(ends, np.arange(len(records)), "right")]
        self._until = np.cumsum(self._ends[:-1] - self._ends[1:], axis=1)
        self.totals = self._until[:, -1] if len(records) else np.zeros(len(self._until), np.int64)

    def shares(self, tau: float) -> np.ndarray:
        """Return the probability of each level: its number of pairs to the power tau, normalised.

        Raises:
            ConfigError: there are no pairs, or tau is negative.
        """
        if not 0 <= tau <= 1:
            raise ConfigError("task.tau", tau, "0 (every level alike) to 1 (every pair alike)")
        if not self.totals.any():
            raise ConfigError("split", f"{len(self.sorted_M)} records in a part", "two or more")
        amounts = np.where(self.totals > 0, self.totals.astype(float) ** tau, 0.0)
        return amounts / amounts.sum()

    def pairs(self, level: int, numbers_P: np.ndarray) -> Pairs:
        """The pairs of a level that have these numbers, from 0 to `totals[level]` - 1."""
        until_M = self._until[level]
        first_P = np.searchsorted(until_M, numbers_P, "right")
        place_P = numbers_P - np.where(first_P > 0, until_M[first_P - 1], 0)
        second_P = self._ends[level + 1, first_P] + place_P
        records_P2 = np.column_stack([self.sorted_M[first_P], self.sorted_M[second_P]])
        return Pairs(records_P2, np.full(len(numbers_P), level))

    def draw(self, count: int, tau: float, *, seed: int, epoch: int) -> Pairs:
        """Draw pairs for one epoch, with replacement; a pure function of its arguments."""
        rng = np.random.default_rng((seed, epoch))
        counts = rng.multinomial(count, self.shares(tau))
        found = [
            self.pairs(level, rng.integers(self.totals[level], size=n))
            for level, n in enumerate(counts)
            if n
        ]
        return _joined(found)[rng.permutation(count)]

    def fixed(self, count: int, tau: float, *, seed: int) -> Pairs:
        """Draw different pairs, as many of each level as its share says and as there are.

        Most pairs that share a fold are of the largest fold, whose domains have many partners. So
        that scores are not those of one fold, the groups of a level (its folds, say) are drawn as
        levels are: by their number of pairs to the power tau.
        """
        rng, found = np.random.default_rng(seed), []
        for level, share in enumerate(self.shares(tau)):
            total = int(self.totals[level])
            if n := min(max(round(share * count), 1), total):
                found.append(self.pairs(level, self._numbers(level, n, tau, rng)))
        return _joined(found)

    def _numbers(self, level: int, count: int, tau: float, rng: np.random.Generator) -> np.ndarray:
        """Different numbers of a level's pairs, dealt out over its groups."""
        # The pairs of a group have neighbouring numbers.
        stops = self._until[level, np.unique(self._ends[level]) - 1]
        starts = np.concatenate([[0], stops[:-1]])
        totals = stops - starts
        taken = np.zeros_like(totals)
        while lacking := count - int(taken.sum()):
            amounts = np.where(taken < totals, totals.astype(float) ** tau, 0.0)
            drawn = rng.multinomial(lacking, amounts / amounts.sum())
            taken = np.minimum(taken + drawn, totals)
        return np.concatenate(
            [
                start + np.sort(rng.choice(total, n, replace=False, shuffle=False))
                for start, total, n in zip(starts, totals, taken, strict=True)
                if n
            ]
        )


def _joined(found: Sequence[Pairs]) -> Pairs:
    return Pairs(
        np.concatenate([pairs.records_P2 for pairs in found]),
        np.concatenate([pairs.levels_P for pairs in found]),
    )


def read_pairs(path: str | Path, store: TokenStore) -> Pairs:
    """Read a CSV of id_a, id_b, label; the label is 1 for related pairs and 0 for others.

    Raises:
        InputError: no such columns, an id that the data does not have, or another label.
    """
    source, position = str(path), store.positions()
    records, labels = [], []
    with open_text(path) as lines:
        reader = csv.DictReader(line.decode("utf-8", "replace") for line in lines)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise InputError(source, f"expected the columns {', '.join(COLUMNS)}", 1)
        for row in reader:
            number = reader.line_num
            for name in COLUMNS[:2]:
                if row[name] not in position:
                    raise InputError(source, "the data has no such id", number, row[name])
            if row["label"] not in ("0", "1"):
                raise InputError(source, f"label: got {row['label']!r}, expected 0 or 1", number)
            records.append([position[row["id_a"]], position[row["id_b"]]])
            labels.append(int(row["label"]))
    if not 0 < sum(labels) < len(labels):
        raise InputError(source, "expected pairs with the label 0 and pairs with the label 1")
    return Pairs(np.array(records), np.array(labels))
