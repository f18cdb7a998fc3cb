"""Open plain, gzip and zstd text alike; what is damaged or no text is one clear error."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protemb.errors import InputError, MissingExtra

BUFFER = 1 << 18
BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# First bytes of what is often given by mistake.
FOREIGN = {
    b"BZh": "bzip2-compressed data",
    b"\xfd7zXZ": "xz-compressed data",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}

LONE_RETURN = "a carriage return inside a line, expected lines that end in LF or CRLF"


@contextmanager
def open_text(path: str | Path) -> Iterator[io.BufferedReader]:
    """Open a UTF-8 text file as bytes, decompressed by its first bytes, whatever its name.

    A byte order mark is skipped. Errors that come up while reading inside the `with` block are
    translated too.

    Raises:
        InputError: The file cannot be opened, is empty, damaged or cut off, or is no text.
    """
    name = str(path)
    try:
        with open_file(name) as file, _decompressed(file) as handle:
            head = handle.peek(BUFFER)
            _check_text(name, head)
            if head.startswith(BOM):
                handle.read(len(BOM))
            yield handle
    except EOFError:
        raise InputError(name, "the compressed data is cut off") from None
    except (gzip.BadGzipFile, zlib.error, _ZstdDamage) as error:
        raise InputError(name, f"the compressed data is damaged ({error})") from None


def open_file(path: str | Path) -> io.BufferedReader:
    """Open a file as it is; that it cannot be opened is an `InputError`."""
    try:
        return io.BufferedReader(io.FileIO(path), BUFFER)
    except IsADirectoryError:
        raise InputError(str(path), "is a folder, expected a file") from None
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from None


def _decompressed(file: io.BufferedReader) -> io.BufferedReader:
    magic = file.peek(4)
    if magic.startswith(GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=file), BUFFER)
    if magic.startswith(ZSTD):
        return io.BufferedReader(_ZstdReader(file), BUFFER)
    return file


def _check_text(name: str, head: bytes) -> None:
    if not head:
        raise InputError(name, "the file is empty")
    for magic, kind in FOREIGN.items():
        if head.startswith(magic):
            raise InputError(name, f"got {kind}, expected plain, gzip or zstd UTF-8 text")
    if b"\0" in head:
        raise InputError(name, "got binary data, expected text")


class _ZstdDamage(Exception):
    """The zstd data does not decode."""


class _ZstdReader(io.RawIOBase):
    """Decompressed zstd frames; unlike zstandard's own reader, a cut-off file is an error."""

    def __init__(self, file: io.BufferedReader) -> None:
        try:
            import zstandard
        except ImportError:
            raise MissingExtra("reading .zst files", "zstandard", "zstd") from None
        self._file, self._zstandard = file, zstandard
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._ready:
            if self._frame.eof:
                pending = self._frame.unused_data or self._file.read(BUFFER)
                if not pending:
                    return 0
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            elif not (pending := self._file.read(BUFFER)):
                raise EOFError
            try:
                self._ready = memoryview(self._frame.decompress(pending))
            except self._zstandard.ZstdError as error:
                raise _ZstdDamage(error) from None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size
