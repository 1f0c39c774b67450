"""
The runs of one deployment, in the order in which they may start.

Kept up to date run by run, so that asking for a run's place costs a binary search, whatever the queue's length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from headrace_operator.decide.snapshot import ObjectKey, Place


class Standing(Enum):
    """What a run is to its deployment."""

    ACTIVE = "holds a slot"
    WAITING = "waits for a slot"
    OUT = "neither: suspended before its start, paused, or about to be cancelled"


class _Turn(NamedTuple):
    """Sorts waiting runs: higher priority first, then who was due first. A tuple, which compares without any Python."""

    priority_down: int
    due: datetime
    key: ObjectKey


class Ledger:
    """Runs by standing, waiting ones sorted."""

    def __init__(self) -> None:
        self._standing: dict[ObjectKey, tuple[Standing, _Turn]] = {}
        self._waiting: list[_Turn] = []
        self._by_due: list[tuple[datetime, ObjectKey]] = []
        self._active = 0

    def __len__(self) -> int:
        return len(self._standing)

    def put(self, key: ObjectKey, standing: Standing, *, priority: int, due: datetime) -> bool:
        """Note where a run stands; whether that changed anything."""
        entry = (standing, _Turn(-priority, due, key))
        if self._standing.get(key) == entry:
            return False
        self.remove(key)
        self._standing[key] = entry
        if standing is not Standing.OUT:
            insort(self._by_due, (due, key))
        if standing is Standing.ACTIVE:
            self._active += 1
        elif standing is Standing.WAITING:
            insort(self._waiting, entry[1])
        return True

    def remove(self, key: ObjectKey) -> bool:
        """Forget a run; whether it was known."""
        entry = self._standing.pop(key, None)
        if entry is None:
            return False
        standing, turn = entry
        if standing is not Standing.OUT:
            del self._by_due[bisect_left(self._by_due, (turn.due, key))]
        if standing is Standing.ACTIVE:
            self._active -= 1
        elif standing is Standing.WAITING:
            del self._waiting[bisect_left(self._waiting, turn)]
        return True

    def place(self, key: ObjectKey) -> Place:
        """Where a run stands among the others."""
        entry = self._standing.get(key)
        if entry is None:
            return Place(active=self._active, ahead=len(self._waiting), newer=0)
        standing, turn = entry
        newer = 0
        if standing is not Standing.OUT:
            newer = len(self._by_due) - bisect_right(self._by_due, (turn.due, key))
        return Place(
            active=self._active - (standing is Standing.ACTIVE),
            ahead=bisect_left(self._waiting, turn),
            newer=newer,
        )

    @property
    def active_count(self) -> int:
        """Runs that hold a slot."""
        return self._active

    @property
    def waiting_count(self) -> int:
        """Runs that wait for a slot."""
        return len(self._waiting)

    def active(self) -> Iterator[ObjectKey]:
        """Runs that hold a slot, in no order."""
        return (key for key, (standing, _) in self._standing.items() if standing is Standing.ACTIVE)

    def all(self) -> list[ObjectKey]:
        """Every run of the deployment that has not finished."""
        return list(self._standing)
