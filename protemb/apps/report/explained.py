"""A run that is looked into, with its data, and what the tasks found for such runs.

Shape letters: M = test records.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from protemb.analysis.maps import draw_sample
from protemb.apps.report.gather import Run, predictions
from protemb.intervals import Interval
from protemb.models.checkpoint import TrainedClassifier, load_classifier
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split

Found = tuple[dict[str, Any], dict[str, np.ndarray]]
"""Plain facts and arrays."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A run with what its explanation needs.

    Attributes:
        run: the run.
        data: its records.
        split: their parts.
        replicates: of bootstrap intervals.
    """

    run: Run
    data: LabelledSet
    split: Split
    replicates: int

    @cached_property
    def trained(self) -> TrainedClassifier:
        """The best checkpoint."""
        return load_classifier(self.run.folder)

    @cached_property
    def units_M(self) -> np.ndarray:
        """Which test records are one observation: those of the run's own intervals."""
        (stored,) = predictions([self.run], baselines=False)
        unit_of = dict(zip(stored.ids_N.tolist(), stored.groups_N.tolist(), strict=True))
        units = [unit_of[self.data.store.id(record)] for record in self.split.test]
        return np.unique(units, return_inverse=True)[1]

    @property
    def names(self) -> tuple[str, ...]:
        """The C class names."""
        return self.data.label_names

    def test_sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Rows of the test part, of each class its share, ascending."""
        labels_M = self.data.labels_N[self.split.test]
        return draw_sample(len(labels_M), sample=count, seed=seed, stratify=labels_M)


@dataclass(frozen=True, eq=False)
class Explained:
    """What the tasks found for the runs that were looked into.

    Attributes:
        runs: one of each network, on the report's first split.
        found: facts and arrays by model and task.
    """

    runs: Mapping[str, Run] = field(default_factory=dict)
    found: Mapping[tuple[str, str], Found] = field(default_factory=dict)

    def facts(self, task: str) -> dict[str, dict[str, Any]]:
        """Facts of a task by model."""
        return {
            model: self.found[model, task][0] for model in self.runs if (model, task) in self.found
        }

    def arrays(self, task: str) -> dict[str, dict[str, np.ndarray]]:
        """Arrays of a task by model."""
        return {
            model: self.found[model, task][1] for model in self.runs if (model, task) in self.found
        }


def interval_of(
    ends: Mapping[str, float | None], names: Sequence[str] = ("value", "low", "high")
) -> Interval:
    """Read back what `Interval.as_dict` wrote; None stands for NaN."""
    value, low, high = (math.nan if ends[name] is None else float(ends[name]) for name in names)  # type: ignore[arg-type]
    return Interval(value, low, high)
