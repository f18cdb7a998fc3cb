"""Per-residue files: what is read is what was written, one protein at a time."""

import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.errors import ConfigError, InputError
from protemb.vectors.provenance import check_same
from protemb.vectors.residues import ResidueTable, ResidueWriter
from protemb.vectors.table import VectorTable

FACTS = {"checkpoint": "ab" * 32, "level": "states", "alphabet": "aa21", "layers": 2}
odd = st.sampled_from(["", ".", "..", "%", "%2E", "/", "a/b", "/a", " ", "鳥", "embeddings", "ids"])
texts = odd | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)


@pytest.fixture
def proteins():
    rng = np.random.default_rng(0)
    ids = ["A/duck/1", "sp|P1|X", ".", "", "ids"]
    return {text: rng.normal(size=(rng.integers(1, 40), 5)).astype("f4") for text in ids}


def write(path, proteins, dtype="float32", facts=FACTS):
    with ResidueWriter(path, facts, dtype) as writer:
        for record_id, states_LD in proteins.items():
            writer.append(record_id, states_LD)
    return path


@settings(max_examples=25)
@given(st.lists(texts, unique=True, max_size=6), st.integers(1, 4), st.data())
def test_what_is_read_is_what_was_written(tmp_path_factory, ids, D, data):
    path = tmp_path_factory.mktemp("any") / "residues.h5"
    lengths = [data.draw(st.integers(1, 9)) for _ in ids]
    rng = np.random.default_rng(len(ids))
    proteins = {i: rng.normal(size=(L, D)).astype("f4") for i, L in zip(ids, lengths, strict=True)}
    with ResidueTable.open(write(path, proteins)) as table:
        assert table.ids == tuple(table) == tuple(ids) and len(table) == len(ids)
        assert table.attributes == FACTS and table.source == str(path)
        for record_id, states_LD in table.items():
            assert states_LD.dtype == np.float32 and record_id in table
            np.testing.assert_array_equal(states_LD, proteins[record_id])


def test_plain_loop_reads_it(proteins, tmp_path):
    found = {}
    with h5py.File(write(tmp_path / "per-residue.h5", proteins, "float16")) as file:
        for name in file:  # as users of UniProt's files do
            assert file[name].dtype == np.float16 and file[name].compression is None
            found[file[name].attrs["original_id"]] = file[name][:]
    assert found.keys() == proteins.keys()
    for record_id, states_LD in proteins.items():
        np.testing.assert_array_equal(found[record_id], states_LD.astype(np.float16))
    with ResidueTable.open(tmp_path / "per-residue.h5") as table:
        assert table["ids"].dtype == np.float32 and table.width == 5
        np.testing.assert_array_equal(table["ids"], found["ids"].astype(np.float32))


def test_files_of_uniprot_and_bio_embeddings(tmp_path):
    states_LD = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float16)
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file.create_dataset("P12345", data=states_LD, dtype=np.float16)
        file.create_dataset("0", data=states_LD * 2, dtype=np.float16)
        file["0"].attrs["original_id"] = "A/duck/1"
    with ResidueTable.open(tmp_path / "theirs.h5") as table:
        assert sorted(table.ids) == ["A/duck/1", "P12345"] and table.attributes == {}
        np.testing.assert_array_equal(table["A/duck/1"], states_LD.astype("f4") * 2)
        with pytest.raises(KeyError):
            table["0"]


@settings(max_examples=25)
@given(st.integers(1, 50), st.data())
def test_pieces_in_any_order_make_the_same_protein(tmp_path_factory, L, data):
    states_LD = np.random.default_rng(L).normal(size=(L, 3)).astype("f4")
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, L - 1)))), L] if L > 1 else [0, L]
    spans = data.draw(st.permutations(list(zip(cuts[:-1], cuts[1:], strict=True))))
    path = tmp_path_factory.mktemp("pieces") / "residues.h5"
    with ResidueWriter(path, {}) as writer:
        writer.extend("a", L, ((start, states_LD[start:stop]) for start, stop in spans))
    with ResidueTable.open(path) as table:
        np.testing.assert_array_equal(table["a"], states_LD)


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([], "0 of 6 residues"),
        ([(0, 3)], "3 of 6 residues"),
        ([(0, 4), (3, 3)], "3:6 twice, or outside"),
        ([(0, 4), (4, 3)], "4:7 twice, or outside"),
        ([(-1, 2)], "-1:1 twice, or outside"),
    ],
)
def test_pieces_must_make_the_whole_protein(pieces, problem, tmp_path):
    with ResidueWriter(tmp_path / "r.h5", {}) as writer:
        writer.append("a", np.zeros((2, 4)))
        with pytest.raises(ValueError, match=problem):
            writer.extend("b", 6, ((start, np.ones((rows, 4))) for start, rows in pieces))
        writer.append("b", np.full((3, 4), 2.0))  # nothing of it was left behind
    with ResidueTable.open(tmp_path / "r.h5") as table:
        assert table.ids == ("a", "b") and (table["b"] == 2).all()


