"""
What an outermost block notes in the result storage.

    <run>/transactions/<which block>/<token>-000001      a value was set
    <run>/transactions/<which block>/<token>-000002      a task has succeeded: its hooks are owed from now on
    <run>/transactions/<which block>/<token>-000003      its key is to be recorded once it is committed
    <run>/transactions/<which block>/committed-<token>   the commit record, in one write; it stays

The token is new with each block. Entries go when their hooks were called. So entries with a record owe hooks on commit,
and entries without one owe hooks on rollback.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.engine.keeping.shelf import Shelf
from headrace.engine.session import current_session
from headrace.engine.transitions import told
from headrace.errors import NoSuchResult, ResultsError
from headrace.results.cargo import VALUE, Cargo, Torn, opened, packed
from headrace.results.places import without_password

RECORD: Final = "committed-"
SET: Final = "set"
DID: Final = "did"
KEY: Final = "key"


@dataclass(frozen=True, slots=True)
class Entry:
    """One that was read: `facts` as they were noted; `value` of a SET."""

    key: str
    facts: Mapping[str, Any]
    value: Any = None
    error: str = ""
    """Why the value cannot be read here. Empty: it was."""


@dataclass(frozen=True, slots=True)
class Past:
    """
    What a process that is gone has left of the same block.

    Args:
        parts: What it has committed. None: it has not.
        entries: In the order in which they were written.
    """

    token: str
    parts: frozenset[str] | None
    entries: list[Entry] = field(default_factory=list)


class Journal:
    """For one block, from any thread. Its methods wait for the storage."""

    def __init__(self, shelf: Shelf, folder: str, token: str) -> None:
        self._shelf = shelf
        self._folder = folder
        self._token = token
        self._lock = threading.Lock()
        self._number = 0
        self._entries: set[str] = set()

    @property
    def record(self) -> str:
        """The key of the commit record."""
        return f"{self._folder}/{RECORD}{self._token}"

    def note_value(self, scope: str, name: str, value: Any) -> str | None:
        """Notes a value of a transaction. Returns why it could not, or None."""
        return self._noted(value, f'value "{name}"', {"entry": SET, "scope": scope, "name": name})[1]

    def note_done(self, facts: Mapping[str, Any]) -> tuple[str, str | None]:
        """Notes that a task has succeeded: the key of the entry, and why it could not be written, or None."""
        return self._noted(None, "what it did", {"entry": DID, **facts})

    def note_key(self, record: str) -> tuple[str, str | None]:
        """Notes that this object is owed once the block is committed; as note_done()."""
        return self._noted(None, "its key", {"entry": KEY, "record": record})

    def record_key(self, record: str) -> None:
        """Records that a block with a key is committed. Raises: ResultsError."""
        cargo = packed(self.record, VALUE, what="the record of a key")
        self._shelf.storage().put(record, cargo.sealed())

    def has_key(self, record: str) -> bool:
        """Whether a block with that key was committed. Raises: ResultsError, UsageError: the storage cannot be read."""
        return self._shelf.storage().exists(record)

    def forget(self, key: str) -> None:
        """Takes an entry away. Raises: ResultsError: it stays, and its hooks may be called again by a later attempt."""
        self._shelf.storage().delete(key)
        self._entries.discard(key)

    def clear(self) -> None:
        """Takes all entries of this process away. Raises: as forget()."""
        for key in sorted(self._entries):
            self.forget(key)

    def commit(self, parts: Iterable[str]) -> None:
        """Writes the commit record. Raises: ResultsError: it is there, or it is not."""
        cargo = packed({"parts": sorted(parts)}, VALUE, what="the commit record")
        self._shelf.storage().put(self.record, cargo.sealed())

    def past(self) -> list[Past]:
        """
        What others have left of this block, the latest first.

        Raises: ResultsError, UsageError: the storage cannot be read, or something in it is not whole.
        """
        names = sorted(key.rpartition("/")[2] for key in self._shelf.storage().list(self._folder))
        tokens = {name.rpartition("-")[0] for name in names if not name.startswith(RECORD)}
        found = []
        for token in sorted(tokens, reverse=True):
            record = f"{self._folder}/{RECORD}{token}"
            parts = self._parts(record) if f"{RECORD}{token}" in names else None
            own = (name for name in names if name.startswith(f"{token}-"))
            found.append(Past(token, parts, [each for each in map(self._read, own) if each is not None]))
        return found

    def _noted(self, value: Any, what: str, facts: Mapping[str, Any]) -> tuple[str, str | None]:
        with self._lock:
            self._number += 1
            key = f"{self._folder}/{self._token}-{self._number:06d}"
            self._entries.add(key)
        try:
            cargo = packed(value, VALUE, what=what, stored_at=current_session().clock.wall_s(), **facts)
            self._shelf.storage().put(key, cargo.sealed())
        except Exception as error:  # noqa: BLE001 - a value may be anything, and storages fail in many ways
            return key, told(error.__cause__ or error)
        return key, None

    def _parts(self, record: str) -> frozenset[str]:
        try:
            return self._shelf.parts(record)
        except Torn as error:
            raise self._unreadable(record, error) from error

    def _unreadable(self, key: str, error: Torn) -> ResultsError:
        problem = f"{error}; it says what a transaction owes: see to what its tasks have done, then delete this object"
        return ResultsError(without_password(self._shelf.url), key, problem)

    def _read(self, name: str) -> Entry | None:
        key = f"{self._folder}/{name}"
        try:
            cargo: Cargo = opened(self._shelf.storage().get(key))
        except NoSuchResult:
            return None
        except Torn as error:
            raise self._unreadable(key, error) from error
        try:
            return Entry(key, cargo.facts, cargo.content())
        except Exception as error:  # noqa: BLE001 - foreign classes fail in all ways when they are unpickled
            return Entry(key, cargo.facts, error=told(error))
