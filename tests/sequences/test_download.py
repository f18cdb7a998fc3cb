"""Downloads against a local server: every way of failing leaves one line and no wrong file."""

import hashlib
import io
import pickle
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from protemb.errors import DownloadError
from protemb.sequences.download import NotFound, _WebRedirects, fetch, read_url

CONTENT = bytes(range(256)) * 800  # several chunks
PINNED = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}
QUICK = {"timeout": 5.0, "pause": 0.0}


@pytest.fixture
def server(file_server):
    file_server.files["/H1.json"] = CONTENT
    return file_server


@pytest.fixture
def get(server, tmp_path):
    """Fetch /H1.json as a user would; returns the file."""

    def get_(path="/H1.json", **options) -> Path:
        target = tmp_path / "upstream" / "H1.json"
        return fetch(server.url + path, target, **{**PINNED, **QUICK, **options})

    return get_


def failure(get, *args, **options) -> str:
    """The line that a failing download gives; no file has the final name afterwards."""
    with pytest.raises(DownloadError) as caught:
        get(*args, **options)
    line = str(caught.value)
    assert "\n" not in line and caught.value.url in line and caught.value.problem in line
    assert str(pickle.loads(pickle.dumps(caught.value))) == line
    return line


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.rglob("*") if path.is_file())


def test_a_file_arrives_whole_and_reports_progress(get, tmp_path):
    seen = []
    path = get(progress=lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == ["H1.json"]
    assert len(seen) > 1 and seen[-1] == ("H1.json", len(CONTENT), len(CONTENT))
    assert [step[1] for step in seen] == sorted(step[1] for step in seen)


def test_a_finished_download_is_never_fetched_again(get, server):
    get()
    get()
    assert server.requests == 1


def test_a_damaged_copy_on_disk_is_fetched_again(get, server):
    path = get()
    path.write_bytes(CONTENT[:-1] + b"?")
    assert get().read_bytes() == CONTENT
    assert server.requests == 2


def test_one_flipped_bit_is_noticed(get, server, tmp_path):
    server.files["/H1.json"] = CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:]
    got = hashlib.sha256(server.files["/H1.json"]).hexdigest()
    assert f"damaged: got SHA-256 {got}, expected {PINNED['sha256']}" in failure(get)
    assert left(tmp_path) == [] and server.requests == 1


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_a_file_of_another_size_is_refused_at_once(get, server, tmp_path, content):
    server.files["/H1.json"] = content
    assert f"got {len(content)} bytes, expected {len(CONTENT)}" in failure(get)
    assert left(tmp_path) == [] and server.requests == 1


def test_a_body_without_end_is_stopped(get, server, tmp_path):
    def endless(handler):
        handler.status(200)  # no Content-Length: the body lasts as long as the connection
        while True:
            handler.body(bytes(1 << 16))

    server.answers["/H1.json"] = [endless]
    assert f"got more than the expected {len(CONTENT)} bytes" in failure(get)
    assert left(tmp_path) == [] and server.requests == 1


def test_a_redirect_is_followed(get, server):
    server.answers["/old"] = [lambda handler: handler.status(302, Location="/H1.json")]
    assert get("/old").read_bytes() == CONTENT
    assert list(server.ranges) == ["/old", "/H1.json"]


def test_redirects_in_a_circle_end(get, server):
    server.answers["/a"] = [lambda handler: handler.status(302, Location="/b")] * 20
    server.answers["/b"] = [lambda handler: handler.status(302, Location="/a")] * 20
    assert "refused to follow the redirect to /" in failure(get, "/a")
    assert server.requests < 20


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
def test_redirects_to_elsewhere_are_refused(get, server, target):
    server.answers["/old"] = [lambda handler: handler.status(302, Location=target)]
    assert failure(get, "/old").endswith(f": refused to follow the redirect to {target}")
    assert server.requests == 1


def test_a_redirect_never_gives_up_encryption():
    request = urllib.request.Request("https://host/a")
    follow = _WebRedirects().redirect_request
    with pytest.raises(urllib.error.HTTPError, match="302"):
        follow(request, io.BytesIO(), 302, "Found", {}, "http://host/b")
    assert follow(request, io.BytesIO(), 302, "Found", {}, "https://host/b").type == "https"


@pytest.mark.parametrize("cut", [0, 1, 100_000, len(CONTENT) - 1])
def test_a_cut_connection_is_resumed(get, server, cut):
    server.answers["/H1.json"] = [lambda handler: handler.file(stop=cut)]
    assert get().read_bytes() == CONTENT
    assert server.ranges["/H1.json"] == [None, f"bytes={cut}-" if cut else None]
    assert server.sent["/H1.json"] == len(CONTENT)  # no byte twice


def test_a_resume_survives_a_redirect(get, server):
    redirect = lambda handler: handler.status(302, Location="/H1.json")  # noqa: E731
    server.answers["/old"] = [redirect, redirect]
    server.answers["/H1.json"] = [lambda handler: handler.file(stop=10)]
    assert get("/old").read_bytes() == CONTENT
    assert server.ranges["/H1.json"] == [None, "bytes=10-"]


def test_the_next_run_goes_on_where_the_last_one_stopped(get, server, tmp_path):
    server.answers["/H1.json"] = [
        lambda handler: handler.file(stop=500),
        lambda handler: handler.file(stop=700),
    ]
    assert f"the connection ended after 700 of {len(CONTENT)} bytes (attempts: 2)" in failure(
        get, attempts=2
    )
    assert left(tmp_path) == ["H1.json.partial"]
    assert get().read_bytes() == CONTENT
    assert server.ranges["/H1.json"] == [None, "bytes=500-", "bytes=700-"]
    assert left(tmp_path) == ["H1.json"]


