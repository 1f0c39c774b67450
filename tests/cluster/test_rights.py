"""The operator's rights: the chart's, each used, none missing; and what it refuses by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import Forbidden
from tests.cluster.support import rights
from tests.cluster.support.puppet import Runs
from tests.cluster.support.rights import Right, Usage
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

TASK = {"name": "train", "function": "etl.py:train", "input": "file:///in", "output": "file:///out"}


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(client, kubeconfig, namespace, tmp_path) as made:
        yield made


async def test_an_operator_has_no_more_rights_than_the_chart_says(
    kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    """It works with runs and pods, reads no Secret, and gives nobody rights."""
    login = rights.signed_in(kubeconfig, tmp_path, served=namespace, home=namespace)
    core, ours = f"/api/v1/namespaces/{namespace}", f"/apis/headrace.dev/v1alpha1/namespaces/{namespace}"
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    async with KubeClient(load_connection(str(login)), user_agent="headrace-tests") as operator:
        assert await operator.list(f"{ours}/flowruns") == []
        for path in (f"{core}/secrets", f"{core}/serviceaccounts", bindings, "/api/v1/namespaces/default/pods"):
            with pytest.raises(Forbidden):
                await operator.list(path)
        for path in (f"{ours}/flows/etl", "/apis/headrace.dev/v1alpha1/workpools/gpu", "/api/v1/nodes/n"):
            with pytest.raises(Forbidden):
                await operator.patch(path, {"metadata": {"labels": {"a": "b"}}})


def a_line(user: str, *, decision: str, verb: str = "list", code: int = 200, agent: str = "", **target: str) -> bytes:
    entry = {
        "userAgent": agent,
        "verb": verb,
        "user": {"username": user},
        "objectRef": target,
        "annotations": {"authorization.k8s.io/decision": decision},
        "responseStatus": {"code": code},
    }
    return json.dumps(entry).encode() + b"\n"


def test_the_audit_log_tells_used_rights_and_denials() -> None:
    """A refusal by quota or policy is no lack of a right; what tests ask, and other users, do not count."""
    operator = f"{rights.USER}all"
    lines = [
        a_line(operator, decision="allow", verb="get", resource="pods", subresource="log"),
        a_line(operator, decision="allow", verb="create", code=403, resource="pods"),
        a_line(operator, decision="forbid", code=403, resource="secrets", namespace="team-a"),
        a_line(operator, decision="forbid", agent=rights.AGENT, code=403, resource="secrets"),
        a_line("headrace-admin", decision="allow", resource="nodes"),
        a_line(operator, decision="allow", resource="nodes").removesuffix(b"\n"),
    ]
    used = {Right("get", "", "pods/log"), Right("create", "", "pods")}
    assert rights.usage(lines) == Usage(frozenset(used), (f"list secrets. team-a/ as {operator}",))


def test_the_suite_fails_for_each_right_that_is_missing_or_unused() -> None:
    """Over all planes together: one may use what another does not."""
    given = sorted(rights.rights(rule for rules in rights.parts().values() for rule in rules))
    half = len(given) // 2
    first, second = Usage(frozenset(given[:half]), ()), Usage(frozenset(given[half:]), ())
    assert rights.problems([first, second]) == []
    assert len(rights.problems([first])) == len(set(given[half:]) - rights.SELDOM)
    assert rights.problems([first, Usage(second.used, ("list secrets",))]) == [
        "denied: list secrets; add it to operator-rules.yaml"
    ]


async def test_revisions_that_nobody_uses_go(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    """So the operator needs the right to delete them."""
    async with a_world(client, kubeconfig, namespace, tmp_path, revision_limit=1) as world:
        await world.a_flow("etl", image="image:0")
        for number in range(1, 5):
            before = await eventually(partial(revision_of, world), what="the Flow has a revision")
            await world.patch("Flow", "etl", {"image": f"image:{number}"})
            await eventually(partial(is_other, world, before), what="the Flow has another revision")
        path = f"/apis/apps/v1/namespaces/{namespace}/controllerrevisions"

        async def are_few() -> bool:
            return len(await client.list(path)) <= 2

        await eventually(are_few, what="only the latest revision and one other are kept")


async def revision_of(world: World) -> str:
    return str((await world.status("Flow", "etl")).get("revision", ""))


async def is_other(world: World, before: str) -> bool:
    return await revision_of(world) not in {"", before}


async def test_a_run_cannot_borrow_another_flows_rights_for_a_task(world: World) -> None:
    """Were the policies not there, the operator would still make no pod; a task of the run's own code gets one."""
    await world.a_flow("etl")
    await world.a_flow("payroll", serviceAccountName="payroll", entrypoint="pay.py:main", source={"image": {}})
    world.puppet.script = lambda _pod: Runs()
    parent = await world.a_run("mine")
    await world.run_is("mine", "Running")
    task: dict[str, Any] = {**TASK, "parent": {"name": "mine", "uid": parent["metadata"]["uid"]}}
    await world.a_run("mine-evil-0", flow="payroll", task=task)
    await world.a_run("mine-train-0", flow="etl", task=task)
    status = await world.finished("mine-evil-0")
    assert (status["phase"], status["reason"]) == ("Failed", "ForeignTask")
    await world.pod("mine-train-0-1")
    assert "mine-evil-0-1" not in {pod["metadata"]["name"] for pod in await world.pods()}
