"""List and watch against a server that misbehaves in every way that an API server, or what stands before it, does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from headrace.kubeapi import stream as stream_module
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import ApiError, TooManyRequests, Unreachable
from headrace.kubeapi.stream import Stream

PATH = "/api/v1/pods"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pod(name: str, version: int, **changes: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"{name}-uid", "resourceVersion": str(version)}, **changes}


def event(kind: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def a_status(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": f"{reason} it is"}


def a_list(version: int, *items: dict[str, Any], token: str = "") -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), **({"continue": token} if token else {})}
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": list(items)})

    return answer


def refuses(code: int, reason: str, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(a_status(code, reason), status=code, headers=headers)

    return answer


def watch(*chunks: bytes, stays: bool = False, breaks: bool = False) -> Answer:
    """A watch that sends these bytes, then ends in order, stays open, or has its connection cut."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if breaks and request.transport is not None:
            request.transport.abort()
        if stays:
            await asyncio.Event().wait()
        return response

    return answer


class ApiServer:
    """Answers one request after another as it was told to, then holds the line; `asked` has every query."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answers: list[Answer] = []
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        answer = self.answers.pop(0) if self.answers else watch(stays=True)
        return await answer(request)


class Sink:
    """Holds what a stream tells it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.failures: list[ApiError] = []
        self.objects: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    def seen(self, obj: dict[str, Any]) -> None:
        self.objects.append(obj)
        self._tell(f"seen {obj['metadata']['name']}")

    def gone(self, obj: dict[str, Any]) -> None:
        self._tell(f"gone {obj['metadata']['name']}")

    def synced(self, uids: set[str], version: int) -> None:
        self._tell(f"synced {','.join(sorted(uids))} at {version}")

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        self.failures.append(error)
        self._tell(f"failed {type(error).__name__}")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self._news.set()

    async def has_told(self, count: int) -> list[str]:
        """Everything that was told, once it is so many things."""
        while len(self.told) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 10)
        return self.told


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    api = ApiServer()
    app = web.Application()
    app.router.add_get(PATH, api.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    api.url = f"http://{host}:{port}"
    yield api
    await runner.cleanup()


@pytest.fixture
async def sink(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sink]:
    """What a stream of pods tells, which runs for as long as the test."""
    monkeypatch.setattr(stream_module, "FIRST_BACKOFF_S", 0.001)
    made = Sink()
    async with KubeClient(Connection(server.url, "default", ssl=False, authorization=lambda: "Bearer t")) as client:
        task = asyncio.create_task(Stream(client, PATH, {"labelSelector": "a=b"}, made).run())
        await asyncio.sleep(0)
        yield made
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_list_then_what_changes(server: ApiServer, sink: Sink) -> None:
    """Pages, one word about the whole, then each event from there; the selector is asked for throughout."""
    server.answers = [
        a_list(7, pod("a", 1), token="more"),
        a_list(7, pod("b", 2)),
        watch(event("ADDED", pod("c", 8)), event("MODIFIED", pod("a", 9)), event("DELETED", pod("b", 10)), stays=True),
    ]
    told = await sink.has_told(6)
    assert told == ["seen a", "seen b", "synced a-uid,b-uid at 7", "seen c", "seen a", "gone b"]
    assert [asked["labelSelector"] for asked in server.asked] == ["a=b"] * 3
    assert server.asked[1]["continue"] == "more"
    assert server.asked[2]["watch"] == "true"
    assert server.asked[2]["resourceVersion"] == "7"
    assert sink.objects[0]["kind"] == "Pod"


async def test_a_watch_that_ends_in_order_is_taken_up_from_its_last_event(server: ApiServer, sink: Sink) -> None:
    """Without a new list, and without a complaint."""
    server.answers = [a_list(7), watch(event("ADDED", pod("a", 8))), watch(event("ADDED", pod("b", 9)), stays=True)]
    assert await sink.has_told(3) == ["synced  at 7", "seen a", "seen b"]
    assert server.asked[2]["resourceVersion"] == "8"


async def test_bookmarks_move_the_version_and_tell_nothing(server: ApiServer, sink: Sink) -> None:
    """An idle collection is taken up from the bookmark, which is younger than its last event."""
    bookmark = {"metadata": {"resourceVersion": "99"}}
    server.answers = [a_list(7), watch(event("BOOKMARK", bookmark)), watch(event("ADDED", pod("a", 100)), stays=True)]
    assert await sink.has_told(2) == ["synced  at 7", "seen a"]
    assert server.asked[2]["resourceVersion"] == "99"


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(watch(event("ERROR", a_status(410, "Expired"))), id="told within the watch"),
        pytest.param(watch(event("ERROR", a_status(410, "Gone"))), id="told within the watch, by its other name"),
        pytest.param(refuses(410, "Expired"), id="the watch is refused"),
    ],
)
async def test_when_history_is_lost_the_list_is_read_anew(server: ApiServer, sink: Sink, lost: Answer) -> None:
    """What was deleted meanwhile is not in it: `synced` tells it apart. It is no failure."""
    server.answers = [a_list(7, pod("a", 1), pod("b", 2)), lost, a_list(50, pod("a", 1)), watch(stays=True)]
    told = await sink.has_told(5)
    assert told == ["seen a", "seen b", "synced a-uid,b-uid at 7", "seen a", "synced a-uid at 50"]
    assert "resourceVersion" not in server.asked[2]


