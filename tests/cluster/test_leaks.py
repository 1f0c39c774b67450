"""Nothing is kept of runs that are gone: an operator in this process, looked through before and after many of them."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace_operator.settings import Settings
from headrace_operator.wiring import Operator
from tests.cluster.support.census import census, grown
from tests.cluster.support.trial import Trial, planned, play
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

RUNS = 60
WITHIN_S = 240
BOUNDED = ("_gone",)
"""Uids of deleted objects, the latest few thousand."""


@pytest.fixture
async def operator(kubeconfig: Path, namespace: str) -> AsyncIterator[Operator]:
    """One that runs in this process."""
    settings = Settings(
        namespace=namespace, operator_namespace=namespace, identity="inside", status_delay_s=0.1, autosize_delay_s=0.2
    )
    made = Operator(settings, load_connection(str(kubeconfig)), registry=CollectorRegistry())
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.close()


async def a_round(trial: Trial, world: World, number: int) -> None:
    """Runs that come, end, and are deleted; their names are new each time."""
    runs = [type(run)(f"round-{number}-{run.name}", run.kind) for run in planned(RUNS)]
    await trial.create(runs)
    await trial.outcomes(within_s=WITHIN_S)
    await world.client.request("DELETE", world.path("FlowRun"))

    async def is_empty() -> bool:
        return not await world.list("FlowRun") and not await world.pods()

    await eventually(is_empty, within_s=60, what="runs and pods are gone")


async def settled(operator: Operator) -> dict[str, int]:
    """What it holds once it holds the same twice, a while apart: answers and timers are still on their way before."""
    last: dict[str, int] = {}

    async def look() -> bool:
        nonlocal last
        gc.collect()
        before, last = last, {way: n for way, n in census(operator).items() if not any(b in way for b in BOUNDED)}
        await asyncio.sleep(1.5)
        return before == last

    await eventually(look, within_s=60, what="the operator has come to rest")
    return last


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


@pytest.mark.timeout(3 * WITHIN_S)
async def test_nothing_is_kept_of_runs_that_are_gone(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, audit_log: Path, operator: Operator
) -> None:
    """After two rounds of runs it holds what it held after one: in every container, task and file."""
    async with a_world(client, kubeconfig, namespace, tmp_path, script=play, start=False) as world:
        trial = Trial(world, audit_log)
        await trial.prepare()
        try:
            await a_round(trial, world, 1)
            before, tasks, files = await settled(operator), len(asyncio.all_tasks()), open_files()
            await a_round(trial, world, 2)
            after = await settled(operator)
        finally:
            await trial.remove()
    assert grown(before, after) == {}
    assert len(asyncio.all_tasks()) <= tasks
    assert open_files() <= files + 2
