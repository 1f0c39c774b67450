"""A Deployment that keeps failing, on a real API server: given a rest, tried once, started again, each end counted once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.cli.circuit import closed
from headrace.kubeapi.client import KubeClient
from headrace_operator.wiring import utc_now
from tests.cluster.support.puppet import Ends, Pod, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition

DAILY = {"deploymentRef": {"name": "daily"}}
FAILS = Ends(1, message=report("Failed", reason="FlowFailed", message="no"))
SUCCEEDS = Ends(message=report())


def run_of(pod: Pod) -> str:
    name: str = pod["metadata"]["labels"]["headrace.dev/flow-run"]
    return name


def script(pod: Pod) -> Ends | Runs:
    """What a run does is in its name."""
    name = run_of(pod)
    return Runs() if name.startswith("stays") else SUCCEEDS if name.startswith("good") else FAILS


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(client, kubeconfig, namespace, tmp_path, script=script, status_delay_s=0.1) as made:
        await made.a_flow(retries={"limit": 0})
        yield made


async def a_deployment(world: World, cooldown_s: int = 3600, **spec: Any) -> None:
    breaker = {"failures": 3, "cooldownSeconds": cooldown_s}
    await world.create("Deployment", "daily", flowRef={"name": "etl"}, circuitBreaker=breaker, **spec)


async def circuit_is(world: World, state: str, failures: int | None = None) -> dict[str, Any]:
    """The Deployment's status once its circuit is so."""

    async def look() -> dict[str, Any] | None:
        status = await world.status("Deployment", "daily")
        is_so = status.get("circuit", {}).get("state") == state
        return status if is_so and failures in {None, status.get("consecutiveFailures")} else None

    return await eventually(look, what=f"the circuit is {state}")


async def test_failures_in_a_row_open_it_and_a_person_closes_it(world: World) -> None:
    """Nothing starts in between; the reason is on the run, the Deployment and in an Event."""
    await a_deployment(world, concurrency={"limit": 1})
    for number in range(6):
        await world.a_run(f"bad-{number}", **DAILY)
    status = await circuit_is(world, "Open", 3)
    assert condition(status, "CircuitOpen") == ("True", "CircuitOpen")
    assert world.puppet.started == ["bad-0-1", "bad-1-1", "bad-2-1"]
    waiting = await world.run_is("bad-3", "Pending", "CircuitOpen")
    assert status["circuit"]["retryAt"] in waiting["message"]
    assert [reason for reason, _ in await world.events("daily")] == ["CircuitOpen"]
    world.puppet.script = lambda _pod: SUCCEEDS
    await closed(world.client, world.namespace, "daily", now=utc_now())
    for number in (3, 4, 5):
        assert (await world.finished(f"bad-{number}"))["phase"] == "Succeeded"
    status = await circuit_is(world, "Closed", 0)
    assert condition(status, "CircuitOpen") == ("False", "CircuitClosed")


async def test_the_slot_of_the_run_that_opens_it_is_not_given_on(world: World) -> None:
    """From the end that opens it no run starts, though its status is not written yet."""
    await a_deployment(world, concurrency={"limit": 3})
    for number in range(12):
        await world.a_run(f"bad-{number}", **DAILY)
    await circuit_is(world, "Open")
    await asyncio.gather(*(world.finished(pod.removesuffix("-1")) for pod in world.puppet.started))
    assert len(world.puppet.started) <= 3 + 2


async def test_after_the_cooldown_one_run_tries_at_a_time(world: World) -> None:
    """Its failure opens the circuit anew, its success closes it."""
    await a_deployment(world, cooldown_s=4)
    for number in range(3):
        await world.a_run(f"bad-{number}", **DAILY)
    await circuit_is(world, "Open", 3)
    for priority, name in enumerate(("good-6", "good-5", "stays-4", "bad-3")):
        await world.a_run(name, **DAILY, priority=priority)
    await world.finished("bad-3")
    await circuit_is(world, "Open", 4)
    assert world.puppet.started[3:] == ["bad-3-1"]
    await world.run_is("stays-4", "Running")
    await circuit_is(world, "HalfOpen")
    assert world.puppet.started[4:] == ["stays-4-1"]
    await world.patch("FlowRun", "stays-4", {"cancel": True})
    for name in ("good-5", "good-6"):
        assert (await world.finished(name))["phase"] == "Succeeded"
    await circuit_is(world, "Closed", 0)
    assert [reason for reason, _ in await world.events("daily")].count("CircuitClosed") == 1


async def test_skip_skips_while_it_is_open(world: World) -> None:
    """For that reason, and not for the limit."""
    await a_deployment(world, concurrency={"limit": 1, "onConflict": "Skip"})
    for number in range(3):
        await world.a_run(f"bad-{number}", **DAILY)
        await world.finished(f"bad-{number}")
        await eventually(lambda count=number + 1: failed(world, count), what="it is counted")  # type: ignore[misc]
    await circuit_is(world, "Open", 3)
    await world.a_run("late", **DAILY)
    status = await world.finished("late")
    assert (status["phase"], status["reason"]) == ("Skipped", "CircuitOpen")


async def failed(world: World, count: int) -> bool:
    return (await world.status("Deployment", "daily")).get("consecutiveFailures") == count


async def test_every_end_counts_once_though_the_operator_dies_before_it_is_written(world: World) -> None:
    """Killed at each write of the Deployment's status, on either side; failed runs are removed at once."""
    world.operator.kill()
    await a_deployment(world, concurrency={"limit": 1}, history={"succeeded": 0, "failed": 0})
    for number in range(5):
        await world.a_run(f"bad-{number}", **DAILY)
    for occurrence, side in ((1, "before"), (2, "before"), (2, "after"), (1, "after"), (2, "before")):
        world.operator.start_journaled("patch deployments/status", str(occurrence), side)
        await eventually(lambda: world.operator.exit_code is not None or None, within_s=40, what="it dies")
        world.operator.kill()
    world.operator.start()
    await circuit_is(world, "Open", 3)
    # Which of the runs of one instant goes first is for the operator that takes over: it starts who asks first.
    assert len(world.puppet.started) == 3
    left = {f"{run['metadata']['name']}-1" for run in await world.list("FlowRun")}
    assert len(left - set(world.puppet.started)) == 2
