"""Guesses from metadata against counts by hand, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from protemb.analysis.metadata import metadata_baselines
from protemb.errors import ConfigError
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.demo import DemoSource
from protemb.sequences.labels import Rule
from protemb.sequences.partition import Split
from protemb.sequences.source import FileSource
from protemb.sequences.splits import UniqueSplit
from protemb.sequences.tokens import TokenStore


def labelled(labels, **fields):
    store = TokenStore.from_sequences([(str(n), "MK") for n in range(len(labels))])
    return LabelledSet.from_labels(store, labels, {k: np.array(v) for k, v in fields.items()})


def cut(train, test):
    return Split(np.array(train), np.arange(0), np.array(test), "by hand", {})


def test_one_field_by_hand():
    """Classes 3 : 1; h1 has 2 and 0 records, h2 has 1 and 1, h9 none, the empty text none."""
    labels = ["bird", "bird", "bird", "cat", "cat", "cat", "cat"]
    data = labelled(labels, subtype=["h1", "h1", "h2", "h2", "h1", "h2", "h9"])
    split = cut([0, 1, 2, 3], [4, 5, 6])
    plain = metadata_baselines(data, split, balanced=False)["subtype"]
    assert plain == pytest.approx(
        np.array([[2.75 / 3, 0.25 / 3], [1.75 / 3, 1.25 / 3], [0.75, 0.25]])
    )
    even = metadata_baselines(data, split)["subtype"]
    # Divided by the shares: 2 / 0.75 + 1 against 0 / 0.25 + 1, and so on.
    odds = [(2 / 0.75 + 1, 1), (1 / 0.75 + 1, 1 / 0.25 + 1), (1, 1)]
    assert even == pytest.approx(np.array([[a / (a + b), b / (a + b)] for a, b in odds]))


def test_balanced_is_what_balanced_class_weights_count():
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c"], 300, p=[0.7, 0.2, 0.1])
    data = labelled(labels, kind=rng.choice(["x", "y", ""], 300))
    split = cut(range(200), range(200, 300))
    even = metadata_baselines(data, split)["kind"]
    y = data.labels_N[:200]
    weight_N = 200 / 3 / np.bincount(y)[y]  # scikit-learn's "balanced"
    for row, record in zip(even, split.test, strict=True):
        same_N = data.fields["kind"][:200] == data.fields["kind"][record]
        counts = [weight_N[same_N & (y == c)].sum() + 1 / 3 for c in range(3)]
        assert row == pytest.approx(np.array(counts) / sum(counts))


def test_years_are_binned_by_training_records_alone():
    # Bins of two: up to 2001, up to 2003, later. Test years: inside, before, after, unknown.
    years = [2000, 2001, 2002, 2003, 2010, 2020] + [2001, 1900, 2005, 2050, 0, 2002]
    labels = ["a", "a", "b", "b", "a", "b"] + ["a", "b"] * 3
    data = labelled(labels, year=years)
    found = metadata_baselines(data, cut(range(6), range(6, 12)), bins=3, balanced=False)["year"]
    assert found[:, 0] == pytest.approx(np.array([2.5 / 3, 2.5 / 3, 0.5, 0.5, 0.5, 0.5 / 3]))


def test_records_without_a_year_are_of_a_kind():
    data = labelled(["a", "b", "b", "a", "b"], year=[0, 2000, 2001, 0, -1])
    found = metadata_baselines(data, cut([0, 1, 2], [3, 4]), balanced=False)["year"]
    assert found == pytest.approx(np.array([[(1 + 1 / 3) / 2, (2 / 3) / 2]] * 2))
    # Nothing is known of years, where training has none.
    data = labelled(["a", "b", "b", "a"], year=[0, 0, 0, 2000])
    found = metadata_baselines(data, cut([0, 1, 2], [3]), balanced=False)["year"]
    assert found == pytest.approx(np.array([[1 / 3, 2 / 3]]))


def test_frequent_years_fill_bins():
    data = labelled(["a", "b"] * 50, year=[2000] * 98 + [2001, 2001])
    found = metadata_baselines(data, cut(range(99), [99]), balanced=False)["year"]
    assert found.shape == (1, 2) and found[0, 0] == pytest.approx((1 + 50 / 99) / 2)


@pytest.mark.parametrize("balanced", [True, False])
def test_several_fields_are_a_logistic_regression(balanced):
    rng = np.random.default_rng(1)
    host, region = rng.choice(["x", "y", "z"], 300), rng.choice(["n", "s"], 300)
    labels = np.where(rng.random(300) < 0.7, np.char.add(host, region), "xn")
    data = labelled(labels, host=host, region=region)
    split = cut(range(220), range(220, 300))
    found = metadata_baselines(data, split, balanced=balanced)
    assert list(found) == ["host", "region", "host+region"]
    X = np.stack([host == v for v in "xyz"] + [region == v for v in "ns"], 1).astype(float)
    model = LogisticRegression(class_weight="balanced" if balanced else None, max_iter=5000)
    model.fit(X[:220], data.labels_N[:220])
    assert found["host+region"] == pytest.approx(model.predict_proba(X[220:]), abs=1e-3)


@pytest.mark.parametrize(("balanced", "prior"), [(True, [0.5, 0.5, 0]), (False, [0.75, 0.25, 0])])
def test_the_prior_answers_for_values_and_classes_never_seen(balanced, prior):
    labels = ["a", "a", "a", "b", "c", "a"]
    data = labelled(
        labels, one=["p", "p", "q", "q", "new", "p"], two=["r", "r", "s", "s", "other", "r"]
    )
    found = metadata_baselines(data, cut([0, 1, 2, 3], [4, 5]), balanced=balanced)
    for probabilities_MC in found.values():
        assert probabilities_MC[0] == pytest.approx(np.array(prior))
        assert probabilities_MC.sum(1) == pytest.approx(np.ones(2))
        assert (probabilities_MC[:, 2] == 0).all() and probabilities_MC[1, 0] > prior[0]


def test_a_single_class_is_certain():
    data = labelled(["a", "a", "b"], one=["p", "q", "p"], two=["r", "s", "r"])
    for probabilities_MC in metadata_baselines(data, cut([0, 1], [2])).values():
        assert probabilities_MC.tolist() == [[1, 0]]


def test_test_labels_do_not_matter():
    data = DemoSource(sequences_per_host=40).load()
    split = UniqueSplit().split(data)
    labels_N = data.labels_N.copy()
    labels_N[split.test] = (labels_N[split.test] + 1) % 4
    labels_N[split.validation] = 0
    other = LabelledSet(data.store, labels_N, data.label_names, data.fields)
    first, second = metadata_baselines(data, split), metadata_baselines(other, split)
    assert list(first) == ["group", "year", "group+year"]
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_which_fields():
    data = labelled(["a", "b", "b"], position=[1, 2, 3], split=["x"] * 3, year=[1, 2, 3])
    split = cut([0, 1], [2])
    assert list(metadata_baselines(data, split)) == ["year"]
    assert metadata_baselines(data, split, []) == {}
    assert metadata_baselines(labelled(["a", "b", "b"]), split) == {}
    assert list(metadata_baselines(data, split, [["year", "split"]])) == ["year+split"]
    with pytest.raises(ConfigError, match=r"metadata.fields.*'host'.*it has year"):
        metadata_baselines(data, split, [["host"]])
    with pytest.raises(ConfigError, match="one name or more"):
        metadata_baselines(data, split, [[]])


def test_influenza_hosts_are_told_by_what_is_written_beside_them(real_data):
    folder = real_data / "influenza_ha_host"
    data = FileSource(
        folder / "ha_host.fasta.gz",
        id=Rule(field=1),
        label=Rule(column="host"),
        year=Rule(column="year"),
        fields={"subtype": Rule(field=3), "region": Rule(column="region")},
        metadata=folder / "ha_host.csv.gz",
        metadata_key="accession",
        missing_label="drop",
        min_class_size=59,
    ).load()
    split = UniqueSplit().split(data)
    score = {
        name: balanced_accuracy_score(data.labels_N[split.test], found.argmax(1))
        for name, found in metadata_baselines(data, split).items()
    }
    assert list(score) == ["year", "subtype", "region", "year+subtype+region"]
    # Chance is 1 in 6. The subtype alone tells more than half, all fields together most.
    assert 0.25 < score["region"] < score["year"] < score["subtype"] < 0.75
    assert 0.75 < score["year+subtype+region"] < 0.9
