"""Probes, cluster indices and the spread of maps, against scikit-learn, loops and known truth."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    balanced_accuracy_score,
    davies_bouldin_score,
    pairwise_distances,
    silhouette_samples,
    silhouette_score,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protemb.analysis import separation as room
from protemb.analysis.cluster_indices import cluster_indices, permuted_labels
from protemb.analysis.maps import map_spread, tsne
from protemb.analysis.separation import separation, separation_difference
from protemb.errors import ConfigError
from protemb.intervals import bootstrap_weights, percentile_interval
from protemb.scores import classification_scores

NAMES = ("avian", "human", "swine")


def blobs(rng, sizes, apart, D=5):
    """Vectors around one centre per class, and their classes."""
    labels_N = np.repeat(np.arange(len(sizes)), sizes)
    return np.eye(len(sizes), D)[labels_N] * apart + rng.normal(size=(len(labels_N), D)), labels_N


def clusters(rng, groups, largest, apart, C=3):
    """Groups of 1 to `largest` records that lie close together; a group has one class."""
    sizes_G = rng.integers(1, largest + 1, groups)
    class_G = rng.permutation(np.arange(groups) % C)
    centres_GD = rng.normal(size=(groups, 4)) + np.eye(C, 4)[class_G] * apart
    group_of_N = np.repeat(np.arange(groups), sizes_G)
    vectors_ND = centres_GD[group_of_N] + rng.normal(scale=0.1, size=(len(group_of_N), 4))
    return vectors_ND, class_G[group_of_N], group_of_N


# ---- cluster indices -------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 6), st.integers(3, 40))
def test_values_are_scikit_learns(seed, C, D, K):
    rng = np.random.default_rng(seed)
    vectors_KD = (rng.normal(size=(K, D)) * 3 + 100).astype(np.float32)
    labels_K = rng.integers(C, size=K)
    silhouette, davies_bouldin = cluster_indices(
        vectors_KD, labels_K, np.arange(K), permutations=0, replicates=0
    )
    present = len(np.unique(labels_K))
    if present < 2:
        assert math.isnan(silhouette.interval.value) and math.isnan(davies_bouldin.interval.value)
        return
    exact_KD = vectors_KD.astype(np.float64)
    if present < K:
        expected = silhouette_score(exact_KD, labels_K)
        assert silhouette.interval.value == pytest.approx(expected, abs=1e-6)
        expected = davies_bouldin_score(exact_KD, labels_K)
        assert davies_bouldin.interval.value == pytest.approx(expected, rel=1e-6)
    assert math.isnan(silhouette.interval.low) and math.isnan(silhouette.p_value)


def resampled(group_of_N, weights_G):
    """Rows of a replicate, and which copy of its group each row is in."""
    rows = [(row, copy) for row, group in enumerate(group_of_N) for copy in range(weights_G[group])]
    return np.array(rows).T


def silhouette_of_copies(vectors_ND, labels_N, group_of_N, weights_G):
    """scikit-learn's silhouette of each row, among rows without other copies of its group."""
    rows, copies = resampled(group_of_N, weights_G)
    scores = []
    for row, copy in zip(rows, copies, strict=True):
        kept = (group_of_N[rows] != group_of_N[row]) | (copies == copy)
        seen, at = rows[kept], np.flatnonzero(rows[kept] == row)[0]
        scores.append(silhouette_samples(vectors_ND[seen], labels_N[seen])[at])
    return np.mean(scores)


