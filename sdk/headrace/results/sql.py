"""
Results in a table of PostgreSQL, MySQL or MariaDB, for those who have a database and no object store.

    headrace_results: name, part, parts, token, data, created, expires     primary key (name, part)

An object is one row, or several where it is larger than a row may be; `parts` counts them. All rows of an object are
written in one transaction, which locks part 0 first, so writers of one key come one after the other, and read in one
snapshot. `token` tells who wrote it: a put_new whose answer was lost knows its own work again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, Final
from urllib.parse import unquote, urlsplit

from headrace.errors import NoSuchResult, UsageError
from headrace.results.database import Database, database
from headrace.results.lifetime import MAX_HEAD, expiry_s
from headrace.results.places import without_password
from headrace.results.storage import Sink

PAGE: Final = 1000
"""Keys of one answer."""
LAST: Final = "\U0010ffff"
"""No name is above it."""


def open_rows(url: str) -> Rows:
    """
    The storage of a database's URL, `postgresql://user@host/database/prefix?options`; nothing is connected to yet.

    Raises: UsageError: the URL names no database, or the driver is not installed.
    """
    parts = urlsplit(url)
    name, _, prefix = parts.path.strip("/").partition("/")
    if not name:
        raise UsageError(
            f'results URL "{without_password(url)}": it names no database; write {parts.scheme}://user@host/database'
        )
    return Rows(database(parts._replace(path=f"/{name}").geturl()), unquote(prefix))


class Rows:
    """
    Storage in the rows of one table.

    Args:
        prefix: Of all keys, without slashes around it.
        clock: Seconds since 1970.
    """

    def __init__(self, of: Database, prefix: str = "", clock: Callable[[], float] = time.time) -> None:
        self._database = of
        self._dialect = of.dialect
        self._prefix = f"{prefix}/" if prefix else ""
        self._clock = clock

    def put(self, key: str, data: bytes) -> None:
        """As promised by Storage. Raises: ResultsError."""

        def work(cursor: Any) -> None:
            rows = self._new_rows(cursor, key, self._dialect.upsert)
            rows.write(data)
            rows.end()

        self._done(key, work)

    def put_new(self, key: str, data: bytes) -> bool:
        """As promised by Storage. Raises: ResultsError."""
        token, name = _token(), self._name(key)

        def work(cursor: Any) -> bool:
            self._delete_expired(cursor, "name = %s", name)  # whoever waits for its row finds it gone, or new
            cursor.execute("select token from headrace_results where name = %s and part = 0", (name,))
            found = cursor.fetchone()
            if found:
                return bool(found[0] == token)
            rows = self._new_rows(cursor, key, self._dialect.keep, token=token)
            rows.write(data)
            return rows.end()

        return bool(self._done(key, work))

    def get(self, key: str) -> bytes:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        rows = self._done(key, lambda cursor: self._selected(cursor, "data", key))
        if not rows:
            raise self._nothing(key)
        return b"".join(bytes(data) for (data,) in rows)

    def exists(self, key: str) -> bool:
        """As promised by Storage. Raises: ResultsError."""
        return bool(self._done(key, lambda cursor: self._selected(cursor, "part", key, "and part = 0")))

    def size(self, key: str) -> int:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        statement = "select sum(length(data)) from headrace_results where name = %s"
        ((found,),) = self._done(key, partial(_fetched, statement=statement, values=(self._name(key),)))
        if found is None:
            raise self._nothing(key)
        return int(found)

    def delete(self, key: str) -> None:
        """As promised by Storage. Raises: ResultsError."""
        name = self._name(key)
        self._done(key, lambda cursor: cursor.execute("delete from headrace_results where name = %s", (name,)))

    @contextmanager
    def reader(self, key: str) -> Iterator[BinaryIO]:
        """As promised by Storage, on a connection of its own. Raises: NoSuchResult, ResultsError."""
        told = partial(self._database.told, self._prefix + key)
        with self._database.alone(self._prefix + key) as cursor:
            with told():
                for statement in self._dialect.snapshot:
                    cursor.execute(statement)
                found = self._selected(cursor, "parts", key, "and part = 0")
            if not found:
                raise self._nothing(key)
            yield BufferedReader(_Parts(cursor, self._name(key), found[0][0], told), MAX_HEAD)

    @contextmanager
    def writer(self, key: str) -> Iterator[Sink]:
        """As promised by Storage: one transaction, on a connection of its own. Raises: ResultsError."""
        told = partial(self._database.told, self._prefix + key)
        with self._database.alone(self._prefix + key) as cursor:
            rows = self._new_rows(cursor, key, self._dialect.upsert, told=told)
            yield rows
            rows.end()

    def list(self, prefix: str = "") -> Iterator[str]:
        """As promised by Storage. Raises: ResultsError."""
        yield from self._listed(prefix, "part = 0")

    def prune(self, prefix: str = "", *, dry_run: bool = False) -> Iterator[str]:
        """As promised by Storage: one statement deletes all, after they were listed. Raises: ResultsError."""
        now_s = self._clock()
        yield from self._listed(prefix, f"part = 0 and expires <= {self._dialect.time}", now_s)
        if not dry_run:
            span = self._span(prefix)
            self._done(
                prefix, lambda cursor: self._delete_expired(cursor, "name > %s and name < %s", *span, now_s=now_s)
            )

    def _new_rows(self, cursor: Any, key: str, or_else: str, *, token: str = "", told: Told = nullcontext) -> _NewRows:
        statement = (
            "insert into headrace_results (name, part, parts, token, data, created, expires) "  # noqa: S608 - constants
            f"values (%s, %s, %s, %s, %s, {self._dialect.time}, {self._dialect.time}) {or_else}"
        )
        fields = (self._name(key), token or _token(), self._clock())
        return _NewRows(cursor, statement, fields, row_bytes=self._database.row_bytes, told=told)

    def _selected(self, cursor: Any, column: str, key: str, where: str = "") -> tuple[Any, ...]:
        """Rows of an object that has not expired, in their order."""
        cursor.execute(
            f"select {column} from headrace_results where name = %s {where} "  # noqa: S608 - constants
            f"and (expires is null or expires > {self._dialect.time}) order by part",
            (self._name(key), self._clock()),
        )
        return tuple(cursor.fetchall())

    def _delete_expired(self, cursor: Any, where: str, *values: Any, now_s: float | None = None) -> None:
        cursor.execute(
            f"delete from headrace_results where {where} and expires <= {self._dialect.time}",  # noqa: S608 - constants
            (*values, self._clock() if now_s is None else now_s),
        )

    def _listed(self, prefix: str, where: str, *values: Any) -> Iterator[str]:
        """Page by page, so that a million keys are not in memory."""
        low, high = self._span(prefix)
        statement = (
            f"select name from headrace_results where {where} and name > %s and name < %s order by name limit {PAGE}"  # noqa: S608 - constants
        )
        while True:
            rows = self._done(prefix, partial(_fetched, statement=statement, values=(*values, low, high)))
            for (name,) in rows:
                low = name
                yield (name if isinstance(name, str) else bytes(name).decode()).removeprefix(self._prefix)
            if len(rows) < PAGE:
                return

    def _span(self, prefix: str) -> tuple[Any, Any]:
        """What lies in the folder has its name between these two: "0" comes after "/"."""
        folder = f"{self._prefix}{prefix}".strip("/")
        low, high = (f"{folder}/", f"{folder}0") if folder else ("", LAST)
        return self._dialect.name(low), self._dialect.name(high)

    def _name(self, key: str) -> Any:
        return self._dialect.name(self._prefix + key)

    def _done(self, key: str, work: Callable[[Any], Any]) -> Any:
        return self._database.done(self._prefix + key, work)

    def _nothing(self, key: str) -> NoSuchResult:
        return NoSuchResult(self._database.shown, self._prefix + key, "there is no such row, or it has expired")


Told = Callable[[], AbstractContextManager[None]]


class _NewRows:
    """
    Makes rows of what is written.

    Args:
        statement: Inserts a row, or does what it says where there is one.
        fields: Name, token and time of all rows.
        told: Turns errors of the driver into ours.
    """

    def __init__(
        self, cursor: Any, statement: str, fields: tuple[Any, str, float], *, row_bytes: int, told: Told
    ) -> None:
        self._cursor = cursor
        self._statement = statement
        self._name, self._token, self._created_s = fields
        self._row_bytes = row_bytes
        self._told = told
        self._kept = bytearray()
        self._parts = 0
        self._expires_s: float | None = None
        self._refused = False

    def write(self, data: bytes, /) -> None:
        """Takes the next piece, of any size."""
        view = memoryview(data)
        for start in range(0, len(view), self._row_bytes):
            self._kept += view[start : start + self._row_bytes]
            while len(self._kept) >= self._row_bytes:
                self._insert(bytes(self._kept[: self._row_bytes]))
                del self._kept[: self._row_bytes]

    def end(self) -> bool:
        """Inserts the rest. Returns whether it is there now: not if the statement has left another object in place."""
        if self._kept or not self._parts:
            self._insert(bytes(self._kept))
        if not self._refused:
            with self._told():
                self._completed()
        return not self._refused

    def _insert(self, data: bytes) -> None:
        if self._parts == 0:
            self._expires_s = expiry_s(data)
        part, self._parts = self._parts, self._parts + 1
        if self._refused:
            return
        with self._told():
            values = (self._name, part, self._parts, self._token, data, self._created_s, self._expires_s)
            self._cursor.execute(self._statement, values)
            self._refused = self._cursor.rowcount == 0

    def _completed(self) -> None:
        """The rest of a longer object that was there goes, and part 0 tells how many there are."""
        self._cursor.execute("delete from headrace_results where name = %s and part >= %s", (self._name, self._parts))
        if self._parts > 1:
            self._cursor.execute(
                "update headrace_results set parts = %s where name = %s and part = 0", (self._parts, self._name)
            )


class _Parts(RawIOBase):
    """The rows of one object as a file."""

    def __init__(self, cursor: Any, name: Any, parts: int, told: Told) -> None:
        self._cursor = cursor
        self._name = name
        self._parts = iter(range(parts))
        self._told = told
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As of io.RawIOBase."""
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(self._data(part))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _data(self, part: int) -> bytes:
        with self._told():
            self._cursor.execute("select data from headrace_results where name = %s and part = %s", (self._name, part))
            return bytes(self._cursor.fetchone()[0])


def _fetched(cursor: Any, *, statement: str, values: tuple[Any, ...]) -> list[Any]:
    cursor.execute(statement, values)
    return list(cursor.fetchall())


def _token() -> str:
    return secrets.token_hex(8)
