"""Summaries of attributions: loops over records and residues, scipy, and what is known exactly."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from protemb.analysis.attribution_summary import (
    class_profile,
    randomisation_check,
    rank_agreement,
    region_density,
    untrained,
)
from protemb.intervals import Interval, bootstrap_weights, percentile_interval
from protemb.models.batches import collate
from protemb.models.classifier import SequenceClassifier
from protemb.models.embedder import Embedder
from protemb.models.encoders import RecurrentEncoder
from protemb.models.pooling import POOLINGS

SPANS = {"head": (0, 3), "loop": (2, 9), "tail": (9, 40), "beyond": (50, 60)}


@pytest.fixture
def sample():
    """30 records of 1 to 12 residues in 9 groups; columns have gaps and residues without one."""
    rng = np.random.default_rng(2)
    values, columns = [], []
    for _ in range(30):
        length = int(rng.integers(1, 13))
        values.append(rng.normal(size=length))
        place = np.sort(rng.choice(30, size=length, replace=False))
        columns.append(np.where(rng.random(length) < 0.2, -1, place))
    values[4][:] = 0
    labels = [("swine", "avian", "human")[i % 3] for i in range(30)]
    return values, columns, labels, rng.integers(9, size=30)


def resampled_mean(values_M, groups_M, replicates, seed) -> Interval:
    """Mean of the defined values; groups are drawn by writing their records out."""
    values_M = np.asarray(values_M, float)
    group_of_M, weights_RG = bootstrap_weights(groups_M, replicates=replicates, seed=seed)
    means = []
    for weights_G in weights_RG:
        drawn = np.repeat(values_M, weights_G[group_of_M])
        drawn = drawn[~np.isnan(drawn)]
        means.append(drawn.mean() if len(drawn) else math.nan)
    defined = values_M[~np.isnan(values_M)]
    return percentile_interval(defined.mean() if len(defined) else math.nan, np.array(means))


def near(interval: Interval):
    numbers = (interval.value, interval.low, interval.high)
    return pytest.approx(numbers, rel=1e-9, abs=1e-12, nan_ok=True)


def numbers_of(interval: Interval) -> tuple[float, ...]:
    return interval.value, interval.low, interval.high


# ---- density of regions ----------------------------------------------------------------------


@pytest.mark.parametrize("numbered", [True, False])
def test_density_of_regions_residue_by_residue(sample, numbered):
    values, columns, _, groups_M = sample
    if not numbered:
        columns = [range(len(values_L)) for values_L in values]
    found = region_density(
        values, SPANS, groups_M, sample[1] if numbered else None, replicates=40, seed=3
    )
    assert list(found) == list(SPANS)
    for name, (start, stop) in SPANS.items():
        densities = []
        for values_L, columns_L in zip(values, columns, strict=True):
            pairs = list(zip(values_L, columns_L, strict=True))
            inside = [abs(value) for value, column in pairs if start <= column < stop]
            placed = [abs(value) for value, column in pairs if column >= 0]
            if inside and sum(placed) > 0:
                densities.append(sum(inside) / len(inside) / (sum(placed) / len(placed)))
            else:
                densities.append(math.nan)
        assert numbers_of(found[name]) == near(resampled_mean(densities, groups_M, 40, 3))
    assert not math.isnan(found["loop"].low) and math.isnan(found["beyond"].value)


def test_equal_attributions_have_density_one():
    values = [
        np.full(length, (-1) ** length * size) for length, size in [(9, 2), (14, 0.1), (20, 7)]
    ]
    found = region_density(values, {"a": (0, 5), "b": (3, 9)}, np.arange(3), replicates=50, seed=0)
    for interval in found.values():
        assert numbers_of(interval) == pytest.approx((1, 1, 1))


def test_all_in_one_region():
    """4 of 20 residues have everything: 5 times the average; the others have nothing."""
    values_L = np.zeros(20)
    values_L[7:11] = [-1, 3, -2, 0.5]
    spans = {"site": (7, 11), "rest": (11, 20), "half": (0, 10)}
    found = region_density([values_L] * 2, spans, np.arange(2), replicates=10, seed=0)
    assert found["site"].value == pytest.approx(5) and found["rest"].value == 0
    assert found["half"].value == pytest.approx((1 + 3 + 2) / 10 / (6.5 / 20))


@given(
    st.lists(st.floats(-100, 100).filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=20),
    st.floats(0.01, 100),
    st.data(),
)
@settings(max_examples=50)
def test_regions_that_tile_the_chain_average_to_one(values, factor, data):
    """Weighted by their residues; units of the attributions and their signs do not matter."""
    cut = data.draw(st.integers(1, len(values) - 1))
    values_L, spans = np.array(values), {"first": (0, cut), "second": (cut, len(values))}
    found = region_density([values_L] * 2, spans, np.arange(2), replicates=5, seed=0)
    mean = (cut * found["first"].value + (len(values) - cut) * found["second"].value) / len(values)
    assert mean == pytest.approx(1)
    other = region_density([-factor * values_L] * 2, spans, np.arange(2), replicates=5, seed=0)
    assert all(other[name].value == pytest.approx(found[name].value) for name in spans)


def test_records_without_the_region_or_without_attributions_do_not_count():
    long, short, silent, unplaced = np.array([1.0, 1, 4, 4]), np.ones(2), np.zeros(4), np.ones(4)
    columns = [np.arange(4), np.arange(2), np.arange(4), np.full(4, -1)]
    found = region_density(
        [long, short, silent, unplaced],
        {"end": (2, 4)},
        np.arange(4),
        columns,
        replicates=9,
        seed=0,
    )
    assert found["end"].value == pytest.approx(4 / 2.5)


def test_residues_without_a_column_are_no_part_of_the_average():
    values_L, columns_L = np.array([1.0, 100, 3]), np.array([0, -1, 1])
    found = region_density([values_L], {"second": (1, 2)}, np.zeros(1), [columns_L], seed=0)
    assert found["second"].value == pytest.approx(3 / 2)
    assert math.isnan(found["second"].low)  # one group cannot be resampled


def test_densities_resample_groups_and_nothing_else(sample):
    values, columns, _, groups_M = sample
    options = {"replicates": 200, "seed": 1}
    found = region_density(values, SPANS, groups_M, columns, **options)
    assert found["loop"] == region_density(values, SPANS, groups_M, columns, **options)["loop"]
    single = region_density(values, SPANS, np.arange(30), columns, **options)
    assert single["loop"].value == found["loop"].value and single["loop"] != found["loop"]
    # Each record three times in a group of its own: nothing is known better.
    tripled = region_density(values * 3, SPANS, np.tile(np.arange(30), 3), columns * 3, **options)
    assert numbers_of(tripled["loop"]) == near(single["loop"])


def test_no_regions_no_densities(sample):
    values, columns, _, groups_M = sample
    assert region_density(values, {}, groups_M, columns, seed=0) == {}


@pytest.mark.parametrize("function", ["profile", "density"])
@pytest.mark.parametrize("columns", [[np.arange(4)], [np.arange(4), np.arange(3)]])
def test_columns_of_other_records_are_refused(function, columns):
    values = [np.ones(4), np.ones(4)]
    with pytest.raises(ValueError):
        if function == "profile":
            class_profile(values, ["a", "b"], columns)
        else:
            region_density(values, {"a": (0, 2)}, np.arange(2), columns, seed=0)


# ---- profiles of classes ---------------------------------------------------------------------


@pytest.mark.parametrize("numbered", [True, False])
def test_profiles_column_by_column(sample, numbered):
    values, columns, labels, _ = sample
    if not numbered:
        columns = [np.arange(len(values_L)) for values_L in values]
    found = class_profile(values, labels, columns if numbered else None)
    assert found.labels == ("avian", "human", "swine")
    P = max(int(columns_L.max()) for columns_L in columns) + 1
    assert found.signed_CP.shape == found.absolute_CP.shape == found.counts_CP.shape == (3, P)
    for c, label in enumerate(found.labels):
        for p in range(P):
            here = [
                value
                for values_L, columns_L, own in zip(values, columns, labels, strict=True)
                for value, column in zip(values_L, columns_L, strict=True)
                if own == label and column == p
            ]
            assert found.counts_CP[c, p] == len(here)
            expected = np.mean(here) if here else math.nan
            assert found.signed_CP[c, p] == pytest.approx(expected, nan_ok=True)
            expected = np.mean(np.abs(here)) if here else math.nan
            assert found.absolute_CP[c, p] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(found.signed_CP).any() or not numbered


def test_a_profile_goes_to_json():
    found = class_profile([np.array([1.0, -2]), np.array([3.0])], ["b", "a"])
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == {
        "labels": ["a", "b"],
        "signed": [[3.0, None], [1.0, -2.0]],
        "absolute": [[3.0, None], [1.0, 2.0]],
        "counts": [[1, 0], [1, 1]],
    }


def test_labels_of_other_records_are_refused():
    with pytest.raises(ValueError, match="of different records"):
        class_profile([np.ones(2)], ["a", "b"])


# ---- agreement -------------------------------------------------------------------------------


@pytest.mark.parametrize("absolute", [False, True])
def test_agreement_is_scipys_rank_correlation(sample, absolute):
    values, _, _, groups_M = sample
    rng = np.random.default_rng(0)
    # Rounded: ties within a record.
    others = [(values_L + rng.normal(size=len(values_L))).round(1) for values_L in values]
    expected = []
    for first_L, second_L in zip(values, others, strict=True):
        if absolute:
            first_L, second_L = np.abs(first_L), np.abs(second_L)
        flat = np.ptp(first_L) == 0 or np.ptp(second_L) == 0
        expected.append(math.nan if flat else spearmanr(first_L, second_L).statistic)
    assert np.isnan(expected).any()
    found = rank_agreement(values, others, groups_M, absolute=absolute, replicates=60, seed=5)
    assert numbers_of(found) == near(resampled_mean(expected, groups_M, 60, 5))


def test_agreement_with_oneself_and_with_the_opposite(sample):
    values, _, _, groups_M = sample
    opposite = [-values_L for values_L in values]
    for others, absolute, expected in (
        (values, False, 1),
        (opposite, False, -1),
        (opposite, True, 1),
    ):
        found = rank_agreement(values, others, groups_M, absolute=absolute, replicates=20, seed=0)
        assert numbers_of(found) == pytest.approx((expected,) * 3)


# ---- untrained networks ----------------------------------------------------------------------


def network(pooling="attention") -> SequenceClassifier:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(embed_dim=4, hidden_dim=5)
    return SequenceClassifier(Embedder(encoder, POOLINGS[pooling], "states"), 3, hidden=4)


def test_all_weights_are_drawn_anew_and_the_network_stays():
    classifier = network()
    torch.nn.init.normal_(classifier.embedder.pooling.query)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    state = torch.get_rng_state()
    first, again, other = (untrained(classifier, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in classifier.state_dict().items():
        assert torch.equal(value, before[name]) and torch.equal(first[name], again[name])
        assert not torch.equal(first[name], value), name
        if "query" in name:  # starts from zero: all residues alike
            assert not first[name].any()
        else:
            assert not torch.equal(first[name], other[name]), name


def scores_of_residues(classifier, texts) -> list[np.ndarray]:
    """Stand-ins for attributions: how far the first logit moves from residue to residue."""
    values = []
    with torch.no_grad():
        for tokens_L in texts:
            pieces = [collate([tokens_L[:stop]], 21) for stop in range(1, len(tokens_L) + 1)]
            logits = [float(classifier.eval()(x.tokens_BL, x.lengths_B)[0, 0]) for x in pieces]
            values.append(np.diff(logits, prepend=0.0))
    return values


def test_randomisation_compares_with_untrained_networks():
    rng = np.random.default_rng(0)
    texts = [rng.integers(20, size=12).astype(np.uint8) for _ in range(6)]
    classifier, groups_M = network("mean"), np.array([0, 0, 1, 2, 2, 3])
    found = randomisation_check(
        classifier,
        lambda each: scores_of_residues(each, texts),
        groups_M,
        draws=3,
        replicates=30,
        seed=4,
    )
    trained = scores_of_residues(classifier, texts)
    correlations = {"absolute": [], "signed": []}
    for draw in range(3):
        drawn = scores_of_residues(untrained(classifier, seed=4 + draw), texts)
        for name, change in (("absolute", np.abs), ("signed", np.array)):
            pairs = zip(trained, drawn, strict=True)
            correlations[name].append([spearmanr(change(x), change(y)).statistic for x, y in pairs])
    for name, draws in correlations.items():
        expected = resampled_mean(np.mean(draws, axis=0), groups_M, 30, 4)
        assert numbers_of(getattr(found, name)) == near(expected)
    assert found.absolute_draws == pytest.approx([np.mean(c) for c in correlations["absolute"]])
    assert json.loads(json.dumps(found.as_dict()))["absolute"] == found.absolute.as_dict()


def test_what_does_not_depend_on_the_weights_is_found_out():
    """A map of the architecture alone agrees with every untrained network."""
    values = [np.arange(5.0), np.array([3.0, -1, 2, 0])]
    found = randomisation_check(
        network(), lambda _: values, np.arange(2), draws=2, replicates=20, seed=0
    )
    assert numbers_of(found.absolute) == numbers_of(found.signed) == pytest.approx((1, 1, 1))
    assert found.absolute_draws == pytest.approx((1, 1))