def test_intervals_are_of_resampled_rows():
    vectors_ND, labels_N, groups_N = clusters(np.random.default_rng(5), 18, 3, 1.5)
    labels_N[3] = (labels_N[3] + 1) % 3  # a group with two classes
    assert len(np.unique(labels_N[groups_N == groups_N[3]])) == 2
    silhouette, davies_bouldin = cluster_indices(
        vectors_ND, labels_N, groups_N, permutations=0, replicates=25, seed=4
    )
    group_of_N, weights_RG = bootstrap_weights(groups_N, replicates=25, seed=4)
    expected = [
        silhouette_of_copies(vectors_ND, labels_N, group_of_N, weights_G)
        for weights_G in weights_RG
    ]
    expected = percentile_interval(silhouette_score(vectors_ND, labels_N), np.array(expected))
    assert silhouette.interval.as_dict() == pytest.approx(expected.as_dict(), abs=1e-9)
    chosen = [resampled(group_of_N, weights_G)[0] for weights_G in weights_RG]
    value = davies_bouldin_score(vectors_ND, labels_N)
    drawn = np.array([davies_bouldin_score(vectors_ND[rows], labels_N[rows]) for rows in chosen])
    expected = percentile_interval(value, drawn * value / np.median(drawn))
    assert davies_bouldin.interval.as_dict() == pytest.approx(expected.as_dict(), rel=1e-7)


def test_the_null_is_of_permuted_labels():
    vectors_ND, labels_N, groups_N = clusters(np.random.default_rng(2), 20, 4, 1)
    found = cluster_indices(vectors_ND, labels_N, groups_N, permutations=70, replicates=0, seed=3)
    labels_NR = permuted_labels(labels_N, groups_N, 70, np.random.default_rng(3))
    for index, score, sign in zip(
        found, (silhouette_score, davies_bouldin_score), (1, -1), strict=True
    ):
        null_R = np.array([score(vectors_ND, labels_N) for labels_N in labels_NR.T])
        expected = np.quantile(null_R, [0.025, 0.975])
        np.testing.assert_allclose([index.null_low, index.null_high], expected, rtol=1e-7)
        reached = (sign * null_R >= sign * score(vectors_ND, labels_N)).sum()
        assert index.p_value == pytest.approx((1 + reached) / 71)


def test_a_permutation_moves_the_labels_of_whole_groups():
    rng = np.random.default_rng(0)
    _, labels_N, groups_N = clusters(rng, 30, 5, 0)
    groups_N = rng.permutation(30)[groups_N]  # codes in another order than the rows
    labels_NR = permuted_labels(labels_N, groups_N, 400, rng)
    class_G = np.array([labels_N[groups_N == group][0] for group in range(30)])
    moved_GR = np.array([labels_NR[groups_N == group][0] for group in range(30)])
    np.testing.assert_array_equal(labels_NR, moved_GR[groups_N])  # one class in each group still
    assert (np.sort(moved_GR, 0) == np.sort(class_G)[:, None]).all()
    shares_G = (moved_GR == 0).mean(1)  # every group gets every class as often
    assert abs(shares_G - (class_G == 0).mean()).max() < 0.12
    # Two classes in a group arrive in their proportion, in a larger group or a smaller one.
    labels_N = np.array([7, 7, 9, 7, 7, 9, 5, 5, 8])
    labels_NR = permuted_labels(labels_N, np.arange(9) // 6, 50, rng)
    swapped = (5, 5, 8, 5, 5, 8, 7, 7, 9)
    assert set(map(tuple, labels_NR.T.tolist())) == {tuple(labels_N.tolist()), swapped}


def p_values(sets, *, grouped):
    return np.array(
        [
            [
                index.p_value
                for index in cluster_indices(
                    *(vectors_ND, labels_N, groups_N if grouped else np.arange(len(labels_N))),
                    permutations=99,
                    replicates=0,
                )
            ]
            for vectors_ND, labels_N, groups_N in sets
        ]
    )


def test_false_positives_are_rare_if_groups_move_whole():
    """Classes that have nothing to do with places, in tight groups of one class each."""
    sets = [clusters(np.random.default_rng(seed), 24, 6, 0) for seed in range(200)]
    shares_2 = (p_values(sets, grouped=True) <= 0.05).mean(0)
    assert (shares_2 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 200)).all()
    assert ((p_values(sets[:60], grouped=False) <= 0.05).mean(0) > 0.3).all()
    apart = [clusters(np.random.default_rng(seed), 24, 6, 3) for seed in range(20)]
    assert (p_values(apart, grouped=True) <= 0.05).mean() > 0.95


