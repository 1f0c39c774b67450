"""Automations on metrics of a real Prometheus, on Events of Kubernetes and on limits, over crashes of the operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.prometheus import Prometheus, a_prometheus
from tests.cluster.support.puppet import Runs
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import a_world, condition
from tests.cluster.test_automations import SLOW_S, Office
from tests.cluster.test_limits import Limit
from tests.ports import free_port


@pytest.fixture
async def office(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[Office]:
    settings = {"automation_hosts": "127.0.0.1", "status_delay_s": 0.1, "leader_lease_s": 60}
    async with a_world(client, kubeconfig, namespace, tmp_path, **settings) as world:
        made = Office(client, namespace, world.operator, world.puppet)
        await made.a_flow()
        await made.create("Deployment", "diagnose", flowRef={"name": "etl"})
        yield made


class Gauge:
    """What Prometheus scrapes: the lag of topics."""

    def __init__(self, **lag: float) -> None:
        self.lag = lag
        self.port = free_port()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/metrics", self._told)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _told(self, _request: web.Request) -> web.Response:
        return web.Response(text="".join(f'lag{{topic="{topic}"}} {value}\n' for topic, value in self.lag.items()))


@pytest.fixture
async def gauge() -> AsyncIterator[Gauge]:
    made = Gauge(orders=9, mails=1)
    async with made.open():
        yield made


@pytest.fixture
async def prometheus(tmp_path: Path, gauge: Gauge) -> AsyncIterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    async with a_prometheus(folder, gauge.port, {"groups": []}) as made:
        await eventually(lambda: made.query("lag"), within_s=60, what="the gauge is scraped")
        yield made


@pytest.mark.timeout(420)
async def test_a_series_beyond_a_threshold_starts_one_run_until_it_has_recovered(
    office: Office, prometheus: Prometheus, gauge: Gauge
) -> None:
    """Whether the operator is killed meanwhile or not; a query that Prometheus refuses is told with its words."""
    office.puppet.script = lambda _pod: Runs()
    lag = {"url": prometheus.url, "query": "sum by (topic) (lag)", "above": 5, "everySeconds": 15}
    parameters = {"topic": "{{ event.metric.labels.topic }}", "lag": "{{ event.metric.value }}"}
    drain = {"name": "drain", "start": {"deployment": "diagnose", "parameters": parameters}}
    await office.automation("lag", trigger={"metric": lag}, deduplicateSeconds=0, actions=[drain])
    await office.settled("lag", 1)
    office.operator.restart()
    gauge.lag["orders"] = 1

    async def has_recovered() -> bool:
        return not (await office.told("lag")).get("series")

    await eventually(has_recovered, within_s=SLOW_S, what="the series has recovered")
    (run,) = await office.list("FlowRun")
    assert run["spec"]["parameters"] == {"topic": "orders", "lag": 9}
    gauge.lag["orders"] = 7
    status = await office.settled("lag", 2)
    assert len(status["series"]) == 1
    assert len(await office.runs()) == 2

    await office.automation("typo", trigger={"metric": {**lag, "query": "sum by (lag"}}, actions=[drain])

    async def refusal() -> str | None:
        told = [message for reason, message in await office.events("typo") if reason == "QueryFailed"]
        return told[0] if told else None

    assert "parse error" in await eventually(refusal, within_s=SLOW_S, what="the query is refused")
    assert condition(await office.told("typo"), "Ready") == ("False", "QueryFailed")


async def event(office: Office, name: str, about: str, **fields: Any) -> None:
    """As the kubelet writes one."""
    path = f"/api/v1/namespaces/{office.namespace}/events"
    regarding = {"apiVersion": "v1", "kind": "Pod", "name": about, "namespace": office.namespace, "uid": about}
    body = {
        "metadata": {"name": name},
        "involvedObject": regarding,
        "type": "Warning",
        "reason": "BackOff",
        "message": "restarts",
        "count": 1,
        "eventTime": None,
        "source": {"component": "kubelet"},
    }
    await office.client.create(path, {**body, **fields})


async def test_events_of_kubernetes_start_runs_over_a_crash(office: Office) -> None:
    """What is told while no operator is there counts; what was there before the Automation was made does not."""
    office.puppet.script = lambda _pod: Runs()
    await event(office, "before", "old", lastTimestamp="2026-01-01T00:00:00Z")
    parameters = {"pod": "{{ event.kubernetes.object.name }}"}
    look = {"name": "look", "start": {"deployment": "diagnose", "parameters": parameters}}
    await office.automation("crash", trigger={"kubernetesEvent": {"kinds": ["Pod"]}}, actions=[look])
    await event(office, "normal", "well", type="Normal", reason="Started")
    await event(office, "first", "shop")
    await office.settled("crash", 1)
    await office.client.patch(f"/api/v1/namespaces/{office.namespace}/events/first", {"count": 2})
    office.operator.kill()
    await event(office, "second", "mail")
    office.operator.start()
    await office.settled("crash", 2)
    assert sorted(run["spec"]["parameters"]["pod"] for run in await office.list("FlowRun")) == ["mail", "shop"]


async def test_what_an_automation_tells_about_itself_is_no_event_for_it(office: Office) -> None:
    """It fails, which is told by a Warning Event."""
    bad = {"name": "bad", "deployment": {"name": "nothing", "set": "Suspend"}}
    await office.automation("loop", trigger={"kubernetesEvent": {}}, deduplicateSeconds=0, actions=[bad])
    await event(office, "first", "shop")
    await office.settled("loop", 1)

    async def is_told() -> bool:
        return "AutomationFailed" in {reason for reason, _ in await office.events("loop")}

    await eventually(is_told, what="the failure is told")
    await event(office, "second", "mail")
    status = await office.settled("loop", 2)
    assert [each["about"] for each in status["firings"]] == ["Pod shop: BackOff", "Pod mail: BackOff"]


async def test_a_limit_that_stays_saturated_is_told_once(office: Office) -> None:
    """By its figures; a new operator tells it no second time."""
    limit = Limit(office)
    try:
        await limit.apply(slots=1)
        await office.a_flow("limited", limits=[{"name": limit.name, "slots": 1}])
        office.puppet.script = lambda _pod: Runs()
        text = (
            "{{ event.limit.name }}: {{ event.limit.used }} of {{ event.limit.slots }}, {{ event.limit.waiting }} waits"
        )
        tell = {"name": "tell", "event": {"message": text}}
        trigger = {"limitSaturated": {"afterSeconds": 2}}
        await office.automation("full", trigger=trigger, deduplicateSeconds=0, actions=[tell])
        for name in ("holds", "waits"):
            await office.a_run(name, "limited")
        await office.settled("full", 1)
        assert ("AutomationFired", f"{limit.name}: 1 of 1, 1 waits") in await office.events("full")
        since = (await limit.status())["saturatedSince"]
        office.operator.restart()
        await office.patch("FlowRun", "waits", {"cancel": True})

        async def is_over() -> bool:
            return "saturatedSince" not in await limit.status()

        await eventually(is_over, within_s=SLOW_S, what="nobody waits any more")
        await office.a_run("waits-too", "limited")

        async def is_saturated() -> bool:
            return (await limit.status()).get("saturatedSince", since) != since

        await eventually(is_saturated, within_s=SLOW_S, what="another run waits")
        await office.settled("full", 2)
        assert len((await office.told("full"))["firings"]) == 2
    finally:
        await limit.delete()
