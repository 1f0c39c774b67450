"""Flows that pause, with real pods: the pod goes, what it held is free, and an answer lets the run go on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import Invalid
from headrace.slots import LIMIT_LABEL, holder_of
from tests.cluster.support.puppet import Ends, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, with_real_pods

NODE_LABEL = "headrace.dev/test"
CONCURRENCY_LIMITS = f"/apis/{API_VERSION}/concurrencylimits"

FLOW = """
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, field_validator

from headrace import PauseRejected, flow, pause, sleep_until


class Approval(BaseModel):
    replicas: int

    @field_validator("replicas")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


@flow
def deploy() -> int:
    return pause("to production?", wait_for_input=Approval, name="deploy").replicas


@flow
def catches() -> str:
    try:
        pause("to production?", name="deploy")
    except PauseRejected as no:
        return f"rolled back: {no.comment}"
    return "deployed"


@flow
def hurries() -> None:
    pause("to production?", timeout_seconds=2)


@flow
def twice(until: str) -> list[int]:
    first = pause("first?", wait_for_input=Approval).replicas
    sleep_until(datetime.fromisoformat(until))
    return [first, pause("second?", wait_for_input=Approval).replicas]
"""

Command = Callable[..., "asyncio.Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace whose flows run as processes on a node of their own."""
    await local_node("real", labels={NODE_LABEL: namespace})
    async with with_real_pods(client, kubeconfig, namespace, tmp_path, status_delay_s=0.1) as found:
        yield found


@pytest.fixture
def command(world: World, kubeconfig: Path) -> Command:
    """`headrace …` as a process of its own, in the test's namespace."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "NO_COLOR": "1", "TERM": "dumb"}
        started = [sys.executable, "-m", "headrace.cli", *arguments, "-n", world.namespace]
        return subprocess.run(
            started, env=environment, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )

    return lambda *arguments: asyncio.get_running_loop().run_in_executor(None, call, *arguments)


async def a_flow(world: World, function: str, **spec: Any) -> None:
    await world.create(
        "Flow",
        function,
        entrypoint=f"etl.py:{function}",
        source={"inline": {"files": {"etl.py": FLOW}}},
        podTemplate={"spec": {"nodeSelector": {NODE_LABEL: world.namespace}}},
        **spec,
    )


async def paused(world: World, name: str) -> dict[str, Any]:
    """The status of the run once it waits for an answer."""
    return await world.run_is(name, "Paused", "AwaitingApproval", within_s=60)


def reasons(status: dict[str, Any]) -> list[str]:
    return [attempt["reason"] for attempt in status["attempts"]]


async def test_the_pod_is_gone_while_a_person_thinks_and_the_answer_reaches_the_flow(
    world: World, command: Command
) -> None:
    """Slots are free meanwhile; a wrong answer is told, and so is one that only the flow's own checks refuse."""
    limit = f"of-{world.namespace}"
    body = {"apiVersion": API_VERSION, "kind": "ConcurrencyLimit", "metadata": {"name": limit}, "spec": {"slots": 1}}
    await world.client.create(CONCURRENCY_LIMITS, body)
    await a_flow(world, "deploy", limits=[{"name": limit}])
    await world.a_run("etl-1", flow="deploy")
    status = await paused(world, "etl-1")
    assert status["pause"]["schema"]["properties"] == {"replicas": {"type": "integer"}}
    assert (await command("approve", "--list")).stdout.splitlines()[1].split()[:3] == [
        world.namespace,
        "etl-1",
        "deploy",
    ]

    async def nothing_is_held() -> bool:
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{world.namespace}/leases"
        held = [lease for lease in await world.client.list(leases, {"labelSelector": LIMIT_LABEL}) if holder_of(lease)]
        pods = [pod for pod in await world.pods() if pod["status"]["phase"] not in {"Succeeded", "Failed"}]
        return not held and not pods

    await eventually(nothing_is_held, what="pod and slot are given back")
    unasked = await command("approve", "etl-1")
    assert "-p replicas=… (integer)" in unasked.stderr
    wrong = await command("approve", "etl-1", "-p", "replicas=many")
    assert wrong.returncode == 1
    assert "input.replicas: 'many' is not of type 'integer'" in wrong.stderr
    odd = await command("approve", "etl-1", "-p", "replicas=3", "--comment", "go")
    # Taken by the schema; the pod of the next attempt may have refused it before the command looks.
    assert "goes on" in odd.stdout or "must be even" in odd.stderr, odd.stderr
    refused = await world.run_is("etl-1", "Paused", "InvalidAnswer", within_s=60)
    assert "must be even" in refused["message"]
    assert (await command("approve", "etl-1", "-p", "replicas=4")).returncode == 0
    status = await world.finished("etl-1", within_s=60)
    assert (status["phase"], status["result"]) == ("Succeeded", {"value": 4}), status["message"]
    assert reasons(status) == ["Paused", "Paused", "Succeeded"]
    assert status["answers"][0]["input"] == {"replicas": 4}
    with pytest.raises(Invalid, match="the answer to a pause that is over"):
        await world.patch("FlowRun", "etl-1", {"answers": [{"name": "deploy", "decision": "Reject"}]})
    await world.client.delete(f"{CONCURRENCY_LIMITS}/{limit}")


