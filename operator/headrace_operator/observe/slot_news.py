"""
What an engine has not looked at yet of the Leases of ConcurrencyLimits.

    store ──> of each engine: its own holders of whom there is news, and the limits of which there is any
                │
                └──> the gate looks, at once or before its next pass: each own holder by itself, all others as one number

Engines of one process share one store. Most of what it is told is of no concern to most of them: who of the others holds a slot matters to
none, how many they hold to those that wait for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, KeysView


class SlotNews:
    """
    Of one engine.

    Args:
        serves: Whether a namespace is the engine's.

    Attributes:
        limits: Those of which there is news, be it who holds their Leases or not.
        own: Those of which there is news of a holder that is one of the engine's.
    """

    def __init__(self, serves: Callable[[str], bool]) -> None:
        self.serves = serves
        self.limits: set[str] = set()
        self._holders: dict[str, set[str]] = {}
        self.own: KeysView[str] = self._holders.keys()
        self._held: Counter[str] = Counter()

    def note(self, limit: str, holder: str) -> None:
        """There is news of slots of a holder that is the engine's own."""
        self._holders.setdefault(limit, set()).add(holder)

    def count(self, limit: str, change: int) -> None:
        """The engine's own holders have so many more slots of the limit; fewer, where negative."""
        self._held[limit] += change

    def held(self, limit: str) -> int:
        """How many slots of the limit the engine's own holders have together."""
        return self._held[limit]

    def take(self, limit: str) -> set[str]:
        """The own holders whose number of slots may be another one than when this was last asked."""
        self.limits.discard(limit)
        return self._holders.pop(limit, set())