@pytest.mark.parametrize("apart", [2, 6])
def test_intervals_cover_the_truth(apart):
    truth = (
        silhouette_score(*blobs(np.random.default_rng(0), (1000,) * 3, apart)),
        (davies_bouldin_score(*blobs(np.random.default_rng(0), (5000,) * 3, apart))),
    )
    rng, hits, bias = np.random.default_rng(1), [], []
    for _ in range(120):
        # As in a bootstrap, the number of records per class varies from draw to draw.
        sizes = np.bincount(rng.integers(3, size=60), minlength=3)
        vectors_ND, labels_N = blobs(rng, sizes, apart)
        found = cluster_indices(vectors_ND, labels_N, np.arange(60), permutations=0, replicates=200)
        hits.append(
            [i.interval.low <= t <= i.interval.high for i, t in zip(found, truth, strict=True)]
        )
        middle = (found[0].interval.low + found[0].interval.high) / 2
        bias.append(middle - found[0].interval.value)
    assert (abs(np.mean(hits, 0) - 0.95) < 0.05).all()
    # Were copies seen, replicates would be 0.02 to 0.05 higher than the data.
    assert abs(np.mean(bias)) < 0.01


def test_where_an_index_is_undefined():
    rng = np.random.default_rng(0)
    labels_N = np.arange(30) % 3
    flat, davies_bouldin = cluster_indices(np.full((30, 4), 0.1), labels_N, np.arange(30))
    assert flat.interval.value == 0 and flat.p_value == 1  # as in scikit-learn
    assert math.isnan(davies_bouldin.interval.value) and math.isnan(davies_bouldin.p_value)
    assert set(davies_bouldin.as_dict().values()) == {None}
    # Two classes with one centroid are as near as can be; scikit-learn would call that perfect.
    cross_ND = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [9, 9], [9, 8]], float)
    found = cluster_indices(cross_ND, np.array([0, 0, 1, 1, 2, 2]), np.arange(6), permutations=9)
    assert math.isnan(found[1].interval.value) and not math.isnan(found[0].interval.value)
    # Also where the centroids differ by rounding alone.
    column_N1 = np.array([[0.1]] * 2 + [[0.3]] * 10)
    found = cluster_indices(column_N1, np.array([0] * 2 + [1] * 3 + [2] * 7), np.arange(12))
    assert math.isnan(found[1].interval.value) and found[0].interval.value < 1
    # One group cannot be resampled, and its labels cannot move: nothing is claimed.
    one = cluster_indices(rng.normal(size=(30, 4)) + labels_N[:, None], labels_N, np.zeros(30))
    assert all(math.isnan(index.interval.low) and index.p_value == 1 for index in one)
    single = cluster_indices(rng.normal(size=(30, 4)), np.zeros(30, int), np.arange(30))
    assert all(math.isnan(index.interval.value) for index in single)


# ---- probes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    vectors_ND, labels_N = blobs(rng, (150, 90, 30), 2.5, D=6)
    vectors_ND = (vectors_ND * np.array([1, 10, 0.1, 1, 1, 100]) + 5).astype(np.float32)
    order = rng.permutation(270)
    return vectors_ND, labels_N, np.sort(order[:180]), order[180:260], np.arange(270) // 2


def quick(vectors_ND, labels_N, train, test, groups_N, names=NAMES, **options):
    options = {"permutations": 19, "replicates": 100} | options
    return separation(vectors_ND, labels_N, train, test, groups_N, names, **options)


