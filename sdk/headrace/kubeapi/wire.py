"""
Single requests over HTTP/1.1, on kept-alive connections that are used again.

    request ──> an idle connection, else a new one ──> sent as one piece ──> the whole answer ──> idle again
                                                          │ broken off, too late, cancelled
                                                          └──> the connection is closed: what it would carry next is not ours

Written for this alone: of what a request costs the operator, a general client takes five times as much (`python -m bench profile`: 0.55 ms
against 0.1 ms). Watches, which are streams, go through aiohttp.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

KEPT_ALIVE_S = 60.0
"""Less than the 90 s after which an API server closes an idle connection: else requests would meet that end."""
HEAD_LIMIT = 64 * 1024
"""Bytes of an answer's headers."""
RACE_S = 0.25
"""Until a second address of the server is tried beside the first."""


class WireError(ConnectionError):
    """The connection ended, or what came over it is no HTTP: whether the request took effect is open."""


class Answer(NamedTuple):
    """What the server sent; names of headers are written as in "Retry-After"."""

    status: int
    headers: dict[str, str]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is; `prefix` is the path below which its API is."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str
    shown: str
    """As the Host header says it."""

    @classmethod
    def of(cls, url: str, tls: ssl.SSLContext | bool) -> Address:  # noqa: FBT001 - as a Connection has it
        """
        The address in a URL.

        Args:
            tls: How a server of https is verified: False does without, True has the system's authorities.
        """
        parts = urlsplit(url)
        context = None
        if parts.scheme == "https":
            context = tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context()
            if tls is False:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = parts.port or (443 if context else 80)
        return cls(parts.hostname or "", port, context, parts.path.rstrip("/"), parts.netloc.rpartition("@")[2])


class Wire:
    """
    Requests to one server; at most `limit` are in flight, others wait.

    Args:
        limit: Of connections.
    """

    def __init__(self, address: Address, *, limit: int) -> None:
        self._address = address
        self._host = f"Host: {address.shown}\r\n"
        self._idle: deque[_Exchange] = deque()
        self._places = asyncio.Semaphore(limit)

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: str,
        body: bytes | None,
        check: Callable[[], None] | None = None,
    ) -> Answer:
        """
        The whole answer.

        Args:
            target: Path and query, encoded.
            headers: Lines, each with its line end.
            check: Called when nothing but the sending is left, with no await in between. If it raises, nothing is sent.
        Raises: WireError, OSError.
        """
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {self._address.prefix}{target} HTTP/1.1\r\n{self._host}{headers}{length}\r\n".encode(
            "latin-1"
        )
        async with self._places:
            exchange = self._pick()
            if exchange is not None:
                try:
                    return await self._over(exchange, head, body, check)
                except WireError:
                    # The server may have closed it before it saw the request. A read can be asked again, a write is not known to have failed.
                    if method != "GET" or exchange.heard:
                        raise
            return await self._over(await self._connect(), head, body, check)

    async def close(self) -> None:
        """Closes the connections that are idle; others close as their requests end."""
        while self._idle:
            self._idle.pop().abort()

    async def _over(
        self, exchange: _Exchange, head: bytes, body: bytes | None, check: Callable[[], None] | None
    ) -> Answer:
        try:
            if check is not None:
                check()
            answer = await exchange.send(head + body if body else head)
        except BaseException:  # cancelled or too late: its answer may still come, and would be taken for the next one's
            exchange.abort()
            raise
        if exchange.is_reusable:
            exchange.idle_since_s = exchange.loop.time()
            self._idle.append(exchange)
        else:
            exchange.abort()
        return answer

    def _pick(self) -> _Exchange | None:
        """The connection that was used last: those that a burst needed grow old behind it."""
        while self._idle:
            exchange = self._idle.pop()
            if exchange.is_reusable and exchange.loop.time() - exchange.idle_since_s < KEPT_ALIVE_S:
                return exchange
            exchange.abort()
        return None

    async def _connect(self) -> _Exchange:
        loop = asyncio.get_running_loop()
        address = self._address
        _, exchange = await loop.create_connection(
            lambda: _Exchange(loop), address.host, address.port, ssl=address.tls, happy_eyeballs_delay=RACE_S
        )
        return exchange


