"""Formats that other tools read, written block by block; and tables that refuse to mix."""

import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from protemb.errors import ConfigError, InputError, MissingExtra
from protemb.vectors.formats import blocks
from protemb.vectors.formats.records import id_of, safe_name
from protemb.vectors.table import (
    TableReader,
    VectorTable,
    check_same,
    concatenate,
    open_writer,
)

FORMATS = [
    ("v.h5", "table"),
    ("v.h5", "uniprot"),
    ("v.parquet", "table"),
    ("v.npz", "table"),
    ("v.h5ad", "table"),
]
FACTS = {"checkpoint": "ab" * 32, "level": "states", "pooling": "mean", "alphabet": "aa21"}

odd = st.sampled_from(["", ".", "..", "...", "%", "%2E", "/", "//", "a/b", "/a", " ", "鳥", "ids"])
texts = odd | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)


@st.composite
def tables(draw, unique=False):
    N, D = draw(st.integers(0, 8)), draw(st.integers(1, 3))
    column = st.lists(texts, min_size=N, max_size=N)
    return VectorTable(
        draw(st.lists(texts, min_size=N, max_size=N, unique=unique)),
        draw(arrays.arrays(np.float32, (N, D))),
        draw(st.none() | column.map(lambda names: np.array(names, dtype=str))),
        draw(st.sampled_from([{}, FACTS, {"a/b": 1, ".": True, "": 0.5} | FACTS])),
    )


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    ids = ["A/duck/1 (H5N1)", "sp|P1|X", ".", "", "鳥"]
    return VectorTable(ids, rng.normal(size=(5, 4)), np.array(["x", "y", "x", "x", ""]), FACTS)


def rows_of(table):
    """What a table says of each record, in order."""
    labels = [None] * len(table) if table.labels is None else table.labels.tolist()
    return [
        (record_id, vector_D.tobytes(), label)
        for record_id, vector_D, label in zip(table.ids, table.vectors_ND, labels, strict=True)
    ]


def refused(path):
    """Assert that reading fails with one line that names the file; return it."""
    with pytest.raises(InputError) as caught:
        VectorTable.read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


# ---- block by block, in every format ---------------------------------------------------------


@pytest.mark.parametrize(("name", "layout"), FORMATS)
@settings(max_examples=15)
@given(table=tables(unique=True), data=st.data())
def test_blocks_make_the_file_of_the_whole_table(tmp_path_factory, name, layout, table, data):
    if "" in table.attributes:  # HDF5 has no attribute without a name
        table = replace(table, attributes={"a/b": 1, ".": True} | FACTS)
    folder = tmp_path_factory.mktemp("cut")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), max_size=3)))
    with open_writer(folder / name, table.attributes, layout=layout) as writer:
        for start, end in zip([0, *cuts], [*cuts, len(table)], strict=True):
            lent_BD = table.vectors_ND[start:end].copy()
            labels = None if table.labels is None else table.labels[start:end]
            writer.append(table.ids[start:end], lent_BD, labels)
            lent_BD[:] = -1  # the caller's array is the caller's again
    found = VectorTable.read(folder / name)
    assert rows_of(found) == rows_of(table) and found.width == table.width
    assert found.attributes == table.attributes and found.source == str(folder / name)
    (folder / "whole").mkdir()
    table.write(folder / "whole" / name, layout=layout)
    assert (folder / "whole" / name).read_bytes() == (folder / name).read_bytes()
    assert {path.name for path in folder.iterdir()} == {"whole", name}


@pytest.mark.parametrize(("name", "layout"), FORMATS)
def test_many_rows_in_odd_blocks(name, layout, tmp_path, monkeypatch):
    """More rows than are written together, so that groups fill up, flow over and end early."""
    rng = np.random.default_rng(1)
    N = 600 if layout == "uniprot" else 9000
    monkeypatch.setattr(blocks, "GROUP_CHUNKS", 1 if layout == "uniprot" else 16)
    ids = [f"A/{'é' * (i // 500)}/{i}" for i in range(N)]
    labels_N = rng.choice(["a", "bb", "longer"], N)
    whole = VectorTable(ids, rng.normal(size=(N, 3)), labels_N, FACTS)
    cuts = np.sort(rng.integers(0, N, 9))
    with open_writer(tmp_path / name, FACTS, layout=layout) as writer:
        for rows in np.split(np.arange(N), cuts):
            writer.append([ids[i] for i in rows], whole.vectors_ND[rows], labels_N[rows])
    assert rows_of(VectorTable.read(tmp_path / name)) == rows_of(whole)
    whole.write(tmp_path / f"whole-{name}", layout=layout)
    assert (tmp_path / f"whole-{name}").read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize(("name", "layout"), FORMATS)
