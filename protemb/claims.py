"""One process at a time: claims on folders and files, gone with the process that holds them.

A claim is the operating system's lock on a small file. The file stays when the claim ends, and
holds who has it while it lasts. After a kill the lock is free and the text in the file is old, so
only the lock is ever asked whether a claim is held. Locks reach over network file systems where
these have them (NFS 4, Lustre mounted with `flock`).
"""

import errno
import json
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from protemb.errors import ProtembError

CLAIM = ".claim"
"""Name of the lock file in a folder that is claimed."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
# Someone who only asks holds the lock for a moment: that is no claim.
_PATIENCE = 0.25


@dataclass(frozen=True)
class Holder:
    """Who holds a claim: host and process, and since when (local time with its zone)."""

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        """Read as `process 17 on node3 since 2026-01-31T12:00:00+01:00`."""
        return f"process {self.pid} on {self.host} since {self.since}"


class HeldElsewhere(ProtembError, RuntimeError):
    """Another process works on it.

    >>> str(HeldElsewhere("runs/a", "process 17 on node3 since 2026-01-31T12:00:00+01:00"))
    'runs/a: held by process 17 on node3 since 2026-01-31T12:00:00+01:00'
    """

    def __init__(self, path: str, by: str) -> None:
        super().__init__(path, by)
        self.path, self.by = path, by

    def __str__(self) -> str:
        return f"{self.path}: held by {self.by}"


@contextmanager
def claim(lock: Path, wait: bool = False) -> Iterator[None]:
    """Hold what a lock file stands for while the block runs.

    Where the file system has no locks, the block runs without one, after a warning.

    Args:
        lock: the file; it and its folder are made where they are missing.
        wait: until it is free, however long that takes.

    Raises:
        HeldElsewhere: another process holds it, and `wait` is false.
    """
    import filelock

    lock.parent.mkdir(parents=True, exist_ok=True)
    held: list[int] = []

    def sign(handle: int) -> None:
        held.append(handle)
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        _write(handle, json.dumps(asdict(Holder(socket.gethostname(), os.getpid(), now))))

    # The file keeps its identity: two processes that see two files would both hold "it".
    mutex = filelock.FileLock(lock, preserve_lock_file=True, on_acquired=sign)
    try:
        mutex.acquire(timeout=-1 if wait else _PATIENCE)
    except filelock.Timeout:
        raise HeldElsewhere(str(lock.parent), str(_signed(lock) or "another process")) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        problem = f"{lock.parent}: no locks on this file system, so let one process work at a time"
        warnings.warn(problem, RuntimeWarning, stacklevel=3)
    try:
        yield
    finally:
        if mutex.is_locked:
            _write(held[0], "")
            mutex.release()


def holder(lock: Path) -> Holder | None:
    """Who holds a lock file; None where nobody does. Nothing is made or changed."""
    import filelock

    if not lock.exists():
        return None
    mutex = filelock.FileLock(lock, preserve_lock_file=True)
    try:
        mutex.acquire(blocking=False)
    except filelock.Timeout:
        return _signed(lock) or Holder("?", 0, "?")
    except OSError:
        # Someone else's file that cannot be locked: its text is all there is.
        return _signed(lock)
    mutex.release()
    return None


def _write(handle: int, text: str) -> None:
    """Say who holds the claim; on a full disk it is held all the same."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


def _signed(lock: Path) -> Holder | None:
    """What the file says; None while it is being written, or where it says nothing."""
    try:
        return Holder(**json.loads(lock.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
