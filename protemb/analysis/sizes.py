"""Scores over the size of the training part and over the size of the network.

Runs are given and averaged as `protemb.analysis.means` says.

Shape letters: R = bootstrap replicates, Z = sizes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from protemb.analysis.means import (
    ANY,
    Bounds,
    Mean,
    Run,
    independent_difference,
    mean_of_runs,
    paired_difference,
    plain_values,
    score_interval,
)
from protemb.intervals import Interval, percentile_interval

SAME_SIZE = 1.05
"""Training parts up to so many times as large as the smallest are of one size: their records vary
a little with the seed that drew them."""


@dataclass(frozen=True)
class SizePoint:
    """Mean score of a model's runs with about so many training records, and their values."""

    train_records: int
    score: Interval
    runs: tuple[float, ...]


@dataclass(frozen=True)
class SizeCurve:
    """A model's scores over the amount of data.

    Attributes:
        points: By training records, ascending.
        gain: Gain per doubling of the training part: slope of the least-squares line through the
            points over log2 of the records. None for a single point.
        last_gain: The same between the two largest sizes alone: whether more data would help.
    """

    points: tuple[SizePoint, ...]
    gain: Interval | None
    last_gain: Interval | None


@dataclass(frozen=True)
class Crossing:
    """Where the better of two models changes.

    Attributes:
        before: The better one with less data.
        after: The better one with more.
        train_records: About where: the lines between the points cross here.
        sure: Each is ahead, by an interval without 0, at a size on its side that comes before any
            further crossing. Otherwise chance may have drawn the crossing.
    """

    before: str
    after: str
    train_records: int
    sure: bool


@dataclass(frozen=True)
class SizeCurves:
    """Learning curves over the amount of data."""

    curves: dict[str, SizeCurve]
    crossings: tuple[Crossing, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "curves": {
                model: {
                    "points": [
                        {
                            "train_records": point.train_records,
                            "score": point.score.as_dict(),
                            "runs": plain_values(point.runs),
                        }
                        for point in curve.points
                    ],
                    "gain": curve.gain.as_dict() if curve.gain else None,
                    "last_gain": curve.last_gain.as_dict() if curve.last_gain else None,
                }
                for model, curve in self.curves.items()
            },
            "crossings": [vars(crossing) for crossing in self.crossings],
        }


def size_curve(
    points: Sequence[tuple[float, str, float, np.ndarray | None]],
    *,
    bounds: Bounds = ANY,
    seed: int = 0,
) -> SizeCurves:
    """Draw scores together into a curve per model, and sum the curves up.

    All runs must share one test part, and their replicates its draws: slopes and crossings are
    taken draw by draw. Sizes within 5 % of the smallest of them are one size, at their mean.

    Args:
        points: Training records, model, score and replicates_R (or None) of each run.
        bounds: the least and the largest value that a score can have, for the ends of intervals.
        seed: Draws the noise of `mean_of_runs`.

    Raises:
        ValueError: Sizes below 1, or runs with different numbers of replicates.

    >>> curves = size_curve([(100, "lstm", 0.5, None), (200, "lstm", 0.6, None)]).curves
    >>> round(curves["lstm"].gain.value, 3)
    0.1
    """
    if points and min(records for records, *_ in points) < 1:
        raise ValueError("training records: got less than 1")
    size_of = _same_sizes(records for records, *_ in points)
    runs: dict[str, dict[float, list[Run]]] = {}
    for records, model, value, replicates_R in points:
        by_size = runs.setdefault(model, {})
        by_size.setdefault(size_of[records], []).append((value, replicates_R))
    rng = np.random.default_rng(seed)
    means = {
        model: {size: mean_of_runs(by_size[size], rng) for size in sorted(by_size)}
        for model, by_size in runs.items()
    }
    curves = {
        model: SizeCurve(
            tuple(_point(size, runs[model][size], mean, bounds) for size, mean in mean_of.items()),
            _gain(list(mean_of.items())),
            _gain(list(mean_of.items())[-2:]),
        )
        for model, mean_of in means.items()
    }
    crossings = [
        crossing
        for first, second in combinations(means, 2)
        for crossing in _crossings(first, second, means[first], means[second])
    ]
    return SizeCurves(curves, tuple(crossings))


def _same_sizes(sizes: Iterable[float]) -> dict[float, float]:
    """Map each size to the mean of those that are taken for the same."""
    together: list[list[float]] = []
    for size in sorted(set(sizes)):
        if not together or size > SAME_SIZE * together[-1][0]:
            together.append([])
        together[-1].append(size)
    return {size: float(np.mean(near)) for near in together for size in near}


