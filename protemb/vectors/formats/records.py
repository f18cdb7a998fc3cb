"""The layout of UniProt's embedding files in HDF5: one data set per protein, named by its id.

    for name in file:
        vector_D = file[name][:]           # per protein; states_LD in a per-residue file

HDF5 takes `/` in a name for a folder and `.` for "here", so such ids are percent-encoded in
names; the attribute `original_id` of every data set holds the exact id, as in the files of
bio_embeddings (Dallago et al. 2021, doi 10.1002/cpz1.113).

Shape letters: N = records, D = features.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from protemb.errors import ConfigError
from protemb.vectors.formats.blocks import Block, Plain, TableWriter
from protemb.vectors.formats.hdf5 import (
    create_file,
    own_dataset,
    plain,
    read_facts,
    utf8,
    write_facts,
)

if TYPE_CHECKING:
    import h5py

# Attributes of the file that tell our files from those of others.
LAYOUT, WIDTH = "protemb_layout", "protemb_width"


def safe_name(record_id: str) -> str:
    """A data set's name that stands for the id, and for no other.

    >>> safe_name("A/duck/1 (H5N1)"), safe_name("100%"), safe_name("."), safe_name("")
    ('A%2Fduck%2F1 (H5N1)', '100%25', '%2E', '%')
    """
    if set(record_id) <= {"."}:
        return record_id.replace(".", "%2E") or "%"
    return re.sub("[%/\0]", lambda letter: f"%{ord(letter[0]):02X}", record_id)


def id_of(name: str) -> str:
    """The id that `safe_name` made the name of.

    >>> id_of("A%2Fduck%2F1 (H5N1)"), id_of("%")
    ('A/duck/1 (H5N1)', '')
    """
    return "" if name == "%" else unquote(name)


def create_records(part: Path, attributes: Mapping[str, Plain], layout: str) -> "h5py.File":
    """A new file that lists its data sets in the order in which they are made."""
    reserved = {LAYOUT, WIDTH} & set(attributes)
    if reserved:
        raise ConfigError("attributes", min(reserved), "another name: this one marks the layout")
    file = create_file(part, ordered=True)
    write_facts(file, {**attributes, LAYOUT: layout})
    return file


def create_record(
    file: "h5py.File", record_id: str, chunks: tuple[int, ...], **contents: Any
) -> "h5py.Dataset":
    """A data set for one record; `contents` are h5py's `data`, or `shape` and `dtype`.

    Raises:
        ConfigError: the id holds a NUL, or was there before.
    """
    if "\0" in record_id:
        raise ConfigError("ids", "a NUL character", "text that every format can keep")
    name = safe_name(record_id)
    if name in file:
        raise ConfigError("ids", record_id, "ids that differ: each names a data set")
    # Checksums come with chunks alone.
    dataset = file.create_dataset(name, chunks=chunks, fletcher32=True, **contents)
    # Text of any length, for tools that use it as a key; we read names, which have checksums.
    dataset.attrs["original_id"] = record_id
    return dataset


class RecordReader:
    """The ids and data sets of an open file with one data set per record, ours or of others.

    Args:
        file: open.
        layout: what our own file has to say of itself: `per-protein` or `per-residue`.

    Raises:
        TypeError: the file is of another layout.
    """

    def __init__(self, file: "h5py.File", layout: str) -> None:
        facts = read_facts(file)
        found = facts.pop(LAYOUT, None)
        self.file, self.is_ours = file, found is not None
        if found not in (None, layout):
            raise TypeError(f"a {found} file, expected {layout}")
        if found is None and ("embeddings" in file or len(file) == 0):
            raise TypeError("expected one data set per protein")
        self.width = facts.pop(WIDTH, None)
        # Other tools may keep more there than plain facts: it says nothing about vectors.
        self.attributes = {name: fact for name, fact in facts.items() if isinstance(fact, Plain)}

    def id(self, name: str) -> str:
        """The exact id of the data set `name`."""
        if self.is_ours:
            return id_of(name)
        return str(plain(own_dataset(self.file, name).attrs.get("original_id", name)))

    def dataset(self, name: str, axes: int) -> "h5py.Dataset":
        """The data set `name`, of so many axes and this file's width.

        Raises:
            TypeError: it is something else.
        """
        dataset = own_dataset(self.file, name)
        if dataset.dtype.kind != "f" or dataset.ndim != axes:
            expected = {1: "one vector (D,)", 2: "states (L, D)"}[axes]
            raise TypeError(f"{name!r} is {dataset.dtype} {dataset.shape}, expected {expected}")
        if self.width is None:
            self.width = dataset.shape[-1]
        if dataset.shape[-1] != self.width:
            raise TypeError(f"{name!r} is {dataset.shape[-1]} wide, others are {self.width}")
        return dataset


class RecordWriter(TableWriter):
    """Writes per-protein vectors in UniProt's layout; labels are attributes of the data sets."""

    def _open(self, part: Path, stack: ExitStack) -> None:
        self._file = stack.enter_context(create_records(part, self.attributes, "per-protein"))

    def _write(self, block: Block) -> None:
        width = block.vectors_BD.shape[1]
        self._file.attrs[WIDTH] = width
        labels = [None] * len(block.ids) if block.labels_B is None else block.labels_B.tolist()
        for record_id, vector_D, label in zip(block.ids, block.vectors_BD, labels, strict=True):
            dataset = create_record(
                self._file, record_id, (width,), data=vector_D, dtype=np.float32
            )
            if label is not None:
                dataset.attrs["label"] = utf8([label])[0]


def is_rows(path: str | PathLike[str]) -> bool:
    """Whether an HDF5 file is in the table layout, not one data set per record."""
    import h5py

    with h5py.File(path) as file:
        return LAYOUT not in file.attrs and ("ids" in file or "embeddings" in file)


def read_records(path: str | PathLike[str]) -> tuple[Block, dict[str, Any]]:
    """All per-protein vectors, in the file's order, and the plain attributes of the file."""
    import h5py

    with h5py.File(path) as file:
        reader = RecordReader(file, "per-protein")
        names = list(file)
        labels: list[str] = []
        vectors_ND = np.empty((0, reader.width or 0), np.float32)
        for row, name in enumerate(names):
            dataset = reader.dataset(name, axes=1)
            if not row:
                vectors_ND = np.empty((len(names), dataset.shape[0]), np.float32)
            dataset.read_direct(vectors_ND, dest_sel=np.s_[row])
            if "label" in dataset.attrs:
                labels.append(str(plain(dataset.attrs["label"])))
        if labels and len(labels) != len(names):
            raise ValueError(f"{len(labels)} labels for {len(names)} records")
        ids = tuple(map(reader.id, names))
        return Block(ids, vectors_ND, np.array(labels) if labels else None), reader.attributes
