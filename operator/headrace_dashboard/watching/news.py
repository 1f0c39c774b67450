"""
What has changed, told to everybody who listens: one batch a tick, the same for all.

Batches are a chain. A listener holds the last one it has seen and waits for the next, so it misses none however slow it is, and those
that nobody holds are gone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

EVERYTHING: Final = 2000
"""Objects that are named in one tick; from there on listeners are told that anything may have changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object that is new, other than before, or gone. The namespace is empty for those that have none."""

    plural: str
    namespace: str
    name: str


@dataclass(slots=True)
class Batch:
    """The changes of one tick, and the way to the next."""

    changes: frozenset[Change]
    everything: bool
    places: Mapping[str, frozenset[str]]
    """Namespaces in which anything has changed, by kind: looked at before single objects."""
    _next: asyncio.Future[Batch] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def following(self) -> Batch:
        """The next one, as soon as there is one."""
        return await asyncio.shield(self._next)

    def link(self, batch: Batch) -> None:
        """Names the next one, once."""
        self._next.set_result(batch)


class News:
    """Gathers changes; `tick` hands them out."""

    def __init__(self) -> None:
        self._pending: set[Change] = set()
        self._everything = False
        self.latest = _batch(frozenset(), everything=False)

    def add(self, change: Change) -> None:
        """To be told with the next tick."""
        if len(self._pending) < EVERYTHING:
            self._pending.add(change)
        else:
            self._everything = True

    def add_everything(self) -> None:
        """Anything may have changed."""
        self._everything = True

    def tick(self) -> None:
        """Tells what has changed since the last one, if anything has."""
        if not self._pending and not self._everything:
            return
        batch = _batch(frozenset(self._pending), everything=self._everything)
        self._pending.clear()
        self._everything = False
        before, self.latest = self.latest, batch
        before.link(batch)

    async def run(self, tick_s: float) -> None:
        """Never returns; cancel it."""
        while True:
            await asyncio.sleep(tick_s)
            self.tick()


def _batch(changes: frozenset[Change], *, everything: bool) -> Batch:
    places: defaultdict[str, set[str]] = defaultdict(set)
    for change in changes:
        places[change.plural].add(change.namespace)
    return Batch(changes, everything, {plural: frozenset(found) for plural, found in places.items()})
