"""
What is sent from a thread of its own: whoever puts something in never waits, and never learns of a failure.

What does not fit into the queue is left out; what is left at the end has a bounded time. Each kind of problem is told once.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Final

WAITING: Final = 1000
"""Items that wait; a listener that is away costs at most some megabytes."""
TIMEOUT_S: Final = 5.0
PAUSES_S: Final = (0.5, 2.0)
"""Before the second try and the third one."""
PASSING: Final = frozenset({408, 429})
"""Statuses below 500 that may be another one next time."""


class Refused(Exception):
    """The item would be refused again; the text says how."""


class Outbox:
    """
    Items on their way to one place.

    Args:
        name: Of the thread.
        deliver: Tries one item. Returns what is in the way and may pass, empty if nothing is. Raises: Refused.
        tell: Takes a sentence for the log.
    """

    def __init__(self, name: str, deliver: Callable[[bytes], str], tell: Callable[[str], None]) -> None:
        self._name = name
        self._try = deliver
        self._say = tell
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._busy = False
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: set[str] = set()

    def send(self, item: bytes) -> None:
        """Puts the item behind the others."""
        with self._changed:
            if len(self._waiting) >= WAITING:
                self._tell("too many wait", f"more than {WAITING} events wait; further ones are left out")
                return
            self._waiting.append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
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
                item = self._waiting.popleft()
                self._busy = True
            try:
                self._deliver(item)
            except Refused as refusal:
                self._tell(str(refusal), f"{refusal}; the event is left out")

    def _deliver(self, item: bytes) -> None:
        problem = self._try(item)
        for pause_s in PAUSES_S:
            if not problem or self._hurry.wait(pause_s):
                break
            problem = self._try(item)
        if problem:
            self._tell(problem, f"{problem}; the event is left out")

    def _tell(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._say(message)


def posted(url: str, body: bytes, headers: Mapping[str, str]) -> str:
    """
    One POST to an http or https URL: what is in the way and may pass, empty if it was taken.

    Raises: Refused: it would be refused again.
    """
    request = urllib.request.Request(url, body, {"User-Agent": "headrace", **headers}, method="POST")  # noqa: S310 - by the caller
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - as above
            response.read(1)
    except urllib.error.HTTPError as error:
        with error:
            if error.code >= 500 or error.code in PASSING:
                return f"it answers {error.code}"
            raise Refused(f"it refuses an event with {error.code}") from error
    except (OSError, HTTPException) as error:
        return f"{type(error).__name__}: {getattr(error, 'reason', error)}"
    return ""