async def test_a_no_reaches_the_flow_or_ends_the_run(world: World, command: Command) -> None:
    """And so does silence; no retry is made of either."""
    retries = {"limit": 3, "delaySeconds": 0}
    for function in ("catches", "deploy", "hurries"):
        await a_flow(world, function, retries=retries)
        await world.a_run(function, flow=function)
    for function in ("catches", "deploy"):
        await paused(world, function)
        assert (await command("reject", function, "--reason", "not on a Friday")).returncode == 0
    caught = await world.finished("catches", within_s=60)
    assert (caught["phase"], caught["result"]) == ("Succeeded", {"value": "rolled back: not on a Friday"})
    ended = await world.finished("deploy", within_s=60)
    assert (ended["phase"], ended["reason"], reasons(ended)) == ("Cancelled", "Rejected", ["Paused", "Rejected"])
    assert "not on a Friday" in ended["message"]
    late = await world.finished("hurries", within_s=60)
    assert (late["phase"], late["reason"]) == ("Failed", "ApprovalTimedOut")
    assert reasons(late) == ["Paused", "ApprovalTimedOut"]
    assert (await command("reject", "hurries", "--reason", "late")).returncode == 1


async def test_two_pauses_and_an_operator_that_is_killed_while_the_run_waits(world: World) -> None:
    """All that is waited for is in the status."""
    await a_flow(world, "twice")
    await world.a_run("etl-1", flow="twice", parameters={"until": "2026-01-01T00:00:00+00:00"})
    first = {"name": "pause-0", "decision": "Approve", "input": {"replicas": 2}}
    assert (await paused(world, "etl-1"))["pause"]["name"] == "pause-0"

    async def told() -> bool:
        return "RunPaused" in [event for event, _ in await world.events("etl-1")]

    await eventually(told, what="the Event, which comes after the status, and not again from another operator")
    world.operator.kill()
    await world.patch("FlowRun", "etl-1", {"answers": [first]})
    world.operator.start()

    async def second() -> bool:
        return ((await world.status("FlowRun", "etl-1")).get("pause") or {}).get("name") == "pause-1"

    await eventually(second, within_s=90, what="the run asks for the second time")
    await world.patch("FlowRun", "etl-1", {"answers": [first, {**first, "name": "pause-1", "input": {"replicas": 6}}]})
    status = await world.finished("etl-1", within_s=60)
    assert (status["phase"], status["result"]) == ("Succeeded", {"value": [2, 6]}), status["message"]
    assert [event for event, _ in await world.events("etl-1")].count("RunPaused") == 2


async def test_a_run_that_waits_can_be_cancelled(world: World) -> None:
    await a_flow(world, "deploy")
    await world.a_run("etl-1", flow="deploy")
    await paused(world, "etl-1")
    await world.patch("FlowRun", "etl-1", {"cancel": True})
    status = await world.finished("etl-1")
    assert (status["phase"], status["reason"], "pause" in status) == ("Cancelled", "Cancelled", False)


async def test_a_sleep_ends_at_its_time_and_shows_when_that_is(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    """The next pod is made then, and not before."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=12)
    sleeps = report("Paused", pause={"kind": "Sleep", "name": "nap", "until": until.isoformat()})

    def script(pod: dict[str, Any]) -> Ends:
        is_first = pod["metadata"]["labels"]["headrace.dev/attempt"] == "1"
        return Ends(76, message=sleeps) if is_first else Ends(message=report())

    async with a_world(client, kubeconfig, namespace, tmp_path, script=script) as world:
        await world.a_flow()
        await world.a_run("etl-1")
        asleep = await world.run_is("etl-1", "Paused", "Sleeping")
        assert datetime.fromisoformat(asleep["nextAttemptAt"]) == until
        status = await world.finished("etl-1", within_s=90)
        assert reasons(status) == ["Paused", "Succeeded"]
        second = await world.pod("etl-1-2")
        assert datetime.fromisoformat(second["metadata"]["creationTimestamp"]) >= until
