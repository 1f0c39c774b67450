"""From a stream of the API to the intake: one feed a kind."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from headrace.kubeapi.errors import ApiError
from headrace_operator.observe.doors import Door
from headrace_operator.observe.parse import object_key

log = structlog.get_logger()


class Feed:
    """
    The sink of one stream.

    Args:
        door: Takes its objects in; what it holds is compared with each complete list, so that what was deleted while
            the stream was broken is dropped.
    """

    def __init__(self, kind: str, door: Door) -> None:
        self._kind = kind
        self._door = door
        self.is_synced = asyncio.Event()

    def seen(self, obj: dict[str, Any]) -> None:
        """An object was listed, added or modified. One that cannot be read affects itself alone."""
        try:
            self._door.seen(obj)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.exception("object_not_understood", kind=self._kind, key=str(object_key(obj)))

    def gone(self, obj: dict[str, Any]) -> None:
        """An object was deleted, or no longer matches the stream's selector."""
        self._door.gone(object_key(obj), obj["metadata"]["uid"])

    def synced(self, uids: set[str], version: int) -> None:
        """A complete list was read."""
        for record in list(self._door.held.values()):
            if record.uid not in uids and record.version <= version:
                self._door.gone(record.key, record.uid)
        self.is_synced.set()

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke; it is taken up again by itself."""
        log.warning("stream_broken", kind=self._kind, error=str(error), retry_in_s=round(retry_in_s, 2))
