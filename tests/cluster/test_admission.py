"""The admission webhook in front of a real API server: what people are told at once, and that nothing rests on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from headrace.devcluster.crds import OPERATOR_NAMESPACE
from headrace.kubeapi.client import KubeClient
from headrace_operator.admission.certificates import new_pair
from headrace_operator.admission.rotation import pair_of, secret_data
from tests.cluster.conftest import Kubectl
from tests.cluster.support.operator import OperatorProcess
from tests.cluster.support.puppet import Puppet
from tests.cluster.support.rights import ACCOUNT
from tests.cluster.support.waiting import eventually
from tests.cluster.support.webhook import NAME, Webhook, certificate_at
from tests.cluster.support.world import World
from tests.ports import free_port

SCHEMA = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}


@dataclass
class Guarded:
    """A namespace whose objects are checked by two replicas, of which the first one leads."""

    world: World
    webhook: Webhook
    replicas: tuple[OperatorProcess, OperatorProcess]
    ports: tuple[int, int]
    metrics_port: int
    apply: Callable[..., tuple[bool, str]]

    async def until_refused(self, name: str) -> str:
        """What a run with wrong parameters is told, once the API server calls; one that passes meanwhile is another name."""
        names = (f"{name}-{number}" for number in range(1_000))

        def look() -> str | None:
            passed, text = self.apply("FlowRun", next(names), flowRef={"name": "etl"}, parameters={"day": 7})
            return None if passed else text

        return await eventually(look, within_s=60, what="a run with wrong parameters is refused")

    async def reviews(self) -> float:
        """How many reviews of FlowRuns the first replica has answered."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            lines = (await answer.text()).splitlines()
        mark = 'headrace_webhook_reviews_total{kind="FlowRun"'
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(mark))


