"""Runs the flow of an entrypoint in this process, and says how it ended: for the pod and for `headrace run`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from headrace.cancellation import Cancellation
from headrace.engine.blame import where
from headrace.engine.execution import final_state
from headrace.engine.ledger import Ledger
from headrace.engine.session import NO_TASKS, Session, Tally, TaskCounts, using
from headrace.engine.showcase import Showcase
from headrace.engine.ways import BLOCKING, ON_LOOP, Way, run_to_end
from headrace.entrypoints import load_flow
from headrace.errors import (
    EntrypointError,
    ParameterError,
    PauseRejected,
    PauseTimedOut,
    ResultsError,
    RetryRun,
    RunCancelled,
    RunPaused,
    TimedOut,
    UsageError,
)
from headrace.flows import Flow
from headrace.secrecy.redaction import redacted
from headrace.states import Cancelled, Ended, Failed, Paused, State, Succeeded

if TYPE_CHECKING:
    from headrace.pausing.requests import PauseRequest


class ExitCode(IntEnum):
    """What the process says with its end; by signal it is 130 (SIGINT) or 143 (SIGTERM)."""

    SUCCEEDED = 0
    FAILED = 1
    RETRY = 75
    PAUSED = 76
    CANNOT_START = 78


@dataclass(frozen=True, slots=True)
class StoredResult:
    """Stands for what a flow returned: it is in the result storage, at this URL."""

    url: str


@dataclass(frozen=True, slots=True)
class Ending:
    """
    How a flow ended.

    Args:
        phase: Succeeded, Failed, Cancelled, Retrying, which asks for another attempt, or Paused.
        reason: CamelCase.
        message: One sentence for people.
        retry_delay_s: What RetryRun asked for. None: nothing.
    """

    phase: str
    reason: str
    message: str
    exit_code: int
    result: Any = None
    retry_delay_s: float | None = None
    tasks: TaskCounts = NO_TASKS
    pause: PauseRequest | None = None
    """What it waits for, if it is Paused."""
    ledger: Ledger = field(default_factory=Ledger)
    showcase: Showcase = field(default_factory=Showcase)

    @property
    def never_began(self) -> bool:
        """Whether the flow was refused before it started."""
        return self.exit_code == ExitCode.CANNOT_START


@dataclass(frozen=True, slots=True)
class Work:
    """
    Code that is loaded, with its arguments.

    Args:
        state: The final state, on the way that `is_async` says.
        session: Around it.
        delivered: Hands the final state on; the state that counts.
    """

    is_async: bool
    state: Callable[[Way], Coroutine[Any, Any, State[Any]]]
    session: Session
    delivered: Callable[[State[Any]], State[Any]] = lambda state: state


class Launchable(Protocol):
    """What can be run: a flow, or one task of it."""

    @property
    def kind(self) -> Literal["flow", "task"]:
        """What it is, for people."""

    @property
    def session(self) -> Session:
        """What surrounds it."""

    def loaded(self) -> Work:
        """The work. Raises: what the code raises on import, one of UNSTARTED."""


@dataclass(frozen=True, slots=True)
class Launch:
    """
    The flow to run.

    Args:
        parameters: Turns the loaded flow into its arguments by name.
        delivered: As Work has it.
    """

    entrypoint: str
    parameters: Callable[[Flow[..., Any]], Mapping[str, Any]]
    session: Session
    code_dir: Path | None = None
    delivered: Callable[[State[Any]], State[Any]] = lambda state: state
    kind: Literal["flow"] = "flow"

    def loaded(self) -> Work:
        """As promised by Launchable."""
        flow = load_flow(self.entrypoint, code_dir=self.code_dir)
        parameters = self.parameters(flow)
        arguments = flow.arguments(**parameters)
        return Work(
            is_async=flow.described.is_async,
            state=partial(final_state, flow.described, arguments),
            session=replace(self.session, parameters=parameters, concealed=_concealed(flow, arguments[1])),
            delivered=self.delivered,
        )


def _concealed(flow: Flow[..., Any], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: arguments[name] for name in flow.parameters.secret if name in arguments} if flow.validates else {}


UNSTARTED: Final = (EntrypointError, ParameterError, UsageError)
"""Nothing has run yet, and the same would happen again."""


def launch(what: Launchable, cancellation: Cancellation) -> Ending:
    """
    How it ended; never raises for what the code does.

    Call it in the main thread: signals are taken while the code runs.
    """
    session = what.session
    try:
        with cancellation.listening():
            state = _run(what, cancellation)
    except UNSTARTED as error:
        return refused(error)
    except ResultsError as error:
        state = Failed(message=str(error), exception=error)
    except (RunCancelled, KeyboardInterrupt) as error:
        state = Cancelled(message=str(error), exception=error)
    ending = _ending(what.kind, state, session.tally, cancellation)
    return replace(ending, tasks=session.tally.counts(), ledger=session.ledger, showcase=session.showcase)


def _run(what: Launchable, cancellation: Cancellation) -> State[Any]:
    work = what.loaded()
    with using(work.session):
        if not work.is_async:
            return work.delivered(run_to_end(work.state(BLOCKING)))
        import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

        return work.delivered(asyncio.run(_on_loop(work, cancellation)))


async def _on_loop(work: Work, cancellation: Cancellation) -> State[Any]:
    import asyncio  # noqa: PLC0415 - as above

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    with cancellation.redirected(partial(loop.call_soon_threadsafe, task.cancel)):
        return await work.state(ON_LOOP)


def refused(error: Exception) -> Ending:
    """The ending of a flow that was not started, for one of UNSTARTED."""
    reason = "InvalidParameters" if isinstance(error, ParameterError) else "BadEntrypoint"
    if isinstance(error, EntrypointError):
        reason = error.reason
    return Ending("Failed", reason, " ".join(redacted(str(error)).split()), ExitCode.CANNOT_START)


def _ending(kind: str, state: State[Any], tally: Tally, cancellation: Cancellation) -> Ending:
    if isinstance(state, Succeeded):
        return Ending("Succeeded", "Completed", f"the {kind} returned", ExitCode.SUCCEEDED, result=state.data)
    if isinstance(state, Paused):
        assert isinstance(state.exception, RunPaused)
        return Ending("Paused", "Paused", state.message, ExitCode.PAUSED, pause=state.exception.pause)
    assert isinstance(state, Ended)
    error = state.exception
    message = _sentence(state, tally, cancellation)
    if isinstance(error, PauseRejected | PauseTimedOut):
        phase, reason = _unapproved(error)
        return Ending(phase, reason, message, ExitCode.FAILED)
    if isinstance(state, Cancelled):
        return Ending("Cancelled", "Cancelled", message, cancellation.exit_code(error))
    if isinstance(error, RetryRun):
        return Ending("Retrying", "RetryRequested", message, ExitCode.RETRY, retry_delay_s=error.delay_seconds)
    own_timeout = isinstance(error, TimedOut) and (kind == "task" or not _is_of_task(error, tally))
    return Ending("Failed", "TimedOut" if own_timeout else "FlowFailed", message, ExitCode.FAILED)


def _unapproved(error: PauseRejected | PauseTimedOut) -> tuple[str, str]:
    """Phase and reason of a run whose flow made nothing of an answer that is no yes."""
    return ("Cancelled", "Rejected") if isinstance(error, PauseRejected) else ("Failed", "ApprovalTimedOut")


def _sentence(state: Ended, tally: Tally, cancellation: Cancellation) -> str:
    """What happened, in which task, and where in the author's code."""
    error = state.exception
    said = state.message
    if isinstance(state, Cancelled):
        said = f"cancelled by {cancellation.received.name}" if cancellation.received else said
    names_itself = isinstance(error, TimedOut | UsageError)
    subject = f"{tally.culprit[1]}: " if tally.culprit and _is_of_task(error, tally) and not names_itself else ""
    place = where(error)
    return " ".join(redacted(f"{subject}{said}{f' ({place})' if place else ''}").split())


def _is_of_task(error: BaseException, tally: Tally) -> bool:
    """Whether it is what ended a task or a subflow, and went on from there."""
    return tally.culprit is not None and tally.culprit[0] is error
