"""Per-residue states on disk, in the layout of UniProt's per-residue files.

One HDF5 data set (L, D) per protein, named by its id (see `formats.records`), so that

    for name in file:
        states_LD = file[name][:]

reads them anywhere. Written and read one protein, or a piece of one, at a time.

Shape letters: L = residues of one protein, l = residues of a piece of it, D = features.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from os import PathLike
from typing import Any, Self

import numpy as np

from protemb.errors import ConfigError
from protemb.files import whole_file
from protemb.vectors.formats.blocks import Plain, plain_facts, reading, table_format
from protemb.vectors.formats.records import (
    WIDTH,
    RecordReader,
    create_record,
    create_records,
    safe_name,
)

DTYPES = ("float32", "float16")

# A reader of one residue reads about so much; each chunk costs some bytes of its own.
CHUNK_BYTES = 2**20


class ResidueWriter:
    """Writes states protein by protein; the file takes its name when the `with` block ends.

        with ResidueWriter("residues.h5", {"level": "states"}) as writer:
            for record_id, states_LD in proteins:
                writer.append(record_id, states_LD)

    Args:
        path: ends in `.h5` or `.hdf5`.
        attributes: plain facts about the states.
        dtype: `float32`, or `float16` for half the size (three digits, up to 65,504).

    Raises:
        ConfigError: another suffix, or another dtype.
    """

    def __init__(
        self, path: str | PathLike[str], attributes: Mapping[str, Plain], dtype: str = "float32"
    ) -> None:
        if table_format(path) != "hdf5":
            raise ConfigError("per-residue file", str(path), "a name that ends in .h5 or .hdf5")
        if dtype not in DTYPES:
            raise ConfigError("dtype", dtype, f"one of {', '.join(DTYPES)}")
        self.path, self.attributes, self.dtype = path, plain_facts(attributes), np.dtype(dtype)
        self._width: int | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            part = stack.enter_context(whole_file(self.path))
            self._file = stack.enter_context(create_records(part, self.attributes, "per-residue"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def append(self, record_id: str, states_LD: np.ndarray) -> None:
        """Add one protein; errors as in `extend`."""
        self.extend(record_id, len(states_LD), [(0, states_LD)])

    def extend(self, record_id: str, length: int, pieces: Iterable[tuple[int, np.ndarray]]) -> None:
        """Add one protein in pieces that come in any order, in the memory of one piece.

        After an error nothing of the protein is in the file.

        Args:
            record_id: any text without NUL.
            length: L, its residues.
            pieces: pairs of a piece's first residue (0-based) and its states_lD.

        Raises:
            ConfigError: the id was there before, or a value is too large for float16.
            ValueError: there is no residue; the pieces leave some out, repeat them, or are of
                other widths.
        """
        if length < 1:
            raise ValueError(f"{record_id!r}: {length} residues, expected at least one")
        seen_L = np.zeros(length, bool)
        dataset = None
        try:
            for start, states_lD in pieces:
                stop = start + len(states_lD)
                if dataset is None:
                    dataset = self._create(record_id, length, np.shape(states_lD)[-1])
                if not 0 <= start <= stop <= length or seen_L[start:stop].any():
                    raise ValueError(f"{record_id!r}: residues {start}:{stop} twice, or outside")
                if np.shape(states_lD)[1:] != dataset.shape[1:]:
                    raise ValueError(f"{record_id!r}: {np.shape(states_lD)} in {dataset.shape}")
                dataset[start:stop] = self._round(record_id, states_lD)
                seen_L[start:stop] = True
            if dataset is None or not seen_L.all():
                raise ValueError(f"{record_id!r}: {seen_L.sum()} of {length} residues came")
        except BaseException:
            if dataset is not None:
                del self._file[safe_name(record_id)]
            raise

    def _create(self, record_id: str, length: int, width: int) -> Any:
        if self._width is None:
            self._width = self._file.attrs[WIDTH] = width
        if width != self._width:
            raise ValueError(f"{record_id!r}: {width} features, others have {self._width}")
        rows = max(1, CHUNK_BYTES // (self.dtype.itemsize * width))
        chunks = (min(rows, length), width)
        return create_record(self._file, record_id, chunks, shape=(length, width), dtype=self.dtype)

    def _round(self, record_id: str, states_lD: np.ndarray) -> np.ndarray:
        states_lD = np.asarray(states_lD)
        with np.errstate(over="ignore"):
            rounded_lD = states_lD.astype(self.dtype)
        if (np.isinf(rounded_lD) & np.isfinite(states_lD)).any():
            raise ConfigError(
                "dtype", self.dtype.name, f"float32: record {record_id!r} has larger values"
            )
        return rounded_lD


class ResidueTable(Mapping[str, np.ndarray]):
    """States of proteins in a file, read when asked for; a mapping from ids to states_LD.

        with ResidueTable.open("residues.h5") as table:
            for record_id, states_LD in table.items():
                ...

    Attributes:
        source: The path, as text.
        ids: Of the proteins, in the file's order.
        attributes: Plain facts about the states.
        width: D.
    """

    def __init__(self, source: str, names: Mapping[str, str], reader: RecordReader) -> None:
        self.source, self._names, self._reader = source, names, reader
        self.attributes: dict[str, Any] = reader.attributes

    @classmethod
    def open(cls, path: str | PathLike[str]) -> "ResidueTable":
        """Open a file of ours, of UniProt or of bio_embeddings; close it, or use `with`.

        Raises:
            InputError: no such file, damaged, or something else; or ids repeat.
        """
        import h5py

        with reading(path, "per-residue file"), ExitStack() as stack:
            file = stack.enter_context(h5py.File(path))
            reader = RecordReader(file, "per-residue")
            names = {reader.id(name): name for name in file}
            if len(names) != len(file):
                raise ValueError("ids repeat")
            for name in list(file)[:1]:
                reader.dataset(name, axes=2)
            stack.pop_all()
            return cls(str(path), names, reader)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of the proteins, in the file's order."""
        return tuple(self._names)

    @property
    def width(self) -> int:
        """Features of a state."""
        return self._reader.width or 0

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._names

    def __getitem__(self, record_id: str) -> np.ndarray:
        """States_LD of one protein: float32, also where the file holds float16.

        Raises:
            KeyError: there is no such id.
            InputError: the states are damaged.
        """
        name = self._names[record_id]
        with reading(self.source, "per-residue file"):
            dataset = self._reader.dataset(name, axes=2)
            states_LD = np.empty(dataset.shape, np.float32)
            if states_LD.size:
                dataset.read_direct(states_LD)
            return states_LD

    def close(self) -> None:
        """Close the file; states cannot be read any more."""
        self._reader.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.close()
