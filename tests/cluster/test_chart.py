"""
The chart on a real API server, in a cluster that enforces Pod Security `restricted` in every namespace.

No kubelet runs here: Deployments, ReplicaSets and pods are made and admitted for real, and what their containers would do is done by a
process with the environment of the rendered Deployment and the token of the chart's ServiceAccount.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.api.audit import deeds_of
from headrace.api.keys import API_VERSION, FLOW_RUN_LABEL
from headrace.devcluster import plane
from headrace.devcluster.binaries import Binaries
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import ApiError, NotFound
from tests.cluster.support.helm import CHART, NAMESPACE, RELEASE, Helm, environment
from tests.cluster.support.puppet import Ends, Puppet, Runs, report
from tests.cluster.support.waiting import eventually

pytestmark = pytest.mark.timeout(1200)
"""Helm may have to be built first."""

TEAM, OTHER = "team-a", "team-b"
ENFORCED = {"pod-security.kubernetes.io/enforce": "restricted"}
RUNS = f"/apis/{API_VERSION}/namespaces/{TEAM}/flowruns"
AUDITS = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
INLINE = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "def main(): ..."}}}}


@pytest.fixture(scope="module")
def bare_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane that has never heard of headrace."""
    directory = tmp_path_factory.mktemp("bare-plane")
    guard = plane.tie(directory)
    try:
        started = plane.start(directory, binaries, audit=True)
        asyncio.run(_restrict(started.kubeconfig))
        yield started
    finally:
        guard.communicate()


async def _restrict(kubeconfig: Path) -> None:
    async with KubeClient(load_connection(str(kubeconfig))) as client:
        for name in (NAMESPACE, TEAM, OTHER):
            await client.create("/api/v1/namespaces", {"metadata": {"name": name}})
        for each in await client.list("/api/v1/namespaces"):
            await client.patch(f"/api/v1/namespaces/{each['metadata']['name']}", {"metadata": {"labels": ENFORCED}})


@pytest.fixture
async def cluster(bare_plane: Plane) -> AsyncIterator[KubeClient]:
    """An open client that signs in as administrator."""
    async with KubeClient(load_connection(str(bare_plane.kubeconfig)), user_agent="headrace-tests") as opened:
        yield opened


@pytest.fixture
def helm(bare_plane: Plane, tmp_path: Path) -> Iterator[Helm]:
    """Helm for the plane, with a copy of the chart that a test may change; the release is gone after the test."""
    chart = tmp_path / "headrace"
    shutil.copytree(CHART, chart)
    called = Helm(tmp_path / "helm", bare_plane.kubeconfig, chart)
    yield called
    called.call("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")


def install(helm: Helm, *options: str) -> None:
    helm.call("install", RELEASE, str(helm.chart), "--namespace", NAMESPACE, *options)


def upgrade(helm: Helm, *options: str) -> None:
    helm.call("upgrade", RELEASE, str(helm.chart), "--namespace", NAMESPACE, *options)


async def login(cluster: KubeClient, bare_plane: Plane, account: str, folder: Path) -> Path:
    """A kubeconfig whose user is a ServiceAccount of the release, as its pods have it."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
    token = (await cluster.create(path, {"spec": {"expirationSeconds": 3600}}))["status"]["token"]
    content = yaml.safe_load(bare_plane.kubeconfig.read_text())
    users = [{"name": each["name"], "user": {"token": token}} for each in content["users"]]
    written = folder / f"{account}.kubeconfig"
    written.touch(mode=0o600)
    written.write_text(yaml.safe_dump({**content, "users": users}))
    return written


class Container:
    """
    The operator's container, as a process: its variables are those of the Deployment in the cluster.

    Args:
        identity: Of the pod that it stands for.
    """

    def __init__(self, cluster: KubeClient, bare_plane: Plane, folder: Path, *, identity: str) -> None:
        self._cluster, self._plane, self._folder, self._identity = cluster, bare_plane, folder, identity
        self.log = folder / f"{identity}.log"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, deployment: str) -> None:
        rendered = await self._cluster.get(f"{DEPLOYMENTS}/{deployment}")
        pod = rendered["spec"]["template"]["spec"]
        kubeconfig = await login(self._cluster, self._plane, pod["serviceAccountName"], self._folder)
        ours = {
            "KUBECONFIG": str(kubeconfig),
            "HEADRACE_IDENTITY": self._identity,
            "HEADRACE_LIVENESS_PORT": "0",
            "HEADRACE_METRICS_PORT": "0",
            "HEADRACE_WEBHOOK_PORT": "0",
        }
        given = environment(rendered, metadata_namespace=NAMESPACE)
        self._spawn(pod["containers"][0]["command"][1:], {**given, **ours})

    def _spawn(self, arguments: list[str], variables: dict[str, str]) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self) -> int:
        """SIGTERM, as a kubelet ends it; the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=30)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=30)


