"""The endpoint of Automations over HTTP, as somebody without a secret uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from headrace_operator.inbound.receiver import Receiver
from headrace_operator.inbound.server import MAX_BODY, application
from headrace_operator.telemetry.automations import AutomationMetrics
from tests.builders import NOW
from tests.fake_cluster import FakeCluster

ROOM = 2 * MAX_BODY


@pytest.fixture
async def url() -> AsyncIterator[str]:
    metrics = AutomationMetrics(CollectorRegistry())
    receiver = Receiver(FakeCluster(), metrics, clock=lambda: NOW, monotonic=lambda: 0.0)
    async with TestServer(application(receiver, metrics, all_bodies=ROOM)) as server:
        yield str(server.make_url("/hooks/team-a/auto"))


async def test_bodies_that_never_end_fill_no_more_than_their_room(url: str) -> None:
    """Others are told to come again, and are answered once it is free."""
    hold = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (MAX_BODY - 1)
        begun.release()
        await hold.wait()
        yield b"x"

    async with ClientSession() as session:
        slow_ones = [asyncio.create_task(session.post(url, data=slow())) for _ in range(2)]
        for _ in slow_ones:
            await begun.acquire()
        answers = []
        while 503 not in answers:  # what was sent is there at some time
            answers.append((await session.post(url, data=b"x" * 1024)).status)
        hold.set()
        assert {(await each).status for each in slow_ones} <= {401, 503}
        assert (await session.post(url, data=b"x" * 1024)).status == 401


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * (MAX_BODY + 1), {}, 413),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (b"", {}, 401),
    ],
    ids=["too large", "not encoded as it says", "empty"],
)
async def test_what_is_no_request_is_told_so(url: str, body: bytes, headers: dict[str, str], status: int) -> None:
    """And nothing breaks."""
    async with ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        assert answer.status == status
