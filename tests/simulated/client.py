"""A KubeClient without a network: its requests go to an Api in memory, in bytes, by way of whatever befalls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from headrace.kubeapi.client import JSON, REQUEST_TIMEOUT_S, KubeClient, _answer
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import ApiError, Gone, Unreachable
from tests.simulated.api import Api
from tests.simulated.watching import Watch

BOOKMARKS_S = 60.0
NOWHERE = Connection("https://simulated.invalid", "default", ssl=False, authorization=lambda: None)


@dataclass(frozen=True, slots=True)
class Sent:
    """One request on its way."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = JSON
    timeout_s: float = REQUEST_TIMEOUT_S
    agent: str = ""


Answer = Callable[[Sent], bytes]


class Way(Protocol):
    """What lies between a client and the API."""

    async def depart(self, sent: Sent) -> None:
        """Returns when the request goes onto the wire. Raises: ApiError, TimeoutError."""
        ...

    async def travel(self, sent: Sent, answer: Answer) -> bytes:
        """The answer, as it arrives. Raises: ApiError, TimeoutError."""
        ...

    def begins(self, version: int) -> int:
        """The version that a watch really begins at, which may be an earlier one."""
        ...

    def opened(self, watch: Watch) -> None:
        """A watch was opened by way of this."""
        ...


class Direct:
    """Nothing lies between."""

    async def depart(self, sent: Sent) -> None:
        """Others get their turn, as while a real request is under way."""
        await asyncio.sleep(0)

    async def travel(self, sent: Sent, answer: Answer) -> bytes:
        """At once."""
        return answer(sent)

    def begins(self, version: int) -> int:
        """The one that was asked for."""
        return version

    def opened(self, watch: Watch) -> None:
        """Nothing befalls it."""


class SimulatedClient(KubeClient):
    """
    A KubeClient whose verbs are the real ones, and whose requests go to `api`.

    Args:
        agent: Whose requests these are.
        check: As KubeClient has it.
    """

    def __init__(  # no session: nothing of the base's own state is of use here
        self, api: Api, *, agent: str = "tests", check: Callable[[], None] | None = None, way: Way | None = None
    ) -> None:
        self.connection = NOWHERE
        self._api = api
        self._agent = agent
        self._check = check
        self._way: Way = way or Direct()

    async def close(self) -> None:
        """There is nothing to close."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """As KubeClient does it."""
        data = None if body is None else orjson.dumps(body)
        patience_s = REQUEST_TIMEOUT_S if timeout_s is None else timeout_s
        sent = Sent(method, path, params or {}, data, content_type, patience_s, self._agent)
        return _answer(f"{method} {path}", await self._sent(sent))

    async def _sent(self, sent: Sent) -> bytes:
        try:
            await self._way.depart(sent)
            if self._check is not None and sent.body is not None:
                self._check()
            return await self._way.travel(sent, self._take_effect)
        except ApiError:
            raise
        except Exception as error:  # a fence, or patience, is over: as aiohttp has it, no answer came
            text = str(error) or type(error).__name__
            raise Unreachable(0, "Unreachable", text, request=f"{sent.method} {sent.path}") from error

    def _take_effect(self, sent: Sent) -> bytes:
        if "watch" in sent.params:
            return b"{}"
        return self._api.answer(
            sent.method, sent.path, sent.params, sent.body, content_type=sent.content_type, agent=sent.agent
        )

    async def raw_lines(
        self, path: str, params: Mapping[str, str] | None = None, *, read_timeout_s: float | None = None
    ) -> AsyncIterator[bytes]:
        """As KubeClient does it, of watches."""
        query = params or {}
        try:
            await self._sent(Sent("GET", path, query, agent=self._agent))
            if "resourceVersion" in query:
                query = {**query, "resourceVersion": str(self._way.begins(int(query["resourceVersion"])))}
            watch = self._api.watch(path, query)
        except Gone as error:
            yield _error_line(error)
            return
        self._way.opened(watch)
        ends_s = asyncio.get_running_loop().time() + float(query.get("timeoutSeconds", "3600"))
        try:
            async for line in self._lines(watch, ends_s, read_timeout_s or REQUEST_TIMEOUT_S * 10):
                yield line
        finally:
            self._api.store.unwatch(watch)

    async def _lines(self, watch: Watch, ends_s: float, read_timeout_s: float) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        heard_s = loop.time()
        while True:
            until_s = heard_s + read_timeout_s if watch.is_silent else min(loop.time() + BOOKMARKS_S, ends_s)
            if await watch.more(until_s):
                heard_s = loop.time()
                while watch.lines and not watch.is_silent:
                    yield watch.lines.popleft()
                if watch.is_closed:
                    return
            elif watch.is_silent and loop.time() >= heard_s + read_timeout_s:
                raise Unreachable(0, "Unreachable", "SocketTimeoutError", request=f"GET {watch.kind.plural}")
            elif loop.time() >= ends_s and not watch.is_silent:
                return
            elif not watch.is_silent:
                watch.bookmark(self._api.store.version)


def _error_line(error: ApiError) -> bytes:
    """What an API server sends where a watch cannot begin in the past."""
    status = {
        "kind": "Status",
        "status": "Failure",
        "code": error.status,
        "reason": error.reason,
        "message": error.message,
    }
    return orjson.dumps({"type": "ERROR", "object": status}) + b"\n"