@pytest.fixture
async def guarded(
    client: KubeClient, kubeconfig: Path, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> AsyncIterator[Guarded]:
    """Both serve, and the API server has been told whom to believe."""
    first, second, metrics = (free_port() for _ in range(3))
    webhook = Webhook(client, namespace, (OPERATOR_NAMESPACE, f"{ACCOUNT}{namespace}"))
    await webhook.install(first)
    folders = [tmp_path / name for name in ("left", "right")]
    for folder in folders:
        folder.mkdir()
    left = OperatorProcess(kubeconfig, namespace, folders[0], identity="left", webhook_port=first, metrics_port=metrics)
    right = OperatorProcess(kubeconfig, namespace, folders[1], identity="right", webhook_port=second)

    def apply(kind: str, name: str, **spec: Any) -> tuple[bool, str]:
        manifest = {"apiVersion": "headrace.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        done = kubectl("apply", "-n", namespace, "-f", "-", input=yaml.safe_dump(manifest), check=False)
        return done.returncode == 0, done.stderr

    async with Puppet(client, namespace) as puppet:
        world = World(client, namespace, left, puppet)
        try:
            left.start()
            await eventually(lambda: "leadership_acquired" in left.log.read_text(), within_s=60)
            right.start()
            for port in (first, second):
                await eventually(lambda port=port: _listens(port), within_s=60)
            await webhook.until_introduced()
            await world.a_flow(parameters={"schema": SCHEMA})
            yield Guarded(world, webhook, (left, right), (first, second), metrics, apply)
        finally:
            for operator in (left, right):
                operator.kill()
                print(operator.log.read_text()[-6_000:])
            await webhook.remove()


async def test_people_are_told_at_once_what_cannot_work(guarded: Guarded):
    """Refused with a sentence, warned of what may come right, and let alone otherwise."""
    told = await guarded.until_refused("wrong")
    assert 'parameter "day": 7 is not of type' in told

    passed, text = guarded.apply("FlowRun", "early", flowRef={"name": "later"})
    assert passed
    assert 'Warning: Flow "later" does not exist' in text
    passed, text = guarded.apply(
        "Deployment", "daily", flowRef={"name": "etl"}, schedules=[{"name": "d", "rrule": "FREQ=DAILY;BYFOO=1"}]
    )
    assert not passed
    assert 'spec.schedules[0] "d"' in text
    assert guarded.apply("FlowRun", "right", flowRef={"name": "etl"}, parameters={"day": "x"}) == (True, "")
    passed, text = guarded.apply("Flow", "limited", entrypoint="a:b", limits=[{"name": "no-such-limit"}])
    assert passed
    assert "no-such-limit" in text


async def test_a_standby_answers_as_the_leader_does(guarded: Guarded):
    """With the same certificate, so that a Service may choose either."""
    await guarded.until_refused("by-leader")
    assert certificate_at(guarded.ports[0]) == certificate_at(guarded.ports[1])

    await guarded.webhook.call(guarded.ports[1])
    guarded.replicas[0].kill()

    assert "day" in await guarded.until_refused("by-standby")


async def test_when_nobody_answers_nothing_stops(guarded: Guarded):
    """The operator finds the same by itself."""
    await guarded.until_refused("before")
    for operator in guarded.replicas:
        operator.kill()

    passed, _ = guarded.apply("FlowRun", "unchecked", flowRef={"name": "etl"}, parameters={"day": 7})
    assert passed
    guarded.replicas[0].start()

    await guarded.world.run_is("unchecked", "Failed", "InvalidParameters", within_s=60)


async def test_what_the_operator_makes_is_not_asked_about(guarded: Guarded):
    """Neither its runs nor the statuses that it writes."""
    await guarded.until_refused("counted")
    before = await guarded.reviews()
    schedule = {"name": "often", "intervalSeconds": 1}
    passed, text = guarded.apply(
        "Deployment", "often", flowRef={"name": "etl"}, parameters={"day": "x"}, schedules=[schedule]
    )
    assert passed, text

    async def scheduled() -> list[str]:
        runs = await guarded.world.list("FlowRun")
        return [run["metadata"]["name"] for run in runs if run["metadata"]["name"].startswith("often-")]

    await eventually(scheduled, within_s=60)
    run = (await scheduled())[0]
    await guarded.world.finished(run, within_s=60)

    assert await guarded.reviews() == before


async def test_a_certificate_is_renewed_before_its_end(guarded: Guarded, client: KubeClient):
    """Both replicas serve the new one, and the API server believes the former one as well until they do."""
    await guarded.until_refused("old")
    before, shown = await guarded.webhook.bundle(), certificate_at(guarded.ports[0])
    names = (f"{NAME}.{guarded.world.namespace}.svc",)
    due = new_pair(names, datetime.now(UTC) - timedelta(days=80))

    await client.patch(guarded.webhook.secret, {"data": secret_data(due)})

    bundle = await guarded.webhook.until_introduced(besides=before)

    def both_serve_another() -> bool:
        return {shown, due.certificate.decode()}.isdisjoint(map(certificate_at, guarded.ports))

    await eventually(both_serve_another, within_s=60)
    assert certificate_at(guarded.ports[0]) == certificate_at(guarded.ports[1])
    stored = pair_of(await client.get(guarded.webhook.secret))
    assert stored is not None
    assert due.authorities in stored.authorities
    assert bundle != before
    assert "day" in await guarded.until_refused("new")


async def test_a_configuration_that_is_reset_is_told_again(guarded: Guarded, client: KubeClient):
    """By a rollback of the chart, for example."""
    told = await guarded.webhook.bundle()
    held = await client.get(guarded.webhook.configuration)
    for hook in held["webhooks"]:
        del hook["clientConfig"]["caBundle"]
        del hook["clientConfig"]["service"]["path"]
    await client.patch(guarded.webhook.configuration, {"webhooks": held["webhooks"]})

    assert await guarded.webhook.until_introduced() == told


def _listens(port: int) -> bool:
    with suppress(OSError):
        return bool(certificate_at(port))
    return False
