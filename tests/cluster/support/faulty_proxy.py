"""
A bad network in front of the API server: an HTTP proxy that delays, loses, refuses, doubles and cuts off a share of what passes.

    python -m tests.cluster.support.faulty_proxy KUBECONFIG WRITTEN FAULTS

It signs in as KUBECONFIG says, listens on the loopback without TLS, and writes a kubeconfig to itself to WRITTEN.
FAULTS is a JSON object with the fields of `Faults`. Who asks for /faults gets the faults that were done so far.

What it does not do: pass on a request long after it was sent. One that wanders about for longer than its sender's lease, and
arrives then, would defeat every lease. What was passed on is carried out, whether or not anybody waits for the answer.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from headrace.kubeapi.config import Connection, load_connection
from headrace_operator.wiring import LEADER_LEASE
from tests.cluster.support.waiting import eventually

ROOT = Path(__file__).parents[3]
COUNTS_PATH = "/faults"
PASSED_ON = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
PASSED_BACK = ("Content-Type", "Content-Encoding", "Retry-After", "Warning")
LARGEST_REQUEST = 16 * 2**20
ON_THE_WAY_S = 0.5
"""For what was sent before an answer came to be here."""
HALF = 0.5
ANSWERS = {
    500: ("InternalError", "the server is out of sorts"),
    503: ("ServiceUnavailable", "the server is away"),
    429: ("TooManyRequests", "too many requests, please try again later"),
    504: ("Timeout", "the server did not answer in time"),
}


class Fault(StrEnum):
    """What can befall a request."""

    NONE = "none"
    SLOW = "slow"
    """Passed on after a while."""
    STALLED = "stalled"
    """Not passed on, and not answered until its sender has lost patience."""
    LOST = "lost"
    """The connection is closed before the API server sees the request."""
    UNANSWERED = "unanswered"
    """Carried out; the connection is closed instead of an answer."""
    REFUSED = "refused"
    """Not passed on, answered with 500, 503, 429 or 504."""
    DISOWNED = "disowned"
    """Carried out, and answered with 500 or 504."""
    GONE = "gone"
    """A watch or the next page of a list: 410, its history is lost."""
    CUT = "cut"
    """A watch that is cut off within an event."""
    TRUNCATED = "truncated"
    """Carried out, and answered with the first half of the answer, as if that were all."""
    REPEATED = "repeated"
    """Carried out twice, as by a middlebox that tries again; the second answer is told."""
    CONTRADICTED = "contradicted"
    """A write that is not passed on, and answered with a 409 that is not true."""
    THROTTLED = "throttled"
    """Not passed on, answered with 429 and a time to wait."""
    HASTY = "hasty"
    """Not a fault of ours: a write that came before that time was over."""
    CLOSED = "closed"
    """A watch that ends in order before its first event."""
    SILENT = "silent"
    """A watch that stays open and tells nothing any more."""
    DOUBLED = "doubled"
    """An event that comes twice, at once or after the next one."""


@dataclass(frozen=True)
class Faults:
    """
    Shares of all requests, from 0 to 1 together, and how bad they are.

    Attributes:
        gone: Share of watches and of further pages.
        slow_s: Longest delay of a slow request.
        stalled_s: Length of a stall, unless the sender hangs up before.
        closed: Share of watches.
        doubled: Share of events.
        watch_life_s: Mean life of a watch until it is cut off; 0 leaves watches alone.
        watch_talk_s: Mean time until a watch falls silent; 0 for never.
        throttled_s: What is asked for with 429.
    """

    seed: int = 1
    slow: float = 0.0
    stalled: float = 0.0
    lost: float = 0.0
    unanswered: float = 0.0
    refused: float = 0.0
    disowned: float = 0.0
    gone: float = 0.0
    truncated: float = 0.0
    repeated: float = 0.0
    contradicted: float = 0.0
    throttled: float = 0.0
    closed: float = 0.0
    doubled: float = 0.0
    slow_s: float = 0.4
    stalled_s: float = 8.0
    throttled_s: int = 2
    watch_life_s: float = 0.0
    watch_talk_s: float = 0.0

    @property
    def kinds(self) -> set[Fault]:
        """Those that can happen."""
        named = {fault for fault in Fault if getattr(self, fault.value, 0.0)}
        cut = {Fault.CUT} if self.watch_life_s else set()
        silent = {Fault.SILENT} if self.watch_talk_s else set()
        return named | cut | silent | {Fault.NONE}

    def choose(self, dice: random.Random, *, is_watch: bool, is_page: bool, is_write: bool) -> Fault:
        """What befalls the next request. A watch is carried out by being answered, so less can befall it."""
        if (is_watch or is_page) and dice.random() < self.gone:
            return Fault.GONE
        if is_watch:
            return self._one_of(dice, Fault.REFUSED, Fault.LOST, Fault.CLOSED)
        kinds = (Fault.SLOW, Fault.STALLED, Fault.LOST, Fault.UNANSWERED, Fault.REFUSED, Fault.DISOWNED)
        more = (Fault.TRUNCATED, Fault.REPEATED, Fault.THROTTLED, *((Fault.CONTRADICTED,) if is_write else ()))
        return self._one_of(dice, *kinds, *more)

    def _one_of(self, dice: random.Random, *kinds: Fault) -> Fault:
        shares = [getattr(self, fault.value) for fault in kinds]
        return dice.choices((*kinds, Fault.NONE), [*shares, max(0.0, 1.0 - sum(shares))])[0]


class FaultyProxy:
    """
    The proxy, as an aiohttp application.

    Args:
        connection: To the API server, with the rights that everybody has who comes through.
    """

    def __init__(self, connection: Connection, faults: Faults) -> None:
        self.counts: Counter[Fault] = Counter()
        self._server = connection.server
        self._faults = faults
        self._dice = random.Random(faults.seed)
        self._throttled_until_s = 0.0
        self._under_way: set[asyncio.Task[web.Response]] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=connection.ssl, limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            auto_decompress=False,
        )

    def application(self) -> web.Application:
        """To be run with `handler_cancellation`: a request ends with its sender."""
        application = web.Application(client_max_size=LARGEST_REQUEST)
        application.router.add_get(COUNTS_PATH, self._tell)
        application.router.add_route("*", "/{path:.*}", self._serve)
        return application

    async def close(self) -> None:
        """Closes the connections to the API server."""
        await self._session.close()

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response(self.counts)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        is_watch = request.query.get("watch") == "true"
        is_write = request.method != "GET"
        if is_write and time.monotonic() < self._throttled_until_s and LEADER_LEASE not in request.path:
            print(f"hasty: {request.method} {request.path}", flush=True)  # into the log, beside a failure
            self.counts[Fault.HASTY] += 1
        fault = self._faults.choose(
            self._dice, is_watch=is_watch, is_page="continue" in request.query, is_write=is_write
        )
        if not is_watch or fault is not Fault.NONE:  # what befalls a watch later is counted when it is done
            self.counts[fault] += 1
        early = self._instead(request, fault)
        if early is not None:
            return early
        if fault is Fault.CLOSED:
            return web.Response(content_type="application/json")
        return await (self._stream(request) if is_watch else self._exchange(request, fault))

    def _instead(self, request: web.Request, fault: Fault) -> web.Response | None:
        """The answer to a request that the API server does not see."""
        is_watch = request.query.get("watch") == "true"
        if fault is Fault.LOST:
            return _hang_up(request)
        if fault is Fault.REFUSED:
            return _problem(self._dice.choice(tuple(ANSWERS)))
        if fault is Fault.GONE:
            return _gone(is_watch=is_watch)
        if fault is Fault.CONTRADICTED:
            reason = self._dice.choice(("AlreadyExists", "Conflict")) if request.method == "POST" else "Conflict"
            return web.json_response(_status(409, reason, "it is not so"), status=409)
        if fault is Fault.THROTTLED:
            for_s = self._faults.throttled_s
            if request.method != "GET" and LEADER_LEASE not in request.path:  # renewals hold nobody else up
                # What is on its way already cannot know: it comes within a moment, and does not count.
                asyncio.get_running_loop().call_later(ON_THE_WAY_S, self._throttle, time.monotonic() + for_s)
            return _problem(429, for_s)
        return None

    def _throttle(self, until_s: float) -> None:
        self._throttled_until_s = max(self._throttled_until_s, until_s)

    async def _exchange(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        body = await request.read()
        if fault is Fault.SLOW:
            await asyncio.sleep(self._dice.uniform(0, self._faults.slow_s))
        if fault is Fault.STALLED:
            await asyncio.sleep(self._faults.stalled_s)
            return _hang_up(request)
        carrying_out = asyncio.create_task(self._carry_out(request, body, times=2 if fault is Fault.REPEATED else 1))
        self._under_way.add(carrying_out)
        carrying_out.add_done_callback(self._under_way.discard)
        answer = await asyncio.shield(carrying_out)
        if fault is Fault.UNANSWERED:
            return _hang_up(request)
        if fault is Fault.TRUNCATED and isinstance(answer.body, bytes):
            answer.body = answer.body[: len(answer.body) // 2]
        return _problem(self._dice.choice((500, 504))) if fault is Fault.DISOWNED else answer

    async def _carry_out(self, request: web.Request, body: bytes, *, times: int) -> web.Response:
        for _ in range(times):
            async with self._send(request, body) as answer:
                payload = await answer.read()
        return web.Response(status=answer.status, body=payload, headers=_chosen(answer.headers, PASSED_BACK))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.counts[Fault.NONE] += 1
        async with self._send(request, None) as answer:
            response = web.StreamResponse(status=answer.status, headers=_chosen(answer.headers, PASSED_BACK))
            await response.prepare(request)
            try:
                async with asyncio.timeout(self._span_s(self._faults.watch_life_s)):
                    await self._pass_on(answer, response)
            except TimeoutError:
                self.counts[Fault.CUT] += 1
                await response.write(b'{"type":"MODIFIED","obj')
                return _hang_up(request)
        await response.write_eof()
        return response

    async def _pass_on(self, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        """Until it ends, or falls silent; then until the sender hangs up."""
        try:
            async with asyncio.timeout(self._span_s(self._faults.watch_talk_s)):
                async for chunk in self._doubled(answer) if self._faults.doubled else answer.content.iter_any():
                    await response.write(chunk)
        except TimeoutError:
            self.counts[Fault.SILENT] += 1
            await asyncio.Event().wait()

    def _span_s(self, mean_s: float) -> float | None:
        return self._dice.expovariate(1 / mean_s) if mean_s else None

    async def _doubled(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """A line at a time, some twice."""
        late = b""
        async for line in _lines(answer):
            yield line + late
            late = b""
            if self._dice.random() < self._faults.doubled:
                self.counts[Fault.DOUBLED] += 1
                if self._dice.random() < HALF:
                    yield line
                else:
                    late = line

    def _send(self, request: web.Request, body: bytes | None) -> aiohttp.client._RequestContextManager:
        url = URL(self._server + request.raw_path, encoded=True)
        headers = _chosen(request.headers, PASSED_ON)
        return self._session.request(request.method, url, data=body or None, headers=headers)


def _chosen(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}


def _hang_up(request: web.Request) -> web.Response:
    """The answer that is returned never goes out."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Of any length, each with its line feed."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"