def test_vectors_stay_out_of_memory(name, layout, tmp_path):
    N = 5_000 if layout == "uniprot" else 200_000
    D = 2560 if layout == "uniprot" else 64
    block = np.random.default_rng(0).normal(size=(1000, D)).astype(np.float32)
    names = [f"record {number}" for number in range(N)]
    with open_writer(tmp_path / "first.h5ad", {}) as writer:  # what imports keep is not counted
        writer.append(["a"], block[:1])
    tracemalloc.start()
    with open_writer(tmp_path / name, {}, layout=layout) as writer:
        for start in range(0, N, 1000):
            writer.append(names[start : start + 1000], block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    texts_bytes = N * 48 if name in ("v.npz", "v.h5ad") else 0  # ids as arrays of text
    assert (tmp_path / name).stat().st_size > N * D * 3
    assert peak < N * D * 4 / 2 + texts_bytes


@pytest.mark.parametrize(("name", "layout"), FORMATS)
@pytest.mark.parametrize("blow", [KeyboardInterrupt, AssertionError])
def test_an_error_leaves_the_folder_as_it_was(name, layout, blow, table, tmp_path):
    table.write(tmp_path / name, layout=layout)
    with pytest.raises(blow), open_writer(tmp_path / name, {}, layout=layout) as writer:
        writer.append(["a"], np.zeros((1, 2)))
        if blow is AssertionError:
            writer.append(["b"], np.zeros((1, 3)))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert rows_of(VectorTable.read(tmp_path / name)) == rows_of(table)


KILLED = """
import sys, numpy as np
from protemb.vectors.table import open_writer
with open_writer(sys.argv[1], {}, layout=sys.argv[2]) as writer:
    for number in range(10**6):
        names = [f"{number}/{i}" for i in range(1000)]
        writer.append(names, np.ones((1000, 64), np.float32))
        if number == 5:
            print("writing", flush=True)
"""


@pytest.mark.parametrize(("name", "layout"), [FORMATS[1], FORMATS[3], FORMATS[4]])
def test_a_killed_writer_leaves_no_file(name, layout, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / name), layout]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / name).exists()
    # Of the npz writer's vectors, which lie in a nameless file, nothing stays at all.
    assert name != "v.npz" or sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_layouts_and_records_where_there_are_none(tmp_path):
    with pytest.raises(ConfigError, match=r"layout: got 'uniprot', .*only \.h5"):
        open_writer(tmp_path / "v.parquet", {}, layout="uniprot")
    with pytest.raises(ConfigError, match="layout: got 'rows', expected one of table, uniprot"):
        open_writer(tmp_path / "v.h5", {}, layout="rows")
    with pytest.raises(AssertionError), open_writer(tmp_path / "v.npz", {}) as writer:
        writer.append(["a"], np.zeros((1, 2)), None, np.array([7]))
    with pytest.raises(AssertionError), open_writer(tmp_path / "v.npz", {}):
        pass
    with pytest.raises(ConfigError, match="'protemb_layout'"):
        VectorTable(["a"], [[1]], None, {"protemb_layout": "x"}).write(
            tmp_path / "v.h5", layout="uniprot"
        )
    assert not list(tmp_path.iterdir())


# ---- the table layout, block by block --------------------------------------------------------


def test_reader_gives_blocks_and_record_numbers(table, tmp_path):
    records_N = np.array([9, 0, 2**40, 3, -1])
    with open_writer(tmp_path / "v.h5", FACTS) as writer:
        writer.append(table.ids[:2], table.vectors_ND[:2], table.labels[:2], records_N[:2])
        writer.append(table.ids[2:], table.vectors_ND[2:], table.labels[2:], records_N[2:])
    with TableReader(tmp_path / "v.h5") as reader:
        assert (len(reader), reader.width, reader.attributes) == (5, 4, FACTS)
        assert reader.records_N.dtype == np.int64
        np.testing.assert_array_equal(reader.records_N, records_N)
        ids, vectors_BD, labels_B = reader.block(3, 9)
        assert ids == ["", "鳥"] and labels_B.tolist() == ["x", ""]
        assert vectors_BD.tobytes() == table.vectors_ND[3:].tobytes()
    assert rows_of(VectorTable.read(tmp_path / "v.h5")) == rows_of(table)
    replace(table, labels=None).write(tmp_path / "w.h5")
    with TableReader(tmp_path / "w.h5") as reader:
        assert reader.records_N is None and reader.block(0, 1)[2] is None


