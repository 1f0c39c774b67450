"""Every way in which a real container is ended, and what its run makes of it."""

from __future__ import annotations

from typing import Any

from headrace.kubeapi.client import KubeClient
from tests.e2e.inside import WAITS
from tests.e2e.runs import Runs

GREEDY = """
import resource
from headrace import flow

@flow(log_prints=True)
def main():
    block = bytearray(120 * 1024 * 1024)
    block[::4096] = b"x" * len(block[::4096])
    print("had room for", len(block))
"""
GRACEFUL = """
import time
from headrace import flow

@flow(log_prints=True)
def main():
    try:
        print("begun", flush=True)
        time.sleep(600)
    finally:
        print("put away", flush=True)
"""


def attempts(status: dict[str, Any]) -> list[str | None]:
    """How each attempt ended."""
    return [each.get("reason") for each in status.get("attempts") or ()]


async def test_a_run_that_was_oom_killed_gets_more_memory(runs: Runs) -> None:
    """The kernel kills the first attempt at its limit; the second one asks for twice as much, and has room."""
    name = await runs.start_code(
        "greedy",
        GREEDY,
        resources={"limits": {"memory": "96Mi"}},
        infrastructureRetries={"delaySeconds": 0, "memoryFactor": 2},
    )

    status = await runs.ended(name)

    assert status["phase"] == "Succeeded", status
    assert attempts(status)[0] == "OOMKilled"
    grown = await runs.pod(f"{name}-2")
    assert grown is not None
    assert grown["spec"]["containers"][0]["resources"]["limits"]["memory"] in {"192Mi", str(192 * 1024**2)}


async def test_a_cancelled_run_has_time_to_put_things_away(runs: Runs) -> None:
    """SIGTERM reaches the flow as an exception: what stands in `finally` is done before the container ends."""
    name = await runs.start_code("graceful", GRACEFUL)
    await runs.running(f"{name}-1")
    await runs.printed(f"{name}-1", "begun")

    following = runs.following(f"{name}-1")
    await runs.change(name, {"cancel": True})

    status = await runs.ended(name)
    assert status["phase"] == "Cancelled", status
    assert "put away" in await following


async def test_a_deleted_pod_is_made_again(runs: Runs, client: KubeClient) -> None:
    """Somebody's `kubectl delete pod` costs an attempt, not the run."""
    name = await runs.start_code("deleted", WAITS, infrastructureRetries={"delaySeconds": 0})
    await runs.running(f"{name}-1")

    await client.delete(f"{runs.pods}/{name}-1")

    await runs.running(f"{name}-2")
    status = await runs.seen(name)
    assert attempts(status)[0] == "PodDeleted", status


async def test_an_evicted_pod_is_made_again(runs: Runs, client: KubeClient) -> None:
    """The eviction API, as a drain or an autoscaler calls it."""
    name = await runs.start_code("evicted", WAITS, infrastructureRetries={"delaySeconds": 0})
    await runs.running(f"{name}-1")

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": f"{name}-1"}}
    await client.create(f"{runs.pods}/{name}-1/eviction", eviction)

    await runs.running(f"{name}-2")
    status = await runs.seen(name)
    assert attempts(status)[0] in {"Evicted", "PodDeleted"}, status


async def test_an_image_that_is_nowhere_is_told(runs: Runs) -> None:
    """The run waits, and says which image cannot be had; a cancel ends it."""
    name = await runs.start("imageless", {"image": "registry.invalid/none:1", "command": ["true"]})

    status = await runs.reached(name, lambda seen: seen.get("reason") == "ImagePullFailed")

    assert "registry.invalid/none:1" in status["message"]
    await runs.change(name, {"cancel": True})
    assert (await runs.ended(name))["phase"] == "Cancelled"


async def test_a_secret_that_is_not_there_is_told(runs: Runs) -> None:
    """The kubelet cannot make the container."""
    spec = {"image": "headrace/runtime:e2e", "command": ["true"], "envFrom": [{"secretRef": {"name": "nowhere"}}]}
    name = await runs.start("secretless", spec)

    status = await runs.reached(name, lambda seen: seen.get("reason") == "ConfigMissing")

    assert "nowhere" in status["message"]
