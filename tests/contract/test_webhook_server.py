"""The webhook's port: whoever calls it with something else than a review of the API server is turned away, and nothing breaks."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from headrace_operator.admission.certificates import Pair, new_pair, secret_path
from headrace_operator.admission.review import MAX_BYTES, Review, Verdict
from headrace_operator.admission.server import MOST_AT_ONCE, WebhookServer
from headrace_operator.telemetry.webhook import WebhookMetrics
from tests.cluster.support.waiting import eventually
from tests.unit.headrace_operator.admission.test_review import a_review

NAME = "localhost"
FIRST, SECOND = (new_pair((NAME,), datetime.now(UTC)) for _ in range(2))


@dataclass
class Called:
    """A running server, and who calls it."""

    server: WebhookServer
    port: int
    registry: CollectorRegistry
    verdict: Verdict | Exception = field(default_factory=Verdict)
    judged: list[Review] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def judge(self, review: Review) -> Verdict:
        self.judged.append(review)
        await self.hold.wait()
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    async def post(self, body: bytes, *, pair: Pair = FIRST, path: str | None = None) -> tuple[int, Any]:
        context = ssl.create_default_context(cadata=(FIRST.authorities + SECOND.authorities).decode())
        url = f"https://{NAME}:{self.port}{secret_path(pair.key) if path is None else path}"
        async with aiohttp.ClientSession() as session, session.post(url, data=io.BytesIO(body), ssl=context) as answer:
            return answer.status, await answer.text()

    def count(self, kind: str, outcome: str) -> float:
        labels = {"kind": kind, "outcome": outcome}
        return self.registry.get_sample_value("headrace_webhook_reviews_total", labels) or 0


@pytest.fixture
async def called() -> AsyncIterator[Called]:
    """It serves the first pair, and says of everything that it may pass."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    registry = CollectorRegistry()

    async def judge(review: Review) -> Verdict:
        return await running.judge(review)

    clock = iter(range(1_000_000))
    async with WebhookServer(port, judge, WebhookMetrics(registry), monotonic=lambda: float(next(clock))) as server:
        running = Called(server, port, registry)
        running.hold.set()
        await server.serve(FIRST)
        yield running


REVIEW = json.dumps(a_review()).encode()


async def test_a_review_is_answered(called: Called):
    """Over TLS, with its own uid."""
    status, text = await called.post(REVIEW)

    assert status == 200
    assert json.loads(text)["response"] == {"uid": a_review()["request"]["uid"], "allowed": True}
    assert called.count("FlowRun", "allowed") == 1


async def test_a_refusal_is_told_to_its_author_and_in_the_log(called: Called):
    """Who, what, why."""
    called.verdict = Verdict(problem="spec.parameters: no")

    with capture_logs() as logs:
        _, text = await called.post(REVIEW)

    assert json.loads(text)["response"]["status"]["message"] == "spec.parameters: no"
    told = next(line for line in logs if line["event"] == "object_refused")
    assert (told["user"], told["name"], told["problem"]) == ("alice", "now", "spec.parameters: no")


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        pytest.param(REVIEW, "/validate", 404, id="another path"),
        pytest.param(REVIEW, secret_path(SECOND.key), 404, id="the path of another key"),
        pytest.param(REVIEW, "/validate/%00%ff", 404, id="a path of no text"),
        pytest.param(REVIEW, "/validate/é", 404, id="a path that is not ASCII"),
        pytest.param(b"{}", None, 400, id="no review"),
        pytest.param(b"[" * 500_000, None, 400, id="nested without end"),
        pytest.param(b"x" * (MAX_BYTES + 1), None, 413, id="larger than any object"),
        pytest.param(json.dumps(a_review(uid="../x")).encode(), None, 400, id="a wrong uid"),
    ],
)
async def test_what_is_forged_is_turned_away_and_told(called: Called, body: bytes, path: str | None, expected: int):
    """It is judged by nobody, and the next review is answered as before."""
    with capture_logs() as logs:
        status, _ = await called.post(body, path=path)

    assert status == expected
    assert called.judged == []
    assert called.count("", "forged") == 1
    assert any(line["event"] == "webhook_call_refused" and line["status"] == expected for line in logs)
    assert (await called.post(REVIEW))[0] == 200


async def test_a_flood_of_reviews_takes_no_more_than_its_places(called: Called):
    """Those that find none are let pass by the API server."""
    called.hold.clear()
    held = [asyncio.create_task(called.post(REVIEW)) for _ in range(MOST_AT_ONCE)]
    await eventually(lambda: len(called.judged) == MOST_AT_ONCE)

    assert (await called.post(REVIEW))[0] == 503
    called.hold.set()
    assert {status for status, _ in await asyncio.gather(*held)} == {200}
    assert (await called.post(REVIEW))[0] == 200


async def test_a_fault_of_ours_keeps_nobody_from_anything(called: Called):
    """The operator looks at the object again."""
    called.verdict = RuntimeError("a fault")

    status, text = await called.post(REVIEW)

    assert (status, json.loads(text)["response"]["allowed"]) == (200, True)
    assert called.count("FlowRun", "error") == 1


async def test_a_new_certificate_is_served_without_a_break(called: Called):
    """The former path is taken as well, until the API server has heard of the new one; the one before that is not."""
    await called.server.serve(SECOND)

    assert (await called.post(REVIEW, pair=SECOND))[0] == 200
    assert (await called.post(REVIEW, pair=FIRST))[0] == 200
    await called.server.serve(new_pair((NAME,), datetime.now(UTC)))
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await called.post(REVIEW, pair=SECOND)


async def test_without_tls_nothing_is_said(called: Called):
    """A plain request gets no answer."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"http://{NAME}:{called.port}{secret_path(FIRST.key)}", data=REVIEW)
