"""The reconcile of bookings: a shard books as much of a WorkPool's capacity as its runs need, and gives back what others need more."""

from __future__ import annotations

from headrace.kubeapi.errors import AlreadyExists, Conflict, NotFound
from headrace_operator.decide.leases import milliseconds
from headrace_operator.decide.reservations import Booking, Ledger, held_throughout, settled
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import LEASES
from headrace_operator.manifests.room import booking, new_room, room_name
from headrace_operator.observe.rooms import Room, Rooms


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring the booking of one pool to what it should be. Returns 0: look again, others have booked; None: nothing is due."""
    rooms = context.gate.rooms
    if rooms is None:
        return None
    capacity = context.gate.capacity(key.name)
    if not capacity:
        await _clear(context, rooms, key.name)
        return None
    room = rooms.of(key.name) or await _read(context, rooms, key.name)
    ledger = room.ledger if room else Ledger({}, rooms.shards)
    mine = ledger.bookings.get(rooms.me)
    appetite, now_ms = context.gate.appetite(key.name), milliseconds(context.clock())
    wanted = settled(capacity, ledger, rooms.me, appetite=appetite, now_ms=now_ms)
    if mine != wanted:
        # Before the write, whose answer may be lost: what is given back is not used from now on.
        context.gate.allow(key.name, held_throughout(mine, wanted))
        room = await _write(context, rooms, room, pool=key.name, ledger=ledger.with_mine(rooms.me, wanted))
        if room is None or room.ledger.tells(capacity) != ledger.tells(capacity):
            return 0.0
        ledger = room.ledger
    booked = ledger.bookings.get(rooms.me, Booking())
    context.gate.allow(key.name, booked.room, may_grow=ledger.leaves(capacity))
    return None


async def _read(context: Context, rooms: Rooms, pool: str) -> Room | None:
    try:
        lease = await context.cluster.get(LEASES, context.settings.operator_namespace, room_name(pool))
    except NotFound:
        rooms.forget(pool)
        return None
    return rooms.answered(lease)


async def _write(context: Context, rooms: Rooms, room: Room | None, *, pool: str, ledger: Ledger) -> Room | None:
    """The Lease as stored; None where another shard was quicker. Raises: ApiError: it may be stored or not."""
    namespace = context.settings.operator_namespace
    try:
        if room is None:
            stored = await context.cluster.create(LEASES, namespace, new_room(pool, ledger.bookings))
        else:
            patch = booking(room.version, ledger.bookings)
            stored = await context.cluster.patch(LEASES, namespace, room_name(pool), patch)
    except (AlreadyExists, Conflict, NotFound):
        await _read(context, rooms, pool)
        return None
    return rooms.answered(stored)


async def _clear(context: Context, rooms: Rooms, pool: str) -> None:
    """A pool that is gone, or has no capacity to share, needs no Lease; the first shard deletes it."""
    context.gate.allow(pool, {})
    if not context.share.keeps_cluster or not rooms.has_heard_of(pool):
        return
    room = rooms.of(pool) or await _read(context, rooms, pool)
    if room is not None:
        namespace = context.settings.operator_namespace
        await context.cluster.delete(LEASES, namespace, room_name(pool), uid=room.uid, version=room.version)
        rooms.forget(pool)