def test_nearest_neighbours_are_scikit_learns(data):
    vectors_ND, labels_N, train, test, groups_N = data
    oracle = make_pipeline(StandardScaler(), KNeighborsClassifier(7))
    oracle.fit(vectors_ND[train].astype(float), labels_N[train])
    found = quick(*data, neighbours=7)
    expected = oracle.predict_proba(vectors_ND[test].astype(float))
    np.testing.assert_allclose(found.predictions["knn"], expected, atol=1e-12)
    expected = balanced_accuracy_score(labels_N[test], expected.argmax(1))
    assert found.knn.value == pytest.approx(expected) and expected > 0.7


def test_the_linear_probe_is_scikit_learns(data):
    vectors_ND, labels_N, train, test, groups_N = data
    found = quick(*data)
    oracle = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=found.facts["strength"], class_weight="balanced", tol=1e-8),
    )
    oracle.fit(vectors_ND[train].astype(float), labels_N[train])
    expected = oracle.predict_proba(vectors_ND[test].astype(float))
    np.testing.assert_allclose(found.predictions["linear"], expected, atol=0.01)
    assert found.linear.value > 0.7


def test_scores_are_those_of_the_predictions(data):
    _, labels_N, _, test, groups_N = data
    found = quick(*data, seed=3)
    for probe in ("knn", "linear"):
        expected = classification_scores(
            labels_N[test], found.predictions[probe], groups_N[test], NAMES, replicates=100, seed=3
        )
        assert getattr(found, probe) == expected["balanced_accuracy"]


def test_only_the_training_part_is_fitted(data):
    vectors_ND, labels_N, train, test, groups_N = data
    found = quick(*data)
    others = np.setdiff1d(np.arange(len(labels_N)), train)
    changed_ND, changed_N = vectors_ND.copy(), labels_N.copy()
    changed_ND[np.setdiff1d(others, test)] = np.nan
    changed_ND[test[1:]] *= 1000
    changed_N[test] = 0
    again = quick(changed_ND, changed_N, train, test, groups_N)
    for probe, probabilities_MC in found.predictions.items():
        np.testing.assert_allclose(again.predictions[probe][0], probabilities_MC[0], atol=1e-12)
    assert again.facts["strength"] == found.facts["strength"]


def test_the_strength_is_chosen_by_whole_groups(data, monkeypatch):
    _, labels_N, train, test, groups_N = data
    calls = []
    regress = room._regress

    def spy(fit_TD, labels_T, ask_MD, *rest):
        calls.append((set(fit_TD[:, 0].round(9)), set(ask_MD[:, 0].round(9))))
        return regress(fit_TD, labels_T, ask_MD, *rest)

    monkeypatch.setattr(room, "_regress", spy)
    quick(groups_N[:, None].astype(float), labels_N, train, test, groups_N)
    *folds, last = calls
    assert len(folds) == 3 and not any(fitted & asked for fitted, asked in folds)
    assert set.union(*(asked for _, asked in folds)) == last[0]
    calls.clear()
    # One group in training: no folds, and the most regularised strength.
    found = quick(groups_N[:, None].astype(float), labels_N, train, test, np.zeros(270))
    assert len(calls) == 1 and found.facts["strength"] == min(room.STRENGTHS)


def test_the_strength_fits_the_data():
    """A small difference between two large features asks for large weights, noise for small."""
    rng = np.random.default_rng(0)
    labels_N = rng.integers(2, size=150)
    large_N = rng.normal(size=150)
    small_N = 0.3 * labels_N + rng.normal(scale=0.05, size=150)
    rest = np.arange(90), np.arange(90, 150), np.arange(150), ("a", "b")
    fine = quick(np.column_stack([large_N, large_N + small_N]), labels_N, *rest)
    noisy = quick(rng.normal(size=(150, 60)) + 0.2 * labels_N[:, None], labels_N, *rest)
    assert fine.facts["strength"] == 10 and fine.linear.value > 0.95
    assert noisy.facts["strength"] <= 0.1


def test_no_signal_is_no_claim():
    inside = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels_N = rng.integers(3, size=240)
        found = quick(
            rng.normal(size=(240, 5)), labels_N, np.arange(160), np.arange(160, 240), np.arange(240)
        )
        assert found.chance == 1 / 3
        inside += [p.low <= found.chance <= p.high for p in (found.knn, found.linear)]
    assert np.mean(inside) > 0.85