def _problem(code: int, retry_after_s: int = 1) -> web.Response:
    headers = {"Retry-After": str(retry_after_s)} if code == 429 else None
    return web.json_response(_status(code, *ANSWERS[code]), status=code, headers=headers)


def _gone(*, is_watch: bool) -> web.Response:
    """A list is refused; a watch begins, and its first event is the error."""
    status = _status(410, "Expired", "too old resource version")
    if not is_watch:
        return web.json_response(status, status=410)
    return web.Response(text=json.dumps({"type": "ERROR", "object": status}) + "\n", content_type="application/json")


def _status(code: int, reason: str, message: str) -> dict[str, object]:
    answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**answer, "reason": reason, "message": message, "code": code}


async def serve(kubeconfig: Path, written: Path, faults: Faults) -> None:
    """Runs until standard input is closed, which the end of the process that started it does too."""
    proxy = FaultyProxy(load_connection(str(kubeconfig)), faults)
    runner = web.AppRunner(proxy.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        _write_kubeconfig(written, runner.addresses[0][1])
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await runner.cleanup()
        await proxy.close()


def _write_kubeconfig(path: Path, port: int) -> None:
    """Whole or not at all: its existence is what others wait for."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "faulty", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "faulty", "user": {}}],
        "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "faulty", "namespace": "default"}}],
        "current-context": "faulty",
    }
    draft = path.with_suffix(".draft")
    draft.write_text(yaml.safe_dump(content))
    draft.rename(path)


class ProxyProcess:
    """
    The proxy in a process of its own, so that it shares no event loop with a test.

    Use it as an asynchronous context manager; `kubeconfig` leads to it then.
    """

    def __init__(self, kubeconfig: Path, folder: Path, faults: Faults) -> None:
        self.kubeconfig = folder / "faulty.kubeconfig"
        self.log = folder / "faulty-proxy.log"
        self.faults = faults
        self._upstream = kubeconfig
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._process = self._start()
        await eventually(self.kubeconfig.exists, what=f"the proxy listens ({self.log})")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate(timeout=10)

    def _start(self) -> subprocess.Popen[bytes]:
        settings = json.dumps(dataclasses.asdict(self.faults))
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._upstream), str(self.kubeconfig), settings],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )

    async def counts(self) -> Mapping[Fault, int]:
        """How often each fault was done so far."""
        server = load_connection(str(self.kubeconfig)).server
        async with aiohttp.ClientSession() as session, session.get(server + COUNTS_PATH) as answer:
            return Counter({Fault(name): count for name, count in (await answer.json()).items()})


if __name__ == "__main__":
    source, target, settings = sys.argv[1:]
    asyncio.run(serve(Path(source), Path(target), Faults(**json.loads(settings))))
