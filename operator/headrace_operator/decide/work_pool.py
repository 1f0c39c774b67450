"""What a WorkPool's status says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.api.conditions import ConditionType, Reason
from headrace.api.workpool import NodeCount, WorkPoolSpec, WorkPoolStatus
from headrace_operator.decide.conditions import stored, with_condition
from headrace_operator.decide.placement import pool_of
from headrace_operator.decide.quantities import Amounts, format_amount
from headrace_operator.decide.snapshot import ConditionView

MOST_RESOURCES = 32
"""Resources that `status.requested` takes."""


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """
    A WorkPool and what is in it.

    Args:
        spec: None where it cannot be read; `problem` says why.
        active: Runs whose pods are in it; `requested` is what those ask for together.
        queued: Runs that wait for it.
    """

    name: str
    generation: int
    spec: WorkPoolSpec | None
    problem: str | None
    conditions: tuple[ConditionView, ...]
    active: int
    requested: Amounts
    queued: int
    nodes: NodeCount


def pool_status(seen: PoolSnapshot, now: datetime) -> WorkPoolStatus:
    """The status to have."""
    return WorkPoolStatus(
        observed_generation=seen.generation,
        active=seen.active,
        queued=seen.queued,
        requested={name: format_amount(name, amount) for name, amount in seen.requested[:MOST_RESOURCES]},
        nodes=seen.nodes,
        conditions=tuple(stored(view) for view in with_condition(seen.conditions, _ready(seen, now))),
    )


def _ready(seen: PoolSnapshot, now: datetime) -> ConditionView:
    status, reason, message = _readiness(seen)
    return ConditionView(ConditionType.READY, status, reason, message, now, seen.generation)


def _readiness(seen: PoolSnapshot) -> tuple[str, Reason, str]:
    if seen.spec is None:
        return "False", Reason.INVALID_SPEC, seen.problem or "the spec cannot be read"
    if pool_of(seen.name, {}, seen.spec).spec is None:
        return (
            "False",
            Reason.INVALID_SPEC,
            "an amount in maxPodResources or capacity is none; write it as in 500m or 4Gi",
        )
    if not seen.nodes.total:
        return "Unknown", Reason.NO_NODES, _advice("there is no node", seen.spec)
    if not seen.nodes.ready:
        return "False", Reason.NODES_NOT_READY, _advice("no node is ready and takes pods", seen.spec)
    return "True", Reason.NODES_READY, "nodes are ready"


def _advice(what: str, spec: WorkPoolSpec) -> str:
    """No figures: the message would change, and be written, with each node that comes or goes."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(spec.node_selector.items()))
    nodes = f"kubectl get nodes -l {labels}" if labels else "kubectl get nodes"
    return f"{what} with the labels of spec.nodeSelector; unless an autoscaler adds one, look at: {nodes}"
