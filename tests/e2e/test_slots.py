"""Slots of a ConcurrencyLimit that tasks take in their containers, with the token of their pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.helm import NAMESPACE
from tests.cluster.support.waiting import eventually
from tests.e2e.inside import ASK, tell
from tests.e2e.runs import API, Kubectl, Runs

LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
TAKES = """
import pathlib, time
from headrace import concurrency, flow, task

@task
def load():
    with concurrency("LIMIT") as held:
        print("inside with token", held.token)
        while not pathlib.Path("/tmp/go").exists():
            time.sleep(0.1)
        held.check()

@flow(log_prints=True)
def main():
    load()
    print("outside")
"""
INTRUDES = f"""
{ASK}
from headrace import flow

LEASES = "{LEASES}"

@flow(log_prints=True)
def main():
    print("frees", ask("PATCH", LEASES + "/LIMIT.slot-0", {{"spec": {{"holderIdentity": None}}}}))
    print("deletes", ask("DELETE", LEASES + "/LIMIT.slot-0"))
    print("makes", ask("POST", LEASES, {{"metadata": {{"name": "LIMIT.slot-1"}}}}))
    print("leads", ask("PATCH", LEASES + "/headrace-operator", {{"spec": {{"holderIdentity": "me"}}}}))
    print("widens", ask("PATCH", "{API}/concurrencylimits/LIMIT", {{"spec": {{"slots": 9}}}}))
"""


@pytest.fixture
async def limit(client: KubeClient, namespace: str) -> AsyncIterator[str]:
    """The name of a limit with one slot, which is there."""
    name = f"one-{namespace}"
    body = {"apiVersion": "headrace.dev/v1alpha1", "kind": "ConcurrencyLimit", "metadata": {"name": name}}
    await client.create(f"{API}/concurrencylimits", {**body, "spec": {"slots": 1}})
    yield name
    await client.delete(f"{API}/concurrencylimits/{name}")


async def slot(client: KubeClient, limit: str) -> dict[str, Any]:
    """The spec of the limit's one Lease."""
    return dict((await client.get(f"{LEASES}/{limit}.slot-0"))["spec"])


async def test_tasks_of_two_pods_take_turns(runs: Runs, client: KubeClient, kubectl: Kubectl, limit: str) -> None:
    """The second pod waits until the first one gives the slot back; between them no other pod can free it or take it."""
    code = TAKES.replace("LIMIT", limit)
    first = await runs.start_code("takes", code, apiAccess="Enabled")
    await runs.running(f"{first}-1")
    await runs.printed(f"{first}-1", "inside with token 1")
    held = await slot(client, limit)
    assert held["holderIdentity"].startswith(f"pod/{runs.namespace}/{first}-1/")

    second = await runs.start_again("takes", "second")
    await runs.running(f"{second}-1")
    await runs.printed(f"{second}-1", "waiting for 1 slot of limit")
    intruder = await runs.start_code("intrudes", INTRUDES.replace("LIMIT", limit), apiAccess="Enabled")

    assert (await runs.ended(intruder))["phase"] == "Succeeded"
    log = await runs.log(f"{intruder}-1")
    for attempt in ("frees 403", "deletes 403", "makes 403", "leads 403", "widens 403"):
        assert attempt in log
    assert (await slot(client, limit))["holderIdentity"] == held["holderIdentity"]
    assert "inside" not in await runs.log(f"{second}-1")
    tell(kubectl, f"{first}-1")
    assert (await runs.ended(first))["phase"] == "Succeeded"
    await runs.printed(f"{second}-1", "inside with token 2")
    tell(kubectl, f"{second}-1")
    assert (await runs.ended(second))["phase"] == "Succeeded"

    async def is_free() -> bool:
        return not (await slot(client, limit)).get("holderIdentity")

    await eventually(is_free, what="the slot is free in the end")
