"""Runs the flow of an entrypoint in this process, and says how it ended: for the pod and for `headrace run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

from headrace.cancellation import Cancellation
from headrace.engine.blame import where
from headrace.engine.execution import final_state
from headrace.engine.session import NO_TASKS, Session, Tally, TaskCounts, using
from headrace.engine.ways import BLOCKING, ON_LOOP, Arguments, run_to_end
from headrace.entrypoints import load_flow
from headrace.errors import EntrypointError, ParameterError, RetryRun, RunCancelled, TimedOut, UsageError
from headrace.flows import Flow
from headrace.states import Cancelled, Ended, State, Succeeded


class ExitCode(IntEnum):
    """What the process says with its end; by signal it is 130 (SIGINT) or 143 (SIGTERM)."""

    SUCCEEDED = 0
    FAILED = 1
    RETRY = 75
    CANNOT_START = 78


@dataclass(frozen=True, slots=True)
class Ending:
    """
    How a flow ended.

    Args:
        phase: Succeeded, Failed, Cancelled or Retrying, which asks for another attempt.
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

    @property
    def never_began(self) -> bool:
        """Whether the flow was refused before it started."""
        return self.exit_code == ExitCode.CANNOT_START


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run. `parameters` turns the loaded flow into its arguments by name."""

    entrypoint: str
    parameters: Callable[[Flow[..., Any]], Mapping[str, Any]]
    session: Session
    code_dir: Path | None = None


UNSTARTED: Final = (EntrypointError, ParameterError, UsageError)
"""Nothing has run yet, and the same would happen again."""


def launch(what: Launch, cancellation: Cancellation) -> Ending:
    """
    How the flow ended; never raises for what the flow does.

    Call it in the main thread: signals are taken while the flow runs.
    """
    session = what.session
    try:
        with cancellation.listening():
            state = _run(what, cancellation)
    except UNSTARTED as error:
        return refused(error)
    except (RunCancelled, KeyboardInterrupt) as error:
        state = Cancelled(message=str(error), exception=error)
    return replace(_ending(state, session.tally, cancellation), tasks=session.tally.counts())


def _run(what: Launch, cancellation: Cancellation) -> State[Any]:
    flow = load_flow(what.entrypoint, code_dir=what.code_dir)
    parameters = what.parameters(flow)
    arguments = flow.arguments(**parameters)
    with using(replace(what.session, parameters=parameters)):
        if flow.described.is_async:
            import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

            return asyncio.run(_on_loop(flow, arguments, cancellation))
        return run_to_end(final_state(flow.described, arguments, BLOCKING))


async def _on_loop(flow: Flow[..., Any], arguments: Arguments, cancellation: Cancellation) -> State[Any]:
    import asyncio  # noqa: PLC0415 - as above

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    with cancellation.redirected(partial(loop.call_soon_threadsafe, task.cancel)):
        return await final_state(flow.described, arguments, ON_LOOP)


def refused(error: Exception) -> Ending:
    """The ending of a flow that was not started, for one of UNSTARTED."""
    reason = "InvalidParameters" if isinstance(error, ParameterError) else "BadEntrypoint"
    if isinstance(error, EntrypointError):
        reason = error.reason
    return Ending("Failed", reason, " ".join(str(error).split()), ExitCode.CANNOT_START)


def _ending(state: State[Any], tally: Tally, cancellation: Cancellation) -> Ending:
    if isinstance(state, Succeeded):
        return Ending("Succeeded", "Completed", "the flow returned", ExitCode.SUCCEEDED, result=state.data)
    assert isinstance(state, Ended)
    error = state.exception
    message = _sentence(state, tally, cancellation)
    if isinstance(state, Cancelled):
        return Ending("Cancelled", "Cancelled", message, cancellation.exit_code(error))
    if isinstance(error, RetryRun):
        return Ending("Retrying", "RetryRequested", message, ExitCode.RETRY, retry_delay_s=error.delay_seconds)
    own_timeout = isinstance(error, TimedOut) and not _is_of_task(error, tally)
    return Ending("Failed", "TimedOut" if own_timeout else "FlowFailed", message, ExitCode.FAILED)


def _sentence(state: Ended, tally: Tally, cancellation: Cancellation) -> str:
    """What happened, in which task, and where in the author's code."""
    error = state.exception
    said = state.message
    if isinstance(state, Cancelled):
        said = f"cancelled by {cancellation.received.name}" if cancellation.received else said
    names_itself = isinstance(error, TimedOut | UsageError)
    subject = f'task "{tally.culprit[1]}": ' if tally.culprit and _is_of_task(error, tally) and not names_itself else ""
    place = where(error)
    return " ".join(f"{subject}{said}{f' ({place})' if place else ''}".split())


def _is_of_task(error: BaseException, tally: Tally) -> bool:
    """Whether it is what ended a task, and went on from there."""
    return tally.culprit is not None and tally.culprit[0] is error
