"""Vectors of variants: those of each sequence alone, each computed once, through any kill."""

import fcntl
import signal
from itertools import product
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from started import Started

from protemb.errors import ConfigError, UnknownResidue
from protemb.models.encoders import ConvolutionEncoder, RecurrentEncoder, TableEncoder
from protemb.models.encoders.fixed import FixedTable
from protemb.models.loading import load_model
from protemb.models.pretrained.library import convert
from protemb.models.pretrained.unirep import UniRep
from protemb.sequences.alphabet import AA21, UNIREP
from protemb.sequences.amino_acids import RESIDUES
from protemb.variants.columns import mean_around
from protemb.variants.mutations import Mutation, Substitution
from protemb.variants.requests import Places, plan_requests
from protemb.variants.table import VariantTable
from protemb.variants.vectors import embed_variants

POOLINGS = ("mean", "max", "last", "position", "window(2)", "window(50)", "ends")


def table_of(rows, wild_types):
    """A table from (protein, mutation) pairs; a mutation is an object."""
    n, proteins = len(rows), np.array([protein for protein, _ in rows])
    return VariantTable(
        proteins_N=proteins,
        mutations=tuple(mutation for _, mutation in rows),
        wild_types=wild_types,
        values_N=np.zeros(n),
        labels_N=None,
        label_names=(),
        groups_N=proteins,
        covariates={},
        weights_N=np.ones(n),
    )


def random_table(seed, proteins=6, rows=30, shortest=1, longest=40):
    """Proteins that share sequences, and single and multiple substitutions, some repeated."""
    rng = np.random.default_rng(seed)
    texts = {
        f"P{p}": "".join(rng.choice(list(RESIDUES), rng.integers(shortest, longest)))
        for p in range(proteins)
    }
    texts["twin"] = texts["P0"]
    found = []
    for _ in range(rows):
        name = str(rng.choice(list(texts)))
        count = min(len(texts[name]), rng.integers(1, 4))
        places = rng.choice(len(texts[name]), count, replace=False)
        found.append((name, Mutation(tuple(_changed(texts[name], p, rng) for p in places))))
    return table_of(found + found[:3], texts)


def _changed(text, place, rng):
    new = rng.choice([letter for letter in RESIDUES if letter != text[place]])
    return Substitution(int(place), text[place], str(new))


@pytest.fixture(scope="module")
def table():
    return random_table(0)


def encoders(folder=None, reference=None):
    torch.manual_seed(0)
    yield "table", TableEncoder(), AA21
    yield "bilstm", RecurrentEncoder(hidden_dim=6, layers=2, bidirectional=True), AA21
    yield "gru", RecurrentEncoder(cell="gru", hidden_dim=5), AA21
    yield "cnn", ConvolutionEncoder(hidden_dim=6, layers=3), AA21
    yield "physchem", FixedTable(kind="physchem"), AA21
    yield "unirep", UniRep(hidden_dim=8, layers=2), UNIREP
    if reference is not None:
        for name in ("ssa.zip.sav", "prose_mt.state_dict.sav"):
            model = load_model(convert(reference / "checkpoints" / name, folder / name))
            yield name, model.encoder, model.alphabet
        weights = reference / "unirep" / "unirep_4x8.weights.npz"
        model = load_model(convert(weights, folder / "unirep"))
        yield "published unirep", model.encoder, model.alphabet


def wanted_of(encoder):
    """All levels and poolings that the encoder has."""
    pairs = product(encoder.levels, POOLINGS)
    return [(at, word) for at, word in pairs if word != "ends" or at not in encoder.mixed_levels]


def states_alone(encoder, alphabet, text, level):
    """States of one sequence by itself, in float64."""
    tokens_1L = torch.tensor([[alphabet.symbols.index(letter) for letter in text]])
    with torch.no_grad():
        states_1LD = encoder.eval()(tokens_1L, torch.tensor([len(text)]), (level,))[level]
    return states_1LD[0].double().numpy()


