"""Gaps, bands and ceilings against loops, brute force and samples with a known truth."""

import gzip
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.analysis.leakage import EDGES, Band, gap_table, identity_bands, label_ceiling
from protemb.errors import ConfigError
from protemb.intervals import bootstrap_weights
from protemb.scores import bootstrap_scores, weighted_scores
from protemb.sequences.audit import audit
from protemb.sequences.demo import DemoSource
from protemb.sequences.labels import Rule
from protemb.sequences.neighbours import nearest_identity
from protemb.sequences.source import FileSource
from protemb.sequences.splits import RandomSplit, UniqueSplit

# ---- the gap table ---------------------------------------------------------------------------


def noisy(value, size=2000, spread=0.02, seed=0):
    return value, value + spread * np.random.default_rng(seed).normal(size=size)


def test_the_gap_table_holds_means_and_differences_to_the_reference():
    scores = {
        ("lstm", "random"): [noisy(0.85, seed=1)] * 2,
        ("lstm", "unique"): [noisy(0.65, seed=2)] * 2,
        ("mean", "random"): [noisy(0.5, seed=1)],
        ("mean", "time"): [(0.4, None)],
        ("cnn", "unique"): [(math.nan, None)],
    }
    table = gap_table(scores)
    assert (table.reference, table.models) == ("unique", ("lstm", "mean", "cnn"))
    assert table.splits == ("random", "unique", "time")
    assert table.cells["lstm", "random"].value == pytest.approx(0.85)
    assert list(table.gaps) == [("lstm", "random")]  # the others lack one of the two
    gap = table.gaps["lstm", "random"]
    assert gap.value == pytest.approx(0.2)
    assert (gap.high - gap.low) / 2 == pytest.approx(1.96 * math.hypot(0.02, 0.02), rel=0.08)
    plain = table.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["models"]["lstm"]["random"]["runs"] == [0.85, 0.85]
    assert plain["models"]["lstm"]["random"]["gap"] == gap.as_dict()
    assert plain["models"]["mean"]["time"]["gap"] is None
    assert plain["models"]["cnn"]["unique"]["score"]["value"] is None
    assert plain["models"]["cnn"]["unique"]["runs"] == [None]


def test_another_reference_turns_gaps_around():
    scores = {("a", "random"): [noisy(0.9)], ("a", "unique"): [noisy(0.7, seed=3)]}
    assert gap_table(scores, "random").gaps["a", "unique"].value == pytest.approx(-0.2)
    with pytest.raises(ConfigError, match=r"reference.*'cluster'.*random, unique"):
        gap_table(scores, "cluster")
    with pytest.raises(ConfigError, match="none"):
        gap_table({})


def test_a_random_split_of_repeats_gains_over_an_honest_one():
    """A model that knows training sequences by heart, and nothing else."""
    data = DemoSource(sequences_per_host=200).load()
    scores = {}
    for name, splitter in (("random", RandomSplit()), ("unique", UniqueSplit())):
        split = splitter.split(data)
        known = dict(zip(data.sequences_N[split.train], data.labels_N[split.train], strict=True))
        answers_M = [known.get(s, 0) for s in data.sequences_N[split.test].tolist()]
        values, replicates = bootstrap_scores(
            data.labels_N[split.test],
            np.eye(4)[answers_M],
            data.sequences_N[split.test],
            data.label_names,
            replicates=300,
        )
        scores["memory", name] = [(values["accuracy"], replicates["accuracy"])]
    table = gap_table(scores)
    assert table.cells["memory", "unique"].value == pytest.approx(0.25, abs=0.02)
    assert table.gaps["memory", "random"].low > 0


# ---- identity bands --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tested():
    """300 records in 60 groups, some of which span bands, and two runs."""
    rng = np.random.default_rng(3)
    groups_N = rng.integers(60, size=300)
    identity_N = np.clip(0.9 + 0.002 * groups_N + rng.normal(0, 0.01, 300), 0, 1)
    labels_N = rng.integers(3, size=300)
    return identity_N, labels_N, rng.dirichlet(np.ones(3), (2, 300)), groups_N


