"""What lies in a storage, for people who look for it at night: by its first lines, and without unpickling anything."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from headrace.errors import NoSuchResult
from headrace.results.cargo import Torn, head_of, opened
from headrace.results.formats import JSON
from headrace.results.lifetime import MAX_HEAD
from headrace.results.storage import Storage

FOREIGN: Final = "?"
EXPIRED: Final = "expired"


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One object.

    Args:
        size: Bytes, as it is stored.
        kind: As its first line says; EXPIRED, or FOREIGN for what is no object of headrace, such as a lock of the cache.
        facts: All that its first line says.
    """

    key: str
    size: int
    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """With the compression, such as "json+zstd"."""
        return "+".join(str(self.facts[name]) for name in ("format", "compression") if self.facts.get(name))

    @property
    def run(self) -> str:
        """The flow run and task run that have stored it, as far as it or its place says."""
        parts = self.key.split("/")
        folder = "/".join(parts[:2]) if len(parts) > 3 else ""  # <namespace>/<run>/<uid>/…, or local/<run>/<flow>/…
        told = (self.facts.get("flow_run") or folder, self.facts.get("task_run"))
        return "/".join(str(part) for part in told if part)

    def moment(self, name: str) -> datetime | None:
        """When it was created, or when it expires; aware. None: it does not say, or never."""
        with suppress(KeyError, TypeError, ValueError):
            return datetime.fromisoformat(self.facts[name])
        return None


def entry(storage: Storage, key: str) -> Entry:
    """The object under the key. Raises: NoSuchResult, ResultsError."""
    size = storage.size(key)
    try:
        with storage.reader(key) as file:
            head = head_of(file.readline(MAX_HEAD))
    except NoSuchResult:
        return Entry(key, size, EXPIRED)
    except Torn:
        return Entry(key, size, FOREIGN)
    return Entry(key, size, str(head["kind"]), head)


def preview(storage: Storage, found: Entry, characters: int) -> str:
    """The beginning of a JSON value, or why there is none; a pickle is not opened, as that may run code. Raises: ResultsError."""
    if found.facts.get("format") != JSON:
        return f"no preview of {found.format or 'an object that headrace did not write'}"
    try:
        text = repr(opened(storage.get(found.key)).content())
    except Torn as error:
        return f"it is not whole: {error}"
    return text if len(text) <= characters else f"{text[:characters]}…"
