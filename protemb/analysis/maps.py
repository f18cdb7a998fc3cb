"""Two-dimensional maps of vectors: PCA and t-SNE, with the seed and how far to trust them.

Shape letters: N = vectors given, M = vectors on the map, S = distinct vectors, D = features,
K = distinct pairs of vector and label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from protemb.errors import ConfigError

# t-SNE looks at three neighbours per unit of perplexity: below this there are too few for any.
SMALLEST_TSNE = 12
NEIGHBOURS = 12


@dataclass(frozen=True, eq=False)
class Map:
    """Points of a map and where they come from.

    Attributes:
        points_M2: float64; identical vectors share a point.
        indices_M: rows of the given vectors that are on the map, ascending (int64).
        method: `pca` or `tsne`, whichever was done.
        seed: of the sample and of the method.
        trustworthiness: share of neighbourhoods that the map keeps (1 = all, 0.5 = by chance;
            Venna and Kaski 2001), over the distinct vectors; None where there are fewer than 3.
        parameters: plain settings and facts.
    """

    points_M2: np.ndarray
    indices_M: np.ndarray
    method: str
    seed: int
    trustworthiness: float | None
    parameters: Mapping[str, object]


def pca(
    vectors_ND: np.ndarray, *, seed: int, sample: int = 2000, stratify: np.ndarray | None = None
) -> Map:
    """Map the vectors to their first two principal components.

    Args:
        vectors_ND: finite numbers; a single feature leaves the second coordinate 0.
        seed: of the sample.
        sample: at most so many of the N vectors are drawn.
        stratify: labels of the N vectors; each label gets its share of the sample.

    Raises:
        ConfigError: no vectors, or numbers that are not finite.
    """
    indices_M, distinct_SD, place_M = _draw(vectors_ND, seed, sample, stratify)
    points_S2, explained = _principal(distinct_SD, np.bincount(place_M))
    parameters = {"distinct": len(distinct_SD), "explained": explained}
    trust = _trustworthiness(distinct_SD, points_S2)
    return Map(points_S2[place_M], indices_M, "pca", seed, trust, parameters)


def tsne(
    vectors_ND: np.ndarray,
    *,
    seed: int,
    perplexity: float = 30,
    sample: int = 2000,
    stratify: np.ndarray | None = None,
) -> Map:
    """Map the vectors with t-SNE (openTSNE on one thread: the same seed gives the same map).

    The perplexity is at most a third of the other distinct vectors. With fewer than 12 distinct
    vectors there are no neighbourhoods to speak of, and the map is `pca`'s.

    Args:
        vectors_ND: finite numbers.
        seed: of the sample and of the start.
        perplexity: about how many neighbours a point has.
        sample: at most so many of the N vectors are drawn.
        stratify: labels of the N vectors; each label gets its share of the sample.

    Raises:
        ConfigError: no vectors, or numbers that are not finite.
    """
    indices_M, distinct_SD, place_M = _draw(vectors_ND, seed, sample, stratify)
    if len(distinct_SD) < SMALLEST_TSNE:
        return pca(vectors_ND, seed=seed, sample=sample, stratify=stratify)
    from openTSNE import TSNE

    perplexity = min(perplexity, (len(distinct_SD) - 1) / 3)
    # Start from the principal components, small, and with some noise: the plane's second
    # dimension must be free even where the vectors lie on a line.
    start_S2, _ = _principal(distinct_SD, np.ones(len(distinct_SD)))
    start_S2 = start_S2 / start_S2[:, 0].std() * 1e-4
    start_S2 += np.random.default_rng(seed).normal(scale=1e-6, size=start_S2.shape)
    points_S2 = TSNE(
        perplexity=perplexity,
        initialization=start_S2,
        neighbors="exact",
        negative_gradient_method="bh",
        n_jobs=1,
        random_state=seed,
    ).fit(distinct_SD)
    points_S2 = np.asarray(points_S2)
    parameters = {"distinct": len(distinct_SD), "perplexity": perplexity}
    trust = _trustworthiness(distinct_SD, points_S2)
    return Map(points_S2[place_M], indices_M, "tsne", seed, trust, parameters)


def draw_sample(
    n: int, *, sample: int, seed: int, stratify: np.ndarray | None = None
) -> np.ndarray:
    """Draw at most `sample` of n rows, ascending; each of the labels gets its share, within one.

    >>> draw_sample(6, sample=2, seed=0, stratify=np.array(list("aaabbb"))).tolist()
    [0, 5]
    """
    order_N = np.random.default_rng(seed).permutation(n)
    if stratify is not None:
        order_N = order_N[np.argsort(stratify[order_N], kind="stable")]
    # Evenly spaced picks from vectors sorted by label: every label gets its share, within one.
    M = min(n, sample)
    return np.sort(order_N[(2 * np.arange(M) + 1) * n // (2 * M)])


def require_finite(vectors_ND: np.ndarray) -> None:
    """Raise ConfigError if a vector has NaN or infinity in it: a diverged training gives such."""
    broken = int((~np.isfinite(vectors_ND)).any(1).sum())
    if broken:
        raise ConfigError("vectors", f"{broken} with NaN or infinity", "finite numbers")


def _draw(
    vectors_ND: np.ndarray, seed: int, sample: int, stratify: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices_M of the sample, its distinct_SD vectors, and place_M of each among them."""
    if not len(vectors_ND):
        raise ConfigError("vectors", "none", "at least one")
    indices_M = draw_sample(len(vectors_ND), sample=sample, seed=seed, stratify=stratify)
    drawn_MD = vectors_ND[indices_M].astype(np.float64)
    require_finite(drawn_MD)
    distinct_SD, place_M = np.unique(drawn_MD, axis=0, return_inverse=True)
    return indices_M, distinct_SD, place_M.reshape(-1)


