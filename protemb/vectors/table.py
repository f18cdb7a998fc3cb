"""Vector tables: one row per record, on disk in HDF5, Parquet, npz or AnnData.

| suffix         | ids         | vectors      | labels         | attributes                 |
|----------------|-------------|--------------|----------------|----------------------------|
| `.h5`, `.hdf5` | `ids`       | `embeddings` | `labels`       | attributes of the file     |
| `.parquet`     | `id`        | `embedding`  | `label`        | JSON, schema key `protemb` |
| `.npz`         | `ids`       | `embeddings` | `labels`       | JSON text, `attributes`    |
| `.h5ad`        | `obs_names` | `X`          | `obs["label"]` | `uns["protemb"]`           |

Vectors are float32, N x D (Parquet: a fixed-size list per row). Ids are values, never names, so
they may hold `/`, spaces and any letter. HDF5 has a second layout, `uniprot`: one data set per
record, as in UniProt's per-protein files (see `formats.records`). Every format carries checksums
that are tested when it is read (`.h5ad`: of vectors and structure), and nothing is ever unpickled.
"""

# Shape letters: N = records in the table, D = features.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

import numpy as np

from protemb.errors import InputError
from protemb.vectors.formats.blocks import Plain, make_block, plain_facts, reading, table_format
from protemb.vectors.formats.h5ad import read_h5ad
from protemb.vectors.formats.npz import read_npz
from protemb.vectors.formats.parquet import read_parquet
from protemb.vectors.formats.records import is_rows, read_records
from protemb.vectors.formats.rows import TableReader, VectorWriter, read_rows
from protemb.vectors.provenance import check_facts, check_same
from protemb.vectors.writers import open_writer

__all__ = [
    "TableReader",
    "VectorTable",
    "VectorWriter",
    "check_same",
    "concatenate",
    "open_writer",
    "table_format",
]


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
        source: What errors call the table: the file that it was read from.
    """

    ids: Sequence[str]
    vectors_ND: np.ndarray
    labels: np.ndarray | None = None
    attributes: Mapping[str, Plain] = field(default_factory=dict)
    source: str = "vector table"

    def __post_init__(self) -> None:
        block = make_block(self.ids, self.vectors_ND, self.labels)
        object.__setattr__(self, "ids", block.ids)
        object.__setattr__(self, "vectors_ND", block.vectors_BD)
        object.__setattr__(self, "labels", block.labels_B)
        object.__setattr__(self, "attributes", plain_facts(self.attributes))

    def __len__(self) -> int:
        return len(self.vectors_ND)

    @property
    def width(self) -> int:
        """Features of a vector."""
        return self.vectors_ND.shape[1]

    def write(self, path: str | PathLike[str], *, layout: str = "table") -> None:
        """Write the table whole, in the format that the suffix of `path` names.

        Args:
            path: ends in .h5 (or .hdf5), .parquet, .npz or .h5ad.
            layout: `table`, or `uniprot` (HDF5 alone): one data set per record.

        Raises:
            ConfigError: The suffix names no format, or it has no such layout; or ids repeat
                in a layout that names data sets by them.
            MissingExtra: `.h5ad` needs anndata.
        """
        with open_writer(path, self.attributes, layout=layout) as writer:
            writer.append(self.ids, self.vectors_ND, self.labels)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> "VectorTable":
        """Read a table; labels and attributes may be missing.

        HDF5 files with one vector per data set are read too: ours, UniProt's, and those of
        bio_embeddings (ids from `original_id`, or else the names).

        Raises:
            ConfigError: The suffix names no format.
            InputError: There is no such file, or it is damaged, or holds something else.
            MissingExtra: `.h5ad` needs anndata.
        """
        kind = table_format(path)
        with reading(path):
            match kind:
                case "hdf5":
                    block, attributes = read_rows(path) if is_rows(path) else read_records(path)
                case "parquet":
                    block, attributes = read_parquet(path)
                case "npz":
                    block, attributes = read_npz(path)
                case _:
                    block, attributes = read_h5ad(path)
            return cls(block.ids, block.vectors_BD, block.labels_B, attributes, str(path))

    def expect(self, **facts: Plain) -> "VectorTable":
        """Return the table itself, when it was made with these facts.

        >>> table = VectorTable(["a"], [[0.5]], None, {"level": "states"}, "a.h5")
        >>> table.expect(level="states") is table
        True
        >>> table.expect(level="projection")
        Traceback (most recent call last):
        protemb.errors.InputError: a.h5: level: got 'states', expected 'projection'

        Raises:
            InputError: names the file, the fact, what it is and what it has to be.
        """
        check_facts(self, facts)
        return self


def concatenate(tables: Sequence[VectorTable]) -> VectorTable:
    """The rows of all tables in one; facts that differ between them are left out.

    Raises:
        InputError: the vectors cannot be compared (see `check_same`), or only some of the
            tables have labels.
    """
    check_same(tables)
    first = tables[0]
    for table in tables[1:]:
        if (table.labels is None) != (first.labels is None):
            states = {True: "no labels", False: "labels"}
            raise InputError(
                table.source,
                f"has {states[table.labels is None]}, but {first.source} has "
                f"{states[first.labels is None]}",
            )
    labels = [table.labels for table in tables if table.labels is not None]
    return VectorTable(
        [text for table in tables for text in table.ids],
        np.concatenate([table.vectors_ND for table in tables]),
        np.concatenate(labels) if labels else None,
        {
            name: fact
            for name, fact in first.attributes.items()
            if all(table.attributes.get(name) == fact for table in tables)
        },
    )