def pooled(encoder, rows_LD, level, word, places):
    """Pooled residue by residue."""
    if word == "ends":
        split = rows_LD.shape[1] - encoder.backward_dim(level)
        return np.concatenate([rows_LD[-1, :split], rows_LD[0, split:]])
    if word in ("mean", "max", "last"):
        return {"mean": rows_LD.mean(0), "max": rows_LD.max(0), "last": rows_LD[-1]}[word]
    reach = 0 if word == "position" else int(word[7:-1])
    around = [
        np.mean([rows_LD[i] for i in range(len(rows_LD)) if abs(i - place) <= reach], axis=0)
        for place in places
    ]
    return np.mean(around, axis=0)


def close(found, expected):
    return np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max() + 1e-9


def test_every_vector_is_that_of_the_sequence_alone(table, reference, tmp_path):
    for name, encoder, alphabet in encoders(tmp_path, reference):
        wanted = wanted_of(encoder)
        vectors = embed_variants(encoder, alphabet, table, wanted, tmp_path / "v", residues=150)
        assert vectors.wanted == tuple(wanted)
        found = {pair: (vectors.wild(*pair), vectors.variant(*pair)) for pair in wanted}
        assert {array.dtype.name for pair in found.values() for array in pair} == {"float32"}
        for row, side in product(range(0, len(table), 6), (0, 1)):
            text = (table.wild_type(row), table.variant(row))[side]
            for level in encoder.levels:
                rows_LD = states_alone(encoder, alphabet, text, level)
                for word in (word for at, word in wanted if at == level):
                    places = table.mutations[row].positions
                    expected_D = pooled(encoder, rows_LD, level, word, places)
                    assert close(found[level, word][side][row], expected_D), (name, level, word)


@pytest.mark.parametrize("residues", [1, 90, 100_000])
def test_batch_mates_and_other_cells_change_nothing(table, tmp_path, residues):
    for name, encoder, alphabet in encoders():
        wanted = wanted_of(encoder)
        whole = embed_variants(encoder, alphabet, table, wanted, tmp_path / name, residues=300)
        rows = np.array([4, 4, 17, 2])
        level, word = wanted[-3]
        some = embed_variants(
            encoder,
            alphabet,
            table.select(rows),
            [(level, word)],
            tmp_path / name,
            residues=residues,
        )
        assert close(some.wild(level, word), whole.wild(level, word)[rows])
        assert close(some.variant(level, word), whole.variant(level, word)[rows])


class Watched(RecurrentEncoder):
    """Keeps account of what it was asked for; can be made to stop."""

    def forward(self, tokens_BL, lengths_B, levels=("states",)):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.calls.append(tuple(levels))
        self.seen += [tuple(t[:n].tolist()) for t, n in zip(tokens_BL, lengths_B, strict=True)]
        return super().forward(tokens_BL, lengths_B, levels)


@pytest.fixture
def watched():
    torch.manual_seed(1)
    encoder = Watched(hidden_dim=4, bidirectional=True)
    encoder.left, encoder.calls, encoder.seen = -1, [], []
    return encoder


WANTED = [("states", "mean"), ("table", "position"), ("states", "window(1)"), ("table", "mean")]


def distinct(table):
    texts = [(table.wild_type(row), table.variant(row)) for row in range(len(table))]
    return {text for pair in texts for text in pair}


def test_each_sequence_is_embedded_once_for_all_cells(table, watched, tmp_path):
    steps = []
    embed_variants(watched, AA21, table, WANTED, tmp_path, residues=100, progress=steps.append)
    texts = distinct(table)
    assert len(watched.seen) == len(set(watched.seen)) == len(texts)
    assert set(watched.calls) == {("states", "table")}
    assert sum(steps) == sum(map(len, texts)) and len(steps) == len(watched.calls)
    assert not watched.training


def test_the_whole_chain_needs_one_row_for_a_sequence(table, watched, tmp_path):
    whole = plan_requests(table, AA21, placed=False)
    assert len(whole) == whole.store.n_sequences == len(distinct(table))
    asked = {
        (text, table.mutations[row].positions)
        for row in range(len(table))
        for text in (table.wild_type(row), table.variant(row))
    }
    assert len(plan_requests(table, AA21, placed=True)) == len(asked)
    embed_variants(watched, AA21, table, [("states", "mean")], tmp_path)
    (rows,) = tmp_path.glob("*/rows")
    assert rows.stat().st_size == len(whole) * 8 * 4


