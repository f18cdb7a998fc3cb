"""Rows on disk in the order in which they are computed; killed at any point, it can go on.

Two files: the rows, batch after batch, and a checksum for each batch. A batch counts when both are
whole, so whatever a kill, a full disk or a power failure leaves behind is found on opening.

Shape letters: S = distinct sequences, R = rows of a batch, D = features.
"""

import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from protemb.errors import ConfigError

_PIECE = 1 << 24
"""Bytes read at once while checking."""


class RowLog:
    """Rows of sequences, batch by batch; use it in a `with` block.

    Args:
        folder: where the two files are, or will be.
        batches: sequence indices of each batch, in the order of computing.
        rows_S: rows that each sequence has: 1 for a vector, its length for states.
        width: features D of a row.
        dtype: of the numbers.
    """

    def __init__(
        self,
        folder: Path,
        batches: Sequence[np.ndarray],
        rows_S: np.ndarray,
        width: int,
        dtype: str = "float32",
    ) -> None:
        self.batches, self.rows_S = batches, rows_S
        self.dtype, self.width = np.dtype(dtype), width
        order = np.concatenate(batches)
        ends = np.cumsum(rows_S[order])
        self._start_S = np.empty(len(rows_S), np.int64)
        self._start_S[order] = ends - rows_S[order]
        self._ends = ends[np.cumsum([len(batch) for batch in batches]) - 1]
        folder.mkdir(parents=True, exist_ok=True)
        self._rows = os.open(folder / "rows", os.O_RDWR | os.O_CREAT, 0o666)
        self._sums = os.open(folder / "sums", os.O_RDWR | os.O_CREAT, 0o666)
        self.done = self._whole_batches()
        self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._rows)
        os.close(self._sums)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.width * self.dtype.itemsize

    def _end(self, batches: int) -> int:
        """Bytes of the first so many batches."""
        return int(self._ends[batches - 1]) * self.row_bytes if batches else 0

    def _whole_batches(self) -> int:
        """How many batches from the first on are there as they were written."""
        sums = os.pread(self._sums, 4 * len(self.batches), 0)
        size = os.fstat(self._rows).st_size
        done = 0
        while len(sums) >= 4 * (done + 1) and size >= self._end(done + 1):
            found, start, stop = 0, self._end(done), self._end(done + 1)
            for at in range(start, stop, _PIECE):
                found = zlib.crc32(os.pread(self._rows, min(_PIECE, stop - at), at), found)
            if found != int.from_bytes(sums[4 * done : 4 * done + 4], "little"):
                break
            done += 1
        return done

    def _cut(self) -> None:
        os.ftruncate(self._rows, self._end(self.done))
        os.ftruncate(self._sums, 4 * self.done)

    def append(self, pieces: Iterable[np.ndarray]) -> None:
        """Add the rows of the next batch, in pieces_RD of any size."""
        found, at = 0, self._end(self.done)
        for piece_RD in pieces:
            data = self._rounded(piece_RD).tobytes()
            found, at = zlib.crc32(data, found), at + _write(self._rows, data, at)
        assert at == self._end(self.done + 1), "a batch has the rows that were planned"
        _write(self._sums, found.to_bytes(4, "little"), 4 * self.done)
        self.done += 1

    def _rounded(self, piece_RD: np.ndarray) -> np.ndarray:
        try:
            with np.errstate(over="raise"):
                return np.ascontiguousarray(piece_RD, self.dtype)
        except FloatingPointError:
            problem = "float32: a value is larger than it can hold"
            raise ConfigError("dtype", self.dtype.name, problem) from None

    def vectors(self, sequences_M: np.ndarray) -> np.ndarray:
        """The one row of each of these sequences, vectors_MD."""
        out_MD = np.empty((len(sequences_M), self.width), self.dtype)
        for row_D, start in zip(out_MD, self._start_S[sequences_M].tolist(), strict=True):
            os.preadv(self._rows, [row_D.data], start * self.row_bytes)
        return out_MD

    def states(self, sequence: int) -> np.ndarray:
        """All rows of one sequence, states_LD."""
        out_LD = np.empty((int(self.rows_S[sequence]), self.width), self.dtype)
        flat, start = (
            out_LD.reshape(-1).view(np.uint8),
            int(self._start_S[sequence]) * self.row_bytes,
        )
        for at in range(0, len(flat), _PIECE):
            os.preadv(self._rows, [flat[at : at + _PIECE].data], start + at)
        return out_LD


def _write(handle: int, data: bytes, at: int) -> int:
    """Write all of it, however many calls that takes."""
    done, view = 0, memoryview(data)
    while done < len(data):
        done += os.pwrite(handle, view[done:], at + done)
    return done