@pytest.fixture
def container(cluster: KubeClient, bare_plane: Plane, tmp_path: Path) -> Iterator[Callable[[str], Container]]:
    """Makes containers by the identity of their pod."""
    made: list[Container] = []

    def make(identity: str) -> Container:
        made.append(Container(cluster, bare_plane, tmp_path, identity=identity))
        return made[-1]

    yield make
    for each in made:
        each.kill()
        print(each.log.read_text()[-4000:] if each.log.exists() else f"{each.log.name}: none")


@asynccontextmanager
async def a_flow(cluster: KubeClient, name: str = "etl", namespace: str = TEAM) -> AsyncIterator[None]:
    """A Flow, whose runs go with it."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/flows"
    await eventually(lambda: _served(cluster, path), what="flows are served")
    body = {"apiVersion": API_VERSION, "kind": "Flow", "metadata": {"name": name}, "spec": INLINE}
    await cluster.create(path, body)
    try:
        yield
    finally:
        for run in await cluster.list(RUNS):
            await cluster.delete(f"{RUNS}/{run['metadata']['name']}")
        await cluster.delete(f"{path}/{name}")


async def _served(cluster: KubeClient, path: str) -> bool:
    """Whether both are, and policies are in force; in the first seconds the API server does not know new kinds for these."""
    run = {
        "apiVersion": API_VERSION,
        "kind": "FlowRun",
        "metadata": {"name": "probe"},
        "spec": {"flowRef": {"name": "etl"}},
    }
    try:
        await cluster.get(path)
        made = await cluster.request("POST", RUNS, body=run, params={"dryRun": "All"})
        noting = await cluster.list(AUDITS)
    except ApiError:
        return False
    return not noting or bool(deeds_of(made))


async def a_run(cluster: KubeClient, name: str) -> None:
    spec = {"flowRef": {"name": "etl"}}
    await cluster.create(RUNS, {"apiVersion": API_VERSION, "kind": "FlowRun", "metadata": {"name": name}, "spec": spec})


async def phase_of(cluster: KubeClient, name: str) -> str:
    return str((await status_of(cluster, name)).get("phase"))


async def status_of(cluster: KubeClient, name: str) -> dict[str, Any]:
    return (await cluster.get(f"{RUNS}/{name}")).get("status") or {}


async def until(cluster: KubeClient, name: str, phase: str) -> dict[str, Any]:
    """The status of a run once it is in this phase."""

    async def look() -> dict[str, Any] | None:
        status = await status_of(cluster, name)
        return status if status.get("phase") == phase else None

    return await eventually(look, within_s=180, what=f"run {name} is {phase}")


async def operator_pods(cluster: KubeClient) -> list[dict[str, Any]]:
    labels = {"labelSelector": f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator"}
    return [pod for pod in await cluster.list(PODS, labels) if "deletionTimestamp" not in pod["metadata"]]


def forbidden(bare_plane: Plane, account: str) -> list[str]:
    """Requests of the account that were refused for want of a right."""
    assert bare_plane.audit_log
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    with bare_plane.audit_log.open() as lines:
        entries = [json.loads(line) for line in lines if user in line and line.endswith("\n")]
    return [
        f"{each['verb']} {each['requestURI']}"
        for each in entries
        if each["user"]["username"] == user
        and (each.get("annotations") or {}).get("authorization.k8s.io/decision") == "forbid"
    ]


async def test_the_defaults_work_where_every_namespace_is_restricted(cluster, helm, bare_plane, container):
    """Two replicas are admitted; one of them, with the chart's account, brings a run to its end, and asks for nothing that it may not."""
    install(helm)

    async def two() -> bool:
        return len(await operator_pods(cluster)) == 2

    await eventually(two, what="both replicas are admitted")
    async with a_flow(cluster), Puppet(cluster, TEAM):
        await container("headrace-operator-1").start("headrace-operator")
        await a_run(cluster, "first")
        status = await until(cluster, "first", "Succeeded")
    assert len(status["attempts"]) == 1
    assert forbidden(bare_plane, "headrace-operator") == []


