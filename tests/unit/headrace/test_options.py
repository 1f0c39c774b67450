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


def waits(wait_for):
    return wait_for


def one(day):
    return day


async def notice(task, run, state):
    return task, run, state


class Thing:
    pass


MISUSES = {
    "unknown option": (lambda: task(retry=3), '@task: unknown option "retry"; did you mean "retries"? options are '),
    "option of a flow on a task": (lambda: task(description="x"), '@task: unknown option "description"; options are cache_expiration, cache_key_fn,'),
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
    "reserved by submit()": (lambda: task(waits), 'has a parameter "wait_for", which the call itself takes; rename it'),
    "an option of Prefect": (lambda: task(retry_condition_fn=ok), 'unknown option "retry_condition_fn"; did you mean "retry_if"?'),
    "retry_if that is no condition": (lambda: task(retry_if="ConnectionError"), "retry_if is 'ConnectionError', expected an exception class"),
    "retry_if that takes nothing": (lambda: task(retry_if=ok), "or a function of the exception that returns True or False"),
    "retry_if of an empty list": (lambda: task(retry_if=[]), "retry_if is [], expected an exception class"),
    "retry_if on a flow": (lambda: flow(retry_if=OSError), '@flow: unknown option "retry_if"'),
    "a hook that takes nothing": (lambda: flow(on_failure=ok), "@flow: on_failure has <function ok at"),
    "what a hook takes": (lambda: task(name="x", on_retry=[3]), '@task "x": on_retry has 3, expected a function of three arguments, such as `def notify(task, run, state)`'),
    "an async hook of a def": (lambda: task(on_success=notice)(ok), "on_success has notice, an `async def`, which a `def` cannot await; write it as a `def`"),
    "a task_runner that is none": (lambda: flow(task_runner="processes"), "@flow: task_runner is 'processes', expected Threads(max_workers=8), Processes(max_workers=2), Dask("),
    "task_runner on a task": (lambda: task(task_runner=3), '@task: unknown option "task_runner"'),
    "tags as text": (lambda: task(tags="daily"), '@task: tags is \'daily\', expected a list of words, such as tags=["daily"]'),
    "a tag that is none": (lambda: flow(tags=[3]), "@flow: tags has 3, expected a word"),
    "a title of a strange parameter": (lambda: task(task_run_name="load {dya}")(one), 'task_run_name is "load {dya}", and {dya} is no parameter; there are: {day}'),
    "a title that cannot be read": (lambda: flow(flow_run_name="load {day")(one), "flow_run_name is \"load {day\", which cannot be read: expected '}' before end of string"),
    "a title that is none": (lambda: task(task_run_name=3), 'task_run_name is 3, expected a text such as "load-{day}", or a function of the parameters'),
    "with_options": (lambda: task(ok).with_options(retries=-1), "@task: retries is -1"),
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


def test_with_options_changes_only_what_it_names():
    """The task or flow itself stays as it is."""
    for decorator in (flow, task):
        first = (
            decorator(name="first", retries=2, description="x")(ok)
            if decorator is flow
            else task(name="first", retries=2)(ok)
        )
        second = first.with_options(name="second", timeout_seconds=5)
        assert (first.name, first.described.retries.limit, first.described.timeout_s) == ("first", 2, None)
        assert (second.name, second.described.retries.limit, second.described.timeout_s) == ("second", 2, 5.0)
        assert second() == 1
        assert second.with_options(timeout_seconds=None).described.timeout_s is None
    assert flow(description="x")(ok).with_options(retries=1).description == "x"
