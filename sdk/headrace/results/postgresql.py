"""PostgreSQL, through psycopg."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult

import psycopg

ROW_BYTES: Final = 4 << 20
"""A row may hold 1 GB; smaller ones keep large objects out of memory."""
CONNECT_TIMEOUT_S: Final = 10
SILENCE_MS: Final = 60_000
"""After which a network that takes nothing more counts as gone."""
TABLE_LOCK: Final = 4_873_001_155_309_842
"""Of those who make the table at once, one does: `if not exists` alone lets both try."""


class PostgreSQL:
    """As promised by Dialect."""

    time = "to_timestamp(%s)"
    upsert = (
        "on conflict (name, part) do update set parts = excluded.parts, token = excluded.token, data = excluded.data, "
        "created = excluded.created, expires = excluded.expires"
    )
    keep = "on conflict do nothing"
    snapshot: tuple[str, ...] = ("set transaction isolation level repeatable read read only",)
    schema: tuple[str, ...] = (
        f"select pg_advisory_xact_lock({TABLE_LOCK})",
        """
        create table if not exists headrace_results (
          name text collate "C" not null,
          part integer not null,
          parts integer not null,
          token text not null,
          data bytea not null,
          created timestamptz not null,
          expires timestamptz,
          primary key (name, part)
        )
        """,
        "alter table headrace_results alter column data set storage external",  # it is compressed already, or would not pay
        "create index if not exists headrace_results_expires on headrace_results (expires) where expires is not null",
    )

    @property
    def error(self) -> type[Exception]:
        """What its driver raises."""
        return psycopg.Error

    def connect(self, url: SplitResult, password: str) -> Any:
        """A connection, by what the URL, the environment (PGPASSWORD, PGSSLMODE, …) and their defaults say."""
        who, at, host = url.netloc.rpartition("@")
        named = url._replace(scheme="postgresql", netloc=f"{who.partition(':')[0]}{at}{host}").geturl()
        # Prepared statements would tie the process to one session, which poolers do not give.
        given: dict[str, Any] = {"prepare_threshold": None, **({"password": password} if password else {})}
        if "connect_timeout" not in url.query:
            given["connect_timeout"] = CONNECT_TIMEOUT_S
        if "tcp_user_timeout" not in url.query:
            given["tcp_user_timeout"] = SILENCE_MS
        return psycopg.connect(named, **given)

    def cursor(self, connection: Any) -> Any:
        """As promised by Dialect: in the binary protocol, as bytes in hexadecimal digits would take twice the memory."""
        return connection.cursor(binary=True)

    def name(self, name: str) -> Any:
        """As promised by Dialect."""
        return name

    def ready(self, cursor: Any) -> int:  # noqa: ARG002 - of the protocol
        """As promised by Dialect: nothing is to be set up."""
        return ROW_BYTES

    def is_lost(self, error: Exception) -> bool:
        """As promised by Dialect: of class 08, ended by an administrator, or without any word from the server."""
        if isinstance(error, psycopg.InterfaceError):
            return True
        state = getattr(error, "sqlstate", None)
        if state is None:
            return isinstance(error, psycopg.OperationalError)
        return bool(state.startswith("08") or state in {"57P01", "57P02", "57P03"})

    def is_deadlock(self, error: Exception) -> bool:
        """As promised by Dialect."""
        return getattr(error, "sqlstate", None) in {"40P01", "40001"}

    def is_no_table(self, error: Exception) -> bool:
        """As promised by Dialect."""
        return isinstance(error, psycopg.errors.UndefinedTable)
