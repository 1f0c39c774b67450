"""A PostgreSQL for as long as a block, by its URL alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from tests.storages.servers import PASSWORD, postgresql


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a new server, password included. Raises: Missing: it is not installed."""
    with postgresql() as served:
        yield served.url.replace("@", f":{quote(PASSWORD, safe='')}@", 1)
