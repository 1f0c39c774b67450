"""What surrounds a run: who started it, under which name, who repeats it, and what came of its tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Protocol

from headrace.engine.clock import Clock, SystemClock
from headrace.engine.description import Description
from headrace.engine.ledger import Ledger
from headrace.states import State, Succeeded


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many task runs there were; `retried` counts those that took more than one attempt."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cached: int = 0
    retried: int = 0


class Tally:
    """Counts task runs as they end, from any thread."""

    __slots__ = ("_lock", "culprit", "failed", "retried", "succeeded", "total")

    def __init__(self) -> None:
        self._lock = Lock()
        self.total = self.succeeded = self.failed = self.retried = 0
        self.culprit: tuple[BaseException, str] | None = None
        """The exception that ended a task last, and the name of that task run."""

    def started(self) -> None:
        """Counts a task run that begins."""
        with self._lock:
            self.total += 1

    def ended(self, name: str, state: State[Any], *, attempts: int) -> None:
        """Counts the end of the task run of that name."""
        with self._lock:
            self.retried += attempts > 1
            if isinstance(state, Succeeded):
                self.succeeded += 1
            else:
                self.failed += 1
                self.culprit = (state.exception, name)  # type: ignore[attr-defined]  # final states without data have one

    def counts(self) -> TaskCounts:
        """The figures as they stand."""
        with self._lock:
            return TaskCounts(self.total, self.succeeded, self.failed, cached=0, retried=self.retried)


class Elsewhere(Protocol):
    """Runs tasks in pods of their own."""

    def stand_in(self, of: Description) -> Description:
        """What runs here in place of a task with a pod of its own: it waits for that pod, and ends as the task did."""


SYSTEM_CLOCK = SystemClock()
NO_TASKS = TaskCounts()


@dataclass(frozen=True, slots=True)
class Session:
    """What surrounds the run of one flow; the defaults are those of a laptop."""

    flow_run: str = ""
    """Name of the run. Empty: each run makes up one of its own."""
    flow_run_uid: str = ""
    flow: str = ""
    """Name of the Flow resource. Empty: there is none."""
    namespace: str = ""
    deployment: str = ""
    attempt: int = 1
    scheduled_time: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    concealed: Mapping[str, Any] = field(default_factory=dict)
    """Secret ones among the parameters, as the flow gets them: nothing shows them by mistake."""
    repeats_flows: bool = True
    """Whether the engine tries a failed flow again. False in a pod: there the operator does, with a new pod."""
    elsewhere: Elsewhere | None = None
    """Where tasks with a pod of their own run. None: here, as any task."""
    clock: Clock = SYSTEM_CLOCK
    tally: Tally = field(default_factory=Tally)
    ledger: Ledger = field(default_factory=Ledger)


LAPTOP = Session()
_SESSION: ContextVar[Session] = ContextVar("headrace_session", default=LAPTOP)


def current_session() -> Session:
    """The session of this thread or asyncio task; LAPTOP where nobody has set one."""
    return _SESSION.get()


@contextmanager
def using(session: Session) -> Iterator[Session]:
    """Makes this the session of all that is called inside."""
    token = _SESSION.set(session)
    try:
        yield session
    finally:
        _SESSION.reset(token)
