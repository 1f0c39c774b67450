"""
List and watch one collection for ever, so that a sink holds what the API server holds.

    list (paged) ──> seen() for each, then synced() ──> watch from there ──> seen() / gone()
         ^                                                    │
         └────────── 410 Gone: history is lost ───────────────┘

`synced` is what a bare watch cannot give: objects that went while the watch was broken are told apart from
those that stayed, so nothing that was deleted unseen is held for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import ApiError, Gone, Unreachable, error_class

WATCH_TIMEOUT_S = 300
SILENCE_S = 150.0
"""Bookmarks come about once a minute; a connection silent for longer than two of them is taken for dead."""
FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 15.0


class Sink(Protocol):
    """Holds what is seen. Calls come from one task, in the order of the API server."""

    def seen(self, obj: dict[str, Any]) -> None:
        """An object was listed, added or modified."""

    def gone(self, obj: dict[str, Any]) -> None:
        """An object was deleted, or no longer matches the stream's selectors."""

    def synced(self, uids: set[str], version: int) -> None:
        """A whole list was read: of what is not newer than `version`, only objects with these uids exist."""

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke and will be taken up again."""


class Stream:
    """
    One collection, listed and watched.

    Args:
        path: Of the collection, for all namespaces or one.
        params: Selectors, as the API takes them (`labelSelector`, `fieldSelector`).
    """

    def __init__(self, client: KubeClient, path: str, params: Mapping[str, str], sink: Sink) -> None:
        self._client = client
        self._path = path
        self._params = dict(params)
        self._sink = sink
        self._version: str | None = None
        self._backoff_s = FIRST_BACKOFF_S
        self._jitter = random.Random()  # noqa: S311 - spreads reconnects, guards nothing

    async def run(self) -> None:
        """Never returns; cancel it."""
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                await self._watch(self._version)
            except Gone:
                self._version = None
            except ApiError as error:
                delay_s = max(error.retry_after_s or 0.0, self._backoff_s * self._jitter.uniform(0.8, 1.2))
                self._sink.failed(error, delay_s)
                await asyncio.sleep(delay_s)
                self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)

    async def _list(self) -> str:
        uids: set[str] = set()
        version = ""
        async for page in self._client.pages(self._path, self._params):
            version = page["metadata"]["resourceVersion"]
            kind, group_version = page["kind"].removesuffix("List"), page["apiVersion"]
            for item in page.get("items") or ():
                # Items of a list carry no kind of their own; those of a watch do.
                item.setdefault("kind", kind)
                item.setdefault("apiVersion", group_version)
                uids.add(item["metadata"]["uid"])
                self._sink.seen(item)
        self._sink.synced(uids, int(version))
        return version

    async def _watch(self, version: str) -> None:
        params = {
            **self._params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(int(WATCH_TIMEOUT_S * self._jitter.uniform(1, 2))),
        }
        heard = False
        async for line in self._client.raw_lines(self._path, params, read_timeout_s=SILENCE_S):
            event = self._event(line)
            self._take(event["type"], event["object"])
            self._backoff_s = FIRST_BACKOFF_S
            heard = True
        if not heard:  # asking again at once, and again, would hammer a server that is shutting down
            raise Unreachable(0, "Unreachable", "the watch ended before its first event", request=f"WATCH {self._path}")

    def _event(self, line: bytes) -> dict[str, Any]:
        try:
            event: dict[str, Any] = orjson.loads(line)
        except orjson.JSONDecodeError as error:  # the connection was closed within a line
            text = f"the watch was cut off within an event of {len(line)} bytes"
            raise Unreachable(0, "Unreachable", text, request=f"WATCH {self._path}") from error
        return event

    def _take(self, kind: str, obj: dict[str, Any]) -> None:
        if kind == "ERROR":
            status, reason = int(obj.get("code") or 500), str(obj.get("reason") or "")
            raise error_class(status, reason)(status, reason, str(obj.get("message")), request=f"WATCH {self._path}")
        self._version = obj["metadata"]["resourceVersion"]
        if kind == "DELETED":
            self._sink.gone(obj)
        elif kind in {"ADDED", "MODIFIED"}:
            self._sink.seen(obj)
