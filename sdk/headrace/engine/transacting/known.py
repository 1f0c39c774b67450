"""The hooks of tasks, by the names under which a later process has the same tasks."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Final

from headrace.engine.description import Description
from headrace.engine.hooks import Hooks

_KNOWN: Final[dict[tuple[str, ...], Hooks]] = {}


def task_key(of: Description) -> dict[str, str]:
    """What a journal says of a task: `module`, `function` in it, and `name`."""
    function = inspect.unwrap(of.function)
    function = getattr(function, "__func__", function)
    return {
        "module": str(getattr(function, "__module__", "")),
        "function": str(getattr(function, "__qualname__", "")),
        "name": of.name,
    }


def remember(of: Description) -> None:
    """Has the hooks of this task found later; of tasks with the same names, those of the last one."""
    _KNOWN[tuple(task_key(of).values())] = of.hooks


def hooks_of(key: Mapping[str, str]) -> Hooks | None:
    """The hooks of the task with this key, whose module is imported if need be; None: there is no such task."""
    wanted = tuple(str(key.get(part, "")) for part in ("module", "function", "name"))
    if wanted not in _KNOWN:
        try:
            importlib.import_module(wanted[0])
        except (ImportError, ValueError):
            return None
    return _KNOWN.get(wanted)
