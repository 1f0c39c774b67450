"""The admission webhook of the chart, in pods: found by its Service, believed by the certificate that the operator made."""

from __future__ import annotations

from typing import Any

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import ApiError
from tests.cluster.support.helm import Helm
from tests.cluster.support.waiting import eventually
from tests.e2e.installed import upgrade_operator
from tests.e2e.runs import WITHIN_S, Runs

SCHEMA = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
CODE = """
from headrace import flow

@flow(log_prints=True)
def main(day: str):
    print("loads", day)
"""


async def test_what_cannot_run_is_refused_when_it_is_applied(runs: Runs, client: KubeClient, helm: Helm) -> None:
    """The API server passes on what the operator says of wrong parameters; a run with right ones is made, and succeeds."""
    upgrade_operator(helm, "webhook.enabled=true")
    source = {"inline": {"files": {"flow.py": CODE}}}
    spec = {"entrypoint": "flow.py:main", "source": source, "parameters": {"schema": SCHEMA}}
    flow = {"apiVersion": "headrace.dev/v1alpha1", "kind": "Flow", "metadata": {"name": "daily"}, "spec": spec}
    await client.create(f"{runs.objects}/flows", flow)

    async def refusal() -> str:
        try:
            await client.request("POST", f"{runs.objects}/flowruns", body=a_run(7), params={"dryRun": "All"})
        except ApiError as error:
            return error.message
        return ""

    said = await eventually(refusal, within_s=WITHIN_S, what="the webhook refuses a run with wrong parameters")
    assert 'admission webhook "runs.headrace.dev" denied the request' in said
    assert 'parameter "day"' in said
    await client.create(f"{runs.objects}/flowruns", a_run("2026-03-04"))
    status = await runs.ended("daily-run")
    assert status["phase"] == "Succeeded", status
    assert "loads 2026-03-04" in await runs.log("daily-run-1")


def a_run(day: Any) -> dict[str, Any]:
    """Of the Flow `daily`."""
    body = {"apiVersion": "headrace.dev/v1alpha1", "kind": "FlowRun", "metadata": {"name": "daily-run"}}
    return {**body, "spec": {"flowRef": {"name": "daily"}, "parameters": {"day": day}}}
