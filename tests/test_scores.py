"""Scores against scikit-learn and torchmetrics; intervals against resampled rows and truth."""

import math
import time
import warnings
from dataclasses import astuple

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as torch_scores
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from protemb import scores
from protemb.intervals import bootstrap_weights
from protemb.scores import classification_scores, confusion, score_bounds, weighted_scores

NAMES = ("avian", "bovine", "equine", "human", "swine")


@pytest.fixture
def sample():
    """Labels without class 1, predictions with every class, ties, groups that disagree."""
    rng = np.random.default_rng(5)
    labels_N = rng.choice([0, 2, 3, 4], size=120, p=[0.5, 0.05, 0.3, 0.15])
    logits_NC = rng.normal(size=(120, 5))
    logits_NC[np.arange(120), labels_N] += 1.2
    softmax_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(1, keepdims=True)
    # Steps of 1/8 make many ties, between records and within one.
    probabilities_NC = rng.multinomial(8, softmax_NC) / 8
    assert set(probabilities_NC.argmax(1)) == set(range(5))
    return labels_N, probabilities_NC, rng.integers(50, size=120)


@pytest.fixture(autouse=True)
def _quiet_sklearn():
    """It warns of absent classes and of constant predictions, which are the point here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
        yield


def sklearn_scores(labels_N, probabilities_NC, weights_N=None):
    """The scores by their definition in scikit-learn, with an explicit class list."""
    C = probabilities_NC.shape[1]
    predicted_N, present = probabilities_NC.argmax(1), np.unique(labels_N)
    weights_N = np.ones(len(labels_N)) if weights_N is None else weights_N
    weighted = {"sample_weight": weights_N}
    macro = {"labels": present, "average": "macro", "zero_division": 0}
    aurocs = [
        sk.roc_auc_score(labels_N == c, probabilities_NC[:, c], **weighted)
        for c in present
        if len(present) > 1
    ]
    recalls = sk.recall_score(
        labels_N, predicted_N, labels=range(C), average=None, zero_division=math.nan, **weighted
    )
    return {
        "accuracy": sk.accuracy_score(labels_N, predicted_N, **weighted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels_N, predicted_N, **weighted),
        "macro_f1": sk.f1_score(labels_N, predicted_N, **macro, **weighted),
        "mcc": sk.matthews_corrcoef(labels_N, predicted_N, **weighted),
        "auroc": np.mean(aurocs) if aurocs else math.nan,
        "log_loss": sk.log_loss(labels_N, probabilities_NC, labels=range(C), **weighted),
        "calibration_error": calibration_error(labels_N, probabilities_NC, weights_N),
        **{f"recall/{name}": recalls[c] for c, name in enumerate(NAMES[:C])},
    }


def calibration_error(labels_N, probabilities_NC, weights_N):
    """A loop over bins [k / 15, (k + 1) / 15); the last one has its upper end, too."""
    top_N, right_N = probabilities_NC.max(1), probabilities_NC.argmax(1) == labels_N
    error = 0.0
    for k in range(15):
        inside_N = (top_N >= k / 15) & ((top_N < (k + 1) / 15) | (k == 14))
        weight = weights_N[inside_N].sum()
        if weight:
            confidence = np.average(top_N[inside_N], weights=weights_N[inside_N])
            accuracy = np.average(right_N[inside_N], weights=weights_N[inside_N])
            error += weight * abs(confidence - accuracy)
    return error / weights_N.sum()


def row_of(scores, r):
    return {key: values_R[r] for key, values_R in scores.items()}


def numbers(scores):
    return [x for interval in scores.values() for x in astuple(interval)]


def test_scores_equal_sklearns(sample):
    labels_N, probabilities_NC, groups_N = sample
    scores = classification_scores(labels_N, probabilities_NC, groups_N, NAMES, replicates=0)
    values = {key: interval.value for key, interval in scores.items()}
    assert values == pytest.approx(sklearn_scores(labels_N, probabilities_NC), nan_ok=True)
    assert math.isnan(values["recall/bovine"])


def test_weighted_scores_equal_sklearns_with_sample_weight(sample):
    labels_N, probabilities_NC, _ = sample
    weights_RN = np.random.default_rng(0).uniform(0.1, 3, size=(4, len(labels_N)))
    scores = weighted_scores(labels_N, probabilities_NC, weights_RN, NAMES)
    for r, weights_N in enumerate(weights_RN):
        expected = sklearn_scores(labels_N, probabilities_NC, weights_N)
        assert row_of(scores, r) == pytest.approx(expected, nan_ok=True)


def test_replicates_equal_sklearn_on_resampled_rows(sample):
    labels_N, probabilities_NC, groups_N = sample
    group_of_N, weights_RG = bootstrap_weights(groups_N, replicates=20, seed=3)
    expected = []
    for weights_G in weights_RG:
        rows = np.repeat(np.arange(len(labels_N)), weights_G[group_of_N])
        expected.append(sklearn_scores(labels_N[rows], probabilities_NC[rows]))
    scores = classification_scores(
        labels_N, probabilities_NC, groups_N, NAMES, replicates=20, seed=3, level=0.8
    )
    for key, interval in scores.items():
        if key != "recall/bovine":
            ends = np.nanquantile([replicate[key] for replicate in expected], [0.1, 0.9])
            assert (interval.low, interval.high) == pytest.approx(tuple(ends)), key


def test_scores_equal_torchmetrics_where_every_class_is_present(sample):
    """Training watches torchmetrics, the result is ours: they must not tell different stories."""
    _, probabilities_NC, groups_N = sample
    labels_N = np.random.default_rng(1).permutation(probabilities_NC.argmax(1))
    # Its bins are closed on the left like ours, but 1.0 is a bin of its own.
    probabilities_NC = 0.9 * probabilities_NC + 0.02
    p, y = torch.tensor(probabilities_NC), torch.tensor(labels_N)
    expected = {
        "balanced_accuracy": torch_scores.multiclass_accuracy(p, y, 5, average="macro"),
        "macro_f1": torch_scores.multiclass_f1_score(p, y, 5, average="macro"),
        "mcc": torch_scores.multiclass_matthews_corrcoef(p, y, 5),
        "auroc": torch_scores.multiclass_auroc(p, y, 5, average="macro"),
        "calibration_error": torch_scores.multiclass_calibration_error(p, y, 5, n_bins=15),
    }
    scores = classification_scores(labels_N, probabilities_NC, groups_N, NAMES, replicates=0)
    for key, value in expected.items():
        assert scores[key].value == pytest.approx(float(value), abs=1e-5), key


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=12
    )
)
def test_auroc_is_the_share_of_pairs_in_order(records):
    """The definition, pair by pair, with ties of score and weights that may be 0."""
    won = total = 0.0
    for positive, score, weight in records:
        for other_positive, other_score, other_weight in records:
            if positive and not other_positive:
                total += weight * other_weight
                won += weight * other_weight * ((score > other_score) + (score == other_score) / 2)
    positive_N, score_N, weights_N = map(np.array, zip(*records, strict=True))
    weights_1N = weights_N[None].astype(float)
    if total:
        probabilities_NC = np.stack([1 - score_N / 4, score_N / 4], 1)
        scores = weighted_scores(positive_N.astype(int), probabilities_NC, weights_1N, "ab")
        assert scores["auroc"][0] == pytest.approx(won / total)


@pytest.mark.parametrize("constant", ["labels", "predictions", "both"])
def test_constant_sides_score_as_in_sklearn(constant):
    labels_N = np.array([0, 1, 0, 1]) if constant == "predictions" else np.zeros(4, int)
    probabilities_NC = np.eye(2)[[0, 1, 1, 1] if constant == "labels" else [0, 0, 0, 0]]
    scores = weighted_scores(labels_N, probabilities_NC, np.ones((1, 4)), NAMES[:2])
    expected = sklearn_scores(labels_N, probabilities_NC)
    assert row_of(scores, 0) == pytest.approx(expected, nan_ok=True)
    assert scores["mcc"][0] == 0


def test_order_of_records_does_not_matter(sample):
    labels_N, probabilities_NC, groups_N = sample
    order = np.random.default_rng(0).permutation(len(labels_N))
    first = classification_scores(labels_N, probabilities_NC, groups_N, NAMES, replicates=50)
    again = classification_scores(
        labels_N[order], probabilities_NC[order], groups_N[order], NAMES, replicates=50
    )
    assert numbers(again) == pytest.approx(numbers(first), nan_ok=True)


def test_blocks_of_replicates_change_nothing(sample, monkeypatch):
    whole = classification_scores(*sample, NAMES, replicates=31)
    monkeypatch.setattr(scores, "BLOCK", 300)
    blocks = classification_scores(*sample, NAMES, replicates=31)
    assert numbers(blocks) == pytest.approx(numbers(whole), nan_ok=True)


def test_a_class_of_one_group_has_a_recall_without_an_interval():
    labels_N = np.array([0, 0, 0, 1, 1])
    probabilities_NC = np.eye(2)[[0, 1, 0, 1, 1]]
    scores = classification_scores(labels_N, probabilities_NC, [1, 2, 3, 4, 4], NAMES[:2])
    assert scores["recall/bovine"].value == 1 and math.isnan(scores["recall/bovine"].low)
    assert 0 <= scores["recall/avian"].low < scores["recall/avian"].high <= 1


def test_one_group_gives_no_interval():
    scores = classification_scores([0, 1], np.eye(2), ["a", "a"], NAMES[:2])
    assert scores["accuracy"].value == 1 and math.isnan(scores["accuracy"].low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels_N": [0, 2]}, "labels: got 0 to 2, expected 0 to 1"),
        ({"labels_N": [-1, 1]}, "labels: got -1 to 1, expected 0 to 1"),
        ({"labels_N": [0, 1, 1]}, r"probabilities: got shape \(2, 2\)"),
        ({"labels_N": [], "probabilities_NC": np.zeros((0, 2))}, "one at least"),
        ({"groups_N": [1]}, "groups: got 1, expected one for each of 2 labels"),
        ({"names": "abc"}, "a column for each of 3 names"),
        ({"probabilities_NC": [[0.5, 0.6], [0.5, 0.5]]}, "do not add up to 1"),
        ({"probabilities_NC": [[1.5, -0.5], [0.5, 0.5]]}, "below 0"),
        ({"probabilities_NC": [[math.nan, 1], [0.5, 0.5]]}, "do not add up to 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, message):
    good = {"labels_N": [0, 1], "probabilities_NC": np.eye(2), "groups_N": [1, 2], "names": "ab"}
    classification_scores(**good)
    with pytest.raises(ValueError, match=message):
        classification_scores(**good | change)


def test_confusion_equals_sklearns(sample):
    labels_N, probabilities_NC, _ = sample
    predicted_N = probabilities_NC.argmax(1)
    expected = sk.confusion_matrix(labels_N, predicted_N, labels=range(5))
    np.testing.assert_array_equal(confusion(labels_N, predicted_N, 5), expected)


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 1))
def test_no_score_leaves_its_bounds(seed, records, certainty):
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(3, size=records)
    soft_NC, hard_NC = (
        rng.dirichlet(np.ones(3), size=records),
        np.eye(3)[rng.integers(3, size=records)],
    )
    probabilities_NC = (1 - certainty) * soft_NC + certainty * hard_NC
    scores = weighted_scores(labels_N, probabilities_NC, np.ones((1, records)), "abc")
    for key, (value,) in scores.items():
        least, most = score_bounds(key)
        # Sums in floating point: a mean of ones can be the next number above one.
        assert math.isnan(value) or least - 1e-12 <= value <= most + 1e-12, key


def test_the_bounds_of_scores_are_reached():
    """All right and all wrong, always certain: only the log loss could be worse still."""
    labels_N, weights_RN = np.array([0, 0, 1, 1]), np.ones((1, 4))
    right, wrong = (
        row_of(weighted_scores(labels_N, np.eye(2)[predicted_N], weights_RN, "ab"), 0)
        for predicted_N in (labels_N, 1 - labels_N)
    )
    for key in right:
        least, most = score_bounds(key)
        best, worst = (least, most) if key in ("log_loss", "calibration_error") else (most, least)
        assert right[key] == pytest.approx(best), key
        if key == "log_loss":
            assert most == math.inf and wrong[key] > 30
        else:
            assert wrong[key] == pytest.approx(worst), key


def test_a_thousand_replicates_are_quick():
    rng = np.random.default_rng(0)
    labels_N, probabilities_NC = rng.integers(7, size=1000), rng.dirichlet(np.ones(7), size=1000)
    start = time.process_time()
    classification_scores(labels_N, probabilities_NC, rng.integers(700, size=1000), "abcdefg")
    assert time.process_time() - start < 2


@pytest.mark.slow
def test_intervals_cover_the_truth_when_groups_are_resampled():
    """Records of a group are nearly all right or all wrong, as identical sequences are.

    80 groups of 5 with an intraclass correlation of 2/3: the true standard error of accuracy is
    sqrt(1 + 4 * 2/3) = 1.9 times what independent rows would have, so that an interval over rows
    covers the truth in about 2 * Phi(1.96 / 1.9) - 1 = 70 % of the experiments.
    """
    rng = np.random.default_rng(0)
    truth, covered = 0.75, {"groups": [], "rows": []}
    groups_N = np.repeat(np.arange(80), 5)
    for experiment in range(400):
        # Beta(a, b): correlation 1 / (1 + a + b) within a group.
        right_N = rng.random(400) < rng.beta(truth / 2, (1 - truth) / 2, size=80)[groups_N]
        labels_N = rng.integers(2, size=400)
        probabilities_NC = np.eye(2)[np.where(right_N, labels_N, 1 - labels_N)]
        for unit, units_N in (("groups", groups_N), ("rows", np.arange(400))):
            interval = classification_scores(
                labels_N, probabilities_NC, units_N, "ab", replicates=300, seed=experiment
            )["accuracy"]
            covered[unit].append(interval.low <= truth <= interval.high)
    # Three standard errors of a share near 95 % in 400 experiments are 3.3 %.
    assert 0.91 <= np.mean(covered["groups"]) <= 0.985
    assert np.mean(covered["rows"]) < 0.8
