"""Search: what a loop over all pairs in float64 finds, in the order of scores and indices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from protemb.errors import ConfigError, MissingExtra
from protemb.vectors.search import METRICS, nearest, nearest_by_faiss, recall


def brute(table_ND, queries_MD, k, metric, own_M=None):
    """Best rows of each query, by Python's own sort; ties by index."""
    found, scores = [], []
    for number, query_D in enumerate(queries_MD.astype(np.float64)):
        row_scores = []
        for row_D in table_ND.astype(np.float64):
            if metric == "euclidean":
                score = np.sqrt(((query_D - row_D) ** 2).sum())
            else:
                score = (query_D * row_D).sum()
                if metric == "cosine":
                    lengths = np.sqrt((query_D**2).sum()) * np.sqrt((row_D**2).sum())
                    score = score / lengths if lengths > 0 else 0.0
            row_scores.append(score)
        sign = 1 if metric == "euclidean" else -1
        rows = [row for row in range(len(table_ND)) if own_M is None or row != own_M[number]]
        best = sorted(rows, key=lambda row: (sign * row_scores[row], row))[:k]  # noqa: B023
        found.append(best)
        scores.append([row_scores[row] for row in best])
    return np.array(found).reshape(len(queries_MD), -1), np.array(scores)


def same(found, expected, table_ND, queries_MD, metric, k):
    """Scores agree, and so do indices except where scores are the same to the last digits."""
    (indices_Mk, scores_Mk), (expected_Mk, best_Mk) = found, expected
    assert indices_Mk.shape == expected_Mk.shape
    size = (np.abs(table_ND).max(initial=0) + np.abs(queries_MD).max(initial=0)).astype(float)
    slack = 1e-13 * (size**2 if metric == "dot" else size if metric == "euclidean" else 1)
    np.testing.assert_allclose(scores_Mk, best_Mk, rtol=1e-12, atol=slack)
    differ = indices_Mk != expected_Mk
    assert all(len(set(row)) == len(row) for row in indices_Mk.tolist())
    if differ.any():
        # Only neighbours in the order whose float64 scores cannot be told apart.
        np.testing.assert_allclose(scores_Mk[differ], best_Mk[differ], rtol=1e-15, atol=slack)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
mild = st.floats(-4, 4, width=32) | st.sampled_from([0.0, 1.0, -1.0])


@st.composite
def searches(draw, values):
    D = draw(st.integers(1, 6))
    table_ND = draw(arrays(np.float32, (draw(st.integers(1, 25)), D), elements=values))
    queries_MD = draw(arrays(np.float32, (draw(st.integers(1, 6)), D), elements=values))
    return table_ND, queries_MD, draw(st.integers(1, 30)), draw(st.integers(1, 9))


@pytest.mark.parametrize("metric", METRICS)
@given(search=searches(mild) | searches(floats))
@settings(max_examples=150)
def test_equal_to_a_loop(metric, search):
    table_ND, queries_MD, k, block = search
    found = nearest(table_ND, queries_MD, k, metric, block)
    same(found, brute(table_ND, queries_MD, k, metric), table_ND, queries_MD, metric, k)


@pytest.mark.parametrize("metric", METRICS)
@given(search=searches(mild), dice=st.integers(0, 99))
@settings(max_examples=60)
def test_a_query_does_not_find_its_own_row(metric, search, dice):
    table_ND, queries_MD, k, block = search
    own_M = np.random.default_rng(dice).integers(0, len(table_ND), len(queries_MD))
    found = nearest(table_ND, queries_MD, k, metric, block, own_M=own_M)
    assert not (found[0] == own_M[:, None]).any()
    k = min(k, len(table_ND) - 1)
    same(found, brute(table_ND, queries_MD, k, metric, own_M), table_ND, queries_MD, metric, k)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_many_vectors_that_differ_little(metric, offset):
    """Products in float32 alone cannot tell these apart; many rows are given twice."""
    dice = np.random.default_rng(0)
    table_ND = (offset + 0.01 * dice.normal(size=(3000, 24))).astype(np.float32)
    table_ND[2000:] = table_ND[:1000]
    queries_MD = table_ND[900:940]
    found_Mk, scores_Mk = nearest(table_ND, queries_MD, 7, metric, 256)
    expected_Mk, best_Mk = brute(table_ND, queries_MD[:5], 7, metric)
    np.testing.assert_array_equal(found_Mk[:5], expected_Mk)
    np.testing.assert_allclose(scores_Mk[:5], best_Mk, rtol=1e-13)
    if metric != "dot":
        assert found_Mk[:, :2].tolist() == [[900 + i, 2900 + i] for i in range(40)]


