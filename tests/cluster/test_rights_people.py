"""People with the roles of the chart, and controllers of GitOps, under its policies: what is theirs to do goes through."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.api.keys import API_VERSION
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from tests.cluster.conftest import Kubectl
from tests.cluster.support.helm import Helm, only
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.signin import FORBIDDEN, Signed, an_account, audited, signed_in
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

pytestmark = pytest.mark.timeout(1200)
"""Helm may have to be built first."""

OVERLAYS = Path(__file__).parents[2] / "examples" / "gitops" / "orders" / "overlays"
CLUSTER = f"/apis/{API_VERSION}"
STRICT = {"headrace.dev/pod-policy": "Restricted", "headrace.dev/run-rights": "PerFlow"}
EVERYTHING = ("*", ["*"], ["*"])
"""What Argo CD's controller and Flux have by default."""
PAUSED = Ends(76, message=report("Paused", pause={"kind": "Approval", "name": "release", "message": "now?"}))

Done = subprocess.CompletedProcess[str]
Command = Callable[..., Awaitable[Done]]


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    """Runs of the Flow etl fail, those of asks wait for a person, all others run until they are told to end."""
    async with a_world(client, kubeconfig, namespace, tmp_path, status_delay_s=0.1) as made:
        acts = {"etl": Ends(1), "asks": PAUSED}
        made.puppet.script = lambda pod: acts.get(pod["metadata"]["labels"]["headrace.dev/flow"], Runs())
        yield made


@pytest.fixture
def roles(tmp_path: Path) -> dict[str, Any]:
    """Rules of headrace-view, -edit and -admin, as the chart renders them."""
    manifests = Helm(tmp_path / "helm").template()
    return {name: only(manifests, "ClusterRole", f"headrace-{name}")["rules"] for name in ("view", "edit", "admin")}


def triples(rules: Any) -> list[tuple[str, list[str], list[str]]]:
    """As `an_account` takes them."""
    return [(rule["apiGroups"][0], rule["resources"], rule["verbs"]) for rule in rules]


async def a_login(client: KubeClient, kubeconfig: Path, namespace: str, account: str, folder: Path) -> Path:
    """A kubeconfig that signs in as the account, by a token that is bound to no pod, as that of a person."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    token = (await client.create(path, {"spec": {"expirationSeconds": 3600}}))["status"]["token"]
    return _written(kubeconfig, folder / f"{account}.kubeconfig", token)


def _written(like: Path, path: Path, token: str) -> Path:
    config = yaml.safe_load(like.read_text())
    users = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump({**config, "users": users}))
    return path


def commands(login: Path, namespace: str) -> Command:
    """`headrace …` as that user."""

    def call(*arguments: str) -> Done:
        environment = {**os.environ, "KUBECONFIG": str(login), "TERM": "dumb", "COLUMNS": "200"}
        started = [sys.executable, "-m", "headrace.cli", *arguments, "-n", namespace]
        return subprocess.run(
            started, env=environment, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL
        )

    return lambda *arguments: asyncio.to_thread(call, *arguments)


async def done(command: Command, *arguments: str) -> str:
    """What it printed; it must not fail."""
    ended = await command(*arguments)
    assert ended.returncode == 0, f"headrace {' '.join(arguments)}: {ended.stdout}{ended.stderr}"
    return ended.stdout.strip()


@pytest.fixture
async def editor(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, roles: dict[str, Any], audit_log: Path
) -> AsyncIterator[Command]:
    """Somebody whose only role is headrace-edit, in this namespace; refused nothing in the end."""
    await an_account(client, namespace, "editor", *triples(roles["edit"]))
    await client.patch(
        f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"headrace.dev/pod-policy": "Baseline"}}}
    )
    login = await a_login(client, kubeconfig, namespace, "editor", tmp_path)
    command = commands(login, namespace)

    async def may() -> bool:
        return (await command("list")).returncode == 0

    await eventually(may, within_s=60, what="the role is in force")
    before = len(audited(audit_log, f"system:serviceaccount:{namespace}:editor"))
    yield command
    refused = audited(audit_log, f"system:serviceaccount:{namespace}:editor")[before:]
    assert [each for each in refused if each[0] in {"create", "update", "patch", "delete"}] == []


async def test_who_may_edit_steers_runs_of_every_origin(world: World, editor: Command) -> None:
    """Runs of people, of a Deployment and of a Backfill: started, held, cancelled, retried."""
    await world.a_flow("etl")
    await world.a_flow("slow")
    await world.create("Deployment", "nightly", flowRef={"name": "etl"})
    await world.create("Deployment", "daily", flowRef={"name": "slow"})
    failed = await done(editor, "start", "nightly", "--priority", "3")
    await world.run_is(failed, "Failed")
    again = await done(editor, "retry", failed)
    await world.run_is(again, "Failed")
    assert "Failed" in await done(editor, "why", again)
    await done(editor, "backfill", "create", "q1", "--deployment", "nightly", "--each", "n=1,2")
    partition = await eventually(lambda: a_failed_partition(world), within_s=60, what="a partition failed")
    await world.run_is(await done(editor, "retry", partition), "Failed")
    await done(editor, "suspend", "deployment/nightly", "deployment/daily")
    await done(editor, "resume", "deployment/daily")
    slow = await done(editor, "start", "daily")
    await world.run_is(slow, "Running")
    await done(editor, "cancel", slow)
    await world.run_is(slow, "Cancelled")


async def a_failed_partition(world: World) -> str | None:
    """The name of a run that a Backfill made and that has failed."""
    for run in await world.list("FlowRun"):
        is_partition = "headrace.dev/backfill" in run["metadata"].get("labels", {})
        if is_partition and run.get("status", {}).get("phase") == "Failed":
            return str(run["metadata"]["name"])
    return None


async def test_who_may_edit_answers_pauses(world: World, editor: Command) -> None:
    """And changes what they have made; who may look only is told so."""
    await world.a_flow("asks")
    run = await done(editor, "run", "flow/asks")
    await world.run_is(run, "Paused", "AwaitingApproval")
    await done(editor, "approve", run, "--comment", "go")
    answers = (await world.get("FlowRun", run))["spec"]["answers"]
    assert [each["decision"] for each in answers] == ["Approve"]


async def test_who_may_look_only_changes_nothing(
    world: World, client: KubeClient, kubeconfig: Path, tmp_path: Path, roles: dict[str, Any]
) -> None:
    """headrace-view: commands that change something say that the right is missing."""
    await world.a_flow("slow")
    await world.a_run("etl-1", flow="slow")
    await an_account(client, world.namespace, "viewer", *triples(roles["view"]))
    viewer = commands(await a_login(client, kubeconfig, world.namespace, "viewer", tmp_path), world.namespace)

    async def may() -> bool:
        return "etl-1" in (await viewer("list")).stdout

    await eventually(may, within_s=60, what="the role is in force")
    for arguments in (("cancel", "etl-1"), ("suspend", "etl-1"), ("run", "flow/slow")):
        refused = await viewer(*arguments)
        assert refused.returncode != 0, arguments
        assert "may not" in refused.stderr or "cannot" in refused.stderr, refused.stderr
    assert (await world.get("FlowRun", "etl-1"))["spec"].get("cancel", False) is False


@pytest.fixture
async def controller(client: KubeClient, control_plane: Plane, namespace: str) -> AsyncIterator[Signed]:
    """A controller of GitOps in a pod, as its name ends like that of a run's."""
    await an_account(client, namespace, "application-controller", EVERYTHING)
    async with signed_in(client, control_plane, namespace, "application-controller", pod="controller-0") as made:
        yield made


