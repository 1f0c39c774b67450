"""
What the key of a cached result is made of: `@task(cache_policy=INPUTS + TASK_SOURCE)`.

docs/caching.md tells the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.engine.keeping.policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CachePolicy,
    KeyFunction,
    key_function_policy,
)
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.engine.scope import TaskRun

__all__ = [
    "DEFAULT",
    "FLOW_PARAMETERS",
    "INPUTS",
    "NO_CACHE",
    "RUN_ID",
    "TASK_SOURCE",
    "CacheKeyFnPolicy",
    "CachePolicy",
    "task_input_hash",
]


def CacheKeyFnPolicy(cache_key_fn: KeyFunction) -> CachePolicy:  # noqa: N802 - the name that people know
    """
    The policy whose key is what the function returns, called with the task run and its parameters by name.

    Raises: UsageError: it is no plain function.
    """
    return key_function_policy("CacheKeyFnPolicy", cache_key_fn)


def task_input_hash(context: TaskRun, parameters: Mapping[str, Any]) -> str:  # noqa: ARG001 - as key functions are called
    """
    A key function that tells parameters apart; INPUTS does the same.

    Raises: UsageError: one cannot be told from others, such as a connection.
    """
    from headrace.engine.keeping.fingerprints import Undigestible, digest  # noqa: PLC0415 - the engine is loaded later

    try:
        return digest(dict(parameters)).hex()
    except Undigestible as error:
        raise UsageError(f"task_input_hash: {error}; leave that parameter out of the key") from error
