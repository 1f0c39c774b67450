"""The release itself: tested, and changed while a run is in flight."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.helm import NAMESPACE, RELEASE, Helm
from tests.cluster.support.waiting import eventually
from tests.e2e.runs import Kubectl, Runs

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
    """New pods of the operator, with a dashboard beside them; the run's pod is the same before and after."""
    name = await runs.start_code("flying", UNTIL_TOLD)
    await runs.running(f"{name}-1")
    before = await uid(runs, f"{name}-1")

    options = ("--reuse-values", "--set=dashboard.enabled=true,settings.workers=8", "--wait", "--timeout", "180s")
    helm.call("upgrade", RELEASE, str(helm.chart), "--namespace", NAMESPACE, *options)

    assert await uid(runs, f"{name}-1") == before
    kubectl("exec", f"{name}-1", "--", "python3", "-c", "open('/tmp/go', 'w').close()")
    status = await runs.ended(name)
    assert status["phase"] == "Succeeded", status
    assert [each["pod"] for each in status["attempts"]] == [f"{name}-1"]
    page = f"/api/v1/namespaces/{NAMESPACE}/services/headrace-dashboard:http/proxy/healthz"
    assert await eventually(lambda: client.text(page), what="the dashboard answers")
