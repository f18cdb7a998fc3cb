"""A number with its interval, and the resampled groups that intervals come from.

Shape letters: N = records, G = groups, R = bootstrap replicates.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its interval; the ends are NaN where none can be given.

    >>> print(Interval(0.8119, 0.79, 0.834))
    0.812 [0.790, 0.834]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self.value:z.3f} [no interval]"
        return f"{self.value:z.3f} [{self.low:z.3f}, {self.high:z.3f}]"

    def within(self, least: float, most: float) -> "Interval":
        """The interval without ends that are impossible.

        >>> Interval(0.9, 0.7, 1.1).within(0, 1)
        Interval(value=0.9, low=0.7, high=1)
        """
        # Written so that NaN stays NaN.
        low = least if self.low < least else self.low
        return Interval(self.value, low, most if self.high > most else self.high)

    def as_dict(self) -> dict[str, float | None]:
        """Plain numbers for JSON, which has no NaN: None stands for it.

        >>> Interval(0.5, 0.25, math.nan).as_dict()
        {'value': 0.5, 'low': 0.25, 'high': None}
        """
        return {name: None if math.isnan(x) else x for name, x in asdict(self).items()}


def bootstrap_weights(
    groups_N: np.ndarray, *, replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw whole groups with replacement; the same groups and seed give the same draw.

    Records of one group (identical sequences, a cluster) come and go together, so their
    agreement is not taken for evidence. `weights_RG[:, group_of_N]` counts records; use one draw
    for everything that is compared. A single group cannot be resampled: it gives R = 0.

    Args:
        groups_N: Any values; equal values are one group.
        replicates: R.
        seed: Seed of the draw.

    Returns:
        group_of_N (int64, the row's place among the sorted groups) and weights_RG (uint16, how
        often each group was drawn).
    """
    groups_G, group_of_N = np.unique(groups_N, return_inverse=True)
    G = len(groups_G)
    rng = np.random.default_rng(seed)
    weights_RG = np.empty((replicates if G > 1 else 0, G), np.uint16)
    for weights_G in weights_RG:
        weights_G[:] = np.bincount(rng.integers(G, size=G), minlength=G)
    return group_of_N, weights_RG


def percentile_interval(value: float, replicates_R: np.ndarray, *, level: float = 0.95) -> Interval:
    """Interval between the percentiles of a statistic's bootstrap replicates.

    Replicates in which the statistic is undefined (NaN) are left out. The ends are NaN when more
    than half of the replicates are, or when the value itself is.
    """
    defined_R = replicates_R[~np.isnan(replicates_R)]
    if math.isnan(value) or 2 * len(defined_R) < max(len(replicates_R), 1):
        return Interval(float(value), math.nan, math.nan)
    low, high = np.quantile(defined_R, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))
