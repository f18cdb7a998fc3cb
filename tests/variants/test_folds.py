import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from protemb.errors import ConfigError
from protemb.variants.folds import make_folds
from protemb.variants.mutations import Mutation
from protemb.variants.table import VariantTable

AMINO = "ARNDCQEGHILKMFPSTWYV"


def random_protein(rng, length=120):
    return "".join(rng.choice(list(AMINO), length))


def table_of(wild_types, rows_of, groups=None):
    """A table with so many rows of each protein, shuffled."""
    proteins = [name for name, rows in rows_of.items() for _ in range(rows)]
    proteins_N = np.random.default_rng(0).permutation(np.array(proteins))
    N = len(proteins_N)
    return VariantTable(
        proteins_N=proteins_N,
        mutations=(Mutation(()),) * N,
        wild_types=wild_types,
        values_N=np.arange(N, dtype=np.float64),
        labels_N=None,
        label_names=(),
        groups_N=proteins_N if groups is None else groups(proteins_N),
        covariates={},
        weights_N=np.ones(N),
    )


@pytest.fixture
def plain():
    """Fourteen unrelated proteins."""
    rng = np.random.default_rng(1)
    names = [f"P{number}" for number in rng.permutation(14)]
    rows_of = {name: int(rows) for name, rows in zip(names, rng.integers(3, 40, 14), strict=True)}
    return table_of({name: random_protein(rng) for name in names}, rows_of)


def is_together(fold_N, group_of_N):
    return all(len(np.unique(fold_N[group_of_N == group])) == 1 for group in np.unique(group_of_N))


def test_unrelated_proteins_are_dealt_as_scikit_learn_deals_their_names(plain):
    fold_N, facts = make_folds("protein", plain, 5, seed=0)
    expected_N = np.empty(len(plain), np.int64)
    splitter = GroupKFold(5).split(plain.proteins_N, groups=plain.proteins_N)
    for fold, (_, held_out) in enumerate(splitter):
        expected_N[held_out] = fold
    np.testing.assert_array_equal(fold_N, expected_N)
    assert fold_N.dtype == np.int64
    rows = np.bincount(fold_N)
    assert facts == {
        "kind": "protein",
        "folds": 5,
        "groups": 14,
        "largest_fold_share": rows.max() / len(plain),
        "rows_per_fold": rows.tolist(),
    }
    np.testing.assert_array_equal(make_folds("protein", plain, 5, seed=9)[0], fold_N)


def test_proteins_of_one_wild_type_stay_together(plain):
    wild_types = dict(plain.wild_types) | {"P3": plain.wild_types["P8"]}
    wild_types["P5"] = wild_types["P8"]
    rows_of = dict.fromkeys(wild_types, 5)
    table = table_of(wild_types, rows_of)
    fold_N, facts = make_folds("protein", table, 12, seed=0)
    assert facts["groups"] == 12
    same = np.where(np.isin(table.proteins_N, ["P3", "P5", "P8"]), "P3", table.proteins_N)
    assert is_together(fold_N, same)


@pytest.mark.slow
def test_relatives_stay_together(tmp_path):
    rng = np.random.default_rng(2)
    wild_types = {}
    for family in range(6):
        founder = random_protein(rng, 150)
        for member in range(3):  # about three quarters of the founder's letters
            letters = list(founder)
            for place in rng.choice(150, 40 * (member > 0), replace=False):
                letters[place] = rng.choice(list(AMINO))
            wild_types[f"{member}-{family}"] = "".join(letters)
    table = table_of(wild_types, dict.fromkeys(wild_types, 4))
    fold_N, facts = make_folds("cluster", table, 3, seed=0, cache_dir=tmp_path)
    family_N = np.array([name.split("-")[1] for name in table.proteins_N])
    assert is_together(fold_N, family_N)
    assert facts["groups"] == facts["clusters"] == 6 and facts["identity"] == 0.5
    assert any(tmp_path.iterdir())
    np.testing.assert_array_equal(make_folds("cluster", table, 3, 0, cache_dir=tmp_path)[0], fold_N)


def test_groups_of_the_table_stay_together(plain):
    table = table_of(
        plain.wild_types,
        dict.fromkeys(plain.wild_types, 6),
        groups=lambda names_N: np.array([str(int(name[1:]) % 4) for name in names_N]),
    )
    fold_N, facts = make_folds("group", table, 4, seed=0)
    assert facts["groups"] == 4 and is_together(fold_N, table.groups_N)


def test_random_folds_split_proteins_and_depend_on_the_seed(plain):
    fold_N, facts = make_folds("random", plain, 5, seed=0)
    assert facts["groups"] == len(plain) and not is_together(fold_N, plain.proteins_N)
    assert np.ptp(np.bincount(fold_N)) <= 1
    np.testing.assert_array_equal(make_folds("random", plain, 5, seed=0)[0], fold_N)
    assert (make_folds("random", plain, 5, seed=1)[0] != fold_N).any()


@pytest.mark.parametrize(
    ("kind", "folds", "message"),
    [
        ("family", 5, "expected one of protein, cluster, group, random"),
        ("protein", 1, "at least 2"),
        ("protein", 15, "at most 14, as there are 14 distinct proteins"),
        ("group", 15, "14 groups"),
    ],
)
def test_what_cannot_be_dealt_is_refused(plain, kind, folds, message):
    with pytest.raises(ConfigError, match=message):
        make_folds(kind, plain, folds, seed=0)
