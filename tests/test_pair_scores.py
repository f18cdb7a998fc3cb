"""Scores of pairs against scipy and scikit-learn; the bootstrap of groups by simulation."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from protemb.intervals import percentile_interval
from protemb.pair_scores import pair_scores, pair_weights, score_differences, score_intervals

NAMES = ["fold", "family"]


def sample(seed=0, pairs=150, groups=12):
    rng = np.random.default_rng(seed)
    levels_P = rng.integers(3, size=pairs)
    score_P = np.round(levels_P + rng.normal(0, 1.5, pairs), 1)  # with ties
    chances_PK = rng.dirichlet([1, 1, 1], pairs)
    return levels_P, score_P, rng.integers(groups, size=(pairs, 2)), chances_PK


def by_libraries(levels_P, score_P, chances_PK):
    expected_P = chances_PK @ np.arange(3)
    found = {
        "spearman": spearmanr(score_P, levels_P).statistic,
        "pearson": pearsonr(expected_P, levels_P).statistic,
        "accuracy": (chances_PK.argmax(1) == levels_P).mean(),
    }
    for level, name in enumerate(NAMES, 1):
        found[f"average_precision/{name}"] = average_precision_score(levels_P >= level, score_P)
        found[f"auroc/{name}"] = roc_auc_score(levels_P >= level, score_P)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scipy_and_scikit_learn(seed):
    levels_P, score_P, groups_P2, chances_PK = sample(seed)
    found = pair_scores(levels_P, score_P, groups_P2, NAMES, chances_PK=chances_PK, replicates=2)
    for name, value in by_libraries(levels_P, score_P, chances_PK).items():
        assert found[name][0] == pytest.approx(value, abs=1e-12)


def test_a_replicate_is_the_score_of_the_pairs_as_often_as_drawn():
    levels_P, score_P, groups_P2, chances_PK = sample(7)
    found = pair_scores(
        levels_P, score_P, groups_P2, NAMES, chances_PK=chances_PK, replicates=6, seed=3
    )
    weights_RP = np.concatenate(list(pair_weights(groups_P2, replicates=6, seed=3)))
    assert weights_RP.shape == (7, 150) and (weights_RP[0] == 1).all()
    for row, weights_P in enumerate(weights_RP):
        copies = np.repeat(np.arange(150), weights_P.astype(int))
        expected = by_libraries(levels_P[copies], score_P[copies], chances_PK[copies])
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value, abs=1e-12)


def test_a_pair_counts_once_for_each_two_copies_and_once_inside_each_copy():
    every = np.array([(a, b) for a in range(6) for b in range(a, 6)])
    weights_RP = np.concatenate(list(pair_weights(every, replicates=4000, seed=0)))[1:]
    inside = every[:, 0] == every[:, 1]
    copies_RG = weights_RP[:, inside]
    assert (copies_RG.sum(1) == 6).all()
    np.testing.assert_array_equal(
        weights_RP,
        np.where(
            inside, copies_RG[:, every[:, 0]], copies_RG[:, every[:, 0]] * copies_RG[:, every[:, 1]]
        ),
    )
    # Multinomial draws: a group is there once on average, two different ones 1 - 1 / G times.
    assert weights_RP[:, inside].mean() == pytest.approx(1)
    assert weights_RP[:, ~inside].mean() == pytest.approx(1 - 1 / 6, abs=0.02)


def test_blocks_of_rows_change_nothing(monkeypatch):
    levels_P, score_P, groups_P2, _ = sample(2)
    whole = pair_scores(levels_P, score_P, groups_P2, NAMES, replicates=9)
    monkeypatch.setattr("protemb.pair_scores._HELD", 300)
    parts = pair_scores(levels_P, score_P, groups_P2, NAMES, replicates=9)
    for name, values_R in whole.items():
        np.testing.assert_array_equal(values_R, parts[name])


def correlated(rng, nodes):
    """Scores and targets of all pairs that share the nodes' effects; their correlation is 2/3."""
    effect = rng.normal(size=nodes)
    pairs = np.array([(a, b) for a in range(nodes) for b in range(a)])
    both = effect[pairs].sum(1)
    return both + rng.normal(size=len(pairs)), both + rng.normal(size=len(pairs)), pairs


def test_intervals_cover_where_those_over_pairs_do_not():
    rng, hits = np.random.default_rng(11), {"groups": 0, "pairs": 0}
    tries, nodes = 120, 25
    for attempt in range(tries):
        score_P, target_P, pairs = correlated(rng, nodes)
        # Only `pearson` takes a target of any kind.
        chances_PK = np.column_stack([1 - score_P, score_P])
        for name, groups_P2 in (("groups", pairs), ("pairs", _apart(pairs))):
            found = pair_scores(
                target_P,
                score_P,
                groups_P2,
                [],
                chances_PK=chances_PK,
                replicates=150,
                seed=attempt,
            )
            interval = percentile_interval(found["pearson"][0], found["pearson"][1:])
            hits[name] += interval.low <= 2 / 3 <= interval.high
    assert hits["groups"] >= 0.87 * tries
    assert hits["pairs"] <= 0.75 * tries


def _apart(pairs):
    """Every pair as a group of its own."""
    return np.repeat(np.arange(len(pairs))[:, None], 2, 1)


def test_differences_are_paired():
    levels_P, score_P, groups_P2, _ = sample(4)
    first = pair_scores(levels_P, score_P, groups_P2, NAMES, replicates=200)
    again = pair_scores(levels_P, 3 * score_P - 1, groups_P2, NAMES, replicates=200)
    for interval in score_differences(first, again).values():
        assert (interval.value, interval.low, interval.high) == (0, 0, 0)
    noise = pair_scores(levels_P, groups_P2[:, 0] * 1.0, groups_P2, NAMES, replicates=200)
    own, other = score_intervals(first)["spearman"], score_intervals(noise)["spearman"]
    difference = score_differences(first, noise)["spearman"]
    assert difference.value == pytest.approx(own.value - other.value)
    assert own.low < own.value < own.high


def test_what_is_undefined_is_nan():
    levels_P, groups_P2 = np.array([0, 0, 1]), np.array([[0, 1], [1, 2], [2, 2]])
    found = pair_scores(levels_P, np.ones(3), groups_P2, NAMES, replicates=3)
    assert np.isnan(found["spearman"][0]) and found["auroc/fold"][0] == 0.5
    assert np.isnan(found["average_precision/family"][0]) and np.isnan(found["auroc/family"][0])
    assert found["average_precision/fold"][0] == pytest.approx(1 / 3)
    one = pair_scores(levels_P, np.arange(3.0), np.zeros((3, 2), int), NAMES, replicates=3)
    assert len(one["spearman"]) == 1 and np.isnan(score_intervals(one)["spearman"].low)
    with pytest.raises(ValueError, match="not finite"):
        pair_scores(levels_P, np.array([0, 1, np.nan]), groups_P2, NAMES, replicates=3)
