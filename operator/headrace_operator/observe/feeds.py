"""From a stream of the API to the intake: one feed a kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from headrace.kubeapi.errors import ApiError
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.cache import Record
from headrace_operator.observe.parse import object_key

log = structlog.get_logger()


class Feed:
    """
    The sink of one stream.

    Args:
        seen: Takes an object in.
        gone: Takes note of a deletion.
        held: What the cache holds of this kind; compared with each complete list, so that what was deleted
            while the stream was broken is dropped.
    """

    def __init__(
        self,
        kind: str,
        *,
        seen: Callable[[dict[str, Any]], None],
        gone: Callable[[ObjectKey, str], None],
        held: Mapping[ObjectKey, Record],
    ) -> None:
        self._kind = kind
        self._seen = seen
        self._gone = gone
        self._held = held
        self.is_synced = asyncio.Event()

    def seen(self, obj: dict[str, Any]) -> None:
        """An object was listed, added or modified. One that cannot be read affects itself alone."""
        try:
            self._seen(obj)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.exception("object_not_understood", kind=self._kind, key=str(object_key(obj)))

    def gone(self, obj: dict[str, Any]) -> None:
        """An object was deleted, or no longer matches the stream's selector."""
        self._gone(object_key(obj), obj["metadata"]["uid"])

    def synced(self, uids: set[str], version: int) -> None:
        """A complete list was read."""
        for record in list(self._held.values()):
            if record.uid not in uids and record.version <= version:
                self._gone(record.key, record.uid)
        self.is_synced.set()

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke; it is taken up again by itself."""
        log.warning("stream_broken", kind=self._kind, error=str(error), retry_in_s=round(retry_in_s, 2))
