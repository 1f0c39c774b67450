"""
A bucket on the loopback: S3 as moto serves it, and the XML API of Google Cloud Storage, which is S3 in other words.

Run by an interpreter that has moto: `python bucket_server.py s3|gs PORT`. No emulator of Google Cloud Storage in the
registries has that API with its conditions, which is what clients write through, so its headers are translated here:
a generation stands for an ETag. Writes come one after the other, as moto looks and writes in two steps, where both stores
do it in one.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

WRITES = {"PUT", "POST", "DELETE"}
ANY_GENERATION = "0"
"""The condition that nothing is there."""

SIGNED = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""Moto checks who asks, and not whether it is true."""


class Bucket:
    """The application: moto, one write at a time."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._writing = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in WRITES:
            return self._moto(environ, start_response)
        with self._writing:
            return list(self._moto(environ, start_response))


class Google:
    """The same with the headers of Google Cloud Storage."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._etags: dict[str, str] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["HTTP_AUTHORIZATION"] = SIGNED  # Google's clients give a token
        generation = environ.pop("HTTP_X_GOOG_IF_GENERATION_MATCH", None)
        if generation == ANY_GENERATION:
            environ["HTTP_IF_NONE_MATCH"] = "*"
        elif generation:
            environ["HTTP_IF_MATCH"] = self._etags.get(generation, '"none"')

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            etag = next((value for name, value in headers if name.lower() == "etag"), '"0"')
            made = str(int(etag.strip('"').partition("-")[0][:14] or "0", 16) + 1)
            self._etags[made] = etag
            return start_response(status, [*headers, ("x-goog-generation", made)], *more)

        return self._bucket(environ, start)


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    kind, port = sys.argv[1:]
    run_simple("127.0.0.1", int(port), Google(Bucket()) if kind == "gs" else Bucket(), threaded=True)