def same(found, expected):
    for level, word in WANTED:
        np.testing.assert_array_equal(found.wild(level, word), expected.wild(level, word))
        np.testing.assert_array_equal(found.variant(level, word), expected.variant(level, word))


def test_what_is_there_is_not_computed_again(table, watched, tmp_path):
    expected = embed_variants(watched, AA21, table, WANTED, tmp_path / "a", residues=100)
    batches = len(watched.calls)
    watched.left, watched.seen = 3, []
    with pytest.raises(KeyboardInterrupt):
        embed_variants(watched, AA21, table, WANTED, tmp_path / "b", residues=100)
    watched.left, first, steps = -1, len(watched.seen), []
    found = embed_variants(
        watched, AA21, table, WANTED, tmp_path / "b", residues=100, progress=steps.append
    )
    assert len(watched.seen) == len(distinct(table)) and 0 < first < len(watched.seen)
    assert len(steps) == 1 + batches - 3 and sum(steps) == sum(map(len, distinct(table)))
    same(found, expected)
    watched.left = 0
    same(embed_variants(watched, AA21, table, WANTED, tmp_path / "b", residues=100), expected)


@settings(max_examples=15)
@given(place=st.floats(0, 1, exclude_max=True), cut=st.booleans())
def test_damaged_bytes_are_found(tmp_path_factory, table, place, cut):
    torch.manual_seed(2)
    encoder, folder = RecurrentEncoder(hidden_dim=2), tmp_path_factory.mktemp("damaged")
    expected = embed_variants(encoder, AA21, table, WANTED, folder, residues=100)
    kept = {pair: (expected.wild(*pair), expected.variant(*pair)) for pair in WANTED}
    (path,) = folder.glob("*/rows")
    damaged = bytearray(path.read_bytes())
    damaged[int(place * len(damaged))] ^= 4
    path.write_bytes(damaged[: int(place * len(damaged))] if cut else damaged)
    found = embed_variants(encoder, AA21, table, WANTED, folder, residues=100)
    for pair, (wild_ND, variant_ND) in kept.items():
        np.testing.assert_array_equal(found.wild(*pair), wild_ND)
        np.testing.assert_array_equal(found.variant(*pair), variant_ND)


# argv: this file's folder, the output folder, batches before the process kills itself (or -1).
CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import torch
import test_vectors as t

torch.manual_seed(3)
encoder = t.RecurrentEncoder(hidden_dim=4)
left = int(sys.argv[3])

def progress(residues):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

t.embed_variants(encoder, t.AA21, t.random_table(0), t.WANTED, t.Path(sys.argv[2]), residues=100,
                 progress=progress)
