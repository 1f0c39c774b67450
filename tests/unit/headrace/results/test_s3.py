"""Results in S3, over its real client, against a bucket on the loopback."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headrace import NoSuchResult, ResultsError
from headrace.results import Storage, open_storage

pytest.importorskip("obstore")


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as is used; a key with "forbidden" in it is refused."""

    protocol_version = "HTTP/1.1"
    held: dict[str, bytes]

    def do_PUT(self) -> None:
        if "forbidden" in self.path:
            self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            self.held[self.path] = self.body()
            self.answer(200)

    def do_GET(self) -> None:
        found = self.held.get(self.path)
        self.answer(404 if found is None else 200, found or b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        keys = re.findall(r"<Key>(.*?)</Key>", self.body().decode())
        for key in keys:
            self.held.pop(f"/bucket/{key}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.send_header("etag", '"1"')
        self.send_header("last-modified", "Wed, 21 Oct 2026 07:28:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: a test that fails shows what matters."""


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Below a prefix of the bucket; credentials from the environment, as in a pod."""
    Bucket.held = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    yield open_storage("s3://bucket/prefix/run")
    server.shutdown()
    thread.join()
    server.server_close()


def test_objects_are_below_the_prefix(storage: Storage) -> None:
    """Put, read, looked for and taken away."""
    assert not storage.exists("output")
    storage.put("output", b"one")
    assert Bucket.held == {"/bucket/prefix/run/output": b"one"}
    assert (storage.exists("output"), storage.get("output")) == (True, b"one")
    storage.delete("output")
    assert not storage.exists("output")


def test_what_is_not_there_is_told(storage: Storage) -> None:
    """With URL and key."""
    with pytest.raises(NoSuchResult, match='"s3://bucket/prefix/run", "output"'):
        storage.get("output")


def test_what_the_store_refuses_is_told(storage: Storage) -> None:
    """In one line: its whole answer is not for a log."""
    with pytest.raises(ResultsError, match='"forbidden"') as caught:
        storage.put("forbidden", b"one")
    assert not isinstance(caught.value, NoSuchResult)
    assert len(str(caught.value).splitlines()) == 1
