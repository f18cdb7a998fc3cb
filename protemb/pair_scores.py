"""How well scores of pairs tell levels of a hierarchy, with intervals over whole groups.

Pairs are not independent: a protein stands in many of them. What is resampled is therefore not the
pair but the group of like proteins (a fold, say), as in the bootstrap of networks' nodes (Snijders
and Borgatti 1999, Connections 22: 161; Owen 2007, Annals of Applied Statistics 1: 386, "pigeonhole
bootstrap"). Where group a is drawn u times and group b v times, a pair between them counts u * v
times: once for each two copies. A pair inside group a counts u times: each copy holds it once, and
the pairs between two copies of a group stand for none that was seen. (With u * u instead, pairs
inside groups would count twice on average, and so would the share of related pairs.)

Shape letters: P = pairs, K = levels above the lowest, G = groups, R = rows of weights: the first is
all ones, the others are bootstrap replicates.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from protemb.intervals import Interval, bootstrap_weights, percentile_interval
from protemb.ranks import Order, weighted_correlation

_HELD = 2**20
"""Weights that are held at once."""


def pair_weights(groups_P2: np.ndarray, *, replicates: int, seed: int) -> Iterable[np.ndarray]:
    """Yield weights_RP in blocks of rows; the same groups and seed give the same weights.

    Args:
        groups_P2: group of each of a pair's two proteins; any values.
        replicates: draws of groups. Fewer than two groups cannot be resampled: none then.
        seed: of the draw.
    """
    yield np.ones((1, len(groups_P2)))
    places, weights_RG = bootstrap_weights(groups_P2.ravel(), replicates=replicates, seed=seed)
    first_P, second_P = places.reshape(-1, 2).T
    rows = max(1, _HELD // len(groups_P2))
    for start in range(0, len(weights_RG), rows):
        block_RG = weights_RG[start : start + rows].astype(np.float64)
        yield block_RG[:, first_P] * np.where(first_P == second_P, 1.0, block_RG[:, second_P])


def pair_scores(
    levels_P: np.ndarray,
    score_P: np.ndarray,
    groups_P2: np.ndarray,
    names: Sequence[str],
    *,
    chances_PK: np.ndarray | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Score one ranking of pairs under the weights of `pair_weights`.

    Args:
        levels_P: 0 to K.
        score_P: higher means more alike.
        groups_P2: see `pair_weights`.
        names: K names: that of a level from 1 on.
        chances_PK: probabilities of the levels 0 to K (so K + 1 columns), where there are any.
        replicates: see `pair_weights`.
        seed: see `pair_weights`.

    Returns:
        An array of length R for each of `spearman` (of score and level, ties by midranks),
        `average_precision/<name>` and `auroc/<name>` (a pair is right when its level is at least
        that one; average precision as the step function, equal scores taken at once), and, where
        there are probabilities, `pearson` (of expected level and level) and `accuracy` (of the
        most probable level). NaN where undefined.
    """
    if not np.isfinite(score_P).all():
        raise ValueError("score_P: got values that are not finite")
    ranking, truth = Order(score_P), Order(levels_P)
    found: dict[str, list[np.ndarray]] = {}
    for weights_RP in pair_weights(groups_P2, replicates=replicates, seed=seed):
        block = {
            "spearman": weighted_correlation(
                ranking.ranks(weights_RP), truth.ranks(weights_RP), weights_RP
            )
        }
        if chances_PK is not None:
            expected_P = chances_PK @ np.arange(chances_PK.shape[1])
            block["pearson"] = weighted_correlation(expected_P, levels_P, weights_RP)
            right_P = chances_PK.argmax(1) == levels_P
            with np.errstate(invalid="ignore"):
                block["accuracy"] = weights_RP @ right_P / weights_RP.sum(1)
        for level, name in enumerate(names, 1):
            right_P = levels_P >= level
            block[f"average_precision/{name}"], block[f"auroc/{name}"] = _found(
                ranking, right_P, weights_RP
            )
        for name, values_R in block.items():
            found.setdefault(name, []).append(values_R)
    return {name: np.concatenate(values) for name, values in found.items()}


def score_intervals(found: Mapping[str, np.ndarray]) -> dict[str, Interval]:
    """Value and 95 % interval of each score."""
    return {name: percentile_interval(x_R[0], x_R[1:]) for name, x_R in found.items()}


def score_differences(
    found: Mapping[str, np.ndarray], rival: Mapping[str, np.ndarray]
) -> dict[str, Interval]:
    """The first minus the second, paired by replicate, for the scores that both have."""
    return {
        name: percentile_interval(x_R[0] - rival[name][0], x_R[1:] - rival[name][1:])
        for name, x_R in found.items()
        if name in rival
    }


def _found(
    ranking: Order, right_P: np.ndarray, weights_RP: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and AUROC, NaN where either side is missing."""
    below, until = ranking.below(weights_RP * right_P)
    wrong_below, wrong_until = ranking.below(weights_RP * ~right_P)
    hits, total_R, wrong_R = until - below, until[:, -1], wrong_until[:, -1]
    above = total_R[:, None] - below  # right ones from the run on upwards
    taken = above + wrong_R[:, None] - wrong_below
    precision = np.divide(above, taken, out=np.zeros_like(above), where=taken > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        average_R = (hits * precision).sum(1) / total_R
        wins_R = (hits * (wrong_below + wrong_until) / 2).sum(1)
        auroc_R = wins_R / (total_R * wrong_R)
    return np.where(wrong_R > 0, average_R, np.nan), auroc_R
