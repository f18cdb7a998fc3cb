"""The numbers of the residues are the published ones, and the distances are distances."""

import numpy as np
import pytest
from Bio.Align import substitution_matrices
from Bio.SeqUtils import IsoelectricPoint, ProtParamData
from Bio.SeqUtils.IsoelectricPoint import IsoelectricPoint as Point

from protemb.sequences.alphabet import AA21
from protemb.sequences.amino_acids import (
    CLASSES,
    GRANTHAM_VOLUME,
    HYDROPATHY,
    RESIDUES,
    VOLUME,
    blosum62,
    charges,
    grantham_distance,
    reference_distances,
)

# Rows of the matrix printed in Grantham (1974): against serine, and pairs all over it.
GRANTHAM_SERINE = {
    **{"R": 110, "L": 145, "P": 74, "T": 58, "A": 99, "V": 124, "G": 56, "I": 142, "F": 155},
    **{"Y": 144, "C": 112, "H": 89, "Q": 68, "N": 46, "K": 121, "D": 65, "E": 80, "M": 135},
    "W": 177,
}
GRANTHAM_PAIRS = {
    **{"LI": 5, "CW": 215, "AV": 64, "DE": 45, "RK": 26, "FY": 22, "IM": 10, "LM": 15},
    **{"VI": 29, "VL": 32, "HQ": 24, "ND": 23, "GW": 184, "KW": 110, "CF": 205, "FW": 40},
}


def test_the_order_is_the_alphabets():
    assert RESIDUES + "X" == AA21.symbols and len(RESIDUES) == 20
    assert sorted("".join(CLASSES.values())) == sorted(RESIDUES)


def test_blosum62_is_biopythons():
    oracle = substitution_matrices.load("BLOSUM62")
    expected_AA = [[oracle[row][column] for column in RESIDUES] for row in RESIDUES]
    np.testing.assert_array_equal(blosum62(), expected_AA)


def test_hydropathy_is_biopythons():
    assert dict(zip(RESIDUES, HYDROPATHY.tolist(), strict=True)) == ProtParamData.kd


def test_volumes_follow_the_weights():
    """No library has them: they must be near the other published volumes and the masses."""
    from Bio.Data.IUPACData import protein_weights

    weights_A = [protein_weights[letter] for letter in RESIDUES]
    assert np.corrcoef(VOLUME, weights_A)[0, 1] > 0.9
    assert np.corrcoef(VOLUME, GRANTHAM_VOLUME)[0, 1] > 0.98
    assert RESIDUES[VOLUME.argmin()] == "G" and RESIDUES[VOLUME.argmax()] == "W"
    # Grantham's side chains are residues less one constant, but for proline, whose ring he cut.
    rest = np.array([letter != "P" for letter in RESIDUES])
    slope, shift = np.polyfit(GRANTHAM_VOLUME[rest], VOLUME[rest], 1)
    assert np.abs(slope * GRANTHAM_VOLUME + shift - VOLUME)[rest].max() < 8


@pytest.mark.parametrize("ph", [2.0, 7.0, 11.0])
def test_charges_are_those_of_biopythons_peptides(ph):
    """Biopython has other pK values, so the charges differ, but by little away from the pK."""
    for letter, charge in zip(RESIDUES, charges(ph), strict=True):
        chain, glycine = (Point(text).charge_at_pH(ph) for text in (f"G{letter}G", "GGG"))
        assert charge == pytest.approx(chain - glycine, abs=0.25), letter


def test_charges_at_ph_7():
    found = dict(zip(RESIDUES, charges().round(1).tolist(), strict=True))
    known = {"D": -1, "E": -1, "K": 1, "R": 1, "H": 0.1, "C": -0.1}
    assert found == {letter: known.get(letter, 0) for letter in RESIDUES}
    assert set(IsoelectricPoint.charged_aas) == {"K", "R", "H", "D", "E", "C", "Y"}
    assert (charges() != 0).sum() == 7


def test_grantham_as_printed():
    found_AA = grantham_distance()
    printed = GRANTHAM_PAIRS | {f"S{letter}": value for letter, value in GRANTHAM_SERINE.items()}
    for (first, second), value in printed.items():
        found = found_AA[RESIDUES.index(first), RESIDUES.index(second)]
        # The printed constants are rounded, so the printed distances come back within 1.
        assert found == pytest.approx(value, abs=1), first + second
    pairs = found_AA[np.triu_indices(20, 1)]
    assert pairs.mean() == pytest.approx(100, abs=0.2)  # his scale
    # The extremes he names: leucine and isoleucine 5, cysteine and tryptophan 215.
    assert pairs.min() == found_AA[RESIDUES.index("L"), RESIDUES.index("I")]
    assert pairs.max() == found_AA[RESIDUES.index("C"), RESIDUES.index("W")]


@pytest.mark.parametrize("name", ["BLOSUM62", "hydropathy", "volume", "charge", "Grantham"])
def test_references_are_distances(name):
    distance_AA = reference_distances()[name]
    assert distance_AA.shape == (20, 20) and np.isfinite(distance_AA).all()
    np.testing.assert_array_equal(distance_AA, distance_AA.T)
    np.testing.assert_array_equal(distance_AA.diagonal(), 0)
    through = (distance_AA[:, :, None] + distance_AA[None]).min(1)
    assert (distance_AA <= through + 1e-9).all()  # the triangle


def test_the_blosum_distance_is_euclidean():
    """Points with these distances exist (Schoenberg 1935): the centred squares say so."""
    squares_AA = reference_distances()["BLOSUM62"] ** 2
    centre_AA = np.eye(20) - 1 / 20
    products_AA = -centre_AA @ squares_AA @ centre_AA / 2
    assert np.linalg.eigvalsh(products_AA).min() > -1e-9
    np.testing.assert_allclose(products_AA, centre_AA @ blosum62() @ centre_AA, atol=1e-9)


def test_near_and_far_residues():
    distances = reference_distances()
    for name in distances:
        far = distances[name][RESIDUES.index("D"), RESIDUES.index("K")]
        near = distances[name][RESIDUES.index("I"), RESIDUES.index("V")]
        assert near < far, name
    assert set(distances) == {"BLOSUM62", "hydropathy", "volume", "charge", "Grantham"}
