"""Baselines against plain loops, and against what each of them can and cannot see."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from protemb.errors import ConfigError
from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.sequences.source import FileSource
from protemb.sequences.splits import UniqueSplit
from protemb.sequences.tokens import TokenStore
from protemb.training import baselines
from protemb.training.baselines import NAMES, fit_baselines, kmer_counts


def labelled(sequences, labels):
    store = TokenStore.from_sequences((str(i), text) for i, text in enumerate(sequences))
    return LabelledSet.from_labels(store, labels)


def parts(train, test, validation=()):
    train, validation, test = (np.array(part, np.int64) for part in (train, validation, test))
    return Split(train, validation, test, "predefined", {})


def random_text(rng, letters, length):
    return "".join(rng.choice(list(letters), size=length))


def score(data, split, probabilities_NC):
    return balanced_accuracy_score(data.labels_N[split.test], probabilities_NC.argmax(1))


@pytest.fixture(scope="module")
def hosts():
    """Four hosts, one trait each: long chains, rich in W, and two orders of the same residues."""
    rng = np.random.default_rng(0)
    sequences, labels = [], []
    for _ in range(60):
        sequences += [
            random_text(rng, "ACDEFGHIKL", 90),
            random_text(rng, "ACDEFGHIKLWWW", 30),
            "".join(rng.permutation(["MNQ", "RST", "PVY"] * 4)),
            "".join(rng.permutation(["QNM", "TSR", "YVP"] * 4)),
        ]
        labels += ["long", "tryptophan", "forward", "backward"]
    data = labelled(sequences, labels)
    return data, UniqueSplit(fractions=(0.6, 0.1, 0.3)).split(data)


@pytest.fixture(scope="module")
def tangled():
    """Hosts hard to tell apart, with repeated sequences, some of them under two labels."""
    rng = np.random.default_rng(1)
    pool = [random_text(rng, "ACD", int(n)) for n in rng.integers(5, 12, size=40)]
    labels = rng.choice(["a", "b", "c"], size=120, p=[0.6, 0.3, 0.1])
    picks = np.concatenate([np.arange(40), rng.integers(40, size=80)])
    data = labelled([pool[i] for i in picks], labels)
    return data, UniqueSplit(fractions=(0.5, 0.2, 0.3)).split(data)


def test_each_baseline_sees_what_it_should_and_no_more(hosts):
    data, split = hosts
    predicted = fit_baselines(data, split, seed=0)
    assert tuple(predicted) == NAMES
    for probabilities_NC in predicted.values():
        assert probabilities_NC.shape == (len(split.test), 4)
        np.testing.assert_allclose(probabilities_NC.sum(1), 1)
    names = np.array(data.label_names)
    truth = names[data.labels_N[split.test]]
    told = {name: names[p.argmax(1)] for name, p in predicted.items()}
    orders = np.isin(truth, ["forward", "backward"])

    assert score(data, split, predicted["majority"]) == 0.25
    assert (told["length"][truth == "long"] == "long").all()
    assert (told["length"][truth == "tryptophan"] == "tryptophan").all()
    assert (told["composition"][~orders] == truth[~orders]).all()
    # Same residues, same composition: one answer for both orders.
    for blind in ("length", "composition"):
        assert len(set(told[blind][orders])) == 1
    for sighted in ("kmer3", "nearest"):
        assert (told[sighted][orders] == truth[orders]).all()


def test_majority_predicts_the_shares(tangled):
    data, split = tangled
    (probabilities_NC,) = fit_baselines(data, split, seed=0, names=["majority"]).values()
    counts = Counter(data.labels_N[split.train].tolist())
    expected = [counts[c] / len(split.train) for c in range(3)]
    np.testing.assert_allclose(probabilities_NC, [expected] * len(split.test))


def count_kmers(text, k):
    """Oracle: one k-mer at a time, numbered in base 21."""
    codes = [AA21.symbols.index(letter) for letter in text]
    windows = zip(*(codes[shift:] for shift in range(k)), strict=False)
    return Counter(sum(c * 21 ** (k - 1 - i) for i, c in enumerate(w)) for w in windows)


@settings(max_examples=30)
@given(st.lists(st.text("ARNX", min_size=1, max_size=9), min_size=1, max_size=5, unique=True))
def test_kmer_counts_equal_a_loop(texts):
    store = TokenStore.from_sequences((str(i), text) for i, text in enumerate(texts))
    sequences = np.arange(len(texts))[::-1]
    for k in (1, 3):
        counts_SF = kmer_counts(store, sequences, k).toarray()
        assert counts_SF.shape == (len(texts), 21**k)
        for counts_F, s in zip(counts_SF, sequences, strict=True):
            found = {int(code): counts_F[code] for code in np.flatnonzero(counts_F)}
            assert found == count_kmers(texts[s], k)


def test_nearest_equals_a_loop(tangled):
    data, split = tangled
    (probabilities_NC,) = fit_baselines(data, split, seed=0, names=["nearest"]).values()
    vectors = {}
    for i in range(len(data)):
        vectors[data.store.sequence(i)] = v = np.zeros(21**3)
        for code, count in count_kmers(data.store.sequence(i), 3).items():
            v[code] = count
        v /= np.linalg.norm(v)
    seen_shares = False
    for row, i in zip(probabilities_NC, split.test, strict=True):
        similarity = {
            data.store.sequence(j): vectors[data.store.sequence(j)]
            @ vectors[data.store.sequence(i)]
            for j in split.train
        }
        nearest = [s for s, x in similarity.items() if x > max(similarity.values()) - 1e-9]
        candidates = []
        for text in nearest:
            labels = [data.labels_N[j] for j in split.train if data.store.sequence(j) == text]
            candidates.append(np.bincount(labels, minlength=3) / len(labels))
        assert any(np.allclose(row, shares) for shares in candidates)
        seen_shares |= row.max() < 1
    assert seen_shares, "no neighbour with several labels: the data does not test their shares"


@pytest.mark.parametrize("balanced", [False, True])
def test_weighted_rows_are_the_same_problem_as_records(tangled, balanced):
    data, split = tangled
    rng = np.random.default_rng(0)
    features_SF = rng.normal(size=(data.store.n_sequences, 4))
    rows_N, labels_N = data.sequences_N[split.train], data.labels_N[split.train]
    targets = np.arange(5)
    choice = baselines._Choice(1.0, balanced)
    ours = baselines._regress(features_SF, rows_N, labels_N, targets, 3, choice)
    plain = LogisticRegression(
        C=1.0, class_weight="balanced" if balanced else None, tol=1e-9, max_iter=10_000
    ).fit(features_SF[rows_N], labels_N)
    np.testing.assert_allclose(ours, plain.predict_proba(features_SF[targets]), atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_training_part_teaches(tangled, name):
    """Other labels elsewhere, or fewer records there, change nothing."""
    data, split = tangled
    (expected_NC,) = fit_baselines(data, split, seed=0, names=[name]).values()
    labels_N = data.labels_N.copy()
    elsewhere = np.concatenate([split.validation, split.test])
    labels_N[elsewhere] = (labels_N[elsewhere] + 1) % 3
    other = LabelledSet(data.store, labels_N, data.label_names)
    fewer = parts(split.train, split.test[::2])
    (found_NC,) = fit_baselines(other, fewer, seed=0, names=[name]).values()
    np.testing.assert_allclose(found_NC, expected_NC[::2], rtol=0, atol=1e-9)


def test_tuning_keeps_identical_sequences_together(tangled, monkeypatch):
    data, split = tangled
    calls = []
    regress = baselines._regress

    def spy(features_SF, rows_N, labels_N, targets_M, C, choice):
        calls.append((choice, set(rows_N.tolist()), set(targets_M.tolist())))
        return regress(features_SF, rows_N, labels_N, targets_M, C, choice)

    monkeypatch.setattr(baselines, "_regress", spy)
    fit_baselines(data, split, seed=0, names=["composition"])
    tuning, final = calls[:-1], calls[-1]
    sequences = set.union(*(held_out for _, _, held_out in tuning))
    for _, fitted, held_out in tuning:
        assert not fitted & held_out and fitted | held_out == sequences
    assert final[1] == sequences and not final[2] & sequences
    # Every fold once for every choice.
    assert Counter(choice for choice, *_ in tuning) == Counter(
        {baselines._Choice(c, b): 3 for c in baselines.STRENGTHS for b in (False, True)}
    )


@pytest.mark.parametrize("best", [(10.0, True), (100.0, False)])
def test_tuning_takes_the_best_choice(hosts, monkeypatch, best):
    data, split = hosts
    label_of_S = np.empty(data.store.n_sequences, int)
    label_of_S[data.sequences_N] = data.labels_N
    used = []

    def regress(features_SF, rows_N, labels_N, targets_M, C, choice):
        """Right about three hosts, and about the fourth when it is the best choice."""
        used.append(choice)
        return features_SF[targets_M] * ([1, 1, 1, 1] if choice == best else [1, 1, 1, 0])

    monkeypatch.setattr(baselines, "_regress", regress)
    answers = {"composition": lambda task: np.eye(4)[label_of_S[task.sequences_S]]}
    monkeypatch.setattr(baselines, "_FEATURES", answers)
    fit_baselines(data, split, seed=0, names=["composition"])
    assert used[-1] == best


def test_threads_change_nothing(tangled, monkeypatch):
    data, split = tangled
    results = []
    for threads in (1, 4):
        monkeypatch.setattr(baselines.os, "cpu_count", lambda threads=threads: threads)
        results.append(fit_baselines(data, split, seed=0, names=["kmer3"])["kmer3"])
    np.testing.assert_array_equal(*results)


def test_absent_classes_get_no_probability():
    rng = np.random.default_rng(0)
    sequences = [random_text(rng, "ACDEF", 20) for _ in range(12)]
    data = labelled(sequences, ["a", "b"] * 5 + ["c"] * 2)
    predicted = fit_baselines(data, parts(range(10), [10, 11]), seed=0)
    for probabilities_NC in predicted.values():
        assert (probabilities_NC[:, 2] == 0).all()
        np.testing.assert_allclose(probabilities_NC.sum(1), 1)


@pytest.mark.parametrize(
    ("sequences", "labels", "train", "test"),
    [
        (["MKV", "MKL", "MKI", "MKA"], "aaab", [0, 1, 2], [3]),
        (["MKV", "MKV", "MKI"], "aba", [0, 1], [2]),
        (["MKV", "MKL", "MKI"], "aba", [0, 1], [2]),
        (["M", "KV", "MK", "V"], "abab", [0, 1], [2, 3]),
        (["MKV"] * 4, "abab", [0, 1], [2, 3]),
    ],
    ids=["one class", "one sequence", "two sequences", "no 3-mers", "all the same"],
)
def test_the_smallest_training_parts_work(sequences, labels, train, test):
    data = labelled(sequences, list(labels))
    for name, probabilities_NC in fit_baselines(data, parts(train, test), seed=0).items():
        np.testing.assert_allclose(probabilities_NC.sum(1), 1, err_msg=name)


def test_results_are_kept_by_content(tangled, tmp_path, monkeypatch):
    data, split = tangled
    names = ["nearest", "composition"]
    first = fit_baselines(data, split, seed=0, names=names, cache_dir=tmp_path)
    assert list(first) == names
    changes = [
        {"data": LabelledSet(data.store, data.labels_N[::-1].copy(), data.label_names)},
        {"split": parts(split.test, split.train)},
        {"seed": 1},
        {"names": names[:1]},
    ]
    for change in changes:
        given = {"data": data, "split": split, "seed": 0, "names": names, "cache_dir": tmp_path}
        fit_baselines(**given | change)
    assert len(list((tmp_path / "baselines").iterdir())) == 1 + len(changes)

    monkeypatch.setattr(baselines, "_fit", None)
    again = fit_baselines(data, split, seed=0, names=names, cache_dir=tmp_path)
    assert list(again) == names
    for name in names:
        np.testing.assert_array_equal(again[name], first[name])


def test_no_baselines_is_a_choice(tangled, tmp_path):
    assert fit_baselines(*tangled, seed=0, names=(), cache_dir=tmp_path) == {}


def test_an_unknown_baseline_is_refused(tangled):
    with pytest.raises(ConfigError, match="got \\['svm'\\], expected some of majority, length"):
        fit_baselines(*tangled, seed=0, names=["kmer3", "svm"])


@pytest.mark.slow
def test_order_helps_on_influenza(real_data, tmp_path):
    """Six hosts with 59 or more records: 3-mers know more than residues, residues than length."""
    source = FileSource(
        real_data / "influenza_ha_host" / "ha_host.fasta.gz",
        id={"field": 1},
        label={"field": 4},
        missing_label="drop",
        min_class_size=59,
    )
    data = source.load(tmp_path)
    assert len(data.label_names) == 6
    split = UniqueSplit().split(data)
    start = time.process_time()
    predicted = fit_baselines(data, split, seed=0)
    assert time.process_time() - start < 120  # of all threads; about 30 where it was written
    scores = {name: score(data, split, p) for name, p in predicted.items()}
    assert scores["majority"] == pytest.approx(1 / 6)
    assert scores["length"] > 0.25
    assert scores["composition"] > scores["length"] + 0.2
    assert scores["kmer3"] > scores["composition"] + 0.05
