"""One watch: the changes that a client is told of, as lines of bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import orjson

from tests.simulated.kinds import Kind
from tests.simulated.selectors import Picks

if TYPE_CHECKING:
    from tests.simulated.store import Change


class Watch:
    """
    Belongs to one client.

    Attributes:
        lines: What was not read yet; the last one may be cut off.
        is_silent: Whether nothing arrives any more, without an error.
        repeats: How often a line is told.
    """

    def __init__(self, kind: Kind, namespace: str, picks: Picks | None) -> None:
        self.kind = kind
        self.namespace = namespace
        self.lines: deque[bytes] = deque()
        self.is_closed = False
        self.is_silent = False
        self.repeats = 1
        self._picks = picks
        self._reader: asyncio.Future[None] | None = None

    def take(self, change: Change) -> None:
        """Tells it, if the object is picked, or was until now."""
        if self.is_closed:
            return
        if self.namespace and self.namespace != change.key[0]:
            return
        picks, before, after = self._picks, change.before, change.after
        was = before is not None and (picks is None or picks(before.obj))
        if after is not None and (picks is None or picks(after.obj)):
            self.tell("MODIFIED" if was else "ADDED", after.data)
        elif was and before is not None:
            metadata = {**before.obj["metadata"], "resourceVersion": str(change.version)}
            self.tell("DELETED", orjson.dumps({**before.obj, "metadata": metadata}))

    def tell(self, event: str, data: bytes) -> None:
        """One line more."""
        self.say(b'{"type":"%s","object":%s}\n' % (event.encode(), data))

    def say(self, line: bytes) -> None:
        """As it is."""
        self.lines.extend([line] * self.repeats)
        self._wake()

    def bookmark(self, version: int) -> None:
        """Tells the version up to which everything was told."""
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        self.tell(
            "BOOKMARK",
            orjson.dumps({"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}),
        )

    def close(self) -> None:
        """No more comes."""
        self.is_closed = True
        self._wake()

    async def more(self, until_s: float) -> bool:
        """Whether there is something to read, or the watch has ended, before this instant of the loop."""
        while not self.is_closed and (self.is_silent or not self.lines):
            self._reader = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout_at(until_s):
                    await self._reader
            except TimeoutError:
                return False
            finally:
                self._reader = None
        return True

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done() and not (self.is_silent and not self.is_closed):
            self._reader.set_result(None)
