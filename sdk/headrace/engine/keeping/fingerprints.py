"""
Digests that are the same in every process, whatever its hash seed.

Two values have the same digest if they are equal and of the same types. The order of a dict counts, as a function may see
it; that of a set does not. A value is walked by pickle, which knows what most things are made of.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MethodType
from typing import Any, Final
from uuid import UUID

from headrace.engine.transitions import told

DIGEST_BYTES: Final = 16
PROTOCOL: Final = 4
"""Fixed: another protocol writes other bytes for the same value."""

PLAIN: Final = (str, bytes, int, float, complex, date, time, timedelta, Decimal, UUID, Enum, PurePath, type(None))
"""Values that nobody changes in place, so that they are the same in each attempt."""

_hash = partial(blake2b, digest_size=DIGEST_BYTES)


class Undigestible(ValueError):
    """The value is nothing that could be told from others, such as a connection or a lock; the text says why."""


def digest(value: Any) -> bytes:
    """Sixteen bytes that tell this value from others. Raises: Undigestible."""
    sink = _Sink()
    try:
        _Walk(sink).dump(value)
    except Exception as error:  # what pickle raises, and what the classes of foreign values do
        raise Undigestible(told(error)) from error
    return sink.hash.digest()


def origin_of(function: Callable[..., Any]) -> tuple[object, ...]:
    """
    What tells a function from another one of the same name and text: its module, and what it carries along.

    That is the plain values (PLAIN, and tuples of them) that it closes over, the arguments of a partial, and the whole of
    an object that is called.
    """
    function = getattr(function, "__func__", function)
    inner = inspect.unwrap(function)
    if isinstance(inner, partial):
        return *origin_of(inner.func), inner.args, inner.keywords
    if not isinstance(inner, FunctionType | MethodType):
        return type(inner).__module__, inner
    file = inner.__code__.co_filename
    module = Path(file).stem if inner.__module__ == "__main__" else inner.__module__
    return module, dict(_closed_over(function))


def source_of(function: Callable[..., Any]) -> str:
    """The text of the function, its decorators included; where there is none, what it was compiled to."""
    if isinstance(function, partial):
        return source_of(function.func)
    try:
        return inspect.getsource(function)
    except Exception:  # noqa: BLE001 - a file that has changed since is read as Python that it is not
        code = getattr(inspect.unwrap(function), "__code__", None)
        return "" if code is None else repr(_compiled(code))


class _Sink:
    __slots__ = ("hash",)

    def __init__(self) -> None:
        self.hash = _hash()

    def write(self, data: bytes) -> None:
        self.hash.update(data)


class _Walk(pickle.Pickler):
    """Writes no references: whether two equal texts are one object differs from process to process."""

    def __init__(self, sink: _Sink) -> None:
        super().__init__(sink, PROTOCOL)
        self.fast = True

    def persistent_id(self, obj: Any) -> object:
        """A set by its sorted items: it has another order in each process."""
        if not isinstance(obj, set | frozenset):
            return None
        return type(obj).__qualname__, sorted(map(digest, obj)), getattr(obj, "__dict__", None)


def _closed_over(function: Any) -> Iterator[tuple[str, object]]:
    """By name, what the function and those that it wraps close over, as far as it is plain."""
    depth = 0
    while function is not None:
        for name, cell in zip(*_cells_of(function), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # nothing was put there yet
                continue
            if _is_plain(value) and name not in _rebound(function.__code__):
                yield f"{depth} {name}", value
        function, depth = getattr(function, "__wrapped__", None), depth + 1


def _cells_of(function: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    return (code.co_freevars, cells) if code and cells else ((), ())


@lru_cache(maxsize=1024)
def _rebound(code: CodeType) -> frozenset[str]:
    """Names around the function that it binds anew, such as a count of its calls: they differ from call to call."""
    import dis  # noqa: PLC0415 - only functions in functions have such names

    return frozenset(each.argval for each in dis.get_instructions(code) if each.opname == "STORE_DEREF")


def _is_plain(value: object) -> bool:
    return all(map(_is_plain, value)) if type(value) is tuple else isinstance(value, PLAIN)


def _compiled(code: Any) -> tuple[object, ...]:
    constants = (_compiled(each) if hasattr(each, "co_code") else digest(each).hex() for each in code.co_consts)
    return code.co_code.hex(), code.co_names, *constants
