"""Cells are chosen where they are not scored: leaks, luck and every strategy by another way."""

import math
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protemb.variants.ensembles import SIZES, STRATEGIES, choose, ensembles, pearson


def names_of(V):
    return [f"cell {v:03}" for v in range(V)]


def make_grid(seed, F=5, N=200, signal=(0.0,) * 8, shared=0.0, groups=20):
    """Predictions of cells with a given r to the values; inner models are a little different."""
    rng = np.random.default_rng(seed)
    groups_N = rng.integers(groups, size=N)
    fold_N = np.concatenate([np.arange(F), rng.integers(F, size=N - F)])
    values_N = rng.normal(size=N)
    common_N = rng.normal(size=N)
    r_V1 = np.array(signal)[:, None]
    noise_VN = math.sqrt(shared) * common_N
    noise_VN = noise_VN + math.sqrt(1 - shared) * rng.normal(size=(len(signal), N))
    outer_VN = r_V1 * values_N + np.sqrt(1 - r_V1**2) * noise_VN
    inner_FVN = outer_VN + 0.1 * rng.normal(size=(F, len(signal), N))
    inner_FVN = np.where((fold_N == np.arange(F)[:, None])[:, None], np.nan, inner_FVN)
    return inner_FVN, outer_VN, fold_N, values_N, groups_N, names_of(len(signal))


def chosen(grid, **options):
    inner, outer, fold, values, _, names = grid
    return choose(inner, outer, fold, values, names, **options)


# ---- scores ----------------------------------------------------------------------------------


def test_pearson_is_numpys():
    rng = np.random.default_rng(0)
    predictions_VN, values_N = rng.normal(size=(6, 40)) + 1e4, rng.normal(size=40)
    expected = [np.corrcoef(row, values_N)[0, 1] for row in predictions_VN]
    np.testing.assert_allclose(pearson(predictions_VN, values_N), expected, rtol=1e-9)
    assert np.isnan(pearson(np.full((1, 40), 0.1), values_N)).all()
    assert np.isnan(pearson(predictions_VN, np.full(40, 0.1))).all()
    assert np.isnan(pearson(predictions_VN[:, :1], values_N[:1])).all()


# ---- choosing --------------------------------------------------------------------------------


def strategies(grid):
    inner_FVN, outer_VN, fold_N, values_N, _, names = grid
    return ensembles(inner_FVN, outer_VN, fold_N, values_N, names)


def score(ensemble, values_N):
    return np.corrcoef(ensemble.predictions_N, values_N)[0, 1]


def test_choice_is_that_of_a_loop():
    grid = make_grid(1, signal=(0.3, 0.31, 0.29, 0.3, 0.1))
    inner_FVN, outer_VN, fold_N, values_N, _, names = grid
    found = chosen(grid)
    for fold in range(5):
        out_N = fold_N != fold
        scores = [np.corrcoef(row[out_N], values_N[out_N])[0, 1] for row in inner_FVN[fold]]
        cell = int(np.argmax(scores))
        assert found.names_F[fold] == names[cell]
        np.testing.assert_array_equal(found.predictions_N[~out_N], outer_VN[cell, ~out_N])
        assert found.choosing_F[fold] == pytest.approx(scores[cell])
        untouched = np.corrcoef(outer_VN[cell, ~out_N], values_N[~out_N])[0, 1]
        assert found.untouched_F[fold] == pytest.approx(untouched)
    assert found.honest == pytest.approx(np.corrcoef(found.predictions_N, values_N)[0, 1])
    pooled = [np.corrcoef(row, values_N)[0, 1] for row in outer_VN]
    assert (found.naive_name, found.naive) == (names[np.argmax(pooled)], pytest.approx(max(pooled)))
    assert found.choosing == pytest.approx(np.mean(found.choosing_F))


def test_one_good_cell_is_found_among_95_of_noise():
    found = chosen(make_grid(3, N=600, signal=(0.0,) * 40 + (0.45,) + (0.0,) * 55))
    assert set(found.names_F) == {"cell 040"} and found.honest == pytest.approx(0.45, abs=0.08)


