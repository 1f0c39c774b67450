"""The starts that a rate counts: those that are stored, and those that were granted and are not stored yet."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta

from headrace_operator.decide.queueing.terms import Rate
from headrace_operator.decide.snapshot import ObjectKey


class Starts:
    """
    Starts under one rate. A start leaves the window `per_s` seconds after its instant.

    A granted start may be made at any time from now on, so it counts as if it were made now, until its run is held or
    gives it back; by then the stored ones tell it.
    """

    def __init__(self) -> None:
        self._stored: tuple[datetime, ...] = ()
        self._granted: set[ObjectKey] = set()

    def tell(self, stored: tuple[datetime, ...]) -> bool:
        """What is stored now. Returns whether that is news."""
        stored = tuple(sorted(stored))
        changed = stored != self._stored
        self._stored = stored
        return changed

    def grant(self, run: ObjectKey) -> None:
        """Count a start that is about to be made."""
        self._granted.add(run)

    def settle(self, run: ObjectKey) -> None:
        """Count the run's start no longer, unless it is stored."""
        self._granted.discard(run)

    def free(self, rate: Rate, now: datetime) -> int:
        """How many starts the rate lets through now; negative where it was lowered."""
        return rate.count - len(self._stored) + self._first_within(rate, now) - len(self._granted)

    def opens_at(self, rate: Rate, now: datetime, needed: int) -> datetime | None:
        """When so many starts will be let through, if none is made until then; None if time alone does not do it."""
        within = self._stored[self._first_within(rate, now) :]
        leaving = len(within) + len(self._granted) + needed - rate.count
        return within[leaving - 1] + timedelta(seconds=rate.per_s) if 0 < leaving <= len(within) else None

    def _first_within(self, rate: Rate, now: datetime) -> int:
        return bisect_right(self._stored, now - timedelta(seconds=rate.per_s))
