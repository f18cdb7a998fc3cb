"""The demo set has the answer that it states: exactly, not on average."""

import hashlib
import os
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from protemb.errors import ConfigError
from protemb.sequences.demo import (
    COPIES,
    MUTATIONS,
    SEGMENTS,
    TIPS,
    YEARS,
    DemoSource,
    Dice,
    demo_records,
    grow_family,
    write_demo_fasta,
)

PAIR, EXCHANGED = "".join(SEGMENTS), "".join(SEGMENTS[::-1])


@pytest.fixture(scope="module")
def by_host() -> dict[str, list[tuple[str, str, int, str]]]:
    """(id, family, year, sequence) of each host's records."""
    hosts = defaultdict(list)
    for header, sequence in demo_records():
        record_id, host, family, year = header.split("|")
        hosts[host].append((record_id, family, int(year), sequence))
    return dict(hosts)


def test_there_are_four_hosts_of_the_size_asked_for(by_host):
    assert {host: len(records) for host, records in by_host.items()} == dict.fromkeys(
        ["human", "swine", "avian", "equine"], 300
    )
    sizes = Counter(header.split("|")[1] for header, _ in demo_records(3, 2 * TIPS + 1))
    assert set(sizes.values()) == {2 * TIPS + 1} and len(sizes) == 4


def test_every_human_protein_has_a_twin_of_the_same_composition(by_host):
    swine = {record_id: rest for record_id, *rest in by_host["swine"]}
    assert len(swine) == 300
    for record_id, *facts, sequence in by_host["human"]:
        *twin_facts, twin = swine.pop(record_id.replace("human", "swine"))
        assert twin_facts == facts  # family and year
        assert Counter(twin) == Counter(sequence)
        assert twin != sequence
        # All that differs is the order of the segments.
        assert sequence.count(PAIR) == twin.count(EXCHANGED) == COPIES
        assert sequence.replace(PAIR, "-") == twin.replace(EXCHANGED, "-")
    assert not swine


def test_the_order_says_nothing_about_avian_and_equine(by_host):
    for host in ("avian", "equine"):
        order_of = {family: PAIR in sequence for _, family, _, sequence in by_host[host]}
        # A fair coin for each of 60 families: outside with probability 2e-4.
        assert 16 <= sum(order_of.values()) <= 44 and len(order_of) == 60


def test_families_belong_to_one_host_or_to_twins(by_host):
    hosts_of = defaultdict(set)
    for host, records in by_host.items():
        for _, family, _, _ in records:
            hosts_of[family].add(host)
    assert Counter(map(frozenset, hosts_of.values())) == {
        frozenset({"human", "swine"}): 60,
        frozenset({"avian"}): 60,
        frozenset({"equine"}): 60,
    }


def test_lengths_vary_alike_and_identical_sequences_are_as_common_as_in_real_sets(by_host):
    hosts_of = defaultdict(set)
    for host, records in by_host.items():
        lengths = {len(sequence) for *_, sequence in records}
        assert min(lengths) >= 60 and max(lengths) <= 120 and len(lengths) > 20
        for *_, sequence in records:
            hosts_of[sequence].add(host)
    assert 0.15 < 1 - len(hosts_of) / 1200 < 0.35
    assert all(len(hosts) == 1 for hosts in hosts_of.values())


@pytest.mark.parametrize("seed", range(20))
def test_a_family_is_a_tree_of_point_mutations(seed):
    tips = grow_family(Dice(seed), 50, 12, "ACDE")
    paths = [tip.path for tip in tips]
    assert sum(0.5 ** len(path) for path in paths) == 1 and len(set(paths)) == 12  # binary
    for a, b in combinations(tips, 2):
        shared = len(os.path.commonprefix([a.path, b.path]))
        to_a, to_b = len(a.path) - shared, len(b.path) - shared
        assert to_a and to_b  # no tip is another one's ancestor
        changes = sum(x != y for x, y in zip(a.background, b.background, strict=True))
        assert changes <= (to_a + to_b) * max(MUTATIONS)
        # Years since the split, for each of the two.
        earliest, latest = to_a * YEARS[0] - to_b * YEARS[1], to_a * YEARS[1] - to_b * YEARS[0]
        assert earliest <= a.year - b.year <= latest


def test_closer_relatives_are_more_alike():
    changes_of = {"siblings": [], "others": [], "strangers": []}
    families = [grow_family(Dice(seed), 50, 8, "ACDEFGHIKL") for seed in range(30)]
    for number, family in enumerate(families):
        for a, b in combinations(family, 2):
            kin = "siblings" if a.path[:-1] == b.path[:-1] else "others"
            changes_of[kin].append(_changes(a, b))
        changes_of["strangers"].append(_changes(family[0], families[number - 1][0]))
    siblings, others, strangers = (np.mean(changes) for changes in changes_of.values())
    assert siblings < 0.7 * others and others < 0.3 * strangers


