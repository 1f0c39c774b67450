"""An admission policy that refuses everything of a kind for a while, as that of a freeze does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import Invalid
from tests.cluster.support.waiting import eventually

API = "/apis/admissionregistration.k8s.io/v1"


@asynccontextmanager
async def refusing_runs(client: KubeClient, namespace: str) -> AsyncIterator[None]:
    """No FlowRun can be created in the namespace meanwhile; the policy names no reason, so the API server says Invalid."""
    name = {"name": f"freeze-{namespace}"}
    created = {"operations": ["CREATE"], "apiGroups": ["headrace.dev"], "apiVersions": ["*"], "resources": ["flowruns"]}
    within = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    rule = {
        "matchConstraints": {"resourceRules": [created], **within},
        "validations": [{"expression": "false", "message": "not during the freeze"}],
    }
    policies, bindings = f"{API}/validatingadmissionpolicies", f"{API}/validatingadmissionpolicybindings"
    await client.create(policies, {"metadata": name, "spec": rule})
    await client.create(
        bindings, {"metadata": name, "spec": {"policyName": name["name"], "validationActions": ["Deny"]}}
    )

    async def is_refused() -> bool:
        body = {
            "apiVersion": "headrace.dev/v1alpha1",
            "kind": "FlowRun",
            "metadata": {"name": "probe"},
            "spec": {"flowRef": {"name": "etl"}},
        }
        path = f"/apis/headrace.dev/v1alpha1/namespaces/{namespace}/flowruns"
        try:
            await client.request("POST", path, params={"dryRun": "All"}, body=body)
        except Invalid as error:
            return "not during the freeze" in error.message and not error.is_final
        return False

    try:
        await eventually(is_refused, what="runs are refused")
        yield
    finally:
        await client.delete(f"{bindings}/{name['name']}")
        await client.delete(f"{policies}/{name['name']}")
