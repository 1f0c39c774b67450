"""Sends events to the listener that the environment names, from a thread of its own."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from headrace.engine import logs
from headrace.outbox import Outbox, posted

EXIT_FLUSH_S: Final = 3.0
"""How long the end of a program waits for its events, at most."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where events go. `api_key` is sent as a bearer token; empty: none."""

    url: str
    api_key: str = ""


class Sender(Outbox):
    """Events, as JSON, on their way to one listener."""

    def __init__(self, to: Listener) -> None:
        super().__init__("headrace-lineage", self._posted, self._warn)
        self._to = to

    def _posted(self, event: bytes) -> str:
        headers = {"Content-Type": "application/json"}
        if self._to.api_key:
            headers["Authorization"] = f"Bearer {self._to.api_key}"
        return posted(self._to.url, event, headers)

    def _warn(self, message: str) -> None:
        told = f"OpenLineage at {urlsplit(self._to.url).hostname}: {message}"
        logs.LOGGER.warning("%s", told, extra={"event": "lineage_unsent"})


def listener(variables: Mapping[str, str]) -> Listener | None:
    """As OPENLINEAGE_URL, OPENLINEAGE_ENDPOINT and OPENLINEAGE_API_KEY name it; None: nobody listens."""
    url = variables.get("OPENLINEAGE_URL", "").strip().rstrip("/")
    if not url.startswith(("http://", "https://")) or variables.get("OPENLINEAGE_DISABLED", "").lower() == "true":
        return None
    endpoint = (variables.get("OPENLINEAGE_ENDPOINT") or "api/v1/lineage").strip().lstrip("/")
    return Listener(f"{url}/{endpoint}", variables.get("OPENLINEAGE_API_KEY", "").strip())


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
