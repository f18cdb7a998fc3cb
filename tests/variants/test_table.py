from dataclasses import replace

import numpy as np
import pytest

from protemb.variants.mutations import Mutation
from protemb.variants.table import VariantTable


@pytest.fixture
def table():
    return VariantTable(
        proteins_N=np.array(["P", "P", "Q"]),
        mutations=tuple(map(Mutation.parse, ["M1A", "K2A:L3G", "A1C"])),
        wild_types={"P": "MKL", "Q": "AC"},
        values_N=np.array([0.5, -1.0, 2.0]),
        labels_N=None,
        label_names=(),
        groups_N=np.array(["g", "g", "h"]),
        covariates={"struc": np.array(["H", "", "E"]), "pH": np.array([7.0, np.nan, 5.0])},
        weights_N=np.ones(3),
        report={"rows_kept": 3},
    )


def test_sequences_of_rows(table):
    assert len(table) == 3 and table.has_mutations
    assert [table.wild_type(row) for row in range(3)] == ["MKL", "MKL", "AC"]
    assert [table.variant(row) for row in range(3)] == ["AKL", "MAG", "CC"]


def test_selected_rows_are_a_table(table):
    part = table.select([2, 0])
    assert part.proteins_N.tolist() == ["Q", "P"] and part.values_N.tolist() == [2, 0.5]
    assert part.variant(0) == "CC" and part.groups_N.tolist() == ["h", "g"]
    assert part.covariates["struc"].tolist() == ["E", "H"] and part.report == table.report
    assert table.select(np.array([False, False, True])).wild_types == {"Q": "AC"}
    assert table.select(range(3)).fingerprint == table.fingerprint
    assert part.fingerprint != table.fingerprint
    assert part.fingerprint == table.select([0, 2]).select([1, 0]).fingerprint
    assert len(table.select([])) == 0
    with pytest.raises(ValueError, match="mask of shape"):
        table.select(np.array([True]))


CHANGES = {
    "protein ids": lambda t: {
        "proteins_N": np.array(["P", "P", "R"]),
        "wild_types": {"P": "MKL", "R": "AC"},
    },
    "new residue": lambda t: {"mutations": (Mutation.parse("M1C"), *t.mutations[1:])},
    "chain": lambda t: {"mutations": (Mutation.parse("A:M1A"), *t.mutations[1:])},
    "sequence": lambda t: {"wild_types": {"P": "MKLV", "Q": "AC"}},
    "value": lambda t: {"values_N": np.array([0.5, -1.0, 2.5])},
    "labels": lambda t: {
        "values_N": None,
        "labels_N": np.array([0, 0, 1]),
        "label_names": ("a", "b"),
    },
    "group": lambda t: {"groups_N": np.array(["g", "h", "h"])},
    "category": lambda t: {"covariates": {**t.covariates, "struc": np.array(["H", "E", ""])}},
    "covariate name": lambda t: {
        "covariates": {"s": t.covariates["struc"], "pH": t.covariates["pH"]}
    },
    "weight": lambda t: {"weights_N": np.array([1.0, 1.0, 2.0])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_content_changes_the_fingerprint(table, change):
    assert replace(table, **change(table), fingerprint="").fingerprint != table.fingerprint


def test_order_and_report_do_not(table):
    covariates = dict(reversed(table.covariates.items()))
    wild_types = {"Z": "MMM", "Q": "AC", "P": "MKL"}
    again = replace(table, covariates=covariates, wild_types=wild_types, report={}, fingerprint="")
    assert again.fingerprint == table.fingerprint
    wide = replace(table, groups_N=table.groups_N.astype("U50"), fingerprint="")
    assert wide.fingerprint == table.fingerprint


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"values_N": None}, "values or labels"),
        ({"labels_N": np.zeros(3, np.int64)}, "values or labels"),
        ({"weights_N": np.ones(2)}, r"weights: got shape \(2,\)"),
        ({"covariates": {"x": np.ones((3, 1))}}, "covariate x: got shape"),
        ({"mutations": ()}, "0 mutations"),
        ({"wild_types": {"P": "MKL", "Q": "WC"}}, "row 2, Q A1C: residue 1 is W, not A"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(table, change, problem):
    with pytest.raises(ValueError, match=problem):
        replace(table, **change, fingerprint="")


def test_whole_proteins(table):
    whole = replace(table, mutations=(Mutation(),) * 3, fingerprint="")
    assert not whole.has_mutations and whole.variant(2) == "AC"