def test_the_winners_curse_shows_and_the_honest_score_has_none():
    """96 cells of pure noise, 200 tables: the true r of whatever is chosen is 0."""
    choices = [chosen(make_grid(seed, N=150, signal=(0.0,) * 96)) for seed in range(200)]
    honest = np.array([choice.honest for choice in choices])
    error = honest.std(ddof=1) / math.sqrt(len(honest))
    assert abs(honest.mean()) < 3.5 * error < 0.05
    for optimistic in ([c.naive for c in choices], [c.choosing for c in choices]):
        # The largest of 96 correlations of 150 rows: about 2.5 standard errors of 1/sqrt(150).
        assert np.mean(optimistic) == pytest.approx(2.5 / math.sqrt(150), rel=0.25)
    untouched = np.array([choice.untouched_F.mean() for choice in choices])
    assert abs(untouched.mean()) < 3.5 * untouched.std(ddof=1) / math.sqrt(200)


def test_the_honest_score_of_equal_cells_is_theirs():
    """Every cell has r = 0.3: choosing gains nothing, and only the honest score says so."""
    choices = [chosen(make_grid(seed, N=150, signal=(0.3,) * 96)) for seed in range(40)]
    honest = np.array([choice.honest for choice in choices])
    assert abs(honest.mean() - 0.3) < 3.5 * honest.std(ddof=1) / math.sqrt(40)
    assert np.mean([choice.naive for choice in choices]) > 0.42


# ---- every strategy --------------------------------------------------------------------------


@settings(max_examples=50)
@given(seed=st.integers(0, 2**16), fold=st.integers(0, 3), size=st.floats(0.1, 100))
def test_a_folds_values_change_none_of_its_predictions(seed, fold, size):
    """Nor do the inner predictions for its rows, which models made that its values trained."""
    grid = make_grid(seed, F=4, N=40, signal=(0.4, 0.3, 0.0, 0.2))
    inner_FVN, outer_VN, fold_N, values_N, groups_N, names = grid
    rng = np.random.default_rng(seed)
    here_N = fold_N == fold
    other_N = np.where(here_N, size * rng.normal(size=40), values_N)
    other_FVN = inner_FVN + rng.normal(size=inner_FVN.shape)
    other_FVN[fold] = inner_FVN[fold]
    others = (other_FVN, outer_VN, fold_N, other_N)
    before, after = chosen(grid), choose(*others, names)
    np.testing.assert_array_equal(before.predictions_N[here_N], after.predictions_N[here_N])
    before_S = strategies(grid)
    after_S = ensembles(*others, names)
    for name, ensemble in before_S.items():
        was, now = ensemble.predictions_N[here_N], after_S[name].predictions_N[here_N]
        np.testing.assert_array_equal(was, now)
        assert ensemble.members_F[fold] == after_S[name].members_F[fold]


def outside(grid, fold):
    """What a strategy sees for a fold, and the outer predictions of the fold."""
    inner_FVN, outer_VN, fold_N, values_N, *_ = grid
    out_N = fold_N != fold
    return inner_FVN[fold][:, out_N], values_N[out_N], fold_N[out_N], outer_VN[:, ~out_N], ~out_N


@pytest.fixture(scope="module")
def mixed():
    """Twelve cells of all kinds, one of them constant, one the copy of another."""
    grid = make_grid(11, N=300, signal=(0.5, 0.45, 0.4, 0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0, 0))
    grid[0][:, 11], grid[1][11] = np.where(np.isnan(grid[0][:, 11]), np.nan, 0.1), 0.1
    grid[0][:, 10], grid[1][10] = grid[0][:, 9], grid[1][9]
    return grid, strategies(grid)


def test_best_is_the_choice(mixed):
    grid, found = mixed
    choice = chosen(grid)
    np.testing.assert_array_equal(found["best"].predictions_N, choice.predictions_N)
    assert found["best"].members_F == tuple({name: 1.0} for name in choice.names_F)
    np.testing.assert_array_equal(found["best"].choosing_F, choice.choosing_F)
    np.testing.assert_array_equal(found["best"].untouched_F, choice.untouched_F)