"""


@pytest.mark.slow
def test_a_killed_process_goes_on(table, tmp_path):
    """Two at once go on with it: one of them waits and finds the work done."""
    torch.manual_seed(3)
    encoder = RecurrentEncoder(hidden_dim=4)
    embed_variants(encoder, AA21, table, WANTED, tmp_path / "a", residues=100)
    (expected,) = (tmp_path / "a").glob("*/rows")
    here = str(Path(__file__).parent)
    command = ["-c", CHILD, here, tmp_path / "b"]
    assert Started(*command, 4).wait() == -signal.SIGKILL
    (rows,) = (tmp_path / "b").glob("*/rows")
    first, whole = rows.read_bytes(), expected.read_bytes()
    assert 0 < len(first) < len(whole) and whole.startswith(first)
    for process in [Started(*command, -1) for _ in range(2)]:
        assert process.wait() == 0, process.said()
    assert rows.read_bytes() == whole


def test_a_folder_in_use_is_waited_for(table, watched, tmp_path):
    embed_variants(watched, AA21, table, WANTED, tmp_path)
    (rows,) = tmp_path.glob("*/rows")
    whole = rows.read_bytes()
    rows.write_bytes(b"")
    watched.seen = []
    with open(rows.with_name("lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = Thread(target=embed_variants, args=(watched, AA21, table, WANTED, tmp_path))
        other.start()
        other.join(0.5)
        assert other.is_alive() and watched.seen == [] and rows.read_bytes() == b""
    other.join()
    assert rows.read_bytes() == whole


def test_other_questions_have_folders_of_their_own(table, watched, tmp_path):
    first = embed_variants(watched, AA21, table, [("states", "mean")], tmp_path)
    other = embed_variants(watched, AA21, table, [("states", "max")], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert not np.array_equal(first.wild("states", "mean"), other.wild("states", "max"))
    with pytest.raises(KeyError):
        first.wild("states", "max")


def test_the_same_sequences_by_other_mutations(watched, tmp_path):
    """Tables of much the same sequences, in which other residues are replaced."""
    there = Mutation.parse("M1K:K2M")
    first = table_of([("a", there), ("b", there.reversed())], {"a": "MKV", "b": "KMV"})
    one = table_of(
        [("a", Mutation.parse("M1K")), ("b", Mutation.parse("K2M"))], {"a": "MKV", "b": "KKV"}
    )
    two = table_of(
        [("b", Mutation.parse("K1M")), ("a", Mutation.parse("K2M"))], {"b": "KKV", "a": "KKV"}
    )
    for n, table in enumerate((first, one, two)):
        vectors = embed_variants(watched, AA21, table, [("states", "position")], tmp_path)
        assert len(list(tmp_path.iterdir())) == n + 1 and not watched.training
        for row, mutation in enumerate(table.mutations):
            states_LD = states_alone(watched, AA21, table.wild_type(row), "states")
            expected_D = pooled(watched, states_LD, "states", "position", mutation.positions)
            assert close(vectors.wild("states", "position")[row], expected_D)


def test_tables_without_mutations(watched, tmp_path):
    plain = table_of([("a", Mutation()), ("b", Mutation())], {"a": "MKX", "b": "MKVA"})
    vectors = embed_variants(watched, AA21, plain, [("states", "mean")], tmp_path)
    assert len(watched.seen) == 2
    np.testing.assert_array_equal(vectors.wild("states", "mean"), vectors.variant("states", "mean"))
    with pytest.raises(ConfigError, match=r"a mutation in every row \(row 1, a, has none\)"):
        embed_variants(watched, AA21, plain, [("states", "position")], tmp_path)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (("states", "median"), "^pooling: got 'median', expected one of mean, max, last, ends, "),
        (("states", "attention"), "^pooling: got 'attention'"),
        (("states", "window(-1)"), "^pooling: got 'window"),
        (("cells", "mean"), "^level: got 'cells'"),
        (("cells", "position"), "^level: got 'cells'"),
    ],
)
def test_bad_words_are_refused_before_anything_is_written(table, watched, tmp_path, wanted, said):
    with pytest.raises(ConfigError, match=said):
        embed_variants(watched, AA21, table, [wanted], tmp_path / "v")
    assert not (tmp_path / "v").exists() and watched.seen == []


def test_ends_of_a_mixed_level_and_nothing_wanted(table, reference, tmp_path):
    model = load_model(convert(reference / "checkpoints/ssa.zip.sav", tmp_path / "ssa"))
    with pytest.raises(ConfigError, match="two directions do not stand apart"):
        embed_variants(model.encoder, AA21, table, [("projection", "ends")], tmp_path / "v")
    with pytest.raises(ValueError, match="wanted"):
        embed_variants(model.encoder, AA21, table, [], tmp_path / "v")


def test_a_letter_that_is_not_known_names_its_row(watched, tmp_path):
    odd = table_of([("a", Mutation.parse("M1A"))], {"a": "MKJ"})
    with pytest.raises(UnknownResidue, match=r"record 'wild type of a \(row 1\)': residue 3"):
        embed_variants(watched, AA21, odd, [("states", "mean")], tmp_path)


def test_neighbours_beyond_the_ends_are_not_read():
    """Padding and batch mates are full of nonsense; no window may touch them."""
    states_BLD = torch.arange(12.0).reshape(2, 6, 1)
    states_BLD[1, 3:] = torch.nan
    owner, place = np.array([0, 0, 1, 1]), np.array([0, 5, 2, 0])
    places = Places(owner, owner, place, np.arange(4))
    for reach, expected in ((0, [0, 5, 8, 6]), (1, [0.5, 4.5, 7.5, 6.5]), (99, [2.5, 2.5, 7, 7])):
        found = mean_around(states_BLD, torch.tensor([6, 3]), places, reach)
        assert found[:, 0].tolist() == expected
