"""The collections that the operator reads and writes, and their paths."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.api import keys


@dataclass(frozen=True, slots=True)
class Resource:
    """One collection of the API; the objects of a cluster-scoped one have the namespace ""."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of the collection (all namespaces where none is given), or of one object in it."""
        root = "/api" if "/" not in self.api_version else "/apis"
        within = f"/namespaces/{namespace}" if namespace else ""
        parts = f"{root}/{self.api_version}{within}/{self.plural}"
        return "/".join(part for part in (parts, name, subresource) if part)


FLOWS = Resource(keys.API_VERSION, keys.FLOWS.kind, keys.FLOWS.plural)
DEPLOYMENTS = Resource(keys.API_VERSION, keys.DEPLOYMENTS.kind, keys.DEPLOYMENTS.plural)
FLOW_RUNS = Resource(keys.API_VERSION, keys.FLOWRUNS.kind, keys.FLOWRUNS.plural)
PODS = Resource("v1", "Pod", "pods")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
EVENTS = Resource("v1", "Event", "events")
CONTROLLER_REVISIONS = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
WORK_POOLS = Resource(keys.API_VERSION, keys.WORKPOOLS.kind, keys.WORKPOOLS.plural)
CONCURRENCY_LIMITS = Resource(keys.API_VERSION, keys.CONCURRENCYLIMITS.kind, keys.CONCURRENCYLIMITS.plural)
BACKFILLS = Resource(keys.API_VERSION, keys.BACKFILLS.kind, keys.BACKFILLS.plural)
AUTOMATIONS = Resource(keys.API_VERSION, keys.AUTOMATIONS.kind, keys.AUTOMATIONS.plural)
SECRETS = Resource("v1", "Secret", "secrets")
NODES = Resource("v1", "Node", "nodes")
NAMESPACES = Resource("v1", "Namespace", "namespaces")
VALIDATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"
)

CLUSTER_SCOPED = frozenset({WORK_POOLS, CONCURRENCY_LIMITS, NODES, NAMESPACES})
"""Those whose objects are in no namespace."""
