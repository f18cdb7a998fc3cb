"""What a classifier loses when the residues of its test sequences change places.

Shape letters: N = sequences, C = classes, R = bootstrap replicates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from protemb.analysis.changes import CHANGES, Tokens, changed
from protemb.errors import ConfigError
from protemb.intervals import Interval, percentile_interval
from protemb.scores import bootstrap_scores


@dataclass(frozen=True)
class ShuffleDrop:
    """A score of the sequences as they are, of the shuffled ones, and what is lost.

    Attributes:
        intact: score of the sequences as they are.
        shuffled: score of the changed sequences, the mean over the draws.
        drop: intact minus shuffled, paired by bootstrap replicate.
    """

    intact: Interval
    shuffled: Interval
    drop: Interval

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """Plain values for JSON."""
        return {name: getattr(self, name).as_dict() for name in ("intact", "shuffled", "drop")}


def shuffle_drop(
    predict: Callable[[Tokens], np.ndarray],
    sequences: Tokens,
    labels_N: np.ndarray,
    groups_N: np.ndarray,
    names: Sequence[str],
    *,
    kinds: Sequence[str] = ("residues", "dipeptides", "reversal"),
    metric: str = "balanced_accuracy",
    draws: int = 3,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, ShuffleDrop]:
    """Measure what a trained model's score loses when test sequences are changed.

    A model that gains from order and was trained on intact sequences loses. How much of the task
    needs order is another question: for that, models are trained on shuffled sequences.

    Args:
        predict: N token arrays to probabilities_NC.
        sequences: N arrays of tokens, none of them empty.
        labels_N: true class of each.
        groups_N: sequences with equal values are resampled together.
        names: the C class names.
        kinds: some of `CHANGES`.
        metric: one of the scores of `protemb.scores.weighted_scores`.
        draws: of each change that has more than one outcome.
        replicates: bootstrap replicates; 0 for no intervals.
        seed: of the draws and of the resampling.

    Raises:
        ConfigError: no such kind or metric.
    """
    for kind in kinds:
        if kind not in CHANGES:
            raise ConfigError("shuffle", kind, f"one of {', '.join(CHANGES)}")

    def score(tokens: Tokens) -> tuple[float, np.ndarray]:
        values, replicates_of = bootstrap_scores(
            labels_N, predict(tokens), groups_N, names, replicates=replicates, seed=seed
        )
        if metric not in values:
            raise ConfigError("metric", metric, f"one of {', '.join(values)}")
        return values[metric], replicates_of[metric]

    intact, intact_R = score(sequences)
    drops = {}
    for kind in kinds:
        drawn = [score(copies) for copies in changed(sequences, kind, draws=draws, seed=seed)]
        # Differences first: where nothing is lost, their mean is exactly 0.
        drop = float(np.mean([intact - value for value, _ in drawn]))
        drop_R = np.mean([intact_R - replicates_R for _, replicates_R in drawn], axis=0)
        drops[kind] = ShuffleDrop(
            percentile_interval(intact, intact_R),
            percentile_interval(intact - drop, intact_R - drop_R),
            percentile_interval(drop, drop_R),
        )
    return drops
