"""Fetch a pinned file: resumed when cut, checked by size and hash, whole or not there at all.

And read a small answer that is not pinned, such as one record of a data bank.
"""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urlsplit

from protemb.errors import DownloadError
from protemb.files import hash_file

CHUNK = 1 << 16
# Answers that may be different a moment later; every other refusal is final.
PASSING = {408, 425, 429, 500, 502, 503, 504}

# Called with a file's name, the bytes that are there and the bytes it will have.
Progress = Callable[[str, int, int], None]
T = TypeVar("T")


class NotFound(DownloadError):
    """The server answers, and says that it has nothing of that name."""


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

    def receive() -> None:
        _receive(url, partial, sha256, size, progress, timeout)

    _try(receive, url, attempts, pause)
    os.replace(partial, final)
    return final


def read_url(
    url: str, *, limit: int, timeout: float = 30.0, attempts: int = 3, pause: float = 1.0
) -> bytes:
    """Return a small answer that nobody has pinned; who calls checks what it says.

    Args:
        url: http or https; redirects are followed, but never from https to http.
        limit: No answer may be longer, in bytes.
        timeout: Seconds that one attempt may take, and may wait for a byte.
        attempts: How often to try when the network or the server fails.
        pause: Seconds before the second attempt; doubled before each further one.

    Raises:
        NotFound: the server has nothing there.
        DownloadError: the answer cannot be had, or is too long.
    """
    _check_address(url)
    return _try(lambda: _read(url, limit, timeout), url, attempts, pause)


def _try(once: Callable[[], T], url: str, attempts: int, pause: float) -> T:
    attempt = 1
    while True:
        try:
            return once()
        except _TransferError as error:
            if attempt >= attempts:
                raise DownloadError(url, f"{error} (attempts: {attempts})") from error
        time.sleep(pause * 2 ** (attempt - 1))
        attempt += 1


def _read(url: str, limit: int, timeout: float) -> bytes:
    end = time.monotonic() + timeout
    body = b""
    with _open(url, 0, timeout) as response:
        announced = response.length  # None when the server does not say
        if announced is not None and announced > limit:
            raise DownloadError(url, f"got {announced} bytes, expected at most {limit}")
        for chunk in _chunks(response):
            body += chunk
            if len(body) > limit:
                raise DownloadError(url, f"got more than the {limit} bytes that are allowed")
            if time.monotonic() > end:  # a byte now and then is no answer
                raise _TransferError(f"no whole answer within {timeout:g} s")
    if announced is not None and len(body) < announced:
        raise _TransferError(f"the connection ended after {len(body)} of {announced} bytes")
    return body


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
        raise (NotFound if error.code == 404 else DownloadError)(url, problem) from error
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