def test_the_stack_is_sklearns(mixed):
    grid, found = mixed
    for fold in range(5):
        inner_VM, values_M, _, outer_VM, here_N = outside(grid, fold)
        model = make_pipeline(StandardScaler(), LinearRegression(positive=True))
        expected = model.fit(inner_VM.T, values_M).predict(outer_VM.T)
        predictions = found["stack"].predictions_N[here_N]
        np.testing.assert_allclose(predictions, expected, rtol=1e-9, atol=1e-12)
        # And non-negative least squares on centred predictions, which are not standardised.
        means_V = inner_VM.mean(1)
        weights_V, _ = nnls((inner_VM.T - means_V), values_M - values_M.mean())
        by_hand = values_M.mean() + (outer_VM.T - means_V) @ weights_V
        np.testing.assert_allclose(predictions, by_hand, rtol=1e-6, atol=1e-8)
        members = found["stack"].members_F[fold]
        assert min(members.values()) > 0 and "cell 011" not in members


def test_the_pair_is_the_best_of_all_pairs(mixed):
    grid, found = mixed
    for fold in range(5):
        inner_VM, values_M, _, outer_VM, here_N = outside(grid, fold)
        scores = {
            pair: np.corrcoef(inner_VM[list(pair)].mean(0), values_M)[0, 1]
            for pair in combinations(range(12), 2)
        }
        pair = list(max(scores, key=scores.get))
        assert list(found["pair"].members_F[fold]) == [grid[-1][cell] for cell in pair]
        expected = outer_VM[pair].mean(0)
        np.testing.assert_allclose(found["pair"].predictions_N[here_N], expected, rtol=1e-12)
        corr = np.corrcoef(np.vstack([inner_VM[pair], values_M]))
        facts = found["pair"].facts_F[fold]
        assert facts == pytest.approx(
            {
                "first": corr[0, 2],
                "second": corr[1, 2],
                "correlation": corr[0, 1],
                "mean": scores[tuple(pair)],
            }
        )
        assert found["pair"].choosing_F[fold] == pytest.approx(facts["mean"])


def test_a_pair_need_not_be_the_two_best():
    """Two good cells that are the same are worth less than one of them and a different one."""
    grid = make_grid(5, N=2000, signal=(0.5, 0.5, 0.42))
    for array in (grid[0].swapaxes(0, 1), grid[1]):
        array[1] = array[0] + 0.01 * np.random.default_rng(0).normal(size=array[0].shape)
    for members in strategies(grid)["pair"].members_F:
        assert "cell 002" in members


@pytest.mark.parametrize("seed", range(12))
def test_average_of_best(seed):
    """By a loop; weak cells, so that it matters which rows rank them."""
    grid = make_grid(seed, N=120, signal=(0.3, 0.2, 0.1) + (0.0,) * 12)
    ensemble = strategies(grid)["average_of_best"]
    for fold in range(5):
        inner_VM, values_M, fold_M, outer_VM, here_N = outside(grid, fold)

        def ranked(inner, values):
            return np.argsort([np.corrcoef(row, values)[0, 1] for row in inner])[::-1]

        joined = {k: np.empty(len(values_M)) for k in SIZES}
        for other in set(fold_M.tolist()):
            rest_M = fold_M != other
            order = ranked(inner_VM[:, rest_M], values_M[rest_M])
            for k, joined_M in joined.items():
                joined_M[~rest_M] = inner_VM[order[:k]].mean(0)[~rest_M]
        scores = {k: np.corrcoef(joined_M, values_M)[0, 1] for k, joined_M in joined.items()}
        best = max(scores, key=scores.get)
        assert ensemble.facts_F[fold] == {"k": best}
        expected = outer_VM[ranked(inner_VM, values_M)[:best]].mean(0)
        np.testing.assert_allclose(ensemble.predictions_N[here_N], expected, rtol=1e-9, atol=1e-12)
        assert set(ensemble.members_F[fold].values()) == {1 / best}


def test_average_of_all(mixed):
    grid, found = mixed
    ensemble = found["average_of_all"]
    np.testing.assert_allclose(ensemble.predictions_N, grid[1].mean(0), rtol=1e-9, atol=1e-12)
    assert all(list(members) == grid[-1] for members in ensemble.members_F)


@pytest.mark.parametrize("name", STRATEGIES)
def test_scores_are_those_of_the_predictions(name, mixed):
    grid, found = mixed
    values_N, fold_N, ensemble = grid[3], grid[2], found[name]
    for fold, score in enumerate(ensemble.untouched_F):
        here_N = fold_N == fold
        expected = np.corrcoef(ensemble.predictions_N[here_N], values_N[here_N])[0, 1]
        assert score == pytest.approx(expected)


