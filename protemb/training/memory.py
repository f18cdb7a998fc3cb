"""What the C library does with memory that is let go."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Names in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# What glibc comes to by itself in the end: 32 MB in one piece, and twice that at the top.
_USUAL = {_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}
_KEPT = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory for the next step of a training; behind the block it is given back.

    A step of a recurrent network lets go of hundreds of megabytes, which glibc gives back to the
    system. The next step has them again page by page, each to be cleared first, and that takes as
    long as to compute it. Without glibc nothing is changed.
    """
    libc = ctypes.CDLL(None)
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    _set(libc, _KEPT)
    try:
        yield
    finally:
        _set(libc, _USUAL)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, options: dict[int, int]) -> None:
    for name, size in options.items():
        libc.mallopt(name, size)
