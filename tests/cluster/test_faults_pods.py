"""Pods that vanish, are evicted, or stay on a node that does not answer: never two at once, and each run goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace.kubeapi.client import STRATEGIC_MERGE_PATCH, KubeClient
from tests.cluster.support.audit import read
from tests.cluster.support.puppet import Ends, Pod, Runs, report
from tests.cluster.support.violations import two_pods_at_once
from tests.cluster.support.world import World, a_world

AGAIN = {"limit": 2, "delaySeconds": 0, "jitter": 0}


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(client, kubeconfig, namespace, tmp_path, script=first_runs_on) as made:
        await made.a_flow(infrastructureRetries=AGAIN)
        yield made


def first_runs_on(pod: Pod) -> Ends | Runs:
    """First attempts run until they are told to end; the others end well at once."""
    return Runs() if pod["metadata"]["name"].endswith("-1-1") else Ends(message=report())


def first_is_deaf(pod: Pod) -> Ends | Runs:
    """The node of a first attempt does not answer."""
    return Runs(on_term=None) if pod["metadata"]["name"].endswith("-1-1") else Ends(message=report())


def size(file: Path) -> int:
    return file.stat().st_size


def path(world: World, name: str) -> str:
    return f"/api/v1/namespaces/{world.namespace}/pods/{name}"


async def test_a_pod_that_is_removed_by_force_with_its_finalizer_is_replaced(world: World, audit_log: Path) -> None:
    """`kubectl delete --force --grace-period=0`, and the finalizer taken off by hand: nothing is left that could tell an outcome."""
    since = size(audit_log)
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Running")
    await world.client.delete(path(world, "etl-1-1"), grace_s=0)
    await world.client.patch(path(world, "etl-1-1"), {"metadata": {"finalizers": None}})
    status = await world.finished("etl-1")
    assert [attempt["reason"] for attempt in status["attempts"]] in (
        ["PodDeleted", "Succeeded"],
        ["PodLost", "Succeeded"],
    )
    assert two_pods_at_once(read(audit_log, since=since)) == []


async def test_a_pod_that_is_evicted_through_the_api_is_replaced(world: World) -> None:
    """As `kubectl drain` does it."""
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Running")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "etl-1-1"}}
    await world.client.create(f"{path(world, 'etl-1-1')}/eviction", eviction)
    status = await world.finished("etl-1")
    assert [attempt["reason"] for attempt in status["attempts"]] == ["Evicted", "Succeeded"]
    assert world.puppet.most_live == 1


async def test_a_pod_whose_node_does_not_answer_is_waited_for_until_the_node_is_back(
    world: World, audit_log: Path
) -> None:
    """It may run still: the next attempt begins when the node has told of its end, not before."""
    since = size(audit_log)
    world.puppet.script = first_is_deaf
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Running")
    await world.client.delete(path(world, "etl-1-1"), grace_s=1)
    await world.a_run("etl-2")  # by the time that this one is over, a second pod would be there
    await world.finished("etl-2")
    assert {pod["metadata"]["name"] for pod in await world.pods()} == {"etl-1-1", "etl-2-1"}
    killed = {"exitCode": 143, "reason": "Error", "finishedAt": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    container = {"name": "flow", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    ended = {"phase": "Failed", "containerStatuses": [{**container, "state": {"terminated": killed}}]}
    await world.client.patch(f"{path(world, 'etl-1-1')}/status", {"status": ended}, content_type=STRATEGIC_MERGE_PATCH)
    await world.client.delete(path(world, "etl-1-1"), grace_s=0)
    status = await world.finished("etl-1")
    assert [attempt["reason"] for attempt in status["attempts"]] == ["PodDeleted", "Succeeded"]
    assert two_pods_at_once(read(audit_log, since=since)) == []
