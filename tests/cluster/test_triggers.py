"""Triggers of Deployments on a real API server: chains of runs, crashes, names that are taken, requests that come in."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.puppet import Ends
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world
from tests.cluster.test_automations import SECRET, SLOW_S, answers, post, rights_to_secrets
from tests.ports import free_port

AFTER = {
    "name": "after",
    "run": {"phases": ["Succeeded"], "deployments": ["extract"]},
    "filter": 'event.run.parameters.region == "eu"',
    "parameters": {"of": "{{ event.run.name }}", "attempts": "{{ event.run.attempts }}"},
}


class Mill(World):
    """A world with the Deployment `load`, whose triggers are what the tests are about."""

    port = 0

    async def load(self, *triggers: dict[str, Any], **spec: Any) -> None:
        """As `kubectl apply` does it."""
        await self.create("Deployment", "load", flowRef={"name": "etl"}, triggers=list(triggers), **spec)

    def automation_path(self, name: str = "") -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/automations" + (f"/{name}" if name else "")

    async def automations(self) -> dict[str, dict[str, Any]]:
        return {each["metadata"]["name"]: each for each in await self.client.list(self.automation_path())}

    async def triggering(self) -> tuple[str, str] | None:
        """Status and reason of the condition, None where there is none."""
        conditions = (await self.status("Deployment", "load")).get("conditions") or ()
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Triggering"), None)

    async def until(self, status: str, reason: str) -> None:
        async def look() -> bool:
            return await self.triggering() == (status, reason)

        await eventually(look, within_s=SLOW_S, what=f"Triggering is {status}, {reason}")

    async def runs_of(self, deployment: str) -> list[dict[str, Any]]:
        return [run for run in await self.list("FlowRun") if run["spec"]["deploymentRef"]["name"] == deployment]

    async def started(self, deployment: str, count: int = 1) -> list[dict[str, Any]]:
        """Runs of a Deployment, once there are so many."""

        async def look() -> list[dict[str, Any]] | None:
            found = await self.runs_of(deployment)
            return found if len(found) >= count else None

        return await eventually(look, within_s=SLOW_S, what=f"{count} run(s) of {deployment}")


@pytest.fixture
async def mill(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[Mill]:
    port = free_port()
    settings = {"inbound_port": port, "status_delay_s": 0.1, "leader_lease_s": 60}
    async with a_world(client, kubeconfig, namespace, tmp_path, **settings) as world:
        made = Mill(client, namespace, world.operator, world.puppet)
        made.port = port
        made.puppet.script = lambda _pod: Ends(0)
        await made.a_flow()
        await made.create("Deployment", "extract", flowRef={"name": "etl"})
        yield made


async def test_the_end_of_one_deployments_run_starts_another_ones(mill: Mill) -> None:
    """Those that the filter lets pass, with what they tell."""
    await mill.load(AFTER)
    await mill.until("True", "Listening")
    for name, region in (("us-1", "us"), ("eu-1", "eu")):
        await mill.a_run(name, deploymentRef={"name": "extract"}, parameters={"region": region})
        await mill.finished(name)
    (run,) = await mill.started("load")
    assert run["spec"]["parameters"] == {"of": "eu-1", "attempts": 1}
    assert run["metadata"]["labels"]["headrace.dev/automation"] == "load.after"
    await mill.finished(run["metadata"]["name"])
    assert len(await mill.runs_of("load")) == 1


async def test_automations_follow_the_deployment_and_nothing_is_written_twice(mill: Mill) -> None:
    """Made, changed and deleted with the trigger; a change of something else, and a restart, leave them alone."""
    await mill.load(AFTER, {"name": "late", "lateRun": {"afterSeconds": 600}})
    await mill.until("True", "Listening")
    before = await mill.automations()
    assert sorted(before) == ["load.after", "load.late"]
    owner = before["load.after"]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Deployment", "load", True)
    await mill.patch("Deployment", "load", {"priority": 5})
    mill.operator.kill()
    mill.operator.start()
    changed = {**AFTER, "filter": "true"}
    await mill.patch("Deployment", "load", {"triggers": [changed, {"name": "late", "lateRun": {"afterSeconds": 600}}]})

    async def is_changed() -> bool:
        return (await mill.automations())["load.after"]["spec"]["filter"] == "true"

    await eventually(is_changed, within_s=SLOW_S, what="the filter reaches the Automation")
    assert (await mill.automations())["load.late"]["metadata"]["generation"] == 1
    await mill.patch("Deployment", "load", {"triggers": [changed]})

    async def is_alone() -> bool:
        return list(await mill.automations()) == ["load.after"]

    await eventually(is_alone, within_s=SLOW_S, what="the Automation of the other trigger goes")


async def test_a_trigger_that_cannot_be_understood_is_told_and_mended(mill: Mill) -> None:
    """By the Deployment's own condition and an Event."""
    await mill.load({**AFTER, "filter": "event.run.name =="})
    await mill.until("False", "InvalidSpec")
    assert "TriggerBlocked" in [reason for reason, _ in await mill.events("load")]
    await mill.patch("Deployment", "load", {"triggers": [AFTER]})
    await mill.until("True", "Listening")


