from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.sequences.alphabet import AA21
from protemb.sequences.dataset import LabelledSet
from protemb.sequences.neighbours import (
    edit_distance,
    edit_identity,
    identity_bound,
    kmer_table,
    nearest_identity,
)
from protemb.sequences.partition import Split
from protemb.sequences.tokens import TokenStore


def tokens(text: str) -> np.ndarray:
    return AA21.table()[np.frombuffer(text.encode(), np.uint8)]


def table_distance(first: str, second: str) -> int:
    """The textbook's dynamic programming table."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        previous, row = row, [i]
        for j, b in enumerate(second, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (a != b)))
    return row[-1]


def mutated(sequence: str, edits: int, rng: np.random.Generator) -> str:
    letters = list(sequence)
    for _ in range(edits):
        place = int(rng.integers(len(letters)))
        letters[place : place + int(rng.integers(2))] = rng.choice(list("ARNDCQEGHI"), 1)
    return "".join(letters)


def random_protein(length: int, rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(AA21.symbols[:20]), length))


PROTEIN = st.text("ARN", min_size=1, max_size=12)


@given(PROTEIN, PROTEIN)
def test_edit_distance_agrees_with_the_table(first, second):
    distance = edit_distance(tokens(first), tokens(second))
    assert distance == table_distance(first, second)
    assert edit_identity(tokens(first), tokens(second)) == 1 - distance / max(
        len(first), len(second)
    )


def test_edit_distance_has_no_word_length():
    rng = np.random.default_rng(0)
    for length in (63, 64, 65, 130, 300):
        first = random_protein(length, rng)
        second = mutated(first, length // 5, rng)
        assert edit_distance(tokens(first), tokens(second)) == table_distance(first, second)


@given(st.lists(st.text("AR", min_size=1, max_size=9), min_size=2, max_size=6, unique=True))
def test_the_kmer_table_counts_shared_kmers(sequences):
    store = TokenStore.from_sequences((str(i), text) for i, text in enumerate(sequences))
    table = kmer_table(store)
    shared = (table @ table.T).toarray()
    kmers = [Counter(text[i : i + 3] for i in range(len(text) - 2)) for text in sequences]
    expected = [[(first & second).total() for second in kmers] for first in kmers]
    assert shared.tolist() == expected
    # Shared k-mers bound the identity from above.
    lengths = store.lengths_S
    for i, first in enumerate(sequences):
        bound = identity_bound(lengths[i], lengths, shared[i])
        for j, second in enumerate(sequences):
            assert bound[j] >= edit_identity(tokens(first), tokens(second))


def family_set(rng: np.random.Generator, families: int, size: int) -> list[str]:
    founders = [random_protein(int(rng.integers(20, 60)), rng) for _ in range(families)]
    return [mutated(f, int(rng.integers(0, 20)), rng) for f in founders for _ in range(size)]


@pytest.mark.parametrize("seed", range(8))
def test_the_nearest_neighbour_agrees_with_comparing_all(seed):
    rng = np.random.default_rng(seed)
    sequences = family_set(rng, 8, 8)
    data = LabelledSet.from_labels(
        TokenStore.from_sequences((str(i), text) for i, text in enumerate(sequences)), ["x"] * 64
    )
    split = Split.from_codes(rng.integers(-1, 3, 64), "random", {})
    found = nearest_identity(data, split, candidates=64)
    for r, test in enumerate(split.test):
        identities = {
            int(i): edit_identity(tokens(sequences[test]), tokens(sequences[i]))
            for i in split.train
        }
        assert found.identity_R[r] == max(identities.values())
        assert identities[found.record_R[r]] == found.identity_R[r]
    assert found.proven_R.all()

    few = nearest_identity(data, split, candidates=2)
    assert (few.identity_R <= found.identity_R).all()
    assert (few.identity_R == found.identity_R)[few.proven_R].all()
    assert not few.proven_R.all()  # remote test sequences: the bound closes on none of two


def test_a_leaked_sequence_has_identity_one():
    store = TokenStore.from_sequences([("a", "MKVAR"), ("b", "MKVWR"), ("c", "MKVAR"), ("d", "C")])
    data = LabelledSet.from_labels(store, ["x"] * 4)
    split = Split.from_codes(np.array([0, 0, 2, 2]), "random", {})
    found = nearest_identity(data, split)
    assert found.identity_R.tolist() == [1.0, 0.0]
    assert found.record_R[0] == 0


def test_pieces_of_the_work_do_not_show(monkeypatch):
    rng = np.random.default_rng(4)
    sequences = family_set(rng, 4, 6)
    store = TokenStore.from_sequences((str(i), text) for i, text in enumerate(sequences))
    data = LabelledSet.from_labels(store, ["x"] * 24)
    split = Split.from_codes(np.arange(24) % 3, "random", {})
    whole = nearest_identity(data, split)
    monkeypatch.setattr("protemb.sequences.neighbours.PAIRS_AT_ONCE", 1)
    pieces = nearest_identity(data, split)
    assert all((a == b).all() for a, b in zip(whole, pieces, strict=True))


def test_influenza_neighbours_are_near_and_proven(real_data: Path):
    from protemb.sequences.source import FileSource

    path = real_data / "influenza_ha_host" / "ha_host.fasta.gz"
    data = FileSource(path, label={"field": 4}, id={"field": 1}, missing_label="drop").load()
    part_of_N = np.where(data.sequences_N % 5 == 0, 2, 0)
    part_of_N[np.flatnonzero(part_of_N == 2)[40:]] = -1
    found = nearest_identity(data, Split.from_codes(part_of_N, "unique", {}))
    assert found.identity_R.min() > 0.9 and found.proven_R.mean() > 0.9
    # Where lengths are equal, the share of equal positions cannot be larger.
    for test, train, identity in zip(
        np.flatnonzero(part_of_N == 2), found.record_R, found.identity_R, strict=True
    ):
        first, second = data.store.tokens(test), data.store.tokens(train)
        if len(first) == len(second):
            assert identity >= np.mean(first == second)
