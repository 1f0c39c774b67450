"""
Limits within this process, for flows that run without a cluster.

    HEADRACE_LOCAL_LIMITS="postgres=5 api=10/60"    5 slots; 10 starts in 60 seconds

A name that is not in there lets one block in at a time, and any number of starts.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from headrace.errors import LimitUnusable, TimedOut, UsageError, shown
from headrace.limits.demand import Demand
from headrace.limits.holding import Held, Monotonic, Taken
from headrace.limits.ways import Notice, Wait, Way
from headrace.slots import Rate

LOCAL_LIMITS_ENV: Final = "HEADRACE_LOCAL_LIMITS"
ENTRY: Final = re.compile(r"([a-zA-Z0-9.-]+)=(\d+)(?:/(\d+))?")
FOREVER_S: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the environment sets: slots by limit, and rates by limit."""

    slots: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)


def sizes_of(text: str) -> Sizes:
    """The sizes that HEADRACE_LOCAL_LIMITS sets. Raises: UsageError."""
    found = [(word, ENTRY.fullmatch(word)) for word in text.replace(",", " ").split()]
    for word, match in found:
        if match is None or "0" in {match[2], match[3]}:
            raise UsageError(
                f'{LOCAL_LIMITS_ENV} has {shown(word)}, expected "name=slots" or "name=starts/seconds", numbers from 1'
            )
    entries = [match for _, match in found if match]
    return Sizes(
        slots={each[1]: int(each[2]) for each in entries if not each[3]},
        rates={each[1]: Rate(int(each[2]), int(each[3])) for each in entries if each[3]},
    )


class LocalLimits:
    """Slots and rates of one process: first come, first served, for threads and event loops alike."""

    def __init__(self, sizes: Sizes, clock: Monotonic = monotonic) -> None:
        self._sizes = sizes
        self._clock = clock
        self._lock = threading.Lock()
        self._line: list[_Place] = []
        self._held: dict[str, int] = defaultdict(int)
        self._takings: dict[str, int] = defaultdict(int)
        self._starts: dict[str, tuple[int, ...]] = {}

    async def acquire(self, demand: Demand, timeout_s: float | None, way: Way) -> Held:
        """As promised by Limits."""
        self._refuse_the_impossible(demand)
        place = _Place(demand)
        try:
            with self._lock:
                self._line.append(place)
                self._admit()
            await way.until(place.turn, timeout_s)
        except BaseException:
            self._leave(place)
            raise
        if not place.admitted:
            self._leave(place)
            raise TimedOut(f"waiting for {demand}", timeout_s or 0.0)
        return place.held

    async def release(self, held: Held, way: Way) -> None:  # noqa: ARG002 - nothing waits here
        """As promised by Limits."""
        with self._lock:
            for each in held.taken:
                self._held[each.limit] -= 1
            held.taken.clear()
            self._admit()

    async def start(self, limit: str, count: int, timeout_s: float | None, way: Way) -> None:
        """As promised by Limits."""
        until_s = None if timeout_s is None else self._clock() + timeout_s
        while left_s := self._seconds_until_start(limit, count):
            if until_s is not None and self._clock() + left_s > until_s:
                raise TimedOut(f'waiting for the rate of limit "{limit}"', timeout_s or 0.0)
            await way.until(Wait().notice, left_s)

    def _seconds_until_start(self, limit: str, count: int) -> float:
        """0 if it was noted."""
        rate = self._sizes.rates.get(limit)
        if rate is None:
            return 0
        if count > rate.count:
            raise LimitUnusable(limit, f"{count} starts are asked for, and {LOCAL_LIMITS_ENV} allows {rate.count}")
        now_ms = round(self._clock() * 1000)
        with self._lock:
            starts = self._starts.get(limit, ())
            left_s = rate.seconds_until(starts, count, now_ms)
            if not left_s:
                self._starts[limit] = rate.noted(starts, count, now_ms)
        return left_s

    def _refuse_the_impossible(self, demand: Demand) -> None:
        for limit, count in demand.slots:
            total = self._sizes.slots.get(limit)
            # A name without a size lets one block in, however many slots it asks for.
            around = demand.held_around(limit)
            problem = demand.problem(limit, count, max(count, around) if total is None else total)
            if problem:
                raise LimitUnusable(limit, f"{problem} ({LOCAL_LIMITS_ENV} sets the slots of this process)")

    def _admit(self) -> None:
        """Lets in, from the front of the line, whoever finds what it asks for; nobody is overtaken at a limit it needs."""
        closed: set[str] = set()
        for place in tuple(self._line):
            names = {limit for limit, _ in place.demand.slots}
            if closed & names or not all(self._fits(limit, count) for limit, count in place.demand.slots):
                closed |= names
                continue
            self._line.remove(place)
            self._let_in(place)

    def _fits(self, limit: str, count: int) -> bool:
        total = self._sizes.slots.get(limit)
        return self._held[limit] == 0 if total is None else self._held[limit] + count <= total

    def _let_in(self, place: _Place) -> None:
        for limit, count in place.demand.slots:
            self._held[limit] += count
            for _ in range(count):
                self._takings[limit] += 1
                token = self._takings[limit]
                place.held.taken.append(Taken(limit, f"{limit}.local-{token}", "", token, FOREVER_S, 0))
        place.admitted = True
        place.turn.give()

    def _leave(self, place: _Place) -> None:
        with self._lock:
            if place in self._line:
                self._line.remove(place)
            for each in place.held.taken:
                self._held[each.limit] -= 1
            self._admit()


class _Place:
    """A place in the line; told apart by identity."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.turn = Notice()
        self.held = Held()
        self.admitted = False
