"""npz tables: arrays `ids`, `embeddings`, `labels`, and the attributes as JSON text.

Shape letters: N = records in the table, B = records in one block, D = features.
"""

import json
import tempfile
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from protemb.vectors.formats.blocks import Block, TableWriter


class NpzWriter(TableWriter):
    """Collects vectors in a nameless file beside the output: an array's header tells its length.

    Ids and labels stay in memory.
    """

    def _open(self, part: Path, stack: ExitStack) -> None:
        self._part = part
        # It has no name: whatever happens to this process, nothing of it stays.
        self._scratch = stack.enter_context(tempfile.TemporaryFile(dir=part.parent))
        self._ids: list[str] = []
        self._labels: list[str] | None = None
        self._width = 0

    def _write(self, block: Block) -> None:
        self._width = block.vectors_BD.shape[1]
        self._scratch.write(block.vectors_BD.data)
        self._ids.extend(block.ids)
        if block.labels_B is not None:
            self._labels = self._labels or []
            self._labels.extend(map(intern, block.labels_B.tolist()))

    def _finish(self) -> None:
        self._scratch.flush()
        shape = (self.rows, self._width)
        arrays = {
            "ids": np.array(self._ids, dtype=str),
            # An empty file cannot be mapped.
            "embeddings": np.memmap(self._scratch, np.float32, "r", shape=shape)
            if self.rows
            else np.empty(shape, np.float32),
            "attributes": np.array(json.dumps(self.attributes)),
        }
        if self._labels is not None:
            arrays["labels"] = np.array(self._labels, dtype=str)
        with open(self._part, "wb") as handle:
            np.savez(handle, allow_pickle=False, **arrays)


def read_npz(path: str | PathLike[str]) -> tuple[Block, dict[str, Any]]:
    """The whole table, and its attributes."""
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
        block = Block(
            arrays["ids"].tolist(),
            arrays["embeddings"],
            arrays["labels"] if "labels" in arrays else None,
        )
        return block, json.loads(arrays["attributes"].item()) if "attributes" in arrays else {}
