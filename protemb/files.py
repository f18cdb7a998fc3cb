"""Files appear whole: write beside, then rename. Content is named by its hash."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from protemb.claims import claim

# torch and HDF5 have no error of their own for a full disk: this little room is none.
_ROOM = 2**16
T = TypeVar("T")
DAMAGED = (OSError, ValueError, EOFError, KeyError)
"""What reading a file raises that is not there, or was cut short."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the final name only on success.

    The folder is made when missing. On an exception nothing is left behind and an older
    file of that name stays as it was.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: h5py, numpy and matplotlib choose formats by it.
    handle, name = tempfile.mkstemp(dir=final.parent, prefix=".part-", suffix=final.suffix)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.replace(part, final)
    except RuntimeError as error:
        if shutil.disk_usage(final.parent).free < _ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(final)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder beside `path` to fill; it takes the final name only on success.

    When another process finished the same folder first, its result stays and ours is dropped:
    use this for folders named by their content.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=final.parent, prefix=".part-"))
    try:
        yield part
        part.chmod(0o777 & ~_umask())
        try:
            os.rename(part, final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Readers see the old file or the new one, never half of one."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], payload: Mapping[str, object]) -> None:
    """Write `payload` as indented JSON with sorted keys, whole or not at all."""
    write_text(path, json.dumps(payload, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def hash_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_key(parts: Mapping[str, object]) -> str:
    """Short stable name (16 hex digits) for a set of plain values.

    >>> content_key({"a": 1, "b": [2, 3]}) == content_key({"b": [2, 3], "a": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cached_folder(path: Path, fill: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """What `read` makes of a folder, which is filled first when it is not there or damaged.

    Of several processes that miss it at once, one fills it and the others wait.

    Args:
        path: the folder, named by what is in it.
        fill: writes into an empty folder.
        read: opens the folder; raises one of `DAMAGED` when it cannot.
    """
    return _cached(path, fill, read, whole_folder)


def cached_file(path: Path, fill: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """What `read` makes of a file, as `cached_folder` does with a folder."""
    return _cached(path, fill, read, whole_file)


def _cached(
    path: Path,
    fill: Callable[[Path], None],
    read: Callable[[Path], T],
    whole: Callable[[Path], AbstractContextManager[Path]],
) -> T:
    with suppress(*DAMAGED):
        return read(path)
    with _in_turn(path):
        with suppress(*DAMAGED):  # another process may have made it meanwhile
            return read(path)
        if path.is_dir():
            shutil.rmtree(path)
        with whole(path) as part:
            fill(part)
    return read(path)


@contextmanager
def _in_turn(path: Path) -> Iterator[None]:
    """Let one process after the other look for `path`, and make it."""
    lock = path.with_name(f".{path.name}.lock")
    with claim(lock, wait=True):
        try:
            yield
        finally:
            # Nobody needs it any more; whoever waits for it looks again.
            lock.unlink(missing_ok=True)
