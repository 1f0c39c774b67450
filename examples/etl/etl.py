"""The orders of one day: from an HTTP API, made uniform, into a database."""

import json
import os
import sqlite3
import urllib.request
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from headrace import Backoff, flow, get_run_logger, runtime, task

TABLE = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, day TEXT, customer TEXT, cents INTEGER)"
UPSERT = (
    "INSERT INTO orders (id, day, customer, cents) VALUES (?, ?, ?, ?) ON CONFLICT (id) "
    "DO UPDATE SET day = excluded.day, customer = excluded.customer, cents = excluded.cents"
)


@task(retries=3, retry_delay_seconds=Backoff(1), timeout_seconds=30)
def extract(api: str, day: date) -> list[dict[str, Any]]:
    """The day's orders as the API has them. It is busy now and then, hence the retries."""
    with urllib.request.urlopen(f"{api}/orders?day={day}", timeout=10) as answer:
        orders: list[dict[str, Any]] = json.load(answer)
    return orders


@task
def transform(orders: list[dict[str, Any]], day: date) -> list[tuple[int, str, str, int]]:
    """One row for each order that was not cancelled, its amount in cents."""
    kept = [order for order in orders if order["status"] != "cancelled"]
    get_run_logger().info("%d of %d orders kept", len(kept), len(orders), extra={"kept": len(kept)})
    return [(order["id"], day.isoformat(), order["customer"], int(Decimal(order["amount"]) * 100)) for order in kept]


@task(retries=2, retry_delay_seconds=5)
def load(rows: list[tuple[int, str, str, int]], file: str) -> int:
    """The number of rows written. An order that is there already is overwritten, so a second run doubles nothing."""
    url = os.environ.get("DATABASE_URL", "")
    connection, sql = connect(url) if url else (sqlite3.connect(file), UPSERT)
    try:
        cursor = connection.cursor()
        cursor.execute(TABLE)
        cursor.executemany(sql, rows)
        connection.commit()
    finally:
        connection.close()
    return len(rows)


def connect(url: str) -> tuple[Any, str]:
    """A connection to PostgreSQL, and the statement in its words. Needs psycopg in the image."""
    import psycopg  # who loads into SQLite does not need it

    return psycopg.connect(url), UPSERT.replace("?", "%s")


@flow
def main(api: str = "http://127.0.0.1:8765", file: str = "orders.db", day: date | None = None) -> dict[str, Any]:
    """
    Loads the orders of a day.

    Args:
        file: Of the SQLite database; DATABASE_URL, a PostgreSQL URL in the environment, goes before it.
        day: Absent: the day before the scheduled time, or before today.
    """
    chosen = day or ((runtime.flow_run.scheduled_time or datetime.now(UTC)) - timedelta(days=1)).date()
    orders = extract(api, chosen)
    loaded = load(transform(orders, chosen), file)
    return {"day": chosen.isoformat(), "loaded": loaded, "left_out": len(orders) - loaded}


if __name__ == "__main__":
    print(main())
