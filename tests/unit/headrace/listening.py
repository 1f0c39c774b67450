"""HTTP servers on the loopback that keep what is sent to them, and answer as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Listener:
    """A server, and the requests that it got."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def events(self) -> list[dict[str, Any]]:
        """The bodies, as JSON."""
        return [json.loads(body) for body in self.bodies]

    def spans(self) -> dict[str, Any]:
        """The spans in the bodies, as OTLP, by name; of those with one name the last."""
        return {span.name: span for span in self.all_spans()}

    def all_spans(self) -> list[Any]:
        """In the order in which they came."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, number: int, timeout_s: float = 20) -> None:
        """Returns when so many requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.bodies) >= number, timeout_s), f"{len(self.bodies)} came"


@contextmanager
def listening(answer: Callable[[int], int] = lambda _number: 200) -> Iterator[Listener]:
    """A server for the block. `answer` says the status by the number of the request, from 1; it may take its time."""
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with listener.came:
                listener.bodies.append(body)
                listener.paths.append(self.path)
                listener.headers.append({name.lower(): value for name, value in self.headers.items()})
                number = len(listener.bodies)
                listener.came.notify_all()
            status = answer(number)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    listener.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
