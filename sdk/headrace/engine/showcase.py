"""What a flow run leaves for people to look at, as far as its end tells of it; the content is elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any, Final

MOST: Final = 32
"""Artifacts that are told of: as many as the status of a run holds."""
RELAY_LOGGER: Final = "headrace.artifacts"
"""Its lines are no lines for people: they tell the flow's process of artifacts that a task made in another one."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """
    Something to look at.

    Args:
        key: Its name; another artifact with the same one takes its place.
        kind: "markdown", "table", "link", "image" or "progress".
        url: Where it is. Empty: in the log.
        description: In one line. Empty: none.
    """

    key: str
    kind: str
    url: str = ""
    description: str = ""


class Showcase:
    """The artifacts of a run, from any thread; the newest 32."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_key: dict[str, Artifact] = {}
        self._numbers: dict[tuple[str, int, str], int] = {}
        self._told_s: dict[str, float] = {}
        self.left_out = 0
        """How many older ones are not among them."""
        self.pending: dict[str, Callable[[], None]] = {}
        """Tells of progress that was not told yet, by key."""

    def add(self, artifact: Artifact) -> bool:
        """Takes it in, as the newest. Returns whether none had its key."""
        with self._lock:
            is_new = self._by_key.pop(artifact.key, None) is None
            self._by_key[artifact.key] = artifact
            if len(self._by_key) > MOST:
                self._by_key.pop(next(iter(self._by_key)))
                self.left_out += 1
        return is_new

    def newest(self) -> tuple[Artifact, ...]:
        """Those that are told of, the newest last."""
        with self._lock:
            return tuple(self._by_key.values())

    def next_number(self, of: tuple[str, int, str]) -> int:
        """Counts from 0 for each run, attempt and kind: the next attempt finds the keys of this one again."""
        with self._lock:
            number = self._numbers.get(of, 0)
            self._numbers[of] = number + 1
        return number

    def told_now(self, key: str, now_s: float, *, every_s: float) -> bool:
        """Whether it is time to tell of this key again; then it counts as told."""
        with self._lock:
            if now_s - self._told_s.get(key, now_s - every_s) < every_s:
                return False
            self._told_s[key] = now_s
        return True

    def flush(self) -> None:
        """Tells the last of all progress."""
        while self.pending:
            self.pending.popitem()[1]()


class Relayed(Showcase):
    """The showcase of a task in another process than its flow: the flow's process is told, among the log lines."""

    def add(self, artifact: Artifact) -> bool:
        """As promised by Showcase."""
        logger = logging.getLogger(RELAY_LOGGER)
        facts = {"event": "artifact", "artifact": asdict(artifact)}
        logger.handle(logger.makeRecord(RELAY_LOGGER, logging.INFO, "", 0, "", (), None, extra=facts))
        return super().add(artifact)


def artifact_from(facts: Any) -> Artifact:
    """What such a line tells."""
    return Artifact(**facts["artifact"])
