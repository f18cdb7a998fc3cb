"""One call that opens a writer for any format of vector tables."""

from collections.abc import Mapping
from os import PathLike

from protemb.errors import ConfigError
from protemb.vectors.formats.blocks import Plain, TableWriter, table_format
from protemb.vectors.formats.h5ad import AnnDataWriter
from protemb.vectors.formats.npz import NpzWriter
from protemb.vectors.formats.parquet import ParquetTableWriter
from protemb.vectors.formats.records import RecordWriter
from protemb.vectors.formats.rows import VectorWriter

LAYOUTS = ("table", "uniprot")

_WRITERS: dict[str, type[TableWriter]] = {
    "hdf5": VectorWriter,
    "parquet": ParquetTableWriter,
    "npz": NpzWriter,
    "h5ad": AnnDataWriter,
}


def open_writer(
    path: str | PathLike[str], attributes: Mapping[str, Plain], *, layout: str = "table"
) -> TableWriter:
    """A writer for the format that the suffix of `path` names; use it in a `with` block.

        with open_writer("vectors.parquet", {"level": "states"}) as writer:
            for ids, vectors_BD in blocks:
                writer.append(ids, vectors_BD)

    Vectors are never all in memory; `.npz` and `.h5ad` keep the ids and labels there.

    Args:
        path: ends in .h5 (or .hdf5), .parquet, .npz or .h5ad.
        attributes: plain facts about the vectors.
        layout: `table`, or `uniprot` (HDF5 alone): one data set per record, named by its id.

    Raises:
        ConfigError: the suffix names no format, or the format has no such layout.
        MissingExtra: `.h5ad` needs anndata.
    """
    kind = table_format(path)
    if layout not in LAYOUTS:
        raise ConfigError("layout", layout, f"one of {', '.join(LAYOUTS)}")
    if layout == "uniprot":
        if kind != "hdf5":
            raise ConfigError("layout", layout, f"table for {path}: only .h5 has other layouts")
        return RecordWriter(path, attributes)
    return _WRITERS[kind](path, attributes)
