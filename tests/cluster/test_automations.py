"""Automations on a real API server: floods, crashes, replicas, and what they do."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from headrace.api.automation import Scheme
from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from headrace_operator.decide.automation.signatures import problem_of, signed
from tests.cluster.support.operator import OperatorProcess
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition
from tests.ports import free_port

SECRET = b"correct horse battery staple"
FLOOD = 500
AT_ONCE = 20
SLOW_S = 120
"""A process takes long to start on a machine that is busy."""
REPORT = {"name": "report", "kind": "markdown", "url": "s3://reports/diagnose.md", "description": "What is wrong"}


def alert(service: str = "shop", begun: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """As Alertmanager sends it."""
    labels = {"alertname": "Down", "service": service, "severity": "critical"}
    return {"receiver": "headrace", "alerts": [{"status": "firing", "labels": labels, "startsAt": begun}]}


class Desk:
    """A receiver of webhooks, which answers as it is told."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.refusals = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503)
        self.taken.append(({name.lower(): value for name, value in request.headers.items()}, body))
        return web.Response(status=204)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    async with made.open():
        yield made


class Office(World):
    """A world whose operator takes requests, with a Deployment to start."""

    port = 0
    second: OperatorProcess | None = None

    async def automation(self, name: str, **spec: Any) -> None:
        """A new one, once the operator has looked at it."""
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace}/automations"
        body = {"apiVersion": API_VERSION, "kind": "Automation", "metadata": {"name": name}, "spec": spec}
        await self.client.create(path, body)

        async def look() -> bool:
            return "observedGeneration" in await self.told(name)

        await eventually(look, within_s=SLOW_S, what=f"Automation {name} is looked at")

    async def told(self, name: str) -> dict[str, Any]:
        """Its status."""
        found = await self.client.get(f"/apis/{API_VERSION}/namespaces/{self.namespace}/automations/{name}")
        return found.get("status") or {}

    async def settled(self, name: str, fired: int) -> dict[str, Any]:
        """Its status once that many firings have ended."""

        async def look() -> dict[str, Any] | None:
            status = await self.told(name)
            states = [firing["state"] for firing in status.get("firings") or ()]
            return status if len(states) >= fired and "Open" not in states else None

        return await eventually(look, within_s=SLOW_S, what=f"{fired} firings of {name} end")

    async def secret(self, name: str = "sender", value: bytes = SECRET) -> None:
        data = {"key": base64.b64encode(value).decode()}
        await self.client.create(
            f"/api/v1/namespaces/{self.namespace}/secrets", {"metadata": {"name": name}, "data": data}
        )

    async def runs(self) -> list[str]:
        return [run["metadata"]["name"] for run in await self.list("FlowRun")]


