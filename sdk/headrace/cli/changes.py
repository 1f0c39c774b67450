"""One object, each time it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from headrace.api import keys
from headrace.cli.cluster import ClusterRefusal, path_of
from headrace.kubeapi.errors import ApiError

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

News = dict[str, Any] | Exception


class Mailbox:
    """The sink of a stream of one object: what was seen last, and whether it is gone."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._news: asyncio.Queue[News] = asyncio.Queue()

    def seen(self, obj: dict[str, Any]) -> None:
        """It is there, or has changed."""
        self._news.put_nowait(obj)

    def gone(self, _obj: dict[str, Any]) -> None:
        """The object was deleted: whoever waits for its news gets an error."""
        self._news.put_nowait(ClusterRefusal(self._wanted, "it was deleted meanwhile"))

    def synced(self, uids: set[str], _version: int) -> None:
        """It is in the list, or was deleted."""
        if not uids:
            self.gone({})

    def failed(self, error: ApiError, _retry_in_s: float) -> None:
        """The stream goes on by itself, unless it never can."""
        if not error.retryable:
            refusal = ClusterRefusal(self._wanted, f"{error}; it goes on, headrace list shows it")
            refusal.__cause__ = error
            self._news.put_nowait(refusal)

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """The object as it is now, then after each change. Raises: ClusterRefusal."""
        while True:
            news = await self._news.get()
            if isinstance(news, Exception):
                raise news
            yield news


@asynccontextmanager
async def watched(
    client: KubeClient, resource: keys.Resource, namespace: str, name: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """
    The object as it is now, then after each change, until the block ends.

    Raises: ClusterRefusal: it was deleted, or may not be watched.
    """
    from headrace.kubeapi.stream import Stream  # noqa: PLC0415 - slow to import

    box = Mailbox(f"watch {resource.singular} {name}")
    stream = Stream(client, path_of(resource, namespace), {"fieldSelector": f"metadata.name={name}"}, box)
    watching = asyncio.create_task(stream.run())
    try:
        async with aclosing(box.changes()) as changes:  # type: ignore[type-var]
            yield changes
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
