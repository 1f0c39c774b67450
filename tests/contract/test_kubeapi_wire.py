"""Requests over real sockets, to a server that answers as the test says, byte for byte."""

from __future__ import annotations

import asyncio
import gc
import gzip
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from headrace.kubeapi.wire import Address, Answer, Wire, WireError, _Reader

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
PACKED = gzip.compress(b"a long list")
PACKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Plays one script a connection, and keeps what was asked."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()


def answering(*pieces: bytes) -> Script:
    """To each request with these pieces, one after the other."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await heard(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    return script


def once(answer: bytes) -> Script:
    """To one request, then it closes the connection."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(answer)
        await writer.drain()

    return script


async def heard(reader: asyncio.StreamReader) -> bytes:
    """The next request, its body left out."""
    return await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def a_wire(server: Server, *, limit: int = 4) -> AsyncIterator[Wire]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        wire = Wire(Address.of(f"http://127.0.0.1:{port}/prefix", tls=False), limit=limit)
        try:
            yield wire
        finally:
            await wire.close()


async def ask(wire: Wire, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    answer = await wire.request(method, "/x", headers="Accept: */*\r\n", body=body)
    return answer.status, answer.payload


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, (200, b"ok")),
        (CHUNKED, (201, b"abc0123456789")),
        (CHUNKED[:-2] + b"Trailer: t\r\n\r\n", (201, b"abc0123456789")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"ok")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", (404, b"")),
        (PACKED_HEAD % len(PACKED) + PACKED, (200, b"a long list")),
    ],
    ids=["with its length", "in chunks", "with a trailer", "after a Continue", "without a body", "empty", "packed"],
)
async def test_an_answer_is_read_whole_however_it_is_cut(answer: bytes, expected: tuple[int, bytes]) -> None:
    """In one piece, and byte by byte; the connection is used again each time."""
    for pieces in ([answer], [answer[at : at + 1] for at in range(len(answer))]):
        server = Server(answering(*pieces))
        async with a_wire(server) as wire:
            assert [await ask(wire) for _ in range(3)] == [expected] * 3
            assert server.connections == 1


@pytest.mark.parametrize(
    "answer", [OK, CHUNKED, once(OK), once(b"no HTTP\r\n\r\n")], ids=["kept", "chunks", "closed", "broken"]
)
async def test_an_answer_is_gone_with_the_last_who_holds_it(answer: bytes | Script) -> None:
    """Not when somebody looks for garbage: lists and pods are large, and that is seldom."""
    async with a_wire(Server(answering(answer) if isinstance(answer, bytes) else answer)) as wire:
        await _tried(wire)
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await _tried(wire)
            await asyncio.sleep(0)  # the loop holds what it is just telling of
            held = [each for each in gc.get_objects() if isinstance(each, _Reader | Answer)]
        finally:
            gc.enable()
        assert held == []


async def _tried(wire: Wire) -> None:
    with suppress(WireError):
        await ask(wire)


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """As old proxies send it."""
    server = Server(once(b"HTTP/1.1 502 Bad Gateway\r\n\r\nno upstream"))
    async with a_wire(server) as wire:
        assert await ask(wire) == (502, b"no upstream")
        assert await ask(wire) == (502, b"no upstream")
        assert server.connections == 2


