"""
Which of several operators works: the one that holds a Lease.

    acquire() ──> leads ──> keep(): renewed every sixth of the lease ──> release(): the next one may lead at once
                               │ no renewal for half the lease
                               v
                    `fence` refuses every write; LeadershipLostError ends the process

    0 ────────────── 1/2 ────────────────── 5/6 ──── 1
    │ writes begin    │ no write begins      │        │ others may take the lease
    │                 │ the last ones end ───┘        │

Two bounds keep a deposed leader from writing beside the next one: no write begins later than half a lease after the
last renewal was sent, and each is given up, by the API server too, after a third of a lease. The clock is monotonic
and goes on while the process is stopped, so one that wakes too late finds that it may write no more; as it may have been stopped
anywhere, the fence is asked again when a request goes onto the wire. Others go by
their own clocks as well: they take the lease when they have seen it unchanged for all of its duration, whatever
instants are written in it, or it deleted by hand. They watch it, so that one that is given back is taken at once; what the watch says is asked of
the API once more before it is acted on.

A renewal counts from when it was sent, and none is sent once no write may begin: a process that slept through its lease, and
finds it still its own, has lost it all the same. One that has no answer yet holds up no other, so that an API server whose
answers take a third of a lease, as one that is overloaded, ends nobody.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from headrace.instants import microseconds
from headrace.kubeapi.client import JSON_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from headrace.kubeapi.stream import Stream
from headrace.slots import holder_of
from headrace_operator.errors import LeadershipLostError
from headrace_operator.kube.resources import LEASES
from headrace_operator.sightings import Sighting, Sightings

log = structlog.get_logger()

RENEWALS: Final = 6
"""Renewals within one lease."""
RETRIES: Final = 60
"""Attempts within one lease after one that failed."""
LONGEST_PAUSE_S: Final = 2.0
"""After a fault of the API, until it is asked again."""
NEVER_S: Final = -math.inf
"""Until when one leads who does not."""


@dataclass(frozen=True, slots=True)
class Timing:
    """
    By what a Lease is kept.

    Args:
        lease_s: How long others wait for a holder that is silent.
        now: The time that is written for people to read.
        monotonic: Seconds that never go back, and go on while the process is stopped.
    """

    lease_s: float
    now: Callable[[], datetime]
    monotonic: Callable[[], float]


class Leadership:
    """
    One candidate.

    Args:
        path: Namespace and name of the Lease; the namespace must exist.
        identity: Of this process; a process with the same identity is taken for its predecessor, which is over.
        labels: Of the Lease, where this process creates it.

    Attributes:
        succeeds_itself: Whether the Lease named this identity already: a write of the process before may be on its way.
    """

    def __init__(
        self,
        client: KubeClient,
        path: tuple[str, str],
        identity: str,
        *,
        timing: Timing,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._namespace, self._name = path
        self._identity = identity
        self._lease_s = timing.lease_s
        self._now = timing.now
        self._monotonic = timing.monotonic
        self._labels = dict(labels or {})
        self.succeeds_itself = False
        self._leads_until_s = NEVER_S
        self._acquired: Mapping[str, Any] = {}
        self._seen = Sightings(timing.monotonic)
        self._answered_s = -math.inf

    @property
    def silent_s(self) -> float:
        """Seconds since the API server last told of the Lease."""
        return self._monotonic() - max(self._answered_s, self._seen.heard_s)

    @property
    def write_timeout_s(self) -> float:
        """A write that takes longer than this must be given up."""
        return self._lease_s / 3

    @property
    def leads(self) -> bool:
        """Whether a write may begin now."""
        return self._monotonic() < self._leads_until_s

    @property
    def term(self) -> int:
        """How often the Lease has changed hands, when this process acquired it."""
        return int((self._acquired.get("spec") or {}).get("leaseTransitions") or 0)

    def fence(self) -> None:
        """Call it before each write. Raises: LeadershipLostError: another operator may lead by now."""
        if not self.leads:
            raise LeadershipLostError(self._identity)

    async def acquire(self) -> None:
        """Returns once this process leads. Faults of the API are waited out."""
        if await self._attempt():
            return
        log.info("standing_by", identity=self._identity, lease=f"{self._namespace}/{self._name}")
        async with self._watched():
            while True:
                await self._until_free()
                if await self._attempt():
                    return

    async def _attempt(self) -> bool:
        try:
            leads = await self._try()
        except ApiError as error:
            log.warning("leader_lease_unreachable", error=str(error))
            await asyncio.sleep(min(LONGEST_PAUSE_S, self._lease_s / RENEWALS))
            return False
        self._answered_s = self._monotonic()
        if leads:
            log.info("leadership_acquired", identity=self._identity)
        return leads

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        selector = {"fieldSelector": f"metadata.name={self._name}"}
        stream = Stream(self._client, LEASES.path(self._namespace), selector, self._seen)
        watching = asyncio.create_task(stream.run(), name="watch of the leader's lease")
        try:
            await self._seen.news(LONGEST_PAUSE_S)
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _until_free(self) -> None:
        """Returns when the lease may be ours for the asking."""
        while True:
            sighting = self._seen.last(self._name)
            if sighting is None or self._is_free(sighting):
                return
            await self._seen.news(sighting.over_at_s(self._lease_s) - self._monotonic())

    def _is_free(self, sighting: Sighting) -> bool:
        if sighting.holder in {"", self._identity}:
            return True
        return self._monotonic() >= sighting.over_at_s(self._lease_s)

    async def keep(self) -> None:
        """Renews the lease for ever. Raises: LeadershipLostError, in a group."""
        rhythm_s = self._lease_s / RENEWALS
        pause_s = rhythm_s
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as under_way:
            while True:
                await asyncio.sleep(pause_s)
                self.fence()
                next_s = loop.time() + rhythm_s
                renewal = under_way.create_task(self._renew(), name="renewal of a lease")
                answered, _ = await asyncio.wait({renewal}, timeout=rhythm_s)
                # Half a lease is short: one that failed is tried again soon, not when the next one is due.
                failed = bool(answered) and not renewal.result()
                pause_s = self._lease_s / RETRIES if failed else next_s - loop.time()

    async def release(self) -> None:
        """Nothing is written any more, and the next one may lead at once. A fault of the API only makes it wait."""
        if self._leads_until_s == NEVER_S:
            return
        self._leads_until_s = NEVER_S
        try:
            # A release may come late, when this identity leads anew: it is of one term only.
            term = {"op": "test", "path": "/spec/acquireTime", "value": self._acquired["spec"]["acquireTime"]}
            free = {"op": "replace", "path": "/spec/holderIdentity", "value": ""}
            await self._patch([self._is_ours(), term, free], timeout_s=self._lease_s / RENEWALS)
            log.info("leadership_released", identity=self._identity)
        except ApiError as error:
            log.warning("leader_lease_not_released", error=str(error))

    async def _try(self) -> bool:
        began_s = self._monotonic()
        try:
            lease = await self._client.request("GET", self._path, timeout_s=self.write_timeout_s)
        except NotFound:
            self._seen.missed(self._name)
            deleted = self._seen.last(self._name)
            return (deleted is None or self._is_free(deleted)) and await self._create(began_s)
        self._seen.seen(lease)
        sighting = self._seen.held[self._name]
        if sighting.version != int(lease["metadata"]["resourceVersion"]) or not self._is_free(sighting):
            return False
        transitions = int((lease.get("spec") or {}).get("leaseTransitions") or 0)
        moved = holder_of(lease) != self._identity
        body = {**lease, "spec": self._spec(transitions + moved)}  # with the resourceVersion that was read
        began_s = self._monotonic()
        try:
            stored = await self._client.request("PUT", self._path, body=body, timeout_s=self.write_timeout_s)
        except Conflict:
            return False
        self._acquired, self._leads_until_s = stored, self._half_a_lease_after(began_s)
        self.succeeds_itself = not moved
        return True

    async def _create(self, began_s: float) -> bool:
        body = {"metadata": {"name": self._name, "labels": self._labels}, "spec": self._spec(0)}
        try:
            stored = await self._client.create(LEASES.path(self._namespace), body, timeout_s=self.write_timeout_s)
        except AlreadyExists:
            return False
        self._acquired, self._leads_until_s = stored, self._half_a_lease_after(began_s)
        return True

    async def _renew(self) -> bool:
        began_s = self._monotonic()
        self.fence()
        renewal = {"op": "replace", "path": "/spec/renewTime", "value": microseconds(self._now())}
        try:
            await self._patch([self._is_ours(), renewal], timeout_s=self.write_timeout_s)
        except (Invalid, NotFound) as error:  # another one holds it, or somebody removed it
            self._leads_until_s = NEVER_S
            raise LeadershipLostError(self._identity) from error
        except ApiError as error:
            log.warning("leader_lease_not_renewed", error=str(error))
            return False
        if self._leads_until_s != NEVER_S:
            self._leads_until_s = max(self._leads_until_s, self._half_a_lease_after(began_s))
        return True

    def _half_a_lease_after(self, sent_s: float) -> float:
        return sent_s + self._lease_s / 2

    async def _patch(self, operations: list[dict[str, Any]], *, timeout_s: float) -> None:
        await self._client.patch(self._path, operations, content_type=JSON_PATCH, timeout_s=timeout_s)

    def _is_ours(self) -> dict[str, Any]:
        return {"op": "test", "path": "/spec/holderIdentity", "value": self._identity}

    def _spec(self, transitions: int) -> dict[str, Any]:
        now = microseconds(self._now())
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._lease_s),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    @property
    def _path(self) -> str:
        return LEASES.path(self._namespace, self._name)