async def test_history_that_is_lost_again_at_once_is_not_listed_in_a_loop(server: ApiServer, sink: Sink) -> None:
    """A list of many objects is dear. The first loss is no failure, those that follow it at once are, each later than the last."""
    lost = watch(event("ERROR", a_status(410, "Expired")))
    server.answers = [a_list(7), lost, a_list(8), lost, a_list(9), lost, a_list(10)]
    told = await sink.has_told(6)
    assert told[:2] == ["synced  at 7", "synced  at 8"]
    assert told[2:] == ["failed Gone", "synced  at 9", "failed Gone", "synced  at 10"]


async def test_history_that_is_lost_now_and_then_is_listed_at_once(server: ApiServer, sink: Sink) -> None:
    """A watch that told something was in order."""
    lost = event("ERROR", a_status(410, "Expired"))
    first, second = event("ADDED", pod("a", 8)), event("ADDED", pod("b", 10))
    server.answers = [a_list(7), watch(first, lost), a_list(9), watch(second, lost), a_list(11), watch(stays=True)]
    assert await sink.has_told(5) == ["synced  at 7", "seen a", "synced  at 9", "seen b", "synced  at 11"]


async def test_a_list_that_outlives_the_history_is_begun_again(server: ApiServer, sink: Sink) -> None:
    """The token of its next page is too old; what was read of it is no whole list."""
    server.answers = [a_list(7, pod("a", 1), token="old"), refuses(410, "Expired"), a_list(50, pod("b", 40))]
    assert await sink.has_told(3) == ["seen a", "seen b", "synced b-uid at 50"]
    assert "continue" not in server.asked[2]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(watch(event("ADDED", pod("a", 8)), event("ADDED", pod("b", 9))[:20], breaks=True), id="cut"),
        pytest.param(watch(event("ADDED", pod("a", 8)), event("ADDED", pod("b", 9))[:20]), id="closed in order"),
        pytest.param(watch(event("ADDED", pod("a", 8)), b"<html>gateway</html>\n"), id="a proxy's page"),
    ],
)
async def test_a_watch_that_breaks_within_an_event_is_taken_up_before_it(
    server: ApiServer, sink: Sink, broken: Answer
) -> None:
    """No event is lost, none is half taken, and the break is told."""
    server.answers = [a_list(7), broken, watch(event("ADDED", pod("b", 9)), stays=True)]
    assert await sink.has_told(4) == ["synced  at 7", "seen a", "failed Unreachable", "seen b"]
    assert server.asked[2]["resourceVersion"] == "8"


async def test_a_watch_that_ends_before_its_first_event_is_not_asked_for_in_a_loop(
    server: ApiServer, sink: Sink
) -> None:
    """A server that is shutting down takes requests and drops them."""
    server.answers = [a_list(7), watch(), watch(), watch(event("ADDED", pod("a", 8)), stays=True)]
    assert await sink.has_told(4) == ["synced  at 7", "failed Unreachable", "failed Unreachable", "seen a"]
    assert str(sink.failures[0]) == f"WATCH {PATH}: 0 Unreachable: the watch ended before its first event"