@pytest.mark.parametrize("metric", METRICS)
def test_each_block_holds_a_slightly_better_row(metric):
    """Better by less than a product in float32 can show, among rows that lie far apart."""
    dice = np.random.default_rng(3)
    for _ in range(20):
        table_ND = dice.normal(size=(64, 40)).astype(np.float32)
        query_1D = dice.normal(size=(1, 40)).astype(np.float32)
        best_D = query_1D[0].copy() * np.float32(1.5)
        for row in range(7, 64, 8):
            column = int(dice.integers(40))
            toward = np.float32(np.sign(query_1D[0, column])) * np.float32(np.inf)
            best_D[column] = np.nextafter(best_D[column], toward if metric == "dot" else 0)
            table_ND[row] = best_D
        found = nearest(table_ND, query_1D, 1, metric, 8)
        same(found, brute(table_ND, query_1D, 1, metric), table_ND, query_1D, metric, 1)
        if metric != "cosine":
            assert found[0].tolist() == [[63]]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_to_scikit_learn(metric):
    dice = np.random.default_rng(1)
    table_ND, queries_MD = (dice.normal(size=(n, 12)).astype(np.float32) for n in (900, 700))
    found_Mk, scores_Mk = nearest(table_ND, queries_MD, 8, metric, 100)
    theirs = NearestNeighbors(n_neighbors=8, metric=metric, algorithm="brute")
    theirs.fit(table_ND.astype(np.float64))
    distances_Mk, expected_Mk = theirs.kneighbors(queries_MD.astype(np.float64))
    np.testing.assert_array_equal(found_Mk, expected_Mk)
    ours_Mk = 1 - scores_Mk if metric == "cosine" else scores_Mk
    np.testing.assert_allclose(ours_Mk, distances_Mk, rtol=1e-9)


def test_ties_go_to_the_smaller_index_and_blocks_change_nothing():
    table_ND = np.tile(np.eye(3, dtype=np.float32), (40, 1))
    for block in (1, 7, 64, 1000):
        found_Mk, scores_Mk = nearest(table_ND, table_ND[:1], 5, "cosine", block)
        assert found_Mk.tolist() == [[0, 3, 6, 9, 12]] and (scores_Mk == 1).all()
    assert nearest(table_ND, table_ND[:0], 5)[0].shape == (0, 5)


def test_progress_counts_queries():
    table_ND, seen = np.random.default_rng(0).normal(size=(1100, 2)).astype(np.float32), []
    nearest(table_ND, table_ND, 1, progress=seen.append)
    assert sum(seen) == 1100 and len(seen) > 1


def test_a_memory_map_will_do(tmp_path):
    table_ND = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    np.save(tmp_path / "table.npy", table_ND)
    mapped_ND = np.load(tmp_path / "table.npy", mmap_mode="r")
    for found, expected in zip(
        nearest(mapped_ND, table_ND, 3), nearest(table_ND, table_ND, 3), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_searched():
    table_ND = np.ones((4, 2), np.float32)
    with pytest.raises(ConfigError, match="metric: got 'angle', expected one of cosine"):
        nearest(table_ND, table_ND, 1, "angle")
    with pytest.raises(ConfigError, match="k: got 0"):
        nearest(table_ND, table_ND, 0)
    with pytest.raises(ValueError, match=r"got shapes \(4, 2\) and \(4, 3\)"):
        nearest(table_ND, np.ones((4, 3), np.float32), 1)
    broken_ND = table_ND.copy()
    broken_ND[2, 1] = np.nan
    with pytest.raises(ValueError, match="queries: row 2 holds"):
        nearest(table_ND, broken_ND, 1)


@pytest.mark.parametrize("metric", METRICS)
def test_faiss_finds_the_same(metric):
    dice = np.random.default_rng(2)
    table_ND, queries_MD = (dice.normal(size=(n, 16)).astype(np.float32) for n in (600, 30))
    own_M = np.arange(30)
    for own in (None, own_M):
        exact_Mk, scores_Mk = nearest(table_ND, queries_MD, 6, metric, own_M=own)
        found_Mk, near_Mk = nearest_by_faiss(table_ND, queries_MD, 6, metric, own_M=own)
        np.testing.assert_array_equal(found_Mk, exact_Mk)
        np.testing.assert_array_equal(near_Mk, scores_Mk)
        rough_Mk, _ = nearest_by_faiss(table_ND, queries_MD, 6, metric, approximate=True, own_M=own)
        assert rough_Mk.shape == exact_Mk.shape
        assert recall(rough_Mk, exact_Mk) > 0.9


def test_faiss_is_an_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    table_ND = np.ones((4, 2), np.float32)
    with pytest.raises(MissingExtra, match=r"faiss-cpu: pip install 'protemb\[faiss\]'"):
        nearest_by_faiss(table_ND, table_ND, 1)
