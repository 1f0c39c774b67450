"""The starts that a rate counts: those that are stored, and those that were granted and are not stored yet."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from datetime import datetime, timedelta

from headrace_operator.decide.queueing.terms import Rate
from headrace_operator.decide.snapshot import ObjectKey


class Starts:
    """
    Starts under one rate. A start leaves the window `per_s` seconds after its instant.

    A granted start may be made at any time from now on, so it counts as if it were made now, until a start is stored
    that was not before. Whose it is cannot be told, and need not: the figures add up. If somebody else's is taken for
    it, one start too many may be granted; storing it is then refused, by the same rate.
    """

    def __init__(self) -> None:
        self._stored: tuple[datetime, ...] = ()
        self._granted: set[ObjectKey] = set()
        self._told = 0  # of those granted, how many are among the stored

    def tell(self, stored: tuple[datetime, ...]) -> bool:
        """What is stored now. Returns whether that is news."""
        stored = tuple(sorted(stored))
        if stored == self._stored:
            return False
        new = (Counter(stored) - Counter(self._stored)).total()
        self._told += new
        self._stored = stored
        self._forget_if_all_told()
        return True

    def grant(self, run: ObjectKey) -> None:
        """Count a start that is about to be made; the run's last one has been ended."""
        self._granted.add(run)

    def end(self, run: ObjectKey) -> None:
        """The run is over, or about to start once more: of its last start, what is stored counts."""
        if run in self._granted:
            self._granted.discard(run)
            self._told = max(0, self._told - 1)
            self._forget_if_all_told()

    def take_back(self, run: ObjectKey) -> None:
        """The run's start fell through and will not be made."""
        self._granted.discard(run)
        self._forget_if_all_told()

    def free(self, rate: Rate, now: datetime) -> int:
        """How many starts the rate lets through now; negative where it was lowered."""
        return rate.count - len(self._stored) + self._first_within(rate, now) - self._to_come()

    def opens_at(self, rate: Rate, now: datetime, needed: int) -> datetime | None:
        """When so many starts will be let through, if none is made until then; None if time alone does not do it."""
        within = self._stored[self._first_within(rate, now) :]
        leaving = len(within) + self._to_come() + needed - rate.count
        return within[leaving - 1] + timedelta(seconds=rate.per_s) if 0 < leaving <= len(within) else None

    def _to_come(self) -> int:
        return len(self._granted) - self._told

    def _forget_if_all_told(self) -> None:
        # What was taken for somebody else's start does no harm for longer than launches are under way.
        if self._told >= len(self._granted):
            self._granted.clear()
            self._told = 0

    def _first_within(self, rate: Rate, now: datetime) -> int:
        return bisect_right(self._stored, now - timedelta(seconds=rate.per_s))
