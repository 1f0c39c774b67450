"""What `helm install` with default values gives on a cluster whose every namespace enforces Pod Security `restricted`."""

from __future__ import annotations

import pytest

from headrace.api.audit import deeds_of
from headrace.devcluster.policies import ADMISSION
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import Forbidden
from tests.cluster.support.helm import NAMESPACE, RELEASE, Helm
from tests.e2e.images.provided import RUNTIME
from tests.e2e.installed import operators
from tests.e2e.runs import Runs

UNSAFE = {"metadata": {"name": "unsafe"}, "spec": {"containers": [{"name": "root", "image": RUNTIME}]}}
"""It says nothing of privileges, so it could have them."""
PLAIN = "from headrace import flow\n\n@flow\ndef main():\n    pass\n"


async def test_no_namespace_takes_a_pod_that_asks_for_more(client: KubeClient, namespace: str) -> None:
    """What the tests rest on: in the operator's namespace, in the cluster's own and in a team's, such a pod is refused."""
    found = await client.list("/api/v1/namespaces")
    names = {each["metadata"]["name"] for each in found if each["status"]["phase"] == "Active"}
    assert names >= {"default", "kube-system", NAMESPACE, namespace}
    for name in sorted(names):
        with pytest.raises(Forbidden, match="restricted"):
            await client.create(f"/api/v1/namespaces/{name}/pods", UNSAFE)


async def test_operators_are_ready_and_run_a_flow(client: KubeClient, runs: Runs) -> None:
    """Both replicas serve, and a flow that asks for nothing special comes to its end."""
    status = await runs.ended(await runs.start_code("plain", PLAIN))

    assert status["phase"] == "Succeeded", status
    pods = await operators(client)
    assert [each["ready"] for pod in pods for each in pod["status"]["containerStatuses"]] == [True, True]


async def test_a_run_notes_who_made_it_and_nothing_that_the_operator_did(client: KubeClient, runs: Runs) -> None:
    """The audit policy of the release knows its operator by name."""
    if "mutatingadmissionpolicies" not in {each["name"] for each in (await client.get(ADMISSION))["resources"]}:
        pytest.skip("the cluster has no MutatingAdmissionPolicies")
    name = await runs.start_code("noted", PLAIN)
    await runs.ended(name)

    run = await client.get(f"{runs.objects}/flowruns/{name}")
    assert [deed.what for deed in deeds_of(run)] == ["created"]


def test_helm_test_passes(helm: Helm) -> None:
    """Its pod, with the rights that the chart gives it, starts a run and sees it succeed."""
    assert "Succeeded" in helm.call("test", RELEASE, "--namespace", NAMESPACE).stdout