async def test_a_server_that_has_enough_is_left_alone_for_as_long_as_it_says(server: ApiServer, sink: Sink) -> None:
    """429 with Retry-After."""
    server.answers = [refuses(429, "TooManyRequests", **{"Retry-After": "1"}), a_list(7)]
    began = asyncio.get_running_loop().time()
    assert await sink.has_told(2) == ["failed TooManyRequests", "synced  at 7"]
    assert asyncio.get_running_loop().time() - began >= 1
    assert isinstance(sink.failures[0], TooManyRequests)
    assert sink.failures[0].retry_after_s == 1


@pytest.mark.parametrize(
    ("code", "reason"), [(401, "Unauthorized"), (403, "Forbidden"), (500, "InternalError"), (503, "ServiceUnavailable")]
)
async def test_every_refusal_is_told_and_tried_again(server: ApiServer, sink: Sink, code: int, reason: str) -> None:
    """Rights come back, credentials are renewed, servers restart."""
    server.answers = [refuses(code, reason), a_list(7)]
    assert (await sink.has_told(2))[1] == "synced  at 7"
    assert (sink.failures[0].status, sink.failures[0].reason) == (code, reason)


async def test_an_object_of_more_than_a_megabyte_comes_through(server: ApiServer, sink: Sink) -> None:
    """In pieces, whatever the size of each."""
    large = event("ADDED", pod("large", 8, spec={"text": "x" * 1_500_000}))
    pieces = [large[start : start + 100_000] for start in range(0, len(large), 100_000)]
    server.answers = [a_list(7), watch(*pieces, event("ADDED", pod("small", 9)), stays=True)]
    assert await sink.has_told(3) == ["synced  at 7", "seen large", "seen small"]
    assert len(sink.objects[0]["spec"]["text"]) == 1_500_000


async def test_a_server_that_is_not_there_is_told_and_tried_again() -> None:
    """Until it is there."""
    made = Sink()
    async with KubeClient(Connection("http://127.0.0.1:1", "default", ssl=False, authorization=lambda: None)) as client:
        task = asyncio.create_task(Stream(client, PATH, {}, made).run())
        assert await made.has_told(2) == ["failed Unreachable", "failed Unreachable"]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("page", [b"<html>gateway</html>", b'{"kind": "Pod', b"[]", b""])
async def test_an_answer_that_is_no_object_is_as_good_as_none(server: ApiServer, page: bytes) -> None:
    """A proxy's page, an answer that was cut off: whether the request took effect is unknown."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=page)

    server.answers = [answer]
    async with KubeClient(Connection(server.url, "default", ssl=False, authorization=lambda: None)) as client:
        with pytest.raises(Unreachable, match="no JSON object"):
            await client.get(PATH)


async def test_a_list_that_is_none_is_told_and_tried_again(server: ApiServer, sink: Sink) -> None:
    """JSON of a proxy in between breaks neither the stream nor the process."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "upstream"})

    server.answers = [answer, a_list(7)]
    assert await sink.has_told(2) == ["failed Unreachable", "synced  at 7"]
    assert "no list" in str(sink.failures[0])


@pytest.mark.parametrize("line", [b'{"error": "upstream"}\n', b"[]\n", b'{"type": "ADDED", "object": {}}\n', b"7\n"])
async def test_a_line_that_is_no_event_is_told_and_the_watch_taken_up(
    server: ApiServer, sink: Sink, line: bytes
) -> None:
    """The same within a watch."""
    server.answers = [a_list(7), watch(line, stays=True), watch(event("ADDED", pod("a", 8)), stays=True)]
    assert await sink.has_told(3) == ["synced  at 7", "failed Unreachable", "seen a"]
    assert "no event" in str(sink.failures[0])


async def test_a_kind_that_is_about_to_be_served_is_asked_for_again_at_once(server: ApiServer, sink: Sink) -> None:
    """The API server says 1 s, and means milliseconds: its definition has just been applied."""
    refusal = {**a_status(429, "TooManyRequests"), "message": "storage is (re)initializing"}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(refusal, status=429, headers={"Retry-After": "1"})

    server.answers = [answer, answer, a_list(7)]
    began = asyncio.get_running_loop().time()
    assert (await sink.has_told(3))[2] == "synced  at 7"
    assert asyncio.get_running_loop().time() - began < 0.9


