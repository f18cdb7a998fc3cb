"""Vector tables: what is read is what was written, and damaged files are refused in one line."""

import json
import math
import os
import tracemalloc
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from protemb.errors import ConfigError, InputError
from protemb.vectors.table import VectorTable, VectorWriter

SUFFIXES = [".h5", ".hdf5", ".parquet", ".npz", ".h5ad"]
CHECKED = SUFFIXES[1:4]  # every byte that matters has a checksum
IDS = ["A/duck/Ålesund/1/2020 (H7N7)", "sp|P1|X", "", ".", "鳥 γ-1", "'\"\\ \t$x_1$"]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
plain = texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans()


@st.composite
def tables(draw):
    N, D = draw(st.integers(0, 6)), draw(st.integers(1, 4))
    column = st.lists(texts, min_size=N, max_size=N)
    return VectorTable(
        draw(column),
        draw(arrays.arrays(np.float32, (N, D))),
        draw(st.none() | column.map(lambda names: np.array(names, dtype=str))),
        draw(st.dictionaries(texts.filter(bool), plain, max_size=4)),
    )


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return VectorTable(
        IDS,
        rng.normal(size=(6, 5)),
        np.array(["avian", "Homo sapiens", "avian", "鳥", "", "swine"]),
        {"level": "states", "pooling": "mean", "checkpoint": "ab" * 32, "layers": 2, "trim": False},
    )


