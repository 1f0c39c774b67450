"""
Slots and starts of ConcurrencyLimits: taken for a run before its pod exists, given back when it is over.

    take ──> a free Lease of each, by name ──> starts noted ──> True
      │ none is free, a race was lost, the rate lets nobody through
      └──> what was taken is given back ──> False

    release ──> the run is over, and others wait ──> offered: the next one takes it by one write
      └──> given back

Each write is compare and swap, and each answer goes into the store. An answer that is lost does no harm. A slot that was
taken carries its holder's name: the next take goes on with it, and the limit's own reconcile frees it after the run. A
slot that was perhaps given back is taken anew before it counts, by a write that such a giving back does not survive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from headrace.kubeapi.errors import AlreadyExists, Conflict, Invalid, NotFound
from headrace_operator.decide.concurrency_limit import Annotate, CreateRate, CreateSlot, LeaseAction, Remove, TakeBack
from headrace_operator.decide.leases import RateLease, Slot, milliseconds
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import LEASES
from headrace_operator.manifests.slot import (
    annotating,
    free_slot,
    giving_back,
    noting,
    rate_lease,
    taking,
    taking_back,
)

TRIES = 8
"""Writes of one start, or of one slot's return, that may be refused because a task was quicker."""


class SlotStore(Protocol):
    """The Leases as they are known, and who here is about to write which."""

    @property
    def held(self) -> Mapping[ObjectKey, Slot | RateLease]: ...

    def seen(self, obj: Mapping[str, Any]) -> str | None: ...

    def gone(self, key: ObjectKey, uid: str) -> str | None: ...

    def held_by(self, holder: str) -> tuple[Slot, ...]: ...

    def rate_of(self, limit: str) -> RateLease | None: ...

    def pick(self, limit: str) -> Slot | None: ...

    def put_down(self, slot: Slot) -> None: ...

    def doubt(self, slot: Slot) -> None: ...

    def is_doubted(self, slot: Slot) -> bool: ...

    def noting(self, limit: str) -> asyncio.Lock: ...


async def take_slots(
    cluster: Cluster,
    store: SlotStore,
    limits: Iterable[tuple[str, int]],
    rates: Iterable[str],
    *,
    holder: str,
    clock: Callable[[], datetime],
) -> bool:
    """
    Take all of these slots and note one start in each of these rates, or nothing.

    Slots that the holder has already count. A start that was noted stays noted, whatever comes after. It is noted for when its
    write is sent: those before it may have taken long, where the API server asks for patience.

    Returns: False: too few are free, or a rate lets nobody through; what was taken by this call is given back.
    Raises: ApiError: what was taken is kept; the next call goes on with it.
    """
    taking_now = _Taking(cluster, store, clock)
    before = {slot.key for slot in store.held_by(holder) if not store.is_doubted(slot)}
    if await taking_now.take_all(sorted(limits), sorted(rates), holder):
        return True
    for slot in store.held_by(holder):
        if slot.key not in before:
            await _give_back(cluster, store, slot)
    return False


def to_nobody(_slot: Slot) -> bool:
    """Offers a slot to nobody: it is given back."""
    return False


async def release_slots(
    cluster: Cluster, store: SlotStore, holder: str, *, offer: Callable[[Slot], bool] = to_nobody
) -> int:
    """
    Give back every slot of the holder; how many there were.

    Args:
        offer: Offers a slot to the next holder, where there is one; then it is not given back.
    Raises: ApiError: the rest is still held.
    """
    held = store.held_by(holder)
    for slot in held:
        if not offer(slot):
            await _give_back(cluster, store, slot)
    return len(held)


async def change_lease(cluster: Cluster, store: SlotStore, action: LeaseAction, *, limit: str, namespace: str) -> None:
    """
    Carry out what was decided about one Lease; one that has changed meanwhile is read instead, to be decided on anew.

    Args:
        namespace: Where the Leases of limits are.
    Raises: AlreadyExists: a Lease that is none of the limit's has the name of one. ApiError.
    """
    match action:
        case CreateSlot(index, duration_s):
            await _create(cluster, store, free_slot(limit, index, namespace=namespace, duration_s=duration_s))
        case CreateRate(rate):
            await _create(cluster, store, rate_lease(limit, rate, namespace=namespace))
        case TakeBack(slot):
            await _change(cluster, store, slot, taking_back(slot))
        case Annotate(lease, notes):
            await _change(cluster, store, lease, annotating(lease.version, dict(notes)))
        case Remove(lease):
            await _remove(cluster, store, lease)


