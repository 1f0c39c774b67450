"""The result storage as one flow run uses it: opened once, listed once, and what goes wrong is told once a task."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

from headrace.engine import logs
from headrace.engine.keeping.fingerprints import digest, source_of
from headrace.engine.keeping.names import results_url
from headrace.engine.scope import Run, TaskRun
from headrace.engine.session import current_session
from headrace.engine.transitions import told
from headrace.errors import NoSuchResult, UsageError
from headrace.results import Storage, open_storage
from headrace.results.cargo import VALUE, opened, packed

TRIES: Final = 3
"""To open the storage, and to list what is there, one a task: a storage that is gone must not hold up every task."""
_MAKING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Stored:
    """A result that was stored; `facts` are those that were stored with it, `stored_at` (Unix time) among them."""

    value: Any
    facts: Mapping[str, Any]


class Shelf:
    """For all tasks of one flow run, from any thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._storage: Storage | None = None
        self._broken: Exception | None = None
        self._openings = 0
        self._listed: frozenset[str] | None = None
        self._listings = 0
        self._counts: dict[bytes, int] = {}
        self._sources: dict[CodeType | None, bytes] = {}
        self._told: set[tuple[str, str]] = set()
        self._parts: dict[str, frozenset[str]] = {}

    def storage(self) -> Storage:
        """The storage. Raises: UsageError: there is none, or it cannot be opened; ResultsError."""
        with self._lock:
            if self._storage is not None:
                return self._storage
            if self._broken is not None and (isinstance(self._broken, UsageError) or self._openings >= TRIES):
                raise self._broken
            self._openings += 1
            try:
                self._storage = _opened(self.url)
            except Exception as error:
                self._broken = error
                raise
            return self._storage

    def number_of(self, call: bytes) -> int:
        """How many calls with this digest there were before."""
        with self._lock:
            number = self._counts.get(call, 0)
            self._counts[call] = number + 1
        return number

    def give_back(self, call: bytes, number: int) -> None:
        """Has the next call with this digest get that number again, if no later one has begun."""
        with self._lock:
            if self._counts.get(call) == number + 1:
                self._counts[call] = number

    def finished(self, folder: str) -> frozenset[str]:
        """The keys in the folder of the run as it was at its first task. Raises: ResultsError, UsageError."""
        storage = self.storage()
        with self._lock:
            if self._listed is None and self._listings < TRIES:
                self._listings += 1
                self._listed = frozenset(storage.list(folder))
            return self._listed or frozenset()

    def source(self, function: Callable[..., Any]) -> bytes:
        """A digest of the function's text."""
        function = inspect.unwrap(getattr(function, "__func__", function))
        code = getattr(function, "__code__", None)
        found = self._sources.get(code)
        if found is None or code is None:
            found = self._sources[code] = digest(inspect.cleandoc(source_of(function)))
        return found

    def stored(self, run: TaskRun, key: str) -> Stored | None:
        """The result under the key; None: there is none, or none that can be used, which is told."""
        try:
            cargo = opened(self.storage().get(key))
            return Stored(cargo.content(), cargo.facts) if self._counts_now(cargo.facts) else None
        except NoSuchResult:
            return None
        except Exception as error:  # noqa: BLE001 - a storage fails in many ways, and foreign classes in all others
            self.tell(run, "result_not_read", f"its stored result cannot be read, so it runs: {told(error)}", about=key)
            return None

    def parts(self, record: str) -> frozenset[str]:
        """What was committed by this record of a transaction; nothing, if it is not there. Raises: ResultsError; Torn."""
        found = self._parts.get(record)
        if found is None:
            try:
                found = frozenset(opened(self.storage().get(record)).content()["parts"])
            except NoSuchResult:
                return frozenset()
            self._parts[record] = found
        return found

    def _counts_now(self, facts: Mapping[str, Any]) -> bool:
        """Whether the transaction in which it was stored is committed, if it was in one."""
        record = facts.get("transaction")
        return record is None or facts.get("part") in self.parts(record)

    def withdraw(self, key: str) -> None:
        """Deletes a result that never counted; one that cannot be deleted does not count either."""
        try:
            self.storage().delete(key)
        except Exception as error:  # noqa: BLE001 - storages fail in many ways
            logs.LOGGER.debug("a result that was rolled back stays in the storage: %s", told(error))

    def store(self, run: TaskRun, key: str, value: Any, **facts: Any) -> None:
        """Stores the result, or tells why not."""
        data = self.sealed(run, value, **facts)
        if data is not None:
            self.put(run, key, data)

    def sealed(self, run: TaskRun, value: Any, **facts: Any) -> bytes | None:
        """The result as bytes; None: it cannot be stored, which is told."""
        facts = {"task_run": run.name, "stored_at": current_session().clock.wall_s(), **facts}
        try:
            keeping = run.description.keeping
            format_ = keeping.serializer if keeping else None
            return packed(value, VALUE, what="its result", format=format_, **facts).sealed()
        except Exception as error:  # noqa: BLE001 - what a task returns may be anything
            why = told(error.__cause__ or error)
            message = (
                f"its result cannot be stored ({why}), so a later attempt runs the task again; return plain data, or say "
                "@task(persist_result=False)"
            )
            self.tell(run, "result_not_stored", message)
            return None

    def put(self, run: TaskRun, key: str, data: bytes) -> None:
        """Stores what was sealed, or tells why not."""
        try:
            self.storage().put(key, data)
        except Exception as error:  # noqa: BLE001 - the flow has the result; the storage alone has a problem
            message = f"its result could not be stored, so a later attempt may run the task again: {told(error)}"
            self.tell(run, "result_not_stored", message)

    def tell(self, run: TaskRun, event: str, message: str, *, level: int = logging.WARNING, about: str = "") -> None:
        """Writes the event, once for each task, or for each thing that it is `about`."""
        mark = event, about or run.description.name
        with self._lock:
            told_already = mark in self._told
            self._told.add(mark)
        if not told_already and logs.LOGGER.isEnabledFor(level):
            logs.prepare()
            logs.emit(level, run, event, message)


def shelf_of(run: Run) -> Shelf:
    """That of its flow run; for a task outside of a flow one of its own."""
    url = results_url(current_session())
    if run.flow_run is None:
        return Shelf(url)
    top = run.flow_run.top
    with _MAKING:
        if top.shelf is None:
            top.shelf = Shelf(url)
    found: Shelf = top.shelf
    return found


def _opened(url: str) -> Storage:
    if not url:
        raise UsageError(
            "the Flow has no results URL; set spec.results.url, such as s3://bucket/prefix or file:///mnt/results"
        )
    return (current_session().open_storage or open_storage)(url)
