"""The table's geometry: Mantel by loops, Procrustes by scipy, drift by hand, and known truths."""

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes
from scipy.stats import ortho_group, spearmanr

from protemb.analysis.residue_table import (
    agreement,
    compare_table,
    drift,
    mantel,
    table_distances,
)
from protemb.sequences.amino_acids import RESIDUES, reference_distances

UPPER = np.triu_indices(20, 1)


def table(seed, dim=10, rows=21):
    return np.random.default_rng(seed).normal(size=(rows, dim))


def chemical_table(noise, seed=0):
    """A table that has learned Grantham's distances, but for some noise: classical scaling."""
    squares_AA = reference_distances()["Grantham"] ** 2
    centre_AA = np.eye(20) - 1 / 20
    values_A, axes_AA = np.linalg.eigh(-centre_AA @ squares_AA @ centre_AA / 2)
    rows_AA = axes_AA * np.sqrt(values_A.clip(0))
    rows_AA /= rows_AA.std()
    return rows_AA + noise * np.random.default_rng(seed).normal(size=rows_AA.shape)


def test_distances_are_of_the_20_residues():
    rows_VD = table(0, rows=22)
    found_AA = table_distances(rows_VD)
    for first, second in [(0, 1), (3, 19), (7, 7)]:
        expected = np.sqrt(((rows_VD[first] - rows_VD[second]) ** 2).sum())
        assert found_AA[first, second] == pytest.approx(expected)
    rows_VD[20:] = 1e9  # X and padding have no part
    np.testing.assert_array_equal(table_distances(rows_VD), found_AA)
    np.testing.assert_array_equal(table_distances(rows_VD[:20]), found_AA)


@pytest.mark.parametrize("shape", [(19, 3), (23, 3), (21,)])
def test_other_tables_are_refused(shape):
    with pytest.raises(ValueError, match="expected 20 to 22 rows"):
        table_distances(np.zeros(shape))


def test_a_broken_table_is_refused():
    rows_VD = table(0)
    rows_VD[3, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        table_distances(rows_VD)


def distances_of(points):
    points = np.asarray(points, float)
    return np.abs(points[:, None] - points)


@pytest.mark.parametrize("seed", range(4))
def test_mantel_on_five_things_by_a_loop(seed):
    rng = np.random.default_rng(seed)
    # Whole numbers, so that there are ties.
    first_AA, second_AA = (distances_of(rng.integers(0, 4, size=5)) for _ in range(2))
    upper = np.triu_indices(5, 1)
    every = []
    for order in permutations(range(5)):
        moved_AA = np.array([[first_AA[i, j] for j in order] for i in order])
        every.append(spearmanr(moved_AA[upper], second_AA[upper]).statistic)
    exact = np.mean(np.array(every) >= every[0] - 1e-9)
    found = mantel(first_AA, second_AA, permutations=20_000, seed=seed)
    assert found.value == pytest.approx(every[0])
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 20_000))
    assert found.chance.value == pytest.approx(np.mean(every), abs=0.02)
    assert found.chance.low == pytest.approx(np.quantile(every, 0.025), abs=0.05)
    assert found.chance.high == pytest.approx(np.quantile(every, 0.975), abs=0.05)


def test_p_counts_the_data_itself():
    distance_AA = table_distances(table(1))
    found = mantel(distance_AA, distance_AA, permutations=99, seed=0)
    assert found.value == pytest.approx(1) and found.p == pytest.approx(1 / 100)
    assert mantel(distance_AA, -distance_AA, permutations=99, seed=0).p == 1  # one-sided


def test_mantel_sees_only_the_order():
    first_AA, second_AA = (table_distances(table(seed)) for seed in (1, 2))
    found = mantel(first_AA, second_AA, permutations=99, seed=3)
    assert mantel(np.exp(first_AA), 3 * second_AA**2, permutations=99, seed=3) == found
    expected = spearmanr(first_AA[UPPER], second_AA[UPPER]).statistic
    assert found.value == pytest.approx(expected)


