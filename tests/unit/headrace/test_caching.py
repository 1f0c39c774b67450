"""The options that say how results are kept: what they may be, and the advice for what they may not."""

import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest

import headrace.caching
from headrace import UsageError, flow, task
from headrace.caching import (
    DEFAULT,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    task_input_hash,
)


def load(rows, connection=None):
    return rows, connection


async def key(context, parameters):
    return f"{context}{parameters}"


MISUSES = {
    "a policy that is none": (lambda: task(cache_policy="inputs"), "@task: cache_policy is 'inputs', expected one of headrace.caching"),
    "a policy and a function": (lambda: task(cache_policy=INPUTS, cache_key_fn=task_input_hash), "write cache_policy=INPUTS + CacheKeyFnPolicy(…), or one of them"),
    "an async key function": (lambda: task(cache_key_fn=key), "@task: cache_key_fn is <function key at"),
    "a key that is no function": (lambda: CacheKeyFnPolicy("day"), "cache_key_fn is 'day', expected a function of the task run and its parameters"),
    "an expiration of 0": (lambda: task(cache_policy=INPUTS, cache_expiration=0), "cache_expiration is 0, expected more than 0 seconds or a timedelta"),
    "an expiration in the past": (lambda: task(cache_policy=INPUTS, cache_expiration=timedelta(-1)), "cache_expiration is datetime.timedelta(days=-1)"),
    "an expiration of nothing": (lambda: task(name="x", cache_expiration=60), '@task "x": cache_expiration needs a policy; add cache_policy=INPUTS'),
    "a refresh of nothing": (lambda: task(refresh_cache=True), "@task: refresh_cache needs a policy"),
    "a refresh that is none": (lambda: task(cache_policy=INPUTS, refresh_cache="yes"), "refresh_cache is 'yes', expected True or False"),
    "persist_result as text": (lambda: task(persist_result="no"), "persist_result is 'no', expected True or False"),
    "a format that is none": (lambda: task(result_serializer="compressed/json"), 'expected one of "json", "pickle", "arrow", "parquet"'),
    "a cache that stores nothing": (lambda: task(persist_result=False, cache_policy=INPUTS), "persist_result=False stores nothing that could be cached"),
    "a result that nothing takes": (lambda: task(persist_result=True, cache_policy=NO_CACHE), "leave one of them away"),
    "a parameter that is none": (lambda: task(cache_policy=INPUTS - "conn")(load), 'cache_policy leaves out "conn", which is no parameter; there are: rows, connection'),
    "a policy on a flow": (lambda: flow(cache_policy=INPUTS), '@flow: unknown option "cache_policy"'),
    "a policy plus text": (lambda: INPUTS + "x", "a cache policy plus 'x': expected another one"),
    "a policy minus a policy": (lambda: INPUTS - TASK_SOURCE, 'expected a name, such as INPUTS - "connection"'),
    "no inputs to leave one out of": (lambda: RUN_ID - "x", 'a cache policy without INPUTS has no parameter "x"'),
    "inputs that cannot be hashed": (lambda: task_input_hash(None, {"connection": lambda: 1}), "leave that parameter out of the key"),
}  # fmt: skip


@pytest.mark.parametrize(("misuse", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_told_with_what_to_write_instead(misuse, message):
    """Where it is written."""
    with pytest.raises(UsageError, match=re.escape(message)):
        misuse()


def test_policies_add_up():
    """In any order, and to the same."""
    assert INPUTS + TASK_SOURCE + RUN_ID == DEFAULT == RUN_ID + (TASK_SOURCE + INPUTS)
    assert INPUTS + NO_CACHE == INPUTS
    assert INPUTS - "a" - "b" == (INPUTS - "b") + (INPUTS - "a")
    assert isinstance(DEFAULT - "a", CachePolicy)


def test_a_task_without_such_options_says_nothing():
    """And costs nothing; the options are those of with_options() too."""
    assert task(load).described.keeping is None
    cached = task(load).with_options(cache_policy=INPUTS - "connection", cache_expiration=60)
    assert cached.described.keeping.expiration_s == 60
    assert task(cache_policy=NO_CACHE)(load).described.keeping == task(persist_result=False)(load).described.keeping


def test_public_names_are_there():
    """What __all__ promises."""
    assert all(hasattr(headrace.caching, name) for name in headrace.caching.__all__)


SCRIPT = """
import time
from headrace import flow, task
from headrace.caching import INPUTS

@task(cache_policy=INPUTS)
def rates(currency):
    with open("journal", "a") as file:
        file.write("computed\\n")
    time.sleep(0.5)  # the others come meanwhile
    return {currency: 1.5}

@flow
def main():
    print(rates("EUR"))

if __name__ == "__main__":
    main()
"""


def test_of_several_processes_one_computes(tmp_path):
    """The others wait for it, and get the same."""
    (tmp_path / "etl.py").write_text(SCRIPT)
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HEADRACE_LOG_FORMAT": "json"}
    command = [sys.executable, "etl.py"]
    started = [
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [out for out, _ in ended] == ["{'EUR': 1.5}\n"] * 4
    assert (tmp_path / "journal").read_text() == "computed\n"
    assert sum("in the cache" in err for _, err in ended) == 3
