"""
Sends events to a listener, from a thread of its own: whoever tells never waits, and never learns of a failure.

What does not fit into the queue is left out; what is left at the end has a bounded time. The log tells once of each.
"""

from __future__ import annotations

import atexit
import os
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from headrace.engine import logs

WAITING: Final = 1000
"""Events that wait; a listener that is away costs at most some megabytes."""
TIMEOUT_S: Final = 5.0
PAUSES_S: Final = (0.5, 2.0)
"""Before the second try and the third one."""
EXIT_FLUSH_S: Final = 3.0
"""How long the end of a program waits for its events, at most."""
PASSING: Final = frozenset({408, 429})
"""Statuses below 500 that may be another one next time."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where events go. `api_key` is sent as a bearer token; empty: none."""

    url: str
    api_key: str = ""


class Sender:
    """Events on their way to one listener."""

    def __init__(self, to: Listener) -> None:
        self._to = to
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._busy = False
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: set[str] = set()

    def send(self, event: bytes) -> None:
        """Puts the event, as JSON, behind the others."""
        with self._changed:
            if len(self._waiting) >= WAITING:
                self._tell("too many events wait", f"more than {WAITING} events wait; further ones are left out")
                return
            self._waiting.append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="headrace-lineage", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Whether all was sent, or given up, within that time. Nothing is tried again in the meantime."""
        self._hurry.set()
        try:
            with self._changed:
                done = self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)
                if not done:
                    self._tell("unsent", f"{len(self._waiting) + self._busy} events were not sent in time")
                return done
        finally:
            self._hurry.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                event = self._waiting.popleft()
                self._busy = True
            self._deliver(event)

    def _deliver(self, event: bytes) -> None:
        problem = self._tried(event)
        for pause_s in PAUSES_S:
            if not problem or self._hurry.wait(pause_s):
                break
            problem = self._tried(event)
        if problem:
            self._tell(problem, f"{problem}; the event is left out")

    def _tried(self, event: bytes) -> str:
        """What is in the way, and may pass; empty: nothing is, or nothing that would pass."""
        headers = {"Content-Type": "application/json", "User-Agent": "headrace"}
        if self._to.api_key:
            headers["Authorization"] = f"Bearer {self._to.api_key}"
        request = urllib.request.Request(self._to.url, event, headers, method="POST")  # noqa: S310 - checked by listener()
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - as above
                response.read(1)
        except urllib.error.HTTPError as error:
            with error:
                if error.code >= 500 or error.code in PASSING:
                    return f"it answers {error.code}"
                self._tell(str(error.code), f"it refuses an event with {error.code}; the event is left out")
        except (OSError, HTTPException) as error:
            return f"{type(error).__name__}: {getattr(error, 'reason', error)}"
        return ""

    def _tell(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told.add(what)
            told = f"OpenLineage at {urlsplit(self._to.url).hostname}: {message}"
            logs.LOGGER.warning("%s", told, extra={"event": "lineage_unsent"})


def listener(variables: Mapping[str, str]) -> Listener | None:
    """As OPENLINEAGE_URL, OPENLINEAGE_ENDPOINT and OPENLINEAGE_API_KEY name it; None: nobody listens."""
    url = variables.get("OPENLINEAGE_URL", "").strip().rstrip("/")
    if not url.startswith(("http://", "https://")) or variables.get("OPENLINEAGE_DISABLED", "").lower() == "true":
        return None
    endpoint = (variables.get("OPENLINEAGE_ENDPOINT") or "api/v1/lineage").strip().lstrip("/")
    return Listener(f"{url}/{endpoint}", variables.get("OPENLINEAGE_API_KEY", ""))


_SENDERS: Final[dict[Listener, Sender]] = {}
"""Of this process: they outlive the runs whose events they carry."""


def sender() -> Sender | None:
    """What sends to the listener that the environment names; None: nobody listens."""
    to = listener(os.environ)
    if to is None:
        return None
    if not _SENDERS:
        atexit.register(flush, EXIT_FLUSH_S)
    return _SENDERS.setdefault(to, Sender(to))


def flush(timeout_s: float) -> None:
    """Sends what waits, and gives up after that time."""
    ends_s = monotonic() + timeout_s
    for each in tuple(_SENDERS.values()):
        if not each.flush(max(0.0, ends_s - monotonic())):  # the end of the program need not wait once more
            atexit.unregister(flush)
