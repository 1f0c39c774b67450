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
instants are written in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import structlog

from headrace.kubeapi.client import JSON_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound
from headrace_operator.errors import LeadershipLostError
from headrace_operator.kube.resources import LEASES
from headrace_operator.manifests.times import microseconds

log = structlog.get_logger()

RENEWALS: Final = 6
"""Renewals within one lease."""
RETRIES: Final = 60
"""Attempts within one lease after one that failed."""
LONGEST_PAUSE_S: Final = 2.0
"""A lease that was given back is taken within this time."""


class Leadership:
    """
    One candidate.

    Args:
        path: Namespace and name of the Lease; the namespace must exist.
        identity: Of this process; a process with the same identity is taken for its predecessor, which is over.
        lease_s: How long others wait for a leader that is silent.
        now: The time that is written for people to read.
        monotonic: Seconds that never go back, and go on while the process is stopped.
    """

    def __init__(
        self,
        client: KubeClient,
        path: tuple[str, str],
        identity: str,
        *,
        lease_s: float,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._client = client
        self._namespace, self._name = path
        self._identity = identity
        self._lease_s = lease_s
        self._now = now
        self._monotonic = monotonic
        self._renewed_at_s: float | None = None
        self._unchanged: tuple[str, float] | None = None

    @property
    def write_timeout_s(self) -> float:
        """A write that takes longer than this must be given up."""
        return self._lease_s / 3

    @property
    def leads(self) -> bool:
        """Whether a write may begin now."""
        return self._renewed_at_s is not None and self._monotonic() < self._renewed_at_s + self._lease_s / 2

    def fence(self) -> None:
        """Call it before each write. Raises: LeadershipLostError: another operator may lead by now."""
        if not self.leads:
            raise LeadershipLostError(self._identity)

    async def acquire(self) -> None:
        """Returns once this process leads. Faults of the API are waited out."""
        told = False
        while True:
            try:
                if await self._try():
                    log.info("leadership_acquired", identity=self._identity)
                    return
                if not told:
                    log.info("standing_by", identity=self._identity, lease=f"{self._namespace}/{self._name}")
                told = True
            except ApiError as error:
                log.warning("leader_lease_unreachable", error=str(error))
            await asyncio.sleep(min(LONGEST_PAUSE_S, self._lease_s / RENEWALS))

    async def keep(self) -> None:
        """Renews the lease for ever. Raises: LeadershipLostError."""
        renewed = True
        while True:
            # Half a lease is short: a renewal that failed is tried again soon, not when the next one is due.
            await asyncio.sleep(self._lease_s / (RENEWALS if renewed else RETRIES))
            renewed = await self._renew()
            self.fence()

    async def release(self) -> None:
        """Nothing is written any more, and the next one may lead at once. A fault of the API only makes it wait."""
        if self._renewed_at_s is None:
            return
        self._renewed_at_s = None
        try:
            await self._patch([self._is_ours(), {"op": "replace", "path": "/spec/holderIdentity", "value": ""}])
            log.info("leadership_released", identity=self._identity)
        except ApiError as error:
            log.warning("leader_lease_not_released", error=str(error))

    async def _try(self) -> bool:
        began_s = self._monotonic()
        try:
            lease = await self._client.get(self._path)
        except NotFound:
            return await self._create(began_s)
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") not in {None, "", self._identity} and not self._is_over(lease):
            return False
        transitions = int(spec.get("leaseTransitions") or 0)
        moved = spec.get("holderIdentity") != self._identity
        body = {**lease, "spec": self._spec(transitions + moved)}  # with the resourceVersion that was read
        began_s = self._monotonic()
        try:
            await self._client.request("PUT", self._path, body=body, timeout_s=self.write_timeout_s)
        except Conflict:
            return False
        self._renewed_at_s = began_s
        return True

    def _is_over(self, lease: dict[str, Any]) -> bool:
        """Whether it was seen unchanged, by our own clock, for as long as its holder asked for."""
        version = lease["metadata"]["resourceVersion"]
        if self._unchanged is None or self._unchanged[0] != version:
            self._unchanged = (version, self._monotonic())
        duration_s = float(lease["spec"].get("leaseDurationSeconds") or self._lease_s)
        return self._monotonic() >= self._unchanged[1] + duration_s

    async def _create(self, began_s: float) -> bool:
        body = {"metadata": {"name": self._name}, "spec": self._spec(0)}
        try:
            await self._client.create(LEASES.path(self._namespace), body, timeout_s=self.write_timeout_s)
        except AlreadyExists:
            return False
        self._renewed_at_s = began_s
        return True

    async def _renew(self) -> bool:
        began_s = self._monotonic()
        renewal = {"op": "replace", "path": "/spec/renewTime", "value": microseconds(self._now())}
        try:
            await self._patch([self._is_ours(), renewal])
        except (Invalid, NotFound) as error:  # another one holds it, or somebody removed it
            self._renewed_at_s = None
            raise LeadershipLostError(self._identity) from error
        except ApiError as error:
            log.warning("leader_lease_not_renewed", error=str(error))
            return False
        if self._renewed_at_s is not None:
            self._renewed_at_s = began_s
        return True

    async def _patch(self, operations: list[dict[str, Any]]) -> None:
        await self._client.patch(self._path, operations, content_type=JSON_PATCH, timeout_s=self._lease_s / RENEWALS)

    def _is_ours(self) -> dict[str, Any]:
        return {"op": "test", "path": "/spec/holderIdentity", "value": self._identity}

    def _spec(self, transitions: int) -> dict[str, Any]:
        now = microseconds(self._now())
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._lease_s)),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    @property
    def _path(self) -> str:
        return LEASES.path(self._namespace, self._name)
