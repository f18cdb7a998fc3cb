"""Fixtures shared by every test."""

import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

# A busy machine is not a defect: time limits are the test runner's.
settings.register_profile("protemb", deadline=None)
settings.load_profile("protemb")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets (PROTEMB_DATA); CI must have it, a user need not."""
    folder = os.environ.get("PROTEMB_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail(f"PROTEMB_DATA: got {folder!r}, expected the folder of the real data sets")
    pytest.skip("set PROTEMB_DATA to the folder of the real data sets")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference checkpoints (PROTEMB_REFERENCE); CI must have it, a user need not."""
    folder = os.environ.get("PROTEMB_REFERENCE")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    if os.environ.get("CI"):
        pytest.fail(f"PROTEMB_REFERENCE: got {folder!r}, expected the folder of the references")
    pytest.skip("set PROTEMB_REFERENCE to the folder of the references")


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Path of a program that is no Python package; CI must have it, a user need not."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path:
            return path
        if os.environ.get("CI"):
            pytest.fail(f"got no program {name} on PATH, expected it in CI")
        pytest.skip(f"the program {name} is not on PATH")

    return find


@pytest.fixture(scope="module")
def browser(program: Callable[[str], str]) -> Iterator[Browser]:
    """Chromium without a screen."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


# A local file server whose answers a test writes down, one per request.

Answer = Callable[[BaseHTTPRequestHandler], None]


class FileServer(ThreadingHTTPServer):
    """Serves `files`; a path in `answers` gets those answers first, one per request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.ranges: dict[str, list[str | None]] = {}  # the Range header of every request
        self.sent: Counter[str] = Counter()  # body bytes per path
        self.closing = threading.Event()

    @property
    def requests(self) -> int:
        """How many requests came so far."""
        return sum(map(len, self.ranges.values()))

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:  # noqa: N802 (the base class looks for this name)
        self.server.ranges.setdefault(self.path, []).append(self.headers["Range"])
        waiting = self.server.answers.get(self.path)
        answer = waiting.pop(0) if waiting else self.file
        answer(self)

    def file(self, _: object = None, *, stop: int | None = None, ranges: bool = True) -> None:
        """Send the file, from where Range says; hang up before byte `stop` of it."""
        if self.path not in self.server.files:
            return self.status(404)
        body, start = self.server.files[self.path], 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and ranges:
            start = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.body(body[start:stop])

    def status(self, code: int, **headers: str) -> None:
        """Send an answer without a body."""
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def body(self, content: bytes) -> None:
        """Send bytes and count them."""
        self.server.sent[self.path] += len(content)
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server on this machine; see `FileServer`. A machine's proxy settings are ignored."""
    monkeypatch.setenv("no_proxy", "*")
    with FileServer() as server:
        # The default poll of 0.5 s would be waited for at every shutdown.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()