def assert_same(found, expected):
    assert found.ids == expected.ids
    assert found.vectors_ND.dtype == np.float32
    assert found.vectors_ND.shape == expected.vectors_ND.shape
    np.testing.assert_array_equal(found.vectors_ND, expected.vectors_ND)
    assert found.vectors_ND.flags.writeable  # torch.from_numpy warns otherwise
    assert (found.labels is None) == (expected.labels is None)
    if expected.labels is not None:
        assert found.labels.tolist() == expected.labels.tolist()
    assert found.attributes == expected.attributes
    kinds = {name: type(value) for name, value in expected.attributes.items()}
    assert {name: type(value) for name, value in found.attributes.items()} == kinds


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reads_what_was_written(suffix, table, tmp_path):
    table.write(tmp_path / "new folder" / f"vectors{suffix.upper()}")
    assert_same(VectorTable.read(tmp_path / "new folder" / f"vectors{suffix.upper()}"), table)
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == [
        f"vectors{suffix.upper()}"
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=40, deadline=None)
@given(table=tables())
def test_any_table_survives(suffix, tmp_path_factory, table):
    path = tmp_path_factory.mktemp("any") / f"vectors{suffix}"
    table.write(path)
    assert_same(VectorTable.read(path), table)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_table_same_bytes(suffix, table, tmp_path):
    table.write(tmp_path / f"a{suffix}")
    table.write(tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_hdf5_layout_is_plain(table, tmp_path):
    table.write(tmp_path / "vectors.h5")
    with h5py.File(tmp_path / "vectors.h5") as file:
        assert set(file) == {"ids", "embeddings", "labels"}
        assert file["embeddings"].dtype == np.float32 and file["embeddings"].chunks
        assert file["ids"].asstr()[:].tolist() == IDS
        assert h5py.check_string_dtype(file["labels"].dtype).encoding == "utf-8"
        assert file.attrs["layers"] == 2


def test_parquet_layout_is_plain(table, tmp_path):
    table.write(tmp_path / "vectors.parquet")
    found = pq.read_table(tmp_path / "vectors.parquet")
    assert found.schema.types == [pa.string(), pa.string(), pa.list_(pa.float32(), 5)]
    assert found.column_names == ["id", "label", "embedding"]
    assert json.loads(found.schema.metadata[b"protemb"]) == table.attributes
    group = pq.ParquetFile(tmp_path / "vectors.parquet").metadata.row_group(0)
    assert not any("DICTIONARY" in encoding for encoding in group.column(2).encodings)


def test_npz_layout_is_plain(table, tmp_path):
    table.write(tmp_path / "vectors.npz")
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as found:
        assert found["ids"].tolist() == IDS
        assert found["labels"].dtype.kind == "U"
        assert json.loads(str(found["attributes"])) == table.attributes


def test_tables_of_others_need_no_attributes(tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file.create_dataset("ids", data=["a", "b"], dtype=h5py.string_dtype())
        file.create_dataset("embeddings", data=np.eye(2), dtype=np.float64)
    with open(tmp_path / "theirs.npz", "wb") as handle:
        np.savez(handle, ids=np.array(["a", "b"]), embeddings=np.eye(2))
    vectors = pa.FixedSizeListArray.from_arrays(np.eye(2).ravel(), 2)
    pq.write_table(pa.table({"id": ["a", "b"], "embedding": vectors}), tmp_path / "theirs.parquet")
    for suffix in (".h5", ".npz", ".parquet"):
        found = VectorTable.read(tmp_path / f"theirs{suffix}")
        assert found.ids == ("a", "b") and found.labels is None and found.attributes == {}
        np.testing.assert_array_equal(found.vectors_ND, np.eye(2))


@pytest.mark.parametrize("name", ["vectors", "vectors.txt", "vectors.h5.gz", ".h5"])
def test_a_wrong_suffix_is_told_the_right_ones(name, table, tmp_path):
    for attempt in (table.write, VectorTable.read):
        with pytest.raises(ConfigError, match=r"\.h5 .*\.parquet, .*\.npz .*\.h5ad"):
            attempt(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ids": ["a"]}, "ids: got 1, expected one for each of 2"),
        ({"ids": ["a", "b\0c"]}, "NUL"),
        ({"labels": np.array(["x"] * 3)}, "labels: got 3"),
        ({"vectors_ND": np.zeros(2)}, r"shape \(2,\)"),
        ({"attributes": {"epochs": [1, 2]}}, "'epochs': got \\[1, 2\\]"),
        ({"attributes": {"seed": None}}, "'seed': got None"),
    ],
)
def test_a_table_must_fit_together(change, problem):
    with pytest.raises(ConfigError, match=problem):
        VectorTable(**{"ids": ["a", "b"], "vectors_ND": np.zeros((2, 3)), **change})


# ---- files that cannot be used ---------------------------------------------------------------


@pytest.fixture
def refused():
    """Asserts that reading fails with one line that names the file."""

    def check(path):
        with pytest.raises(InputError) as caught:
            VectorTable.read(path)
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
        return str(caught.value)

    return check


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_no_tables(suffix, tmp_path, refused, table):
    path = tmp_path / f"vectors{suffix}"
    assert "no such file" in refused(path)
    path.mkdir()
    assert "no such file" in refused(path)
    path.rmdir()
    for content in (
        b"",
        b"\n",
        b">A/duck\nMKT\n",
        os.urandom(5000),
        b"\x89HDF\r\n\x1a\n",
        b"PK\3\4",
    ):
        path.write_bytes(content)
        refused(path)
    table.write(tmp_path / "other.h5" if suffix == ".npz" else tmp_path / "other.npz")
    next(tmp_path.glob("other.*")).rename(path)
    refused(path)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"id": ["a"]}, "embedding"),
        ({"embedding": pa.FixedSizeListArray.from_arrays(pa.array([1.0]), 1)}, "id"),
        ({"id": ["a"], "embedding": [[1.0, 2.0]]}, "is list<"),
        ({"id": ["a"], "embedding": [1.0]}, "double"),
        ({"id": ["a"], "embedding": pa.array([["x"]], pa.list_(pa.string(), 1))}, "string"),
        ({"id": ["a"], "embedding": pa.array([[None]], pa.list_(pa.float32(), 1))}, "empty cells"),
        ({"id": ["a"], "embedding": pa.array([None], pa.list_(pa.float32(), 1))}, "empty cells"),
        ({"id": [None], "embedding": pa.array([[1]], pa.list_(pa.float32(), 1))}, "empty cells"),
    ],
)
def test_parquet_of_another_kind(columns, problem, tmp_path, refused):
    pq.write_table(pa.table(columns), tmp_path / "other.parquet")
    assert problem in refused(tmp_path / "other.parquet")


def test_hdf5_of_another_kind(tmp_path, refused):
    path = tmp_path / "other.h5"
    for make in (
        lambda file: None,
        lambda file: file.create_dataset("embeddings", data=np.zeros((1, 4)), dtype=np.float32),
        lambda file: file.create_group("embeddings"),
        lambda file: file.create_dataset("ids", data=np.zeros(4), dtype=np.float32),
    ):
        with h5py.File(path, "w") as file:
            make(file)
        refused(path)
    VectorTable(["a"], np.zeros((1, 2)), None, {}).write(path)
    with h5py.File(path, "a") as file:
        file.attrs["shape"] = np.array([1, 2])
    assert "'shape'" in refused(path)


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_npz_is_never_unpickled(tmp_path, refused):
    path = tmp_path / "bomb.npz"
    bomb = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    for name in ("ids", "embeddings", "labels", "attributes"):
        good = {"ids": np.array(["a"]), "embeddings": np.zeros((1, 2))}
        np.savez(path, **good | {name: bomb})
        assert "pickle" in refused(path)
    path.write_bytes(bomb.dumps())
    refused(path)
    assert not (tmp_path / "exploded").exists()


