"""Fetch a pinned file: resumed when cut, checked by size and hash, whole or not there at all."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from protemb.errors import DownloadError
from protemb.files import hash_file

CHUNK = 1 << 16
# Answers that may be different a moment later; every other refusal is final.
PASSING = {408, 425, 429, 500, 502, 503, 504}

# Called with a file's name, the bytes that are there and the bytes it will have.
Progress = Callable[[str, int, int], None]


class _TransferError(Exception):
    """An attempt failed in a way that another one may mend; never leaves this module."""


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str,
    size: int,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 3,
    pause: float = 1.0,
) -> Path:
    """Return `path` with exactly the pinned content, fetching it only when it is not there.

    What has arrived stays in `<name>.partial`: the next attempt, or the next run, asks for
    the rest. Let one process at a time fetch a file.

    Args:
        url: http or https; redirects are followed, but never from https to http.
        path: Where the file goes; its folder is made when missing.
        sha256: Hash of the whole file, as hex.
        size: Length of the whole file in bytes; not one byte more is kept.
        progress: Told after every chunk.
        timeout: Seconds without a single byte after which an attempt is given up.
        attempts: How often to try when the network or the server fails.
        pause: Seconds before the second attempt; doubled before each further one.

    Raises:
        DownloadError: the file cannot be had, or is not the pinned one.
    """
    final = Path(path)
    if final.is_file() and _matches(final, sha256, size):
        return final
    _check_address(url)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(final.name + ".partial")
    for attempt in range(1, attempts + 1):
        try:
            _receive(url, partial, sha256, size, progress, timeout)
        except _TransferError as error:
            if attempt == attempts:
                raise DownloadError(url, f"{error} (attempts: {attempts})") from error
            time.sleep(pause * 2 ** (attempt - 1))
        else:
            break
    os.replace(partial, final)
    return final


def _receive(
    url: str, partial: Path, sha256: str, size: int, progress: Progress | None, timeout: float
) -> None:
    """Bring `partial` to the pinned content, going on from the bytes that it has."""
    start = partial.stat().st_size if partial.is_file() else 0
    if not 0 < start < size:
        start = 0  # nothing there, or nothing that a server could add to
    with _open(url, start, timeout) as response:
        if start and not _continues(response, start):
            start = 0  # the server sends the whole file
        announced = response.length  # None when the server does not say
        if announced is not None and start + announced != size:
            raise DownloadError(url, f"got {start + announced} bytes, expected {size}")
        received = start
        with open(partial, "ab" if start else "wb") as file:
            for chunk in _chunks(response):
                received += len(chunk)
                if received > size:
                    break
                file.write(chunk)
                if progress:
                    progress(partial.stem, received, size)
    if received > size:
        partial.unlink()
        raise DownloadError(url, f"got more than the expected {size} bytes")
    if received < size:
        raise _TransferError(f"the connection ended after {received} of {size} bytes")
    if not _matches(partial, sha256, size):
        got = hash_file(partial)
        partial.unlink()
        if start:  # the older part may be to blame: once more, from the first byte
            raise _TransferError("the parts do not fit together")
        raise DownloadError(url, f"damaged: got SHA-256 {got}, expected {sha256}")


def _matches(path: Path, sha256: str, size: int) -> bool:
    return path.stat().st_size == size and hash_file(path) == sha256


def _open(url: str, start: int, timeout: float) -> HTTPResponse:
    headers = {"Accept-Encoding": "identity", "User-Agent": "protemb"}
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = urllib.request.build_opener(_WebRedirects)
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # the server knows no such range: take the whole file
            return _open(url, 0, timeout)
        if 300 <= error.code < 400:
            target = error.headers.get("Location", "nowhere")
            raise DownloadError(url, f"refused to follow the redirect to {target}") from error
        problem = f"the server answered {error.code} {error.reason}"
        if error.code in PASSING:
            raise _TransferError(problem) from error
        raise DownloadError(url, problem) from error
    except TimeoutError as error:
        raise _TransferError(f"no answer within {timeout:g} s") from error
    except urllib.error.URLError as error:
        raise _TransferError(f"cannot reach the server: {_reason(error.reason)}") from error
    except (OSError, HTTPException) as error:
        raise _TransferError(f"the connection failed: {_reason(error)}") from error


def _reason(error: object) -> str:
    """The system's words for an error, on one line."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split())


def _continues(response: HTTPResponse, start: int) -> bool:
    span = response.headers.get("Content-Range", "")
    return response.status == 206 and span.startswith(f"bytes {start}-")


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, HTTPException) as error:
            raise _TransferError(f"the connection broke: {_reason(error)}") from error
        if not chunk:
            return
        yield chunk


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise DownloadError(url, "expected an address that begins with https:// or http://")


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never to a weaker scheme."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request to follow; see the base class."""
        allowed = ("http", "https") if req.type == "http" else ("https",)
        if urlsplit(newurl).scheme not in allowed:
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
