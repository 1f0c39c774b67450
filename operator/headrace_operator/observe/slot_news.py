"""
What an engine has not looked at yet of the Leases of ConcurrencyLimits.

    store ──> note() for each engine of the process ──> is_pressing()? ──> take() by the gate, at once or before its next pass

Engines of one process share one store. Most of what it is told is of no concern to most of them at the moment: who holds a slot matters
to whom it is, and to those that wait for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MOST_BEHIND: Final = 64
"""Holders, after which news is looked at though nobody waits: it must not pile up."""


class SlotNews:
    """
    Of one engine.

    Args:
        serves: Whether a namespace is the engine's.
    """

    def __init__(self, serves: Callable[[str], bool]) -> None:
        self._serves = serves
        self._holders: dict[str, set[str]] = {}
        self._own: set[str] = set()

    def note(self, limit: str, holder: str, namespace: str) -> bool:
        """The holder, of this namespace, has more slots of the limit, or fewer. Returns whether it is one of the engine's own."""
        self.note_limit(limit)
        self._holders[limit].add(holder)
        is_own = self._serves(namespace)
        if is_own:
            self._own.add(limit)
        return is_own

    def note_limit(self, limit: str) -> None:
        """Something about its Leases is something else, be it who holds them or not."""
        if limit not in self._holders:
            self._holders[limit] = set()

    def has(self, limit: str) -> bool:
        """Whether there is news of it."""
        return limit in self._holders

    @property
    def limits(self) -> tuple[str, ...]:
        """Those of which there is news."""
        return tuple(self._holders)

    def is_own(self, limit: str) -> bool:
        """Whether there is news of a holder that is one of the engine's."""
        return limit in self._own

    def is_behind(self, limit: str) -> bool:
        """Whether there is so much of it that it should be looked at."""
        return len(self._holders.get(limit, ())) > MOST_BEHIND

    def take(self, limit: str) -> set[str]:
        """The holders whose number of slots may be another one than when this was last asked."""
        self._own.discard(limit)
        return self._holders.pop(limit, set())
