"""What failed for good is found and run again, and a key starts one run, on a real API server with the real command."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.world import World, a_world

FAILS = Ends(1, message=report("Failed", reason="FlowFailed", message="no such table"))
SUCCEEDS = Ends(message=report())
DAILY = {"deploymentRef": {"name": "daily"}}

Command = Callable[..., "asyncio.Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(client, kubeconfig, namespace, tmp_path, status_delay_s=0.1) as made:
        made.puppet.script = lambda _pod: FAILS
        await made.a_flow(retries={"limit": 0})
        await made.create("Deployment", "daily", flowRef={"name": "etl"})
        yield made


@pytest.fixture
def command(world: World, kubeconfig: Path) -> Command:
    """`headrace …` as a process of its own, in the test's namespace."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "NO_COLOR": "1", "TERM": "dumb"}
        started = [sys.executable, "-m", "headrace.cli", *arguments, "-n", world.namespace]
        return subprocess.run(started, env=environment, capture_output=True, text=True, check=False, timeout=60)

    return lambda *arguments: asyncio.get_running_loop().run_in_executor(None, call, *arguments)


async def test_failures_are_listed_run_again_and_then_gone_from_the_list(world: World, command: Command) -> None:
    """With other parameters where the cause was those."""
    for number in range(3):
        await world.a_run(f"etl-{number}", **DAILY, parameters={"n": number, "x": "old"})
    for number in range(3):
        await world.finished(f"etl-{number}")
    listed = json.loads((await command("failures", "--deployment", "daily", "-o", "json")).stdout)
    assert {letter["name"] for letter in listed} == {"etl-0", "etl-1", "etl-2"}
    assert all("no such table" in letter["message"] for letter in listed)
    world.puppet.script = lambda _pod: SUCCEEDS
    one = await command("rerun", "etl-0", "--set", "x=new")
    assert (one.returncode, one.stderr) == (0, "")
    name = one.stdout.strip()
    assert (await world.finished(name))["phase"] == "Succeeded"
    spec = (await world.get("FlowRun", name))["spec"]
    assert spec == {**DAILY, "parameters": {"n": 0, "x": "new"}, "cancel": False, "suspend": False}
    again = await command("rerun", "etl-0")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"headrace: run etl-0: was run again already, as {name}; --again makes another\n"
    unasked = await command("rerun", "--all")
    assert unasked.returncode == 2
    assert "2 runs will be run again" in unasked.stderr
    assert "add --yes" in unasked.stderr
    rest = await command("rerun", "--all", "--yes")
    assert rest.returncode == 0
    assert len(rest.stdout.split()) == 2
    assert (await command("failures")).stdout == "no failed run is left\n"


async def test_one_key_starts_one_run_and_wait_tells_its_end(world: World, command: Command) -> None:
    """The second start is told of the first, the exit status is that of the run."""
    first = await command("start", "daily", "--idempotency-key", "alert-7", "--wait")
    assert first.returncode == 1
    assert "is Failed (FlowFailed): the flow failed: no such table" in first.stderr
    second = await command("start", "daily", "--idempotency-key", "alert-7")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert f"already started as {first.stdout.strip()}, which is Failed" in second.stderr
    world.puppet.script = lambda _pod: SUCCEEDS
    third = await command("start", "daily", "--wait")
    assert third.returncode == 0
    assert len(world.puppet.started) == 2


@pytest.mark.parametrize("restarted", [False, True])
async def test_of_runs_with_one_key_exactly_one_is_executed(world: World, *, restarted: bool) -> None:
    """However many are created at once, and though the operator starts after them or anew."""
    world.puppet.script = lambda _pod: Runs()
    if restarted:
        world.operator.kill()
    key = {**DAILY, "idempotencyKey": "alert-7"}
    await asyncio.gather(*(world.a_run(f"same-{number}", **key) for number in range(8)))
    if restarted:
        world.operator.start()
    ends = await asyncio.gather(*(ended_or_running(world, f"same-{number}") for number in range(8)))
    assert sorted(ends) == ["Running"] + ["Skipped/Duplicate"] * 7
    assert len(world.puppet.started) == 1


async def test_a_key_stays_taken_when_its_run_has_ended_and_the_operator_starts_anew(world: World) -> None:
    """Until that run is gone; the run is asked for before it is believed to be there."""
    key = {**DAILY, "idempotencyKey": "alert-7"}
    await world.a_run("first", **key)
    await world.finished("first")
    world.operator.kill()
    await world.a_run("second", **key)
    world.operator.start()
    status = await world.finished("second")
    assert (status["phase"], status["reason"]) == ("Skipped", "Duplicate")
    assert "run first has the same" in status["message"]
    await world.client.delete(world.path("FlowRun", "first"))
    await world.a_run("third", **key)
    assert (await world.finished("third"))["phase"] == "Failed"
    assert world.puppet.started == ["first-1", "third-1"]


async def ended_or_running(world: World, name: str) -> str:
    """The phase of a run once it runs or has ended; a skipped one with its reason."""
    while True:
        status: dict[str, Any] = await world.status("FlowRun", name)
        if status.get("phase") == "Running":
            return "Running"
        if status.get("phase") == "Skipped":
            return f"Skipped/{status['reason']}"
        await asyncio.sleep(0.1)
