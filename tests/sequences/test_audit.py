import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats.contingency import association

from protemb.files import write_json
from protemb.sequences import audit as module
from protemb.sequences.audit import audit, audit_lines, audit_split, audit_split_lines
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.partition import Split
from protemb.sequences.splits import RandomSplit, UniqueSplit
from protemb.sequences.tokens import TokenStore


def make_data(sequences, labels, **fields) -> LabelledSet:
    store = TokenStore.from_sequences((f"r{i}", text) for i, text in enumerate(sequences))
    return LabelledSet.from_labels(
        store, labels, {name: np.array(column) for name, column in fields.items()}, {"read": 3}
    )


@pytest.fixture
def hosts() -> LabelledSet:
    return make_data(
        ["MKVA", "MKVA", "MKVA", "MX", "MX", "WWWWWW"],
        ["duck", "duck", "swine", "swine", "duck", "swine"],
        subtype=["H1", "H1", "H1", "H3", "H3", ""],
        position=[0, 1, 2, 0, 0, 0],
    )


def test_a_small_set_by_hand(hosts):
    facts = audit(hosts)
    assert (facts["records"], facts["sequences"], facts["repeats"]) == (6, 3, 3)
    assert facts["lengths"] == {"min": 2, "q1": 2, "median": 4, "q3": 4, "max": 6}
    assert {k: v for k, v in facts["letters"].items() if v} == {
        **{"M": 5, "K": 3, "V": 3, "A": 3},
        **{"X": 2, "W": 6},
    }
    assert facts["classes"] == {
        "duck": {"records": 3, "sequences": 2},
        "swine": {"records": 3, "sequences": 3},
    }
    # MKVA: 2 of 3 at best, MX 1 of 2, W 1 of 1.
    assert facts["conflicts"] == {"sequences": 2, "records": 5, "accuracy_ceiling": 4 / 6}
    assert list(facts["fields"]) == ["subtype"]
    assert facts["fields"]["subtype"]["table"] == {
        "": {"swine": 1},
        "H1": {"duck": 2, "swine": 1},
        "H3": {"duck": 1, "swine": 1},
    }
    assert facts["reading"] == {"read": 3}


@given(st.lists(st.tuples(st.sampled_from("AKW"), st.sampled_from("xyz")), min_size=1))
def test_the_ceiling_is_what_the_best_constant_answers_reach(records):
    sequences, labels = zip(*records, strict=True)
    votes = {s: Counter(c for t, c in records if t == s) for s in sequences}
    best = sum(max(counts.values()) for counts in votes.values())
    conflicting = [counts for counts in votes.values() if len(counts) > 1]
    assert audit(make_data(sequences, labels))["conflicts"] == {
        "sequences": len(conflicting),
        "records": sum(counts.total() for counts in conflicting),
        "accuracy_ceiling": best / len(records),
    }


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("xyz")), min_size=2))
def test_confounding_agrees_with_a_loop_and_with_scipy(records):
    values, labels = map(list, zip(*records, strict=True))
    facts = audit(make_data(["AK"] * len(records), labels, year=values))["fields"]["year"]
    overall = Counter(labels)
    score = 0.0
    for i, (value, label) in enumerate(records):
        others = Counter(c for j, (v, c) in enumerate(records) if v == value and j != i)
        if not others:
            # Equally frequent labels: the first by name.
            score += label == min(overall, key=lambda c: (-overall[c], c))
        elif others[label] == max(others.values()):
            score += 0.5 if list(others.values()).count(others[label]) > 1 else 1
    assert facts["guess_accuracy"] == pytest.approx(score / len(records))
    assert facts["majority"] == max(overall.values()) / len(records)
    table = np.array([[records.count((v, c)) for c in overall] for v in set(values)])
    if min(table.shape) > 1:
        expected = association(table, method="cramer", correction=False)
        assert facts["cramers_v"] == pytest.approx(expected)
    else:
        assert facts["cramers_v"] == 0


def test_a_large_cross_table_is_left_out():
    groups = [f"g{i}" for i in range(300)]
    facts = audit(make_data(["AK"] * 300, ["x", "y"] * 150, group=groups))
    assert facts["fields"]["group"]["values"] == 300
    assert "table" not in facts["fields"]["group"]
    # A field that is different everywhere says nothing about the next record.
    assert facts["fields"]["group"]["guess_accuracy"] == facts["fields"]["group"]["majority"]


def test_letters_are_counted_in_pieces_alike(hosts):
    assert module._letters(hosts.store, chunk=2) == module._letters(hosts.store)


