"""
How much an object holds: the length of every container that can be reached from it, by the way that leads there.

Two censuses of the same object, with the same things in the world, must be equal; what is longer in the second one has been kept.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

PASSED_BY = (
    str, bytes, int, float, type(None), type, ModuleType, FunctionType, MethodType, BuiltinFunctionType,
    asyncio.AbstractEventLoop, asyncio.Future, weakref.ref,
)  # fmt: skip
"""What holds nothing of ours, or everything."""


def census(root: object) -> dict[str, int]:
    """
    Lengths by way. Elements of containers share the way of their container, so that the ways are as many as the places in the code.

    What is in a container under a changing key (a run's name) is counted all the same: the lengths of all containers of one way
    are added.
    """
    lengths: dict[str, int] = {}
    met: set[int] = set()
    rest: deque[tuple[str, object]] = deque([("", root)])
    while rest:
        way, obj = rest.popleft()
        if isinstance(obj, PASSED_BY) or id(obj) in met:
            continue
        met.add(id(obj))
        if isinstance(obj, Sized) and isinstance(obj, dict | list | set | frozenset | tuple | deque):
            lengths[way] = lengths.get(way, 0) + len(obj)
        rest.extend(_below(way, obj))
    return lengths


def _below(way: str, obj: object) -> Iterator[tuple[str, object]]:
    if isinstance(obj, Mapping):
        for each in _copied(obj.items()):
            yield from ((f"{way}[]", part) for part in each)
    elif isinstance(obj, list | set | frozenset | tuple | deque):
        yield from ((f"{way}[]", each) for each in _copied(obj))
    for name in _attributes(obj):
        yield f"{way}.{name}", getattr(obj, name, None)


def _copied(items: Iterable[Any]) -> list[Any]:
    return list(items)


def _attributes(obj: object) -> Iterator[str]:
    yield from getattr(obj, "__dict__", {})
    for kind in type(obj).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        yield from (name for name in ((slots,) if isinstance(slots, str) else slots) if not name.startswith("__"))


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """What is longer than before, with both lengths."""
    return {way: (before.get(way, 0), length) for way, length in sorted(after.items()) if length > before.get(way, 0)}
