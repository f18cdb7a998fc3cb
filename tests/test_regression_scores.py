"""Regression scores against scipy on rows repeated as often as drawn."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from protemb.intervals import bootstrap_weights
from protemb.ranks import Order, weighted_correlation
from protemb.regression_scores import (
    METRICS,
    bootstrap_regression,
    per_group_scores,
)


def sample(seed=0, rows=200, groups=9, seeds=3):
    rng = np.random.default_rng(seed)
    values_N = np.round(rng.normal(1, 2, rows), 1)  # with ties
    predicted_SN = np.round(values_N + rng.normal(0, 2, (seeds, rows)), 1)
    groups_N = np.array([f"g{g}" for g in rng.integers(groups, size=rows)])
    groups_N[:4] = "small"
    return values_N, predicted_SN, groups_N


def by_scipy(x_N, y_N, groups_N):
    """Scores of one seed; groups of the original rows, copies counted apart."""
    found = {
        "pearson": pearsonr(x_N, y_N).statistic,
        "spearman": spearmanr(x_N, y_N).statistic,
        "rmse": np.sqrt(((x_N - y_N) ** 2).mean()),
        "mae": abs(x_N - y_N).mean(),
    }
    for name, score in (("protein_pearson", pearsonr), ("protein_spearman", spearmanr)):
        parts = [np.flatnonzero(groups_N == group) for group in np.unique(groups_N)]
        scores = [score(x_N[p], y_N[p]).statistic for p in parts if len(p) >= 10]
        found[name] = np.mean(scores)
    return found


def mean_by_scipy(values_N, predicted_SN, groups_N):
    each = [by_scipy(values_N, predicted_N, groups_N) for predicted_N in predicted_SN]
    return {name: np.mean([found[name] for found in each]) for name in each[0]}


@pytest.mark.parametrize("seed", range(4))
def test_values_are_those_of_scipy(seed):
    values_N, predicted_SN, groups_N = sample(seed)
    found = bootstrap_regression(values_N, predicted_SN, groups_N, replicates=0, seed=0)
    assert list(found) == list(METRICS)
    for name, value in mean_by_scipy(values_N, predicted_SN, groups_N).items():
        assert found[name].shape == (1,)
        assert found[name][0] == pytest.approx(value, abs=1e-12)


def test_a_replicate_is_the_score_of_the_groups_as_often_as_drawn():
    values_N, predicted_SN, groups_N = sample(5)
    found = bootstrap_regression(values_N, predicted_SN, groups_N, replicates=8, seed=3)
    group_of_N, weights_RG = bootstrap_weights(groups_N, replicates=8, seed=3)
    for number, weights_G in enumerate(weights_RG, 1):
        copies = [
            (np.flatnonzero(group_of_N == group), f"{group} {copy}")
            for group, times in enumerate(weights_G)
            for copy in range(times)
        ]
        rows = np.concatenate([rows for rows, _ in copies])
        names = np.concatenate([[name] * len(rows) for rows, name in copies])
        expected = mean_by_scipy(values_N[rows], predicted_SN[:, rows], names)
        for name, value in expected.items():
            assert found[name][number] == pytest.approx(value, abs=1e-10), name


def test_a_weight_is_a_number_of_copies():
    values_N, predicted_SN, groups_N = sample(6, rows=150, groups=5)
    groups_N[:4] = "g0"
    weights_N = np.random.default_rng(1).integers(1, 4, len(values_N))
    copies = np.repeat(np.arange(len(values_N)), weights_N)
    options = {"replicates": 5, "seed": 2}
    weighted = bootstrap_regression(
        values_N, predicted_SN, groups_N, weights_N=weights_N, **options
    )
    copied = bootstrap_regression(
        values_N[copies], predicted_SN[:, copies], groups_N[copies], **options
    )
    for name in METRICS:
        np.testing.assert_allclose(weighted[name], copied[name], atol=1e-10)


def test_proteins_inside_clusters_come_and_go_with_them():
    values_N, predicted_SN, proteins_N = sample(7)
    cluster_of = {name: place // 2 for place, name in enumerate(np.unique(proteins_N))}
    clusters_N = np.array([cluster_of[name] for name in proteins_N])
    found = bootstrap_regression(
        values_N, predicted_SN, clusters_N, replicates=6, seed=0, proteins_N=proteins_N
    )
    _, weights_RG = bootstrap_weights(clusters_N, replicates=6, seed=0)
    scores = [per_group_scores(values_N, row_N, proteins_N) for row_N in predicted_SN]
    each = {
        one[0].group: np.mean([entry.pearson for entry in one]) for one in zip(*scores, strict=True)
    }
    for number, weights_C in enumerate(weights_RG, 1):
        counts = {name: weights_C[cluster_of[name]] for name in each}
        expected = sum(counts[name] * r for name, r in each.items()) / sum(counts.values())
        assert found["protein_pearson"][number] == pytest.approx(expected)
    with pytest.raises(ValueError, match="two groups"):
        bootstrap_regression(
            values_N, predicted_SN, np.arange(len(values_N)), replicates=1, seed=0,
            proteins_N=proteins_N,
        )  # fmt: skip


def test_cells_with_the_same_groups_are_paired():
    values_N, predicted_SN, groups_N = sample(8)
    options = {"replicates": 50, "seed": 1}
    one = bootstrap_regression(values_N, predicted_SN, groups_N, **options)
    same = bootstrap_regression(values_N, 3 * predicted_SN - 5, groups_N, **options)
    for name in ("pearson", "spearman", "protein_pearson", "protein_spearman"):
        np.testing.assert_allclose(one[name], same[name], atol=1e-12)
    order = np.random.default_rng(0).permutation(len(values_N))
    moved = bootstrap_regression(
        values_N[order], predicted_SN[:, order], groups_N[order], **options
    )
    for name in METRICS:
        np.testing.assert_allclose(one[name], moved[name], atol=1e-12)


def test_ranked_replicates_are_the_first_ones(monkeypatch):
    values_N, predicted_SN, groups_N = sample(9)
    whole = bootstrap_regression(values_N, predicted_SN, groups_N, replicates=20, seed=0)
    # Blocks of few rows change nothing.
    monkeypatch.setattr("protemb.regression_scores._HELD", 700)
    few = bootstrap_regression(
        values_N, predicted_SN, groups_N, replicates=20, seed=0, ranked_replicates=7
    )
    for name in METRICS:
        expected = whole[name][:8] if name == "spearman" else whole[name]
        np.testing.assert_allclose(few[name], expected, atol=1e-12)


@given(st.floats(-1e6, 1e6), st.integers(0, 20))
def test_what_is_constant_has_no_correlation(level, seed):
    values_N, predicted_SN, groups_N = sample(seed, rows=60, groups=3, seeds=2)
    flat_SN = np.full_like(predicted_SN, level)
    weights_N = np.random.default_rng(seed).random(60) + 0.1
    options = {"replicates": 3, "seed": 0, "weights_N": weights_N}
    found = bootstrap_regression(values_N, flat_SN, groups_N, **options)
    assert np.isnan(found["pearson"]).all() and np.isnan(found["spearman"]).all()
    # The proteins stay the same for all cells: such predictions rank nothing.
    assert not found["protein_pearson"].any() and not found["protein_spearman"].any()
    assert np.isfinite(found["rmse"]).all()
    found = bootstrap_regression(flat_SN[0], predicted_SN, groups_N, **options)
    for name in ("pearson", "spearman", "protein_pearson", "protein_spearman"):
        assert np.isnan(found[name]).all()


def test_a_replicate_of_one_constant_group_has_no_correlation():
    groups_N = np.repeat(["a", "b"], 12)
    values_N = np.concatenate([np.full(12, 0.1), np.arange(12) / 7])
    predicted_SN = np.random.default_rng(0).normal(size=(1, 24))
    found = bootstrap_regression(values_N, predicted_SN, groups_N, replicates=40, seed=0)
    _, weights_RG = bootstrap_weights(groups_N, replicates=40, seed=0)
    only_a = np.flatnonzero(weights_RG[:, 1] == 0) + 1
    assert len(only_a)
    for name in ("pearson", "spearman", "protein_pearson"):
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(found[name])), only_a)


def test_small_groups_are_left_out_of_the_means_over_proteins():
    values_N, predicted_SN, groups_N = sample(3)
    found = per_group_scores(values_N, predicted_SN[0], groups_N)
    assert "small" not in [score.group for score in found]
    every = per_group_scores(values_N, predicted_SN[0], groups_N, least=3)
    assert [score.group for score in every] == np.unique(groups_N).tolist()
    for group, rows, pearson, spearman, rmse in every:
        x_N, y_N = values_N[groups_N == group], predicted_SN[0][groups_N == group]
        assert rows == len(x_N)
        assert pearson == pytest.approx(pearsonr(x_N, y_N).statistic)
        assert spearman == pytest.approx(spearmanr(x_N, y_N).statistic)
        assert rmse == pytest.approx(np.sqrt(((x_N - y_N) ** 2).mean()))


def test_one_group_gives_the_value_alone():
    values_N, predicted_SN, _ = sample()
    found = bootstrap_regression(values_N, predicted_SN, np.zeros(200), replicates=9, seed=0)
    assert {len(scores_R) for scores_R in found.values()} == {1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["r2"]}, "metrics"),
        ({"predicted_SN": np.ones((2, 5))}, "predicted_SN"),
        ({"predicted_SN": np.full((1, 200), np.nan)}, "not finite"),
        ({"groups_N": np.ones(3)}, "groups_N"),
        ({"weights_N": np.full(200, -1.0)}, "weights_N"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, message):
    values_N, predicted_SN, groups_N = sample()
    arguments = {"predicted_SN": predicted_SN, "groups_N": groups_N} | change
    with pytest.raises(ValueError, match=message):
        bootstrap_regression(values_N, **arguments, replicates=1, seed=0)


@pytest.mark.slow
def test_a_grid_of_cells_takes_seconds():
    values_N, predicted_SN, groups_N = sample(rows=3400, groups=100)
    start = time.process_time()
    for shift in range(100):
        bootstrap_regression(
            values_N,
            predicted_SN + shift,
            groups_N,
            replicates=10_000,
            seed=0,
            metrics=["pearson", "rmse", "mae"],
        )
    assert time.process_time() - start < 30


def test_midranks_of_weighted_rows():
    values_P = np.array([3.0, 1.0, 3.0, 2.0])
    weights_RP = np.array([[2.0, 1.0, 1.0, 0.0], [0.0, 3.0, 1.0, 2.0]])
    ranks_RP = Order(values_P).ranks(weights_RP)
    for weights_P, ranks_P in zip(weights_RP, ranks_RP, strict=True):
        copies = np.repeat(values_P, weights_P.astype(int))
        for value, rank in zip(values_P, ranks_P, strict=True):
            if value in copies:
                below, equal = (copies < value).sum(), (copies == value).sum()
                assert rank == below + (equal + 1) / 2


def test_a_constant_column_of_odd_numbers_has_no_correlation():
    weights_RP = np.random.default_rng(0).random((50, 33))
    other_P = np.arange(33.0)
    assert np.isnan(weighted_correlation(np.full(33, 0.1), other_P, weights_RP)).all()
    assert np.isfinite(weighted_correlation(1e6 + other_P, other_P, weights_RP)).all()
