"""
100 MB of nested JSON into PostgreSQL: `python -m bench nested-json`.

The example's flow beside what one writes first: `json.load()` and `executemany()`. Each loads the same document into an
empty database, in a process of its own; the figures are its wall time, and the most memory that it had (resident).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from bench.figures import Figure, tell

FOLDER = Path(__file__).parents[1] / "examples" / "nested-json"
MEGABYTES = 100
LIMIT_MIB = 80
"""As in the example's manifest: more, and the pod is killed."""
WAYS = ("streaming", "naive")


class Figures(NamedTuple):
    """Of one process."""

    seconds: float
    peak_mib: float


def main() -> int:
    """Prints the figures. Returns 1 if the flow takes more memory than its pod may."""
    from tests.unit.examples.postgres import running_postgres  # noqa: PLC0415 - not in the processes that are measured

    with tempfile.TemporaryDirectory() as folder, running_postgres() as url:
        document = Path(folder, "orders.json")
        subprocess.run([sys.executable, FOLDER / "make_orders.py", document, "--megabytes", str(MEGABYTES)], check=True)
        seen = {way: _measured(way, document, url) for way in WAYS}
    for way, figures in seen.items():
        speed = MEGABYTES / figures.seconds
        print(f"{way:<10} {figures.seconds:6.1f} s, {speed:5.1f} MB/s, {figures.peak_mib:6.0f} MiB at most")
    streaming, naive = (seen[way] for way in WAYS)
    times, share = naive.seconds / streaming.seconds, naive.peak_mib / streaming.peak_mib
    print(f"streaming takes {times:.1f} times less time and {share:.0f} times less memory")
    return tell(Figure(f"memory for {MEGABYTES} MB of nested JSON", streaming.peak_mib, "MiB", LIMIT_MIB))


def _measured(way: str, document: Path, url: str) -> Figures:
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS lines, orders, customers")
    began_s = time.perf_counter()
    environment = {**os.environ, "DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "bench.nested_json", way, document], check=True, env=environment, stdout=subprocess.PIPE
    )
    return Figures(time.perf_counter() - began_s, json.loads(done.stdout))


def stream(document: str) -> None:
    """The example."""
    _example().main(document)


def load_all(document: str) -> None:
    """What one writes first. The whole document is in memory, and each row is a statement."""
    with open(document, "rb") as file:  # noqa: PTH123 - as one writes it first
        orders: list[dict[str, Any]] = json.load(file)["orders"]
    customers = {order["customer"]["id"]: order["customer"] for order in orders}
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(_example().TABLES)
        cursor.executemany(
            "INSERT INTO customers VALUES (%s, %s, %s, %s)",
            [(each["id"], each["name"], each["email"], each["address"]["country"]) for each in customers.values()],
        )
        cursor.executemany(
            "INSERT INTO orders VALUES (%s, %s, %s)",
            [(order["id"], order["customer"]["id"], order["placed"]) for order in orders],
        )
        cursor.executemany(
            "INSERT INTO lines VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (order["id"], place, line["product"]["sku"], line["product"]["name"], line["quantity"], line["cents"])
                for order in orders
                for place, line in enumerate(order["lines"], 1)
            ],
        )


def _example() -> Any:
    sys.path.insert(0, str(FOLDER))
    import load  # type: ignore[import-not-found]  # noqa: PLC0415 - it is no module of ours

    return load


def peak_mib() -> float:
    """The most memory that this process had. Not ru_maxrss, in which a new process inherits that of its parent."""
    (line,) = re.findall(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(line) / 1024


if __name__ == "__main__":
    {"streaming": stream, "naive": load_all}[sys.argv[1]](sys.argv[2])
    print(peak_mib())
