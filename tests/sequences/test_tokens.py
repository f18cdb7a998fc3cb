import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protemb.errors import InputError
from protemb.sequences import tokens
from protemb.sequences.alphabet import AA21, Alphabet, Tokenizer
from protemb.sequences.tokens import TokenStore, TokenStoreBuilder

RECORDS = [("A/duck|1", "MKV"), ("ä b", "MKVW"), ("c", "MKV"), ("d", "W"), ("e", "MKVW")]


def build(folder, records, alphabet=AA21):
    """Build on disk from (id, sequence); the line of record i is i + 1."""
    with TokenStoreBuilder(folder, alphabet, "hosts.fasta") as builder:
        for line, (record_id, sequence) in enumerate(records, start=1):
            builder.append(record_id, Tokenizer(alphabet).encode("", sequence.encode()), line)
        return *builder.finish(), builder.counts


def contents(store):
    return [(store.id(i), store.sequence(i)) for i in range(len(store))]


def test_a_store_gives_its_records_back(tmp_path: Path):
    store, kept_A, _ = build(tmp_path, RECORDS)
    assert contents(store) == RECORDS
    assert list(store.ids()) == [record_id for record_id, _ in RECORDS]
    assert store.positions() == {record_id: i for i, (record_id, _) in enumerate(RECORDS)}
    assert kept_A.all() and kept_A.dtype == bool
    assert store.lengths_N.tolist() == [3, 4, 3, 1, 4]


def test_identical_sequences_are_stored_once_in_the_order_of_their_first_record(tmp_path: Path):
    store, _, _ = build(tmp_path, RECORDS)
    assert store.n_sequences == 3
    assert [AA21.decode(store.distinct(s)) for s in range(3)] == ["MKV", "MKVW", "W"]
    assert store.sequence_of_N.tolist() == [0, 1, 0, 2, 1]
    assert store.lengths_S.tolist() == [3, 4, 1]
    assert (store.tokens_T.dtype, store.offsets_S1.dtype) == (np.uint8, np.int64)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.text("MKV", min_size=1, max_size=2)), min_size=1
    )
)
def test_building_agrees_with_a_loop(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("store")
    first: dict[str, tuple[int, str]] = {}
    kept, conflict = [], None
    for line, (record_id, sequence) in enumerate(records, start=1):
        kept.append(record_id not in first)
        earlier_line, earlier = first.setdefault(record_id, (line, sequence))
        if earlier != sequence and conflict is None:
            conflict = (record_id, line, earlier_line)
    if conflict is None:
        store, kept_A, counts = build(folder, records)
        assert kept_A.tolist() == kept
        assert counts["repeated_records"] == len(records) - sum(kept)
        assert contents(store) == [(name, sequence) for name, (_, sequence) in first.items()]
        distinct = list(dict.fromkeys(sequence for _, sequence in first.values()))
        assert [AA21.decode(store.distinct(s)) for s in range(store.n_sequences)] == distinct
    else:
        with pytest.raises(InputError) as caught:
            build(folder, records)
        record_id, line, earlier_line = conflict
        assert (caught.value.record, caught.value.line) == (record_id, line)
        assert f"on line {earlier_line} under the same id" in str(caught.value)
        assert list(folder.iterdir()) == []  # nothing half-written


def test_an_opened_store_is_a_memory_map_with_the_same_content(tmp_path: Path):
    built, _, _ = build(tmp_path, RECORDS)
    store = TokenStore.open(tmp_path)
    assert contents(store) == RECORDS
    assert store.alphabet == AA21
    assert isinstance(store.tokens_T.base, np.memmap) and type(store.tokens_T) is np.ndarray
    assert store.fingerprint == built.fingerprint
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json"] + [".npy"] * 5


def test_the_fingerprint_names_the_content_not_the_way_it_was_built(tmp_path: Path, monkeypatch):
    whole = TokenStore.from_sequences(RECORDS).fingerprint
    monkeypatch.setattr(tokens, "_save_selected", partial(tokens._save_selected, chunk=2))
    assert build(tmp_path / "chunks", RECORDS)[0].fingerprint == whole
    again = [*RECORDS, RECORDS[1]]  # repeats of an id leave the content as it is
    assert build(tmp_path / "repeat", again)[0].fingerprint == whole


@pytest.mark.parametrize(
    "records",
    [
        [("a", "MKV"), ("bc", "W")],
        [("ab", "MKV"), ("c", "MW")],  # same residues and ids, other borders
        [("ab", "MK"), ("c", "VW")],
        [("c", "W"), ("ab", "MKV")],  # other order
        [("ab", "MKV"), ("c", "W"), ("d", "W")],
        [("ab", "MKV"), ("c", "MKV")],
    ],
)
def test_the_fingerprint_changes_with_the_content(records):
    reference = TokenStore.from_sequences([("ab", "MKV"), ("c", "W")])
    assert TokenStore.from_sequences(records).fingerprint != reference.fingerprint


def test_the_fingerprint_changes_with_the_alphabet():
    other = Alphabet("aa21", AA21.symbols, (("O", "K"),))
    assert (
        TokenStore.from_sequences(RECORDS, other).fingerprint
        != TokenStore.from_sequences(RECORDS).fingerprint
    )


def test_records_cost_no_memory_while_they_are_streamed(tmp_path: Path):
    n, distinct = 100_000, 1_000
    pool = np.random.default_rng(0).integers(0, 20, (distinct, 50), dtype=np.uint8)
    with TokenStoreBuilder(tmp_path, AA21) as builder:
        tracemalloc.start()
        try:
            for i in range(n):
                builder.append(f"record {i}", pool[i % distinct], i + 1)
            _, streaming = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            store, _ = builder.finish()
            _, finishing = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert streaming < 200_000  # bytes in all: buffers, nothing per record
    assert finishing / n < 80
    assert (len(store), store.n_sequences) == (n, distinct)
    assert (store.sequence_of_N == np.arange(n) % distinct).all()
    assert (store.tokens_T.reshape(distinct, 50) == pool).all()
    assert store.id(n - 1) == f"record {n - 1}"


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "hosts.fasta: no sequences"),
        ([("", "MKV")], "hosts.fasta:1: record '': the id is empty"),
        ([("a", "MKV"), ("b", "")], "hosts.fasta:2: record 'b': the sequence is empty"),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path: Path, records, message):
    with pytest.raises(InputError) as caught:
        build(tmp_path, records)
    assert str(caught.value) == message


def test_without_line_numbers_a_conflict_names_the_record_only():
    with pytest.raises(InputError, match="record 'a': the sequence differs .* before under"):
        TokenStore.from_sequences([("a", "MKV"), ("a", "MK")])


def test_in_memory_every_id_must_be_its_own():
    # A caller holds a label per pair: dropping one of them in silence would shift the others.
    with pytest.raises(InputError, match="record 3 repeats an id"):
        TokenStore.from_sequences([("a", "MKV"), ("b", "MK"), ("a", "MKV")])


def test_opening_something_else_says_so(tmp_path: Path):
    with pytest.raises(InputError, match="not a token store"):
        TokenStore.open(tmp_path)
    build(tmp_path, RECORDS)
    meta = tmp_path / "meta.json"
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match="got token store format 2, expected 1"):
        TokenStore.open(tmp_path)