def test_rounding_makes_no_order():
    """0.3 - 0.1 and 0.2 are the same distance, though not the same number."""
    exact = [0, 1, 2, 3, 5]
    other_AA = distances_of([4, 1, 7, 2, 9])
    found = mantel(distances_of(exact), other_AA, permutations=9, seed=0)
    rounded = mantel(distances_of(np.array(exact) * 0.1), other_AA, permutations=9, seed=0)
    assert rounded == found


def test_mantel_of_random_tables_is_calibrated():
    known_AA = reference_distances()["hydropathy"]
    ps = [
        mantel(table_distances(table(seed)), known_AA, permutations=199, seed=seed).p
        for seed in range(300)
    ]
    assert np.mean(np.array(ps) <= 0.05) == pytest.approx(0.05, abs=0.04)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("broken", [np.zeros((2, 2)), np.zeros((4, 5)), np.triu(np.ones((4, 4)))])
def test_mantel_refuses_other_matrices(broken):
    with pytest.raises(ValueError, match="expected symmetric"):
        mantel(broken, broken, seed=0)
    with pytest.raises(ValueError, match="expected symmetric"):
        mantel(np.ones((6, 6)), np.ones((7, 7)), seed=0)


def test_a_table_that_knows_chemistry():
    found = compare_table(chemical_table(noise=0.3), permutations=999, seed=0)
    assert found.references["Grantham"].value > 0.7
    assert found.references["Grantham"].p == pytest.approx(0.001)
    assert found.holm["Grantham"] == pytest.approx(0.005)  # the first of five
    assert found.references["Grantham"].value > found.random["Grantham"].high
    assert list(found.references) == list(reference_distances())


def test_a_random_table_knows_none():
    found = compare_table(table(3), permutations=999, seed=0)
    for name, test in found.references.items():
        assert found.random[name].low <= test.value <= found.random[name].high
        assert found.holm[name] > 0.05
        # Random tables and permuted residues are chance in two ways.
        assert found.random[name].value == pytest.approx(0, abs=0.02)
        assert found.random[name].low == pytest.approx(test.chance.low, abs=0.08)
        assert found.random[name].high == pytest.approx(test.chance.high, abs=0.08)


def test_random_tables_by_a_loop():
    known_AA = reference_distances()["charge"]
    drawn = [
        spearmanr(table_distances(table(seed, dim=4))[UPPER], known_AA[UPPER]).statistic
        for seed in range(1000)
    ]
    found = compare_table(table(0, dim=4), permutations=9, seed=0).random["charge"]
    assert found.value == pytest.approx(np.mean(drawn), abs=0.02)
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)


def test_holm_by_hand():
    found = compare_table(chemical_table(noise=1.5), permutations=999, seed=0)
    ranked = sorted((test.p, name) for name, test in found.references.items())
    for place, (_, name) in enumerate(ranked):
        expected = max(min(1, (5 - i) * ranked[i][0]) for i in range(place + 1))
        assert found.holm[name] == pytest.approx(expected)
    assert ranked[0][0] < ranked[-1][0]


@pytest.mark.parametrize("rows_VD", [np.eye(20), np.ones((21, 4)), np.eye(22)])
def test_equal_distances_are_undefined(rows_VD):
    found = compare_table(rows_VD, permutations=9, seed=0)
    for test in found.references.values():
        assert (test.value, test.p, test.chance) == (None, None, None)
    assert set(found.holm.values()) == {None} == set(found.one_hot.values())


def test_findings_go_into_json():
    for rows_VD in (table(0), np.eye(20)):
        found = compare_table(rows_VD, permutations=9, random_tables=9, seed=0).as_dict()
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["dim"] == rows_VD.shape[1] and found["residues"] == RESIDUES
        row = found["references"]["volume"]
        assert set(row) == {"value", "p", "chance", "p_holm", "random_tables", "one_hot"}
    moved = drift(table(0), table(1)).as_dict()
    assert json.loads(json.dumps(moved, allow_nan=False)) == moved


