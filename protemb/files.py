"""Files appear whole: write beside, then rename. Content is named by its hash."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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


def cached_folder(path: Path, fill: Callable[[Path], None]) -> Path:
    """Return the folder `path`, filling it first when it is not there yet."""
    if not path.is_dir():
        with whole_folder(path) as part:
            fill(part)
    return path
