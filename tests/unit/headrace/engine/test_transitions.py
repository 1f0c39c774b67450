"""What follows from the end of an attempt."""

from dataclasses import replace

import pytest

from headrace import ParameterError, RetryRun, TimedOut, UsageError
from headrace.engine.description import Description
from headrace.engine.retries import Retries
from headrace.engine.transitions import after_error
from headrace.states import Cancelled, Crashed, Failed, Retrying


def a_description(kind="task", limit=1):
    return Description(kind=kind, name="x", function=print, is_async=False, retries=Retries(limit, (5.0, 7.0)))


VALUE = ValueError("no\n  way")
RETRY = RetryRun("busy", 9)
EXIT = SystemExit(3)
TIMED_OUT = TimedOut('task "x-0"', 2)
STOP = KeyboardInterrupt()
CRASH = GeneratorExit("gone")
MISUSE = UsageError("write it so")
PARAMETERS = ParameterError("x", [], advice="it takes n")

CASES = {
    "an exception is tried again": (
        (VALUE, "task", 1),
        Retrying(message="ValueError: no way", exception=VALUE, attempt=1, delay_s=5.0),
    ),
    "the last attempt fails": ((VALUE, "task", 2), Failed(message="ValueError: no way", exception=VALUE, attempt=2)),
    "a timeout is tried again": (
        (TIMED_OUT, "task", 1),
        Retrying(message='task "x-0" took longer than its timeout of 2 s', exception=TIMED_OUT, attempt=1, delay_s=5.0),
    ),
    "RetryRun of a flow brings its own delay": (
        (RETRY, "flow", 1),
        Retrying(message="busy", exception=RETRY, attempt=1, delay_s=9),
    ),
    "RetryRun of a flow keeps to its retries": (
        (RETRY, "flow", 2),
        Failed(message="busy", exception=RETRY, attempt=2),
    ),
    "RetryRun of a task goes on to the flow": ((RETRY, "task", 1), Failed(message="busy", exception=RETRY, attempt=1)),
    "misuse is not tried again": ((MISUSE, "task", 1), Failed(message="write it so", exception=MISUSE, attempt=1)),
    "wrong parameters are not tried again": (
        (PARAMETERS, "flow", 1),
        Failed(message=str(PARAMETERS), exception=PARAMETERS, attempt=1),
    ),
    "sys.exit is no way out": (
        (EXIT, "flow", 1),
        Failed(message="the code called sys.exit(3); return to succeed, raise to fail", exception=EXIT, attempt=1),
    ),
    "another BaseException is a crash": (
        (CRASH, "task", 1),
        Crashed(message="GeneratorExit: gone", exception=CRASH, attempt=1),
    ),
}


@pytest.mark.parametrize(("seen", "state"), CASES.values(), ids=CASES)
def test_after_error(seen, state):
    """The table of the module's docstring."""
    error, kind, attempt = seen
    assert after_error(error, a_description(kind), attempt=attempt, cancelled=False) == state


def test_a_cancellation_is_never_tried_again():
    """Whatever the exception is."""
    assert after_error(STOP, a_description(limit=9), attempt=1, cancelled=True) == Cancelled(
        message="interrupted by Ctrl-C", exception=STOP, attempt=1
    )


def test_a_delay_function_that_raises_ends_the_retries():
    """With the error that began it, and a word about the function."""
    description = replace(a_description(), retries=Retries(1, lambda failures: {}[failures]))
    assert after_error(VALUE, description, attempt=1, cancelled=False) == Failed(
        message="ValueError: no way; not tried again, as retry_delay_seconds raised KeyError: 1",
        exception=VALUE,
        attempt=1,
    )