async def test_a_connection_that_is_to_be_closed_is_not_used_again() -> None:
    """`Connection: close` is heeded."""
    server = Server(answering(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n", 1)))
    async with a_wire(server) as wire:
        await ask(wire)
        await ask(wire)
        assert server.connections == 2


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b"HTTP/1.1 200",
        OK[:-1],
        CHUNKED[:-3],
        b"SSH-2.0-x\r\n\r\n",
        UPGRADE,
        OK + b"!",
        CHUNKED + OK,
        PACKED_HEAD % 3 + b"abc",
    ],
)
async def test_an_answer_that_is_cut_off_or_no_http_is_no_answer(cut: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whether the request took effect is open, and that is said."""
    server = Server(once(cut))
    async with a_wire(server) as wire:
        with pytest.raises(WireError):
            await ask(wire, "POST", b"{}")
        assert server.connections == 1
    assert caplog.messages == []  # the event loop logs what a connection did not expect


async def test_a_read_is_asked_again_when_the_server_had_closed_its_idle_connection() -> None:
    """A write is not: it may have taken effect."""
    server = Server(once(OK), answering(OK))
    async with a_wire(server) as wire:
        await ask(wire)
        assert await ask(wire) == (200, b"ok")
        assert server.connections == 2


async def test_a_write_on_a_connection_that_breaks_is_not_sent_again() -> None:
    """Its effect is open."""

    async def breaks_at_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(OK)
        await heard(reader)

    server = Server(breaks_at_the_second, answering(OK))
    async with a_wire(server) as wire:
        await ask(wire, "POST", b"")
        with pytest.raises(WireError):
            await ask(wire, "POST", b"")
        assert server.connections == 1


async def test_nothing_is_sent_once_the_check_fails() -> None:
    """It is asked last of all."""
    asked: list[bytes] = []

    async def notes(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.append(await heard(reader))

    def refuse() -> None:
        raise WireError("the lease is lost")

    async with a_wire(Server(notes)) as wire:
        with pytest.raises(WireError, match="the lease is lost"):
            await wire.request("POST", "/x", headers="", body=b"{}", check=refuse)
        await asyncio.sleep(0.05)
    assert asked == []


async def test_the_late_answer_of_a_request_that_was_given_up_is_nobodys() -> None:
    """Its connection is closed."""
    let_go = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        await let_go.wait()
        writer.write(OK.replace(b"ok", b"NO"))

    server = Server(late, answering(OK))
    async with a_wire(server) as wire:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(wire)
        let_go.set()
        assert await ask(wire) == (200, b"ok")
        assert server.connections == 2


async def test_a_connection_that_has_gone_dead_takes_those_that_rested_beside_it_along() -> None:
    """A balancer that forgets them tells nobody: each would cost a request its whole time, one after the other."""
    is_dead = False

    async def until_dead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = server.connections
        while True:
            await heard(reader)
            await asyncio.sleep(0.02)
            if not is_dead or mine > 3:
                writer.write(OK)

    server = Server(until_dead)
    async with a_wire(server) as wire:
        await asyncio.gather(*(ask(wire) for _ in range(3)))
        is_dead = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(wire, "POST", b"{}")
        async with asyncio.timeout(2):
            assert await ask(wire, "POST", b"{}") == (200, b"ok")
        assert server.connections == 4


async def test_a_connection_whose_request_ends_after_the_close_is_closed() -> None:
    """Nobody would take it up again."""
    is_over = asyncio.Event()

    async def notes_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        began.set()
        await let_go.wait()
        writer.write(OK)
        await reader.read()
        is_over.set()

    began, let_go = asyncio.Event(), asyncio.Event()
    async with a_wire(Server(notes_the_end)) as wire:
        asked = asyncio.create_task(ask(wire))
        await began.wait()
        await wire.close()
        let_go.set()
        assert await asked == (200, b"ok")
        async with asyncio.timeout(2):
            await is_over.wait()


async def test_nobody_gets_the_answer_to_anothers_request() -> None:
    """Whoever gives up, at whatever step: while it waits for a connection, opens one, sends, or reads half an answer."""
    chance = random.Random(7)

    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await heard(reader)).split()[1]
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)
            cut = chance.randrange(len(answer))
            for piece in (answer[:cut], answer[cut:]):
                await asyncio.sleep(chance.choice([0, 0, 0.002]))
                writer.write(piece)
                if chance.random() < 0.05:
                    return

    outcomes: Counter[str] = Counter()

    async def asks(wire: Wire, number: int) -> None:
        try:
            async with asyncio.timeout(chance.choice([0.001, 0.004, 5])):
                answer = await wire.request(chance.choice(["GET", "PUT"]), f"/{number}", headers="", body=None)
        except (TimeoutError, WireError) as error:
            outcomes[type(error).__name__] += 1
        else:
            assert answer.payload == f"/prefix/{number}".encode()
            outcomes["answered"] += 1

    async with a_wire(Server(echoes)) as wire:
        for begin in range(0, 600, 12):
            await asyncio.gather(*(asks(wire, number) for number in range(begin, begin + 12)))
    assert set(outcomes) == {"answered", "TimeoutError", "WireError"}


async def test_no_more_are_in_flight_than_the_limit() -> None:
    """The others wait, and go over the same connections."""
    server = Server(answering(OK))
    async with a_wire(server, limit=3) as wire:
        answers = await asyncio.gather(*(ask(wire) for _ in range(30)))
    assert answers == [(200, b"ok")] * 30
    assert server.connections <= 3


async def test_what_is_asked_is_below_the_servers_path() -> None:
    """With a Host, the headers, and the length of the body."""
    asked: list[bytes] = []

    async def notes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await heard(reader) + await reader.readexactly(2))
        writer.write(OK)

    async with a_wire(Server(notes)) as wire:
        await ask(wire, "PATCH", b"{}")
    first, *lines = asked[0].decode().split("\r\n")
    assert first == "PATCH /prefix/x HTTP/1.1"
    assert lines[0].startswith("Host: 127.0.0.1:")
    assert lines[1:] == ["Accept-Encoding: gzip", "Accept: */*", "Content-Length: 2", "", "{}"]
