"""The release itself while runs are in flight: tested, changed, and its leader killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import KubeError
from tests.cluster.support.helm import NAMESPACE, RELEASE, Helm
from tests.cluster.support.waiting import eventually
from tests.e2e.nodes.cluster import RealCluster
from tests.e2e.nodes.node import SOCKET
from tests.e2e.runs import API, WITHIN_S, Kubectl, Runs
from tests.tools import CTR

OPERATORS = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/component=operator"
UNTIL_TOLD = """
import pathlib, time
from headrace import flow

@flow
def main():
    while not pathlib.Path("/tmp/go").exists():
        time.sleep(0.1)
"""


@pytest.fixture
def helm(kubeconfig: Path, tmp_path: Path) -> Helm:
    return Helm(tmp_path, kubeconfig)


async def uid(runs: Runs, pod: str) -> str:
    found = await runs.pod(pod)
    assert found is not None
    return str(found["metadata"]["uid"])


def test_helm_test_passes(helm: Helm) -> None:
    """Its pod, with the rights that the chart gives it, starts a run and sees it succeed."""
    assert "Succeeded" in helm.call("test", RELEASE, "--namespace", NAMESPACE).stdout


async def test_an_upgrade_leaves_a_run_in_flight_alone(
    runs: Runs, helm: Helm, kubectl: Kubectl, client: KubeClient
) -> None:
    """New pods of the operator, with a webhook and a dashboard; the run's pod is the same before and after."""
    name = await runs.start_code("flying", UNTIL_TOLD)
    await runs.running(f"{name}-1")
    before = await uid(runs, f"{name}-1")

    options = ("--reuse-values", "--set=webhook.enabled=true,dashboard.enabled=true", "--wait", "--timeout", "180s")
    helm.call("upgrade", RELEASE, str(helm.chart), "--namespace", NAMESPACE, *options)

    assert await uid(runs, f"{name}-1") == before
    kubectl("exec", f"{name}-1", "--", "python3", "-c", "open('/tmp/go', 'w').close()")
    status = await runs.ended(name)
    assert status["phase"] == "Succeeded", status
    assert [each["pod"] for each in status["attempts"]] == [f"{name}-1"]
    page = f"/api/v1/namespaces/{NAMESPACE}/services/headrace-dashboard:http/proxy/healthz"
    assert await eventually(lambda: client.text(page), what="the dashboard answers")
    await eventually(lambda: refusal(client, runs), within_s=WITHIN_S, what="the webhook refuses a broken Deployment")


async def refusal(client: KubeClient, runs: Runs) -> bool:
    """Whether the API server asks the webhook, believes its certificate, and passes on what it says."""
    spec = {"flowRef": {"name": "nowhere"}, "schedules": [{"name": "never", "cron": "0 0 30 2 *"}]}
    body = {"apiVersion": "headrace.dev/v1alpha1", "kind": "Deployment", "metadata": {"name": "broken"}, "spec": spec}
    try:
        await client.create(f"{API}/namespaces/{runs.namespace}/deployments", body)
    except KubeError as error:
        assert "cron" in str(error), error
        return "webhook" in str(error)
    await client.delete(f"{API}/namespaces/{runs.namespace}/deployments/broken")
    return False


async def test_a_killed_operator_loses_no_run(
    runs: Runs, kubectl: Kubectl, client: KubeClient, real_nodes: RealCluster | None
) -> None:
    """SIGKILL to every replica's container: the one run goes on, the other, made meanwhile, is started once they are back."""
    if real_nodes is None:
        pytest.skip("nodes of kind are not entered by these tests")
    name = await runs.start_code("outlives", UNTIL_TOLD)
    await runs.running(f"{name}-1")
    before = await uid(runs, f"{name}-1")

    for pod in await client.list(OPERATORS):
        container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        ctr = [CTR.program, "--address", SOCKET, "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", container]
        real_nodes.nodes["node-1"].room.run(*ctr)
    kubectl("exec", f"{name}-1", "--", "python3", "-c", "open('/tmp/go', 'w').close()")
    meanwhile = await runs.start_again("outlives", "meanwhile")

    status = await runs.ended(name)
    assert status["phase"] == "Succeeded", status
    assert [each["pod"] for each in status["attempts"]] == [f"{name}-1"]
    assert before
    await runs.running(f"{meanwhile}-1")
    kubectl("exec", f"{meanwhile}-1", "--", "python3", "-c", "open('/tmp/go', 'w').close()")
    assert (await runs.ended(meanwhile))["phase"] == "Succeeded"
