"""Names that the whole project agrees on: the API group, its resources, labels and finalizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GROUP: Final = "headrace.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "headrace.dev/v1alpha1"
CATEGORY: Final = "headrace"
"""`kubectl get headrace` lists every kind."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "headrace"
"""On everything that the operator makes: runs of schedules, pods, revisions."""

TEAM_LABEL: Final = "headrace.dev/team"
"""On Flows: who looks after it, for metrics and alerts."""
TIER_LABEL: Final = "headrace.dev/tier"
"""On Flows: how much depends on it; `critical` ones that fail are told at once."""
FLOW_LABEL: Final = "headrace.dev/flow"
DEPLOYMENT_LABEL: Final = "headrace.dev/deployment"
FLOW_RUN_LABEL: Final = "headrace.dev/flow-run"
SCHEDULE_LABEL: Final = "headrace.dev/schedule"
BACKFILL_LABEL: Final = "headrace.dev/backfill"
"""On FlowRuns: the Backfill that created them."""
PARTITION_LABEL: Final = "headrace.dev/partition"
"""On FlowRuns of a Backfill: the name of their partition."""
POSITION_LABEL: Final = "headrace.dev/position"
"""On FlowRuns of a Backfill: the position of their partition in its order of running, from 0."""
TRY_LABEL: Final = "headrace.dev/try"
"""On FlowRuns of a Backfill: which run of their partition they are, from 1; those of a re-run count on from 101."""
ATTEMPT_LABEL: Final = "headrace.dev/attempt"
"""On pods: the number of the attempt, from 1."""
REVISION_LABEL: Final = "headrace.dev/revision"
POOL_LABEL: Final = "headrace.dev/pool"
"""On pods: the WorkPool that they were placed in."""
AUTOMATION_LABEL: Final = "headrace.dev/automation"
"""On FlowRuns: the Automation that started them."""
TRIGGER_LABEL: Final = "headrace.dev/trigger"
"""On Automations that the operator keeps for a Deployment: the name of the trigger."""
CHAIN_LABEL: Final = "headrace.dev/chain"
"""On FlowRuns that an Automation started as one that an Automation had started came to a phase: how many such starts led to it."""
RERUN_OF_LABEL: Final = "headrace.dev/rerun-of"
"""On FlowRuns: the run that failed, and of which this is another go."""
OPERATOR_LABEL: Final = "headrace.dev/operator"
"""On Leases by which operators share their work: `shard`, `member` or `pool`."""
COUNTS_ANNOTATION: Final = "headrace.dev/counts"
"""On a shard's Lease: its runs in WorkPools, and its runs that wait for these and for ConcurrencyLimits."""
BOOKINGS_ANNOTATION: Final = "headrace.dev/bookings"
"""On a WorkPool's Lease: how much of its capacity each shard has booked."""
CIRCUIT_RESET_ANNOTATION: Final = "headrace.dev/circuit-reset"
"""On a Deployment: another value than before closes its circuit, once."""
SUSPENDED_TOGETHER_ANNOTATION: Final = "headrace.dev/suspended-together"
"""On what `headrace suspend --all` has suspended, so that `headrace resume --all` lets go on that and nothing else."""
AUDIT_ANNOTATION: Final = "headrace.dev/audit"
"""On what people make: who did what and when, a line each. The API server writes it, and nobody else can."""
PARENT_LABEL: Final = "headrace.dev/parent"
"""On FlowRuns: the run whose task this is."""
STARTED_BY_LABEL: Final = "headrace.dev/started-by"
"""On FlowRuns of Deployments: the run whose flow started this one."""
ROOT_LABEL: Final = "headrace.dev/root"
"""On FlowRuns that a flow started: the run at the top, from which all of them come."""
TRACEPARENT_ANNOTATION: Final = "headrace.dev/traceparent"
"""On a FlowRun: the span that its own spans are children of, as W3C writes it. Absent: one that derives from its UID."""
TRACEPARENT_PATTERN: Final = "00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"

QUOTA_ANNOTATION: Final = "headrace.dev/max-active-runs"
"""On a Namespace: how many of its runs may be active at once."""
WEIGHT_ANNOTATION: Final = "headrace.dev/fair-share-weight"
"""On a Namespace: its weight when namespaces share what is scarce. Absent: 1."""

POD_FINALIZER: Final = "headrace.dev/outcome"
"""Keeps a pod until its outcome is in the run's status."""

PARAMETERS_ENV: Final = "HEADRACE_PARAMETERS"
"""The environment variable of a pod that holds its run's parameters, a JSON object."""

FLOW_CONTAINER: Final = "flow"
"""The container whose end is the attempt's end; others are sidecars."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of ours, as the API server serves it."""

    kind: str
    plural: str
    singular: str
    short_name: str
    namespaced: bool = True

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


FLOWS: Final = Resource("Flow", "flows", "flow", "fl")
DEPLOYMENTS: Final = Resource("Deployment", "deployments", "deployment", "fdep")
FLOWRUNS: Final = Resource("FlowRun", "flowruns", "flowrun", "fr")
WORKPOOLS: Final = Resource("WorkPool", "workpools", "workpool", "wp", namespaced=False)
CONCURRENCYLIMITS: Final = Resource("ConcurrencyLimit", "concurrencylimits", "concurrencylimit", "cl", namespaced=False)
BACKFILLS: Final = Resource("Backfill", "backfills", "backfill", "bf")
AUTOMATIONS: Final = Resource("Automation", "automations", "automation", "auto")
