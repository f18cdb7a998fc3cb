"""Original checkpoint files: read to the bit, and nothing in them is ever executed."""

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protemb.errors import CheckpointError
from protemb.models.pretrained.inert import Storage, View
from protemb.models.pretrained.weights import _array, read_weights

PROTOCOL = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """An empty working directory, in which no file may appear."""
    place = tmp_path / "canary"
    place.mkdir()
    monkeypatch.chdir(place)
    yield place
    assert list(place.iterdir()) == []


def models(reference: Path) -> dict[str, list[Path]]:
    found = json.loads((reference / "manifest.json").read_text())["models"]
    return {
        name: [reference / path for path in each["checkpoints"]] for name, each in found.items()
    }


# ---- what is in the files --------------------------------------------------------------------


def test_every_layout_holds_the_same_numbers(reference, canary):
    for name, paths in models(reference).items():
        read = {path.name: read_weights(path) for path in paths}
        tensors = next(iter(read.values())).tensors
        for file, weights in read.items():
            # Files of old versions lack `gap`; nothing else may differ.
            assert set(weights.tensors) ^ set(tensors) <= {"gap", "scop_predict.gap"}, (name, file)
            for key in set(weights.tensors) & set(tensors):
                np.testing.assert_array_equal(weights.tensors[key], tensors[key])
                assert weights.tensors[key].base is None
            assert bool(weights.kinds) == ("state_dict" not in file)


def test_state_dicts_are_what_torch_reads(reference, canary):
    paths = sorted((reference / "checkpoints").glob("*state_dict*.sav"))
    assert len(paths) >= 5
    for path in paths:
        expected = torch.load(path, map_location="cpu", weights_only=True)
        found = read_weights(path).tensors
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            np.testing.assert_array_equal(found[key], tensor.numpy())


def test_claims_of_the_file_are_hints(reference, canary):
    whole = read_weights(reference / "checkpoints" / "ua.torch1_0.sav")
    assert whole.kinds[""] == "src.models.comparison.OrdinalRegression"
    assert whole.kinds["embedding.embed.lm"] == "src.models.sequence.BiLM"
    assert whole.hints["align_method"] == "ua"
    assert read_weights(reference / "checkpoints" / "bilm_untied.zip.sav").hints["tied"] is False


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_what_this_torch_saves(tmp_path, canary, zipped, dtype):
    kind = getattr(torch, dtype)
    base = torch.arange(60).reshape(5, 12).to(kind)
    expected = {"a": base, "b": base[1:4, ::3].T, "c": base[0, :0], "d": base.sum().to(kind)}
    path = tmp_path / "saved.pt"
    torch.save(expected, path, _use_new_zipfile_serialization=zipped)
    found = read_weights(path).tensors
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())
        assert found[name].dtype == tensor.numpy().dtype


@given(st.data())
@settings(max_examples=200)
def test_views_are_torchs_or_refused(data):
    size = data.draw(st.lists(st.integers(0, 5), max_size=3))
    stride = [data.draw(st.integers(0, 12)) for _ in size]
    offset, numel = data.draw(st.integers(0, 20)), data.draw(st.integers(1, 60))
    values = np.arange(numel, dtype="<f4")
    view = View(Storage("0", "<f4", numel), offset, tuple(size), tuple(stride))
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and (last >= numel or np.prod(size) > numel):
        with pytest.raises(Exception, match="beyond its storage"):
            _array(view, values)
    else:
        expected = torch.as_strided(
            torch.from_numpy(values.copy()), size, stride, min(offset, numel)
        )
        np.testing.assert_array_equal(_array(view, values), expected.numpy())


# ---- what must be refused --------------------------------------------------------------------


class Call:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.what = (function, arguments)

    def __reduce__(self):
        return self.what


def legacy(body: bytes, keys=(), values: bytes = b"") -> bytes:
    front = b"".join(pickle.dumps(part, 2) for part in PROTOCOL)
    return front + body + pickle.dumps(list(keys), 2) + values


