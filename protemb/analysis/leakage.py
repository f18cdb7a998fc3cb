"""What a score owes to test records that are close to training records, and what limits it.

Runs are given and averaged as `protemb.analysis.means` says.

Shape letters: N = records, K = runs, C = classes, G = groups, R = bootstrap replicates,
S = distinct sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from protemb.analysis.means import (
    ANY,
    Bounds,
    Run,
    independent_difference,
    mean_of_runs,
    plain_values,
    score_interval,
)
from protemb.errors import ConfigError
from protemb.intervals import Interval, bootstrap_weights

EDGES = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1)
"""Finest where near relatives are; in proteins of 566 residues, 0.995 is two differences."""


@dataclass(frozen=True)
class GapTable:
    """Scores of models under several splits, and what each split gives against a reference.

    Attributes:
        reference: Name of the split that the others are compared with.
        models: Rows.
        splits: Columns.
        runs: Value of every run, by (model, split); pairs that were not run are missing.
        cells: Mean over the runs, by (model, split).
        gaps: Score under the split minus score under the reference, by (model, split).
    """

    reference: str
    models: tuple[str, ...]
    splits: tuple[str, ...]
    runs: Mapping[tuple[str, str], tuple[float, ...]]
    cells: Mapping[tuple[str, str], Interval]
    gaps: Mapping[tuple[str, str], Interval]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: score, gap and runs by model and split; None for what is not."""
        table: dict[str, dict[str, Any]] = {model: {} for model in self.models}
        for (model, split), score in self.cells.items():
            gap = self.gaps.get((model, split))
            table[model][split] = {
                "score": score.as_dict(),
                "gap": gap.as_dict() if gap else None,
                "runs": plain_values(self.runs[model, split]),
            }
        return {"reference": self.reference, "splits": list(self.splits), "models": table}


def gap_table(
    scores: Mapping[tuple[str, str], Sequence[Run]],
    reference: str = "unique",
    *,
    bounds: Bounds = ANY,
    seed: int = 0,
) -> GapTable:
    """Put the scores of models under several splits side by side.

    The splits test on different records, so gaps are differences of independent scores, see
    `independent_difference`. Gaps of two models are not independent: both are tested on the same.

    Args:
        scores: Runs by (model, split), in the order to show.
        reference: The split that the others are compared with.
        bounds: the least and the largest value that a score can have, for the ends of intervals.
        seed: Draws noise, and shuffles replicates.

    Raises:
        ConfigError: No run has the reference.
        ValueError: Runs with different numbers of replicates.

    >>> runs = {("lstm", "random"): [(0.9, None)], ("lstm", "unique"): [(0.6, None), (0.7, None)]}
    >>> round(gap_table(runs).gaps["lstm", "random"].value, 3)
    0.25
    """
    models = tuple(dict.fromkeys(model for model, _ in scores))
    splits = tuple(dict.fromkeys(split for _, split in scores))
    if reference not in splits:
        raise ConfigError(
            "reference", reference, f"a split that was run ({', '.join(splits) or 'none'})"
        )
    rng = np.random.default_rng(seed)
    means = {key: mean_of_runs(runs, rng) for key, runs in scores.items()}
    return GapTable(
        reference,
        models,
        splits,
        {key: tuple(float(value) for value, _ in runs) for key, runs in scores.items()},
        {key: score_interval(mean, bounds) for key, mean in means.items()},
        {
            (model, split): independent_difference(mean, means[model, reference], seed=seed)
            for (model, split), mean in means.items()
            if split != reference and (model, reference) in means
        },
    )


@dataclass(frozen=True)
class Band:
    """Test records whose nearest training sequences are about as near.

    Attributes:
        low: Least identity.
        high: Identity that the next band begins with; None for identical sequences.
        records: Test records in the band.
        groups: Groups that they come from.
        classes: Classes that they are of.
        accuracy: Mean over runs; None without records. No interval for a single group.
        balanced_accuracy: The same; None unless every class has records.
    """

    low: float
    high: float | None
    records: int
    groups: int
    classes: int
    accuracy: Interval | None
    balanced_accuracy: Interval | None

    @property
    def name(self) -> str:
        """How to write it.

        >>> Band(0.95, 0.98, 0, 0, 0, None, None).name, Band(1, None, 0, 0, 0, None, None).name
        ('0.95 to 0.98', 'identical')
        """
        return "identical" if self.high is None else f"{self.low:g} to {self.high:g}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        scores = {"accuracy": self.accuracy, "balanced_accuracy": self.balanced_accuracy}
        plain = {name: score.as_dict() if score else None for name, score in scores.items()}
        return {"name": self.name} | asdict(self) | plain


