"""
Leases as a watch tells of them, and since when each is unchanged by our own clock.

What is written in a Lease by others' clocks says nothing; that it was not written for a while does. A watch that is broken makes a
Lease look unchanged that is not: whoever acts on it must rest the write on the version that was seen. One that somebody deletes by hand
may be believed in by its holder for a while, so it is remembered.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from headrace.kubeapi.errors import ApiError
from headrace.slots import holder_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    One version of a Lease.

    Args:
        since_s: The monotonic second at which it was first seen.
    """

    lease: Mapping[str, Any]
    since_s: float

    @property
    def name(self) -> str:
        """The Lease's name."""
        return str(self.lease["metadata"]["name"])

    @property
    def version(self) -> int:
        """The Lease's resource version."""
        return int(self.lease["metadata"]["resourceVersion"])

    @property
    def holder(self) -> str:
        """Who holds it; "" for nobody."""
        return holder_of(self.lease)

    def over_at_s(self, lease_s: float) -> float:
        """When it is over, unless it is renewed; `lease_s` is what counts where the Lease names no duration."""
        return self.since_s + float((self.lease.get("spec") or {}).get("leaseDurationSeconds") or lease_s)


class Sightings:
    """The sink of a stream of Leases. Belongs to one event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.held: dict[str, Sighting] = {}
        self.is_synced = asyncio.Event()
        self.heard_s = -math.inf
        """The monotonic second of the last word about any of them."""
        self._deleted: dict[str, Sighting] = {}
        self._monotonic = monotonic
        self._news = asyncio.Event()

    def seen(self, obj: Mapping[str, Any]) -> None:
        """A Lease is there; an older version than the one that is held is none."""
        sighting = Sighting(obj, self._monotonic())
        self.heard_s = sighting.since_s
        old = self.held.get(sighting.name)
        if old is None or old.version < sighting.version:
            self.held[sighting.name] = sighting
            self._deleted.pop(sighting.name, None)
            self._news.set()

    def gone(self, obj: Mapping[str, Any]) -> None:
        """A Lease was deleted."""
        old = self.held.get(obj["metadata"]["name"])
        if old is not None and old.lease["metadata"]["uid"] == obj["metadata"]["uid"]:
            del self.held[old.name]
            self._deleted[old.name] = Sighting(old.lease, self._monotonic())
            self._news.set()

    def missed(self, name: str) -> None:
        """The API has no Lease of this name."""
        sighting = self.held.get(name)
        if sighting is not None:
            self.gone(sighting.lease)

    def last(self, name: str) -> Sighting | None:
        """The Lease of this name; where it was deleted, what it was, and since when it is not there; None: none was seen."""
        return self.held.get(name) or self._deleted.get(name)

    def synced(self, uids: set[str], version: int) -> None:
        """A complete list was read."""
        for sighting in list(self.held.values()):
            if sighting.lease["metadata"]["uid"] not in uids and sighting.version <= version:
                self.gone(sighting.lease)
        self.heard_s = self._monotonic()
        self.is_synced.set()
        self._news.set()

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke; it is taken up again by itself."""
        log.warning("lease_watch_broken", error=str(error), retry_in_s=round(retry_in_s, 2))

    async def news(self, within_s: float) -> None:
        """Returns when something has changed since the last call, or after this long."""
        try:
            async with asyncio.timeout(max(0.0, within_s)):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()