def test_absent_classes_are_named(data):
    vectors_ND, labels_N, train, test, groups_N = data
    names = (*NAMES, "equine")
    found = quick(
        *(vectors_ND, labels_N, train[labels_N[train] != 2], test[labels_N[test] != 0]),
        *(groups_N, names),
    )
    assert found.facts["absent_from_train"] == ["swine", "equine"]
    assert found.facts["absent_from_test"] == ["avian", "equine"]
    assert found.chance == 1 / 2 and found.knn.value < 0.51
    assert all((p[:, 2:] == 0).all() for p in found.predictions.values())
    one = quick(vectors_ND, labels_N, train[labels_N[train] == 1], test, groups_N)
    for probabilities_MC in one.predictions.values():
        assert (probabilities_MC == [0, 1, 0]).all()
    assert one.linear.value == one.knn.value == one.chance


def test_rare_classes_are_not_thinned(data, monkeypatch):
    vectors_ND, labels_N, train, test, groups_N = data
    sizes = np.bincount(labels_N[train])
    seen = []
    regress = room._regress

    def spy(fit_TD, labels_T, *rest):
        seen.append(np.bincount(labels_T).tolist())
        return regress(fit_TD, labels_T, *rest)

    monkeypatch.setattr(room, "PROBE_RECORDS", 101)
    monkeypatch.setattr(room, "INDEX_RECORDS", 50)
    monkeypatch.setattr(room, "_regress", spy)
    found = quick(*data)
    rest = (101 - sizes[2]) // 2
    assert seen[-1] == [rest, rest, sizes[2]] and rest < sizes[1]
    assert found.facts["linear_train_records"] == 2 * rest + sizes[2]
    assert found.facts["index_records"] == 50 and found.facts["test_records"] == 80
    monkeypatch.setattr(room, "PROBE_RECORDS", 2)
    assert quick(*data).facts["linear_train_records"] == 3  # one of each class at least


def test_indices_are_of_the_test_part_unscaled(data):
    vectors_ND, labels_N, _, test, _ = data
    found, exact_MD = quick(*data), vectors_ND[test].astype(float)
    expected = silhouette_score(exact_MD, labels_N[test])
    assert found.silhouette.interval.value == pytest.approx(expected, abs=1e-9)
    expected = davies_bouldin_score(exact_MD, labels_N[test])
    assert found.davies_bouldin.interval.value == pytest.approx(expected, rel=1e-6)


def test_results_go_into_json_and_repeat(data):
    first, again, other = (quick(*data, seed=seed) for seed in (1, 1, 2))
    text = json.dumps(first.as_dict(), allow_nan=False)
    assert text == json.dumps(again.as_dict()) != json.dumps(other.as_dict())
    assert first.as_dict()["test_records"] == 80 and first.as_dict()["seed"] == 1
    vectors_ND, labels_N, train, test, groups_N = data
    flat = quick(np.zeros_like(vectors_ND), labels_N, train, test, groups_N)
    json.dumps(flat.as_dict(), allow_nan=False)
    assert flat.knn.value == flat.linear.value == pytest.approx(1 / 3)


def test_differences_are_paired(data):
    vectors_ND, labels_N, train, test, groups_N = data
    good = quick(*data)
    noise_ND = np.random.default_rng(1).normal(size=vectors_ND.shape)
    noise = quick(noise_ND, labels_N, train, test, groups_N)
    found = separation_difference(good, noise, replicates=200)
    assert set(found) == {"knn", "linear"}
    assert found["knn"].value == pytest.approx(good.knn.value - noise.knn.value)
    assert found["linear"].low > 0.2
    same = separation_difference(good, good)["linear"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="different test records"):
        separation_difference(good, quick(vectors_ND, labels_N, train, test[::-1], groups_N))


