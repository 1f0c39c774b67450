"""Misuse of the decorators is answered where it is written."""

import asyncio
import functools
import re

import pytest

from headrace import Backoff, UsageError, flow, task


def ok():
    return 1


def rows():
    yield 1


async def stream():
    yield 1


def star(*days):
    return days


def slash(day, /):
    return day


def reserved(return_state):
    return return_state


class Thing:
    pass


MISUSES = {
    "unknown option": (lambda: task(retry=3), '@task: unknown option "retry"; did you mean "retries"? options are '),
    "option of a flow on a task": (lambda: task(description="x"), '@task: unknown option "description"; options are log_prints, name,'),
    "no function": (lambda: flow(3), "@flow: 3 is no function; write @flow above a `def` or `async def`"),
    "a name for a function": (lambda: flow("etl"), '@flow: the function is missing; to give a name, write @flow(name="etl")'),
    "a class": (lambda: task(Thing), "is no function"),
    "a staticmethod": (lambda: task(staticmethod(ok)), "@task: write @task below @staticmethod, next to the function"),
    "decorated twice": (lambda: flow(task(ok)), "is decorated already; use one of @flow and @task, once"),
    "a generator": (lambda: flow(rows), "@flow: rows yields; build a list and return it"),
    "an async generator": (lambda: task(stream), "@task: stream yields; build a list and return it"),
    "a lambda": (lambda: flow(lambda: 1), '@flow: a lambda has no name; write a `def`, or @flow(name="…")'),
    "a partial without a name": (lambda: task(functools.partial(ok)), "@task: name is '', expected some text"),
    "a builtin": (lambda: task(name="x")(iter), "@task: Python does not know the parameters of <built-in function iter>; call it in a `def`"),
    "an empty name": (lambda: task(name=" "), "@task: name is ' ', expected some text"),
    "reserved parameter": (lambda: task(reserved), 'has a parameter "return_state", which the call itself takes; rename it'),
    "negative retries": (lambda: task(retries=-1)(ok), "@task: retries is -1, expected a whole number of at least 0"),
    "retries as True": (lambda: flow(retries=True)(ok), "retries is True, expected a whole number"),
    "delay as text": (lambda: task(retry_delay_seconds="5")(ok), "retry_delay_seconds is '5', expected seconds"),
    "no delays": (lambda: task(retry_delay_seconds=[])(ok), "retry_delay_seconds is [], expected seconds"),
    "delay that is no number": (lambda: task(retry_delay_seconds=float("nan"))(ok), "retry_delay_seconds is nan, expected"),
    "timeout of 0": (lambda: flow(timeout_seconds=0)(ok), "timeout_seconds is 0, expected seconds of more than 0"),
    "log_prints as text": (lambda: flow(log_prints="yes")(ok), "log_prints is 'yes', expected True or False"),
    "validate_parameters as text": (lambda: flow(validate_parameters="no")(ok), "validate_parameters is 'no', expected True or False"),
    "description that is none": (lambda: flow(description=3)(ok), "description is 3, expected some text"),
    "star parameters": (lambda: flow(star), '@flow "star": "*days" cannot be given by name'),
    "positional parameters": (lambda: flow(slash), '@flow "slash": "day" cannot be given by name'),
}  # fmt: skip


@pytest.mark.parametrize(("misuse", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_told_with_what_to_write_instead(misuse, message):
    """At the decorator, before anything runs."""
    with pytest.raises(UsageError, match=re.escape(message)):
        misuse()


@pytest.mark.parametrize("option", [{"retries": -1}, {"timeout_seconds": 0}, {"name": 3}])
def test_a_wrong_option_is_told_before_the_function_is_known(option):
    """`@flow(retries=-1)` raises in its own line."""
    with pytest.raises(UsageError):
        flow(**option)


def test_decorators_take_every_form():
    """With and without parentheses; delays as number, list and function; the function stays what it was."""
    for decorator in (flow, task):
        assert decorator(ok)() == decorator()(ok)() == decorator(name="other")(ok)() == 1
        assert decorator(name="other")(ok).name == "other"
        assert (decorator(ok).name, decorator(ok).fn, decorator(ok).__wrapped__) == ("ok", ok, ok)
    for delay in (1, 0.5, [1, 2], (1, 2), Backoff(1), lambda failures: failures):
        assert task(retries=1, retry_delay_seconds=delay)(ok)() == 1
    assert task(name="inc")(lambda x: x + 1)(1) == 2
    assert asyncio.iscoroutinefunction(ok) is False
