"""Queries of metrics over HTTP: what is asked, and servers that answer what nobody asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from headrace.api.automation_sources import OnMetric
from headrace.api.conditions import Reason
from headrace_operator.apply.queries import AT_ONCE_OF_ONE, MAX_ANSWER, SECRETS_HELD_S, TOLD_AFTER, Queries
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.resources import SECRETS
from tests.builders import NAMESPACE, NOW
from tests.fake_cluster import FakeCluster

KEY = ObjectKey(NAMESPACE, "auto")
SPEC = ("u", 1)
ANSWER = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1, "7"]}]}}
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answers(_request: web.Request) -> web.StreamResponse:
    return web.json_response(ANSWER)


class Server:
    """One that answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.arrived = asyncio.Semaphore(0)
        self.handle: Handle = answers
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.arrived.release()
        return await self.handle(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    async with TestServer(app) as running:
        made.url = str(running.make_url("/"))
        yield made


class Asker:
    """The queries of an operator, whose clock is set by hand."""

    def __init__(self, hosts: frozenset[str] = frozenset({"127.0.0.1"})) -> None:
        self.now_s = 0.0
        self.cluster = FakeCluster()
        self._ended: asyncio.Queue[bool] = asyncio.Queue()
        self.queries = Queries(self.cluster, lambda: NOW, monotonic=lambda: self.now_s, hosts=hosts, done=self._done)

    def _done(self, _key: ObjectKey, is_answered: bool) -> None:
        self._ended.put_nowait(is_answered)

    async def asks(self, on: OnMetric, key: ObjectKey = KEY) -> bool:
        """Whether there is an answer."""
        assert self.queries.look(key, SPEC, on) is None
        is_answered = await self._ended.get()
        self.now_s += 60
        return is_answered

    def secret(self, **values: str) -> None:
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        self.cluster.put(SECRETS, {"metadata": {"name": "prometheus", "namespace": NAMESPACE}, "data": data})


def on(url: str | None, **fields: Any) -> OnMetric:
    return OnMetric.model_validate({"url": url, "query": 'up{job="a b"} == 0', "above": 5, **fields})


def secret(name: str) -> dict[str, str]:
    return {"name": "prometheus", "key": name}


async def test_what_is_asked(server: Server) -> None:
    """A GET of the API, with what the URL has besides, and a token that is read once in a while."""
    asker = Asker()
    asker.secret(token="t0ken\n", url=f"{server.url}select/0?tenant=a")
    metric = on(None, urlFrom=secret("url"), tokenFrom=secret("token"))
    assert await asker.asks(metric)
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/select/0/api/v1/query")
    assert dict(request.query) == {"tenant": "a", "query": 'up{job="a b"} == 0', "timeout": "10s"}
    assert request.headers["Authorization"] == "Bearer t0ken"
    found = asker.queries.reading(KEY)
    assert found is not None
    assert [each.value for each in found.beyond.values()] == [7]
    reads = len(asker.cluster.requests)
    assert await asker.asks(metric)
    assert len(asker.cluster.requests) == reads
    asker.now_s += SECRETS_HELD_S
    assert await asker.asks(metric)
    assert len(asker.cluster.requests) > reads


async def test_it_is_asked_no_oftener_than_it_says(server: Server) -> None:
    """However often it is looked at, and again at once when the question is another one."""
    asker = Asker()
    await asker.asks(on(server.url, everySeconds=90))
    assert asker.queries.look(KEY, SPEC, on(server.url, everySeconds=90)) == 30
    assert asker.queries.look(KEY, ("u", 2), on(server.url)) is None
    assert asker.queries.reading(KEY) is None


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    piece = b"[" * 65536
    for _ in range(2 * MAX_ANSWER // len(piece)):
        await answer.write(piece)
    return answer


async def elsewhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://169.254.169.254/latest/meta-data")


async def packed(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\x1f\x8b\x08\x00" + b"\x00" * 100, headers={"Content-Encoding": "gzip"})


async def refused(_request: web.Request) -> web.StreamResponse:
    told = {"status": "error", "errorType": "bad_data", "error": "1:4: parse error: unexpected <by>"}
    return web.json_response(told, status=400)


async def shut(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=401, text="<html>who are you? hunter2</html>")


async def torn(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("handle", "told"),
    [
        (endless, "the answer has more than 256 KiB; let the query come to fewer series"),
        (elsewhere, "the server answered 302, and redirects are not followed; name the URL that it points to"),
        (packed, "the answer is no JSON; name the URL of an API of Prometheus"),
        (refused, "the query is refused: 1:4: parse error: unexpected <by>"),
        (shut, "the server answered 401"),
        (torn, "no answer (ServerDisconnectedError)"),
    ],
)
async def test_a_server_that_answers_something_else_is_told_and_asked_again(
    server: Server, handle: Handle, told: str
) -> None:
    """In a sentence that shows nothing of what it keeps."""
    asker = Asker()
    server.handle = handle
    assert not await asker.asks(on(server.url))
    assert asker.queries.problem(KEY) == (Reason.QUERY_FAILED, told)
    server.handle = answers
    assert await asker.asks(on(server.url))
    assert asker.queries.problem(KEY) is None


async def test_one_failure_after_an_answer_is_nobodys_business(server: Server) -> None:
    """Servers are started anew; what was read last holds until then."""
    asker = Asker()
    await asker.asks(on(server.url))
    before = asker.queries.reading(KEY)
    server.handle = shut
    for number in range(1, TOLD_AFTER + 1):
        assert not await asker.asks(on(server.url))
        assert (asker.queries.problem(KEY) is not None) is (number == TOLD_AFTER)
    assert asker.queries.reading(KEY) is before


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/", "http://localhost:9/", "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/"],
)
async def test_nothing_is_asked_of_the_operators_own_machine(url: str) -> None:
    """Unless HEADRACE_AUTOMATION_HOSTS says so."""
    asker = Asker(frozenset())
    assert not await asker.asks(on(url))
    problem = asker.queries.problem(KEY)
    assert problem is not None
    assert "own machine or link" in problem[1]


@pytest.mark.parametrize("url", ["hunter2", "http://[bad/", "http://a..b/", "http://host:99999/", "ftp://host/"])
async def test_a_url_that_is_none_is_told_without_it(url: str) -> None:
    """It may be a secret."""
    asker = Asker()
    asker.secret(url=url)
    assert not await asker.asks(on(None, urlFrom=secret("url")))
    problem = asker.queries.problem(KEY)
    assert problem is not None
    assert problem[0] is Reason.QUERY_FAILED
    assert problem[1].startswith("the URL cannot be used")
    assert url not in problem[1]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"other": "x"}, 'has no key "token"'),
        ({"token": "a\r\nX-Scope-OrgID: b"}, "letters that no header may have"),
        ({"token": "пароль"}, "letters that no header may have"),
    ],
)
async def test_a_token_that_cannot_be_sent_is_told_without_it(
    server: Server, values: dict[str, str], told: str
) -> None:
    """Nothing is asked without it."""
    asker = Asker()
    asker.secret(**values)
    assert not await asker.asks(on(server.url, tokenFrom=secret("token")))
    problem = asker.queries.problem(KEY)
    assert problem is not None
    assert problem[0] is Reason.SECRET_NOT_READABLE
    assert told in problem[1]
    assert server.requests == []


async def test_servers_of_one_team_that_hang_hold_up_no_other_team(server: Server) -> None:
    """Each namespace has so many turns."""
    hold, asker = asyncio.Event(), Asker()

    async def hangs(_request: web.Request) -> web.StreamResponse:
        await hold.wait()
        return web.json_response(ANSWER)

    server.handle = hangs
    for number in range(2 * AT_ONCE_OF_ONE):
        asker.queries.look(ObjectKey("slow", str(number)), SPEC, on(server.url))
    for _ in range(AT_ONCE_OF_ONE):
        await server.arrived.acquire()
    server.handle = answers
    assert await asker.asks(on(server.url))
    assert len(server.requests) == AT_ONCE_OF_ONE + 1
    hold.set()
    asker.queries.close()


async def test_an_automation_that_is_gone_is_asked_for_no_more(server: Server) -> None:
    """What was read goes too."""
    asker = Asker()
    await asker.asks(on(server.url))
    asker.queries.forget(KEY)
    assert asker.queries.reading(KEY) is None