def lasting(pod: dict[str, Any]) -> Ends | Runs:
    """The run `long` lasts until it is told to end; others end at once."""
    ended = Ends(message=report())
    return Runs(ended) if pod["metadata"]["labels"][FLOW_RUN_LABEL] == "long" else ended


async def test_a_run_in_flight_survives_upgrade_and_rollback(cluster, helm, container):
    """Its pod is the same before and after; both operators were stopped in order."""
    install(helm)
    async with a_flow(cluster), Puppet(cluster, TEAM, lasting) as puppet:
        old, new, rolled_back = map(container, ("old", "new", "rolled-back"))
        await old.start("headrace-operator")
        await a_run(cluster, "long")
        await until(cluster, "long", "Running")
        pod = await cluster.get(f"/api/v1/namespaces/{TEAM}/pods/long-1")

        release(helm.chart, "0.2.0")
        upgrade(helm, "--set=settings.workers=8")
        deployment = await cluster.get(f"{DEPLOYMENTS}/headrace-operator")
        given = environment(deployment, metadata_namespace=NAMESPACE)
        assert given["HEADRACE_WORKERS"] == "8"
        assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "headrace/operator:0.2.0"
        await new.start("headrace-operator")  # as a rollout does: the new one is there before the old one goes
        assert old.stop() == 0
        await a_run(cluster, "meanwhile")
        await until(cluster, "meanwhile", "Succeeded")

        helm.call("rollback", RELEASE, "1", "--namespace", NAMESPACE)
        deployment = await cluster.get(f"{DEPLOYMENTS}/headrace-operator")
        assert environment(deployment, metadata_namespace=NAMESPACE)["HEADRACE_WORKERS"] == "16"
        await rolled_back.start("headrace-operator")
        assert new.stop() == 0

        same = await cluster.get(f"/api/v1/namespaces/{TEAM}/pods/long-1")
        assert same["metadata"]["uid"] == pod["metadata"]["uid"]
        puppet.end("long-1")
        status = await until(cluster, "long", "Succeeded")
    assert [attempt["pod"] for attempt in status["attempts"]] == ["long-1"]


def release(chart: Path, version: str) -> None:
    """The chart as a later version of it."""
    file = chart / "Chart.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "version": version, "appVersion": version}))


async def test_an_uninstall_leaves_data_and_the_next_install_takes_it_over(cluster, helm):
    """Definitions and all objects of theirs; the rest is gone."""
    install(helm)
    async with a_flow(cluster):
        await a_run(cluster, "kept")
        uid = (await cluster.get(f"{RUNS}/kept"))["metadata"]["uid"]
        helm.call("uninstall", RELEASE, "--namespace", NAMESPACE)
        assert await cluster.list(DEPLOYMENTS) == []
        assert (await cluster.get(f"{RUNS}/kept"))["metadata"]["uid"] == uid
        roles = await cluster.list("/apis/rbac.authorization.k8s.io/v1/clusterroles")
        assert [role["metadata"]["name"] for role in roles if role["metadata"]["name"].startswith("headrace")] == []
        install(helm)
        assert (await cluster.get(f"{RUNS}/kept"))["metadata"]["uid"] == uid
        annotations = (await cluster.get(f"{DEFINITIONS}/flows.headrace.dev"))["metadata"]["annotations"]
        assert annotations["meta.helm.sh/release-name"] == RELEASE


async def test_chosen_namespaces_are_served_without_cluster_wide_rights(cluster, helm, bare_plane, container):
    """Its account may do nothing anywhere else, and asks for nothing that it may not."""
    install(helm, f"--set=operator.namespaces={{{TEAM}}}", "--set=serviceAccount.name=confined")
    subject = f"system:serviceaccount:{NAMESPACE}:confined"
    bindings = await cluster.list("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings")
    bound = [each["metadata"]["name"] for each in bindings if "confined" in json.dumps(each.get("subjects", []))]
    async with a_flow(cluster), Puppet(cluster, TEAM):
        await container("confined-1").start(f"headrace-operator-{TEAM}")
        await a_run(cluster, "confined")
        await until(cluster, "confined", "Succeeded")
    assert bound == []
    assert forbidden(bare_plane, "confined") == []
    assert await may(cluster, subject, TEAM, "pods", "create")
    assert not await may(cluster, subject, OTHER, "pods", "create")
    assert not await may(cluster, subject, "", "nodes", "list")


