"""Compare models in pairs from their stored predictions, honestly about chance.

Shape letters: N = records of a part, C = classes, G = groups of all parts, V = runs on a part,
R = replicates, S = runs of a model on a part, Q = pairs.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from protemb.analysis.alignment import RunPredictions, align
from protemb.analysis.estimates import Estimate, mean_estimate
from protemb.analysis.resampling import ScoredPart
from protemb.analysis.significance import corrected_t_p, holm, outcome, permutation_p
from protemb.analysis.sums import RANKED
from protemb.errors import ConfigError
from protemb.intervals import Interval, bootstrap_weights
from protemb.scores import score_bounds

RANKED_REPLICATES = 1000
"""Most replicates and permutations of a score of ranks: each costs a pass over the records."""


@dataclass(frozen=True)
class PairResult:
    """Two models compared.

    Args:
        first: name of a model.
        second: name of a model.
        difference: score of the first minus that of the second.
        p_interval: two-sided; below 1 - level when the interval leaves 0 out.
        p_permutation: two-sided, of swapping the two models' predictions group by group.
        p_holm: the larger of these two, after Holm's correction over all pairs.
        p_corrected_t: of the corrected resampled t-test; None where it cannot be made.
        p_corrected_t_holm: the same after Holm's correction.
        outcome: "above" or "below" when the interval leaves 0 out and `p_holm` agrees,
            "equivalent" when the whole interval lies within the margin (even if it leaves 0 out: a
            real difference, too small to matter), "unclear" otherwise.
        runs: of the first and of the second.
        groups: that were resampled.
    """

    first: str
    second: str
    difference: Interval
    p_interval: float | None
    p_permutation: float | None
    p_holm: float | None
    p_corrected_t: float | None
    p_corrected_t_holm: float | None
    outcome: str
    runs: tuple[int, int]
    groups: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self) | {"difference": self.difference.as_dict(), "runs": list(self.runs)}


@dataclass(frozen=True)
class Comparison:
    """Models on the same test records.

    Args:
        metric: what the scores are.
        margin: differences up to this size do not matter.
        scores: by model.
        pairs: in the order that was asked for.
    """

    metric: str
    margin: float
    scores: Mapping[str, Interval]
    pairs: tuple[PairResult, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "metric": self.metric,
            "margin": self.margin,
            "scores": {model: score.as_dict() for model, score in self.scores.items()},
            "pairs": [pair.as_dict() for pair in self.pairs],
        }


def compare_models(
    runs: Sequence[RunPredictions],
    names: Sequence[str],
    *,
    metric: str = "balanced_accuracy",
    pairs: Sequence[tuple[str, str]] | None = None,
    replicates: int = 10_000,
    permutations: int = 10_000,
    margin: float = 0.02,
    seed: int = 0,
    level: float = 0.95,
    train_share: float | None = None,
) -> Comparison:
    """Score models and their differences, with intervals, tests and a verdict for each pair.

    A model's score is the mean over its runs on a part, then over parts. Runs need not be equally
    many: a baseline with one run is compared with the mean of a network's three.

    Intervals cover the draw of the test groups and, where a model has several runs on a part, the
    luck of its trainings (`Estimate.interval` says how). With one run that luck cannot be told
    from the rest: the interval is about the trained network, not about its architecture. The
    choice of the training records is in none of them. Classes that live in fewer than about five
    groups make the intervals of macro averages rough, and a score close to its bound in few
    groups has too short an interval.

    The permutation test (Good 2005) swaps all predictions for a group between two models; all
    swaps are tried when they are fewer than `permutations`. It takes the runs as given, so it
    alone does not decide: a claim needs the interval too, over all pairs (Holm 1979).

    Args:
        runs: Out-of-sample predictions, in any order; every model on every part.
        names: The C class names.
        metric: A key of `protemb.scores.weighted_scores`. "auroc" is slow and limited to 1,000
            replicates and permutations. Of `log_loss` and `calibration_error` less is better.
        pairs: Model names, first and second; all pairs by default.
        replicates: Bootstrap replicates.
        permutations: Swaps that are tried at most.
        margin: Differences up to this size do not matter; in units of the metric.
        seed: Of the resampling.
        level: Coverage of the intervals; claims are made at 1 - level.
        train_share: Records trained on, as a share of those trained on and tested on, for the
            corrected t-test. Without it, the parts are taken for the folds of a
            cross-validation. A single part has no such test.

    Raises:
        ConfigError: An option cannot work, or a pair names no model of the runs.
        InputError: Runs do not fit together.
    """
    _check_options(replicates, permutations, margin, level, train_share)
    parts = align(runs, names)
    models = list(dict.fromkeys(run.model for run in runs))
    pairs = _checked_pairs(pairs, models)
    if metric == RANKED:
        replicates = min(replicates, RANKED_REPLICATES)
        permutations = min(permutations, RANKED_REPLICATES)
    scored = [ScoredPart(part, names, metric) for part in parts]
    groups_G = np.unique(np.concatenate([part.groups_G for part in parts]))
    estimates = _estimates(scored, models, groups_G, replicates, seed)
    swapped_Q = permutation_p(scored, pairs, groups_G, permutations, seed)
    corrected_Q = np.array([corrected_t_p(scored, *pair, train_share) for pair in pairs])

    least, most = score_bounds(metric)
    reach = most - least
    ends = [(estimates[first] - estimates[second]).interval(level) for first, second in pairs]
    interval_Q = np.array([p for _, p in ends])
    holm_Q, corrected_holm_Q = holm(np.maximum(interval_Q, swapped_Q)), holm(corrected_Q)
    counts = Counter(run.model for run in runs)
    results = tuple(
        PairResult(
            first,
            second,
            difference=ends[q][0].within(-reach, reach),
            p_interval=_or_none(interval_Q[q]),
            p_permutation=_or_none(swapped_Q[q]),
            p_holm=_or_none(holm_Q[q]),
            p_corrected_t=_or_none(corrected_Q[q]),
            p_corrected_t_holm=_or_none(corrected_holm_Q[q]),
            outcome=outcome(ends[q][0], margin, holm_Q[q], level),
            runs=(counts[first], counts[second]),
            groups=len(groups_G),
        )
        for q, (first, second) in enumerate(pairs)
    )
    scores = {model: estimates[model].interval(level)[0].within(least, most) for model in models}
    return Comparison(metric, margin, scores, results)


def _estimates(
    scored: Sequence[ScoredPart],
    models: Sequence[str],
    groups_G: np.ndarray,
    replicates: int,
    seed: int,
) -> dict[str, Estimate]:
    _, weights_RG = bootstrap_weights(groups_G, replicates=replicates, seed=seed)
    of_part = []
    for part in scored:
        here = np.searchsorted(groups_G, part.groups_G)
        replicates_VR = part.scores.weighted(weights_RG[:, here])
        left_out_VG = np.repeat(part.values_V[:, None], len(groups_G), axis=1)
        left_out_VG[:, here] = part.scores.left_out()
        of_part.append(
            {
                model: Estimate.of_runs(part.values_V[v], replicates_VR[v], left_out_VG[v])
                for model, v in part.rows.items()
            }
        )
    return {model: mean_estimate([part[model] for part in of_part]) for model in models}


def _checked_pairs(
    pairs: Sequence[tuple[str, str]] | None, models: Sequence[str]
) -> list[tuple[str, str]]:
    if pairs is None:
        return list(combinations(models, 2))
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(models):
            raise ConfigError("pairs", pair, f"two different models of {', '.join(models)}")
    return [(first, second) for first, second in pairs]


def _check_options(
    replicates: int, permutations: int, margin: float, level: float, train_share: float | None
) -> None:
    for option, count in {"replicates": replicates, "permutations": permutations}.items():
        if count < 2:
            raise ConfigError(option, count, "at least 2")
    if not margin >= 0:
        raise ConfigError("margin", margin, "a number from 0")
    if not 0 < level < 1:
        raise ConfigError("level", level, "a number between 0 and 1")
    if train_share is not None and not 0 < train_share < 1:
        raise ConfigError("train_share", train_share, "a number between 0 and 1")


def _or_none(p: float) -> float | None:
    return None if math.isnan(p) else float(p)
