"""Which of many texts came before, in little memory: by digests in a file, or by hashes.

Shape letters: A = texts, B = those of one bucket, C = those of one chunk of the file.
"""

import hashlib
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

BYTES = 16
"""Of a digest: among 10 billion texts, two have the same one with probability 1.5e-19."""
PASSES = 16
"""Over the file; in each, one bucket of so many is sorted, in less memory than the result takes."""
CHUNK = 1 << 16
"""Digests that are read at once."""


class Digests:
    """Digests of texts in a nameless file; nothing per text stays in memory.

    >>> digests = Digests(Path(tempfile.gettempdir()))
    >>> for text in (b"MKV", b"MK", b"MKV"):
    ...     digests.append(text)
    >>> digests.first_equal().tolist()
    [0, 1, 0]
    >>> digests.close()
    """

    def __init__(self, folder: Path) -> None:
        """Start with none; `folder` has the file."""
        self._file = tempfile.TemporaryFile(dir=folder)

    def append(self, text: bytes) -> None:
        """Add the next text."""
        self._file.write(hashlib.blake2b(text, digest_size=BYTES).digest())

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def first_equal(self) -> np.ndarray:
        """Return first_A (int64), the number of the first text that equals this one.

        Digests are spread evenly, so the last bits deal them out to buckets of about one size, and
        equal ones are in the same bucket.
        """
        self._file.flush()
        first_A = np.empty(self._file.tell() // BYTES, np.int64)
        for bucket in range(PASSES):
            index_B, digests_B2 = self._gather(bucket)
            order_B = np.lexsort(digests_B2.T)  # stable: within a digest, numbers ascend
            sorted_B2 = digests_B2[order_B]
            starts_B = np.ones(len(order_B), bool)
            starts_B[1:] = (sorted_B2[1:] != sorted_B2[:-1]).any(axis=1)
            index_B = index_B[order_B]
            first_A[index_B] = index_B[starts_B][np.cumsum(starts_B) - 1]
        return first_A

    def _gather(self, bucket: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the texts in one bucket, ascending, and their digests."""
        indices, digests = [np.empty(0, np.int64)], [np.empty((0, 2), np.uint64)]
        for start, chunk_C2 in self._chunks():
            here = np.flatnonzero(chunk_C2[:, 0] % np.uint64(PASSES) == bucket)
            indices.append(here + start)
            digests.append(chunk_C2[here])
        return np.concatenate(indices), np.concatenate(digests)

    def _chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """The digests in the order of the texts, each as two numbers."""
        self._file.seek(0)
        start = 0
        while len(chunk_C2 := np.fromfile(self._file, np.uint64, 2 * CHUNK).reshape(-1, 2)):
            yield start, chunk_C2
            start += len(chunk_C2)


def repeated(texts: Callable[[], Iterable[str]]) -> str | None:
    """Return a text that comes twice, or None; in memory, 8 bytes per text.

    Args:
        texts: starts anew with each call; the second time, which only equal hashes bring about,
            texts themselves are compared.

    >>> repeated(lambda: ["a", "b", "c", "b"])
    'b'
    """
    hashes_A = np.frombuffer(array("q", map(hash, texts())), np.int64)
    hashes_A.sort()
    doubtful = set(hashes_A[1:][hashes_A[1:] == hashes_A[:-1]].tolist())
    seen: set[str] = set()
    for text in texts() if doubtful else ():
        if text in seen:
            return text
        if hash(text) in doubtful:
            seen.add(text)
    return None