class TestSplit:
    def test_leaks_are_counted(self, hosts):
        #                           MKVA     MX    W
        split = Split.from_codes(np.array([0, 2, 1, 0, 2, -1]), "by hand", {"seed": 3})
        facts = audit_split(hosts, split)
        assert facts["identical"] == {
            "validation in train": 1,
            "test in train": 2,
            "test in validation": 1,
        }
        assert facts["left_out"] == 1
        assert facts["parts"]["test"] == {
            "records": 2,
            "sequences": 2,
            "classes": {
                "duck": {"records": 2, "sequences": 2},
                "swine": {"records": 0, "sequences": 0},
            },
        }
        assert facts["nearest"]["bands"]["1"] == 2
        assert facts["nearest"]["identity"]["min"] == 1

    def test_bands_hold_their_lower_edge(self):
        rng = np.random.default_rng(0)
        base = "".join(rng.choice(list("ARNDCQEGHI"), 100))
        tests = ["W" * n + base[n:] for n in (0, 1, 2, 10, 11, 20, 100)]
        data = make_data([base, base, *tests], ["x", "y"] + ["x"] * 7)
        split = Split.from_codes(np.array([0, 1] + [2] * 7), "by hand", {})
        bands = audit_split(data, split)["nearest"]["bands"]
        assert {edge: count for edge, count in bands.items() if count} == {
            **{"1": 1, "0.99": 1, "0.95": 1, "0.9": 1},
            **{"0.8": 2, "0": 1},
        }

    def test_naive_and_unique_splits_differ_in_leaks(self):
        rng = np.random.default_rng(1)
        # Of one or two letters: without any 3-mer, so that only equality can find the leak.
        pool = [a + b for a in "ARND" for b in ("", "A", "R", "N")]
        sequences = rng.choice(pool, 90).tolist()
        data = make_data(sequences, ["x", "y"] * 45)
        naive, unique = (
            audit_split(data, way.split(data)) for way in (RandomSplit(), UniqueSplit())
        )
        assert naive["identical"]["test in train"] > 0
        assert naive["nearest"]["bands"]["1"] == naive["identical"]["test in train"]
        assert set(unique["identical"].values()) == {0} and unique["nearest"]["bands"]["1"] == 0

    def test_many_test_records_are_sampled_and_huge_data_is_not_searched(self, monkeypatch, hosts):
        split = Split.from_codes(np.array([0, 2, 1, 0, 2, 2]), "by hand", {})
        monkeypatch.setattr(module, "TEST_RECORDS", 2)
        assert audit_split(hosts, split)["nearest"]["test_records"] == 2
        monkeypatch.setattr(module, "SEARCHED_RESIDUES", 11)
        facts = audit_split(hosts, split)
        assert facts["nearest"] == {"skipped": "12 distinct residues, more than 11"}
        assert "not searched (12 distinct residues" in audit_split_lines(facts)[-1]


def test_facts_are_json_and_their_lines_read_the_same_afterwards(tmp_path: Path, hosts):
    split = Split.from_codes(np.array([0, 2, 1, 0, 2, -1]), "by hand", {"seed": 3})
    for facts, lines in (
        (audit(hosts), audit_lines),
        (audit_split(hosts, split), audit_split_lines),
    ):
        write_json(tmp_path / "facts.json", facts)
        assert lines(json.loads((tmp_path / "facts.json").read_text())) == lines(facts)


def test_lines_say_the_numbers(hosts):
    split = Split.from_codes(np.array([0, 2, 1, 0, 2, -1]), "by hand", {"seed": 3})
    text = "\n".join(audit_lines(audit(hosts)) + audit_split_lines(audit_split(hosts, split)))
    for line in (
        "records: 6, distinct sequences: 3, repeats: 3",
        "length: 2 to 6 residues, half of them 2 to 4, median 4",
        "letters: 22 residues, X 9.09%, unused: CDEFGHILNPQRSTY",
        "sequences under more than one label: 2 (5 records); no model of the sequence alone can be "
        "right on more than 66.67% of the records",
        "  duck: 3 records (50.0%), 2 sequences",
        "split by hand: seed 3",
        "test: 2 records, 2 sequences",
        "  swine: 1, 1, 0",
        "records in no part: 1",
        "test records whose very sequence is in train: 2",
        "  identical: 2 (100.0%)",
    ):
        assert line in text.splitlines()


def test_influenza_is_as_its_readme_says(real_data: Path):
    from protemb.sequences.source import FileSource

    path = real_data / "influenza_ha_host" / "ha_host.fasta.gz"
    data = FileSource(
        path,
        label={"field": 4},
        id={"field": 1},
        missing_values=(),
        fields={"subtype": {"field": 3}},
    ).load()
    facts = audit(data)
    assert (facts["records"], facts["sequences"], facts["repeats"]) == (6294, 4754, 1540)
    assert (facts["lengths"]["min"], facts["lengths"]["median"], facts["lengths"]["max"]) == (
        551,
        566,
        567,
    )
    assert facts["letters"]["X"] == 0
    assert facts["classes"]["bovine"] == {"records": 59, "sequences": 22}
    assert facts["classes"]["other_mammal"] == {"records": 12, "sequences": 7}
    conflicts = facts["conflicts"]
    assert (conflicts["sequences"], conflicts["records"]) == (38, 222)
    assert facts["fields"]["subtype"]["values"] == 44
