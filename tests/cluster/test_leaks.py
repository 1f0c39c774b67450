"""Nothing is kept of runs that are gone: an operator in this process, looked through before and after many of them."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace_operator.settings import Settings
from headrace_operator.wiring import Operator
from tests.cluster.support.census import census, grown
from tests.cluster.support.trial import Planned, Trial, planned, play
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import a_world

RUNS = 40
WITHIN_S = 240
AT_ONCE = {"succeeded": 0, "failed": 0}
LATER = {"succeeded": 10_000, "failed": 10_000}
BOUNDED = (
    "_gone",
    "_http_chunk_splits",
    ".metrics.api_requests",
    ".circuit.counted",
    ".cache.deployments[].status",
    ".cache.nodes[].key",
    ".accounts.touched",
    "._exemplar",
)
"""
Uids of deleted objects, the latest few thousand; what a connection is just reading; classes of errors that came up; uids of the runs
that ended last, which a Deployment's status names; one for each node, which is met by one way or another; the pools and limits that
got free since the queues were looked at last; one for each bucket that a run fell into.
"""


def an_operator(kubeconfig: Path, namespace: str, *, orphan_ttl_s: int) -> Operator:
    """To be run in this process."""
    settings = Settings(
        namespace=namespace,
        operator_namespace=namespace,
        identity="inside",
        leader_lease_s=300,  # it shares its process with a test, and a slow machine with others
        status_delay_s=0.1,
        autosize_delay_s=0.2,
        orphan_ttl_s=orphan_ttl_s,
    )
    return Operator(settings, load_connection(str(kubeconfig)), registry=CollectorRegistry())


@asynccontextmanager
async def at_work(operator: Operator) -> AsyncIterator[None]:
    """Until the block ends."""
    running = asyncio.create_task(operator.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await operator.close()


async def a_round(trial: Trial, number: int, *, by_hand: bool) -> None:
    """Runs that come, end, and are deleted, by the operator or by somebody else; their names are new each time."""
    world = trial.world
    await trial.create([Planned(f"round-{number}-{run.name}", run.kind) for run in planned(RUNS)])
    if by_hand:
        await trial.outcomes(within_s=WITHIN_S)
        await world.client.request("DELETE", world.path("FlowRun"))

    async def is_empty() -> bool:
        return not await world.list("FlowRun") and not await world.pods()

    await eventually(is_empty, within_s=WITHIN_S, what="runs and pods are gone")


def drop_idle_connections(operator: Operator) -> None:
    """They are as many as requests were ever in flight at once, which is chance."""
    for client in (operator._shop.client, operator._shop.lease_client):
        client._wire._drop_idle()


async def settled(operator: Operator) -> dict[str, int]:
    """What it holds once it holds the same twice, a while apart: answers and timers are still on their way before."""
    last: dict[str, int] = {}

    async def look() -> bool:
        nonlocal last
        gc.collect()
        drop_idle_connections(operator)
        before, last = last, {way: n for way, n in census(operator).items() if not any(b in way for b in BOUNDED)}
        await asyncio.sleep(1.5)
        return before == last

    await eventually(look, within_s=60, what="the operator has come to rest")
    return last


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


@pytest.mark.timeout(3 * WITHIN_S)
@pytest.mark.parametrize("by_hand", [False, True], ids=["deleted by retention", "deleted by somebody else"])
async def test_nothing_is_kept_of_runs_that_are_gone(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, audit_log: Path, *, by_hand: bool
) -> None:
    """After two rounds of runs it holds what it held after one: in every container, task and file."""
    operator = an_operator(kubeconfig, namespace, orphan_ttl_s=3600 if by_hand else 0)
    async with (
        at_work(operator),
        a_world(client, kubeconfig, namespace, tmp_path, script=play, start=False) as world,
    ):
        trial = Trial(world, audit_log)
        await trial.prepare()
        await world.patch("Deployment", "steady", {"history": LATER if by_hand else AT_ONCE})
        try:
            await a_round(trial, 1, by_hand=by_hand)
            before, tasks, files = await settled(operator), len(asyncio.all_tasks()), open_files()
            await a_round(trial, 2, by_hand=by_hand)
            after = await settled(operator)
        finally:
            await trial.remove()
    assert grown(before, after) == {}
    assert len(asyncio.all_tasks()) <= tasks
    assert open_files() <= files + 2
