"""
What goes to another process: which function, its arguments, and the run that it belongs to.

A function goes by its name, as the process imports its module. One without such a name, and what pickle does not
know, need cloudpickle (the extra `headrace[processes]`).
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

from headrace.engine.transitions import told
from headrace.errors import UsageError

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Named:
    """A function that is found in its module."""

    module: str
    file: str
    name: str

    def found(self) -> Function:
        """The bare function. Raises: ImportError, AttributeError: it is not there."""
        member: Any = self._loaded()
        for part in self.name.split("."):
            member = getattr(member, part)
        function: Function = getattr(member, "fn", member)
        return function

    def _loaded(self) -> Any:
        if self.module in sys.modules:
            return sys.modules[self.module]
        try:
            return importlib.import_module(self.module)
        except ModuleNotFoundError:
            spec = importlib.util.spec_from_file_location(self.module, self.file)
            if spec is None or spec.loader is None or not Path(self.file).is_file():
                raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module] = module  # dataclasses and pickle look their module up there
        spec.loader.exec_module(module)
        return module


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What code in the process may ask about its run, and what becomes of its prints and log lines."""

    session: Mapping[str, Any]
    """Fields of the session."""
    flow: str
    flow_run: str
    task: str
    task_run: str
    attempt: int
    tags: tuple[str, ...]
    title: str
    fields: Mapping[str, Any]
    prints: bool
    levels: tuple[int, int]
    """Of the root logger, and of the logger of runs."""
    trace: Mapping[str, str]
    """Headers that carry the current span; empty where nobody traces."""
    secrets: tuple[str | bytes, ...]
    """What the process must not show, beside what its environment tells it."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A call of a function in another process, with what is around it there."""

    function: Named | Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    surroundings: Surroundings


def packed(
    label: str, function: Function, arguments: tuple[tuple[Any, ...], Mapping[str, Any]], around: Surroundings
) -> bytes:
    """
    The errand, ready to be sent.

    Raises: UsageError: function or arguments cannot be sent; the message says what to write instead.
    """
    args, kwargs = arguments
    if isinstance(function, MethodType):
        args = (function.__self__, *args)
    function = getattr(function, "__func__", function)
    named = name_of(function)
    if named is None and _cloudpickle() is None:
        raise UsageError(
            f"{label}: another process cannot find {getattr(function, '__qualname__', function)}; write it as a `def` at "
            "the top of its module, or install headrace[processes], which sends such functions too"
        )
    try:
        return dumped(Errand(named or function, args, kwargs, around))
    except Exception as error:
        raise UsageError(
            f"{label}: its arguments cannot be sent to another process ({told(error)}); pass what they can be made from, "
            "such as a path or a URL"
        ) from error


def name_of(function: Function) -> Named | None:
    """Where another process finds the function; None if it does not."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    loaded = sys.modules.get(module or "")
    found: Any = loaded
    for part in name.split("."):
        found = getattr(found, part, None)
    file = getattr(loaded, "__file__", None)
    if getattr(found, "fn", found) is not function or (module == "__main__" and file is None):
        return None
    return Named(str(module), file or "", name)


def dumped(value: Any) -> bytes:
    """The value as bytes. Raises: what pickle raises, where cloudpickle is not there or does not know it either."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        cloudpickle = _cloudpickle()
        if cloudpickle is None:
            raise
        data: bytes = cloudpickle.dumps(value)
        return data


def _cloudpickle() -> Any:
    try:
        import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return cloudpickle
