"""The simulated table: its planted answer is there, and shows what it is meant to show."""

from collections import Counter

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from protemb.errors import ConfigError
from protemb.sequences.amino_acids import HYDROPATHY, RESIDUES, VOLUME
from protemb.variants.base import base_features
from protemb.variants.demo import NOISE, REACH, STRUCTURES, DemoTable, burial, neighbourhood

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def tables():
    return {seed: DemoTable(seed=seed).load() for seed in SEEDS}


def sites(table):
    """(sequence, position, wild, new) of each row."""
    found = [
        (table.wild_type(row), one.position, one.wild, one.new)
        for row, mutation in enumerate(table.mutations)
        for one in mutation.substitutions
    ]
    assert len(found) == len(table)  # single substitutions all
    return found


def hydropathy(letter):
    return HYDROPATHY[RESIDUES.index(letter)]


def change_N(table):
    """Hydropathy and volume that the mutations lose, in the units of the recipe, row by row."""
    volume = dict(zip(RESIDUES, VOLUME, strict=True))
    return np.array(
        [
            (hydropathy(wild) - hydropathy(new)) / 4 + (volume[wild] - volume[new]) / 60
            for _, _, wild, new in sites(table)
        ]
    )


def neighbours_N(table):
    """Mean hydropathy of the neighbours of each row's site."""
    means = []
    for sequence, position, _, _ in sites(table):
        around = range(max(0, position - REACH), min(len(sequence), position + REACH + 1))
        means.append(np.mean([hydropathy(sequence[i]) for i in around if i != position]))
    return np.array(means)


def composition_NA(table):
    return np.array(
        [[wild.count(letter) / len(wild) for letter in RESIDUES] for wild, *_ in sites(table)]
    )


def pearson(table, features_NC, splits):
    model = make_pipeline(StandardScaler(), Ridge(10.0))
    predicted_N = cross_val_predict(model, features_NC, table.values_N, cv=list(splits))
    return np.corrcoef(predicted_N, table.values_N)[0, 1]


def grouped(table, features_NC):
    """Pearson r in folds that keep proteins together."""
    return pearson(table, features_NC, GroupKFold(8).split(features_NC, groups=table.groups_N))


def random(table, features_NC):
    """Pearson r in folds of rows."""
    folds = KFold(8, shuffle=True, random_state=0)
    return pearson(table, features_NC, folds.split(features_NC))


def test_sizes_are_unequal():
    table = DemoTable(proteins=3, mutations=7).load()
    assert Counter(table.proteins_N.tolist()) == {"demo01": 35, "demo02": 7, "demo03": 7}
    assert (table.groups_N == table.proteins_N).all() and (table.weights_N == 1).all()
    assert len(DemoTable().load()) == 28 * 40 and len(DemoTable().load().wild_types) == 24


def test_options_make_the_table():
    first = DemoTable(proteins=4, mutations=5, seed=3).load()
    again = DemoTable(proteins=4, mutations=5, seed=3).load()
    assert first.fingerprint == again.fingerprint
    assert (first.values_N == again.values_N).all() and first.wild_types == again.wild_types
    assert DemoTable(proteins=4, mutations=5, seed=4).load().fingerprint != first.fingerprint
    more = DemoTable(proteins=6, mutations=5, seed=3).load()  # the first four stay as they are
    assert more.select(np.arange(len(first))).fingerprint == first.fingerprint


@pytest.mark.parametrize("mutations", [1, 3, 48])
def test_mutations_differ_and_sites_repeat(mutations):
    table = DemoTable(proteins=8, mutations=mutations, seed=5).load()
    rows = list(zip(table.proteins_N.tolist(), map(str, table.mutations), strict=True))
    assert len(set(rows)) == len(rows) == 12 * mutations
    at_site = Counter((sequence, position) for sequence, position, _, _ in sites(table))
    assert max(at_site.values()) == min(4, 5 * mutations)


def test_covariate(tables):
    assert all(set(table.covariates) == {"struc"} for table in tables.values())
    assert set(tables[0].covariates["struc"].tolist()) == set(STRUCTURES)


def test_burial_follows_from_the_neighbours(tables):
    table = tables[0]
    found = [neighbourhood(sequence)[position] for sequence, position, _, _ in sites(table)]
    np.testing.assert_allclose(found, neighbours_N(table), atol=1e-12)
    sequence = table.wild_type(0)
    rank = np.argsort(neighbourhood(sequence))
    assert (np.diff(burial(sequence)[rank]) >= 0).all()
    assert 0 <= burial(sequence).min() < 0.2 and 0.8 < burial(sequence).max() <= 1
    # The site's own residue says nothing.
    other = sequence[:9] + ("D" if sequence[9] != "D" else "I") + sequence[10:]
    assert burial(other)[9] == burial(sequence)[9]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_planted_parts_are_all_there_is(tables, seed):
    """Least squares on the true parts finds their weights, and leaves the noise."""
    table = tables[seed]
    buried_N = np.array([burial(wild)[position] for wild, position, _, _ in sites(table)])
    added_N = np.array([STRUCTURES[word] for word in table.covariates["struc"]])
    proteins_NP = table.proteins_N[:, None] == np.unique(table.proteins_N)
    parts = np.column_stack([change_N(table) * buried_N, added_N, proteins_NP])
    fit = LinearRegression(fit_intercept=False).fit(parts, table.values_N)
    np.testing.assert_allclose(fit.coef_[:2], 1, atol=0.15)
    left_N = table.values_N - fit.predict(parts)
    freedom = len(table) - parts.shape[1]
    assert np.sqrt(left_N @ left_N / freedom) == pytest.approx(NOISE, rel=0.1)
    assert 0.4 < fit.coef_[2:].std() < 1.3  # shifts of the proteins


@pytest.mark.parametrize("seed", SEEDS)
def test_neighbours_explain_what_residue_types_do_not(tables, seed):
    table = tables[seed]
    base_NB = base_features(table)[0]
    alone = grouped(table, base_NB)
    hydropathy_N = neighbours_N(table)
    beside = grouped(table, np.column_stack([base_NB, hydropathy_N]))
    product = grouped(table, np.column_stack([base_NB, hydropathy_N * change_N(table)]))
    assert 0.3 < alone < 0.75
    assert product > alone + 0.05
    assert product > beside + 0.02  # burial scales the change, it adds little by itself


@pytest.mark.parametrize("seed", SEEDS)
def test_random_folds_look_better(tables, seed):
    table = tables[seed]
    base_NB = base_features(table)[0]
    assert random(table, base_NB) > grouped(table, base_NB) + 0.02
    # What gives the protein away gives its shift away, and means nothing for another protein.
    revealing = np.column_stack([base_NB, composition_NA(table)])
    assert random(table, revealing) > random(table, base_NB) + 0.05
    assert grouped(table, revealing) < grouped(table, base_NB)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"proteins": 0}, "table.proteins: got 0, expected a number from 1 on"),
        ({"mutations": 0}, "table.mutations: got 0, expected a number from 1 to 48"),
        ({"mutations": 49}, "table.mutations: got 49"),
        ({"seed": -1}, "table.seed: got -1, expected a number from 0 on"),
    ],
)
def test_options_that_cannot_be(options, problem):
    with pytest.raises(ConfigError, match=problem):
        DemoTable(**options)
