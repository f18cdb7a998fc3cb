"""Measured properties of the 20 standard residues, and the distances that follow from them.

Everything stands in the order of `RESIDUES`, which is AA21 without X.

Shape letters: A = the 20 residues.
"""

import numpy as np

from protemb.sequences.alphabet import AA21

RESIDUES = AA21.symbols.removesuffix("X")
"""One-letter codes: A R N D C Q E G H I L K M F P S T W Y V."""

CLASSES = {
    "aliphatic": "AVLIM",
    "aromatic": "FWY",
    "polar": "STNQ",
    "positive": "KRH",
    "negative": "DE",
    "special": "CGP",
}
"""Classes of textbooks; cysteine, glycine and proline are like no other residue."""

# Residues in alphabetical order of their three-letter codes, as the tables print them.
HYDROPATHY = np.array(
    [1.8, -4.5, -3.5, -3.5, 2.5, -3.5, -3.5, -0.4, -3.2, 4.5]
    + [3.8, -3.9, 1.9, 2.8, -1.6, -0.8, -0.7, -0.9, -1.3, 4.2]
)
"""Hydropathy index, no unit, large = water-fearing (Kyte and Doolittle 1982, J Mol Biol 157:105,
table 2)."""

VOLUME = np.array(
    [88.6, 173.4, 114.1, 111.1, 108.5, 143.8, 138.4, 60.1, 153.2, 166.7]
    + [166.7, 168.6, 162.9, 189.9, 112.7, 89.0, 116.1, 227.8, 193.6, 140.0]
)
"""Volume of the residue in cubic angstroms (Zamyatnin 1972, Prog Biophys Mol Biol 24:107)."""

# pK of the side chain and the charge of its ionised form (Nelson and Cox, Lehninger Principles
# of Biochemistry, table 3-1).
_IONISED = {
    "D": (3.65, -1),
    "E": (4.25, -1),
    "H": (6.00, +1),
    "C": (8.18, -1),
    "Y": (10.07, -1),
    "K": (10.53, +1),
    "R": (12.48, +1),
}

# Composition, polarity and volume (Grantham 1974, Science 185:862, table 1), and the weights of
# his formula, which make the mean distance of the 190 pairs 100 (table 2).
GRANTHAM_COMPOSITION = np.array(
    [0, 0.65, 1.33, 1.38, 2.75, 0.89, 0.92, 0.74, 0.58, 0]
    + [0, 0.33, 0, 0, 0.39, 1.42, 0.71, 0.13, 0.20, 0]
)
GRANTHAM_POLARITY = np.array(
    [8.1, 10.5, 11.6, 13.0, 5.5, 10.5, 12.3, 9.0, 10.4, 5.2]
    + [4.9, 11.3, 5.7, 5.2, 8.0, 9.2, 8.6, 5.4, 6.2, 5.9]
)
GRANTHAM_VOLUME = np.array(
    [31, 124, 56, 54, 55, 85, 83, 3, 96, 111] + [111, 119, 105, 132, 32.5, 32, 61, 170, 136, 84]
)
_GRANTHAM_WEIGHTS = (1.833, 0.1018, 0.000399)
_GRANTHAM_SCALE = 50.723

# Lower triangle in half bits (Henikoff and Henikoff 1992, PNAS 89:10915).
_BLOSUM62 = """
 4
-1  5
-2  0  6
-2 -2  1  6
 0 -3 -3 -3  9
-1  1  0  0 -3  5
-1  0  0  2 -4  2  5
 0 -2  0 -1 -3 -2 -2  6
-2  0  1 -1 -3  0  0 -2  8
-1 -3 -3 -3 -1 -3 -3 -4 -3  4
-1 -2 -3 -4 -1 -2 -3 -4 -3  2  4
-1  2  0 -1 -3  1  1 -2 -1 -3 -2  5
-1 -1 -2 -3 -1  0 -2 -3 -2  1  2 -1  5
-2 -3 -3 -3 -2 -3 -3 -3 -1  0  0 -3  0  6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4  7
 1 -1  1  0 -1  0  0  0 -1 -2 -2  0 -1 -2 -1  4
 0 -1  0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1  1  5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1  1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3  2 -1 -1 -2 -1  3 -3 -2 -2  2  7
 0 -3 -3 -3 -1 -2 -2 -3 -3  3  1 -2  1 -1 -2 -2  0 -3 -1  4
"""


def charges(ph: float = 7.0) -> np.ndarray:
    """Return charges_A, the mean charge of each side chain (Henderson and Hasselbalch).

    The pK values are those of the free amino acids. At pH 7 histidine is a tenth charged.

    >>> dict(zip(RESIDUES, charges().round(2).tolist()))["H"]
    0.09
    """
    charges_A = np.zeros(len(RESIDUES))
    for letter, (pk, sign) in _IONISED.items():
        charges_A[RESIDUES.index(letter)] = sign / (1 + 10 ** (sign * (ph - pk)))
    return charges_A


def blosum62() -> np.ndarray:
    """Return scores_AA in half bits: how much oftener a pair is aligned than by chance."""
    A = len(RESIDUES)
    scores_AA = np.zeros((A, A))
    scores_AA[np.tril_indices(A)] = np.array(_BLOSUM62.split(), float)
    return scores_AA + np.tril(scores_AA, -1).T


def grantham_distance() -> np.ndarray:
    """Return Grantham's distance_AA: composition, polarity and volume, weighted; mean pair 100."""
    parts = (GRANTHAM_COMPOSITION, GRANTHAM_POLARITY, GRANTHAM_VOLUME)
    squares_AA = sum(
        weight * np.subtract.outer(part_A, part_A) ** 2
        for weight, part_A in zip(_GRANTHAM_WEIGHTS, parts, strict=True)
    )
    return _GRANTHAM_SCALE * np.sqrt(squares_AA)


def reference_distances() -> dict[str, np.ndarray]:
    """Return what biology knows of the residues as distance_AA, by name.

    - `BLOSUM62`: sqrt(s_aa + s_bb - 2 s_ab). Scores s are log odds, not distances; this is the
      distance in the space whose inner products they are, Euclidean because the centred scores
      have no negative eigenvalue.
    - `hydropathy`, `volume`, `charge`: the absolute difference; charge at pH 7.
    - `Grantham`: see `grantham_distance`.
    """
    scores_AA = blosum62()
    own_A = scores_AA.diagonal()
    distances = {"BLOSUM62": np.sqrt(own_A[:, None] + own_A - 2 * scores_AA)}
    for name, values_A in (("hydropathy", HYDROPATHY), ("volume", VOLUME), ("charge", charges())):
        distances[name] = np.abs(np.subtract.outer(values_A, values_A))
    return distances | {"Grantham": grantham_distance()}
