"""
The Leases by which replicas share the shards.

    headrace-operator           held by all replicas of one number of shards together: two numbers never work at once
    headrace-operator-member-*  one a replica, renewed while it lives
    headrace-operator-shard-*   one a shard, written when it changes hands; it lasts as long as the Lease of its holder

A replica writes only while it has renewed the first two in time (`leadership.py` has the timing), and for shards that it has taken
since it was started. A shard is taken from a replica only after that one's own Lease names nobody:

    silent for a whole lease ──> vacated, by compare and swap on the version that was silent ──> its shards are nobody's
    told to stop             ──> it gives its shards back, then its own Lease

So whoever looks at an old picture, as its watch is broken, takes nothing from the living: their Lease has another version. One that
was vacated cannot renew any more, and had stopped writing half a lease before. One that is started anew under its old name takes its shards
anew, and each taking is a new version too: a shard's version is read before its holder's Lease is, and the taking rests on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from headrace.api.keys import OPERATOR_LABEL
from headrace.kubeapi.client import JSON_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists, Conflict, Invalid, NotFound
from headrace.kubeapi.stream import Stream
from headrace.slots import holder_of
from headrace_operator.decide.shard_spread import NOBODY, Spread
from headrace_operator.errors import LeadershipLostError
from headrace_operator.kube.resources import LEASES
from headrace_operator.leadership import RENEWALS, Leadership, Timing
from headrace_operator.manifests.shard import (
    MEMBER,
    counts_of,
    giving_up,
    held_by,
    member_labels,
    member_name,
    new_shard,
    ring_identity,
    shard_index,
    shard_name,
    telling,
    vacated,
)
from headrace_operator.observe.tallies import load_told
from headrace_operator.sightings import Sighting, Sightings

log = structlog.get_logger()


class Ring:
    """
    One replica among those that share the shards.

    Args:
        client: Used for Leases alone: renewals wait for no other request.
        path: Namespace of the Leases, and the name of the leader's.
        identity: Of this process, among the replicas.
        count: How many shards there are.
    """

    def __init__(
        self,
        client: KubeClient,
        path: tuple[str, str],
        identity: str,
        *,
        count: int,
        timing: Timing,
    ) -> None:
        self.held: set[int] = set()
        self.seen = Sightings(timing.monotonic)
        self._client = client
        self._home = path[0]
        self._me = identity
        self._count = count
        self._lease_s = timing.lease_s
        self._now = timing.now
        self._monotonic = timing.monotonic
        self._missing_since_s: dict[str, float] = {}
        self.number = Leadership(client, path, ring_identity(count), timing=timing)
        own = (self._home, member_name(identity))
        self.member = Leadership(client, own, identity, timing=timing, labels=member_labels())

    @property
    def write_timeout_s(self) -> float:
        """A write that takes longer than this must be given up."""
        return self.member.write_timeout_s

    def fence(self, shard: int) -> None:
        """Call it before each write for a shard. Raises: LeadershipLostError: another replica may hold it by now."""
        self.number.fence()
        self.member.fence()
        if shard not in self.held:
            raise LeadershipLostError(self._me)

    @property
    def is_alive(self) -> bool:
        """Whether this replica may write for any shard at all."""
        return self.number.leads and self.member.leads

    async def join(self) -> None:
        """Returns once no replica with another number of shards works, and this one is known to the others."""
        await self.number.acquire()
        keeping = asyncio.create_task(self.number.keep(), name="number of shards")
        try:
            await self.member.acquire()
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def keep(self) -> None:
        """Renews for ever. Raises: LeadershipLostError, in a group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.number.keep(), name="number of shards")
            group.create_task(self.member.keep(), name="member")

    async def watch(self) -> None:
        """Sees who holds what, for ever."""
        selector = {"labelSelector": f"{OPERATOR_LABEL} in (shard,member)"}
        await Stream(self._client, LEASES.path(self._home), selector, self.seen).run()

    def spread(self, *, is_calm: bool = True) -> Spread:
        """
        Who holds what, as it was last seen.

        Args:
            is_calm: As Spread has it.
        """
        members = {self._me, *(sighting.holder for sighting in self._members() if self._lives(sighting))}
        holders = [self._holder(self.seen.last(shard_name(shard)), shard) for shard in range(self._count)]
        self._forget_found(holders)
        told = self.told()
        loads = [load_told(told.get(shard, "")) for shard in range(self._count)]
        return Spread(self._me, holders, members, loads, is_calm=is_calm)

    def lost(self) -> list[int]:
        """Shards that are held here, but not according to their Leases: somebody edited those, or deleted them."""
        leases = {shard: self.seen.held.get(shard_name(shard)) for shard in self.held}
        return [shard for shard, lease in leases.items() if lease is None or lease.holder != self._me]

    def strays(self) -> list[int]:
        """Shards whose Leases name this replica, which has not taken them: an answer was lost, or its predecessor died."""
        named = [shard for shard in range(self._count) if self._names(shard) == self._me]
        return [shard for shard in named if shard not in self.held]

    async def take(self, shard: int) -> bool:
        """Take a shard that is nobody's. Returns: False: another one was quicker. Raises: ApiError: it may be ours or not."""
        sighting = self.seen.held.get(shard_name(shard))
        try:
            if sighting is None:
                body = new_shard(shard, self._me, lease_s=self._lease_s, now=self._now())
                path = LEASES.path(self._home)
                taken = await self._client.create(path, body, timeout_s=self.write_timeout_s)
            elif await self._is_vacant(sighting.holder):
                body = held_by(sighting.lease, self._me, lease_s=self._lease_s, now=self._now())
                taken = await self._put(shard_name(shard), body)
            else:
                return False
        except (AlreadyExists, Conflict, NotFound):
            await self._look(shard_name(shard))
            return False
        self.seen.seen(taken)
        self.held.add(shard)
        log.info("shard_taken", shard=shard, identity=self._me)
        return True

    async def give(self, shard: int) -> None:
        """Give back a shard for which nothing is under way any more. Raises: ApiError."""
        self.held.discard(shard)
        path = LEASES.path(self._home, shard_name(shard))
        sighting = self.seen.held.get(shard_name(shard))
        if sighting is None:
            return
        try:
            patch = giving_up(self._me, sighting.lease)
            freed = await self._client.patch(path, patch, content_type=JSON_PATCH, timeout_s=self.write_timeout_s)
            self.seen.seen(freed)
            log.info("shard_given_back", shard=shard, identity=self._me)
        except (Invalid, NotFound):  # it is another one's, or gone
            await self._look(shard_name(shard))

    def told(self) -> dict[int, str]:
        """What the holders of all shards count, as far as they told."""
        leases = {shard: self.seen.held.get(shard_name(shard)) for shard in range(self._count)}
        return {shard: counts_of(sighting.lease) for shard, sighting in leases.items() if sighting is not None}

    async def tell(self, shard: int, counts: str) -> None:
        """Tell the others what this shard counts, if that is news. Raises: ApiError."""
        sighting = self.seen.held.get(shard_name(shard))
        if sighting is None or shard not in self.held or counts_of(sighting.lease) == counts:
            return
        patch = telling(self._me, counts, is_first="annotations" not in sighting.lease["metadata"])
        path = self._path(shard_name(shard))
        try:
            stored = await self._client.patch(path, patch, content_type=JSON_PATCH, timeout_s=self.write_timeout_s)
        except (Invalid, NotFound):  # it is another one's, or gone
            await self._look(shard_name(shard))
        else:
            self.seen.seen(stored)

    async def bury(self) -> bool:
        """Vacate the Leases of replicas that were silent for too long. Returns whether there were any. Raises: ApiError."""
        dead = [sighting for sighting in self._members() if sighting.holder and not self._lives(sighting)]
        for sighting in dead:
            try:
                self.seen.seen(await self._put(sighting.name, vacated(sighting.lease)))
                log.warning("replica_gone", identity=sighting.holder, silent_s=round(self._silent_s(sighting), 1))
            except (Conflict, NotFound):  # it lives, or another one was quicker
                await self._look(sighting.name)
        return bool(dead)

    async def sweep(self) -> None:
        """Delete Leases of replicas that are gone and hold nothing, and of shards that there are no more. Raises: ApiError."""
        named = {self._names(shard) for shard in range(self._count)}
        for sighting in list(self.seen.held.values()):
            index = shard_index(sighting.name)
            is_left = index is not None and index >= self._count
            is_empty = sighting.name.startswith(MEMBER) and not sighting.holder
            if is_left or (is_empty and not any(member_name(name) == sighting.name for name in named if name)):
                await self._delete(sighting)

    async def leave(self) -> None:
        """Nothing is written any more, and nobody waits for this replica. A fault of the API only makes them wait."""
        await self.member.release()

    def next_change_s(self) -> float:
        """Seconds until somebody who stays silent is given up."""
        now_s = self._monotonic()
        over = [sighting.over_at_s(self._lease_s) for sighting in self._members() if sighting.holder]
        deleted = (self.seen.last(shard_name(shard)) for shard in range(self._count))
        over += [each.over_at_s(self._lease_s) for each in deleted if each is not None and self._holds_on(each)]
        missing = [since_s + self._lease_s for since_s in self._missing_since_s.values()]
        return max(0.0, min([*over, *missing, now_s + self._lease_s]) - now_s)

    def _members(self) -> Iterable[Sighting]:
        own = member_name(self._me)
        return [each for each in self.seen.held.values() if each.name.startswith(MEMBER) and each.name != own]

    def _lives(self, sighting: Sighting) -> bool:
        return bool(sighting.holder) and self._monotonic() < sighting.over_at_s(self._lease_s)

    def _holds_on(self, sighting: Sighting) -> bool:
        """Whether the Lease was deleted so lately that its holder may not know."""
        return sighting.name not in self.seen.held and self._monotonic() < sighting.over_at_s(self._lease_s)

    def _silent_s(self, sighting: Sighting) -> float:
        return self._monotonic() - sighting.since_s

    def _names(self, shard: int) -> str:
        sighting = self.seen.held.get(shard_name(shard))
        return NOBODY if sighting is None else sighting.holder

    def _holder(self, sighting: Sighting | None, shard: int) -> str:
        if shard in self.held:
            return self._me
        if sighting is None or sighting.holder in {NOBODY, self._me}:
            return NOBODY
        if sighting.name not in self.seen.held:
            return sighting.holder if self._holds_on(sighting) else NOBODY
        member = self.seen.held.get(member_name(sighting.holder))
        if member is None:
            return NOBODY if self._is_missing(sighting.holder) else sighting.holder
        return sighting.holder if member.holder == sighting.holder else NOBODY

    def _is_missing(self, member: str) -> bool:
        """Whether a replica without a Lease of its own was without one for a whole lease."""
        since_s = self._missing_since_s.setdefault(member, self._monotonic())
        return self._monotonic() >= since_s + self._lease_s

    def _forget_found(self, holders: Iterable[str]) -> None:
        named = {*holders, *(self._names(shard) for shard in range(self._count))}
        for member in list(self._missing_since_s):
            if member not in named or member_name(member) in self.seen.held:
                del self._missing_since_s[member]

    async def _is_vacant(self, holder: str) -> bool:
        """Whether a holder is known to write no more: asked afresh, after the version of the shard's Lease was read."""
        if holder in {NOBODY, self._me}:
            return True
        name = member_name(holder)
        try:
            lease = await self._client.request("GET", self._path(name), timeout_s=self.write_timeout_s)
        except NotFound:
            return self._is_missing(holder)
        self.seen.seen(lease)
        return holder_of(lease) != holder

    async def _look(self, name: str) -> None:
        """What was seen of a Lease is old: read it. Raises: ApiError."""
        try:
            self.seen.seen(await self._client.request("GET", self._path(name), timeout_s=self.write_timeout_s))
        except NotFound:
            self.seen.missed(name)

    async def _put(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._client.request("PUT", self._path(name), body=body, timeout_s=self.write_timeout_s)

    async def _delete(self, sighting: Sighting) -> None:
        uid, timeout_s = str(sighting.lease["metadata"]["uid"]), self._lease_s / RENEWALS
        try:
            await self._client.delete(self._path(sighting.name), uid=uid, version=sighting.version, timeout_s=timeout_s)
        except Conflict:
            await self._look(sighting.name)

    def _path(self, name: str) -> str:
        return LEASES.path(self._home, name)