def test_npz_of_another_kind(tmp_path, refused):
    path = tmp_path / "other.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ids", "a")
    refused(path)
    with open(path, "wb") as handle:
        np.save(handle, np.zeros((2, 2)))
    refused(path)
    np.savez(path, ids=np.array(["a"]), embeddings=np.zeros((1, 2)), attributes=np.array("{"))
    refused(path)


@pytest.mark.parametrize("suffix", CHECKED)
def test_damage_is_noticed(suffix, table, tmp_path, refused):
    """Cut anywhere: refused. One bit turned anywhere: refused, or it did not touch the vectors."""
    table.write(tmp_path / f"good{suffix}")
    good, path = (tmp_path / f"good{suffix}").read_bytes(), tmp_path / f"bad{suffix}"
    for size in np.linspace(0, len(good) - 1, 60).astype(int):
        path.write_bytes(good[:size])
        refused(path)
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.choice(len(good), 300, replace=False):
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            found = VectorTable.read(path)
        except InputError as error:
            assert "\n" not in str(error)
            noticed += 1
        else:
            np.testing.assert_array_equal(found.vectors_ND, table.vectors_ND)
    assert noticed > 150


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_the_old_file(suffix, table, tmp_path, monkeypatch):
    path = tmp_path / f"vectors{suffix}"
    table.write(path)

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(h5py.Group, "create_dataset", fail)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        VectorTable(["new"], np.zeros((1, 2))).write(path)
    monkeypatch.undo()
    assert_same(VectorTable.read(path), table)
    assert list(tmp_path.iterdir()) == [path]


# ---- block by block --------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(table=tables(), data=st.data())
def test_blocks_make_the_same_table(tmp_path_factory, table, data):
    """However the rows are cut into blocks, also when ids grow longer on the way."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), max_size=3)))
    path = tmp_path_factory.mktemp("blocks") / "vectors.h5"
    with VectorWriter(path, table.attributes) as writer:
        for start, end in zip([0, *cuts], [*cuts, len(table)], strict=True):
            labels = None if table.labels is None else table.labels[start:end]
            writer.append(table.ids[start:end], table.vectors_ND[start:end], labels)
    assert_same(VectorTable.read(path), table)


def test_many_chunks_with_ever_longer_ids(tmp_path):
    rng = np.random.default_rng(1)
    ids = [f"A/duck/{'é' * (i // 200)}/{i}" for i in range(1500)]
    whole = VectorTable(ids, rng.normal(size=(1500, 3)), np.array(["x", "yy", "z"] * 500))
    with VectorWriter(tmp_path / "vectors.h5", {}) as writer:
        for rows in np.array_split(np.arange(1500), 13):
            writer.append([ids[row] for row in rows], whole.vectors_ND[rows], whole.labels[rows])
    assert_same(VectorTable.read(tmp_path / "vectors.h5"), whole)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), VectorWriter(tmp_path / "vectors.h5", {}) as writer:
        writer.append(["a"], np.zeros((1, 2)))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_blocks_must_match(tmp_path):
    for ids, block, labels in [
        (["b"], np.zeros((1, 3)), None),
        (["b"], np.zeros((1, 1)), None),  # would be spread over the row if h5py were asked
        (["b"], np.zeros((1, 2)), np.array(["x"])),
    ]:
        with pytest.raises(AssertionError), VectorWriter(tmp_path / "v.h5", {}) as writer:
            writer.append(["a"], np.zeros((1, 2)))
            writer.append(ids, block, labels)
    assert not list(tmp_path.iterdir())


def test_a_writer_keeps_one_block_in_memory(tmp_path):
    block, blocks = np.ones((1000, 64), np.float32), 60
    with VectorWriter(tmp_path / "vectors.h5", {}) as writer:
        writer.append([f"first {i}" for i in range(1000)], block)
        tracemalloc.start()
        for number in range(blocks):
            writer.append([f"record {number * 1000 + i}" for i in range(1000)], block)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (tmp_path / "vectors.h5").stat().st_size > blocks * block.nbytes
    assert peak < blocks * block.nbytes / 6


def test_not_a_number_survives(tmp_path):
    for suffix in SUFFIXES:
        VectorTable(["a"], [[math.nan, -math.inf]]).write(tmp_path / f"v{suffix}")
        found = VectorTable.read(tmp_path / f"v{suffix}").vectors_ND
        np.testing.assert_array_equal(found, np.float32([[math.nan, -math.inf]]))
