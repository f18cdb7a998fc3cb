"""The numbers in a checkpoint file of torch 0.4 to 2.x, whichever of its layouts it has.

Legacy: five pickles in a row (magic number, protocol, system, object, storage keys), then each
storage as a count and raw values. Zip: `NAME/data.pkl` and `NAME/data/KEY`, not compressed.
Everything that a file claims is held against its size before memory is taken.
"""

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from protemb.errors import CheckpointError
from protemb.models.pretrained.inert import Record, RefusedPickle, Storage, View
from protemb.models.pretrained.pickles import unpickle

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MOST_PICKLE = 64 * 2**20
"""Bytes of the pickles in a file: names and the authors' source texts, no numbers."""
MOST_NODES = 100_000
"""Modules and values in the tree of a checkpoint."""

# What zipfile raises for bytes that are not what they should be.
DAMAGED_ZIP = (
    zipfile.BadZipFile,
    ValueError,
    RuntimeError,
    OverflowError,
    EOFError,
    OSError,
    struct.error,
)


@dataclass(frozen=True)
class Weights:
    """What a checkpoint holds.

    Attributes:
        tensors: arrays of their own, by dotted name as in torch's state dicts.
        kinds: class of each module by its dotted name, "" being the whole; empty for a state dict.
        hints: plain attributes of modules (texts, numbers, None) by dotted name; the file's claims.
    """

    tensors: dict[str, np.ndarray]
    kinds: dict[str, str]
    hints: dict[str, object]


def read_weights(path: str | PathLike[str]) -> Weights:
    """Read a checkpoint without executing anything in it.

    Raises:
        CheckpointError: no such file, not a checkpoint, damaged, or one that asks for code.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            head = file.read(512)
            _check_head(head, size)
            file.seek(0)
            read = _read_zip if head.startswith(b"PK\x03\x04") else _read_legacy
            return read(file, size)
    except OSError as error:
        raise CheckpointError(str(path), f"cannot be read: {error.strerror or error}") from error
    except RefusedPickle as error:
        raise CheckpointError(str(path), f"refused, nothing was executed: {error}") from None


def _check_head(head: bytes, size: int) -> None:
    """Say what the file is, if it is one of the things that people hold for a checkpoint."""
    start = head.lstrip().lower()
    if not size:
        raise RefusedPickle("the file is empty")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise RefusedPickle("this looks like an HTML page, not a checkpoint: download it again")
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        raise RefusedPickle("this is an archive: unpack it, and give one of the files inside")
    if head.startswith(b"version https://git-lfs"):
        raise RefusedPickle("this is a pointer of Git LFS, not the file itself")
    if not head.startswith((b"\x80", b"PK\x03\x04")):
        raise RefusedPickle("this is no checkpoint of torch")


# ---- layouts ---------------------------------------------------------------------------------


def _read_legacy(file: Any, size: int) -> Weights:
    # Pickles come first; the raw values behind them are read from the file itself.
    front = io.BytesIO(file.read(min(size, MOST_PICKLE)))
    if unpickle(front)[0] != MAGIC:
        raise RefusedPickle("this is a pickle, but no checkpoint of torch")
    protocol, system = (unpickle(front)[0] for _ in range(2))
    if protocol != PROTOCOL:
        raise RefusedPickle(f"it has protocol {protocol!r}, expected {PROTOCOL}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RefusedPickle("it was written on a machine with another order of bytes")
    tree, storages = unpickle(front)
    keys, _ = unpickle(front)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise RefusedPickle("its list of storages does not fit its tensors")
    needed = sum(8 + _bytes(storages[str(key)]) for key in keys)
    if front.tell() + needed > size:
        raise RefusedPickle(
            f"the file is shorter than its storages say: {size:,} bytes, expected "
            f"{front.tell() + needed:,}"
        )
    file.seek(front.tell())
    values = {}
    for key in keys:
        storage = storages[str(key)]
        (numel,) = struct.unpack("<q", file.read(8))
        if numel != storage.numel:
            raise RefusedPickle(f"storage {key!r}: got {numel} values, expected {storage.numel}")
        values[str(key)] = np.frombuffer(file.read(_bytes(storage)), storage.dtype)
    return _flatten(tree, values.__getitem__)


def _read_zip(file: Any, size: int) -> Weights:
    try:
        archive = zipfile.ZipFile(file)
        entries = {entry.filename: entry for entry in archive.infolist()}
    except DAMAGED_ZIP as error:
        raise RefusedPickle(f"the zip file is damaged ({error})") from None
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise RefusedPickle("this is a zip file, but no checkpoint of torch")
    if any(
        entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size
        for entry in entries.values()
    ):
        raise RefusedPickle("the zip file is compressed, which torch's are not")
    stem = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{stem}byteorder")
    if order is not None and _entry(archive, order, 16) != b"little":
        raise RefusedPickle("it was written on a machine with another order of bytes")
    tree, storages = unpickle(io.BytesIO(_entry(archive, entries[pickles[0]], MOST_PICKLE)))

    def values(key: str) -> np.ndarray:
        entry, needed = entries.get(f"{stem}data/{key}"), _bytes(storages[key])
        if entry is None or entry.file_size != needed:
            found = "nothing" if entry is None else f"{entry.file_size:,} bytes"
            raise RefusedPickle(f"storage {key!r}: got {found}, expected {needed:,} bytes")
        return np.frombuffer(_entry(archive, entry, needed), storages[key].dtype)

    return _flatten(tree, values)


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    if entry.file_size > most:
        raise RefusedPickle(f"{entry.filename!r} is larger than it can need to be")
    try:
        return archive.read(entry)
    except DAMAGED_ZIP as error:
        raise RefusedPickle(f"the zip file is damaged ({error})") from None


def _bytes(storage: Storage) -> int:
    return storage.numel * np.dtype(storage.dtype).itemsize


# ---- tree ------------------------------------------------------------------------------------


def _flatten(tree: Any, values: Callable[[str], np.ndarray]) -> Weights:
    """Names as torch's state dicts have them, tensors as arrays of their own."""
    tensors: dict[str, np.ndarray] = {}
    kinds: dict[str, str] = {}
    hints: dict[str, object] = {}
    kept: dict[str, np.ndarray] = {}
    for name, node in _walk(tree):
        if isinstance(node, View):
            key = node.storage.key
            if key not in kept:
                kept[key] = values(key)
            tensors[name] = _array(node, kept[key])
        elif isinstance(node, Record):
            kinds[name] = node.kind
        else:
            hints[name] = node
    if not tensors:
        raise RefusedPickle("there is no tensor in it")
    return Weights(tensors, kinds, hints)