def test_reader_refuses_what_it_cannot_read(table, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        TableReader(tmp_path / "v.h5")
    table.write(tmp_path / "v.h5", layout="uniprot")
    with pytest.raises(InputError, match=r"v\.h5: not a readable vector table"):
        TableReader(tmp_path / "v.h5")
    with h5py.File(tmp_path / "short.h5", "w") as file:
        file.create_dataset("ids", data=["a"], dtype=h5py.string_dtype())
        file.create_dataset("embeddings", data=np.eye(2), dtype=np.float32)
    with pytest.raises(InputError, match="different lengths"):
        TableReader(tmp_path / "short.h5")


# ---- one data set per record -----------------------------------------------------------------


@given(texts, texts)
@example(".", "%2E")
@example("", "%")
def test_names_stand_for_one_id(first, second):
    name = safe_name(first)
    assert id_of(name) == first
    assert name and "/" not in name and name != "."
    assert (name == safe_name(second)) == (first == second)


def test_plain_loop_reads_our_uniprot_layout(table, tmp_path):
    table.write(tmp_path / "per-protein.h5", layout="uniprot")
    found = {}
    with h5py.File(tmp_path / "per-protein.h5") as file:
        for name in file:  # as users of UniProt's files do
            assert file[name].shape == (4,) and file[name].dtype == np.float32
            found[file[name].attrs["original_id"]] = file[name][:]
        assert list(file)[:2] == ["A%2Fduck%2F1 (H5N1)", "sp|P1|X"]
        assert file.attrs["level"].decode() == "states"
    assert list(found) == list(table.ids) and all(type(text) is str for text in found)
    np.testing.assert_array_equal(np.stack(list(found.values())), table.vectors_ND)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_files_of_uniprot_and_bio_embeddings(dtype, tmp_path):
    vectors_ND = np.random.default_rng(0).normal(size=(3, 6)).astype(dtype)
    with h5py.File(tmp_path / "uniprot.h5", "w") as file:
        for name, vector_D in zip(["P12345", "Q9", "A0%2F"], vectors_ND, strict=True):
            file.create_dataset(name, data=vector_D, dtype=dtype)
        file.attrs["shape of things"] = [1, 2]
    with h5py.File(tmp_path / "reduced.h5", "w") as file:
        for row, vector_D in enumerate(vectors_ND):
            dataset = file.create_dataset(str(row), data=vector_D, dtype=dtype)
            dataset.attrs["original_id"] = f"A/duck/{row}"
    found = VectorTable.read(tmp_path / "uniprot.h5")
    order = [["P12345", "Q9", "A0%2F"].index(record_id) for record_id in found.ids]
    np.testing.assert_array_equal(found.vectors_ND, vectors_ND[order].astype(np.float32))
    assert found.attributes == {} and found.labels is None
    found = VectorTable.read(tmp_path / "reduced.h5")
    assert found.ids == ("A/duck/0", "A/duck/1", "A/duck/2")
    np.testing.assert_array_equal(found.vectors_ND, vectors_ND.astype(np.float32))


def test_hdf5_that_is_no_table(tmp_path):
    path = tmp_path / "other.h5"
    for problem, make in {
        "2 wide, others are 3": lambda file: file.create_dataset("b", data=np.ones(2), dtype="f4"),
        r"expected one vector": lambda file: file.create_dataset("b", data=np.eye(3), dtype="f4"),
        "int64": lambda file: file.create_dataset("b", data=np.ones(3), dtype=np.int64),
        "with '/' taken for folders": lambda file: file.create_dataset("b/c", data=1, dtype="f4"),
    }.items():
        with h5py.File(path, "w") as file:
            file.create_dataset("a", data=np.ones(3), dtype=np.float32)
            make(file)
        assert problem in refused(path)


def test_repeated_ids_cannot_name_data_sets(tmp_path):
    with pytest.raises(ConfigError, match="ids: got 'a/b'"):
        VectorTable(["a/b", "c", "a/b"], np.zeros((3, 2))).write(
            tmp_path / "v.h5", layout="uniprot"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["v.h5", "records.h5", "v.h5ad"])
def test_a_file_cannot_point_to_another(name, table, tmp_path):
    path, layout = tmp_path / name, "uniprot" if name == "records.h5" else "table"
    victim = {"v.h5": "embeddings", "records.h5": "sp|P1|X", "v.h5ad": "X"}[name]
    table.write(tmp_path / f"secret-{name}", layout=layout)
    for link in (
        h5py.ExternalLink(str(tmp_path / f"secret-{name}"), victim),
        h5py.SoftLink(f"/{victim}"),
    ):
        table.write(path, layout=layout)
        with h5py.File(path, "a") as file:
            del file[victim]
            file[victim] = link
        assert "is a link" in refused(path)
    (tmp_path / "raw").write_bytes(bytes(80))
    virtual = h5py.VirtualLayout((5, 4), np.float32)
    virtual[:] = h5py.VirtualSource(str(tmp_path / "secret-v.h5"), "embeddings", (5, 4))
    shape = (4,) if name == "records.h5" else (5, 4)
    for make in (
        lambda file: file.create_dataset(
            victim, shape, np.float32, external=[(str(tmp_path / "raw"), 0, 80)]
        ),
        lambda file: file.create_virtual_dataset(victim, virtual),
    ):
        table.write(path, layout=layout)
        with h5py.File(path, "a") as file:
            del file[victim]
            make(file)
        assert "in another file" in refused(path)


def test_damage_to_records_is_noticed(table, tmp_path):
    """Cut anywhere: refused. A bit turned anywhere: refused, or it touched nothing that counts."""
    table.write(tmp_path / "good.h5", layout="uniprot")
    good, path = (tmp_path / "good.h5").read_bytes(), tmp_path / "bad.h5"
    for size in np.linspace(0, len(good) - 1, 60).astype(int):
        path.write_bytes(good[:size])
        refused(path)
    rng, noticed = np.random.default_rng(0), 0
    with h5py.File(tmp_path / "good.h5") as file:
        starts = [file[name].id.get_chunk_info(0).byte_offset for name in file]
    stored = [start + byte for start in starts for byte in range(20)]
    places = [*rng.choice(len(good), 150), *stored]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            found = VectorTable.read(path)
        except InputError:
            noticed += 1
        else:
            assert rows_of(found) == rows_of(table) and found.attributes == FACTS
    assert noticed > len(stored)


# ---- AnnData ---------------------------------------------------------------------------------


def test_anndata_reads_it_as_its_own(table, tmp_path):
    table.write(tmp_path / "v.h5ad")
    found = anndata.read_h5ad(tmp_path / "v.h5ad")
    assert found.shape == (5, 4) and found.X.dtype == np.float32
    np.testing.assert_array_equal(found.X, table.vectors_ND)
    assert found.obs_names.tolist() == list(table.ids)
    assert isinstance(found.obs["label"].dtype, pd.CategoricalDtype)
    assert found.obs["label"].tolist() == table.labels.tolist()
    assert found.var_names.tolist() == ["0", "1", "2", "3"]
    assert found.uns["protemb"] == FACTS
    # What scanpy does with it: take rows by label and name, add results, keep the file.
    ducks = found[found.obs["label"] == "x"].copy()
    ducks.obsm["X_pca"] = ducks.X[:, :2]
    ducks.write_h5ad(tmp_path / "ducks.h5ad")
    assert ducks["A/duck/1 (H5N1)"].X.tolist() == table.vectors_ND[:1].tolist()
    back = VectorTable.read(tmp_path / "ducks.h5ad")
    assert rows_of(back) == [row for row in rows_of(table) if row[2] == "x"]
    assert back.attributes == FACTS
    backed = anndata.read_h5ad(tmp_path / "v.h5ad", backed="r")
    np.testing.assert_array_equal(backed.X[1:3], table.vectors_ND[1:3])
    backed.file.close()


@settings(max_examples=15)
@given(tables())
@example(VectorTable(["a", "a", "a-1", "a"], np.eye(4)))
def test_repeated_ids_get_names_that_differ(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("repeat") / "v.h5ad"
    table.write(path)
    found = anndata.read_h5ad(path)  # warnings are errors here
    assert found.obs_names.is_unique
    assert ("original_id" in found.obs) == (len(set(table.ids)) < len(table))
    back = VectorTable.read(path)
    assert rows_of(back) == rows_of(table) and back.attributes == table.attributes


def test_anndata_of_others(tmp_path):
    frame = pd.DataFrame({"label": ["x", "y"]}, index=["a", "b"])
    theirs = anndata.AnnData(np.eye(2), obs=frame)
    theirs.write_h5ad(tmp_path / "theirs.h5ad")
    found = VectorTable.read(tmp_path / "theirs.h5ad")
    assert found.ids == ("a", "b") and found.labels.tolist() == ["x", "y"]
    assert found.attributes == {} and found.vectors_ND.tolist() == [[1, 0], [0, 1]]
    frame["label"] = ["x", None]
    anndata.AnnData(np.eye(2), obs=frame).write_h5ad(tmp_path / "gap.h5ad")
    assert "empty cells" in refused(tmp_path / "gap.h5ad")
    anndata.AnnData(np.eye(2, dtype=int)).write_h5ad(tmp_path / "counts.h5ad")
    assert "int64" in refused(tmp_path / "counts.h5ad")
    VectorTable(["a"], [[1]]).write(tmp_path / "v.h5")
    (tmp_path / "v.h5").rename(tmp_path / "v.h5ad")
    refused(tmp_path / "v.h5ad")


def test_damage_to_x_is_noticed(table, tmp_path):
    table.write(tmp_path / "v.h5ad")
    good, path = (tmp_path / "v.h5ad").read_bytes(), tmp_path / "bad.h5ad"
    with h5py.File(tmp_path / "v.h5ad") as file:
        start = file["X"].id.get_chunk_info(0).byte_offset
    for place in range(start, start + table.vectors_ND.nbytes, 3):
        bad = bytearray(good)
        bad[place] ^= 4
        path.write_bytes(bad)
        refused(path)


def test_without_anndata_one_line_says_what_to_install(table, tmp_path, monkeypatch):
    table.write(tmp_path / "v.h5ad")
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingExtra, match=r"protemb\[anndata\]"):
        VectorTable.read(tmp_path / "v.h5ad")
    with pytest.raises(MissingExtra, match=r"protemb\[anndata\]"):
        open_writer(tmp_path / "w.h5ad", {})
    assert os.listdir(tmp_path) == ["v.h5ad"]


def test_parquet_row_groups_are_of_one_size(tmp_path):
    VectorTable([str(i) for i in range(5000)], np.zeros((5000, 2))).write(tmp_path / "v.parquet")
    found = pq.ParquetFile(tmp_path / "v.parquet").metadata
    assert [found.row_group(i).num_rows for i in range(found.num_row_groups)] == [4096, 904]


# ---- provenance ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FACTS))
def test_tables_of_other_facts_do_not_mix(name, table, tmp_path):
    other = replace(table, attributes=FACTS | {name: "other"}, source="b.h5")
    table.write(tmp_path / "a.parquet")
    read = VectorTable.read(tmp_path / "a.parquet")
    problem = f"b.h5: {name} 'other' does not mix with {name} '{FACTS[name]}' of {read.source}"
    for mix in (check_same, concatenate):
        with pytest.raises(InputError) as caught:
            mix([read, read, other])
        assert str(caught.value) == problem
    silent = replace(table, attributes={k: v for k, v in FACTS.items() if k != name})
    for pair in ([read, silent], [silent, read]):
        with pytest.raises(InputError, match=rf"{name} \(not stated\)"):
            check_same(pair)


def test_tables_of_other_width_do_not_mix(table):
    narrow = replace(table, vectors_ND=table.vectors_ND[:, :2])
    with pytest.raises(InputError, match="width 2 does not mix with width 4 of vector table"):
        check_same([table, narrow])


def test_readers_are_checked_like_tables(table, tmp_path):
    table.write(tmp_path / "a.h5")
    with TableReader(tmp_path / "a.h5") as reader:
        check_same([reader, table])
        with pytest.raises(InputError, match=r"level 'lm' does not mix .* of .*a\.h5"):
            check_same([reader, replace(table, attributes=FACTS | {"level": "lm"})])


def test_concatenated_rows_keep_common_facts(table):
    first = replace(table, attributes=FACTS | {"data": "1", "protemb": "1.0"})
    second = replace(table, attributes=FACTS | {"data": "2", "protemb": "1.0"})
    both = concatenate([first, second])
    assert rows_of(both) == rows_of(table) * 2
    assert both.attributes == FACTS | {"protemb": "1.0"}
    with pytest.raises(InputError, match="v.h5: has no labels, but vector table has labels"):
        concatenate([first, replace(second, labels=None, source="v.h5")])


def test_a_table_says_what_it_was_not_made_with(table, tmp_path):
    table.write(tmp_path / "v.h5ad")
    read = VectorTable.read(tmp_path / "v.h5ad")
    assert read.expect(**FACTS) is read
    with pytest.raises(InputError) as caught:
        read.expect(level="states", pooling="max")
    assert str(caught.value) == f"{read.source}: pooling: got 'mean', expected 'max'"
    with pytest.raises(InputError, match=r"model: got \(not stated\), expected 'ssa'"):
        read.expect(model="ssa")