def test_proteins_that_cannot_be_added(proteins, tmp_path):
    path = write(tmp_path / "r.h5", {"a": np.zeros((3, 4))})
    for bad, error, problem in [
        (("a", np.ones((3, 4))), ConfigError, "ids: got 'a'"),
        (("b\0", np.ones((3, 4))), ConfigError, "NUL"),
        (("b", np.ones((3, 5))), ValueError, "5 features, others have 4"),
        (("b", np.ones((3, 4, 1))), ValueError, "features|in"),
        (("b", np.ones((0, 4))), ValueError, "0 residues"),
    ]:
        with pytest.raises(error, match=problem), ResidueWriter(tmp_path / "w.h5", {}) as writer:
            writer.append("a", np.zeros((3, 4)))
            writer.append(*bad)
        assert list(tmp_path.iterdir()) == [path]
    with ResidueTable.open(path) as table:
        assert not table["a"].any()


def test_values_beyond_float16_are_refused(tmp_path):
    states_LD = np.array([[1, 65_504], [np.inf, np.nan]], np.float32)
    with ResidueTable.open(write(tmp_path / "r.h5", {"a": states_LD}, "float16")) as table:
        np.testing.assert_array_equal(table["a"], states_LD)
    with pytest.raises(ConfigError, match="float32: record 'b' has larger values"):
        write(tmp_path / "w.h5", {"b": states_LD * 2}, "float16")
    for options, problem in [
        (("r.npz", {}), r"ends in \.h5"),
        (("r.h5", {}, "bfloat16"), "float32, float16"),
        (("r.h5", {"seed": None}), "'seed'"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            ResidueWriter(*options)


def test_tables_and_residue_files_are_told_apart(proteins, tmp_path):
    vectors = VectorTable(["a"], np.zeros((1, 3)), None, FACTS)
    vectors.write(tmp_path / "rows.h5")
    vectors.write(tmp_path / "records.h5", layout="uniprot")
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file.create_dataset("P12345", data=np.zeros(4), dtype=np.float32)
    (tmp_path / "text.h5").write_text("MKT")
    for name in ("rows.h5", "records.h5", "theirs.h5", "text.h5", "nowhere.h5"):
        with pytest.raises(InputError) as caught:
            ResidueTable.open(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)
    write(tmp_path / "residues.h5", proteins)
    with pytest.raises(InputError, match="per-residue file, expected per-protein"):
        VectorTable.read(tmp_path / "residues.h5")


def test_states_of_other_models_do_not_mix(proteins, tmp_path):
    with (
        ResidueTable.open(write(tmp_path / "a.h5", proteins)) as first,
        ResidueTable.open(
            write(tmp_path / "b.h5", proteins, facts=FACTS | {"level": "lm"})
        ) as other,
    ):
        check_same([first, first])
        with pytest.raises(InputError, match=r"b\.h5: level 'lm' does not mix .* of .*a\.h5"):
            check_same([first, other])


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), ResidueWriter(tmp_path / "r.h5", {}) as writer:
        writer.append("a", np.zeros((3, 4)))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_damaged_states_are_refused(proteins, tmp_path):
    path = write(tmp_path / "r.h5", proteins)
    with h5py.File(path) as file:
        start = file["ids"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start + 7] ^= 1
    path.write_bytes(content)
    with ResidueTable.open(path) as table:
        np.testing.assert_array_equal(table["A/duck/1"], proteins["A/duck/1"])
        with pytest.raises(InputError, match=r"r\.h5: not a readable per-residue file"):
            table["ids"]


def test_a_very_long_protein_is_never_in_memory(tmp_path):
    L, D, step = 38_000, 400, 500
    piece_lD = np.ones((step, D), np.float32)
    with ResidueWriter(tmp_path / "warm.h5", {}) as writer:
        writer.append("a", piece_lD)
    tracemalloc.start()
    with ResidueWriter(tmp_path / "titin.h5", {}) as writer:
        writer.extend("titin", L, ((start, piece_lD) for start in range(0, L, step)))
        for number in range(50):
            writer.append(str(number), piece_lD)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "titin.h5").stat().st_size > L * D * 4
    assert peak < 8 * 2**20