def test_a_server_that_ignores_ranges_sends_the_file_anew(get, server):
    server.answers["/H1.json"] = [
        lambda handler: handler.file(stop=500),
        lambda handler: handler.file(ranges=False),
    ]
    assert get().read_bytes() == CONTENT
    assert server.requests == 2


def test_a_server_that_refuses_the_range_is_asked_for_the_whole(get, server):
    server.answers["/H1.json"] = [
        lambda handler: handler.file(stop=500),
        lambda handler: handler.status(416),
    ]
    assert get().read_bytes() == CONTENT
    assert server.ranges["/H1.json"] == [None, "bytes=500-", None]


@pytest.mark.parametrize("length", [500, len(CONTENT), len(CONTENT) + 1])
def test_a_foreign_partial_file_does_no_harm(get, tmp_path, length):
    partial = tmp_path / "upstream" / "H1.json.partial"
    partial.parent.mkdir()
    partial.write_bytes(b"?" * length)
    assert get().read_bytes() == CONTENT
    assert left(tmp_path) == ["H1.json"]


def test_a_missing_file_is_asked_for_once(get, server):
    assert failure(get, "/none").endswith("/none: the server answered 404 Not Found")
    assert server.requests == 1


def test_a_passing_server_error_is_tried_again(get, server):
    server.answers["/H1.json"] = [lambda handler: handler.status(500)]
    assert get().read_bytes() == CONTENT
    assert server.requests == 2


def test_a_lasting_server_error_is_reported(get, server):
    server.answers["/H1.json"] = [lambda handler: handler.status(503)] * 3
    assert "the server answered 503 Service Unavailable (attempts: 3)" in failure(get)
    assert server.requests == 3


def test_a_silent_server_is_given_up(get, server):
    server.answers["/H1.json"] = [lambda handler: server.closing.wait(5)]
    assert "no answer within 0.05 s (attempts: 1)" in failure(get, timeout=0.05, attempts=1)


def test_a_server_that_falls_silent_is_given_up(get, server):
    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.body(CONTENT[:100])
        server.closing.wait(5)

    server.answers["/H1.json"] = [stall]
    line = failure(get, timeout=0.1, attempts=1)
    # On a busy machine even the first byte may come too late.
    assert "timed out (attempts: 1)" in line or "no answer within 0.1 s" in line


def test_an_answer_that_is_not_http_is_reported(get, server):
    server.answers["/H1.json"] = [lambda handler: handler.body(b"220 ready\nto serve\n")]
    assert "the connection failed: " in failure(get, attempts=1)


def test_an_unreachable_host_is_reported(get, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/H1.json"

    def get_closed():
        return fetch(url, tmp_path / "H1.json", **PINNED, **QUICK)

    assert "cannot reach the server: Connection refused (attempts: 3)" in failure(get_closed)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://host/file",
        "data:,hello",
        "host/file",
        "",
        "http://",
        "http://[::1",
        "http://host:port/",
        "http://host/a b",
        "http://host/a\nb",
        "http://host/\N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_what_is_no_web_address_is_refused_before_anything_is_written(url, tmp_path):
    with pytest.raises(DownloadError, match="expected an address that begins with https://"):
        fetch(url, tmp_path / "new" / "file", **PINNED)
    assert list(tmp_path.iterdir()) == []


# read_url: small answers that nobody has pinned


@pytest.fixture
def read(server):
    def read_(path="/H1.json", **options) -> bytes:
        return read_url(server.url + path, **{"limit": len(CONTENT), **QUICK, **options})

    return read_


def test_an_answer_is_read_whole(read, server):
    server.answers["/old"] = [lambda handler: handler.status(302, Location="/H1.json")]
    assert read() == read("/old") == CONTENT


def test_an_empty_answer_is_an_answer(read, server):
    server.files["/empty"] = b""
    assert read("/empty") == b""


def test_what_is_not_there_has_an_error_of_its_own(read, server):
    with pytest.raises(NotFound, match="the server answered 404"):
        read("/else")
    server.answers["/H1.json"] = [lambda handler: handler.status(410)]
    with pytest.raises(DownloadError, match="410") as caught:
        read()
    assert not isinstance(caught.value, NotFound) and server.requests == 2


def test_a_passing_failure_of_an_answer_is_tried_again(read, server):
    cut = lambda handler: handler.file(stop=1000)  # noqa: E731
    server.answers["/H1.json"] = [lambda handler: handler.status(500), cut]
    assert read() == CONTENT
    assert server.ranges["/H1.json"] == [None] * 3
    server.answers["/H1.json"] = [cut] * 2
    line = failure(lambda: read(attempts=2))
    assert line.endswith(f"ended after 1000 of {len(CONTENT)} bytes (attempts: 2)")


def test_an_answer_is_not_longer_than_its_limit(read, server):
    line = failure(lambda: read(limit=len(CONTENT) - 1))
    assert line.endswith(f"got {len(CONTENT)} bytes, expected at most {len(CONTENT) - 1}")

    def endless(handler):
        handler.status(200)
        while True:
            handler.body(bytes(1 << 16))

    server.answers["/H1.json"] = [endless]
    assert f"got more than the {len(CONTENT)} bytes that are allowed" in failure(read)
    assert server.requests == 2


def test_an_answer_that_drips_is_given_up(read, server):
    def drip(handler):
        handler.status(200)
        while not server.closing.wait(0.05):
            handler.body(b"x")

    server.answers["/H1.json"] = [drip] * 2
    line = failure(lambda: read(timeout=0.3, attempts=2))
    assert line.endswith("no whole answer within 0.3 s (attempts: 2)")


def test_what_is_no_web_address_is_not_read():
    with pytest.raises(DownloadError, match="expected an address that begins with https://"):
        read_url("file:///etc/hostname", limit=10)