def _principal(distinct_SD: np.ndarray, weights_S: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Weighted principal components: points_S2 and each axis' share of the variance."""
    from scipy.linalg import eigh

    D = distinct_SD.shape[1]
    centred_SD = distinct_SD - np.average(distinct_SD, axis=0, weights=weights_S)
    scatter_DD = (centred_SD * weights_S[:, None]).T @ centred_SD
    variances, axes_D2 = eigh(scatter_DD, subset_by_index=[max(D - 2, 0), D - 1])
    # The largest comes last. An axis has no direction: let its largest entry be positive.
    variances, axes_D2 = variances[::-1], axes_D2[:, ::-1]
    axes_D2 = axes_D2 * np.sign(axes_D2[np.abs(axes_D2).argmax(0), np.arange(len(variances))])
    points_S2 = np.zeros((len(distinct_SD), 2))
    points_S2[:, : len(variances)] = centred_SD @ axes_D2
    shares = variances.clip(min=0) / max(np.trace(scatter_DD), np.finfo(float).tiny)
    return points_S2, shares.tolist()


def _trustworthiness(distinct_SD: np.ndarray, points_S2: np.ndarray) -> float | None:
    from sklearn.manifold import trustworthiness

    neighbours = min(NEIGHBOURS, (len(distinct_SD) - 1) // 2)
    if neighbours < 1:
        return None
    return float(trustworthiness(distinct_SD, points_S2, n_neighbors=neighbours))


@dataclass(frozen=True)
class Spread:
    """A number over several seeds: its mean, its ends and its standard deviation (n - 1).

    All are NaN where a map has no such number; the deviation is for a single seed, too.
    """

    mean: float
    low: float
    high: float
    deviation: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"

    def as_dict(self) -> dict[str, float | None]:
        """Plain numbers for JSON, which has no NaN: None stands for it."""
        return {name: None if np.isnan(x) else x for name, x in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class MapSpread:
    """What `map_spread` found.

    Attributes:
        maps: one for each seed.
        trustworthiness: of the maps.
        silhouette: of the labels, on the maps (`map`) and in the vectors' own space (`original`).
        purity: of the same; the share of a point's nearest neighbours with its label, as a mean
            over the classes.
        chance: purity where labels have nothing to do with places, about 1 / classes.
    """

    maps: tuple[Map, ...]
    trustworthiness: Spread
    silhouette: Mapping[str, Spread]
    purity: Mapping[str, Spread]
    chance: Spread

    def as_dict(self) -> dict[str, object]:
        """Numbers for JSON; the points stay behind."""
        return {
            "method": self.maps[0].method,
            "seeds": [drawn.seed for drawn in self.maps],
            "points": [len(drawn.indices_M) for drawn in self.maps],
            "trustworthiness": self.trustworthiness.as_dict(),
            "of_each": [drawn.trustworthiness for drawn in self.maps],
            "silhouette": {space: found.as_dict() for space, found in self.silhouette.items()},
            "purity": {space: found.as_dict() for space, found in self.purity.items()},
            "chance": self.chance.as_dict(),
        }


def map_spread(
    vectors_ND: np.ndarray,
    labels_N: np.ndarray,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    sample: int = 1000,
    perplexity: float = 30,
) -> MapSpread:
    """Draw t-SNE maps with several seeds: how far can "the classes look apart" be trusted?

    Every seed draws its own sample (where there are more vectors) and its own start. Identical
    vectors with the same label count once, as on the page.

    Args:
        vectors_ND: finite numbers.
        labels_N: class of each, any values.
        seeds: one map each.
        sample: at most so many vectors on a map, each label with its share.
        perplexity: about how many neighbours a point has.

    Raises:
        ConfigError: no vectors, or numbers that are not finite.
    """
    maps = tuple(
        tsne(vectors_ND, seed=seed, perplexity=perplexity, sample=sample, stratify=labels_N)
        for seed in seeds
    )
    rows = [
        _looks(drawn, vectors_ND, np.unique(labels_N, return_inverse=True)[1]) for drawn in maps
    ]
    trust = [np.nan if drawn.trustworthiness is None else drawn.trustworthiness for drawn in maps]
    spreads = {name: _spread([row[name] for row in rows]) for name in rows[0]}
    return MapSpread(
        maps,
        _spread(trust),
        {space: spreads["silhouette", space] for space in ("map", "original")},
        {space: spreads["purity", space] for space in ("map", "original")},
        spreads["purity", "chance"],
    )


def _spread(values: Sequence[float]) -> Spread:
    deviation = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return Spread(*(float(x) for x in (np.mean(values), min(values), max(values), deviation)))


def _looks(
    drawn: Map, vectors_ND: np.ndarray, labels_N: np.ndarray
) -> dict[tuple[str, str], float]:
    """Silhouette and purity of the labels on a map and among the vectors that it shows."""
    from sklearn.metrics import silhouette_score

    vectors_MD, labels_M = vectors_ND[drawn.indices_M].astype(float), labels_N[drawn.indices_M]
    _, first_K = np.unique(np.column_stack([vectors_MD, labels_M]), axis=0, return_index=True)
    labels_K = labels_M[first_K]
    sizes = np.unique(labels_K, return_counts=True)[1]
    found = {("purity", "chance"): float(((sizes - 1) / max(1, len(labels_K) - 1)).mean())}
    for space, places_MD in (("map", drawn.points_M2), ("original", vectors_MD)):
        places_KD = places_MD[first_K]
        enough = 1 < len(sizes) < len(labels_K)
        found["silhouette", space] = silhouette_score(places_KD, labels_K) if enough else np.nan
        found["purity", space] = _purity(places_KD, labels_K)
    return found


def _purity(places_KD: np.ndarray, labels_K: np.ndarray) -> float:
    """Mean over the classes of the share of a point's neighbours that are of its class."""
    from sklearn.neighbors import NearestNeighbors

    neighbours = min(NEIGHBOURS, len(places_KD) - 1)
    if not neighbours:
        return np.nan
    search = NearestNeighbors(n_neighbors=neighbours).fit(places_KD)
    near_KN = search.kneighbors(return_distance=False)
    same_K = (labels_K[near_KN] == labels_K[:, None]).mean(1)
    return float((np.bincount(labels_K, same_K) / np.bincount(labels_K)).mean())
