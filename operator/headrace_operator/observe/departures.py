"""Runs that left the stream of unfinished runs, and of which it is not known yet whether they ended or were deleted."""

from __future__ import annotations

from typing import NamedTuple

from headrace_operator.decide.snapshot import ObjectKey


class Departure(NamedTuple):
    """A run that left; `deployment` is None for a run without one."""

    uid: str
    deployment: ObjectKey | None


class Departures:
    """At most one run of each name."""

    def __init__(self) -> None:
        self._left: dict[ObjectKey, Departure] = {}
        self._count: dict[ObjectKey, int] = {}

    def add(self, run: ObjectKey, departure: Departure) -> None:
        """It left; one of the same name that left before is not asked about any more."""
        self.settle(run)
        self._left[run] = departure
        if departure.deployment is not None:
            self._count[departure.deployment] = self.of(departure.deployment) + 1

    def settle(self, run: ObjectKey) -> Departure | None:
        """What became of it is known now: what was noted of it, None if nothing was."""
        departure = self._left.pop(run, None)
        if departure is not None and departure.deployment is not None:
            left = self._count.pop(departure.deployment) - 1
            if left:
                self._count[departure.deployment] = left
        return departure

    def uid(self, run: ObjectKey) -> str | None:
        """The uid of the run of this name that left, if one did."""
        departure = self._left.get(run)
        return departure.uid if departure else None

    def of(self, deployment: ObjectKey) -> int:
        """How many runs of this Deployment left."""
        return self._count.get(deployment, 0)
