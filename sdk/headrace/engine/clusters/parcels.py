"""
What goes to a cluster and comes back, beyond an errand: the versions of both sides, the code, the lines of the log.

The machines of a cluster have headrace and the libraries, and seldom the flow's own files. So the code of these goes
along (cloudpickle), where it can.
"""

from __future__ import annotations

import os
import pickle
import platform
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from threading import Lock
from types import MethodType, ModuleType

from headrace.engine.processes import errands
from headrace.engine.processes.errands import Errand, Function, Surroundings
from headrace.engine.ways import Arguments

_REGISTERED = Lock()
"""cloudpickle keeps one list for the whole process."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What must be the same on both sides, as pickles and code are not understood by others."""

    headrace: str
    python: str

    def __str__(self) -> str:
        return f"headrace {self.headrace} on Python {self.python}"


@cache
def versions() -> Versions:
    """Those of this process."""
    return Versions(version("headrace"), ".".join(platform.python_version_tuple()[:2]))


@dataclass(frozen=True, slots=True)
class Parcel:
    """An errand on its way, which is unpacked by the right versions only."""

    versions: Versions
    errand: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker of the cluster sends back."""

    lines: tuple[bytes, ...] = ()
    """Of the log, oldest first: each a message of `headrace.engine.processes.worker`."""
    outcome: bytes = b""
    """As of such a process. Empty: the errand was not begun, for one of the two reasons that follow."""
    other_versions: Versions | None = None
    """The worker's own."""
    begun_before: bool = False
    """Whether another worker had begun it, and is gone."""


def packed(label: str, function: Function, arguments: Arguments, around: Surroundings) -> bytes:
    """
    The errand as it is sent, with the code of the flow's own files.

    Raises: UsageError: function or arguments cannot be sent; the message says what to write instead.
    """
    import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 - an extra

    args, kwargs = arguments
    if isinstance(function, MethodType):
        args = (function.__self__, *args)
    function = getattr(function, "__func__", function)
    with _REGISTERED, _sent_along(_own_modules(function)):
        try:
            data: bytes = cloudpickle.dumps(Errand(function, args, kwargs, around))
        except Exception:  # noqa: BLE001 - what the code refers to may be anything; the worker may have its module
            return errands.packed(label, function, (args, kwargs), around)
    return data


def wrapped(errand: bytes) -> bytes:
    """The errand with the versions of this side."""
    return pickle.dumps(Parcel(versions(), errand))


@contextmanager
def _sent_along(modules: list[ModuleType]) -> Iterator[None]:
    import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 - an extra

    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _own_modules(function: Function) -> list[ModuleType]:
    """The function's module and those from files beside it or below; none if it is that of a library."""
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    if file is None or _is_library(file):
        return []
    beside = os.path.dirname(file) + os.sep  # noqa: PTH120 - done for each errand, and much faster than a Path
    return [module for name, module in tuple(sys.modules.items()) if _is_own(name, module, beside)]


def _is_own(name: str, module: ModuleType, beside: str) -> bool:
    file = getattr(module, "__file__", None) or ""
    if not file.startswith(beside) or _is_library(file):
        return False
    # cloudpickle takes modules by their names, and __main__ always; the workers have headrace.
    return name == getattr(module, "__name__", "") and name.partition(".")[0] not in {"__main__", "headrace"}


def _is_library(file: str) -> bool:
    return file.startswith(_libraries()) or any(folder in file for folder in ("/site-packages/", "/dist-packages/"))


@cache
def _libraries() -> tuple[str, ...]:
    """Where the files of Python and of installed modules are."""
    paths = sysconfig.get_paths()
    return tuple({paths[kind] + os.sep for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
