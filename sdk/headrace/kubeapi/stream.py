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
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import ApiError, Gone, Unreachable, error_class
from headrace.kubeapi.nesting import loads

WATCH_TIMEOUT_S = 300
SILENCE_S = 90.0
"""Bookmarks come every 60 to 75 s; a connection that is silent for longer is taken for dead."""
ECHO_S = 10.0
"""What we wrote ourselves comes back within milliseconds. A watch without it stands still, whatever the connection says."""
FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 5.0
"""A stream that is not heard makes the operator blind; a dozen requests in this time burden nobody."""
STEADY_S = 1.0
"""A watch that was open for so long was in order: asking for the next one at once hammers nobody."""
SPREAD = 0.25
"""By which share of a time that a server named the next attempt may be later: it named the same to everybody."""


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
        keep: Whether a line of the watch is worth reading; None: all are.
    """

    def __init__(
        self,
        client: KubeClient,
        path: str,
        params: Mapping[str, str],
        sink: Sink,
        *,
        keep: Callable[[bytes], bool] | None = None,
    ) -> None:
        self._client = client
        self._path = path
        self._params = dict(params)
        self._sink = sink
        self._keep = keep
        self._version: str | None = None
        self._awaited: int | None = None
        self._patience: asyncio.Timeout | None = None
        self._backoff_s = FIRST_BACKOFF_S
        self._is_steady = True
        self._jitter = random.Random(random.random())  # noqa: S311 - spreads reconnects, guards nothing

    async def run(self) -> None:
        """Never returns; cancel it."""
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                await self._watch(self._version)
            except Gone as error:
                self._version = None
                was_steady, self._is_steady = self._is_steady, False
                if not was_steady:  # lost as soon as it was listed: the lists of many objects are dear
                    await self._pause(error)
            except ApiError as error:
                await self._pause(error)

    async def _pause(self, error: ApiError) -> None:
        delay_s = self._delay_s(error)
        self._sink.failed(error, delay_s)
        await asyncio.sleep(delay_s)
        self._backoff_s = min(self._backoff_s * 2, LAST_BACKOFF_S)

    def _was_in_order(self) -> None:
        self._backoff_s = FIRST_BACKOFF_S
        self._is_steady = True

    def _has_ended(self, began_s: float) -> None:
        if asyncio.get_running_loop().time() - began_s >= STEADY_S:
            self._was_in_order()

    async def read(self) -> None:
        """Gives one complete list to the sink. Raises: Gone, ApiError."""
        await self._list()

    def expect(self, version: int) -> None:
        """
        An object that belongs to this stream was written, with this version: its event is due within `ECHO_S`.

        One that does not come tells of a watch that stands still (a proxy that died with its connections open), long before its
        silence does.
        """
        if self._awaited is None and self._version is not None and version > int(self._version):
            self._awaited = version
            asyncio.get_running_loop().call_later(ECHO_S, self._look_for_echo)

    def _look_for_echo(self) -> None:
        awaited, self._awaited = self._awaited, None
        if self._patience is None or awaited is None or self._version is None or int(self._version) >= awaited:
            return
        self._patience.reschedule(asyncio.get_running_loop().time())

    def _delay_s(self, error: ApiError) -> float:
        """A time that the server named, or longer; else our own, which doubles."""
        own_s = self._backoff_s * self._jitter.uniform(0.8, 1.2)
        if error.retry_after_s is None or error.is_starting:
            return own_s
        return max(own_s, error.retry_after_s * self._jitter.uniform(1, 1 + SPREAD))

    async def _list(self) -> str:
        uids: set[str] = set()
        version = ""
        async for page in self._client.pages(self._path, self._params):
            version, kind, group_version = _head(page)
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
        began_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as self._patience:
                async for line in self._client.raw_lines(self._path, params, read_timeout_s=SILENCE_S):
                    if self._keep is None or self._keep(line):
                        self._take(*self._event(line))
                    self._was_in_order()
                    heard = True
        except TimeoutError as error:
            text = f"the watch stands still: a write of ours did not come back within {ECHO_S:.0f} s"
            raise Unreachable(0, "Unreachable", text, request=f"WATCH {self._path}") from error
        except (Unreachable, Gone):
            self._has_ended(began_s)
            raise
        finally:
            self._patience = None
        self._has_ended(began_s)
        if not heard:  # asking again at once, and again, would hammer a server that is shutting down
            raise Unreachable(0, "Unreachable", "the watch ended before its first event", request=f"WATCH {self._path}")

    def _event(self, line: bytes) -> tuple[str, dict[str, Any], str]:
        """Its type, its object, and the version of that."""
        try:
            event = loads(line)
            kind, obj = event["type"], event["object"]
            return kind, obj, "" if kind == "ERROR" else obj["metadata"]["resourceVersion"]
        except orjson.JSONDecodeError as error:  # the connection was closed within a line
            text = f"the watch was cut off within an event of {len(line)} bytes"
            raise Unreachable(0, "Unreachable", text, request=f"WATCH {self._path}") from error
        except (KeyError, TypeError) as error:  # from a proxy in between
            text = f"the watch told no event but {line[:200].decode(errors='replace')!r}"
            raise Unreachable(0, "Unreachable", text, request=f"WATCH {self._path}") from error

    def _take(self, kind: str, obj: dict[str, Any], version: str) -> None:
        if kind == "ERROR":
            status, reason = int(obj.get("code") or 500), str(obj.get("reason") or "")
            raise error_class(status, reason)(status, reason, str(obj.get("message")), request=f"WATCH {self._path}")
        self._version = version
        if kind == "DELETED":
            self._sink.gone(obj)
        elif kind in {"ADDED", "MODIFIED"}:
            self._sink.seen(obj)


def _head(page: dict[str, Any]) -> tuple[str, str, str]:
    """Version of the list, kind and API version of its items."""
    return str(page["metadata"]["resourceVersion"]), page["kind"].removesuffix("List"), page["apiVersion"]
