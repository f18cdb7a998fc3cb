"""Two-dimensional maps of vectors: PCA and t-SNE, with the seed and how far to trust them.

Shape letters: N = vectors given, M = vectors on the map, S = distinct vectors, D = features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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


def _draw(
    vectors_ND: np.ndarray, seed: int, sample: int, stratify: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices_M of the sample, its distinct_SD vectors, and place_M of each among them."""
    N = len(vectors_ND)
    if not N:
        raise ConfigError("vectors", "none", "at least one")
    order_N = np.random.default_rng(seed).permutation(N)
    if stratify is not None:
        order_N = order_N[np.argsort(stratify[order_N], kind="stable")]
    # Evenly spaced picks from vectors sorted by label: every label gets its share, within one.
    M = min(N, sample)
    indices_M = np.sort(order_N[(2 * np.arange(M) + 1) * N // (2 * M)])
    drawn_MD = vectors_ND[indices_M].astype(np.float64)
    broken = int((~np.isfinite(drawn_MD)).any(1).sum())
    if broken:
        raise ConfigError("vectors", f"{broken} with NaN or infinity", "finite numbers")
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
