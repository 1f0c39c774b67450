"""What surrounds a run: who started it, under which name, who repeats it, and what came of its tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace.engine.clock import Clock, SystemClock
from headrace.engine.description import Description
from headrace.engine.ledger import Ledger
from headrace.engine.showcase import Showcase
from headrace.states import State, Succeeded

if TYPE_CHECKING:
    from headrace.results import Storage


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """
    How many task runs there were.

    Args:
        cached: Those among `succeeded` whose result was there already.
        retried: Those that took more than one attempt.
    """

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    cached: int = 0
    retried: int = 0
    subflows: int = 0
    """Flows that were called inside the flow; they are no task runs."""


class Tally:
    """Counts task runs as they end, from any thread."""

    __slots__ = ("_lock", "cached", "culprit", "failed", "retried", "subflows", "succeeded", "total")

    def __init__(self) -> None:
        self._lock = Lock()
        self.total = self.succeeded = self.failed = self.cached = self.retried = self.subflows = 0
        self.culprit: tuple[BaseException, str] | None = None
        """The exception that ended a task or subflow last, and what that was: 'task "load-0"'."""

    def started(self) -> None:
        """Counts a task run that begins."""
        with self._lock:
            self.total += 1

    def taken(self) -> None:
        """Counts a task run whose result was there already."""
        with self._lock:
            self.total += 1
            self.succeeded += 1
            self.cached += 1

    def ended(self, name: str, state: State[Any], *, attempts: int) -> None:
        """Counts the end of the task run of that name."""
        with self._lock:
            self.retried += attempts > 1
            if isinstance(state, Succeeded):
                self.succeeded += 1
            else:
                self.failed += 1
                self.culprit = (state.exception, f'task "{name}"')  # type: ignore[attr-defined]  # final states without data have one

    def subflow_started(self) -> None:
        """Counts a flow that is called inside the flow."""
        with self._lock:
            self.subflows += 1

    def subflow_ended(self, name: str, state: State[Any]) -> None:
        """Notes how the flow run of that name ended; what a task of it raised is that task's."""
        if isinstance(state, Succeeded):
            return
        error: BaseException = state.exception  # type: ignore[attr-defined]  # as above
        with self._lock:
            if self.culprit is None or self.culprit[0] is not error:
                self.culprit = (error, f'flow "{name}"')

    def counts(self) -> TaskCounts:
        """The figures as they stand."""
        with self._lock:
            return TaskCounts(
                self.total, self.succeeded, self.failed, self.cached, self.retried, subflows=self.subflows
            )


class Elsewhere(Protocol):
    """Runs tasks in pods of their own."""

    def stand_in(self, of: Description) -> Description:
        """What runs here in place of a task with a pod of its own: it waits for that pod, and ends as the task did."""


RESULTS_URL_ENV: Final = "HEADRACE_RESULTS_URL"
REFRESH_CACHE_ENV: Final = "HEADRACE_REFRESH_CACHE"


class DeploymentRuns(Protocol):
    """Starts runs of Deployments, and waits for them. Both block."""

    def carried_out(self, request: Any) -> Any:
        """The run that was asked for: when it has ended, where that is waited for."""

    def waited(self, run: Any, timeout_s: float | None) -> Any:
        """The run when it has ended; as it is after that time."""

    def give_up(self, request: Any) -> None:
        """Whoever asked for it was told to stop: a run that only he waits for is cancelled."""


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
    parent_run: str = ""
    """Name of the FlowRun whose flow started this one. Empty: none did."""
    root_run: str = ""
    """Name of the FlowRun at the top, from which this one comes. Empty: it is that itself."""
    attempt: int = 1
    scheduled_time: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    concealed: Mapping[str, Any] = field(default_factory=dict)
    """Secret ones among the parameters, as the flow gets them: nothing shows them by mistake."""
    repeats_flows: bool = True
    """Whether the engine tries a failed flow again. False in a pod: there the operator does, with a new pod."""
    elsewhere: Elsewhere | None = None
    """Where tasks with a pod of their own run. None: here, as any task."""
    results_url: str = ""
    """Where results of tasks are kept. Empty: nowhere; on a laptop, where a task asks for it, in the user's cache."""
    checkpoints: bool = True
    """Whether later attempts of the run take its results. False where only a part of the run is."""
    refresh_cache: bool = False
    """Whether cached results are computed anew."""
    open_storage: Callable[[str], Storage] | None = None
    """Opens the storage of a results URL. None: as headrace.results does."""
    answers: Mapping[str, Any] | None = None
    """Of pauses that are over, by name: the run gives its pod back for others. None: they are asked for on the terminal."""
    deployments: DeploymentRuns | None = None
    """Where runs of Deployments are started. None: in the cluster that the environment names."""
    clock: Clock = SYSTEM_CLOCK
    tally: Tally = field(default_factory=Tally)
    ledger: Ledger = field(default_factory=Ledger)
    showcase: Showcase = field(default_factory=Showcase)


LAPTOP = Session(
    results_url=os.environ.get(RESULTS_URL_ENV, ""),
    refresh_cache=os.environ.get(REFRESH_CACHE_ENV, "").lower() == "true",
)
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