def test_bands_equal_scores_of_their_records(tested):
    identity_N, labels_N, probabilities_KNC, groups_N = tested
    edges = (0, 0.5, 0.92, 0.95, 0.98, 1)
    options = {"names": list("abc"), "edges": edges, "replicates": 200, "seed": 5}
    bands = identity_bands(identity_N, labels_N, probabilities_KNC[:1], groups_N, **options)
    group_of_N, weights_RG = bootstrap_weights(groups_N, replicates=200, seed=5)
    for band, low, high in zip(bands, edges, (*edges[1:], 2), strict=True):
        rows = [n for n in range(300) if low <= identity_N[n] < high]
        assert band.records == len(rows) and band.low == low
        assert band.groups == len({int(groups_N[n]) for n in rows})
        assert band.classes == len({int(labels_N[n]) for n in rows})
        if not rows:
            assert band.accuracy is band.balanced_accuracy is None
            continue
        for metric in ("accuracy", "balanced_accuracy"):
            cut = labels_N[rows], probabilities_KNC[0, rows]
            value = weighted_scores(*cut, np.ones((1, len(rows))), list("abc"))[metric]
            weights_RN = weights_RG[:, group_of_N[rows]]
            weights_RN = weights_RN[weights_RN.any(1)]  # where none of the band was drawn
            replicates_R = weighted_scores(*cut, weights_RN, list("abc"))[metric]
            found = getattr(band, metric)
            assert found.value == pytest.approx(value[0])
            expected = np.quantile(replicates_R, [0.025, 0.975])
            assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert bands[0].records == 0 and bands[-1].high is None
    assert sum(band.records for band in bands) == 300
    assert {band.classes for band in bands if band.records} == {3}


def test_bands_average_runs(tested):
    identity_N, labels_N, probabilities_KNC, groups_N = tested
    options = {"names": list("abc"), "edges": (0, 0.95, 1), "replicates": 200}

    def scored(probabilities_KNC):
        found = identity_bands(identity_N, labels_N, probabilities_KNC, groups_N, **options)
        return [score for band in found for score in (band.accuracy, band.balanced_accuracy)]

    first, second, both = (scored(probabilities_KNC[rows]) for rows in ([0], [1], [0, 1]))
    assert [score.value for score in both] == pytest.approx(
        [(a.value + b.value) / 2 for a, b in zip(first, second, strict=True)]
    )
    assert scored(probabilities_KNC[[0, 0]]) == first  # the same run twice says no more
    assert first != both


def test_only_equal_sequences_are_identical():
    identity_N = np.array([1, 1 - 1e-12, 0, 0.995, 0.99499])
    bands = identity_bands(
        identity_N, np.zeros(5, int), np.ones((1, 5, 1)), np.arange(5), ["only"], replicates=20
    )
    assert [band.records for band in bands] == [1, 0, 0, 0, 0, 0, 0, 1, 2, 1]
    assert tuple(band.low for band in bands) == EDGES
    assert [band.name for band in bands[-2:]] == ["0.995 to 1", "identical"]


def test_a_band_of_one_group_has_no_interval_and_a_missing_class_no_balance():
    identity_N = np.array([0.95] * 6 + [1.0] * 4)
    groups_N = np.array([7] * 6 + [1, 2, 3, 4])
    labels_N = np.array([0, 1, 0, 1, 0, 1, 0, 0, 0, 0])
    # All runs say 0, but one of three says 1 in the second half.
    probabilities_KNC = np.tile([1.0, 0], (3, 10, 1))
    probabilities_KNC[1, 6:] = [0, 1]
    near, same = identity_bands(
        *(identity_N, labels_N, probabilities_KNC, groups_N, "ab"), edges=(0, 1), replicates=50
    )
    assert near.accuracy.value == near.balanced_accuracy.value == 0.5
    assert math.isnan(near.accuracy.low) and math.isnan(near.balanced_accuracy.high)
    assert (near.groups, near.classes, same.groups, same.classes) == (1, 2, 4, 1)
    assert same.accuracy.value == pytest.approx(2 / 3)
    assert same.accuracy.low < 0.5  # the runs differ, whatever is drawn
    assert same.balanced_accuracy is None
    plain = [band.as_dict() for band in (near, same, Band(0, 0.5, 0, 0, 0, None, None))]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain[0]["accuracy"] == {"value": 0.5, "low": None, "high": None}
    assert (plain[1]["name"], plain[2]["accuracy"]) == ("identical", None)


@pytest.mark.parametrize(
    "edges", [(), (0,), (0.1, 1), (0, 0.9), (0, 0.9, 0.9, 1), (0, 0.9, 0.8, 1), (0, math.nan, 1)]
)
def test_edges_ascend_from_0_to_1(edges, tested):
    with pytest.raises(ConfigError, match="edges.*ascend from 0 to 1"):
        identity_bands(*tested, names=list("abc"), edges=edges)