def _changes(a, b) -> int:
    return sum(x != y for x, y in zip(a.background, b.background, strict=True))


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path):
    write_demo_fasta(tmp_path / "here.fasta", seed=5)
    script = "import sys; from protemb.sequences.demo import write_demo_fasta as write; "
    subprocess.run(
        [sys.executable, "-c", script + "write(sys.argv[1], seed=5)", tmp_path / "there.fasta"],
        env={**os.environ, "PYTHONHASHSEED": "99", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    here, there = ((tmp_path / name).read_bytes() for name in ("here.fasta", "there.fasta"))
    assert hashlib.sha256(here).digest() == hashlib.sha256(there).digest()
    write_demo_fasta(tmp_path / "other.fasta", seed=6)
    assert (tmp_path / "other.fasta").read_bytes() != here


def test_dice_reach_both_ends_equally_often():
    dice = Dice(1)
    counts = Counter(dice.between(3, 6) for _ in range(4000))
    # Each expected 1000 times, standard deviation 27.
    assert sorted(counts) == [3, 4, 5, 6] and max(abs(n - 1000) for n in counts.values()) < 140


def test_the_source_gives_what_the_file_says(tmp_path):
    data = DemoSource(sequences_per_host=10, seed=4).load()
    records = demo_records(4, 10)
    assert len(data) == len(records) == 40
    assert data.label_names == ("avian", "equine", "human", "swine")
    for i, (header, sequence) in enumerate(records):
        facts = data.store.id(i), data.label_names[data.labels_N[i]], data.fields["group"][i]
        assert "|".join([*facts, str(data.fields["year"][i])]) == header
        assert data.store.sequence(i) == sequence
    again = DemoSource(sequences_per_host=10, seed=4).load(tmp_path)
    assert again.fingerprint == data.fingerprint
    assert DemoSource(sequences_per_host=10, seed=5).load().fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"sequences_per_host": 1}, "sequences_per_host: got 1, expected a whole number from 2 on"),
        ({"sequences_per_host": 9.5}, "got 9.5, expected a whole number from 2 on"),
        ({"seed": -1}, "seed: got -1, expected a whole number from 0 on"),
        ({"seed": None}, "seed: got None, expected a whole number from 0 on"),
    ],
)
def test_impossible_options_are_refused(options, line):
    with pytest.raises(ConfigError, match=line):
        DemoSource(**options).load()


@pytest.fixture(scope="module")
def table(by_host):
    """Composition and length, 3-mer counts, hosts, families."""
    rows = [(host, family, seq) for host in by_host for _, family, _, seq in by_host[host]]
    hosts_N, families_N, sequences = map(np.array, zip(*rows, strict=True))
    letters = CountVectorizer(analyzer="char", lowercase=False).fit_transform(sequences).toarray()
    words = CountVectorizer(analyzer="char", ngram_range=(3, 3)).fit_transform(sequences)
    lengths_N1 = letters.sum(1, keepdims=True)
    return np.hstack([letters / lengths_N1, lengths_N1 / 100]), words, hosts_N, families_N


def probabilities(features, hosts_N, families_N):
    """Out-of-fold probabilities of a logistic regression; whole families are held out."""
    model = LogisticRegression(C=10, max_iter=2000)
    folds = GroupKFold(5)
    return cross_val_predict(
        model, features, hosts_N, groups=families_N, cv=folds, method="predict_proba"
    )


def test_without_order_twins_are_a_coin_toss_exactly(table):
    composition, words, hosts_N, families_N = table
    twins_N = np.isin(hosts_N, ["human", "swine"])
    hosts_N, families_N = hosts_N[twins_N], families_N[twins_N]
    # Rounded: a matrix product may treat equal rows differently in the last bit.
    human_N = probabilities(composition[twins_N], hosts_N, families_N)[:, 0].round(9)
    assert balanced_accuracy_score(hosts_N == "human", human_N > 0.5) == pytest.approx(0.5)
    assert roc_auc_score(hosts_N == "human", human_N) == pytest.approx(0.5)
    # The order is there for those who look at neighbours.
    by_words_N = probabilities(words[twins_N], hosts_N, families_N)[:, 0]
    assert balanced_accuracy_score(hosts_N == "human", by_words_N > 0.5) > 0.99


def test_without_order_four_hosts_stay_below_the_stated_ceiling(table):
    composition, _, hosts_N, families_N = table
    names = np.unique(hosts_N)
    predicted_N = names[probabilities(composition, hosts_N, families_N).argmax(1)]
    assert 0.72 < balanced_accuracy_score(hosts_N, predicted_N) <= 0.75
    recalls = [np.mean(predicted_N[hosts_N == host] == host) for host in names]
    avian, equine, human, swine = recalls
    assert min(avian, equine) > 0.97
    assert human + swine <= 1


def test_order_free_models_do_worse_than_chance_where_twins_are_parted(table):
    composition, _, hosts_N, families_N = table
    twins_N = np.isin(hosts_N, ["human", "swine"])
    _, sequences_N = np.unique(composition[twins_N], axis=0, return_inverse=True)
    apart_N = 2 * sequences_N.ravel() + (hosts_N[twins_N] == "swine")  # twins are groups apart
    human_N = probabilities(composition[twins_N], hosts_N[twins_N], apart_N)[:, 0]
    assert roc_auc_score(hosts_N[twins_N] == "human", human_N) < 0.5
