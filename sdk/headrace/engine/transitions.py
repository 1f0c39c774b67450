"""
What follows from the end of an attempt. Pure: the clock, the dice and the log are elsewhere.

    ended by                                  attempts left      none left
    ───────────────────────────────────────── ────────────────── ─────────
    a signal, a cancellation                  Cancelled          Cancelled
    pause(), out of a flow                    Paused             Paused
    PauseRejected, out of a flow              Cancelled          Cancelled
    RetryRun, out of a flow                   Retrying           Failed
    RetryRun, out of a task; misuse           Failed             Failed
    sys.exit                                  Failed             Failed
    what retry_if says no to                  Failed             Failed
    any other Exception, TimedOut included    Retrying           Failed
    any other BaseException                   Crashed            Crashed
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.engine.description import Description
from headrace.errors import HeadraceError, ParameterError, PauseRejected, PauseTimedOut, RetryRun, RunPaused, UsageError
from headrace.secrecy.redaction import redacted
from headrace.states import Cancelled, Crashed, Failed, Paused, Retrying, State

NOT_RETRIED = (UsageError, ParameterError, PauseRejected, PauseTimedOut)
"""Another attempt would end the same way."""


def after_error(error: BaseException, of: Description, *, attempt: int, cancelled: bool) -> State[None]:
    """
    The state after an attempt that ended by `error`.

    Args:
        attempt: Number of the attempt, from 1.
        cancelled: Whether `error` is how this function is told to stop.
    """
    if isinstance(error, RunPaused):
        return _paused(error, of, attempt)
    if cancelled or (of.kind == "flow" and isinstance(error, PauseRejected)):
        return Cancelled(message=_told_cancellation(error), exception=error, attempt=attempt)
    said = told(error)
    if isinstance(error, SystemExit):
        said = redacted(f"the code called sys.exit({error.code!r}); return to succeed, raise to fail")
        return Failed(message=said, exception=error, attempt=attempt)
    if not isinstance(error, Exception):
        return Crashed(message=said, exception=error, attempt=attempt)
    if attempt <= of.retries.limit and _may_be_tried_again(error, of):
        return _retrying(error, of, attempt)
    return Failed(message=said, exception=error, attempt=attempt)


def _paused(error: RunPaused, of: Description, attempt: int) -> State[None]:
    if of.kind == "flow":
        return Paused(message=redacted(str(error)), exception=error)
    said = f'task "{of.name}": a flow that it calls pauses; call that flow from the flow, not from a task'
    return Failed(message=said, exception=UsageError(said), attempt=attempt)


def _retrying(error: Exception, of: Description, attempt: int) -> State[None]:
    asked = "retry_if"
    try:
        if not of.retries.wants(error):
            message = f"{told(error)}; not tried again, as retry_if says no"
            return Failed(message=message, exception=error, attempt=attempt)
        asked = "retry_delay_seconds"
        delay_s = _delay_s(error, of.retries.delay_s, attempt)
    except Exception as broken:  # noqa: BLE001 - the author's function may raise anything
        message = f"{told(error)}; not tried again, as {asked} raised {told(broken)}"
        return Failed(message=message, exception=error, attempt=attempt)
    return Retrying(message=told(error), exception=error, attempt=attempt, delay_s=delay_s)


def told(error: BaseException) -> str:
    """The error in one line: its type and what it says; of our own errors what they say."""
    said = " ".join(redacted(str(error)).split())
    if isinstance(error, HeadraceError) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _told_cancellation(error: BaseException) -> str:
    return "interrupted by Ctrl-C" if isinstance(error, KeyboardInterrupt) else redacted(str(error)) or "cancelled"


def _may_be_tried_again(error: Exception, of: Description) -> bool:
    if isinstance(error, RetryRun):  # it asks for the whole run: a task that tried again would be in the way
        return of.kind == "flow"
    return not isinstance(error, NOT_RETRIED)


def _delay_s(error: Exception, delay_s: Callable[[int], float], attempt: int) -> float:
    if isinstance(error, RetryRun) and error.delay_seconds is not None:
        return error.delay_seconds
    return delay_s(attempt)
