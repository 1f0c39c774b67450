"""Forwarding a port against the code by which nodes forward theirs: an HTTP server behind it, as a browser sees it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from io import BytesIO

import aiohttp
import pytest
from aiohttp import web

from headrace.cli.cluster import ClusterRefusal
from headrace.cli.exits import NO_RIGHT, status_of
from headrace.cli.forwarding import Find, Target, forwarded
from headrace.devcluster.errors import ClusterError
from headrace.devcluster.progress import Silent
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import Unreachable
from tests.gotools import provide
from tests.tools import PORTFORWARD

TOKEN = "of-somebody"
LARGE = os.urandom(3 * 1024 * 1024)


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """Where something listens that forwards ports as a kubelet does."""
    try:
        program = provide(PORTFORWARD, Silent()).program
    except ClusterError as error:
        pytest.skip(str(error))
    with subprocess.Popen([program, TOKEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


@dataclass
class Page:
    """What listens behind the node."""

    port: int
    waiting: asyncio.Event


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async def large(_: web.Request) -> web.Response:
        return web.Response(body=LARGE)

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        await found.waiting.wait()
        await response.write(b"second\n")
        return response

    app = web.Application(client_max_size=2 * len(LARGE))
    app.add_routes([web.get("/large", large), web.post("/echo", echo), web.get("/stream", stream)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found = Page(int(runner.addresses[0][1]), asyncio.Event())
    yield found
    found.waiting.set()
    await runner.cleanup()


def connection(server: str, token: str = TOKEN) -> Connection:
    return Connection(server=server, namespace="default", ssl=True, authorization=lambda: f"Bearer {token}")


def always(port: int) -> Find:
    async def find() -> Target:
        return Target("headrace-system", "headrace-dashboard-1", port)

    return find


async def test_requests_and_answers_of_megabytes_come_through_unchanged(node: str, page: Page) -> None:
    """Several at once, over connections that are kept."""
    async with forwarded(connection(node), always(page.port), 0) as port, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{port}"

        async def both() -> None:
            async with session.get(f"{base}/large") as answer:
                assert await answer.read() == LARGE
            async with session.post(f"{base}/echo", data=BytesIO(LARGE)) as answer:
                assert await answer.read() == LARGE

        await asyncio.gather(*(both() for _ in range(4)))


async def test_a_stream_is_passed_on_as_it_is_written(node: str, page: Page) -> None:
    """The pages of the dashboard live by it. What is open at the end does not hold the end up."""
    async with (
        aiohttp.ClientSession() as session,
        forwarded(connection(node), always(page.port), 0) as port,
        session.get(f"http://127.0.0.1:{port}/stream") as first,
        session.get(f"http://127.0.0.1:{port}/stream") as left_open,
    ):
        assert await first.content.readline() == b"first\n"
        assert await left_open.content.readline() == b"first\n"
        page.waiting.set()
        assert await first.content.readline() == b"second\n"


async def test_a_pod_that_was_replaced_is_no_matter_to_the_next_connection(node: str, page: Page) -> None:
    """Each looks for one anew."""
    asked = 0

    async def find() -> Target:
        nonlocal asked
        asked += 1
        return Target("headrace-system", f"headrace-dashboard-{asked}", page.port)

    async with forwarded(connection(node), find, 0) as port:
        for _ in range(3):
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"http://127.0.0.1:{port}/echo", data=b"x") as answer,
            ):
                assert await answer.read() == b"x"
    assert asked == 4  # once before anybody was told the address


async def test_a_port_that_nobody_listens_on_is_told_and_ends_that_connection_alone(
    node: str, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of the node."""
    ports = iter((page.port, 9, page.port))

    async def find() -> Target:
        return Target("headrace-system", "headrace-dashboard-1", next(ports))

    async with forwarded(connection(node), find, 0) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/echo"
        with pytest.raises(aiohttp.ClientError):
            await session.post(url, data=b"x")
        async with session.post(url, data=b"x") as answer:
            assert await answer.read() == b"x"
    assert "cannot forward a port: error forwarding port 9" in capsys.readouterr().err


async def test_who_may_not_forward_is_told_before_an_address_is(node: str, page: Page) -> None:
    """With the right that is missing."""
    with pytest.raises(ClusterRefusal, match="ask an administrator for create pods/portforward") as refused:
        async with forwarded(connection(node, "of-nobody"), always(page.port), 0):
            pass
    assert status_of(refused.value) == NO_RIGHT


async def test_an_api_server_that_is_away_is_told_so() -> None:
    with pytest.raises(Unreachable):
        async with forwarded(connection("http://127.0.0.1:9"), always(80), 0):
            pass