async def test_policies_of_chosen_namespaces_hold_there_and_nowhere_else(cluster, helm):
    """A Flow that asks for the host's network is refused where the release serves, and taken elsewhere."""
    spec = {**INLINE, "podTemplate": {"spec": {"hostNetwork": True}}}
    flow = {"apiVersion": API_VERSION, "kind": "Flow", "metadata": {"name": "nosy"}, "spec": spec}

    async def answer(namespace: str) -> str:
        path = f"/apis/{API_VERSION}/namespaces/{namespace}/flows"
        try:
            await cluster.request("POST", path, body=flow, params={"dryRun": "All"})
        except ApiError as error:  # also while the kind is new to the API server
            return error.message
        return "taken"

    async def refusal() -> str | None:
        said = await answer(TEAM)
        return said if f"ValidatingAdmissionPolicy 'headrace-templates.{NAMESPACE}'" in said else None

    install(helm, f"--set=operator.namespaces={{{TEAM}}}", "--set=policies.forServedNamespaces=true")

    assert "hostNetwork" in await eventually(refusal, within_s=60, what="the policy is in force")
    assert await answer(OTHER) == "taken"


async def may(cluster: KubeClient, user: str, namespace: str, resource: str, verb: str) -> bool:
    attributes = {"namespace": namespace, "resource": resource, "verb": verb}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    return bool(
        (await cluster.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review))["status"]["allowed"]
    )


def served(pod: dict[str, Any]) -> Ends | Runs:
    """Flows end at once; the pods of the release last until they are told to end."""
    return Ends(message=report()) if FLOW_RUN_LABEL in pod["metadata"]["labels"] else Runs(Ends(0))


async def test_the_check_of_the_release_runs_a_flow(cluster, helm, bare_plane, container, tmp_path):
    """`helm test` succeeds if a run does; its container is done by a process, with the account that it has, under the strictest policies."""
    install(helm, "--set=policies.runRights=PerFlow", "--set=policies.podPolicy=Restricted")
    async with Puppet(cluster, NAMESPACE, served) as puppet:
        await container("headrace-operator-1").start("headrace-operator")
        tested = asyncio.create_task(asyncio.to_thread(helm.call, "test", RELEASE, "--namespace", NAMESPACE))
        pod = await eventually(
            lambda: _found(cluster, f"{PODS}/headrace-check"), within_s=60, what="the check's pod is made"
        )
        (check,) = pod["spec"]["containers"]
        kubeconfig = await login(cluster, bare_plane, pod["spec"]["serviceAccountName"], tmp_path)
        given = {each["name"]: each["value"] for each in check["env"]}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *check["command"][1:],
            *check["args"],
            env={**os.environ, **given, "KUBECONFIG": str(kubeconfig)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        puppet.end("headrace-check")
        told = await tested
    assert (process.returncode, "Succeeded" in output.decode()) == (0, True), output.decode()
    assert "Phase:          Succeeded" in told.stdout


async def _found(cluster: KubeClient, path: str) -> dict[str, Any] | None:
    try:
        return await cluster.get(path)
    except NotFound:
        return None


async def test_the_plain_manifests_are_taken_as_they_are(admin, own_plane, binaries):
    """By `kubectl apply -k`, twice: what is there already is no obstacle, and nothing is changed."""
    config = CHART.parents[1] / "config" / "default"
    options = ("--server-side", "--force-conflicts", "-k", config)

    def apply() -> subprocess.CompletedProcess[str]:
        command = [binaries.kubectl, "--kubeconfig", own_plane.kubeconfig, "apply", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    first = await asyncio.to_thread(apply)
    before = await admin.get(f"{DEPLOYMENTS}/headrace-operator")
    second = await asyncio.to_thread(apply)
    after = await admin.get(f"{DEPLOYMENTS}/headrace-operator")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert "helm.sh/chart" not in after["metadata"]["labels"]
