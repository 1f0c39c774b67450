"""Slots that a block holds, and whether it still does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from headrace import slots
from headrace.errors import ConcurrencyLost

Monotonic = Callable[[], float]
"""Seconds; only differences mean something."""


def uptime_s() -> float:
    """Seconds that also pass while the process is stopped or the machine sleeps, where the system can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(slots=True)
class Taken:
    """
    One slot.

    Attributes: `lease` is the name of its Lease, `token` its transitions, `confirmed_s` when the last request was sent that
    the API server has answered with success: the slot is ours for `duration_s` from then on, in anybody's eyes.
    """

    limit: str
    lease: str
    holder: str
    token: int
    duration_s: float
    confirmed_s: float

    @property
    def expires_s(self) -> float:
        """From then on somebody else may hold it."""
        return self.confirmed_s + self.duration_s

    @property
    def renewal_due_s(self) -> float:
        """When it should be renewed."""
        return self.confirmed_s + self.duration_s / slots.RENEWALS_PER_DURATION


class Held:
    """
    What a block holds: `with concurrency("postgres") as held`.

    Ask `check()` before each step that nobody else may do at the same time. `token` grows with every holder of the slot: a
    store that refuses a smaller token than it has seen cannot be written to by a holder that was lost.
    """

    def __init__(self, clock: Monotonic = uptime_s) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lost: ConcurrencyLost | None = None
        self._when_lost: Callable[[], object] | None = None
        self.taken: list[Taken] = []
        """By limit, in ascending order."""

    def __repr__(self) -> str:
        return f"<held {', '.join(self.tokens)}>"

    @property
    def token(self) -> int:
        """How often the first slot was taken, this time included. Comparable between holders of the same slot."""
        return self.taken[0].token

    @property
    def tokens(self) -> Mapping[str, int]:
        """The token of each slot by its name, such as {"postgres.slot-0": 7}."""
        return {each.lease: each.token for each in self.taken}

    @property
    def expires_s(self) -> float:
        """When the first of the slots is lost unless it is renewed."""
        return min((each.expires_s for each in self.taken), default=inf)

    def check(self) -> None:
        """Returns if every slot is still held. Raises: ConcurrencyLost."""
        now_s = self._clock()
        for each in self.taken:
            if now_s >= each.expires_s:
                self.lose(each, f"it was not renewed for {each.duration_s:g} s")
        if lost := self.lost:
            raise lost

    @property
    def lost(self) -> ConcurrencyLost | None:
        """What was lost first; None while everything is held."""
        return self._lost

    def lose(self, taken: Taken, cause: str) -> None:
        """Notes that a slot is lost and breaks off the block; the first loss counts."""
        with self._lock:
            if self._lost:
                return
            self._lost = ConcurrencyLost(taken.limit, taken.lease, cause)
            break_off = self._when_lost
        if break_off:
            break_off()

    def when_lost(self, break_off: Callable[[], object]) -> None:
        """Calls this when a slot is lost; at once if one is. At most one call."""
        with self._lock:
            self._when_lost = break_off
            lost = self._lost
        if lost:
            break_off()
