"""
What lies between an operator and the simulated API, and what befalls it there.

    request ──> wire ──────────────────> API ──────────────────────> answer
            slow │ lost, refused (409,    │ truncated, unanswered,
                 │ 429, 500): no effect   │ disowned: it took effect

No request arrives later than its sender's patience, which the API server knows (`timeout`): one that did would defeat
every lease. What is on the wire arrives, whether or not its sender lives.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

from headrace.kubeapi.errors import ApiError, Conflict, Gone, TooManyRequests, Unavailable, Unreachable
from tests.simulated.client import Answer, Sent
from tests.simulated.watching import Watch

TRANSIT_S = 0.004
"""Longest way there, and back, without any fault."""
WATCH_ENDS = ("closed", "cut", "stalled", "expired")


@dataclass(frozen=True)
class Faults:
    """
    Shares of all requests, from 0 to 1 together, and how bad they are.

    Attributes:
        slow_s: Longest delay of a slow request, there and back.
        retry_after_s: What 429 asks for.
        expired: Share of watches, and of pages after the first, that are answered with 410.
        watch_life_s: Mean life of a watch until it ends as `watch_end` says; 0 leaves watches alone.
        repeats: How often each event is told.
        replayed: How many versions a watch begins too early, at most.
        killed: Share of the requests with which the sender dies.
    """

    slow: float = 0.0
    slow_s: float = 4.0
    lost: float = 0.0
    unanswered: float = 0.0
    truncated: float = 0.0
    conflict: float = 0.0
    throttled: float = 0.0
    retry_after_s: int = 1
    broken: float = 0.0
    disowned: float = 0.0
    expired: float = 0.0
    watch_life_s: float = 0.0
    watch_end: str = "closed"
    repeats: int = 1
    replayed: int = 0
    killed: float = 0.0


CALM = Faults()
KINDS = ("slow", "lost", "unanswered", "truncated", "conflict", "throttled", "broken", "disowned")


class BadWay:
    """
    The way of one operator.

    Args:
        kill: Ends the operator, at this very moment.

    Attributes:
        count: How many faults there were.
        departing: Writes that are about to go onto the wire.
    """

    def __init__(self, faults: Faults, dice: random.Random, kill: Callable[[], None] | None = None) -> None:
        self.faults = faults
        self.count = 0
        self.departing = 0
        self.is_dead = False
        self._dice = dice
        self._kill = kill
        self._watches: list[Watch] = []

    async def depart(self, sent: Sent) -> None:
        """Requests wait a little for a connection."""
        if self.is_dead:
            raise Unreachable(0, "Unreachable", "the sender is dead")
        is_write = sent.body is not None
        self.departing += is_write
        try:
            await asyncio.sleep(self._dice.uniform(0, TRANSIT_S))
        finally:
            self.departing -= is_write

    async def travel(self, sent: Sent, answer: Answer) -> bytes:
        """What the sender hears in the end."""
        kind = self._befalls(sent)
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[bytes] = loop.create_future()
        # In a context of nobody's: it arrives, and takes effect, even if its sender is stopped or dead by then.
        nobodys = Context()
        delay_s = self._dice.uniform(0, self.faults.slow_s) if kind == "slow" else 0.0
        way = _Way(sent, answer, heard, kind, loop.time() + sent.timeout_s, self.faults.retry_after_s)
        loop.call_later(self._dice.uniform(0, TRANSIT_S) + delay_s / 2, way.arrive, delay_s / 2, context=nobodys)
        if self._kill is not None and self._dice.random() < self.faults.killed:
            self.count += 1
            self._kill()
        async with asyncio.timeout(sent.timeout_s):
            return await heard

    def die(self) -> None:
        """The connections of the sender are closed."""
        self.is_dead = True
        for watch in self._watches:
            watch.close()
        self._watches.clear()

    def begins(self, version: int) -> int:
        """Earlier, where what is old is told again."""
        return max(0, version - self._dice.randint(0, self.faults.replayed)) if self.faults.replayed else version

    def opened(self, watch: Watch) -> None:
        """Its end is drawn."""
        self._watches = [each for each in self._watches if not each.is_closed]
        self._watches.append(watch)
        watch.repeats = self.faults.repeats
        if self.faults.watch_life_s:
            life_s = self._dice.expovariate(1 / self.faults.watch_life_s)
            asyncio.get_running_loop().call_later(life_s, self._end, watch, context=Context())

    def _end(self, watch: Watch) -> None:
        if watch.is_closed or not self.faults.watch_life_s:
            return
        self.count += 1
        match self.faults.watch_end:
            case "stalled":
                watch.is_silent = True
                return
            case "cut":
                watch.say(b'{"type":"MODIFIED","object":{"metada')
            case "expired":
                watch.say(
                    b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"old"}}\n'
                )
        watch.close()

    def _befalls(self, sent: Sent) -> str:
        """One of KINDS, "" for nothing."""
        if ("watch" in sent.params or "continue" in sent.params) and self._dice.random() < self.faults.expired:
            self.count += 1
            raise Gone(410, "Expired", "too old resource version")
        shares = [getattr(self.faults, kind) for kind in KINDS]
        kind = self._dice.choices((*KINDS, ""), (*shares, max(0.0, 1.0 - sum(shares))))[0]
        self.count += bool(kind)
        return kind


@dataclass(frozen=True)
class _Way:
    """One request on the wire."""

    sent: Sent
    answer: Answer
    heard: asyncio.Future[bytes]
    kind: str
    given_up_at_s: float
    retry_after_s: int

    def arrive(self, back_s: float) -> None:
        """It reaches the API server, unless it was lost or is refused."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self.given_up_at_s:
            return
        try:
            outcome: bytes | ApiError = self._outcome()
        except ApiError as error:
            outcome = error
        loop.call_later(TRANSIT_S / 2 + back_s, self._tell, outcome, context=Context())

    def _tell(self, outcome: bytes | ApiError) -> None:
        if self.heard.done():
            return
        if isinstance(outcome, ApiError):
            self.heard.set_exception(outcome)
        else:
            self.heard.set_result(outcome)

    def _outcome(self) -> bytes:
        """What is sent back. Raises: ApiError."""
        reset = Unreachable(0, "Unreachable", "connection reset")
        match self.kind:
            case "lost":
                raise reset
            case "conflict" if self.sent.body is not None:
                raise Conflict(409, "Conflict", "the object has been modified")
            case "throttled":
                raise TooManyRequests(429, "TooManyRequests", "too many requests", retry_after_s=self.retry_after_s)
            case "broken":
                raise Unavailable(500, "InternalError", "the server is out of sorts")
        payload = self.answer(self.sent)
        match self.kind:
            case "unanswered":
                raise reset
            case "disowned":
                raise Unavailable(504, "Timeout", "the server did not answer in time")
            case "truncated":
                return payload[: len(payload) // 2]
        return payload
