"""Vector tables on disk: one row per record, in HDF5, Parquet or npz.

| suffix         | ids   | vectors      | labels   | attributes                 |
|----------------|-------|--------------|----------|----------------------------|
| `.h5`, `.hdf5` | `ids` | `embeddings` | `labels` | attributes of the file     |
| `.parquet`     | `id`  | `embedding`  | `label`  | JSON, schema key `protemb` |
| `.npz`         | `ids` | `embeddings` | `labels` | JSON text, `attributes`    |

Vectors are float32, N x D (Parquet: a fixed-size list per row). Ids are values, never names, so
they may hold `/`, spaces and any letter. Every format carries checksums that are tested when it
is read, and nothing is ever unpickled.
"""

# Shape letters: N = records in the table, B = records in one block, D = features.

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from protemb.errors import ConfigError, InputError
from protemb.files import whole_file

if TYPE_CHECKING:
    import h5py

Plain = str | int | float | bool

# Rows per HDF5 chunk, and a chunk cache that holds the last one however wide its rows are.
CHUNK_ROWS = 256
CHUNK_CACHE_BYTES = 32 * 2**20


def table_format(path: str | PathLike[str]) -> str:
    """Name the format that the suffix of `path` stands for.

    >>> table_format("runs/HA/vectors.H5")
    'hdf5'

    Raises:
        ConfigError: The suffix stands for none of them.
    """
    formats = {".h5": "hdf5", ".hdf5": "hdf5", ".parquet": "parquet", ".npz": "npz"}
    try:
        return formats[Path(path).suffix.lower()]
    except KeyError:
        raise ConfigError(
            "vector table", str(path), "a name that ends in .h5 (or .hdf5), .parquet or .npz"
        ) from None


@dataclass(frozen=True, eq=False)
class VectorTable:
    """One vector per record, and what they were made with.

    >>> table = VectorTable(["A/duck/1", "A/duck/2"], [[0.5, 1], [2, 3]], ["avian", "avian"])
    >>> len(table), table.vectors_ND.dtype, table.labels[1]
    (2, dtype('float32'), np.str_('avian'))

    Attributes:
        ids: Of the records, exactly as they were read.
        vectors_ND: float32.
        labels: Name of each record's class, or None.
        attributes: Plain facts: level, pooling, checkpoint, alphabet, protemb version and so on.
    """

    ids: Sequence[str]
    vectors_ND: np.ndarray
    labels: np.ndarray | None = None
    attributes: Mapping[str, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(map(str, self.ids)))
        object.__setattr__(self, "vectors_ND", np.require(self.vectors_ND, np.float32, ["C", "W"]))
        object.__setattr__(self, "attributes", dict(self.attributes))
        if self.vectors_ND.ndim != 2:
            raise ConfigError("vectors", f"shape {self.vectors_ND.shape}", "records x features")
        if self.labels is not None:
            object.__setattr__(self, "labels", np.asarray(self.labels, dtype=str))
        if any("\0" in text for text in self.ids):
            raise ConfigError("ids", "a NUL character", "text that every format can keep")
        for name, values in (("ids", self.ids), ("labels", self.labels)):
            if values is not None and len(values) != len(self):
                raise ConfigError(name, len(values), f"one for each of {len(self)} vectors")
        for name, value in self.attributes.items():
            if not isinstance(value, Plain):
                raise ConfigError(f"attribute {name!r}", value, "text, a number or a truth value")

    def __len__(self) -> int:
        return len(self.vectors_ND)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the table whole, in the format that the suffix of `path` names.

        Raises:
            ConfigError: The suffix names no format.
        """
        match table_format(path):
            case "hdf5":
                with VectorWriter(path, self.attributes) as writer:
                    writer.append(self.ids, self.vectors_ND, self.labels)
            case "parquet":
                _write_parquet(self, path)
            case _:
                _write_npz(self, path)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "VectorTable":
        """Read a table; labels and attributes may be missing.

        Raises:
            ConfigError: The suffix names no format.
            InputError: There is no such file, or it is damaged, or holds something else.
        """
        read = {"hdf5": _read_hdf5, "parquet": _read_parquet, "npz": _read_npz}[table_format(path)]
        if not Path(path).is_file():
            raise InputError(str(path), "no such file")
        try:
            return read(path)
        # Given damaged bytes, the three libraries raise nearly every type there is.
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(str(path), f"not a readable vector table ({reason})") from error


class VectorWriter:
    """Writes an HDF5 vector table block by block, in the memory of one block.

    The file takes its name when the `with` block ends; after an error there is none.

        with VectorWriter("vectors.h5", {"level": "states"}) as writer:
            for ids, vectors_BD in blocks:
                writer.append(ids, vectors_BD)

    Args:
        path: Ends in `.h5` or `.hdf5`.
        attributes: Plain facts about the vectors.
    """

    def __init__(self, path: str | PathLike[str], attributes: Mapping[str, Plain]) -> None:
        assert table_format(path) == "hdf5"
        self.path, self.attributes, self.rows = path, attributes, 0

    def __enter__(self) -> Self:
        import h5py

        with ExitStack() as stack:
            part = stack.enter_context(whole_file(self.path))
            # From 1.10 on the format has checksums of its own structure too.
            self._file = stack.enter_context(
                h5py.File(part, "w", libver=("v110", "v110"), rdcc_nbytes=CHUNK_CACHE_BYTES)
            )
            for name, value in self.attributes.items():
                if isinstance(value, str):
                    text = _utf8([value])
                    self._file.attrs.create(name, text[0], dtype=text.dtype)
                else:
                    self._file.attrs[name] = value
            self._stack = stack.pop_all()
        return self

    def append(
        self, ids: Sequence[str], vectors_BD: np.ndarray, labels_B: np.ndarray | None = None
    ) -> None:
        """Add one block of rows; labels come with every block or with none."""
        block = VectorTable(ids, vectors_BD, labels_B)
        columns = {"ids": _utf8(block.ids), "embeddings": block.vectors_ND}
        if block.labels is not None:
            columns["labels"] = _utf8(block.labels.tolist())
        assert not self.rows or columns.keys() == self._file.keys()
        for name, values in columns.items():
            dataset = self._dataset(name, values)
            assert dataset.shape[1:] == values.shape[1:], (name, dataset.shape, values.shape)
            dataset.resize(self.rows + len(block), axis=0)
            dataset[self.rows :] = values
        self.rows += len(block)

    def _dataset(self, name: str, values: np.ndarray) -> "h5py.Dataset":
        """The dataset that `values` fit into: made when missing, made anew when too narrow.

        Texts have a fixed width, the longest so far: HDF5 keeps texts of any length in a heap
        without checksums, and a damaged heap can send its library into an endless loop.
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

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)


