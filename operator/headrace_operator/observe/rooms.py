"""
The Leases in which shards book the capacity of WorkPools, as the API last told of them.

What a shard has booked itself is believed only from a read or a write of its own: a watch may tell late of what its former holder had booked,
and has given back since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.kubeapi.errors import ApiError
from headrace_operator.decide.reservations import Ledger
from headrace_operator.decide.sharding import Share
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.manifests.room import bookings_of, pool_of_room
from headrace_operator.observe.parse import version_of
from headrace_operator.observe.workkeys import Kind, Waker, WorkKey


@dataclass(frozen=True, slots=True)
class Room:
    """The Lease of one pool."""

    uid: str
    version: int
    ledger: Ledger


class Rooms:
    """What one shard knows of all pools. Belongs to one event loop."""

    def __init__(self, share: Share, waker: Waker) -> None:
        self.me = _name(share, share.index)
        self.shards = frozenset(_name(share, index) for index in range(share.count))
        self._waker = waker
        self._rooms: dict[str, Room] = {}
        self._believed: set[str] = set()

    def of(self, pool: str) -> Room | None:
        """The pool's Lease; None until it was read, or if there is none."""
        return self._rooms.get(pool) if pool in self._believed else None

    def has_heard_of(self, pool: str) -> bool:
        """Whether there is a Lease of this pool, as far as it is known."""
        return pool in self._rooms

    def answered(self, obj: Mapping[str, Any]) -> Room:
        """A Lease was read or written by this shard. Returns the latest that is known of it."""
        pool = pool_of_room(obj["metadata"]["name"])
        self._believed.add(pool)
        self._put(pool, obj)
        return self._rooms[pool]

    def seen(self, obj: Mapping[str, Any]) -> None:
        """A Lease is there, or has changed."""
        pool = pool_of_room(obj["metadata"]["name"])
        if self._put(pool, obj):
            self.wake(pool)

    def gone(self, obj: Mapping[str, Any]) -> None:
        """A Lease was deleted."""
        pool = pool_of_room(obj["metadata"]["name"])
        held = self._rooms.get(pool)
        if held is not None and held.uid == obj["metadata"]["uid"]:
            self.forget(pool)
            self.wake(pool)

    def forget(self, pool: str) -> None:
        """It has no Lease, or one that must be read."""
        self._rooms.pop(pool, None)
        self._believed.discard(pool)

    def synced(self, uids: set[str], version: int) -> None:
        """A complete list was read."""
        for pool, room in list(self._rooms.items()):
            if room.uid not in uids and room.version <= version:
                self.forget(pool)
                self.wake(pool)

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """Nothing depends on the watch but how soon others are heard of."""

    def wake(self, pool: str, after_s: float = 0.0) -> None:
        """Have the booking looked at."""
        self._waker.add(WorkKey(Kind.ROOM, ObjectKey("", pool)), after_s)

    def _put(self, pool: str, obj: Mapping[str, Any]) -> bool:
        held, version = self._rooms.get(pool), version_of(obj)
        if held is not None and held.version >= version:
            return False
        self._rooms[pool] = Room(obj["metadata"]["uid"], version, Ledger(bookings_of(obj), self.shards))
        return True


def _name(share: Share, index: int) -> str:
    return f"{index}-of-{share.count}.{share.term}"