async def look_anew(cluster: Cluster, store: SlotStore, lease: Slot | RateLease) -> None:
    """What is known of a Lease is old: read it. Raises: ApiError."""
    try:
        store.seen(await cluster.get(LEASES, *lease.key))
    except NotFound:
        store.gone(lease.key, lease.uid)


async def _create(cluster: Cluster, store: SlotStore, manifest: Mapping[str, Any]) -> None:
    key = ObjectKey(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    try:
        store.seen(await cluster.create(LEASES, key.namespace, manifest))
    except AlreadyExists:  # made by a request whose answer was lost, or before this process led
        store.seen(await cluster.get(LEASES, *key))
        if key not in store.held:
            raise


async def _change(cluster: Cluster, store: SlotStore, lease: Slot | RateLease, patch: Any) -> None:
    try:
        store.seen(await cluster.patch(LEASES, *lease.key, patch))
    except (Conflict, Invalid, NotFound):
        await look_anew(cluster, store, lease)


async def _remove(cluster: Cluster, store: SlotStore, lease: Slot | RateLease) -> None:
    try:
        await cluster.delete(LEASES, *lease.key, uid=lease.uid, version=lease.version)
    except Conflict:
        await look_anew(cluster, store, lease)
    else:
        store.gone(lease.key, lease.uid)


async def _give_back(cluster: Cluster, store: SlotStore, slot: Slot) -> None:
    """Returns once the slot is not this holder's any more. Raises: ApiError."""
    for tries_left in range(TRIES, 0, -1):
        found = next((each for each in store.held_by(slot.holder) if each.key == slot.key), None)
        if found is None:
            return
        store.doubt(found)  # until an answer has come
        try:
            store.seen(await cluster.patch(LEASES, *found.key, giving_back(found)))
        except (Conflict, Invalid, NotFound):
            if tries_left == 1:
                raise
            await look_anew(cluster, store, found)


@dataclass(frozen=True, slots=True)
class _Taking:
    """One call of `take_slots`."""

    cluster: Cluster
    store: SlotStore
    clock: Callable[[], datetime]

    async def take_all(self, limits: Iterable[tuple[str, int]], rates: Iterable[str], holder: str) -> bool:
        """Slots first: a start that is noted and then not made would keep others waiting for nothing."""
        if not all(self._lets_through(self.store.rate_of(limit)) for limit in rates):
            return False
        for limit, count in limits:
            if not await self._take_some(limit, count, holder):
                return False
        for limit in rates:
            async with self.store.noting(limit):
                if not await self._note(limit):
                    return False
        return True

    async def _take_some(self, limit: str, count: int, holder: str) -> bool:
        """Whether the holder has that many now."""
        while (slot := self._next(limit, count, holder)) is not None:
            try:
                self.store.seen(await self.cluster.patch(LEASES, *slot.key, taking(slot, holder, self.clock())))
            except (Conflict, NotFound):  # somebody was quicker; or it is ours, by a request whose answer was lost
                await look_anew(self.cluster, self.store, slot)
            finally:
                self.store.put_down(slot)
        return len(self._held(limit, holder)) >= count

    def _next(self, limit: str, count: int, holder: str) -> Slot | None:
        """The slot to take now; None: the holder has enough, or there is none."""
        held = self._held(limit, holder)
        doubted = next((slot for slot in held if self.store.is_doubted(slot)), None)
        if doubted is not None or len(held) >= count:
            return doubted
        return self.store.pick(limit)

    def _held(self, limit: str, holder: str) -> list[Slot]:
        return [slot for slot in self.store.held_by(holder) if slot.limit == limit]

    async def _note(self, limit: str) -> bool:
        """Whether a start was noted."""
        for _ in range(TRIES):
            lease, now_ms = self.store.rate_of(limit), milliseconds(self.clock())
            if lease is None or lease.rate is None or lease.rate.seconds_until(lease.starts_ms, 1, now_ms) > 0:
                return False
            starts_ms = lease.rate.noted(lease.starts_ms, 1, now_ms)
            try:
                self.store.seen(await self.cluster.patch(LEASES, *lease.key, noting(lease, starts_ms)))
            except (Conflict, NotFound):
                await look_anew(self.cluster, self.store, lease)
            else:
                return True
        return False

    def _lets_through(self, lease: RateLease | None) -> bool:
        if lease is None or lease.rate is None:  # not made yet
            return False
        return lease.rate.seconds_until(lease.starts_ms, 1, milliseconds(self.clock())) == 0
