"""A real HTTP server that takes events, and answers as the test says."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Listening:
    """Attributes: `url`; `taken` the events, `headers` of each request; `answers` the next statuses, then 204."""

    def __init__(self, server):
        self.url = f"http://127.0.0.1:{server.server_port}/events"
        self.taken = []
        self.headers = []
        self.answers = []
        self.asked = 0
        self.arrived = threading.Semaphore(0)
        """Is released by each event that was taken."""


@contextmanager
def listening():
    """The server, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.asked += 1
            status = heard.answers.pop(0) if heard.answers else 204
            if status < 300:
                heard.taken.append(body)
                heard.headers.append(dict(self.headers))
                heard.arrived.release()
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Nothing: pytest shows enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard = Listening(server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
