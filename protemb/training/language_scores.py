"""Scores of predicted residues, with intervals that resample groups of like sequences.

Shape letters: M = records, G = groups, R = bootstrap replicates.
"""

from dataclasses import dataclass

import numpy as np

from protemb.intervals import Interval, bootstrap_weights, percentile_interval

COLUMNS = {
    "cross_entropy": "nats per residue",
    "perplexity": "perplexity",
    "accuracy": "accuracy",
}


@dataclass(frozen=True)
class RecordSums:
    """What was predicted of each record, added up over its targets.

    Attributes:
        nats_M: minus the log-probabilities of the targets.
        right_M: targets that had the largest probability; expected ones where nothing is
            preferred.
        residues_M: targets.
    """

    nats_M: np.ndarray
    right_M: np.ndarray
    residues_M: np.ndarray

    @classmethod
    def zeros(cls, records: int) -> "RecordSums":
        """Nothing yet."""
        return cls(*(np.zeros(records) for _ in range(3)))

    @property
    def cross_entropy(self) -> float:
        """Nats per residue over all records."""
        return float(self.nats_M.sum() / self.residues_M.sum())


def language_scores(
    sums: RecordSums, groups_M: np.ndarray, *, replicates: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Score predictions by the residue: cross-entropy in nats, perplexity (its exp) and accuracy.

    Args:
        sums: what was predicted.
        groups_M: records with equal values are resampled together.
        replicates: bootstrap replicates behind every interval.
        seed: of the resampling.

    Returns:
        An interval for each of `COLUMNS`.
    """
    nats_1R = _ratios(sums.nats_M, sums.residues_M, groups_M, replicates, seed)
    right_1R = _ratios(sums.right_M, sums.residues_M, groups_M, replicates, seed)
    found = {"cross_entropy": nats_1R, "perplexity": np.exp(nats_1R), "accuracy": right_1R}
    return {name: percentile_interval(row[0], row[1:]) for name, row in found.items()}


def cross_entropy_gain(
    own: RecordSums,
    rival: RecordSums,
    groups_M: np.ndarray,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Nats per residue by which the first is better, paired: the rival's minus its own."""
    assert np.array_equal(own.residues_M, rival.residues_M), "the same targets"
    gain_M = rival.nats_M - own.nats_M
    gain_1R = _ratios(gain_M, own.residues_M, groups_M, replicates, seed)
    return percentile_interval(gain_1R[0], gain_1R[1:])


def _ratios(
    sums_M: np.ndarray, residues_M: np.ndarray, groups_M: np.ndarray, replicates: int, seed: int
) -> np.ndarray:
    """The ratio of two sums over all records, followed by that of every replicate."""
    group_of_M, weights_RG = bootstrap_weights(groups_M, replicates=replicates, seed=seed)
    groups = weights_RG.shape[1]
    weights_1RG = np.concatenate([np.ones((1, groups)), weights_RG])
    above_1R, below_1R = (
        weights_1RG @ np.bincount(group_of_M, weights=values_M, minlength=groups)
        for values_M in (sums_M, residues_M)
    )
    # A replicate of records without a known residue says nothing.
    return np.divide(above_1R, below_1R, out=np.full(len(below_1R), np.nan), where=below_1R > 0)


def verdict(name: str, rival: str, gain: Interval) -> str:
    """Say in words what a paired gain shows.

    >>> verdict("bilm", "unigram", Interval(0.2, 0.15, 0.25))
    'bilm predicts better than unigram by 0.200 [0.150, 0.250] nats per residue (paired, 95 %).'
    >>> verdict("bilm", "unigram", Interval(-0.01, -0.05, 0.03))
    'bilm and unigram: no difference shown, -0.010 [-0.050, 0.030] nats per residue (paired, 95 %).'
    """
    if gain.low > 0:
        return f"{name} predicts better than {rival} by {gain} nats per residue (paired, 95 %)."
    if gain.high < 0:
        size = Interval(-gain.value, -gain.high, -gain.low)
        return f"{name} predicts worse than {rival} by {size} nats per residue (paired, 95 %)."
    shown = f"no difference shown, {gain} nats per residue (paired, 95 %)."
    return f"{name} and {rival}: {shown}"
