"""A release that is changed while a run is in flight."""

from __future__ import annotations

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.helm import NAMESPACE, Helm
from tests.cluster.support.waiting import eventually
from tests.e2e.inside import UNTIL_TOLD, tell
from tests.e2e.installed import upgrade_operator
from tests.e2e.runs import Kubectl, Runs


async def test_an_upgrade_leaves_a_run_in_flight_alone(
    runs: Runs, helm: Helm, kubectl: Kubectl, client: KubeClient
) -> None:
    """New pods of the operator, with a webhook and a dashboard; the run's pod is the same before and after."""
    name = await runs.start_code("flying", UNTIL_TOLD)
    before = (await runs.running(f"{name}-1"))["metadata"]["uid"]

    upgrade_operator(helm, "webhook.enabled=true", "dashboard.enabled=true")

    after = await runs.pod(f"{name}-1")
    assert after is not None
    assert after["metadata"]["uid"] == before
    tell(kubectl, f"{name}-1")
    status = await runs.ended(name)
    assert status["phase"] == "Succeeded", status
    assert [each["pod"] for each in status["attempts"]] == [f"{name}-1"]
    page = f"/api/v1/namespaces/{NAMESPACE}/services/headrace-dashboard:http/proxy/healthz"
    assert await eventually(lambda: client.text(page), what="the dashboard answers")
