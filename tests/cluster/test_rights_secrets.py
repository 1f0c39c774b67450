"""A parameter that is marked secret, followed through the real parts: it is nowhere but in its Secret and in its process."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.history import open_history
from headrace.history.reading import Question, listed
from headrace.kubeapi.client import KubeClient
from headrace.secrecy.redaction import MASK
from tests.cluster.support.real_flows import NODE_LABEL
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, with_real_pods

WITHIN_S = 90
CODE = """
from pydantic import SecretStr
from headrace import flow, task

@task
def logs_in(password):
    raise ConnectionError(f"postgres://etl:{password}@db refused")

@flow
def main(login: SecretStr, used: str):
    print("digest", sum(login.get_secret_value().encode()))
    print("with", login.get_secret_value())
    logs_in(login.get_secret_value())
"""


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    await local_node("real", labels={NODE_LABEL: namespace})
    settings = {"history_url": f"sqlite:///{tmp_path}/history.db", "history_log_tail": "all"}
    async with with_real_pods(client, kubeconfig, namespace, tmp_path, **settings) as found:
        yield found


async def everything_kept(kubectl: Any, namespace: str) -> str:
    """All objects of the namespace, of every kind but Secret."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").stdout.split()
    found = [kind for kind in kinds if kind != "secrets"]
    text: str = kubectl("get", ",".join(found), "-n", namespace, "-o", "json", "--show-managed-fields").stdout
    return text


async def test_a_secret_parameter_is_in_no_spec_log_event_status_or_record(
    world: World, kubectl: Any, audit_log: Path, tmp_path: Path
) -> None:
    """The flow prints it and fails over it; what it computes from it shows that the process had it."""
    value = f"pl4nted-{uuid.uuid4().hex}"
    secret = {"metadata": {"name": "postgres"}, "stringData": {"password": value}}
    await world.client.create(f"/api/v1/namespaces/{world.namespace}/secrets", secret)
    schema = {"type": "object", "properties": {"login": {"writeOnly": True}, "used": {"type": "string"}}}
    await world.create(
        "Flow",
        "etl",
        entrypoint="etl.py:main",
        source={"inline": {"files": {"etl.py": CODE}}},
        secrets=["postgres"],
        parameters={"schema": schema},
        podTemplate={"spec": {"nodeSelector": {NODE_LABEL: world.namespace}}},
    )
    reference = {"secretRef": {"name": "postgres", "key": "password"}}
    await world.a_run("etl-1", parameters={"login": reference, "used": "shown"})
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert f"ConnectionError: postgres://etl:{MASK}@db refused" in status["message"]
    log = kubectl("logs", "-n", world.namespace, "etl-1-1").stdout
    assert f"digest {sum(value.encode())}" in log
    history = tmp_path / "history.db"
    await eventually(lambda: is_recorded(history), within_s=WITHIN_S, what="the run is recorded")
    world.operator.stop()
    files = history_files(history)
    places = {
        "what etcd keeps": (await everything_kept(kubectl, world.namespace)).encode(),
        "the audit log": content(audit_log),
        "the pod's log": log.encode(),
        "the operator's log": content(world.operator.log),
        "the history store": content(*files),
    }
    marks = {"what etcd keeps": b"shown", "the audit log": world.namespace.encode(), "the pod's log": MASK.encode()}
    assert {place: mark in places[place] for place, mark in marks.items()} == dict.fromkeys(marks, True)
    assert MASK.encode() in places["the history store"]
    forms = (value.encode(), base64.b64encode(value.encode()))
    assert [place for place, kept in places.items() for form in forms if form in kept] == []


def content(*paths: Path) -> bytes:
    return b"".join(path.read_bytes() for path in paths)


def history_files(history: Path) -> list[Path]:
    """The store with its write-ahead log."""
    return list(history.parent.glob(f"{history.name}*"))


def is_recorded(history: Path) -> bool:
    return bool(listed(open_history(f"sqlite:///{history}", is_reader=True), Question(), limit=1))
