"""`headrace …` as processes, against a real API server, an operator and pods that run as processes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, with_real_pods

NODE_LABEL = "headrace.dev/test"
FLOW = """
import time

from headrace import flow, task


@task
def extract(n: int) -> list[int]:
    return list(range(n))


@task
def load(row: int) -> int:
    if row == 2:
        raise ValueError("row 2 is bad")
    return row


@flow
def main(n: int = 2, wait: float = 0) -> int:
    rows = extract(n)
    time.sleep(wait)
    return sum(load(row) for row in rows)
"""
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}, "wait": {"type": "number"}}}

Done = subprocess.CompletedProcess[str]
Command = Callable[..., Awaitable[Done]]


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """With the Flow etl and its Deployment nightly, whose runs are processes on a node of their own."""
    await local_node("real", labels={NODE_LABEL: namespace})
    async with with_real_pods(client, kubeconfig, namespace, tmp_path, status_delay_s=0.1) as found:
        await found.create(
            "Flow",
            "etl",
            entrypoint="etl.py:main",
            source={"inline": {"files": {"etl.py": FLOW}}},
            parameters={"schema": SCHEMA},
            podTemplate={"spec": {"nodeSelector": {NODE_LABEL: namespace}}},
        )
        await found.create(
            "Deployment", "nightly", flowRef={"name": "etl"}, concurrency={"limit": 1, "onConflict": "Queue"}
        )
        yield found


@pytest.fixture
def command(kubeconfig: Path, namespace: str) -> Command:
    """A process of its own, in the test's namespace unless told otherwise."""

    def call(*arguments: str, file: Path = kubeconfig, within: str = namespace) -> Done:
        environment = {**os.environ, "KUBECONFIG": str(file), "TERM": "dumb", "COLUMNS": "200"}
        started = [sys.executable, "-m", "headrace.cli", *arguments, *(["-n", within] if within else [])]
        return subprocess.run(
            started, env=environment, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
        )

    return lambda *arguments, **options: asyncio.to_thread(call, *arguments, **options)


async def test_a_run_that_fails_is_found_read_explained_and_retried(world: World, command: Command) -> None:
    """As a person on call does it."""
    watched = await command("run", "flow/etl", "-p", "n=4", "--watch")
    name = watched.stdout.strip()
    assert (watched.returncode, f"{name} is Failed (FlowFailed)" in watched.stderr) == (1, True), watched.stderr
    listed = await command("list", "--phase", "failed", "--flow", "etl", "-o", "name")
    assert listed.stdout.split() == [f"flowrun.headrace.dev/{name}"]
    tree = (await command("get", name)).stdout
    assert f"{name}   flow/etl   Failed (FlowFailed)" in tree
    assert "load x 2   succeeded" in tree
    assert "ValueError: row 2 is bad" in tree
    lines = (await command("logs", name, "--task", "load-2")).stdout.splitlines()
    assert "started" in lines[0]
    assert "failed: ValueError: row 2 is bad" in lines[1]
    raw = (await command("logs", name, "--raw", "--tail", "1")).stdout
    assert json.loads(raw)["event"] == "flow_failed"
    why = (await command("why", name)).stdout
    assert why.startswith(f"{name} is Failed (FlowFailed)")
    assert f"headrace retry {name} -n {world.namespace} runs it again" in why
    again = await command("retry", name, "--set", "n=2")
    assert again.returncode == 0, again.stderr
    followed = await command("logs", again.stdout.strip(), "-f")
    assert (followed.returncode, "load-1" in followed.stdout) == (0, True), followed.stderr
    assert followed.stderr.splitlines()[-1].endswith("is Succeeded")
    assert (await world.status("FlowRun", again.stdout.strip()))["result"] == {"value": 1}


