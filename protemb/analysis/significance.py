"""Tests of differences between models: by swapping groups, over trainings, and over many pairs.

Shape letters: G = groups, R = swaps, Q = pairs, V = runs on a part, J = differences of runs.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from protemb.analysis.resampling import ScoredPart
from protemb.intervals import Interval


def outcome(difference: Interval, margin: float, p: float = 0.0, level: float = 0.95) -> str:
    """Name what a difference allows to say: above, below, equivalent or unclear.

    Args:
        difference: with its interval.
        margin: differences up to this size do not matter.
        p: corrected for the family of comparisons that the difference is from; without it the
            difference is judged on its own.
        level: coverage of the interval.

    >>> outcome(Interval(0.05, 0.02, 0.08), 0.01)
    'above'
    >>> outcome(Interval(-0.05, -0.09, -0.01), 0.01, p=0.06)
    'unclear'
    >>> outcome(Interval(0.01, 0.005, 0.015), 0.02, 0.001)
    'equivalent'
    """
    if -margin <= difference.low and difference.high <= margin:
        return "equivalent"
    if p <= 1 - level and difference.low > 0:
        return "above"
    if p <= 1 - level and difference.high < 0:
        return "below"
    return "unclear"


def holm(p_Q: np.ndarray) -> np.ndarray:
    """Correct p-values for their number (Holm 1979); NaN stays NaN and does not count.

    >>> holm(np.array([0.01, 0.04, math.nan, 0.03])).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    corrected_Q = np.full(len(p_Q), np.nan)
    ranked = np.argsort(p_Q)[: np.isfinite(p_Q).sum()]
    factors = np.arange(len(ranked), 0, -1)
    corrected_Q[ranked] = np.maximum.accumulate(p_Q[ranked] * factors).clip(max=1)
    return corrected_Q


def judged(differences: Sequence[Interval], margin: float, level: float = 0.95) -> list[str]:
    """Outcomes of a family of differences of which nothing but intervals is known.

    p is read from the interval, as if normal on its side towards zero, and corrected for the
    family by Holm's method; alone, a difference is judged as by `outcome`.

    >>> one = Interval(0.05, 0.005, 0.095)
    >>> judged([one], 0.01), judged([one, one], 0.01)
    (['above'], ['unclear', 'unclear'])
    """
    quantile = stats.norm.ppf((1 + level) / 2)
    p_Q = np.empty(len(differences))
    for q, each in enumerate(differences):
        reach = each.value - each.low if each.value > 0 else each.high - each.value
        # A value without any spread is as sure as can be, unless it is 0.
        z = quantile * abs(each.value) / reach if reach else (math.inf if each.value else 0.0)
        p_Q[q] = 2 * stats.norm.sf(z)
    corrected_Q = holm(p_Q)
    return [
        outcome(each, margin, p, level) for each, p in zip(differences, corrected_Q, strict=True)
    ]


def permutation_p(
    scored: Sequence[ScoredPart],
    pairs: Sequence[tuple[str, str]],
    groups_G: np.ndarray,
    permutations: int,
    seed: int,
) -> np.ndarray:
    """Swap the predictions of two models, group by group, and count the differences as large.

    Good (2005), "Permutation, Parametric and Bootstrap Tests of Hypotheses", chapter 3. The runs
    of a model move together. All swaps are tried, and p is exact, where they are at most
    `permutations`.

    Args:
        scored: The parts; the score is the mean over them.
        pairs: First and second model.
        groups_G: The distinct groups of all parts, sorted.
        permutations: Swaps that are tried at most.
        seed: Of the random swaps.

    Returns:
        Two-sided p_Q.
    """
    if not pairs:
        return np.empty(0)
    G = len(groups_G)
    exact = G < 63 and 2**G <= permutations
    if exact:
        flips_RG = (np.arange(2**G)[:, None] >> np.arange(G) & 1).astype(bool)
    else:
        # A stream of its own, apart from the bootstrap's.
        flips_RG = np.random.default_rng((seed, 1)).integers(0, 2, (permutations, G), dtype=bool)
    differences_QR, values_Q = np.zeros((len(pairs), len(flips_RG))), np.zeros(len(pairs))
    for part in scored:
        here = np.searchsorted(groups_G, part.groups_G)
        run_pairs = [(part.rows[first], part.rows[second]) for first, second in pairs]
        differences_QR += part.scores.swapped(flips_RG[:, here], run_pairs) / len(scored)
        values_Q += [
            (part.values_V[v].mean() - part.values_V[w].mean()) / len(scored) for v, w in run_pairs
        ]
    # Sums in another order differ in the last digits: such a swap is as extreme as the data.
    extreme_Q = (np.abs(differences_QR) >= np.abs(values_Q)[:, None] - 1e-12).sum(1)
    p_Q = extreme_Q / len(flips_RG) if exact else (extreme_Q + 1) / (len(flips_RG) + 1)
    return np.where(np.isnan(values_Q), np.nan, p_Q)


def corrected_t_p(
    scored: Sequence[ScoredPart], first: str, second: str, train_share: float | None
) -> float:
    """Corrected resampled t-test over parts x runs, NaN where it cannot be made.

    Nadeau and Bengio (2003), "Inference for the generalization error", section 4.1: the variance
    of J differences counts 1/J + tested/trained times, because trainings share their records.
    Runs are paired by the order of their seeds where both models have equally many on a part;
    else the part gives one difference, that of the means. A single part has no such test: its
    runs share the luck of its records.
    """
    differences: list[float] = []
    for part in scored:
        sides = [part.values_V[part.rows[model]] for model in (first, second)]
        if len(sides[0]) != len(sides[1]):
            sides = [side.mean(keepdims=True) for side in sides]
        differences += (sides[0] - sides[1]).tolist()
    J, P = len(differences), len(scored)
    if J < 2 or P == 1:  # runs on one test part share its luck, which nothing here could tell
        return math.nan
    tested_per_trained = 1 / (P - 1) if train_share is None else (1 - train_share) / train_share
    mean, variance = np.mean(differences), np.var(differences, ddof=1)
    if variance == 0:
        return float(mean == 0)
    error = math.sqrt(variance * (1 / J + tested_per_trained))
    return 2 * float(stats.t.sf(abs(mean) / error, J - 1))
