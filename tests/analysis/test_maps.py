"""Maps: the same seed gives the same points, duplicates share one, small inputs still work."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_score

from protemb.analysis.maps import pca, tsne
from protemb.errors import ConfigError


@pytest.fixture(scope="module")
def blobs():
    """Vectors in three far groups, and their groups."""
    rng = np.random.default_rng(0)
    labels_N = np.repeat(["avian", "human", "swine"], 30)
    centres = np.repeat(rng.normal(size=(3, 16)) * 10, 30, axis=0)
    return (centres + rng.normal(size=(90, 16))).astype(np.float32), labels_N


@pytest.mark.parametrize("shape", [(40, 7), (6, 30), (3, 2), (90, 90)])
def test_pca_is_scikit_learns(shape):
    vectors_ND = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    vectors_ND = np.concatenate([vectors_ND, vectors_ND[:2], vectors_ND[:1]])  # repeats count
    oracle = PCA(2).fit(vectors_ND.astype(np.float64))
    expected_N2 = oracle.transform(vectors_ND.astype(np.float64))
    found = pca(vectors_ND, seed=0)
    signs = np.sign((found.points_M2 * expected_N2).sum(0))
    np.testing.assert_allclose(found.points_M2 * signs, expected_N2, atol=1e-9)
    np.testing.assert_allclose(found.parameters["explained"], oracle.explained_variance_ratio_)
    assert found.method == "pca" and found.indices_M.tolist() == list(range(len(vectors_ND)))


def test_an_axis_has_one_direction(blobs):
    """Its largest loading is positive, whatever sign the solver happens to return."""
    vectors_ND, _ = blobs
    points_M2 = pca(vectors_ND, seed=0).points_M2
    loadings_D2 = (vectors_ND - vectors_ND.mean(0)).T @ points_M2
    assert (loadings_D2.max(0) == np.abs(loadings_D2).max(0)).all()


def test_tsne_keeps_groups_apart(blobs):
    vectors_ND, labels_N = blobs
    found = tsne(vectors_ND, seed=0)
    assert silhouette_score(found.points_M2, labels_N) > 0.5
    assert found.method == "tsne" and found.seed == 0
    assert found.parameters == {"distinct": 90, "perplexity": pytest.approx(89 / 3)}
    assert tsne(vectors_ND, seed=0, perplexity=5).parameters["perplexity"] == 5


@pytest.mark.parametrize("method", [pca, tsne])
def test_the_seed_draws_the_sample(method, blobs):
    vectors_ND, labels_N = blobs
    first, again, other = (
        method(vectors_ND, seed=seed, sample=40, stratify=labels_N) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.points_M2, again.points_M2)
    np.testing.assert_array_equal(first.indices_M, again.indices_M)
    assert first.trustworthiness == again.trustworthiness
    assert first.indices_M.tolist() != other.indices_M.tolist()


def test_the_seed_moves_tsne(blobs):
    vectors_ND, _ = blobs
    first, again, other = (tsne(vectors_ND, seed=seed).points_M2 for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_identical_vectors_share_a_point(blobs):
    vectors_ND, _ = blobs
    place_N = np.random.default_rng(2).integers(20, size=80)
    found = tsne(vectors_ND[place_N], seed=1)
    assert found.parameters["distinct"] == len(set(place_N.tolist()))
    assert len(np.unique(found.points_M2, axis=0)) == found.parameters["distinct"]
    for place in set(place_N.tolist()):
        assert len(np.unique(found.points_M2[place_N == place], axis=0)) == 1


def test_trustworthiness_is_of_the_distinct_vectors(blobs):
    vectors_ND, _ = blobs
    found = pca(np.concatenate([vectors_ND, vectors_ND[:50]]), seed=0)
    # Given the repeats too, scikit-learn would take each for the other's nearest neighbour.
    expected = trustworthiness(vectors_ND, found.points_M2[:90], n_neighbors=12)
    assert found.trustworthiness == pytest.approx(expected, abs=1e-12)
    assert 0.5 < expected < 1


def test_a_sample_gives_each_label_its_share():
    rng = np.random.default_rng(3)
    labels_N = rng.choice(["a", "b", "c", "d"], p=[0.6, 0.3, 0.09, 0.01], size=1000)
    found = pca(rng.normal(size=(1000, 3)), seed=0, sample=100, stratify=labels_N)
    assert len(found.points_M2) == len(np.unique(found.indices_M)) == 100
    assert (np.diff(found.indices_M) > 0).all()
    for label in "abcd":
        drawn = (labels_N[found.indices_M] == label).sum()
        assert abs(drawn - (labels_N == label).sum() / 10) < 1


def test_points_belong_to_their_indices(blobs):
    vectors_ND, labels_N = blobs
    found = pca(vectors_ND, seed=5, sample=50, stratify=labels_N)
    alone = pca(vectors_ND[found.indices_M], seed=0)
    np.testing.assert_allclose(found.points_M2, alone.points_M2, atol=1e-9)


@pytest.mark.parametrize("D", [1, 2, 20])
@pytest.mark.parametrize("N", [1, 2, 3, 5, 10, 11, 12, 13])
def test_small_sets(N, D):
    vectors_ND = np.random.default_rng(N).normal(size=(N, D)).astype(np.float32)
    found = tsne(vectors_ND, seed=0)
    assert found.points_M2.shape == (N, 2) and np.isfinite(found.points_M2).all()
    assert found.method == ("tsne" if N >= 12 else "pca")
    assert (found.trustworthiness is None) == (N < 3)


def test_all_identical():
    found = tsne(np.ones((40, 5), np.float32), seed=0)
    assert found.method == "pca" and found.trustworthiness is None
    np.testing.assert_array_equal(found.points_M2, np.zeros((40, 2)))


@pytest.mark.parametrize("method", [pca, tsne])
def test_numbers_must_be_finite(method, blobs):
    vectors_ND = blobs[0].copy()
    vectors_ND[[3, 5], 0] = np.nan, np.inf
    with pytest.raises(ConfigError, match="2 with NaN or infinity"):
        method(vectors_ND, seed=0)
    with pytest.raises(ConfigError, match="got 'none', expected at least one"):
        method(vectors_ND[:0], seed=0)


@pytest.mark.slow
def test_real_hosts_come_apart(real_data):
    """Dipeptide counts of influenza HA: neighbours on the map mostly share a host."""
    import gzip

    from sklearn.neighbors import NearestNeighbors

    with gzip.open(real_data / "influenza_ha_host" / "ha_host.fasta.gz", "rt") as handle:
        records = [record.split("\n", 1) for record in handle.read().split(">")[1:]]
    hosts_N = np.array([header.split("|")[3] for header, _ in records])
    letters = "ACDEFGHIKLMNPQRSTVWY"
    proteins = [sequence.replace("\n", "") for _, sequence in records]
    counts_ND = np.array(
        [[text.count(a + b) for a in letters for b in letters] for text in proteins]
    )
    found = tsne(counts_ND, seed=0, sample=1000, stratify=hosts_N)
    _, neighbours = NearestNeighbors(n_neighbors=2).fit(found.points_M2).kneighbors()
    labels_M = hosts_N[found.indices_M]
    assert (labels_M[neighbours[:, 0]] == labels_M).mean() > 0.85  # 0.4 by chance
    assert found.trustworthiness > 0.95
