"""
The slots of one limit as this process sees them.

While somebody waits, a thread watches the Leases and wakes whoever waits when a slot becomes free; no poll, and one watch
for all blocks of the process. It ends by itself when nobody waits any more.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from headrace import slots
from headrace.limits.ways import Notice
from headrace.podapi import TIMEOUT_S, PodApiError

WATCH_S = 60
"""How long a watch lasts; so long it may outlive the last one who waits."""
RETRY_S = 2.0
"""Between two tries to watch, give or take half: many pods lose the API server at the same time."""

Lease = dict[str, Any]


class Api(Protocol):
    """What is used of PodApi."""

    def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The object or list at `path`. Raises: PodApiError."""

    def patch(self, path: str, body: Any, *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The object after the patch. Raises: PodApiError."""

    def watch(self, path: str, params: Mapping[str, str], *, timeout_s: int) -> Iterator[dict[str, Any]]:
        """Events as they come. Raises: PodApiError."""


class LimitView:
    """The Leases of one limit."""

    def __init__(self, api: Api, collection: str, limit: str) -> None:
        self._api = api
        self._collection = collection
        self._limit = limit
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._version = ""
        self._current = False
        self._changes = 0
        self._waiting: list[Notice] = []
        self._thread: threading.Thread | None = None

    def look(self) -> tuple[int, list[Lease]]:
        """
        The number of changes seen so far, and the slots; read anew unless they are being watched.

        Raises: PodApiError.
        """
        if not self._current:
            self._list()
        with self._lock:
            found = [lease for name, lease in self._leases.items() if slots.slot_index(self._limit, name) is not None]
            return self._changes, found

    def note(self, lease: Lease) -> None:
        """Takes in what the API server has answered to a write."""
        self._take_in({"type": "MODIFIED", "object": lease})

    def doubt(self) -> None:
        """What is seen turned out to be old: it is read anew at the next look."""
        self._current = False

    def notice(self, after: int) -> Notice:
        """Is given when a slot becomes free, comes or goes after the look that counted `after` changes."""
        notice = Notice()
        with self._lock:
            if self._changes != after:
                notice.give()
                return notice
            self._waiting.append(notice)
            if self._thread is None:
                # What was listed is brought up to date by the watch, which goes on from there.
                self._thread = threading.Thread(target=self._follow, name=f"headrace-limit-{self._limit}", daemon=True)
                self._thread.start()
        return notice

    def _list(self) -> None:
        found = self._api.get(self._collection, {"labelSelector": self._selector})
        with self._lock:
            self._leases = {lease["metadata"]["name"]: lease for lease in found.get("items") or ()}
            self._version = found["metadata"]["resourceVersion"]

    def _follow(self) -> None:
        while self._somebody_waits():
            try:
                if not self._current:
                    self._list()
                    self._current = True
                    self._wake()
                params = {"labelSelector": self._selector, "resourceVersion": self._version}
                for event in self._api.watch(self._collection, params, timeout_s=WATCH_S):
                    self._take_in(event)
            except PodApiError as error:
                self._current = False
                if error.status != 410:
                    time.sleep(RETRY_S * random.uniform(0.5, 1.5))  # noqa: S311 - no secret

    def _somebody_waits(self) -> bool:
        """If not, the thread ends, and nobody brings up to date what is seen."""
        with self._lock:
            self._waiting = [notice for notice in self._waiting if not notice.done.done()]
            if not self._waiting:
                self._thread = None
                self._current = False
            return bool(self._waiting)

    def _take_in(self, event: Mapping[str, Any]) -> None:
        kind, lease = event["type"], event["object"]
        meta = lease["metadata"]
        with self._lock:
            if kind == "BOOKMARK":
                self._version = meta["resourceVersion"]
                return
            news = self._stored(kind, lease)
        if news:
            self._wake()

    def _stored(self, kind: str, lease: Lease) -> bool:
        """Whether somebody who waits may go on by it."""
        name, version = lease["metadata"]["name"], int(lease["metadata"]["resourceVersion"])
        known = self._leases.get(name)
        if known is not None and int(known["metadata"]["resourceVersion"]) >= version:
            return False
        if kind == "DELETED":
            self._leases.pop(name, None)
            return True
        self._leases[name] = lease
        return known is None or slots.is_free(lease)

    def _wake(self) -> None:
        with self._lock:
            self._changes += 1
            waiting, self._waiting = self._waiting, []
        for notice in waiting:
            notice.give()

    @property
    def _selector(self) -> str:
        return f"{slots.LIMIT_LABEL}={self._limit}"
