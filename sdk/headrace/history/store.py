"""
One history store: records go in once each, whoever writes them and however often.

Whatever a transaction writes is on the disk when it is told, or the call raises HistoryUnavailable; then nobody knows, and the same
again is harmless, as the uid of a run is the primary key. A store may be used by one thread after another, not by two at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Final, Protocol, TypeVar

from headrace.errors import UsageError
from headrace.history.errors import HistoryRefused, HistoryTooNew, HistoryTooOld, HistoryUnavailable
from headrace.history.records import Record, stamp
from headrace.history.schema import CURRENT, MIGRATIONS, TABLE, VERSIONS
from headrace.results.places import without_password

SCHEMES: Final = ("sqlite", "postgresql", "postgres")
MAX_TOLD: Final = 300
"""Characters of what a database says."""

T = TypeVar("T")


class Dialect(Protocol):
    """What one kind of database does in its own way."""

    error: type[Exception]
    """What its driver raises."""
    types: Mapping[str, str]
    """The words of schema.py that differ."""
    has_table: str
    """Has a row where the table of that name is there."""
    lock: str | None
    """A statement that lets one migrate at a time, to the end of its transaction; None: every transaction is alone."""
    shown: str
    """The URL without a password."""

    def connect(self) -> Any:
        """A connection of its driver."""

    def begin(self, connection: Any) -> Any:
        """A cursor in a new transaction."""

    def is_stale(self, connection: Any) -> bool:
        """Whether what is written to this connection would not be kept."""

    def insert(self, cursor: Any, records: Sequence[Record]) -> None:
        """All of them, but for those whose uid is there."""

    def known(self, cursor: Any, uids: Sequence[str]) -> list[str]:
        """Those of the uids that are there."""

    def is_refusal(self, error: Exception) -> bool:
        """Whether the records are at fault, or the values of a question, and not the database."""

    def told(self, error: Exception) -> str:
        """What it says, without a password, and what to do where that is known."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch: all is kept but `lost`; of those in `bare`, less than there was. By uid, with the store's words."""

    bare: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)


def open_history(url: str, *, is_reader: bool = False) -> HistoryStore:
    """
    The store of a URL, `sqlite:////var/lib/headrace/history.db` or `postgresql://user@host/database`; nothing is connected to yet.

    Args:
        is_reader: It makes and changes nothing.
    Raises: UsageError: no such store can be, or its driver is not installed.
    """
    scheme = _scheme(url)
    if scheme == "sqlite":
        from headrace.history.sqlite import SQLite  # noqa: PLC0415 - each has a driver of its own

        return HistoryStore(SQLite(url, is_reader=is_reader), is_reader=is_reader)
    if scheme not in SCHEMES:
        told = without_password(url)
        raise UsageError(
            f'history URL "{told}": write sqlite:////var/lib/headrace/history.db, or postgresql://user@host/database'
        )
    try:
        from headrace.history.postgresql import PostgreSQL  # noqa: PLC0415 - as above
    except ImportError as error:
        raise UsageError(
            f'history URL "{without_password(url)}": the driver {error.name} is missing; install "headrace[sql]"'
        ) from error
    return HistoryStore(PostgreSQL(url, is_reader=is_reader), is_reader=is_reader)


