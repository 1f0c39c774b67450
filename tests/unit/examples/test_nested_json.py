"""The example nested-json: all or nothing, exactly once, and never more memory than its pod may have."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.storages.servers import Missing
from tests.unit.examples.postgres import running_postgres

FOLDER = Path(__file__).parents[3] / "examples" / "nested-json"
FOUND = (
    "SELECT (SELECT count(*) FROM orders), count(*), sum(quantity * cents)::bigint, "
    "sum(order_id * place * quantity * cents % 1000003)::bigint FROM lines"
)
AND_THEN_TELLS_ITS_MEMORY = """
import runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
with open("/proc/self/status") as status:
    print(status.read())
"""

pytestmark = pytest.mark.xdist_group("postgres")  # it is started once


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(running_postgres())
        except Missing as missing:
            pytest.skip(str(missing))
        yield url


@pytest.fixture
def database(server: str) -> str:
    """The same, without tables."""
    with psycopg.connect(server) as connection:
        connection.execute("DROP TABLE IF EXISTS lines, orders, customers")
    return server


@pytest.fixture
def document(tmp_path):
    """`document(megabytes=1)`: a generated document and its totals, as the tables must have them."""

    def made(*, megabytes):
        path = tmp_path / "orders.json"
        command = [sys.executable, FOLDER / "make_orders.py", path, "--megabytes", str(megabytes)]
        subprocess.run(command, check=True, capture_output=True)
        (beginning, *_) = path.read_text().splitlines()
        return path, tuple(json.loads(re.search(r"\{[^{]*?\}", beginning)[0]).values())

    return made


def loading(source, database, *before):
    """The flow, as it runs in a shell."""
    environment = {**os.environ, "DATABASE_URL": database}
    pipe = subprocess.PIPE
    command = [sys.executable, *before, FOLDER / "load.py", str(source)]
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def load(source, database):
    """Its exit status, and its log."""
    process = loading(source, database)
    _, log = process.communicate(timeout=100)
    return process.returncode, log


def rows(database, query=FOUND):
    """The one row of the answer."""
    with psycopg.connect(database) as connection:
        return connection.execute(query).fetchone()


def test_100_mb_take_no_more_memory_than_the_pod_may_have(document, database):
    """With Python and the database driver; the manifest says how much that is."""
    flow = yaml.safe_load((FOLDER / "nested-json.yaml").read_text())
    limit_mib = int(flow["spec"]["resources"]["limits"]["memory"].removesuffix("Mi"))
    path, totals = document(megabytes=100)
    process = loading(path, database, "-c", AND_THEN_TELLS_ITS_MEMORY)
    out, log = process.communicate(timeout=250)
    assert process.returncode == 0, log
    assert len(re.findall(r"load-0 +\d+ of 100 MB read", log)) == 9
    assert int(re.search(r"VmHWM:\s+(\d+) kB", out)[1]) / 1024 < limit_mib
    assert rows(database) == totals


class HalfWay(BaseHTTPRequestHandler):
    """Sends the first half of the document, and the rest when `go_on` is set."""

    def __init__(self, data: bytes, go_on: threading.Event, *rest: Any) -> None:
        self.data, self.go_on = data, go_on
        super().__init__(*rest)

    def do_GET(self) -> None:
        """Answers."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        half = len(self.data) // 2
        with suppress(OSError):  # who asked has read enough, or is gone
            self.wfile.write(self.data[:half])
            self.go_on.wait()
            self.wfile.write(self.data[half:])

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def slow_server(document):
    """`url, totals, go_on`: the document by HTTP; it stops half-way until `go_on` is set."""
    path, totals = document(megabytes=4)
    go_on = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(HalfWay, path.read_bytes(), go_on)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/orders.json", totals, go_on
        go_on.set()
        server.shutdown()
        thread.join()


def test_a_process_that_is_killed_in_the_middle_leaves_nothing_and_the_next_loads_all(slow_server, database):
    """Exactly once: the counts and sums are those of the document."""
    url, totals, go_on = slow_server
    process = loading(url, database)
    in_the_middle = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'COPY new_lines%'"
    )
    while rows(database, in_the_middle) != (1,):
        assert process.poll() is None
        go_on.wait(0.01)
    process.kill()
    process.communicate()
    assert rows(database) == (0, 0, None, None)
    go_on.set()
    for _ in range(2):
        status, log = load(url, database)
        assert status == 0, log
        assert rows(database) == totals


def test_what_a_document_does_not_hold_as_it_says_is_not_loaded(document, database):
    """Whoever wrote it lost something."""
    path, _ = document(megabytes=0.2)
    path.write_text(path.read_text().replace('"quantity": 3', '"quantity": 2', 1))
    status, log = load(path, database)
    assert status == 1
    assert "ValueError: the document holds {" in log
    assert rows(database) == (0, 0, None, None)


def test_a_document_that_ends_early_is_not_loaded(document, database):
    """As after a connection that was lost."""
    path, _ = document(megabytes=0.2)
    path.write_bytes(path.read_bytes()[:-1000])
    status, log = load(path, database)
    assert status == 1
    assert "IncompleteJSONError" in log
    assert rows(database) == (0, 0, None, None)


def test_a_corrected_document_replaces_its_orders(database, tmp_path):
    """Lines that are not there any more go; those of other orders stay."""

    def order(number, *lines):
        return {
            "id": number,
            "placed": "2026-02-03T04:05:06Z",
            "customer": {"id": 7, "name": f"As of {number}", "email": "a@example.org", "address": {"country": "PT"}},
            "lines": [{"product": {"sku": "P", "name": "Kettle"}, "quantity": each, "cents": 10} for each in lines],
        }

    def export(*orders):
        quantities = [
            (each["id"], place, line["quantity"]) for each in orders for place, line in enumerate(each["lines"], 1)
        ]
        totals = {
            "orders": len(orders),
            "lines": len(quantities),
            "cents": sum(10 * quantity for _, _, quantity in quantities),
            "checksum": sum(10 * number * place * quantity for number, place, quantity in quantities),
        }
        path = tmp_path / "orders.json"
        path.write_text(json.dumps({"totals": totals, "orders": orders}))
        return path

    assert load(export(order(1, 5), order(2, 1, 2, 3)), database)[0] == 0
    assert load(export(order(2, 1, 9)), database)[0] == 0
    lines = rows(
        database, "SELECT json_agg(json_build_array(order_id, place, quantity) ORDER BY order_id, place) FROM lines"
    )
    assert lines == ([[1, 1, 5], [2, 1, 1], [2, 2, 9]],)
    assert rows(database, "SELECT count(*), max(name) FROM customers") == (1, "As of 2")
