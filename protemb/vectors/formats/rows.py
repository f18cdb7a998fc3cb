"""The table layout of HDF5: one row per record in `embeddings`, `ids`, `labels` and `records`.

Shape letters: N = records in the table, B = records in one block, D = features.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from protemb.vectors.formats.blocks import (
    CHUNK_ROWS,
    Block,
    Plain,
    TableWriter,
    reading,
    table_format,
)
from protemb.vectors.formats.hdf5 import (
    create_file,
    own_dataset,
    read_facts,
    utf8,
    write_facts,
)

if TYPE_CHECKING:
    import h5py


class VectorWriter(TableWriter):
    """Writes an HDF5 vector table block by block, in the memory of one block.

    The file takes its name when the `with` block ends; after an error there is none.

        with VectorWriter("vectors.h5", {"level": "states"}) as writer:
            for ids, vectors_BD in blocks:
                writer.append(ids, vectors_BD)

    Args:
        path: Ends in `.h5` or `.hdf5`.
        attributes: Plain facts about the vectors.
    """

    keeps_records = True

    def __init__(self, path: str | PathLike[str], attributes: Mapping[str, Plain]) -> None:
        assert table_format(path) == "hdf5"
        super().__init__(path, attributes)

    def _open(self, part: Path, stack: ExitStack) -> None:
        self._file = stack.enter_context(create_file(part))
        write_facts(self._file, self.attributes)

    def _write(self, block: Block) -> None:
        columns = {"ids": utf8(block.ids), "embeddings": block.vectors_BD}
        if block.labels_B is not None:
            columns["labels"] = utf8(block.labels_B.tolist())
        if block.records_B is not None:
            columns["records"] = block.records_B
        for name, values in columns.items():
            dataset = self._dataset(name, values)
            dataset.resize(self.rows + len(values), axis=0)
            dataset[self.rows :] = values

    def _dataset(self, name: str, values: np.ndarray) -> "h5py.Dataset":
        """The data set that `values` fit into: made when missing, made anew when too narrow.

        Texts have a fixed width, the longest so far.
        """
        old = self._file.get(name)
        if old is not None:
            if old.dtype.itemsize >= values.dtype.itemsize:
                return old
            self._file.move(name, "narrow")
        new = self._file.create_dataset(
            name,
            (self.rows, *values.shape[1:]),
            values.dtype,
            maxshape=(None, *values.shape[1:]),
            chunks=(CHUNK_ROWS, *values.shape[1:]),
            compression="gzip" if name != "embeddings" else None,
            fletcher32=True,
        )
        if old is not None:
            for start in range(0, self.rows, CHUNK_ROWS):
                new[start : start + CHUNK_ROWS] = old[start : start + CHUNK_ROWS]
            del self._file["narrow"]
        return new


class TableReader:
    """Reads an HDF5 vector table (table layout) block by block, in the memory of one block.

        with TableReader("vectors.h5") as reader:
            for start in range(0, len(reader), 1000):
                ids, vectors_BD, labels_B = reader.block(start, start + 1000)

    Attributes:
        source: The path, as text.
        attributes: Plain facts about the vectors.
        width: Features of a vector.
        records_N: Place of each row in the input, int64, or None.

    Raises:
        InputError: There is no such file, or it is damaged, or holds something else.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        import h5py

        self.source = str(path)
        with reading(path), ExitStack() as stack:
            file = stack.enter_context(h5py.File(path))
            self.attributes: dict[str, Any] = read_facts(file)
            self._columns = {
                name: own_dataset(file, name)
                for name in ("ids", "embeddings", "labels", "records")
                if name in file or name in ("ids", "embeddings")
            }
            if self._columns["embeddings"].ndim != 2:
                raise ValueError(f"'embeddings' has shape {self._columns['embeddings'].shape}")
            lengths = {name: column.shape[0] for name, column in self._columns.items()}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"columns of different lengths: {lengths}")
            self.width = self._columns["embeddings"].shape[1]
            records = self._columns.get("records")
            self.records_N = None if records is None else records[:].astype(np.int64)
            self._stack = stack.pop_all()

    def __len__(self) -> int:
        return self._columns["embeddings"].shape[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()

    def ids(self, start: int, stop: int) -> list[str]:
        """The ids of some rows, as `block` has them."""
        with reading(self.source):
            return self._columns["ids"].asstr()[start:stop].tolist()

    def block(self, start: int, stop: int) -> tuple[list[str], np.ndarray, np.ndarray | None]:
        """Rows `start` to `stop` (left out; the last block may be shorter).

        Returns:
            ids, vectors_BD float32, and labels_B or None.

        Raises:
            InputError: the rows are damaged.
        """
        ids = self.ids(start, stop)
        with reading(self.source):
            vectors_BD = self._columns["embeddings"][start:stop].astype(np.float32, copy=False)
            labels = self._columns.get("labels")
            return ids, vectors_BD, None if labels is None else labels.asstr()[start:stop]


def read_rows(path: str | PathLike[str]) -> tuple[Block, dict[str, Any]]:
    """The whole table, and its attributes."""
    with TableReader(path) as reader:
        vectors_ND = np.empty((len(reader), reader.width), np.float32)
        ids: list[str] = []
        labels: list[np.ndarray] = []
        # Blocks: one long id would make a whole array of its width large.
        for start in range(0, len(reader), CHUNK_ROWS):
            texts, vectors_BD, labels_B = reader.block(start, start + CHUNK_ROWS)
            vectors_ND[start : start + CHUNK_ROWS] = vectors_BD
            ids.extend(texts)
            labels.extend([] if labels_B is None else [labels_B.astype(str)])
        has_labels = reader.block(0, 0)[2] is not None
        labels_N = np.concatenate([np.empty(0, str), *labels]) if has_labels else None
        return Block(tuple(ids), vectors_ND, labels_N), reader.attributes