def an_object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("overlay", ["dev", "prod"])
async def test_a_controller_with_all_rights_syncs_into_the_strictest_namespace(
    client: KubeClient, kubectl: Kubectl, controller: Signed, namespace: str, overlay: str
) -> None:
    """Its pod is called controller-0, and is no attempt of a run: it creates, changes and deletes Flows, Deployments and hooks."""
    await client.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": STRICT}})
    manifests = list(yaml.safe_load_all(kubectl("kustomize", str(OVERLAYS / overlay)).stdout))
    named = {"name": "etl", "serviceAccountName": "application-controller", "secrets": ["vault"]}
    flow = {"entrypoint": "etl.py:main", "source": {"image": {}}, **{k: v for k, v in named.items() if k != "name"}}
    manifests.append(an_object("Flow", "etl", flow))
    manifests.append(an_object("Deployment", "etl", {"flowRef": {"name": "etl"}, "env": [{"name": "A", "value": "b"}]}))
    for each in manifests:
        collection = f"{CLUSTER}/namespaces/{namespace}/{each['kind'].lower()}s"
        each["metadata"]["namespace"] = namespace
        await controller.client.create(collection, each)
        path = f"{collection}/{each['metadata']['name']}"
        marked = {"metadata": {"labels": {"app.kubernetes.io/instance": "orders"}, "finalizers": ["example.com/sync"]}}
        await controller.client.patch(path, marked)
        await controller.client.patch(path, {"metadata": {"finalizers": None}})
        await controller.client.delete(path)


async def test_a_project_that_is_held_to_its_own_rights_syncs_its_own(
    client: KubeClient, control_plane: Plane, kubectl: Kubectl, namespace: str, roles: dict[str, Any]
) -> None:
    """With headrace-edit alone, as an impersonated account has it: hooks included, and no Secret that is not its own."""
    await an_account(client, namespace, "project", *triples(roles["edit"]))
    await client.patch(
        f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"headrace.dev/pod-policy": "Baseline"}}}
    )
    async with signed_in(client, control_plane, namespace, "project") as project:
        flows = f"{CLUSTER}/namespaces/{namespace}/flows"
        evil = an_object("Flow", "evil", {"entrypoint": "etl.py:main", "source": {"image": {}}, "secrets": ["vault"]})
        await eventually(lambda: project.would_be_refused(flows, evil), within_s=60, what="the label is in force")
        assert (await project.refused("POST", flows, evil)).status == FORBIDDEN
        for each in yaml.safe_load_all(kubectl("kustomize", str(OVERLAYS / "prod")).stdout):
            each["metadata"]["namespace"] = namespace
            await project.client.create(f"{CLUSTER}/namespaces/{namespace}/{each['kind'].lower()}s", each)
