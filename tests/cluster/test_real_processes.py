"""Flows as real processes: operator, local node and SDK together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.real_flows import NODE_LABEL, a_real_world
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World

FLOW = '''
import signal, time
from pathlib import Path
from headrace import flow, get_run_logger, task

@task(retries=2, retry_delay_seconds=0)
def flaky(counter: list) -> int:
    counter.append(1)
    if len(counter) < 3:
        raise ConnectionError("the source does not answer")
    return len(counter)

@flow
def main(day: str = "today") -> dict:
    get_run_logger().info("working on %s", day)
    return {"day": day, "tries": flaky([])}

@flow
def fails():
    raise KeyError("no such column: price")

@flow
def waits(note: str, deaf: bool = False):
    """Says in a file when it has begun, and when it was asked to end."""
    if deaf:
        signal.signal(signal.SIGTERM, lambda number, frame: Path(note).write_text("asked"))
    Path(note).write_text("begun")
    try:
        while True:
            time.sleep(0.05)
    finally:
        Path(note).write_text("asked")

'''


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace whose flows run as processes on a node of their own."""
    async with a_real_world(client, kubeconfig, namespace, tmp_path, local_node) as found:
        yield found


async def a_flow(world: World, function: str, **spec: Any) -> None:
    here = {"spec": {"nodeSelector": {NODE_LABEL: world.namespace}, **spec.pop("pod", {})}}
    await world.create(
        "Flow",
        function,
        entrypoint=f"etl.py:{function}",
        source={"inline": {"files": {"etl.py": spec.pop("code", FLOW)}}},
        podTemplate=here,
        **spec,
    )


async def test_a_flow_runs_and_its_result_tasks_and_usage_are_told(world: World, kubectl: Any) -> None:
    """The same file as on a laptop; the log is JSON lines with the run's and the tasks' names."""
    await a_flow(world, "main")
    await world.a_run("etl-1", flow="main", parameters={"day": "2026-01-01"})
    status = await world.finished("etl-1", within_s=60)
    assert (status["phase"], status["reason"]) == ("Succeeded", "Succeeded"), status["message"]
    assert status["result"] == {"value": {"day": "2026-01-01", "tries": 3}}
    assert status["tasks"]["succeeded"] == 1
    assert status["tasks"]["retried"] >= 1
    assert status["usage"]["maxMemoryBytes"] > 1 << 20
    log = kubectl("logs", "-n", world.namespace, "etl-1-1").stdout
    assert '"flow_run":"etl-1"' in log.replace('": "', '":"')
    assert "working on 2026-01-01" in log


async def test_an_exception_is_told_in_one_sentence(world: World) -> None:
    """What was raised, and where to look."""
    await a_flow(world, "fails")
    await world.a_run("etl-1", flow="fails")
    status = await world.finished("etl-1", within_s=60)
    assert (status["phase"], status["reason"]) == ("Failed", "FlowFailed")
    assert "no such column: price" in status["message"]


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        pytest.param("import no_such_module\n", "ImportError", "no_such_module", id="a module that is missing"),
        pytest.param("def main(:\n", "ImportError", "etl.py", id="a file that is no Python"),
        pytest.param("x = 1\n", "CannotStart", "main", id="a function that is not in the file"),
    ],
)
async def test_code_that_does_not_start_is_told_and_not_tried_again(
    world: World, code: str, reason: str, says: str
) -> None:
    """No retry would mend it."""
    await a_flow(world, "main", code=code, retries={"limit": 5, "delaySeconds": 0})
    await world.a_run("etl-1", flow="main")
    status = await world.finished("etl-1", within_s=60)
    assert (status["phase"], status["reason"], len(status["attempts"])) == ("Failed", reason, 1), status["message"]
    assert says in status["message"]


@pytest.mark.parametrize(
    ("deaf", "exit_code"),
    [
        pytest.param(False, 143, id="a flow that listens ends itself on SIGTERM"),
        pytest.param(True, 137, id="a flow that does not is killed after the grace period"),
    ],
)
async def test_cancelling_asks_then_kills(world: World, tmp_path: Path, deaf: bool, exit_code: int) -> None:
    """SIGTERM first; SIGKILL when the grace period is over."""
    notes = tmp_path / "notes"
    notes.mkdir()
    pod = {
        "terminationGracePeriodSeconds": 2,
        "volumes": [{"name": "notes", "hostPath": {"path": str(notes)}}],
        "containers": [{"name": "flow", "volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}],
    }
    await a_flow(world, "waits", pod=pod)
    await world.a_run("etl-1", flow="waits", parameters={"note": "/notes/note", "deaf": deaf})
    note = notes / "note"
    await eventually(lambda: note.exists() and note.read_text() == "begun", within_s=60)
    await world.patch("FlowRun", "etl-1", {"cancel": True})
    status = await world.finished("etl-1", within_s=60)
    assert note.read_text() == "asked"
    assert (status["phase"], status["attempts"][0]["exitCode"]) == ("Cancelled", exit_code)


async def test_a_timeout_ends_the_attempt(world: World, tmp_path: Path) -> None:
    """The node enforces timeoutSeconds, whatever the process does."""
    await a_flow(world, "waits", timeoutSeconds=2, pod={"terminationGracePeriodSeconds": 1})
    await world.a_run("etl-1", flow="waits", parameters={"note": "/tmp/headrace-note"})
    status = await world.finished("etl-1", within_s=60)
    assert (status["phase"], status["reason"]) == ("Failed", "TimedOut")


async def test_a_missing_secret_is_named_and_the_run_goes_on_when_it_comes(world: World) -> None:
    """The kubelet's way: it tries again."""
    await a_flow(world, "main", env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}}])
    await world.a_run("etl-1", flow="main")
    status = await world.run_is("etl-1", "Pending", "ConfigMissing", within_s=60)
    assert 'Secret "db"' in status["message"]
    secret = {"metadata": {"name": "db"}, "stringData": {"token": "x"}}
    await world.client.create(f"/api/v1/namespaces/{world.namespace}/secrets", secret)
    assert (await world.finished("etl-1", within_s=60))["phase"] == "Succeeded"


async def test_a_plain_container_runs_as_it_is(world: World) -> None:
    """No SDK inside: exit code and the end of the log."""
    spec = {"nodeSelector": {NODE_LABEL: world.namespace}}
    await world.create(
        "Flow",
        "shell",
        image="busybox",
        command=["sh", "-c", "echo $HEADRACE_PARAMETERS; echo cannot go on >&2; exit 3"],
        podTemplate={"spec": spec},
    )
    await world.a_run("etl-1", flow="shell", parameters={"a": 1})
    status = await world.finished("etl-1", within_s=60)
    assert (status["phase"], status["reason"]) == ("Failed", "ExitCode")
    assert "cannot go on" in status["message"]
