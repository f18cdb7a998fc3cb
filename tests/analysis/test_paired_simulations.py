"""Do intervals cover and tests err as often as they say? Simulated predictions with known truth."""

import numpy as np
import pytest
from scipy.stats import norm

from protemb.analysis.paired import RunPredictions, compare_models

# Shares of the classes, and the recalls of two models, C classes each.
THREE = (np.array([0.6, 0.3, 0.1]), np.array([[0.8, 0.7, 0.6], [0.7, 0.65, 0.6]]))
SIX = (
    np.array([0.45, 0.25, 0.14, 0.08, 0.05, 0.03]),
    np.array([[0.9, 0.8, 0.7, 0.6, 0.6, 0.5], [0.85, 0.75, 0.7, 0.6, 0.5, 0.5]]),
)


def simulate(rng, G, shares_C, recall_MC, *, seeds=1, seed_sd=0.0):
    """Predictions of M models for G groups of one to many records, as stored by a sweep.

    A record is predicted well when a normal variable is positive; it adds up what the group, the
    record, the group with a model, the group with a run, and the run contribute: models err
    on the same groups, records of a group together. A wrong class is any of the others.
    """
    C = len(shares_C)
    size_G = rng.geometric(1 / 3, size=G)
    group_of_N = np.repeat(np.arange(G), size_G)
    labels_N = rng.choice(C, size=G, p=shares_C)[group_of_N]
    ids_N = np.char.mod("r%d", np.arange(len(labels_N)))
    shared_N = rng.normal(0, 0.4**0.5, G)[group_of_N] + rng.normal(0, 0.2**0.5, len(labels_N))
    runs = []
    for m, recall_C in enumerate(recall_MC):
        own_G = rng.normal(0, 0.2**0.5, G)
        for s in range(seeds):
            run_G = own_G + rng.normal(0, 0.2**0.5, G)
            # Over groups and runs the variance is 1 + seed_sd ** 2, so recall_C is the truth.
            threshold_C = norm.ppf(recall_C) * np.sqrt(1 + seed_sd**2)
            latent_N = threshold_C[labels_N] + shared_N + run_G[group_of_N]
            good_N = latent_N + rng.normal(0, seed_sd) > 0
            wrong_N = (labels_N + rng.integers(1, C, len(labels_N))) % C
            rows_NC = np.eye(C)[np.where(good_N, labels_N, wrong_N)]
            runs.append(RunPredictions(f"m{m}", ids_N, labels_N, group_of_N, rows_NC, seed=s))
    return runs


def true_scores(metric, shares_C, recall_MC):
    """Of each model, in an endless sample without seed variance."""
    if metric == "accuracy":
        return recall_MC @ shares_C
    if metric == "balanced_accuracy":
        return recall_MC.mean(1)
    others = len(shares_C) - 1
    wrong_MC = shares_C * (1 - recall_MC) / others
    predicted_MC = shares_C * recall_MC + wrong_MC.sum(1, keepdims=True) - wrong_MC
    return (2 * shares_C * recall_MC / (shares_C + predicted_MC)).mean(1)


def coverage(G, setting, metric, *, simulations=1000, seed=0, **options):
    """Share of intervals that hold the truth, and how far that share is off by chance, twice."""
    shares_C, recall_MC = setting
    names = [str(c) for c in range(len(shares_C))]
    truth_M = true_scores(metric, *setting)
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(simulations):
        runs = simulate(rng, G, *setting, **options)
        result = compare_models(runs, names, metric=metric, replicates=200, permutations=2)
        interval = result.pairs[0].difference
        hits += interval.low <= truth_M[0] - truth_M[1] <= interval.high
    return hits / simulations, 2 * (0.95 * 0.05 / simulations) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("G", "setting", "metric"),
    [
        (60, THREE, "accuracy"),
        (100, THREE, "balanced_accuracy"),
        (200, THREE, "macro_f1"),
        (400, SIX, "balanced_accuracy"),
        (900, SIX, "balanced_accuracy"),
    ],
)
def test_interval_covers_the_truth_with_one_run_each(G, setting, metric):
    share, error = coverage(G, setting, metric)
    assert 0.93 - error <= share <= 0.97 + error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("G", "setting", "seed_sd"),
    [(100, THREE, 0.3), (300, SIX, 0.05), (300, SIX, 0.3), (900, SIX, 0.1)],
)
def test_interval_covers_the_mean_over_seeds(G, setting, seed_sd):
    share, error = coverage(G, setting, "balanced_accuracy", seeds=3, seed_sd=seed_sd)
    assert 0.93 - error <= share <= 0.97 + error


def claims(sweeps, *, seed_sd, seed=0):
    """How many sweeps of five equal models, three seeds each, end in a claim about any pair."""
    shares_C, recall_MC = SIX
    rng, count = np.random.default_rng(seed), 0
    for _ in range(sweeps):
        runs = simulate(rng, 900, shares_C, recall_MC[[0] * 5], seeds=3, seed_sd=seed_sd)
        result = compare_models(runs, list("abcdef"), replicates=200, permutations=400)
        assert len(result.pairs) == 10
        count += any(pair.outcome in ("above", "below") for pair in result.pairs)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("seed_sd", [0.0, 0.1])
def test_nothing_is_claimed_where_nothing_differs(seed_sd):
    assert claims(100, seed_sd=seed_sd) <= 5


@pytest.mark.slow
def test_a_difference_is_claimed_where_there_is_one():
    rng = np.random.default_rng(0)
    shares_C, recall_MC = SIX
    recall_MC = np.array([recall_MC[0], recall_MC[0] - 0.25])
    outcomes = [
        compare_models(
            simulate(rng, 900, shares_C, recall_MC, seeds=3, seed_sd=0.1),
            list("abcdef"),
            replicates=200,
            permutations=400,
        )
        .pairs[0]
        .outcome
        for _ in range(20)
    ]
    assert outcomes.count("above") >= 18
