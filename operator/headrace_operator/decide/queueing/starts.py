"""The starts that a rate counts: those that are stored, and those that were granted and are not stored yet."""

from __future__ import annotations

from bisect import bisect_right, insort
from datetime import datetime, timedelta

from headrace_operator.decide.queueing.terms import Rate
from headrace_operator.decide.snapshot import ObjectKey


class Starts:
    """
    Starts under one rate. A start leaves the window `per_s` seconds after its instant.

    A granted start counts until its run is held or released; by then the stored ones tell it.
    """

    def __init__(self) -> None:
        self._stored: tuple[datetime, ...] = ()
        self._granted: dict[ObjectKey, datetime] = {}

    def tell(self, stored: tuple[datetime, ...]) -> bool:
        """What is stored now. Returns whether that is news."""
        stored = tuple(sorted(stored))
        changed = stored != self._stored
        self._stored = stored
        return changed

    def grant(self, run: ObjectKey, now: datetime) -> None:
        """Count a start that is about to be made."""
        self._granted[run] = now

    def settle(self, run: ObjectKey) -> None:
        """Count the run's start no longer, unless it is stored."""
        self._granted.pop(run, None)

    def free(self, rate: Rate, now: datetime) -> int:
        """How many starts the rate lets through now; negative where it was lowered."""
        begin = now - timedelta(seconds=rate.per_s)
        stored = len(self._stored) - bisect_right(self._stored, begin)
        return rate.count - stored - sum(start > begin for start in self._granted.values())

    def opens_at(self, rate: Rate, now: datetime, needed: int) -> datetime | None:
        """When so many starts will be let through, if none is made until then; None if the rate is lower than that."""
        within = self._within(rate, now)
        leaving = len(within) + needed - rate.count
        if not 0 < leaving <= len(within):
            return None
        return within[leaving - 1] + timedelta(seconds=rate.per_s)

    def _within(self, rate: Rate, now: datetime) -> list[datetime]:
        begin = now - timedelta(seconds=rate.per_s)
        within = list(self._stored[bisect_right(self._stored, begin) :])
        for start in self._granted.values():
            if start > begin:
                insort(within, start)
        return within