@pytest.fixture
async def office(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[Office]:
    port = free_port()
    # A machine that is busy keeps a renewal for long, and nobody starts an operator anew that ended for that.
    settings = {"inbound_port": port, "automation_hosts": "127.0.0.1", "status_delay_s": 0.1, "leader_lease_s": 60}
    async with a_world(client, kubeconfig, namespace, tmp_path, **settings) as world:
        made = Office(client, namespace, world.operator, world.puppet)
        made.port = port
        await rights_to_secrets(client, namespace)
        await made.a_flow()
        await made.create("Deployment", "diagnose", flowRef={"name": "etl"})
        await eventually(lambda: answers(port), within_s=SLOW_S, what="requests are taken")
        yield made
        if made.second is not None:
            made.second.kill()


async def rights_to_secrets(client: KubeClient, namespace: str) -> None:
    """As the page on Automations tells people to give them; everybody in the namespace has them here."""
    root = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    await client.create(f"{root}/roles", {"metadata": {"name": "automation-secrets"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "automation-secrets"}
    everybody = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}
    binding = {"metadata": {"name": "automation-secrets"}, "roleRef": reference, "subjects": [everybody]}
    await client.create(f"{root}/rolebindings", binding)


async def answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def post(session: aiohttp.ClientSession, url: str, body: Any, *, name: str, secret: bytes = SECRET) -> int:
    """A signed request, sent again as long as it is told to or nobody answers; the status of the last answer."""
    raw = json.dumps(body).encode()
    while True:
        headers = signed(raw, request_id=name, at=datetime.now(UTC), secret=secret)
        try:
            async with session.post(url, data=raw, headers=headers) as answer:
                if answer.status not in {429, 503}:
                    return answer.status
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)


async def flood(urls: list[str], count: int, *, first: int = 0) -> Counter[int]:
    """The same alert, in many requests; how often each status was answered."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> int:
            async with turns:
                return await post(session, urls[number % len(urls)], alert(), name=f"delivery-{number}")

        return Counter(await asyncio.gather(*(one(number) for number in range(first, first + count))))


def hook(**fields: Any) -> dict[str, Any]:
    return {"webhook": {"secretRef": {"name": "sender", "key": "key"}, "content": "Alertmanager", **fields}}


START = {
    "name": "look",
    "start": {"deployment": "diagnose", "parameters": {"service": "{{ event.alert.labels.service }}"}},
}


async def test_a_flood_of_one_alert_at_two_replicas_starts_one_run_whose_report_is_posted_once(
    office: Office, kubeconfig: Path, tmp_path: Path, desk: Desk
) -> None:
    """The incident: 500 requests, one diagnostic run, one request with its report; the standby takes requests too."""
    office.puppet.script = lambda _pod: Ends(message=report(artifacts=[REPORT]))
    await office.secret()
    await office.automation("incident", trigger=hook(), groupBy=["event.alert.labels.service"], actions=[START])
    await office.automation(
        "tell",
        trigger={"run": {"phases": ["Succeeded"], "deployments": ["diagnose"]}},
        actions=[
            {"name": "post", "webhook": {"url": desk.url, "secretRef": {"name": "sender", "key": "key"}}},
            {"name": "event", "event": {"message": "{{ event.run.name }}: {{ event.run.artifacts[0].url }}"}},
        ],
    )
    port = free_port()
    office.second = OperatorProcess(
        kubeconfig,
        office.namespace,
        tmp_path / "second",
        inbound_port=port,
        identity="second",
        automation_hosts="127.0.0.1",
    )
    (tmp_path / "second").mkdir()
    office.second.start()
    await eventually(lambda: answers(port), within_s=SLOW_S, what="the standby takes requests")

    path = f"/hooks/{office.namespace}/incident"
    urls = [f"http://127.0.0.1:{each}{path}" for each in (office.port, port)]
    assert await flood(urls, FLOOD) == {202: FLOOD}
    await office.settled("incident", 1)
    (run,) = await office.runs()
    await office.finished(run)
    await office.settled("tell", 1)
    assert await office.runs() == [run]
    parameters = (await office.get("FlowRun", run))["spec"]["parameters"]
    assert parameters == {"service": "shop"}
    ((headers, body),) = desk.taken
    assert problem_of(Scheme.HMAC, headers, body, secret=SECRET, now=datetime.now(UTC)) is None
    assert json.loads(body)["event"]["run"]["artifacts"] == [REPORT]
    assert ("AutomationFired", f"{run}: {REPORT['url']}") in await office.events("tell")


async def test_the_operator_is_killed_in_the_middle_of_a_flood_and_there_is_one_run(office: Office) -> None:
    """Whoever was not answered 202 sends again; what was claimed is acted on after the restart."""
    office.puppet.script = lambda _pod: Runs()
    await office.secret()
    await office.automation("incident", trigger=hook(), groupBy=["event.alert.labels.service"], actions=[START])
    url = f"http://127.0.0.1:{office.port}/hooks/{office.namespace}/incident"
    storm = asyncio.create_task(flood([url], 200))

    async def is_claimed() -> bool:
        return bool((await office.told("incident")).get("firings"))

    await eventually(is_claimed, what="one of them is claimed")
    office.operator.kill()
    office.operator.start()
    assert await storm == {202: 200}
    status = await office.settled("incident", 1)
    assert len(status["firings"]) == 1
    assert len(await office.runs()) == 1


WRITES = [
    ("patch automations/status", 1),
    ("create flowruns", 1),
    ("patch deployments", 1),
    ("patch automations/status", 2),
]
"""The claim, what is done, and that it is done."""


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(("write", "number"), WRITES)
async def test_the_operator_dies_at_each_write_and_acts_once(
    office: Office, write: str, number: int, side: str
) -> None:
    """A failed run is run again once and its Deployment is suspended, whichever write was the last one of its process."""
    office.puppet.script = lambda _pod: Ends(1)
    await office.automation(
        "again",
        trigger={"run": {"phases": ["Failed"], "deployments": ["diagnose"]}},
        actions=[{"name": "again", "run": "Retry"}, {"name": "stop", "deployment": {"set": "Suspend"}}],
    )
    office.operator.kill()
    await office.a_run("first", deploymentRef={"name": "diagnose"})
    office.operator.start_journaled(write, str(number), side)
    await eventually(lambda: not office.operator.runs, within_s=SLOW_S, what=f"it dies {side} {write}")
    office.operator.start()
    (fired,) = (await office.settled("again", 1))["firings"]
    assert fired["state"] == "Done"
    again = f"first-{fired['id']}"
    await office.finished(again)
    assert sorted(await office.runs()) == ["first", again]
    assert (await office.get("FlowRun", again))["metadata"]["labels"]["headrace.dev/rerun-of"] == "first"
    assert (await office.get("Deployment", "diagnose"))["spec"]["suspend"] is True


async def test_a_webhook_is_sent_until_it_is_taken(office: Office, desk: Desk) -> None:
    """A receiver that is down for a moment hears of it once it is back, under the same id."""
    desk.refusals = 2
    office.puppet.script = lambda _pod: Ends(1)
    await office.automation(
        "tell",
        trigger={"run": {"phases": ["Failed"], "flows": ["etl"]}},
        filter='event.run.deployment == "diagnose" && !event.run.name.startsWith("quiet")',
        actions=[
            {"name": "chat", "webhook": {"url": desk.url, "body": "Slack", "text": "{{ event.run.name }} failed"}}
        ],
    )
    await office.a_run("quiet", deploymentRef={"name": "diagnose"})
    await office.finished("quiet")
    await office.a_run("loud", deploymentRef={"name": "diagnose"})
    status = await office.settled("tell", 1)
    ((headers, body),) = desk.taken
    assert json.loads(body) == {"text": "loud failed"}
    assert headers["idempotency-key"] == f"{status['firings'][0]['id']}.chat"


async def test_runs_that_last_or_do_not_start_are_events(office: Office) -> None:
    """One is cancelled; the other one, which waits for a Deployment's place, is told of."""
    office.puppet.script = lambda _pod: Runs()
    await office.create("Deployment", "narrow", flowRef={"name": "etl"}, concurrency={"limit": 1})
    await office.automation(
        "late",
        trigger={"lateRun": {"deployments": ["narrow"], "afterSeconds": 1}},
        filter='event.run.name == "waits"',  # on a slow machine the other one is late too
        actions=[{"name": "tell", "event": {"message": "{{ event.run.name }} waits", "type": "Warning"}}],
    )
    await office.a_run("holds", deploymentRef={"name": "narrow"})
    await office.run_is("holds", "Running")
    await office.a_run("waits", deploymentRef={"name": "narrow"})
    await office.settled("late", 1)
    assert ("AutomationFired", "waits waits") in await office.events("late")
    await office.automation(
        "long",
        trigger={"longRun": {"deployments": ["diagnose"], "afterSeconds": 1}},
        actions=[{"name": "end", "run": "Cancel"}],
    )
    await office.a_run("hangs", deploymentRef={"name": "diagnose"})
    assert (await office.finished("hangs", within_s=SLOW_S))["phase"] == "Cancelled"
    assert len((await office.told("late"))["firings"]) == 1


async def test_requests_that_are_not_to_be_believed_do_nothing(office: Office) -> None:
    """A wrong signature, an unknown name, a body that is too large, one that is no alert; and a replay."""
    await office.secret()
    await office.automation("incident", trigger=hook(), deduplicateSeconds=0, actions=[START])
    root = f"http://127.0.0.1:{office.port}/hooks/{office.namespace}"
    async with aiohttp.ClientSession() as session:
        assert await post(session, f"{root}/incident", alert(), name="a", secret=b"guessed") == 401
        assert await post(session, f"{root}/nothing", alert(), name="a") == 401
        assert await post(session, f"{root}/incident", {"alerts": "x" * 300_000}, name="a") == 413
        assert await post(session, f"{root}/incident", {"alerts": 1}, name="a") == 400
        assert await office.runs() == []
        assert await post(session, f"{root}/incident", alert(), name="a") == 202
        assert await post(session, f"{root}/incident", alert(), name="a") == 202
    await office.settled("incident", 1)
    assert len(await office.runs()) == 1


async def test_a_secret_that_is_not_there_and_a_filter_that_cannot_be_read_are_told(office: Office) -> None:
    """In the condition Ready; requests are to be sent again."""
    await office.automation("incident", trigger=hook(), actions=[START])
    assert condition(await office.told("incident"), "Ready") == ("False", "SecretNotReadable")
    await office.automation("typo", trigger=hook(), filter="event.alert.labels.x ==", actions=[START])
    assert condition(await office.told("typo"), "Ready") == ("False", "InvalidSpec")
