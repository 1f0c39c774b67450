"""
A shop's export for the example: `python make_orders.py orders.json --megabytes 100` writes the same file each time.

    {"totals": {…}, "orders": [{"id", "placed", "customer": {…}, "lines": [{"product": {…}, "quantity", "cents"}, …]}, …]}

Most orders have a few lines, every hundredth has thousands. The totals are what whoever reads it must find.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

COUNTRIES = ("DE", "FR", "GB", "IN", "JP", "KE", "PT", "US")
COLOURS = ("amber", "black", "crimson", "green", "indigo", "white")
CUSTOMERS = 20_000
PRODUCTS = 5_000
LARGE_EVERY, LARGE_LINES = 100, 3_000
MOST_LINES = 30
CHECKED_BY = 1_000_003
"""The checksum of a line is order x place x quantity x cents modulo this."""


Totals = dict[str, int]


def orders() -> Iterator[tuple[str, Totals]]:
    """JSON of one order after the other, without end, and what it adds to the totals."""
    for number in count(1):
        dice = number * 2_654_435_761 % 2**32
        size = LARGE_LINES if number % LARGE_EVERY == 0 else 1 + dice % MOST_LINES
        customer = dice % CUSTOMERS
        lines = []
        totals = {"orders": 1, "lines": size, "cents": 0, "checksum": 0}
        for place in range(1, size + 1):
            product = (dice + place * 7_919) % PRODUCTS
            quantity, cents = 1 + (dice + place) % 5, 99 + product * 17 % 20_000
            totals["cents"] += quantity * cents
            totals["checksum"] += number * place * quantity * cents % CHECKED_BY
            colour = COLOURS[product % len(COLOURS)]
            lines.append(
                f'{{"product": {{"sku": "P-{product:06}", "name": "Kettle No. {product}, {colour}"}}, '
                f'"quantity": {quantity}, "cents": {cents}}}'
            )
        order = (
            f'{{"id": {number}, "placed": "2026-{1 + dice % 12:02}-{1 + dice % 28:02}T{dice % 24:02}:30:00Z", '
            f'"customer": {{"id": {customer}, "name": "Customer {customer}", "email": "c{customer}@example.org", '
            f'"address": {{"city": "City {customer % 97}", "country": "{COUNTRIES[customer % len(COUNTRIES)]}"}}}}, '
            f'"lines": [{", ".join(lines)}]}}'
        )
        yield order, totals


def write(path: Path, megabytes: float) -> Totals:
    """Writes a document of about that size (10^6 bytes), order by order. Returns its totals."""
    chosen, totals = measured(megabytes * 1_000_000)
    with path.open("w", encoding="ascii", buffering=1 << 20) as file:
        file.write(f'{{"shop": "kettles", "totals": {json.dumps(totals)}, "orders": [')
        for place, (order, _) in enumerate(islice(orders(), chosen)):
            file.write(f",\n{order}" if place else f"\n{order}")
        file.write("\n]}\n")
    return totals


def measured(size: float) -> tuple[int, Totals]:
    """How many orders have so many bytes, and the totals of these."""
    totals: Counter[str] = Counter()
    for order, its in orders():
        if size <= 0:
            break
        size -= len(order)
        totals.update(its)
    return totals["orders"], dict(totals)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes the export of a shop.")
    parser.add_argument("path", type=Path, help="the file to write")
    parser.add_argument("--megabytes", type=float, default=100, help="its size (default: 100)")
    asked = parser.parse_args()
    print(write(asked.path, asked.megabytes))
