"""
Connections to PostgreSQL, MySQL and MariaDB: one a process and database, opened when it is needed and again when it was lost.

A process that forks opens its own. Passwords come from the URL, HEADRACE_RESULTS_PASSWORD, or PGPASSWORD and MYSQL_PWD;
neither errors nor logs show one.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from headrace.errors import ResultsError, UsageError
from headrace.results.places import password_of, without_password
from headrace.secrecy.redaction import SECRETS

TRIES: Final = 5
"""Of one statement, when the connection was lost or the database chose it to end a deadlock."""

T = TypeVar("T")


class Dialect(Protocol):
    """What one kind of database does in its own way."""

    schema: tuple[str, ...]
    """Statements that make the table, and do nothing where it is there; several processes may run them at once."""
    time: str
    """An expression that makes a time of seconds since 1970."""
    upsert: str
    """What makes an insert replace the row with the same key."""
    keep: str
    """What makes an insert leave the row with the same key, and count none."""
    snapshot: tuple[str, ...]
    """Statements that begin a transaction which sees one state of the database to its end."""

    @property
    def error(self) -> type[Exception]:
        """What its driver raises."""

    def connect(self, url: SplitResult, password: str) -> Any:
        """A connection of its driver, which commits when it is told to."""

    def cursor(self, connection: Any) -> Any:
        """One that gives bytes as they are."""

    def name(self, name: str) -> Any:
        """The name of an object as its column holds it."""

    def ready(self, cursor: Any) -> int:
        """Sets the session up. Returns how many bytes one row may hold."""

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection is gone, and another one may do."""

    def is_deadlock(self, error: Exception) -> bool:
        """Whether the same again will do."""

    def is_no_table(self, error: Exception) -> bool:
        """Whether the table is missing."""


class Database:
    """One database, for all threads of the process."""

    def __init__(self, url: str, dialect: Dialect) -> None:
        self.dialect = dialect
        self.shown = without_password(url)
        self._parts = urlsplit(url)
        self._lock = threading.RLock()
        self._connection: Any = None
        self.row_bytes = 0
        """How many bytes one row may hold; known once there was a connection."""

    def done(self, key: str, work: Callable[[Any], T]) -> T:
        """
        What the work returns, in a transaction of its own. It is repeated where the connection was lost on the way.

        Args:
            work: Is given a cursor; doing it twice must be the same as once.
        Raises: ResultsError: `key` names the object in it.
        """
        with self._lock:
            for left in reversed(range(TRIES)):
                with self.told(key):
                    connection = self._connected()
                try:
                    return _committed(connection, work(self.dialect.cursor(connection)))
                except self.dialect.error as error:
                    self._aborted(error)
                    again = self.dialect.is_lost(error) or self.dialect.is_deadlock(error)
                    if not (left and again):
                        raise self._refusal(key, error) from None  # its text may hold the password
                except BaseException:  # cancelled in the middle, it would hold locks, and answers nobody has read
                    self.close()
                    raise
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def alone(self, key: str) -> Iterator[Any]:
        """A cursor on a connection of its own: committed when the block ends, rolled back if it raises. Raises: ResultsError."""
        with self.told(key):
            connection = self._opened()
        try:
            yield self.dialect.cursor(connection)
            with self.told(key):
                connection.commit()
        finally:
            _closed(connection)

    @contextmanager
    def told(self, key: str) -> Iterator[None]:
        """Turns the driver's errors into ours. Raises: ResultsError."""
        try:
            yield
        except self.dialect.error as error:
            raise self._refusal(key, error) from None  # as above

    def _refusal(self, key: str, error: Exception) -> ResultsError:
        """What the database says, in one line, without the password."""
        text = " ".join(str(each) for each in error.args) or type(error).__name__
        line = text.strip().splitlines()[0]
        if self._password():
            line = line.replace(self._password(), "***")
        return ResultsError(self.shown, key, line[:300])

    def close(self) -> None:
        """Gives the connection up; the next statement opens another one."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            _closed(connection)

    def forget(self) -> None:
        """Leaves the connection to the process that has opened it: this one was forked from it."""
        if self._connection is not None:
            _INHERITED.append(self._connection)  # closing it would end the session of the other process
        self._connection = None
        self._lock = threading.RLock()

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    def _aborted(self, error: Exception) -> None:
        try:
            self._connection.rollback()
        except self.dialect.error:
            self.close()
            return
        if self.dialect.is_lost(error):
            self.close()

    def _opened(self) -> Any:
        password = self._password()
        if password:
            SECRETS.add(password)  # so that no line of the log shows it either, whoever writes the URL
        connection = self.dialect.connect(self._parts, password)
        try:
            cursor = self.dialect.cursor(connection)
            self.row_bytes = self.dialect.ready(cursor)
            self._with_table(connection, cursor)
        except BaseException:
            _closed(connection)
            raise
        return connection

    def _with_table(self, connection: Any, cursor: Any) -> None:
        """Makes the table where it is missing; where it is there, no right to make one is needed."""
        try:
            cursor.execute("select 1 from headrace_results where 1 = 0")
        except self.dialect.error as error:
            connection.rollback()
            if not self.dialect.is_no_table(error):
                raise
            for statement in self.dialect.schema:
                cursor.execute(statement)
        connection.commit()

    def _password(self) -> str:
        return unquote(password_of(self._parts.geturl())) or os.environ.get("HEADRACE_RESULTS_PASSWORD", "")


_INHERITED: list[Any] = []
_OPEN: list[Database] = []


@cache
def database(url: str) -> Database:
    """The database of a URL, the same for all that ask in this process. Raises: UsageError: its driver is not installed."""
    try:
        found = Database(url, _dialect(urlsplit(url).scheme))
    except ImportError as error:
        raise UsageError(
            f'results URL "{without_password(url)}": the driver {error.name} is missing; install "headrace[sql]" in the flow\'s image'
        ) from error
    _OPEN.append(found)
    return found


def _dialect(scheme: str) -> Dialect:
    if scheme in {"postgresql", "postgres"}:
        from headrace.results.postgresql import PostgreSQL  # noqa: PLC0415 - each has a driver of its own

        return PostgreSQL()
    from headrace.results.mysql import MySQL  # noqa: PLC0415 - as above

    return MySQL()


def _committed(connection: Any, result: T) -> T:
    connection.commit()
    return result


def _closed(connection: Any) -> None:
    with suppress(Exception):  # it may be broken already; either way it is gone
        connection.close()


def _forked() -> None:
    for each in _OPEN:
        each.forget()


def _ended() -> None:
    for each in _OPEN:
        each.close()


atexit.register(_ended)
os.register_at_fork(after_in_child=_forked)
