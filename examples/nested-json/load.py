"""A nested JSON document of any size into three tables of PostgreSQL: one transaction, little memory."""

import os
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ijson
import psycopg

from headrace import Backoff, create_progress_artifact, flow, get_run_logger, task

ROWS = 5_000
"""So many rows are held in memory before they go to the database."""
TELL_EVERY = 10_000_000
"""Bytes from one line of the log to the next."""
Row = tuple[Any, ...]

TABLES = """
CREATE TABLE IF NOT EXISTS customers (id bigint PRIMARY KEY, name text, email text, country text);
CREATE TABLE IF NOT EXISTS orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, placed timestamptz);
CREATE TABLE IF NOT EXISTS lines (
  order_id bigint REFERENCES orders, place int, sku text, product text, quantity int NOT NULL, cents bigint NOT NULL,
  PRIMARY KEY (order_id, place));
"""
STAGING = """
CREATE TEMP TABLE new_customers (LIKE customers) ON COMMIT DROP;
CREATE TEMP TABLE new_orders (LIKE orders) ON COMMIT DROP;
CREATE TEMP TABLE new_lines (LIKE lines) ON COMMIT DROP;
"""
FOUND = """
SELECT (SELECT count(*) FROM new_orders), count(*), coalesce(sum(quantity * cents), 0)::bigint,
  coalesce(sum(order_id * place * quantity * cents % 1000003), 0)::bigint FROM new_lines
"""
MERGE = """
ANALYZE new_orders;
ANALYZE new_lines;
INSERT INTO customers SELECT DISTINCT ON (id) * FROM new_customers ORDER BY id
  ON CONFLICT (id) DO UPDATE SET (name, email, country) = (excluded.name, excluded.email, excluded.country);
INSERT INTO orders SELECT * FROM new_orders
  ON CONFLICT (id) DO UPDATE SET (customer_id, placed) = (excluded.customer_id, excluded.placed);
DELETE FROM lines USING new_orders WHERE order_id = id
  AND NOT EXISTS (SELECT FROM new_lines new WHERE new.order_id = lines.order_id AND new.place = lines.place);
INSERT INTO lines AS old SELECT * FROM new_lines ON CONFLICT (order_id, place) DO UPDATE
  SET (sku, product, quantity, cents) = (excluded.sku, excluded.product, excluded.quantity, excluded.cents)
  WHERE (old.sku, old.product, old.quantity, old.cents)
    IS DISTINCT FROM (excluded.sku, excluded.product, excluded.quantity, excluded.cents);
"""
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('nested-json'))"
"""Two attempts that meet, such as one that was cut off and is still there, wait for each other here."""


class Document:
    """A file or a URL, read little by little; its `size` in bytes is 0 if nobody says it."""

    def __init__(self, source: str) -> None:
        if "://" in source:
            self._file = urllib.request.urlopen(source, timeout=60)
            self.size = int(self._file.headers["Content-Length"] or 0)
        else:
            self._file = Path(source).open("rb")  # noqa: SIM115 - close() closes it
            self.size = Path(source).stat().st_size
        self.read_so_far = 0
        self.close = self._file.close

    def read(self, size: int) -> bytes:
        """The next bytes, at most so many."""
        data: bytes = self._file.read(size)
        self.read_so_far += len(data)
        return data


@task
def read_totals(source: str) -> dict[str, int]:
    """What the document says that it holds. It says so at its beginning: the rest is not read."""
    with closing(Document(source)) as document:
        totals: dict[str, int] = next(ijson.items(document, "totals"))
    return totals


@task
def create_tables() -> None:
    """They are there."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute(ONE_AT_A_TIME)
        connection.execute(TABLES)


@task(retries=2, retry_delay_seconds=Backoff(5), retry_if=(psycopg.OperationalError, OSError))
def load(source: str, totals: dict[str, int]) -> None:
    """
    All of the document is in the tables, in place of what they had of its orders; or nothing has changed.

    Raises: ValueError: it does not hold what it says.
    """
    with closing(Document(source)) as document, psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute(STAGING)
        told = 0
        for batch in batches(ijson.items(document, "orders.item", use_float=True)):
            for table, rows in batch.items():
                copy(connection, table, rows)
            if document.read_so_far >= told + TELL_EVERY:
                told = document.read_so_far
                tell(document)
        check(connection, totals)
        connection.execute(ONE_AT_A_TIME)
        connection.execute(MERGE)
    create_progress_artifact(100, "load", "all of it is in the tables")


def batches(orders: Iterable[dict[str, Any]]) -> Iterator[dict[str, list[Row]]]:
    """Rows by table, some thousand at a time."""
    batch: dict[str, list[Row]] = {"new_customers": [], "new_orders": [], "new_lines": []}
    for order in orders:
        number, customer = order["id"], order["customer"]
        batch["new_customers"].append(
            (customer["id"], customer["name"], customer["email"], customer["address"]["country"])
        )
        batch["new_orders"].append((number, customer["id"], order["placed"]))
        for place, line in enumerate(order["lines"], 1):
            product = line["product"]
            batch["new_lines"].append((number, place, product["sku"], product["name"], line["quantity"], line["cents"]))
        if len(batch["new_lines"]) >= ROWS:
            yield batch
            batch = {table: [] for table in batch}
    yield batch


def copy(connection: psycopg.Connection, table: str, rows: list[Row]) -> None:
    """Puts rows into a table of this transaction."""
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as into:
        for row in rows:
            into.write_row(row)


def check(connection: psycopg.Connection, totals: dict[str, int]) -> None:
    """Raises: ValueError: the tables of this transaction hold something else than these totals."""
    found = dict(zip(("orders", "lines", "cents", "checksum"), connection.execute(FOUND).fetchone() or (), strict=True))
    if found != totals:
        raise ValueError(f"the document holds {found}, and says that it holds {totals}: nothing was loaded")


def tell(document: Document) -> None:
    """How far it has come, as a line of the log and in the status of the run."""
    megabytes, of = document.read_so_far // 10**6, document.size // 10**6
    get_run_logger().info("%d of %d MB read", megabytes, of, extra={"megabytes": megabytes, "of_megabytes": of})
    if document.size:
        create_progress_artifact(100 * document.read_so_far // document.size, "load", f"{megabytes} of {of} MB read")


@flow
def main(source: str = "orders.json") -> dict[str, int]:
    """
    Loads an export of orders into the database of DATABASE_URL. Loading it again changes nothing.

    Args:
        source: A file or a URL.
    """
    totals = read_totals(source)
    create_tables()
    load(source, totals)
    return totals


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