def test_the_seed_draws():
    first, again, other = (
        compare_table(table(0), permutations=99, random_tables=99, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_drift_by_hand():
    initial_VD = table(0)
    trained_VD = initial_VD.copy()
    trained_VD[RESIDUES.index("C")] *= 3
    trained_VD[RESIDUES.index("W"), 0] += 1
    trained_VD[20] += 100  # X has no part
    found = drift(initial_VD, trained_VD)
    assert found.residues["C"] == pytest.approx(2)
    norm = np.linalg.norm(initial_VD[RESIDUES.index("W")])
    assert found.residues["W"] == pytest.approx(1 / norm)
    assert all(found.residues[letter] == 0 for letter in RESIDUES if letter not in "CW")
    step = np.hypot(2 * np.linalg.norm(initial_VD[RESIDUES.index("C")]), 1)
    assert found.overall == pytest.approx(step / np.linalg.norm(initial_VD[:20]))
    pairs = (table_distances(rows)[UPPER] for rows in (initial_VD, trained_VD))
    assert found.distances == pytest.approx(spearmanr(*pairs).statistic) and found.distances < 1


def test_drift_of_a_frozen_and_of_a_turned_table():
    rows_VD = table(0)
    frozen = drift(rows_VD, rows_VD)
    assert frozen.overall == 0 and frozen.distances == pytest.approx(1)
    assert set(frozen.residues.values()) == {0.0}
    turned = drift(rows_VD, rows_VD @ ortho_group(10, seed=0).rvs())
    assert turned.overall > 0.5 and turned.distances == pytest.approx(1)


def test_drift_from_nothing_is_undefined():
    found = drift(np.zeros((21, 3)), table(0, dim=3))
    assert found.overall is None and found.distances is None
    assert set(found.residues.values()) == {None}
    with pytest.raises(ValueError, match="one shape"):
        drift(table(0), table(0, dim=3))


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 40))
def test_agreement_is_procrustes(seed, dim, other_dim):
    first_VD, second_VD = table(seed, dim), table(seed + 1, other_dim)
    width = max(dim, other_dim)
    padded = [np.pad(t[:20], ((0, 0), (0, width - t.shape[1]))) for t in (first_VD, second_VD)]
    found = agreement({"a": first_VD, "b": second_VD}, permutations=3, seed=0)["a", "b"]
    assert found.value == pytest.approx(1 - procrustes(*padded)[2], abs=1e-9)


def test_the_same_geometry_agrees_fully():
    rows_VD = table(0)
    moved_VD = 5 * rows_VD @ ortho_group(10, seed=1).rvs() - 3
    wider_VD = np.pad(moved_VD, ((0, 0), (0, 7)))
    found = agreement({"a": rows_VD, "b": moved_VD, "c": wider_VD}, permutations=99, seed=0)
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    for test in found.values():
        assert test.value == pytest.approx(1) and test.p == pytest.approx(0.01)


def test_random_tables_agree_by_chance():
    found = agreement({str(seed): table(seed) for seed in range(25)}, permutations=99, seed=0)
    ps = np.array([test.p for test in found.values()])
    assert len(ps) == 300
    assert np.mean(ps <= 0.05) == pytest.approx(0.05, abs=0.04)
    # Chance is what fresh random tables give, which is not 0.
    drawn = np.array([test.value for test in found.values()])
    chance = np.array([[t.chance.value, t.chance.low, t.chance.high] for t in found.values()])
    expected = [drawn.mean(), *np.quantile(drawn, [0.025, 0.975])]
    assert chance.mean(0) == pytest.approx(expected, abs=0.03)
    assert drawn.mean() > 0.2


def test_a_shared_part_is_found():
    shared = table(0)
    tables = {str(seed): shared + 0.7 * table(seed) for seed in (1, 2)}
    test = agreement(tables, permutations=999, seed=0)["1", "2"]
    assert test.p == pytest.approx(0.001) and test.value > test.chance.high
    assert json.dumps(test.as_dict(), allow_nan=False)


def test_a_constant_table_agrees_with_nothing():
    found = agreement({"a": np.ones((21, 4)), "b": table(0)}, permutations=9, seed=0)
    assert found["a", "b"].as_dict() == {"value": None, "p": None, "chance": None}
    assert agreement({"a": table(0)}, seed=0) == {}