def _point(size: float, runs: Sequence[Run], mean: Mean, bounds: Bounds) -> SizePoint:
    values = tuple(float(value) for value, _ in runs)
    return SizePoint(round(size), score_interval(mean, bounds), values)


def _gain(points: Sequence[tuple[float, Mean]]) -> Interval | None:
    """Slope over log2 of the sizes; the replicates of a slope are the slopes of the replicates."""
    if len(points) < 2:
        return None
    doublings_Z = np.log2([size for size, _ in points])
    doublings_Z = doublings_Z - doublings_Z.mean()
    share_Z = doublings_Z / (doublings_Z**2).sum()
    value = float(share_Z @ [value for _, (value, _) in points])
    replicates = [replicates_R for _, (_, replicates_R) in points]
    if not all(map(len, replicates)):
        return percentile_interval(value, np.empty(0))
    return percentile_interval(value, share_Z @ np.stack(replicates))


def _crossings(
    first: str, second: str, first_of: Mapping[float, Mean], second_of: Mapping[float, Mean]
) -> list[Crossing]:
    """Find where the sign of the difference changes, over the sizes that both have."""
    sizes = [size for size in first_of if size in second_of]
    ahead = [paired_difference(first_of[size], second_of[size]) for size in sizes]
    places = np.flatnonzero([score.value < 0 or score.value > 0 for score in ahead])
    changes = [
        (left, right)
        for left, right in pairwise(places)
        if (ahead[left].value > 0) != (ahead[right].value > 0)
    ]
    found = []
    for number, (left, right) in enumerate(changes):
        start = changes[number - 1][1] if number else 0
        stop = changes[number + 1][0] if number + 1 < len(changes) else len(sizes) - 1
        names = (first, second) if ahead[left].value > 0 else (second, first)
        sure = all(
            any(score.low > 0 or score.high < 0 for score in side)
            for side in (ahead[start : left + 1], ahead[right : stop + 1])
        )
        # On a logarithmic scale; where sizes between are ties, in their middle.
        if right == left + 1:
            share = ahead[left].value / (ahead[left].value - ahead[right].value)
            at = np.log2(sizes[left]) * (1 - share) + np.log2(sizes[right]) * share
        else:
            at = np.log2(sizes[left + 1 : right]).mean()
        found.append(Crossing(*names, round(2**at), sure))
    return found


@dataclass(frozen=True)
class CapacityRow:
    """A model's size and score.

    Attributes:
        model: Its name.
        parameters: Trained numbers.
        ratio: Parameters by those of the first model.
        score: Mean over its runs.
        runs: Their values.
        difference: Score minus that of the reference; None for the reference itself.
    """

    model: str
    parameters: int
    ratio: float
    score: Interval
    runs: tuple[float, ...]
    difference: Interval | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        difference = self.difference.as_dict() if self.difference else None
        plain = {"score": self.score.as_dict(), "runs": plain_values(self.runs)}
        return vars(self) | plain | {"difference": difference}


def capacity_table(
    rows: Sequence[tuple[str, int, float, np.ndarray | None]],
    reference: str | None = None,
    *,
    paired: bool = True,
    bounds: Bounds = ANY,
    seed: int = 0,
) -> tuple[CapacityRow, ...]:
    """Put models with their numbers of parameters side by side.

    Args:
        rows: Model, parameters, score and replicates_R (or None) of each run.
        reference: Model that the others are compared with; None for the first.
        paired: All runs share the test part and the draws of their replicates. Otherwise
            differences are those of independent scores.
        bounds: the least and the largest value that a score can have, for the ends of intervals.
        seed: Draws the noise of `mean_of_runs`.

    Raises:
        ValueError: An unknown reference, a model with two sizes or without parameters, or runs
            with different numbers of replicates.
    """
    runs: dict[str, list[Run]] = {}
    parameters_of: dict[str, int] = {}
    for model, parameters, value, replicates_R in rows:
        if parameters < 1 or parameters_of.setdefault(model, parameters) != parameters:
            raise ValueError(f"{model}: got {parameters} parameters, expected one number above 0")
        runs.setdefault(model, []).append((value, replicates_R))
    if not runs:
        return ()
    first = next(iter(runs))
    reference = first if reference is None else reference
    if reference not in runs:
        raise ValueError(f"reference: got {reference!r}, expected one of {list(runs)}")
    subtract = paired_difference if paired else independent_difference
    rng = np.random.default_rng(seed)
    means = {model: mean_of_runs(own, rng) for model, own in runs.items()}
    return tuple(
        CapacityRow(
            model,
            parameters_of[model],
            parameters_of[model] / parameters_of[first],
            score_interval(mean, bounds),
            tuple(float(value) for value, _ in runs[model]),
            None if model == reference else subtract(mean, means[reference]),
        )
        for model, mean in means.items()
    )
