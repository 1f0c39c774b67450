"""A history store in PostgreSQL, through psycopg."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
from psycopg.rows import dict_row

from headrace.errors import UsageError
from headrace.history.records import Record
from headrace.history.schema import COLUMNS, TABLE
from headrace.results.places import password_of, without_password
from headrace.secrecy.redaction import SECRETS

PASSWORD_ENV: Final = "HEADRACE_HISTORY_PASSWORD"  # noqa: S105 - where it is, not what
CONNECT_TIMEOUT_S: Final = 5
SILENCE_MS: Final = 20_000
"""After which a network that takes nothing more counts as gone."""
ALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""Seconds, seconds, number: a server that has taken a statement and then lost its power is found out after half a minute, not two hours."""
STATEMENT_TIMEOUT_S: Final = 20
MIGRATION_LOCK: Final = 4_873_001_155_309_843
INSERT: Final = (
    f"insert into {TABLE} ({', '.join(COLUMNS)}) select {', '.join(COLUMNS)} "  # noqa: S608 - constants
    f"from json_populate_recordset(null::{TABLE}, %s::json) on conflict (uid) do nothing"
)
"""A batch is one parameter: the server takes it apart, which costs this process next to nothing."""
TOO_LARGE: Final = "54000"
"""SQLSTATE: a value is larger than the database holds."""


class PostgreSQL:
    """As promised by Dialect. Raises: UsageError: the URL names no database."""

    error: type[Exception] = psycopg.Error
    types: Mapping[str, str] = {"time": "timestamptz", "json": "jsonb", "now": "now()"}
    # Not to_regclass(): it may answer from a cache of the session, which knows nothing of a table that was made while it waited.
    has_table = "select 1 from pg_tables where tablename = %s and schemaname = any(current_schemas(false))"
    lock: str | None = f"select pg_advisory_xact_lock({MIGRATION_LOCK})"

    def __init__(self, url: str, *, is_reader: bool) -> None:
        self.shown = without_password(url)
        self._url = urlsplit(url)
        self._is_reader = is_reader
        if not self._url.path.strip("/"):
            raise UsageError(f'history URL "{self.shown}" names no database; write postgresql://user@host/database')

    def connect(self) -> Any:
        """As promised by Dialect; PGSSLMODE and its like count too."""
        password = self._password()
        if password:
            SECRETS.add(password)
        who, at, host = self._url.netloc.rpartition("@")
        # Not geturl(), which leaves the slashes out where there is no host, as in postgresql:///headrace?host=/run/postgresql.
        named = f"postgresql://{who.partition(':')[0]}{at}{host}{self._url.path}?{self._url.query}"
        # Prepared statements would tie the process to one session, which poolers do not give.
        given: dict[str, Any] = {"prepare_threshold": None, "row_factory": dict_row}
        # Whatever the database's own encoding, it is the server that finds out what does not go into it: its refusal is of one record.
        given["client_encoding"] = "utf8"
        usual = {"connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": SILENCE_MS, "application_name": "headrace"}
        given.update({name: value for name, value in (usual | ALIVE).items() if name not in self._url.query})
        if password:
            given["password"] = password
        connection = psycopg.connect(named, **given)
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, connection: Any) -> Any:
        """As promised by Dialect."""
        return connection.cursor()

    def is_stale(self, connection: Any) -> bool:
        """As promised by Dialect."""
        return bool(connection.closed)

    def insert(self, cursor: Any, records: Sequence[Record]) -> None:
        """As promised by Dialect."""
        batch = b"[%s]" % b",".join(record.document for record in records)
        cursor.execute(INSERT, (batch.decode(),))

    def known(self, cursor: Any, uids: Sequence[str]) -> list[str]:
        """As promised by Dialect."""
        cursor.execute(f"select uid from {TABLE} where uid = any(%s)", (list(uids),))  # noqa: S608 - constants
        return [row["uid"] for row in cursor.fetchall()]

    def is_refusal(self, error: Exception) -> bool:
        """As promised by Dialect."""
        if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)):
            return True
        return getattr(error, "sqlstate", None) == TOO_LARGE

    def told(self, error: Exception) -> str:
        """As promised by Dialect."""
        text = " ".join(str(error).split()) or type(error).__name__
        password = self._password()
        return text.replace(password, "***") if password else text

    def _set_up(self, connection: Any) -> None:
        seconds = STATEMENT_TIMEOUT_S
        connection.execute(f"set statement_timeout = '{seconds}s'")
        connection.execute(f"set idle_in_transaction_session_timeout = '{seconds}s'")
        if self._is_reader:
            connection.execute("set default_transaction_read_only = on")
        else:  # a commit is the licence to delete a run: it must be on the disk
            connection.execute(
                "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
            )
        connection.commit()

    def _password(self) -> str:
        in_options = parse_qs(self._url.query).get("password", [""])[-1]
        return unquote(password_of(self._url.geturl())) or in_options or os.environ.get(PASSWORD_ENV, "")
