"""Splits in which the data say who is tested: a later time, one value of a field, a given list.

Shape letters: N = records.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protemb.errors import ConfigError, InputError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.grouping import assign_groups
from protemb.sequences.partition import LEFT_OUT, PART_CODES, PARTS, Split, expected_parts
from protemb.sequences.splits import Splitter, absent_classes, field_of


@dataclass(frozen=True, kw_only=True)
class TimeSplit(Splitter):
    """Train on the past, test on the future.

    Records without a year (0 or less) are left out, and so are those whose sequence stands in
    an earlier part already; `parameters` counts both.

    Args:
        train_until: Last year of the train part.
        validation_until: Last year of the validation part; later years are the test part.
    """

    train_until: int
    validation_until: int

    def __post_init__(self) -> None:
        for name in ("train_until", "validation_until"):
            if type(getattr(self, name)) is not int:
                raise ConfigError(f"split.{name}", getattr(self, name), "a year")
        if self.train_until >= self.validation_until:
            expected = f"a year after split.train_until={self.train_until}"
            raise ConfigError("split.validation_until", self.validation_until, expected)

    def split(self, data: LabelledSet, cache_dir: Path | None = None) -> Split:
        """Cut by year.

        Raises:
            ConfigError: The data has no years, or none of a part.
        """
        years_N = field_of(data, "year")
        cuts = [self.train_until, self.validation_until]
        part_of_N = np.searchsorted(cuts, years_N)
        known_N = years_N > 0
        first_part_S = np.full(data.store.n_sequences, len(PARTS))
        np.minimum.at(first_part_S, data.sequences_N[known_N], part_of_N[known_N])
        repeats_N = known_N & (part_of_N > first_part_S[data.sequences_N])
        part_of_N[~known_N | repeats_N] = PART_CODES[LEFT_OUT]
        facts: dict[str, object] = {
            "train_until": self.train_until,
            "validation_until": self.validation_until,
            "without_year": int((~known_N).sum()),
            "repeats_left_out": int(repeats_N.sum()),
        }
        split = Split.from_codes(part_of_N, "time", facts | absent_classes(data, part_of_N))
        for name, records in split.parts.items():
            if not len(records):
                expected = f"years that leave records for {name}"
                if known_N.any():
                    span = f"{years_N[known_N].min()} to {years_N[known_N].max()}"
                    expected += f" (the data has {span})"
                raise ConfigError("split.train_until, split.validation_until", cuts, expected)
        return split


@dataclass(frozen=True, kw_only=True)
class LeaveOutSplit(Splitter):
    """Test on the records with one value of a field (a subtype, say), train on all others.

    The others are dealt out to train and validation by distinct sequence, stratified by label.
    Records of the others whose sequence also stands in the test part are left out and counted,
    and so are records without a value.

    Args:
        field: Name of a field of the data.
        value: Which value is tested.
        validation: Share of the others for the validation part.
        seed: Of this split alone.
    """

    field: str
    value: str
    validation: float = 0.125
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ConfigError("split.validation", self.validation, "a share above 0 and below 1")
        if self.seed < 0:
            raise ConfigError("split.seed", self.seed, "0 or more")

    def split(self, data: LabelledSet, cache_dir: Path | None = None) -> Split:
        """Cut by value.

        Raises:
            ConfigError: The data has no such field or value, or nothing else.
        """
        column_N = field_of(data, self.field).astype(str)
        blank_N = column_N == ""
        test_N = ~blank_N & (column_N == str(self.value))
        tested_S = np.zeros(data.store.n_sequences, bool)
        tested_S[data.sequences_N[test_N]] = True
        repeats_N = ~test_N & ~blank_N & tested_S[data.sequences_N]
        rest = np.flatnonzero(~test_N & ~blank_N & ~repeats_N)
        if not test_N.any() or len(np.unique(data.sequences_N[rest])) < 2:
            names = np.unique(column_N[~blank_N]).tolist()
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            expected = f"a value of {self.field!r} that leaves two other sequences or more"
            listed = f"{', '.join(names[:12])}{more}"
            raise ConfigError("split.value", self.value, f"{expected} (the data has {listed})")
        part_of_N = np.full(len(data), PART_CODES[LEFT_OUT])
        part_of_N[test_N] = PART_CODES["test"]
        part_of_N[rest] = assign_groups(
            data.sequences_N[rest],
            data.labels_N[rest],
            (1 - self.validation, self.validation),
            np.random.default_rng(self.seed),
            first_has_all=True,
        )
        facts: dict[str, object] = {
            "field": self.field,
            "value": str(self.value),
            "seed": self.seed,
            "without_value": int(blank_N.sum()),
            "repeats_left_out": int(repeats_N.sum()),
        }
        facts |= absent_classes(data, part_of_N)
        return Split.from_codes(part_of_N, "leave_out", facts)


@dataclass(frozen=True, kw_only=True)
class PredefinedSplit(Splitter):
    """Take a split as it was given: from a file, or from a column of the data.

    The validation part may be empty.

    Args:
        file: Table of id and part that an earlier run wrote (or anyone by hand).
        field: Without a file, the field with train, validation (val, valid), test or none.
    """

    file: str | Path | None = None
    field: str = "split"

    def split(self, data: LabelledSet, cache_dir: Path | None = None) -> Split:
        """Read the split.

        Raises:
            InputError: The file does not fit the data, or a part is not known.
            ConfigError: There is neither file nor field.
        """
        source = f"field {self.field!r}" if self.file is None else str(self.file)
        if self.file is None:
            split = self._from_field(data, source)
        else:
            split = Split.read(self.file, data.store)
        for name in ("train", "test"):
            if not len(split.parts[name]):
                raise InputError(source, f"no record of the data is in part {name!r}")
        return split

    def _from_field(self, data: LabelledSet, source: str) -> Split:
        column_N = field_of(data, self.field)
        names, code_of_N = np.unique(column_N, return_inverse=True)
        for name in names:
            if name not in PART_CODES:
                record = data.store.id(int(np.argmax(column_N == name)))
                problem = f"got part {str(name)!r}, expected {expected_parts()}"
                raise InputError(source, problem, record=record)
        part_of_N = np.array([PART_CODES[name] for name in names])[code_of_N]
        facts = {"field": self.field} | absent_classes(data, part_of_N)
        return Split.from_codes(part_of_N, "predefined", facts)