async def test_a_name_that_is_taken_is_told_and_its_automation_left_alone(mill: Mill) -> None:
    """When that is gone, the trigger's own is made."""
    theirs = {"trigger": {"circuitOpen": {}}, "actions": [{"name": "tell", "event": {"message": "x"}}]}
    body = {"apiVersion": API_VERSION, "kind": "Automation", "metadata": {"name": "load.after"}, "spec": theirs}
    made = await mill.client.create(mill.automation_path(), body)
    await mill.load(AFTER)
    await mill.until("False", "TriggerNameTaken")
    found = (await mill.automations())["load.after"]
    assert (found["metadata"]["uid"], found["spec"]) == (made["metadata"]["uid"], made["spec"])
    await mill.client.delete(mill.automation_path("load.after"))
    await mill.until("True", "Listening")


async def test_two_that_start_each_other_are_linked_by_a_count(mill: Mill) -> None:
    """The count grows from run to run: it is what ends the chain."""
    await mill.patch(
        "Deployment",
        "extract",
        {"triggers": [{"name": "back", "run": {"phases": ["Succeeded"], "deployments": ["load"]}}]},
    )
    await mill.load({"name": "forth", "run": {"phases": ["Succeeded"], "deployments": ["extract"]}})
    await mill.until("True", "Listening")
    await mill.a_run("first", deploymentRef={"name": "extract"})
    runs = await mill.started("load", 3)
    links = {run["metadata"]["labels"].get("headrace.dev/chain", "1") for run in runs}
    assert links >= {"1", "3", "5"}


async def test_a_signed_request_starts_a_run(mill: Mill) -> None:
    """By the name of the trigger's Automation; the Secret is read for it."""
    await rights_to_secrets(mill.client, mill.namespace)
    hook = {"name": "hook", "webhook": {"secretRef": {"name": "sender", "key": "key"}}}
    await mill.load({**hook, "parameters": {"day": "{{ event.body.day }}"}})
    await mill.until("False", "SecretNotReadable")
    data = {"key": base64.b64encode(SECRET).decode()}
    await mill.client.create(
        f"/api/v1/namespaces/{mill.namespace}/secrets", {"metadata": {"name": "sender"}, "data": data}
    )
    await eventually(lambda: answers(mill.port), within_s=SLOW_S, what="requests are taken")
    url = f"http://127.0.0.1:{mill.port}/hooks/{mill.namespace}/load.hook"
    async with aiohttp.ClientSession() as session:
        await eventually(answered(session, url), within_s=SLOW_S, what="the request is taken")
    (run,) = await mill.started("load")
    assert run["spec"]["parameters"] == {"day": "today"}


def answered(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bool]]:
    """Whether the same signed request is taken by now."""

    async def look() -> bool:
        return await post(session, url, {"day": "today"}, name="delivery") == 202

    return look


WRITES = [("create automations", 2), ("patch automations/status", 1)]
"""One of two is made; one of two has been looked at."""


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(("write", "number"), WRITES)
async def test_the_operator_dies_at_each_write_and_the_triggers_are_set(
    mill: Mill, write: str, number: int, side: str
) -> None:
    """Each has one Automation, and the event starts one run."""
    mill.operator.kill()
    await mill.load({**AFTER, "filter": "true"}, {"name": "late", "lateRun": {"afterSeconds": 600}})
    mill.operator.start_journaled(write, str(number), side)
    await eventually(lambda: not mill.operator.runs, within_s=SLOW_S, what=f"it dies {side} {write}")
    mill.operator.start()
    await mill.until("True", "Listening")
    await mill.a_run("first", deploymentRef={"name": "extract"})
    (run,) = await mill.started("load")
    await mill.finished(run["metadata"]["name"])
    assert sorted(await mill.automations()) == ["load.after", "load.late"]
    assert len(await mill.runs_of("load")) == 1


@pytest.mark.parametrize("side", ["before", "after"])
async def test_the_operator_dies_as_it_deletes_and_nothing_is_left(mill: Mill, side: str) -> None:
    """The trigger is gone, and so is what kept it."""
    await mill.load(AFTER)
    await mill.until("True", "Listening")
    mill.operator.kill()
    await mill.patch("Deployment", "load", {"triggers": []})
    mill.operator.start_journaled("delete automations", "1", side)
    await eventually(lambda: not mill.operator.runs, within_s=SLOW_S, what=f"it dies {side} the deletion")
    mill.operator.start()

    async def is_settled() -> bool:
        return not await mill.automations() and await mill.triggering() is None

    await eventually(is_settled, within_s=SLOW_S, what="the Automation and the condition go")