def identity_bands(
    identity_N: np.ndarray,
    labels_N: np.ndarray,
    probabilities_KNC: np.ndarray,
    groups_N: np.ndarray,
    names: Sequence[str],
    *,
    edges: Sequence[float] = EDGES,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[Band, ...]:
    """Score test records apart by how near their nearest training sequence is.

    One draw of the groups serves all bands, since records of a group can be in several. Classes
    are not shared out evenly among bands: where one band is harder, look at its classes too.

    Args:
        identity_N: Of each test record to its nearest training sequence, 0 to 1
            (`protemb.sequences.neighbours.nearest_identity`).
        labels_N: True class of each test record, 0 to C - 1.
        probabilities_KNC: Predictions of each run; the largest (the first of equals) counts.
        groups_N: Records with equal values are resampled together.
        names: The C class names.
        edges: Where bands begin, from 0 to 1, ascending; the last, 1, is identical sequences.
        replicates: Bootstrap replicates.
        seed: Seed of the resampling, and of the noise of `mean_of_runs`.

    Returns:
        A band for each edge, those without records too.

    Raises:
        ConfigError: Edges that do not ascend from 0 to 1.
        ValueError: Arrays that do not fit together.
    """
    if len(edges) < 2 or edges[0] != 0 or edges[-1] != 1 or not (np.diff(edges) > 0).all():
        raise ConfigError("edges", list(edges), "numbers that ascend from 0 to 1")
    N, C = len(labels_N), len(names)
    shapes = (identity_N.shape, groups_N.shape, probabilities_KNC.shape[1:])
    if shapes != ((N,), (N,), (N, C)) or not len(probabilities_KNC):
        raise ValueError(f"got shapes {shapes} for {N} labels of {C} classes")
    if N and not 0 <= identity_N.min() <= identity_N.max() <= 1:
        raise ValueError("identities: got values that are not from 0 to 1")
    group_of_N, weights_RG = bootstrap_weights(groups_N, replicates=replicates, seed=seed)
    band_N = np.searchsorted(edges, identity_N, side="right") - 1
    correct_KN = probabilities_KNC.argmax(2) == labels_N
    rng = np.random.default_rng(seed)
    return tuple(
        _band(low, high, labels_N[rows], correct_KN[:, rows], group_of_N[rows], weights_RG, C, rng)
        for low, high, rows in zip(
            edges,
            (*edges[1:], None),
            (np.flatnonzero(band_N == band) for band in range(len(edges))),
            strict=True,
        )
    )


def _band(
    low: float,
    high: float | None,
    labels_N: np.ndarray,
    correct_KN: np.ndarray,
    group_of_N: np.ndarray,
    weights_RG: np.ndarray,
    C: int,
    rng: np.random.Generator,
) -> Band:
    """Score the records of a band; the arrays have been cut to them, but for the weights."""
    groups_G, place_N = np.unique(group_of_N, return_inverse=True)
    classes = len(np.unique(labels_N))
    if not len(labels_N):
        return Band(low, high, 0, 0, 0, None, None)
    # The band as it is, and in each replicate; a single group cannot be resampled.
    drawn_RG = weights_RG[:, groups_G] if len(groups_G) > 1 else np.empty((0, 1))
    weights_RG = np.concatenate([np.ones((1, len(groups_G))), drawn_RG])
    accuracies: list[Run] = []
    balanced: list[Run] = []
    total_RC = weights_RG @ _sums(place_N, labels_N, np.ones(len(labels_N)), C)
    for correct_N in correct_KN:
        right_RC = weights_RG @ _sums(place_N, labels_N, correct_N, C)
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: a class, or the band, was not drawn
            accuracy_R = right_RC.sum(1) / total_RC.sum(1)
            balanced_R = np.nansum(right_RC / total_RC, 1) / (total_RC > 0).sum(1)
        accuracies.append((accuracy_R[0], accuracy_R[1:]))
        balanced.append((balanced_R[0], balanced_R[1:]))
    return Band(
        low,
        high,
        len(labels_N),
        len(groups_G),
        classes,
        score_interval(mean_of_runs(accuracies, rng), (0, 1)),
        score_interval(mean_of_runs(balanced, rng), (0, 1)) if classes == C else None,
    )


def _sums(place_N: np.ndarray, labels_N: np.ndarray, amount_N: np.ndarray, C: int) -> np.ndarray:
    """Return sums_GC: amounts added up over the records of each group and class."""
    sums_GC = np.zeros((place_N.max() + 1, C))
    np.add.at(sums_GC, (place_N, labels_N), amount_N)
    return sums_GC


@dataclass(frozen=True)
class Ceiling:
    """What no function of the sequence alone can exceed on some records.

    Attributes:
        accuracy: Reached by the most frequent label of each sequence.
        balanced_accuracy: Reached by the label with the largest share of its class in the
            sequence; classes without records are left out.
        sequences: Distinct sequences with several labels.
        records: Their records.
    """

    accuracy: float
    balanced_accuracy: float
    sequences: int
    records: int


def label_ceiling(
    sequences_N: np.ndarray, labels_N: np.ndarray, names: Sequence[str], test: np.ndarray
) -> Ceiling:
    """Return the best scores on test records whose sequences have conflicting labels.

    Both scores are sums over sequences, so the best answer is found for each by itself: accuracy
    counts every record as 1, balanced accuracy as 1 / (classes x records of its class).

    Args:
        sequences_N: Equal numbers are equal sequences (`LabelledSet.sequences_N`).
        labels_N: Class of each record.
        names: The C class names.
        test: Indices of the test records, one or more.

    >>> label_ceiling(np.array([7, 7, 7, 8, 8]), np.array([0, 0, 1, 0, 0]), "ab", np.arange(5))
    Ceiling(accuracy=0.8, balanced_accuracy=0.75, sequences=1, records=3)
    """
    sequences_S, place_N = np.unique(sequences_N[test], return_inverse=True)
    counts_SC = np.zeros((len(sequences_S), len(names)), np.int64)
    np.add.at(counts_SC, (place_N, labels_N[test]), 1)
    shared_SC = counts_SC[:, counts_SC.any(0)]
    several_S = (counts_SC > 0).sum(1) > 1
    return Ceiling(
        float(counts_SC.max(1).sum() / len(test)),
        float((shared_SC / shared_SC.sum(0)).max(1).sum() / shared_SC.shape[1]),
        int(several_S.sum()),
        int(counts_SC[several_S].sum()),
    )