def test_arrays_that_do_not_fit_are_refused(tested):
    identity_N, labels_N, probabilities_KNC, groups_N = tested
    for broken in (
        (identity_N[:-1], labels_N, probabilities_KNC, groups_N),
        (identity_N, labels_N, probabilities_KNC[0], groups_N),
        (identity_N, labels_N, probabilities_KNC[:0], groups_N),
        (identity_N, labels_N, probabilities_KNC, groups_N[:5]),
        (identity_N + 0.5, labels_N, probabilities_KNC, groups_N),
        (np.full(300, np.nan), labels_N, probabilities_KNC, groups_N),
    ):
        with pytest.raises(ValueError, match="got"):
            identity_bands(*broken, names=list("abc"))


# ---- the ceiling -----------------------------------------------------------------------------

RECORDS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=9)


@given(RECORDS)
def test_no_answers_exceed_the_ceiling_and_some_reach_it(records):
    sequences_N, labels_N = np.array(records).T
    # A record that is not tested, of another sequence and class, changes nothing.
    found = label_ceiling(
        np.append(sequences_N, 9), np.append(labels_N, 0), "abc", np.arange(len(records))
    )
    best = np.zeros(2)
    for answers in itertools.product(range(3), repeat=4):
        right_N = np.array(answers)[sequences_N] == labels_N
        recalls = [right_N[labels_N == c].mean() for c in np.unique(labels_N)]
        best = np.maximum(best, [right_N.mean(), np.mean(recalls)])
    assert (found.accuracy, found.balanced_accuracy) == pytest.approx(tuple(best))
    conflicting = [s for s in range(4) if len(set(labels_N[sequences_N == s])) > 1]
    assert found.sequences == len(conflicting)
    assert found.records == int(np.isin(sequences_N, conflicting).sum())


def test_the_ceiling_of_all_records_is_the_audits():
    data = DemoSource(sequences_per_host=40).load()
    labels_N = np.random.default_rng(0).integers(4, size=len(data))
    mixed = type(data)(data.store, labels_N, data.label_names)
    facts = audit(mixed)["conflicts"]
    found = label_ceiling(mixed.sequences_N, labels_N, mixed.label_names, np.arange(len(mixed)))
    assert (found.sequences, found.records) == (facts["sequences"], facts["records"])
    assert found.accuracy == pytest.approx(facts["accuracy_ceiling"]) and found.accuracy < 1


def test_influenza_hosts_that_share_a_sequence(real_data):
    path = real_data / "influenza_ha_host/ha_host.fasta.gz"
    with gzip.open(path, "rt") as handle:
        text = handle.read()
    hosts_of: dict[str, list[str]] = {}
    for record in text.split(">")[1:]:
        header, *lines = record.splitlines()
        hosts_of.setdefault("".join(lines), []).append(header.split("|")[3])
    data = FileSource(path, id=Rule(field=1), label=Rule(field=4), missing_values=()).load()
    assert len(data.label_names) == 8 and len(data) == 6_294
    found = label_ceiling(data.sequences_N, data.labels_N, data.label_names, np.arange(len(data)))
    assert (found.sequences, found.records) == (38, 222)
    assert (
        found.accuracy == sum(max(map(hosts.count, hosts)) for hosts in hosts_of.values()) / 6_294
    )
    size = {
        name: sum(hosts.count(name) for hosts in hosts_of.values()) for name in data.label_names
    }
    best = sum(max(hosts.count(h) / size[h] for h in hosts) for hosts in hosts_of.values())
    assert found.balanced_accuracy == pytest.approx(best / 8)


def test_influenza_test_records_are_near_training_ones(real_data):
    path = real_data / "influenza_ha_host/ha_host.fasta.gz"
    data = FileSource(
        path, id=Rule(field=1), label=Rule(field=4), missing_label="drop", min_class_size=59
    ).load()
    split = UniqueSplit().split(data)
    found = nearest_identity(data, split)
    test_NC = np.eye(len(data.label_names))[data.labels_N[split.test]]
    bands = identity_bands(
        found.identity_R,
        data.labels_N[split.test],
        test_NC[None],
        data.sequences_N[split.test],
        data.label_names,
        replicates=50,
    )
    assert sum(band.records for band in bands) == len(split.test)
    assert bands[-1].records == 0  # the split keeps identical sequences together
    assert sum(band.records for band in bands if band.low >= 0.95) > 0.95 * len(split.test)
    assert all(band.accuracy.value == 1 for band in bands if band.records)