def zipped(body: bytes, compression=zipfile.ZIP_STORED, **data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        archive.writestr("m/data.pkl", body)
        for key, value in data.items():
            archive.writestr(f"m/data/{key}", value)
    return made.getvalue()


def tensor(numel=4, offset=0, size=(4,), stride=(1,), key="0", storage="FloatStorage") -> bytes:
    """A pickle of protocol 2: {"w": one tensor}."""
    made = io.BytesIO()
    writer = pickle._Pickler(made, 2)
    body = b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n("
    body += b"(U\x07storagectorch\n" + storage.encode() + b"\n"
    for value in (key, "cpu", numel, None):
        writer.memo.clear()
        made.seek(0)
        made.truncate()
        writer.save(value)
        body += made.getvalue()
    body += b"tQ"
    for value in (offset, tuple(size), tuple(stride), False, {}):
        writer.memo.clear()
        made.seek(0)
        made.truncate()
        writer.save(value)
        body += made.getvalue()
    return body + b"tRs."


FOUR = np.arange(4, dtype="<f4").tobytes()
COUNT = struct.pack("<q", 4)
SYSTEM = pickle.dumps(Call(os.system, "touch canary"), 2)

HOSTILE = {
    "empty": (b"", "the file is empty"),
    "html": (b"\n<!DOCTYPE html><html>404", "HTML page"),
    "gzip": (gzip.compress(b"x"), "an archive"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "text": (b"MKTAYIAK", "no checkpoint"),
    "other_pickle": (pickle.dumps([1, 2]), "no checkpoint"),
    "other_protocol": (
        pickle.dumps(PROTOCOL[0], 2) + pickle.dumps(1002, 2) + pickle.dumps({}, 2),
        "protocol 1002",
    ),
    "other_zip": (zipped(b".").replace(b"data.pkl", b"word.xml"), "no checkpoint"),
    "zip_without_a_pickle": (zipped(b"."), "damaged"),
    "system": (legacy(SYSTEM), "posix.system"),
    "system_zip": (zipped(SYSTEM), "posix.system"),
    "eval": (legacy(pickle.dumps(Call(eval, "open('canary', 'w')"), 4)), "builtins.eval"),
    "torch_namespace": (
        legacy(b"\x80\x02ctorch._utils\n_import_dotted_name\nU\tos.systemR."),
        "torch._utils._import_dotted_name",
    ),
    "dotted_name": (
        legacy(b"\x80\x04\x8c\x13torch.serialization\x8c\tos.system\x93\x8c\x02ls\x85R."),
        "torch.serialization.os.system",
    ),
    "module_reference": (
        legacy(b"\x80\x02(U\x06modulecposix\nsystem\nU\x01aU\x01btQ."),
        "posix.system",
    ),
    "text_reference": (legacy(b"\x80\x02U\x05helloQ."), "reference"),
    "attributes_on_a_function": (
        legacy(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x01aK\x01sb."),
        "attributes",
    ),
    "extension": (legacy(b"\x80\x02\x82\x01."), "EXT1"),
    "inst": (legacy(b"(S'ls'\niposix\nsystem\n."), "INST"),
    "memo_bomb": (legacy(b"\x80\x02}r\xff\xff\xff\x7f."), "memory"),
    "huge_number": (legacy(b"\x80\x02\x8b\xff\xff\xff\x7f."), "damaged"),
    "deep": (legacy(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."), "no tensor"),
    "huge_numel": (legacy(tensor(numel=2**40), ["0"], COUNT + FOUR), "shorter than"),
    "negative_numel": (legacy(tensor(numel=-4), ["0"], COUNT + FOUR), "without a name or a size"),
    "out_of_bounds": (legacy(tensor(offset=1), ["0"], COUNT + FOUR), "beyond its storage"),
    "endless_view": (
        legacy(tensor(size=(2**40,), stride=(0,)), ["0"], COUNT + FOUR),
        "beyond its storage",
    ),
    "negative_offset": (legacy(tensor(offset=-1), ["0"], COUNT + FOUR), "whole numbers"),
    "other_count": (legacy(tensor(), ["0"], struct.pack("<q", 5) + FOUR), "got 5 values"),
    "missing_storage": (legacy(tensor()), "list of storages"),
    "unknown_storage": (legacy(tensor(storage="QInt8Storage")), "torch.QInt8Storage"),
    "truncated": (legacy(tensor(), ["0"], COUNT + FOUR[:-1]), "shorter than"),
    "big_endian": (
        b"".join(pickle.dumps(part, 2) for part in [*PROTOCOL[:2], {"little_endian": False}]),
        "order of bytes",
    ),
    "zip_bomb": (zipped(tensor(), zipfile.ZIP_DEFLATED, **{"0": FOUR}), "compressed"),
    "zip_short": (zipped(tensor(), **{"0": FOUR[:-1]}), "got 15 bytes"),
    "zip_missing": (zipped(tensor()), "got nothing"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_damaged_files(tmp_path, canary, name):
    data, message = HOSTILE[name]
    path = tmp_path / "model.sav"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        read_weights(path)
    text = str(caught.value)
    assert message in text and "\n" not in text and text.startswith(str(path))


def test_the_helpers_make_good_files_too(tmp_path, canary):
    for number, data in enumerate(
        [legacy(tensor(), ["0"], COUNT + FOUR), zipped(tensor(), **{"0": FOUR})]
    ):
        path = tmp_path / f"{number}.sav"
        path.write_bytes(data)
        np.testing.assert_array_equal(read_weights(path).tensors["w"], [0, 1, 2, 3])


def test_the_reference_files_that_must_be_refused(reference, tmp_path, canary):
    for path in sorted((reference / "bad").glob("*.sav")):
        with pytest.raises(CheckpointError):
            read_weights(path)
    with pytest.raises(CheckpointError, match=r"posix\.system"):
        read_weights(reference / "bad" / "os_system_legacy.sav")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(tmp_path / "nowhere.sav")


FUZZ = """
import resource, sys, time
import numpy as np
from pathlib import Path
from protemb.errors import CheckpointError
from protemb.models.pretrained.weights import read_weights
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
good = [path.read_bytes() for path in sorted(folder.glob("*.good"))]
dice = np.random.default_rng(0)
read = refused = 0
for number in range(rounds):
    data = bytearray(good[number % len(good)])
    front = min(len(data), 6000)
    for _ in range(dice.integers(1, 6)):
        place = int(dice.integers(front))
        match dice.integers(4):
            case 0: data[place] = dice.integers(256)
            case 1: del data[place : place + int(dice.integers(1, 40))]
            case 2: data[place:place] = dice.bytes(int(dice.integers(1, 9)))
            case 3: data[place] ^= 1 << int(dice.integers(8))
        front = min(front, len(data))
    path = folder / "mutant"
    path.write_bytes(data)
    start = time.monotonic()
    try:
        read_weights(path)
        read += 1
    except CheckpointError as error:
        assert "\\n" not in str(error)
        refused += 1
    assert time.monotonic() - start < 10
print(read, refused)
"""


@pytest.mark.slow
def test_ten_thousand_mutants(reference, tmp_path):
    """Read or refused in one line; never a crash, a hang, or memory beyond 2 GB."""
    names = ("nolm.torch1_0", "ssa.v04style", "nolm.zip", "prose_dlm.state_dict_legacy")
    for name in names:
        source = reference / "checkpoints" / f"{name}.sav"
        shutil.copyfile(source, tmp_path / f"{name}.good")
    start = time.monotonic()
    command = [sys.executable, "-c", FUZZ, str(tmp_path), "10000"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read, refused = map(int, done.stdout.split())
    assert read + refused == 10_000 and refused > 1000
    assert time.monotonic() - start < 600
    assert {path.name for path in tmp_path.iterdir()} == {"mutant", *(f"{n}.good" for n in names)}
