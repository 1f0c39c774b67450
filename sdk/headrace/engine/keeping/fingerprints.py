"""
Digests that are the same in every process, whatever its hash seed.

Two values have the same digest if they are equal and of the same types. The order of a dict counts, as a function may see
it; that of a set does not. A value is walked by pickle, which knows what most things are made of.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import Any, Final

from headrace.engine.transitions import told

DIGEST_BYTES: Final = 16
PROTOCOL: Final = 4
"""Fixed: another protocol writes other bytes for the same value."""

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


def source_of(function: Callable[..., Any]) -> str:
    """The text of the function, its decorators included; where there is none, what it was compiled to."""
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


def _compiled(code: Any) -> tuple[object, ...]:
    constants = (_compiled(each) if hasattr(each, "co_code") else digest(each).hex() for each in code.co_consts)
    return code.co_code.hex(), code.co_names, *constants
