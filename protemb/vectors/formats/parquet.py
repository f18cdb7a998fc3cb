"""Parquet tables: columns `id`, `label` and `embedding` (a fixed-size list), facts in the schema.

Shape letters: B = records in one block, D = features.
"""

import json
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any

from protemb.vectors.formats.blocks import Block, TableWriter


class ParquetTableWriter(TableWriter):
    """Writes one row group after the other."""

    def _open(self, part: Path, stack: ExitStack) -> None:
        self._part, self._inner = part, stack.enter_context(ExitStack())
        self._writer: Any = None

    def _write(self, block: Block) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"id": pa.array(block.ids, pa.string())}
        if block.labels_B is not None:
            columns["label"] = pa.array(block.labels_B.tolist(), pa.string())
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(
            pa.array(block.vectors_BD.reshape(-1)), block.vectors_BD.shape[1]
        )
        rows = pa.table(columns, metadata={"protemb": json.dumps(self.attributes)})
        if self._writer is None:
            self._writer = self._inner.enter_context(
                pq.ParquetWriter(
                    self._part,
                    rows.schema,
                    # Vectors hardly repeat: a dictionary or statistics of them would only cost.
                    use_dictionary=["label"],
                    write_statistics=["id", "label"],
                    write_page_checksum=True,
                )
            )
        self._writer.write_table(rows)


def read_parquet(path: str | PathLike[str]) -> tuple[Block, dict[str, Any]]:
    """The whole table, and its attributes."""
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
    block = Block(
        columns["id"].to_pylist(),
        vectors.flatten().to_numpy().reshape(len(vectors), kind.list_size),
        columns["label"].to_numpy(zero_copy_only=False) if "label" in columns else None,
    )
    return block, json.loads(metadata.get(b"protemb", "{}"))
