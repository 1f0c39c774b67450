"""A flow with a Secret, as real processes: nothing that the cluster keeps or shows of the run holds what is in it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from headrace.secrecy.redaction import MASK
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, with_real_pods

NODE_LABEL = "headrace.dev/test"
WITHIN_S = 90
PASSWORD = "hunt/er2+7-password"
TOKEN = "t0ken-of-a-variable"
KEY = "k3y-of-a-whole-secret"

CODE = """
import os, sys
from pydantic import SecretStr
from headrace import Secret, Variable, create_markdown_artifact, create_progress_artifact, flow, get_run_logger, task

@task(task_run_name="as {password}")
def logs_in(password):
    raise ConnectionError(f"postgres://etl:{password}@db refused")

@flow(retries=0)
def leaks(login: SecretStr):
    password = Secret.load("postgres")["password"]
    assert login.get_secret_value() == password
    print(password, os.environ["TOKEN"], os.environ["KEY"], file=sys.stderr)
    print("login", login)
    get_run_logger().warning("with %s", password, extra={"also": os.environ["KEY"]})
    create_markdown_artifact(f"# {password}", key="notes", description=f"of {password}")
    logs_in(password)

@flow
def returns(login: SecretStr):
    create_progress_artifact(50, key="load")
    print([login.get_secret_value(), os.environ["TOKEN"]])
    return {"password": login.get_secret_value(), "batch": Variable.get("batch"), os.environ["TOKEN"]: os.environ["KEY"]}
"""


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace with Secrets and a ConfigMap, whose flows run as processes on a node of their own."""
    await local_node("real", labels={NODE_LABEL: namespace})
    core = f"/api/v1/namespaces/{namespace}"
    for name, data in {"postgres": {"password": PASSWORD}, "api": {"token": TOKEN}, "s3": {"KEY": KEY}}.items():
        await client.create(f"{core}/secrets", {"metadata": {"name": name}, "stringData": data})
    await client.create(f"{core}/configmaps", {"metadata": {"name": "settings"}, "data": {"batch": "100"}})
    async with with_real_pods(client, kubeconfig, namespace, tmp_path) as found:
        yield found


async def a_flow(world: World, function: str, **spec: Any) -> None:
    reference = {"secretRef": {"name": "postgres", "key": "password"}}
    fields = {
        "entrypoint": f"etl.py:{function}",
        "source": {"inline": {"files": {"etl.py": CODE}}},
        "parameters": {"defaults": {"login": reference}},
        "secrets": ["postgres"],
        "variables": ["settings"],
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}],
        "envFrom": [{"secretRef": {"name": "s3"}}],
        "podTemplate": {"spec": {"nodeSelector": {NODE_LABEL: world.namespace}}},
    }
    await world.create("Flow", function, **{**fields, **spec})


async def traces(world: World, kubectl: Any, run: str) -> str:
    """All that the cluster keeps and shows of a run: objects, Events, the log of its pod, and the operator's."""
    log = kubectl("logs", "-n", world.namespace, f"{run}-1").stdout
    events = await world.client.list(f"/api/v1/namespaces/{world.namespace}/events")
    kept = [await world.list("FlowRun"), await world.list("Flow"), await world.pods(), events]
    return "\n".join([log, json.dumps(kept), world.operator.log.read_text()])


def hides(text: str) -> bool:
    forms = {form for value in (PASSWORD, TOKEN, KEY) for form in (value, base64.b64encode(value.encode()).decode())}
    assert [line for line in text.splitlines() for form in forms if form in line] == []
    return True


async def test_a_flow_that_fails_over_a_secret_leaves_no_trace_of_it(world: World, kubectl: Any) -> None:
    """It is printed, logged, in the exception, in a title and in an artifact."""
    await a_flow(world, "leaks")
    await world.a_run("etl-1", flow="leaks")
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert status["phase"] == "Failed"
    assert f"ConnectionError: postgres://etl:{MASK}@db refused" in status["message"]
    assert status["artifacts"] == [{"name": "notes", "kind": "markdown", "description": f"of {MASK}"}]
    text = await traces(world, kubectl, "etl-1")
    assert hides(text)
    assert f"{MASK} {MASK} {MASK}" in text
    assert f"login {MASK}" in text
    assert f'"content":"# {MASK}"' in text


async def test_a_flow_that_returns_a_secret_leaves_no_trace_of_it(world: World, kubectl: Any) -> None:
    """What is no secret in its result stays; a variable comes from its ConfigMap."""
    await a_flow(world, "returns")
    await world.a_run("etl-2", flow="returns")
    status = await world.finished("etl-2", within_s=WITHIN_S)
    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"] == {"value": {"password": MASK, "batch": 100, MASK: MASK}}
    assert status["artifacts"] == [{"name": "load", "kind": "progress", "description": "50 %"}]
    assert hides(await traces(world, kubectl, "etl-2"))


async def test_a_secret_that_is_missing_holds_the_run_and_is_named(world: World) -> None:
    """The pod starts by itself once it is there."""
    await a_flow(world, "returns", secrets=["postgres", "absent"])
    await world.a_run("etl-3", flow="returns")
    pod = await world.pod("etl-3-1")
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == [
        "headrace-code",
        "headrace-secret-0",
        "headrace-secret-1",
        "headrace-secret-2",
        "headrace-configmap-0",
    ]

    async def told() -> bool:
        return any('secret "absent" not found' in message for _, message in await world.events("etl-3-1"))

    await eventually(told, within_s=WITHIN_S, what="the node tells which Secret is missing")
    body = {"metadata": {"name": "absent"}, "stringData": {"x": "y"}}
    await world.client.create(f"/api/v1/namespaces/{world.namespace}/secrets", body)
    assert (await world.finished("etl-3", within_s=WITHIN_S))["phase"] == "Succeeded"
