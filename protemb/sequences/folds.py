"""Cross-validation over folds that the data bring along.

Shape letters: N = records, S = distinct sequences.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protemb.errors import ConfigError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.grouping import assign_groups
from protemb.sequences.partition import LEFT_OUT, PART_CODES, Split
from protemb.sequences.splits import Splitter, absent_classes, field_of


@dataclass(frozen=True, kw_only=True)
class FoldSplit(Splitter):
    """Test on one fold that a field of the data names, train on the others.

    Folds are numbered in the sorted order of the field's values, numbers by size. A record without
    a value is left out, and so is one whose sequence also stands in the test part, or, among the
    others, in the validation part.

    Args:
        field: Name of a field of the data.
        fold: Which fold is tested, from 0.
        folds: How many there are; None for as many as the data have.
        validation: Share of the other folds' sequences for the validation part, stratified by
            label; None takes the fold after the tested one.
        seed: Deals out that share.
    """

    field: str = "fold"
    fold: int = 0
    folds: int | None = None
    validation: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.validation is not None and not 0 < self.validation < 1:
            expected = "a share above 0 and below 1, or null for the next fold"
            raise ConfigError("split.validation", self.validation, expected)
        if self.seed < 0:
            raise ConfigError("split.seed", self.seed, "0 or more")

    def split(self, data: LabelledSet, cache_dir: Path | None = None) -> Split:
        """Cut by fold.

        Raises:
            ConfigError: The data have no such field, other folds, or too few.
        """
        column_N = field_of(data, self.field).astype(str)
        names = sorted(set(column_N.tolist()) - {""}, key=_number_first)
        count = len(names)
        least = 3 if self.validation is None else 2
        if count < least or (self.folds is not None and self.folds != count):
            got = self.folds if count >= least else count
            expected = f"the {count} folds of the data" if count >= least else f"{least} or more"
            raise ConfigError("split.folds", got, f"{expected} (field {self.field!r})")
        if not 0 <= self.fold < count:
            raise ConfigError("split.fold", self.fold, f"0 to {count - 1}")
        test_N = column_N == names[self.fold]
        part_of_N = np.full(len(data), PART_CODES["train"])
        part_of_N[column_N == ""] = PART_CODES[LEFT_OUT]
        part_of_N[test_N] = PART_CODES["test"]
        repeats = _leave_out_repeats(data, part_of_N, "test")
        if self.validation is None:
            following = names[(self.fold + 1) % count]
            train_N = part_of_N == PART_CODES["train"]
            part_of_N[train_N & (column_N == following)] = PART_CODES["validation"]
            repeats += _leave_out_repeats(data, part_of_N, "validation")
        else:
            rest = np.flatnonzero(part_of_N == PART_CODES["train"])
            part_of_N[rest] = assign_groups(
                data.sequences_N[rest],
                data.labels_N[rest],
                (1 - self.validation, self.validation),
                np.random.default_rng((self.seed, self.fold)),
                first_has_all=True,
            )
        facts: dict[str, object] = {
            "field": self.field,
            "folds": count,
            "fold": self.fold,
            "value": names[self.fold],
            "validation": self.validation,
            "seed": self.seed,
            "without_value": int((column_N == "").sum()),
            "repeats_left_out": repeats,
        }
        return Split.from_codes(part_of_N, "folds", facts | absent_classes(data, part_of_N))


def _leave_out_repeats(data: LabelledSet, part_of_N: np.ndarray, part: str) -> int:
    """Take out training records whose sequence stands in `part`; return how many."""
    held_S = np.zeros(data.store.n_sequences, bool)
    held_S[data.sequences_N[part_of_N == PART_CODES[part]]] = True
    repeats_N = (part_of_N == PART_CODES["train"]) & held_S[data.sequences_N]
    part_of_N[repeats_N] = PART_CODES[LEFT_OUT]
    return int(repeats_N.sum())


def _number_first(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (2**62, name)
