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
import gzip
import ssl
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

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
        self._host = f"Host: {address.shown}\r\nAccept-Encoding: gzip\r\n"
        self._idle: deque[_Exchange] = deque()
        self._is_closed = False
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
        self._is_closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
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
            if (
                exchange.is_unanswered
            ):  # what became of this connection became of those that rested beside it, as a rule
                self._drop_idle()
            exchange.abort()
            raise
        if exchange.is_reusable and not self._is_closed:
            exchange.idle_since_s = exchange.loop.time()
            self._idle.append(exchange)
        else:
            exchange.abort()
        return _unpacked(answer)

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
        # A race that is given up half-way leaves a socket open for a while: it is run only where there may be two addresses.
        race_s = None if _is_ip(address.host) else RACE_S
        _, exchange = await loop.create_connection(
            lambda: _Exchange(loop), address.host, address.port, ssl=address.tls, happy_eyeballs_delay=race_s
        )
        return exchange


def _is_ip(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _unpacked(answer: Answer) -> Answer:
    """As it was before it was packed for the way: the API server does that with long lists. Raises: WireError."""
    if answer.headers.get("Content-Encoding") != "gzip":
        return answer
    try:
        return answer._replace(payload=gzip.decompress(answer.payload))
    except (OSError, EOFError, zlib.error) as error:
        raise WireError(f"the answer is no gzip: {error}") from error


class _Exchange(asyncio.Protocol):
    """
    One connection: a request, then its answer, then the next.

    Attributes:
        heard: Whether anything of the present answer has come.
        is_unanswered: Whether a request was sent after an earlier one was answered, and nothing has come since.
        is_reusable: Whether another request may go over it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.heard = False
        self.is_unanswered = False
        self.is_reusable = True
        self.idle_since_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._reader: _Reader | None = None

    async def send(self, request: bytes) -> Answer:
        """The answer. Raises: WireError."""
        if self._transport is None or self._transport.is_closing():
            raise WireError(CLOSED)
        self.is_unanswered, self.heard = self.heard, False
        self._waiter = self.loop.create_future()
        self._reader = _Reader()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._reader.let_go()
            self._waiter = self._reader = None  # no idle connection holds on to the bytes of a long list

    def abort(self) -> None:
        """Closes it at once."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._waiter is None or self._waiter.done():
            self.abort()  # nobody asked for this
            return
        self.heard, self.is_unanswered = True, False
        try:
            answer = self._reader.feed(data)
        except ValueError as error:
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
        if self._reader is None or self._waiter is None or self._waiter.done():
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
    """Reads one answer, as it comes in; the parser is httptools, which is llhttp."""

    def __init__(self) -> None:
        self.keeps_alive = True
        self._parser = HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._head_bytes = 0
        self._has_head = False
        self._whole: Answer | None = None

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is whole. Raises: ValueError: this is no HTTP."""
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            raise ValueError(str(error.__context__ or error)) from error
        except HttpParserUpgrade as error:
            raise ValueError("it goes on in another protocol, which nobody asked for") from error
        if not self._has_head and self._head_bytes > HEAD_LIMIT:
            raise ValueError(f"its headers are longer than {HEAD_LIMIT} bytes")
        return self._whole

    def let_go(self) -> None:
        """Nothing more is read: else this and its parser would hold each other, with all that was read, until somebody looks for such garbage."""
        del self._parser

    def ended(self) -> Answer | None:
        """The answer whose end is that of the connection; None where it was cut off."""
        return self._answer() if self._has_head and not self._tells_its_end else None

    def on_message_begin(self) -> None:
        if self._whole is not None:
            raise ValueError("more came than was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").title()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._has_head = self._parser.get_status_code() >= 200
        if not self._has_head:  # it only says to go on (1xx)
            self._headers = {}
        self.keeps_alive = self._tells_its_end and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._has_head:
            self._whole = self._answer()

    @property
    def _tells_its_end(self) -> bool:
        is_empty = self._parser.get_status_code() in {204, 304}
        return is_empty or "Content-Length" in self._headers or "Transfer-Encoding" in self._headers

    def _answer(self) -> Answer:
        return Answer(self._parser.get_status_code(), self._headers, b"".join(self._parts))
