"""
A shop's API for the example: `python stub_api.py --port 8765` answers GET /orders?day=2026-01-31.

Of three requests it refuses the first two with 503, so that there is something to retry.
"""

from __future__ import annotations

import argparse
import json
import random
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

CUSTOMERS = ("Ada", "Blaise", "Grace", "Linus", "Mary")
ORDERS_A_DAY = 8
ANSWERS_EVERY = 3


class Shop(BaseHTTPRequestHandler):
    """Answers one request."""

    requests: ClassVar[count[int]] = count(1)

    def do_GET(self) -> None:
        """The orders of a day, at every third request."""
        asked = urlsplit(self.path)
        day = parse_qs(asked.query).get("day", [""])[0]
        if asked.path != "/orders" or not day:
            self.send_error(HTTPStatus.NOT_FOUND, "ask for /orders?day=YYYY-MM-DD")
        elif next(self.requests) % ANSWERS_EVERY:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self.answer(json.dumps(orders(day)).encode())

    def answer(self, body: bytes) -> None:
        """Sends JSON."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def orders(day: str) -> list[dict[str, object]]:
    """The same orders for the same day, whenever they are asked for; amounts are text with two decimals."""
    dice = random.Random(day)
    first = int(day.replace("-", "")) * 100
    return [
        {
            "id": first + number,
            "customer": dice.choice(CUSTOMERS),
            "amount": f"{dice.randint(100, 99_999) / 100:.2f}",
            "status": "cancelled" if number % 4 == 0 else "paid",
        }
        for number in range(1, ORDERS_A_DAY + 1)
    ]


def main() -> None:
    """Serves on loopback until it is stopped; the first line of output is the URL."""
    parser = argparse.ArgumentParser(description="A shop's API for the ETL example.")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: 8765)")
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Shop)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