def test_independent_errors_make_ensembles_better_than_the_best():
    """Ten cells of r = 0.3 whose errors are independent: their mean has r = 0.70."""
    grid = make_grid(8, N=800, signal=(0.3,) * 10, groups=60)
    found, values_N = strategies(grid), grid[3]
    expected = 0.3 * 10 / math.sqrt(10 + 90 * 0.3**2)
    for name in ("average_of_all", "average_of_best", "stack"):
        assert score(found[name], values_N) == pytest.approx(expected, abs=0.08)
    ranked = [score(found[name], values_N) for name in ("best", "pair", "average_of_all")]
    assert ranked == sorted(ranked)


def test_noise_stays_noise():
    grids = [make_grid(seed, N=120, signal=(0.0,) * 30) for seed in range(40)]
    found = [strategies(grid) for grid in grids]
    for name in STRATEGIES:
        scores = np.array(
            [score(one[name], grid[3]) for one, grid in zip(found, grids, strict=True)]
        )
        assert abs(np.nanmean(scores)) < 3.5 * np.nanstd(scores, ddof=1) / math.sqrt(40)
        if name != "average_of_all":  # where nothing is chosen there is no curse
            assert np.mean([one[name].choosing_F.mean() for one in found]) > 0.12


# ---- the edges -------------------------------------------------------------------------------


def test_cells_that_say_nothing():
    inner, outer, fold, values, _, names = make_grid(4, signal=(0.0, 0.0))
    inner, outer = np.where(np.isnan(inner), np.nan, 0.1), np.full_like(outer, 0.1)
    for ensemble in ensembles(inner, outer, fold, values, names).values():
        assert np.isfinite(ensemble.predictions_N).all()
    assert math.isnan(choose(inner, outer, fold, values, names).honest)


def test_one_cell_is_every_average():
    grid = make_grid(4, signal=(0.5,))
    found = strategies(grid)
    for name in set(STRATEGIES) - {"stack"}:
        np.testing.assert_array_equal(found[name].predictions_N, grid[1][0])


def test_a_row_of_weight_two_is_a_row_twice():
    """Where nothing is drawn, weights and repeated rows are the same thing."""
    inner, outer, fold, values, _, names = make_grid(6, N=60, signal=(0.4, 0.3, 0.2))
    twice = np.random.default_rng(0).integers(1, 3, len(values))
    by_weight = ensembles(inner, outer, fold, values, names, weights_N=twice.astype(float))
    rows = np.repeat(np.arange(len(values)), twice)
    repeated = ensembles(inner[:, :, rows], outer[:, rows], fold[rows], values[rows], names)
    for name in STRATEGIES:
        np.testing.assert_allclose(
            by_weight[name].predictions_N[rows], repeated[name].predictions_N, rtol=1e-6, atol=1e-9
        )
        np.testing.assert_allclose(by_weight[name].choosing_F, repeated[name].choosing_F, rtol=1e-9)


@pytest.mark.parametrize(
    ("place", "change", "problem"),
    [
        (1, lambda x: x[:-1], "cells and"),
        (2, lambda x: x[:-1], "cells and"),
        (5, lambda x: [x[0]] * len(x), "names that come twice"),
        (2, lambda x: x + 1, "fold_N: expected 0 to 4"),
        (1, lambda x: np.where(x > x.max() - 1e-9, np.nan, x), "not finite"),
        (3, lambda x: np.where(x > x.max() - 1e-9, np.inf, x), "not finite"),
        (0, lambda x: np.where(x >= np.nanmax(x), np.nan, x), "not finite"),
    ],
)
def test_arrays_that_do_not_fit(place, change, problem):
    grid = list(make_grid(7))
    grid[place] = change(grid[place])
    with pytest.raises(ValueError, match=problem):
        strategies(grid)
    with pytest.raises(ValueError, match=problem):
        chosen(grid)


def test_two_folds_leave_nothing_to_choose_on():
    with pytest.raises(ValueError, match="three or more"):
        chosen(make_grid(7, F=2))


@pytest.mark.slow
def test_a_whole_grid_takes_seconds():
    grid = make_grid(9, F=10, N=3404, signal=tuple(np.linspace(0, 0.4, 150)), shared=0.7)
    start = time.perf_counter()
    chosen(grid)
    strategies(grid)
    assert time.perf_counter() - start < 60