def _scheme(url: str) -> str:
    """
    Of a URL that has its password where it is looked for.

    Raises: UsageError: a character of the password ends the part of the URL that it is in. It could not be kept out of any text then.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return scheme
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    beyond = rest[len(host) :].partition("=")[0]
    who = host.rpartition("@")[0]
    if ("@" in beyond and "@" not in host) or "[" in who or "]" in who:
        raise UsageError(
            f'history URL "{scheme}://…": its user or password has a character of "/?#[]"; '
            "write it as %2F, %3F, %23, %5B or %5D, or give the password by HEADRACE_HISTORY_PASSWORD"
        )
    return scheme


class HistoryStore:
    """A store, which connects when it is first used, and again after it could not be used."""

    def __init__(self, dialect: Dialect, *, is_reader: bool = False) -> None:
        self.shown = dialect.shown
        self._dialect = dialect
        self._is_reader = is_reader
        self._connection: Any = None
        self._lock = Lock()

    def write(self, records: Sequence[Record]) -> Written:
        """
        Keeps the records that are not kept yet. One that the store refuses is kept without what it may have been refused for.

        Raises: HistoryUnavailable, HistoryTooNew: whether any of them is kept is not known.
        """
        bare: dict[str, str] = {}
        lost: dict[str, str] = {}
        with self._lock:
            for record, why in self._inserted(records):
                bare[record.uid] = why
                for _, still in self._inserted([record.bare(why)]):
                    lost[record.uid] = still
        return Written({uid: why for uid, why in bare.items() if uid not in lost}, lost)

    def known(self, uids: Sequence[str]) -> set[str]:
        """Those of the uids that have a record. Raises: HistoryUnavailable, HistoryTooNew."""
        with self._lock:
            return set(self._done(lambda cursor: self._dialect.known(cursor, uids)))

    def delete_finished_before(self, instant: datetime, limit: int) -> int:
        """How many records were deleted, of the oldest, at most `limit`. Raises: HistoryUnavailable, HistoryTooNew."""
        statement = self._sql(
            f"delete from {TABLE} where uid in "  # noqa: S608 - constants
            f"(select uid from {TABLE} where finished_at < %s order by finished_at limit %s)"
        )

        def work(cursor: Any) -> int:
            return int(cursor.execute(statement, (stamp(instant), limit)).rowcount)

        with self._lock:
            return self._done(work)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """
        What a query has to say, `%s` for each value; a field a column.

        Raises: HistoryRefused: a value is at fault. HistoryUnavailable, HistoryTooNew, HistoryTooOld.
        """

        def work(cursor: Any) -> list[dict[str, Any]]:
            return [dict(row) for row in cursor.execute(self._sql(query), values).fetchall()]

        with self._lock:
            try:
                return self._done(work, may_be_refused=True)
            except self._failures as error:  # but for a refusal, it is told as ours already
                raise HistoryRefused(self.shown, self._told(error)) from None

    def close(self) -> None:
        """Gives the connection up; the next call opens another one."""
        with self._lock:
            self._close()

    def _inserted(self, records: Sequence[Record]) -> list[tuple[Record, str]]:
        """Inserts them; those that the store refuses, with its words. A batch is halved until it is known which they are."""
        try:
            self._done(lambda cursor: self._dialect.insert(cursor, records), may_be_refused=True)
        except self._failures as error:
            if not self._dialect.is_refusal(error):
                raise
            if len(records) == 1:
                return [(records[0], self._told(error))]
            half = len(records) // 2
            return [*self._inserted(records[:half]), *self._inserted(records[half:])]
        return []

    @property
    def _failures(self) -> tuple[type[Exception], ...]:
        return (self._dialect.error, OverflowError, OSError)

    def _done(self, work: Callable[[Any], T], *, may_be_refused: bool = False) -> T:
        """
        What the work returns, in a transaction of its own. Raises: HistoryUnavailable.

        Args:
            may_be_refused: It brings records or values, and what those are at fault for is raised as the driver raises it.
        """
        try:
            connection = self._connected()
            cursor = self._dialect.begin(connection)
            result = work(cursor)
            connection.commit()
        except (HistoryTooNew, HistoryTooOld):
            raise
        except self._failures as error:
            self._roll_back()
            if may_be_refused and self._dialect.is_refusal(error):
                raise
            self._close()
            raise HistoryUnavailable(self.shown, self._told(error)) from None  # its text may hold the password
        except BaseException:
            self._close()
            raise
        return result

    def _connected(self) -> Any:
        if self._connection is not None and self._dialect.is_stale(self._connection):
            self._close()
        if self._connection is None:
            connection = self._dialect.connect()
            try:
                self._check_version(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _check_version(self, connection: Any) -> None:
        cursor = self._dialect.begin(connection)
        found = self._version(cursor)
        connection.rollback()
        if found < CURRENT and self._is_reader:
            raise HistoryTooOld(self.shown, found, CURRENT)
        if found < CURRENT:
            self._migrate(connection)
        elif found > CURRENT:
            raise HistoryTooNew(self.shown, found, CURRENT)

    def _migrate(self, connection: Any) -> None:
        """All in one transaction: whoever dies in the middle leaves what was there, and of two at once the second finds it done."""
        cursor = self._dialect.begin(connection)
        if self._dialect.lock is not None:
            cursor.execute(self._dialect.lock)
            cursor.execute("set local statement_timeout = 0")  # an index of a large table takes its time
        found = self._version(cursor)
        if not found:
            cursor.execute(f"create table if not exists {VERSIONS} (version integer not null)")
            cursor.execute(f"insert into {VERSIONS} values (0)")  # noqa: S608 - constants
        for number in range(found + 1, CURRENT + 1):
            for statement in MIGRATIONS[number]:
                cursor.execute(statement.format_map(self._dialect.types))
        if found < CURRENT:
            cursor.execute(self._sql(f"update {VERSIONS} set version = %s"), (CURRENT,))  # noqa: S608 - constants
        connection.commit()

    def _version(self, cursor: Any) -> int:
        """Of the schema that is there; 0 for none."""
        if not cursor.execute(self._sql(self._dialect.has_table), (VERSIONS,)).fetchall():
            return 0
        found = cursor.execute(f"select max(version) as version from {VERSIONS}").fetchone()  # noqa: S608 - constants
        return int(found["version"] or 0)

    def _sql(self, statement: str) -> str:
        return statement if self._dialect.lock is not None else statement.replace("%s", "?")

    def _told(self, error: Exception) -> str:
        told = self._dialect.told(error)
        return told if len(told) <= MAX_TOLD else f"{told[:MAX_TOLD]}…"

    def _roll_back(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # it may be broken already, and is closed then
                self._connection.rollback()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # as above
                connection.close()