async def test_all_of_a_namespace_is_held_let_go_and_cancelled(world: World, command: Command) -> None:
    """What runs goes on until it is cancelled; what was suspended by name is not let go with the others."""
    await world.create("Deployment", "parked", flowRef={"name": "etl"}, suspend=True)
    first = (await command("run", "nightly", "-p", "wait=300")).stdout.strip()
    await world.run_is(first, "Running", within_s=90)
    second = (await command("run", "nightly", "-p", "n=1")).stdout.strip()
    await world.run_is(second, "Pending", "WaitingForSlot")
    held = await command("suspend", "--all", "--yes")
    assert held.returncode == 0, held.stderr
    assert held.stdout.splitlines()[0] == "deployment/nightly: suspended"
    assert set(held.stdout.splitlines()[1:]) == {f"flowrun/{first}: suspended", f"flowrun/{second}: suspended"}
    await world.run_is(second, "Paused", "Suspended")
    assert (await world.status("FlowRun", first))["phase"] == "Running"
    let_go = await command("resume", "--all", "--yes")
    assert (let_go.returncode, len(let_go.stdout.splitlines())) == (0, 3), let_go.stderr
    await world.run_is(second, "Pending", "WaitingForSlot")
    assert "suspended" in (await command("deployments", "parked")).stdout
    unasked = await command("cancel", "--all")
    assert (unasked.returncode, "2 FlowRuns" in unasked.stderr) == (2, True)
    assert (await command("cancel", "--all", "-y")).returncode == 0
    for name in (first, second):
        assert (await world.finished(name, within_s=90))["phase"] == "Cancelled"
    assert (await command("cancel", "--all")).returncode == 0


async def test_runs_are_held_let_go_and_cancelled(world: World, command: Command) -> None:
    """One name that is wrong is no matter to the others."""
    first = (await command("run", "nightly", "-p", "wait=300")).stdout.strip()
    await world.run_is(first, "Running", within_s=90)
    second = (await command("run", "deployment/nightly", "-p", "n=1")).stdout.strip()
    await world.run_is(second, "Pending", "WaitingForSlot")
    why = await command("why", second, "--operator-namespace", world.namespace)
    assert "it is the next one in line" in why.stdout
    assert f"1 of 1 under way: {first}" in why.stdout
    whole = (await command("why", "deployment/nightly", "--operator-namespace", world.namespace)).stdout
    assert whole.startswith("deployment nightly ")
    assert "1 have not started: 1 WaitingForSlot" in whole
    assert f"headrace why {second} -n {world.namespace}" in whole
    held = await command("suspend", second, "deployment/nightly", "nobody")
    assert held.returncode == 3
    assert "there is no such FlowRun" in held.stderr
    await world.run_is(second, "Paused", "Suspended")
    assert "suspended" in (await command("deployments")).stdout
    assert "(Suspended)" in (await command("why", "fdep/nightly")).stdout
    assert (await command("resume", second, "deployment/nightly")).returncode == 0
    assert (await command("cancel", first)).returncode == 0
    assert (await world.finished(first, within_s=90))["phase"] == "Cancelled"
    assert (await world.finished(second, within_s=90))["phase"] == "Succeeded"
    too_late = await command("cancel", first)
    assert (too_late.returncode, "it has ended already" in too_late.stderr) == (1, True)
    ended = yaml.safe_load((await command("list", "--sort", "name", "-o", "yaml")).stdout)
    assert [each["metadata"]["name"] for each in ended["items"]] == sorted([first, second])


async def test_a_backfill_is_made_watched_and_what_failed_runs_again(world: World, command: Command) -> None:
    """The exit status tells how it ended."""
    made = await command("backfill", "create", "q1", "--deployment", "nightly", "--each", "n=1,3", "--watch")
    assert (made.returncode, made.stdout.splitlines()[0]) == (1, "q1"), made.stderr
    assert "Failed (PartitionsFailed), 1 succeeded, 1 failed" in made.stdout
    assert (
        await command("backfill", "retry-failed", "q1")
    ).stdout == "backfill/q1: 1 partition that failed run once more\n"
    await eventually(lambda: _reran(world), within_s=90, what="the partition ran again")
    assert (await command("backfill", "watch", "q1")).returncode == 1
    assert (await command("backfill", "list", "-o", "name")).stdout == "backfill.headrace.dev/q1\n"
    assert "it has ended" in (await command("backfill", "cancel", "q1")).stderr
    assert "etl" in (await command("cost")).stdout