class _Exchange(asyncio.Protocol):
    """
    One connection: a request, then its answer, then the next.

    Attributes:
        heard: Whether anything of the present answer has come.
        is_reusable: Whether another request may go over it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.heard = False
        self.is_reusable = True
        self.idle_since_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._reader = _Reader()

    async def send(self, request: bytes) -> Answer:
        """The answer. Raises: WireError."""
        if self._transport is None or self._transport.is_closing():
            raise WireError(CLOSED)
        self.heard = False
        self._reader = _Reader()
        self._waiter = self.loop.create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def abort(self) -> None:
        """Closes it at once."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.abort()  # nobody asked for this
            return
        self.heard = True
        try:
            answer = self._reader.feed(data)
        except (ValueError, UnicodeDecodeError) as error:
            self._fail(WireError(f"the answer is no HTTP: {error}"))
            self.abort()
            return
        if answer is not None:
            self.is_reusable = self._reader.keeps_alive
            self._waiter.set_result(answer)

    def eof_received(self) -> None:
        """The server sends no more; the connection closes by itself."""
        self.is_reusable = False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_reusable = False
        if self._waiter is None or self._waiter.done():
            return
        answer = self._reader.ended() if error is None else None
        if answer is None:
            self._fail(WireError(str(error or "") or CLOSED))
        else:
            self._waiter.set_result(answer)

    def _fail(self, error: WireError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


CLOSED = "the server closed the connection"


class _Reader:
    """Reads one answer, as it comes in."""

    def __init__(self) -> None:
        self.keeps_alive = True
        self._data = b""
        self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._left: int | None = None
        self._chunked = False

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is whole. Raises: ValueError: this is no HTTP."""
        self._data = self._data + data if self._data else data
        while not self._status:
            if not self._read_head():
                return None
        if self._chunked:
            return self._whole() if self._read_chunks() else None
        if self._left is None or len(self._data) < self._left:
            return None
        if len(self._data) > self._left:
            raise ValueError("more came than Content-Length says")
        self._parts.append(self._data)
        return self._whole()

    def ended(self) -> Answer | None:
        """The answer whose end is that of the connection; None where it was cut off."""
        if not self._status or self._chunked or self._left is not None:
            return None
        self._parts.append(self._data)
        return self._whole()

    def _whole(self) -> Answer:
        return Answer(self._status, self._headers, b"".join(self._parts))

    def _read_head(self) -> bool:
        """Whether a head was there; one that only says to go on (1xx) is passed over."""
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > HEAD_LIMIT:
                raise ValueError(f"its headers are longer than {HEAD_LIMIT} bytes")
            return False
        first, *lines = self._data[:end].decode("latin-1").split("\r\n")
        self._data = self._data[end + 4 :]
        if not first.startswith("HTTP/1."):
            raise ValueError(f"it begins with {first[:40]!r}")
        status = int(first[9:12])
        if status < 200:
            return bool(self._data)
        pairs = (line.partition(":") for line in lines)
        self._headers = {name.title(): value.strip() for name, _, value in pairs}
        self._status = status
        self._chunked = "chunked" in self._headers.get("Transfer-Encoding", "").lower()
        length = self._headers.get("Content-Length")
        self._left = 0 if status in {204, 304} else None if length is None else int(length)
        unbounded = not self._chunked and self._left is None
        closes = "close" in self._headers.get("Connection", "").lower() or first.startswith("HTTP/1.0")
        self.keeps_alive = not (unbounded or closes)
        return True

    def _read_chunks(self) -> bool:
        """Whether the last one was there."""
        data, at = self._data, 0
        while (end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:end].partition(b";")[0], 16)
            begin = end + 2
            if not size:
                # After the last chunk come trailers, if any, and an empty line.
                is_over = data.startswith(b"\r\n", begin) or data.find(b"\r\n\r\n", begin) >= 0
                self._data = data[at:]
                return is_over
            if len(data) < begin + size + 2:
                break
            if data[begin + size : begin + size + 2] != b"\r\n":
                raise ValueError("a chunk is not as long as it says")
            self._parts.append(data[begin : begin + size])
            at = begin + size + 2
        self._data = data[at:]
        return False
