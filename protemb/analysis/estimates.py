"""A score, or a difference of two, with all that its interval needs.

Two things are drawn by chance: the test records, in groups, and the training runs. A score is the
mean over its runs, so its variance has the form of a study with cases and readers, runs nested
in their model: Obuchowski and Rockette (1995); Hillis (2014), "A marginal-mean ANOVA approach for
analyzing multireader multicase radiological imaging data", for nested readers.

    variance = sum over models of (variance between its runs / runs)  + (groups - interaction)

The variance between runs already holds what runs and groups do together (the interaction), which
the resampling of groups counts too; it is taken off once. Degrees of freedom follow Satterthwaite
(1946), since three runs say little about their own spread.

Shape letters: G = groups, S = runs of a model on a part, R = bootstrap replicates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from protemb.intervals import Interval

RUNS_QUANTILE = 0.4
"""Chance that the variance between runs is larger than what degrees of freedom are computed with.

With the plain estimate, two or three runs that happen to agree look both steady and well known,
and claims over many pairs err in up to 7 of 100 sweeps (three runs) or 13 (two) instead of 5.
"""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value that depends on groups and runs; estimates of the same groups can be subtracted.

    Args:
        value: on all groups, the mean over runs.
        replicates_R: the same in each bootstrap replicate of the groups.
        left_out_G: the same without each group.
        runs: variance of the mean over runs and its degrees of freedom, for each set of at least
            two runs.
        interaction: variance that `runs` and the groups share.
    """

    value: float
    replicates_R: np.ndarray
    left_out_G: np.ndarray
    runs: tuple[tuple[float, int], ...] = ()
    interaction: float = 0.0

    @staticmethod
    def of_runs(
        values_S: np.ndarray, replicates_SR: np.ndarray, left_out_SG: np.ndarray
    ) -> "Estimate":
        """The mean over the runs of one model on one part."""
        S = len(values_S)
        estimate = Estimate(float(values_S.mean()), replicates_SR.mean(0), left_out_SG.mean(0))
        if S == 1:
            return estimate
        apart_SG = left_out_SG - estimate.left_out_G
        shared = sum(_jackknife_variance(apart_G) for apart_G in apart_SG) / (S * (S - 1))
        between = float(values_S.var(ddof=1)) / S
        return replace(estimate, runs=((between, S - 1),), interaction=shared)

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.value + other.value,
            self.replicates_R + other.replicates_R,
            self.left_out_G + other.left_out_G,
            self.runs + other.runs,
            self.interaction + other.interaction,
        )

    def __sub__(self, other: "Estimate") -> "Estimate":
        return self + other * -1

    def __mul__(self, factor: float) -> "Estimate":
        return Estimate(
            self.value * factor,
            self.replicates_R * factor,
            self.left_out_G * factor,
            tuple((variance * factor**2, df) for variance, df in self.runs),
            self.interaction * factor**2,
        )

    def interval(self, level: float, shape: float | None = None) -> tuple[Interval, float]:
        """The interval, and the two-sided p-value that falls below 1 - level when 0 is outside.

        Percentiles of the group bootstrap are too narrow here: they ignore runs, and where a rare
        class lives in a few groups the bootstrap variance is short by a factor of (n - 1) / n
        and itself uncertain (Hesterberg 2015, "What teachers should know about the bootstrap",
        section 5). So the half-width is a t-quantile times the standard error above; the
        variance over groups is the jackknife's, which errs upwards (Efron and Stein 1981), with
        degrees of freedom from the kurtosis of the groups' contributions. The bootstrap gives
        the shape: its skewness is kept in the share that groups have in the variance, as in
        Zou and Donner (2008).

        NaN where the value, or the value without some group, is undefined.

        Args:
            level: coverage.
            shape: level at which the skewness is read; that of the interval where it is None.
                Intervals of several levels with one shape exclude 0 where p says so, and rare
                quantiles of few replicates do not come in.
        """
        G = len(self.left_out_G)
        if G < 2 or math.isnan(self.value) or np.isnan(self.left_out_G).any():
            return Interval(self.value, math.nan, math.nan), math.nan
        groups = max(_jackknife_variance(self.left_out_G) - self.interaction, 0.0)
        variance = groups + sum(part for part, _ in self.runs)
        if variance == 0:
            return Interval(self.value, self.value, self.value), float(self.value == 0)
        df = _satterthwaite(
            [(groups, _degrees_of_freedom(self.left_out_G))]
            + [
                (part * own / special.chdtri(own, 1 - RUNS_QUANTILE), own)
                for part, own in self.runs
            ]
        )

        error = math.sqrt(variance)
        below, above = self._sides(shape or level, groups / variance)
        reach = error * float(special.stdtrit(df, (1 + level) / 2))
        towards_zero = error * (below if self.value > 0 else above)
        p = 2 * float(special.stdtr(df, -abs(self.value) / towards_zero))
        return Interval(self.value, self.value - below * reach, self.value + above * reach), p

    def _sides(self, level: float, share: float) -> tuple[float, float]:
        """How far the interval reaches below and above the value, 1 each where it is symmetric."""
        defined_R = self.replicates_R[~np.isnan(self.replicates_R)]
        # What is only rounding has no shape.
        if len(defined_R) < 2 or defined_R.std() <= 1e-12 * max(1, abs(self.value)):
            return 1.0, 1.0
        low, high = np.quantile(defined_R, [(1 - level) / 2, (1 + level) / 2])
        normal = float(special.ndtri((1 + level) / 2)) * defined_R.std()
        below, above = (defined_R.mean() - low) / normal, (high - defined_R.mean()) / normal
        return math.sqrt(share * below**2 + 1 - share), math.sqrt(share * above**2 + 1 - share)


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over parts that were trained for separately."""
    total = estimates[0]
    for estimate in estimates[1:]:
        total = total + estimate
    return total * (1 / len(estimates))


def _jackknife_variance(left_out_G: np.ndarray) -> float:
    """Tukey's, over groups left out one at a time."""
    G = len(left_out_G)
    return float((G - 1) * left_out_G.var())


def _satterthwaite(terms: Sequence[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances that have their own."""
    total = sum(variance for variance, _ in terms)
    return float(total**2 / sum(variance**2 / df for variance, df in terms))


def _degrees_of_freedom(left_out_G: np.ndarray) -> float:
    """Of a sum of squares: 2 / (its squared coefficient of variation), at most G - 1.

    G equal normal contributions give about G; a few large ones, of a rare class, their number.
    """
    G = len(left_out_G)
    squares_G = (left_out_G - left_out_G.mean()) ** 2
    total = squares_G.sum()
    if total == 0:
        return G - 1
    excess = float((squares_G**2).sum() / total**2) - 1 / G
    return min(2 / excess, G - 1) if excess > 0 else G - 1
