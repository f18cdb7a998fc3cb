"""Cells and base features against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import ConfigError
from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.base import base_features
from protemb.variants.features import FEATURES, Cell, cell_features, check_cell, pooling_reach
from protemb.variants.mutations import Mutation
from protemb.variants.table import VariantTable


def table_of(rows, wild_types, **covariates):
    """A table from (protein, mutation) pairs; "" is the wild type itself."""
    n, proteins = len(rows), np.array([protein for protein, _ in rows])
    return VariantTable(
        proteins_N=proteins,
        mutations=tuple(Mutation.parse(text) if text else Mutation() for _, text in rows),
        wild_types=wild_types,
        values_N=np.arange(n, dtype=float),
        labels_N=None,
        label_names=(),
        groups_N=proteins,
        covariates={name: np.array(column) for name, column in covariates.items()},
        weights_N=np.ones(n),
    )


def by_loop(wild_D, variant_D, features):
    """One row's features, number by number."""
    if features == "concatenated":
        return [*wild_D, *variant_D]
    one = {
        "wild_type": lambda a, b: a,
        "variant": lambda a, b: b,
        "difference": lambda a, b: b - a,
        "absolute_difference": lambda a, b: abs(b - a),
    }[features]
    return [one(a, b) for a, b in zip(wild_D, variant_D, strict=True)]


@pytest.mark.parametrize("features", FEATURES)
def test_features_are_those_of_a_loop(features):
    rng = np.random.default_rng(0)
    wild_ND, variant_ND = rng.normal(size=(2, 7, 5)).astype(np.float32)
    found_NC = cell_features(wild_ND, variant_ND, features)
    expected = [by_loop(*pair, features) for pair in zip(wild_ND, variant_ND, strict=True)]
    np.testing.assert_array_equal(found_NC, np.array(expected, np.float32))
    assert found_NC.dtype == np.float32


def test_the_reverse_mutation_exchanges_the_two():
    rng = np.random.default_rng(1)
    wild_ND, variant_ND = rng.normal(size=(2, 7, 5)).astype(np.float32)
    there = {word: cell_features(wild_ND, variant_ND, word) for word in FEATURES}
    back = {word: cell_features(variant_ND, wild_ND, word) for word in FEATURES}
    np.testing.assert_array_equal(back["wild_type"], there["variant"])
    np.testing.assert_array_equal(back["difference"], -there["difference"])
    np.testing.assert_array_equal(back["absolute_difference"], there["absolute_difference"])
    np.testing.assert_array_equal(back["concatenated"], np.roll(there["concatenated"], 5, axis=1))


def test_arrays_that_do_not_fit_are_a_defect():
    with pytest.raises(ValueError, match="differ"):
        cell_features(np.zeros((2, 3)), np.zeros((1, 3)), "difference")


def test_words():
    assert Cell("a", "states", "window(3)", "variant").name == "a/states/window(3)/variant"
    assert pooling_reach("window(0)") == pooling_reach("position") == 0
    for word in ("median", "window", "window(-1)", "window(x)", "window(1", "attention", ""):
        with pytest.raises(ConfigError, match="^pooling: got "):
            Cell("a", "states", word, "variant")
    with pytest.raises(ConfigError, match="^features: got 'mutant', expected one of wild_type, "):
        Cell("a", "states", "mean", "mutant")
    with pytest.raises(ConfigError, match="^features: got 'mutant'"):
        cell_features(np.zeros((1, 1)), np.zeros((1, 1)), "mutant")


def test_a_table_without_mutations_has_wild_types_only():
    plain = table_of([("a", ""), ("b", "")], {"a": "MKV", "b": "MK"})
    check_cell(Cell("e", "states", "mean", "wild_type"), plain)
    for features in FEATURES[1:]:
        with pytest.raises(ConfigError, match=f"^features: got '{features}', expected wild_type"):
            check_cell(Cell("e", "states", "mean", features), plain)
    with pytest.raises(ConfigError, match="^pooling: got 'position', expected one of mean, "):
        check_cell(Cell("e", "states", "position", "wild_type"), plain)
    mutated = table_of([("a", "M1A")], {"a": "MKV"})
    check_cell(Cell("e", "states", "position", "difference"), mutated)


def test_base_features_by_hand():
    table = table_of(
        [("a", "M1A"), ("a", "K2A:V3A"), ("b", ""), ("b", "K2W")],
        {"a": "MKV", "b": "MKX"},
        struc=["H", "", "L", "H"],
        pH=[7.0, np.nan, 5.0, 9.0],
        depth=[1.5, 2.0, 0.0, -1.0],
    )
    base_NB, reverse_NB, names = base_features(table)
    assert base_NB.dtype == reverse_NB.dtype == np.float32
    assert names[:6] == ("depth", "pH", "pH missing", "struc=", "struc=H", "struc=L")
    assert names[6:] == tuple(f"{kind} {a}" for kind in ("wild", "new") for a in RESIDUES)
    rows = [dict(zip(names, row, strict=True)) for row in base_NB.tolist()]
    assert [row["depth"] for row in rows] == [1.5, 2.0, 0.0, -1.0]
    assert [row["pH"] for row in rows] == [7.0, 7.0, 5.0, 9.0]
    assert [row["pH missing"] for row in rows] == [0, 1, 0, 0]
    assert [[row[f"struc={c}"] for c in ("", "H", "L")] for row in rows] == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
    ]
    present = [{name for name in names[6:] if row[name]} for row in rows]
    assert present == [
        {"wild M", "new A"},
        {"wild K", "wild V", "new A"},
        set(),
        {"wild K", "new W"},
    ]
    assert rows[1]["new A"] == 2


def test_a_covariate_that_is_missing_everywhere_is_zero():
    table = table_of([("a", "M1A")], {"a": "MKV"}, pH=[np.nan])
    base_NB, _, names = base_features(table)
    assert names[:2] == ("pH", "pH missing") and base_NB[0, :2].tolist() == [0, 1]
    assert np.isfinite(base_NB).all()


@given(st.data())
def test_the_reverse_table_has_the_reverse_features(data):
    """Tables of the variants with the mutations back have them, covariates as they were."""
    letters = st.sampled_from(RESIDUES)
    sequence = data.draw(st.text(letters, min_size=3, max_size=9))
    rows, reverse, sequences = [], [], {"wild": sequence}
    for n in range(data.draw(st.integers(1, 4))):
        places = data.draw(st.sets(st.integers(0, len(sequence) - 1), min_size=1, max_size=3))
        changes = [(p, data.draw(letters.filter(lambda a, p=p: a != sequence[p]))) for p in places]
        text = ":".join(f"{sequence[p]}{p + 1}{new}" for p, new in changes)
        mutation = Mutation.parse(text)
        rows.append(("wild", text))
        reverse.append((f"v{n}", str(mutation.reversed())))
        sequences[f"v{n}"] = mutation.apply(sequence)
    struc = [data.draw(st.sampled_from("HEL")) for _ in rows]
    base_NB, reverse_NB, names = base_features(table_of(rows, sequences, struc=struc))
    there_NB, back_NB, same = base_features(table_of(reverse, sequences, struc=struc))
    assert same == names
    np.testing.assert_array_equal(reverse_NB, there_NB)
    np.testing.assert_array_equal(base_NB, back_NB)
