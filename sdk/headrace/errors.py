"""
Errors of the SDK.

    HeadraceError
    ├── UsageError          the code that uses headrace must be changed; the message says what to write instead
    ├── EntrypointError     no flow can be reached under that entrypoint
    ├── ParameterError      a flow's parameters do not fit its type hints
    ├── TimedOut            a flow or task took longer than its timeout_seconds (a TimeoutError too)
    ├── LimitUnusable       a ConcurrencyLimit is not there, is too small, or may not be used from here
    ├── ConcurrencyLost     a block of code lost a slot that it held
    ├── RemoteTaskFailed    a task with a pod of its own ended without an exception that could be raised here
    ├── DeploymentRunFailed a run of a Deployment that the flow has started did not succeed
    ├── ProcessFailed       the process of a task ended, or its outcome cannot be sent back
    ├── ResultsError        the result storage cannot be reached, refuses, or holds something else
    │   └── NoSuchResult    nothing is there
    ├── PauseRejected       a person said no to a pause
    ├── PauseTimedOut       nobody answered a pause in time (a TimeoutError too)
    └── RetryRun            raised by authors: end this attempt and start the run again
    RunCancelled            the run was told to stop; no `except Exception` holds it up
    RunPaused               the run gives its pod back and waits; no `except Exception` holds it up
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.secrecy.redaction import redacted

if TYPE_CHECKING:
    from headrace.pausing.requests import PauseRequest

MAX_SHOWN = 120
"""Characters of a value that an error shows."""


def shown(value: object) -> str:
    """The value as an error shows it: its repr without registered secrets, cut at 120 characters."""
    try:
        text = redacted(repr(value))
    except Exception as error:  # noqa: BLE001 - a broken __repr__ must not hide the error that is being told
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


class HeadraceError(Exception):
    """Base of all errors of this package."""


class UsageError(HeadraceError):
    """The code that uses headrace must be changed."""


class EntrypointError(HeadraceError):
    """
    No flow can be reached under this entrypoint.

    Attributes: `entrypoint` as it was given, `problem` what is wrong with it and what to do, `reason` in CamelCase:
    "BadEntrypoint", or "ImportError" where the code was found and raised on import.
    """

    def __init__(self, entrypoint: str, problem: str, *, reason: str = "BadEntrypoint") -> None:
        super().__init__(entrypoint, problem, reason)
        self.entrypoint = entrypoint
        self.problem = problem
        self.reason = reason

    def __str__(self) -> str:
        return f'entrypoint "{self.entrypoint}": {self.problem}'


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """One parameter that does not fit; `parameter` may be a path into it, such as "rows.0.id"."""

    parameter: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f'parameter "{self.parameter}" {self.found}, expected {self.expected}'


class ParameterError(HeadraceError):
    """
    A flow's parameters do not fit its type hints; the flow was not started.

    Attributes: `flow` is its name, `problems` names every parameter that is wrong, `advice` what to do.
    """

    def __init__(self, flow: str, problems: Sequence[ParameterProblem], *, advice: str) -> None:
        super().__init__(flow, tuple(problems), advice)
        self.flow = flow
        self.problems = tuple(problems)
        self.advice = advice

    def __str__(self) -> str:
        return f'flow "{self.flow}": {"; ".join(map(str, self.problems))}; {self.advice}'


class TimedOut(HeadraceError, TimeoutError):
    """A flow or task took longer than its timeout. Attributes: `what` was stopped, `timeout_s` its bound."""

    def __init__(self, what: str, timeout_s: float) -> None:
        super().__init__(what, timeout_s)
        self.what = what
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"{self.what} took longer than its timeout of {self.timeout_s:g} s"


class LimitUnusable(HeadraceError):
    """A ConcurrencyLimit cannot be used here. Attributes: `limit` is its name, `problem` says why and what to do."""

    def __init__(self, limit: str, problem: str) -> None:
        super().__init__(limit, problem)
        self.limit = limit
        self.problem = problem

    def __str__(self) -> str:
        return f'limit "{self.limit}": {self.problem}'


class ConcurrencyLost(HeadraceError):
    """
    A block lost a slot that it held: somebody else may hold it by now, so what the block protects must not go on.

    Attributes: `limit` is the limit's name, `slot` that of the slot's Lease, `cause` says how it was lost.
    """

    def __init__(self, limit: str, slot: str, cause: str) -> None:
        super().__init__(limit, slot, cause)
        self.limit = limit
        self.slot = slot
        self.cause = cause

    def __str__(self) -> str:
        return f'limit "{self.limit}": slot {self.slot} is lost, as {self.cause}; another holder may have it by now'


class RetryRun(HeadraceError):
    """
    Raised out of a flow, it ends this attempt and asks for another one, as far as the flow's retries allow.

    Args:
        message: Why, for people.
        delay_seconds: How long to wait before the next attempt. None: as the flow's retry delay says.
    """

    def __init__(self, message: str, delay_seconds: float | None = None) -> None:
        super().__init__(message, delay_seconds)
        self.message = message
        self.delay_seconds = delay_seconds

    def __str__(self) -> str:
        return self.message


class PauseRejected(HeadraceError):
    """
    A person said no to a pause. Let through by the flow, it ends the run as Cancelled, and is not tried again.

    Attributes: `pause` is its name, `comment` what the person said, maybe nothing.
    """

    def __init__(self, pause: str, comment: str = "") -> None:
        super().__init__(pause, comment)
        self.pause = pause
        self.comment = comment

    def __str__(self) -> str:
        return f'pause "{self.pause}" was rejected' + (f": {self.comment}" if self.comment else "")


class PauseTimedOut(HeadraceError, TimeoutError):
    """Nobody answered a pause in time. Let through by the flow, it fails the run for good. Attributes: `pause`, its name."""

    def __init__(self, pause: str) -> None:
        super().__init__(pause)
        self.pause = pause

    def __str__(self) -> str:
        return f'pause "{self.pause}" was not answered in time'


class RemoteTaskFailed(HeadraceError):
    """
    A task with a pod of its own ended without an exception that could be raised here.

    Attributes: `task`, `namespace` and name of its FlowRun `run`, `reason` in CamelCase as in the run's status, `message`.
    """

    def __init__(self, task: str, namespace: str, run: str, *, reason: str, message: str) -> None:
        super().__init__(task, namespace, run, reason, message)
        self.task = task
        self.namespace = namespace
        self.run = run
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        fields = {"reason": self.reason, "message": self.message}
        return partial(RemoteTaskFailed, **fields), (self.task, self.namespace, self.run)

    def __str__(self) -> str:
        log = f"kubectl logs -n {self.namespace} -l headrace.dev/flow-run={self.run} --tail=-1"
        return f'task "{self.task}": FlowRun {self.namespace}/{self.run} ended as {self.reason}: {self.message}; its log: {log}'


class DeploymentRunFailed(HeadraceError):
    """
    A run of a Deployment that run_deployment() has started did not succeed.

    Attributes: `namespace` and name of the FlowRun `run`, its `phase`, `reason` in CamelCase and `message`.
    """

    def __init__(self, namespace: str, run: str, *, phase: str, reason: str, message: str) -> None:
        super().__init__(namespace, run, phase, reason, message)
        self.namespace = namespace
        self.run = run
        self.phase = phase
        self.reason = reason
        self.message = message
        self.deployment_run: Any = None
        """The DeploymentRun, where run_deployment() has waited for it."""

    def __reduce__(self) -> tuple[object, ...]:
        fields = {"phase": self.phase, "reason": self.reason, "message": self.message}
        return partial(DeploymentRunFailed, **fields), (self.namespace, self.run)

    def __str__(self) -> str:
        log = f"kubectl logs -n {self.namespace} -l headrace.dev/flow-run={self.run} --tail=-1"
        return (
            f"FlowRun {self.namespace}/{self.run} ended as {self.phase} ({self.reason}): {self.message}; its log: {log}"
        )


class ProcessFailed(HeadraceError):
    """
    The process of a task ended, or what the task returned or raised cannot be sent back from it.

    Attributes: `what` is the task run, `problem` what happened and what to do.
    """

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(what, problem)
        self.what = what
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.what}: {self.problem}"


class ResultsError(HeadraceError):
    """
    The result storage cannot be reached, refuses, or holds something else than was put there.

    Attributes: `place` is its folder or URL, `key` the object in it, `problem` what is wrong and what to do.
    """

    def __init__(self, place: str, key: str, problem: str) -> None:
        super().__init__(place, key, problem)
        self.place = place
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return f'result storage "{self.place}", "{self.key}": {self.problem}'


class NoSuchResult(ResultsError):
    """Nothing is stored under this key."""


class RunCancelled(BaseException):
    """The run was told to stop; `cause` says by what, such as "SIGTERM"."""

    def __init__(self, cause: str = "") -> None:
        super().__init__(cause)
        self.cause = cause

    def __str__(self) -> str:
        return f"cancelled by {self.cause}" if self.cause else "cancelled"


class RunPaused(BaseException):
    """The run gives its pod back, and goes on in another one when what it waits for has come. Attributes: `pause`."""

    def __init__(self, pause: PauseRequest) -> None:
        super().__init__(pause)
        self.pause = pause

    def __str__(self) -> str:
        return str(self.pause)
