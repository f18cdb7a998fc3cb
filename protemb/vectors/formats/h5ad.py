"""AnnData files: `X` float32, ids as `obs_names`, labels in `obs["label"]`, facts in `uns`.

Vectors and the file's structure carry checksums. Ids and labels cannot: AnnData keeps texts in
HDF5's heap, which has none, and in a damaged heap HDF5 itself may loop; so send `.h5ad` to others,
and keep `.h5`.

Shape letters: N = records in the table, B = records in one block, D = features.
"""

import warnings
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from sys import intern
from types import ModuleType
from typing import Any

import numpy as np

from protemb.errors import MissingExtra
from protemb.vectors.formats.blocks import CHUNK_ROWS, Block, TableWriter
from protemb.vectors.formats.hdf5 import create_file, own_dataset, plain, refuse_outside
from protemb.vectors.formats.records import id_of, safe_name


def _anndata() -> ModuleType:
    try:
        import anndata
    except ImportError:
        raise MissingExtra(".h5ad files", "anndata", "anndata") from None
    return anndata


class AnnDataWriter(TableWriter):
    """Lets anndata write all but the rows of X, which grows in the file; ids stay in memory."""

    def __init__(self, path: str | PathLike[str], attributes: Any) -> None:
        _anndata()  # missing: said before the work, not after
        super().__init__(path, attributes)

    def _open(self, part: Path, stack: ExitStack) -> None:
        self._file = stack.enter_context(create_file(part))
        self._ids: list[str] = []
        self._labels: list[str] | None = None

    def _write(self, block: Block) -> None:
        if not self.rows:
            self._start(block.vectors_BD[:0])
        rows_BD = self._file["X"]
        rows_BD.resize(self.rows + len(block.ids), axis=0)
        rows_BD[self.rows :] = block.vectors_BD
        self._ids.extend(block.ids)
        if block.labels_B is not None:
            self._labels = self._labels or []
            self._labels.extend(map(intern, block.labels_B.tolist()))

    def _start(self, empty_0D: np.ndarray) -> None:
        """Write an AnnData without rows, then an X that can grow in place of its own."""
        import pandas as pd

        anndata, width = _anndata(), empty_0D.shape[1]
        var = pd.DataFrame(index=[str(column) for column in range(width)])
        anndata.io.write_elem(self._file, "/", anndata.AnnData(empty_0D, var=var))
        room = {"maxshape": (None, width), "chunks": (CHUNK_ROWS, width), "fletcher32": True}
        anndata.io.write_elem(self._file, "X", empty_0D, dataset_kwargs=room)

    def _finish(self) -> None:
        import pandas as pd

        anndata, names = _anndata(), pd.Index(self._ids, dtype=object)
        columns: dict[str, Any] = {}
        if self._labels is not None:
            columns["label"] = pd.Categorical(self._labels, sorted(set(self._labels)))
        if not names.is_unique:
            # Scanpy takes rows by name, so names have to differ; the exact ids stand beside.
            columns["original_id"] = names.to_numpy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that "a-1" may already stand for something
                names = anndata.utils.make_index_unique(names)
        anndata.io.write_elem(self._file, "obs", pd.DataFrame(columns, index=names))
        facts = {safe_name(name): fact for name, fact in self.attributes.items()}
        anndata.io.write_elem(self._file, "uns", {"protemb": facts})


def read_h5ad_facts(path: str | PathLike[str]) -> dict[str, Any]:
    """The facts of an AnnData file of ours, without its rows."""
    import h5py

    with h5py.File(path) as file:
        refuse_outside(file)
        facts = _anndata().io.read_elem(file["uns/protemb"]) if "uns/protemb" in file else {}
        return {id_of(name): plain(fact) for name, fact in facts.items()}


def read_h5ad(path: str | PathLike[str]) -> tuple[Block, dict[str, Any]]:
    """X, ids, labels and facts of an AnnData file; its other parts stay unread."""
    import h5py

    anndata = _anndata()
    with h5py.File(path) as file:
        refuse_outside(file)
        matrix = own_dataset(file, "X")
        if matrix.dtype.kind != "f":
            raise TypeError(f"X is {matrix.dtype}, expected numbers with a point")
        obs = anndata.io.read_elem(file["obs"])
        if "label" in obs and obs["label"].isna().any():
            raise ValueError("empty cells in column 'label'")
        ids = obs["original_id"] if "original_id" in obs else obs.index
        block = Block(
            tuple(map(str, ids)),
            matrix[:],
            np.array(obs["label"].astype(str), dtype=str) if "label" in obs else None,
        )
    return block, read_h5ad_facts(path)