async def test_nobody_comes_back_at_the_very_time_that_the_server_told_everybody(server: ApiServer) -> None:
    """Later by up to a quarter, each by something else."""
    delays = []
    for _ in range(4):
        server.answers = [refuses(429, "TooManyRequests", **{"Retry-After": "40"})]
        made = Delays()
        async with KubeClient(Connection(server.url, "default", ssl=False, authorization=lambda: None)) as client:
            task = asyncio.create_task(Stream(client, PATH, {}, made).run())
            await made.has_told(1)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        delays += made.delays_s
    assert len(set(delays)) == 4
    assert all(40 <= delay_s <= 50 for delay_s in delays)


class Delays(Sink):
    """Keeps by how much a stream puts off its next attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.delays_s: list[float] = []

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        self.delays_s.append(retry_in_s)
        super().failed(error, retry_in_s)


@pytest.mark.parametrize("in_order", [True, False], ids=["closed in order", "cut off"])
async def test_a_quiet_watch_that_ends_after_a_while_is_taken_up_without_delay(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, *, in_order: bool
) -> None:
    """Proxies end what is idle: the wait does not grow with each of them, as it does for a server that ends them at once."""
    monkeypatch.setattr(stream_module, "FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(stream_module, "STEADY_S", 0.05)

    async def idle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.1)
        if not in_order and request.transport is not None:
            request.transport.abort()
        return response

    at_once = [watch()] * 4
    server.answers = [a_list(7), *at_once, idle, idle]
    made = Delays()
    async with KubeClient(Connection(server.url, "default", ssl=False, authorization=lambda: None)) as client:
        task = asyncio.create_task(Stream(client, PATH, {}, made).run())
        await made.has_told(7)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert made.delays_s[3] > 0.005
    assert max(made.delays_s[4:]) < 0.002


@pytest.fixture
def stream_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[KubeClient, Sink], Stream]:
    """A stream that gives its echoes a twentieth of a second."""
    monkeypatch.setattr(stream_module, "FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(stream_module, "ECHO_S", 0.05)
    return lambda client, made: Stream(client, PATH, {}, made)


@pytest.mark.parametrize(
    ("chunks", "is_still"),
    [
        pytest.param((), True, id="it stands still"),
        pytest.param((event("BOOKMARK", pod("", 8)),), True, id="it has not come so far"),
        pytest.param((event("MODIFIED", pod("a", 9)),), False, id="the echo itself"),
        pytest.param((event("MODIFIED", pod("b", 12)),), False, id="something later"),
    ],
)
async def test_a_watch_without_the_echo_of_a_write_is_taken_up_anew(
    server: ApiServer,
    stream_of: Callable[[KubeClient, Sink], Stream],
    chunks: tuple[bytes, ...],
    *,
    is_still: bool,
) -> None:
    """From where it stood, so nothing is lost; one that has told of the write, or of later ones, is left alone."""
    server.answers = [
        a_list(7, pod("a", 7)),
        watch(*chunks, stays=True),
        watch(event("ADDED", pod("z", 20)), stays=True),
    ]
    made = Sink()
    async with KubeClient(Connection(server.url, "default", ssl=False, authorization=lambda: None)) as client:
        stream = stream_of(client, made)
        task = asyncio.create_task(stream.run())
        await made.has_told(2)
        stream.expect(9)
        if is_still:
            await made.has_told(4)
            assert "stands still" in str(made.failures[0])
            assert made.told[-1] == "seen z"
        else:
            await asyncio.sleep(0.2)
            assert made.failures == []
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_nothing_is_expected_of_a_stream_that_knows_it_already(
    server: ApiServer, stream_of: Callable[[KubeClient, Sink], Stream]
) -> None:
    """The stream is often quicker than the answer to the write; and what was written before a list is in it."""
    server.answers = [a_list(7)]
    made = Sink()
    async with KubeClient(Connection(server.url, "default", ssl=False, authorization=lambda: None)) as client:
        stream = stream_of(client, made)
        stream.expect(9)
        task = asyncio.create_task(stream.run())
        await made.has_told(1)
        stream.expect(7)
        await asyncio.sleep(0.2)
        assert made.failures == []
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