def _utf8(texts: Sequence[str]) -> np.ndarray:
    """Texts as an array of UTF-8 bytes of one width."""
    import h5py

    encoded = [text.encode() for text in texts]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, encoded), default=0) or 1))


def _read_hdf5(path: str | PathLike[str]) -> VectorTable:
    import h5py

    with h5py.File(path) as file:
        # Blocks: one long id would make a whole array of its width large.
        ids, starts = file["ids"].asstr(), range(0, len(file["ids"]), CHUNK_ROWS)
        return VectorTable(
            [text for start in starts for text in ids[start : start + CHUNK_ROWS]],
            file["embeddings"][:],
            file["labels"].asstr()[:] if "labels" in file else None,
            {name: _plain(value) for name, value in file.attrs.items()},
        )


def _plain(value: Any) -> Plain:
    """A Python value from what h5py makes of an attribute."""
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def _write_parquet(table: VectorTable, path: str | PathLike[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"id": pa.array(table.ids, pa.string())}
    if table.labels is not None:
        columns["label"] = pa.array(table.labels.tolist(), pa.string())
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(
        pa.array(table.vectors_ND.reshape(-1)), table.vectors_ND.shape[1]
    )
    with whole_file(path) as part:
        pq.write_table(
            pa.table(columns, metadata={"protemb": json.dumps(dict(table.attributes))}),
            part,
            row_group_size=4096,
            # Vectors hardly repeat: a dictionary or statistics of them would only cost.
            use_dictionary=["label"],
            write_statistics=["id", "label"],
            write_page_checksum=True,
        )


def _read_parquet(path: str | PathLike[str]) -> VectorTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        present = [name for name in ("id", "label", "embedding") if name in file.schema_arrow.names]
        columns = {name: file.read([name])[name].combine_chunks() for name in present}
        metadata = file.schema_arrow.metadata or {}
    vectors = columns["embedding"]
    kind = vectors.type
    if not (pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)):
        raise TypeError(f"column 'embedding' is {kind}, expected a fixed-size list of numbers")
    if any(column.null_count for column in (*columns.values(), vectors.flatten())):
        raise ValueError("empty cells")
    return VectorTable(
        columns["id"].to_pylist(),
        vectors.flatten().to_numpy().reshape(len(vectors), kind.list_size),
        columns["label"].to_numpy(zero_copy_only=False) if "label" in columns else None,
        json.loads(metadata.get(b"protemb", "{}")),
    )


def _write_npz(table: VectorTable, path: str | PathLike[str]) -> None:
    arrays = {
        "ids": np.array(table.ids, dtype=str),
        "embeddings": table.vectors_ND,
        "attributes": np.array(json.dumps(dict(table.attributes))),
    }
    if table.labels is not None:
        arrays["labels"] = table.labels
    with whole_file(path) as part, open(part, "wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def _read_npz(path: str | PathLike[str]) -> VectorTable:
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
        return VectorTable(
            arrays["ids"].tolist(),
            arrays["embeddings"],
            arrays["labels"] if "labels" in arrays else None,
            json.loads(arrays["attributes"].item()) if "attributes" in arrays else {},
        )