def _walk(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every module, tensor and plain attribute with its dotted name."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    for number in range(MOST_NODES + 1):
        if not waiting:
            return
        name, node = waiting.pop()
        dot = f"{name}." if name else ""
        if isinstance(node, Record):
            yield name, node
            for group in ("_parameters", "_buffers", "_modules"):
                inside = node.state.get(group)
                if isinstance(inside, dict):
                    waiting += [(f"{dot}{key}", value) for key, value in inside.items()]
            waiting += [
                (f"{dot}{key}", value)
                for key, value in node.state.items()
                if not key.startswith("_") and isinstance(value, View | Record | str | int | float)
            ]
        elif isinstance(node, dict) and not number:
            waiting += [(str(key), value) for key, value in node.items()]
        elif isinstance(node, View | str | int | float):
            yield name, node
    raise RefusedPickle(f"it has more than {MOST_NODES:,} parts")


def _array(view: View, values: np.ndarray) -> np.ndarray:
    """A copy of the part of the storage; torch's strides count values, not bytes."""
    if 0 in view.size:
        return np.empty(view.size, values.dtype)
    last = view.offset + sum(
        (size - 1) * stride for size, stride in zip(view.size, view.stride, strict=True)
    )
    total = 1
    for size in view.size:
        total *= size
    # Strides of 0 let a small storage stand for an endless tensor.
    if last >= len(values) or total > len(values):
        raise RefusedPickle("a tensor reaches beyond its storage")
    strides = [stride * values.itemsize for stride in view.stride]
    return np.lib.stride_tricks.as_strided(values[view.offset :], view.size, strides).copy()
