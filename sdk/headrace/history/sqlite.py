"""
A history store in one file, through SQLite.

A commit is the licence to delete a run, so each one is on the disk before it is told (`synchronous=FULL`). Readers do not wait for
the writer (WAL), and a second writer, while one operator takes over from another, waits its turn.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import orjson

from headrace.errors import UsageError
from headrace.history.records import Record
from headrace.history.schema import COLUMNS, DOCUMENTS, TABLE

BUSY_TIMEOUT_S: Final = 10.0
INSERT: Final = (
    f"insert into {TABLE} ({', '.join(COLUMNS)}) values ({', '.join('?' * len(COLUMNS))}) on conflict (uid) do nothing"  # noqa: S608 - constants
)
BAD_PATH: Final = ("JSON path error", "bad JSON path")
"""What it says of a key that cannot stand in a path, by version."""


class SQLite:
    """As promised by Dialect. Raises: UsageError: the URL names no file."""

    error: type[Exception] = sqlite3.Error
    types: Mapping[str, str] = {"time": "text", "json": "text", "now": "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"}
    has_table = "select 1 from sqlite_master where type = 'table' and name = ?"
    lock: str | None = None
    """Every transaction of a writer begins as the only one."""

    def __init__(self, url: str, *, is_reader: bool) -> None:
        self.path = Path(unquote(urlsplit(url).path.removeprefix("/")))
        if not self.path.name:
            raise UsageError(f'history URL "{url}" names no file; write sqlite:////var/lib/headrace/history.db')
        self.shown = f"sqlite:///{self.path}"
        self._is_reader = is_reader
        self._file = (0, 0)

    def connect(self) -> Any:
        """As promised by Dialect."""
        if not self._is_reader:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        where = f"file:{quote(str(self.path))}?mode={'ro' if self._is_reader else 'rwc'}"
        connection = sqlite3.connect(
            where, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            if not self._is_reader:
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = full")
            self._file = self._found()
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, connection: Any) -> Any:
        """As promised by Dialect."""
        connection.execute("begin" if self._is_reader else "begin immediate")
        return connection.cursor()

    def is_stale(self, connection: Any) -> bool:  # noqa: ARG002 - of the protocol
        """As promised by Dialect: what is written to a file that was moved or removed is lost."""
        return self._found() != self._file

    def insert(self, cursor: Any, records: Sequence[Record]) -> None:
        """As promised by Dialect."""
        cursor.executemany(INSERT, [_row(record.document) for record in records])

    def known(self, cursor: Any, uids: Sequence[str]) -> list[str]:
        """As promised by Dialect."""
        asked = orjson.dumps(list(uids)).decode()
        found = cursor.execute(f"select uid from {TABLE} where uid in (select value from json_each(?))", (asked,))  # noqa: S608 - constants
        return [uid for (uid,) in found]

    def is_refusal(self, error: Exception) -> bool:
        """As promised by Dialect."""
        if isinstance(error, sqlite3.ProgrammingError):
            return str(error).startswith("Error binding")  # others are of a connection that is closed
        if isinstance(error, sqlite3.OperationalError):
            return str(error).startswith(BAD_PATH)
        return isinstance(error, (sqlite3.DataError, sqlite3.IntegrityError, OverflowError))

    def told(self, error: Exception) -> str:
        """As promised by Dialect."""
        code = getattr(error, "sqlite_errorname", None) or ""
        advice = next((text for name, text in _ADVICE.items() if code.startswith(name)), "")
        return f"{error}{advice}"

    def _found(self) -> tuple[int, int]:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - twice as fast, and asked for each batch
        except OSError:
            return (0, 0)
        return found.st_dev, found.st_ino


_ADVICE: Final[Mapping[str, str]] = {
    "SQLITE_FULL": "; make its volume larger, or HEADRACE_HISTORY_RETENTION_DAYS smaller",
    "SQLITE_CORRUPT": "; its file is broken: stop the operator, keep a copy, and mend it with `sqlite3 FILE .recover`, or move it away",
    "SQLITE_NOTADB": "; its file is something else: name another one, or move it away",
    "SQLITE_CANTOPEN": "; look whether its folder is there and may be written to",
    "SQLITE_READONLY": "; look whether its file and folder may be written to",
    "SQLITE_IOERR": "; look at its volume",
}


def _row(document: bytes) -> tuple[Any, ...]:
    fields = orjson.loads(document)
    for name in DOCUMENTS:
        value = fields.get(name)
        if value is not None:
            fields[name] = orjson.dumps(value).decode()
    return tuple(map(fields.get, COLUMNS))