async def _reran(world: World) -> bool:
    status = await world.status("Backfill", "q1")
    return status.get("rerunFailed") == 1 and status.get("phase") == "Failed"


async def test_the_doctor_says_what_is_wrong_and_when_nothing_is(world: World, command: Command) -> None:
    """An operator that leads is one that works; a namespace without one has none."""
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{world.namespace}/leases"
    await eventually(lambda: world.client.list(leases), what="the operator leads")
    well = await command("doctor", "--operator-namespace", world.namespace, "-o", "json")
    found = {each["subject"]: each["verdict"] for each in json.loads(well.stdout)}
    assert (well.returncode, found["operator"], found["definitions"], found["rights"]) == (0, "ok", "ok", "ok"), (
        well.stdout
    )
    ill = await command("doctor", "--operator-namespace", "kube-public")
    assert (ill.returncode, "there is no Lease" in ill.stdout) == (1, True)


async def test_exit_statuses_tell_failures_apart(
    client: KubeClient, kubeconfig: Path, namespace: str, command: Command, tmp_path: Path
) -> None:
    """For scripts; each says what to do next."""
    assert (await command("get", "nobody")).returncode == 3
    assert (await command("list", "--phase", "dead")).returncode == 2
    assert (await command("list", "--nonsense")).returncode == 2
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    token = (
        await client.create(account, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    )["status"]
    powerless = _kubeconfig(kubeconfig, tmp_path / "powerless", token["token"])
    forbidden = await command("list", file=powerless)
    assert (forbidden.returncode, "ask an administrator" in forbidden.stderr) == (4, True)
    doctor = await command("doctor", file=powerless)
    assert "you may not: get flowruns" in doctor.stdout
    nowhere = _kubeconfig(kubeconfig, tmp_path / "nowhere", token["token"], server="https://127.0.0.1:9")
    assert (await command("list", "--kubeconfig", str(nowhere))).returncode == 5
    assert (await command("doctor", file=nowhere)).returncode == 5


def _kubeconfig(like: Path, path: Path, token: str, server: str | None = None) -> Path:
    """One that signs in with a token, to that server or the same."""
    config = yaml.safe_load(like.read_text())
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    for each in config["clusters"]:
        each["cluster"]["server"] = server or each["cluster"]["server"]
    path.write_text(yaml.safe_dump(config))
    return path


async def test_a_shell_is_offered_names_from_the_cluster(client: KubeClient, kubeconfig: Path, namespace: str) -> None:
    """Kubectl asks in its own way."""
    flows = f"/apis/{API_VERSION}/namespaces/{namespace}/flows"
    for name in ("etl", "eta", "report"):
        spec = {"image": "x", "command": ["true"]}
        await client.create(
            flows, {"apiVersion": API_VERSION, "kind": "Flow", "metadata": {"name": name}, "spec": spec}
        )
    typed = f"headrace list -n {namespace} --flow et"
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    completing = {"_HEADRACE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "5"}

    def offered(*program: str, **more: str) -> list[str]:
        return subprocess.run(
            [sys.executable, *program],
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()

    assert sorted(await asyncio.to_thread(lambda: offered("-m", "headrace.cli", **completing))) == ["eta", "etl"]
    ask = "from headrace.cli import complete; complete()"
    words = typed.split()[1:]
    assert sorted(await asyncio.to_thread(lambda: offered("-c", ask, *words))) == [":4", "eta", "etl"]
