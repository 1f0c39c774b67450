"""The name under which another process finds a task's function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

from headrace.engine.description import Description
from headrace.errors import UsageError


def reference(of: Description, *, entrypoint: str, code_dir: Path | None) -> str:
    """
    "module:qualified.name", or "path/to/file.py:qualified.name" for what is in the flow's own file.

    Args:
        entrypoint: Of the flow, which the other process loads first.
        code_dir: Where its file is looked for. None: the working folder.
    Raises: UsageError: another function, or none, is found there.
    """
    function = bare(of.function)
    module, name = function.__module__, function.__qualname__
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    described = getattr(found, "described", None)
    if not isinstance(described, Description) or bare(described.function) is not function:
        raise UsageError(
            f'task "{of.name}": it has a pod of its own, whose process looks for it as "{module}:{name}", and there is '
            "no such task; write @task above its `def`"
        )
    place = entrypoint.rpartition(":")[0]
    return f"{place if _is_file(module, place, code_dir) else module}:{name}"


def bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself; of a bound method that of its class."""
    return function.__func__ if isinstance(function, MethodType) else function


def _is_file(module: str, place: str, code_dir: Path | None) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return (
        place.endswith(".py")
        and file is not None
        and Path(file).resolve() == ((code_dir or Path.cwd()) / place).resolve()
    )