def test_bad_arrays_are_refused(data):
    vectors_ND, labels_N, train, test, groups_N = data
    with pytest.raises(ValueError, match="expected equally many"):
        quick(vectors_ND[:-1], labels_N, train, test, groups_N)
    for parts in ((train, train), (train, test[:0]), (train[:0], test)):
        with pytest.raises(ValueError, match="records in both, and none of them in common"):
            quick(vectors_ND, labels_N, *parts, groups_N)
    broken_ND = vectors_ND.copy()
    broken_ND[test[2]] = np.inf
    with pytest.raises(ConfigError, match="1 with NaN or infinity"):
        quick(broken_ND, labels_N, train, test, groups_N)


# ---- spread of maps --------------------------------------------------------------------------


def test_spread_of_maps():
    vectors_ND, labels_N = blobs(np.random.default_rng(3), (60, 40, 20), 12, D=8)
    names_N = np.array(NAMES)[labels_N]
    found = map_spread(vectors_ND, names_N, seeds=(5, 6), sample=90, perplexity=10)
    assert [drawn.seed for drawn in found.maps] == [5, 6]
    alone = tsne(vectors_ND, seed=6, sample=90, stratify=names_N, perplexity=10)
    np.testing.assert_array_equal(found.maps[1].points_M2, alone.points_M2)
    trust = [drawn.trustworthiness for drawn in found.maps]
    assert found.trustworthiness.mean == pytest.approx(np.mean(trust))
    assert (found.trustworthiness.low, found.trustworthiness.high) == (min(trust), max(trust))
    assert found.trustworthiness.deviation == pytest.approx(np.std(trust, ddof=1))
    scores = {"map": [], "original": []}
    for drawn in found.maps:
        places = {"map": drawn.points_M2, "original": vectors_ND[drawn.indices_M]}
        for space, places_MD in places.items():
            scores[space].append(silhouette_score(places_MD, names_N[drawn.indices_M]))
    for space in scores:
        assert found.silhouette[space].mean == pytest.approx(np.mean(scores[space]))
        assert found.purity[space].low == 1  # the classes are far apart
    json.dumps(found.as_dict(), allow_nan=False)


def test_purity_is_a_mean_over_classes_of_distinct_vectors():
    rng = np.random.default_rng(0)
    vectors_ND, labels_N = blobs(rng, (50, 30, 6), 1, D=3)
    # Copies of a vector are no neighbours of each other.
    copies = np.concatenate([np.arange(86), rng.integers(86, size=60)])
    found = map_spread(vectors_ND[copies], labels_N[copies], seeds=(0,))
    distances_NN = pairwise_distances(vectors_ND)
    np.fill_diagonal(distances_NN, np.inf)
    near_NK = np.argsort(distances_NN, 1)[:, :12]
    share_N = (labels_N[near_NK] == labels_N[:, None]).mean(1)
    expected = np.mean([share_N[labels_N == c].mean() for c in range(3)])
    assert found.purity["original"].mean == pytest.approx(expected)
    assert found.chance.mean == pytest.approx((49 + 29 + 5) / 85 / 3)
    assert math.isnan(found.purity["map"].deviation)
    assert found.silhouette["original"].mean == pytest.approx(
        silhouette_score(vectors_ND, labels_N)
    )


def test_labels_without_a_place_are_at_chance():
    rng = np.random.default_rng(1)
    found = map_spread(rng.normal(size=(300, 5)), rng.integers(3, size=300), seeds=(0, 1))
    assert found.purity["map"].mean == pytest.approx(found.chance.mean, abs=0.05)


@pytest.mark.parametrize("N", [1, 2, 3, 13])
def test_spread_of_few(N):
    found = map_spread(np.random.default_rng(0).normal(size=(N, 3)), np.arange(N) % 2, seeds=(0,))
    json.dumps(found.as_dict(), allow_nan=False)
    assert math.isnan(found.trustworthiness.mean) == (N < 3)
