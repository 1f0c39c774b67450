"""How objects of one kind come in and go, and which of them tell nothing new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.parse import object_key, version_of


class Held(Protocol):
    """What is held of an object of any kind."""

    @property
    def key(self) -> ObjectKey: ...
    @property
    def uid(self) -> str: ...
    @property
    def version(self) -> int: ...


class Door(NamedTuple):
    """How objects of one kind come in and go; `held` is what the cache has of them."""

    seen: Callable[[dict[str, Any]], None]
    gone: Callable[[ObjectKey, str], None]
    held: Mapping[ObjectKey, Held]


def is_echo(held: Mapping[ObjectKey, Held], obj: Mapping[str, Any]) -> bool:
    """Whether nothing newer is in it than is held: most events are echoes of our own writes, and need not be read."""
    old = held.get(object_key(obj))
    return old is not None and old.version >= version_of(obj) and old.uid == obj["metadata"]["uid"]
