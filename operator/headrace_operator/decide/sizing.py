"""
How large a run's next pod is.

    resources of the task, else the Deployment, else the Flow
      └> autosize: requests learnt from earlier runs; limits stay
           └> after k OOM kills: memory x memoryFactor^k, bounded
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from headrace.api.common import InfrastructureRetryPolicy, Resources
from headrace.api.conditions import Reason
from headrace.api.flow import Autosize, LearntSize
from headrace_operator.decide.errors import InvalidQuantity
from headrace_operator.decide.quantities import (
    LARGEST,
    Amounts,
    amounts_of,
    format_cpu,
    format_memory,
    parse_quantity,
)
from headrace_operator.decide.shapes import mapping, mappings
from headrace_operator.decide.snapshot import Attempt, DeploymentView, ResolvedFlow

Amount = str | int
"""A quantity as it stands in a manifest."""

GROWTH_LIMIT: Final = 4
"""Where nothing else bounds it, memory grows to so many times what the first attempt asked for."""
MOST_GROWTHS: Final = 64
"""Any bound is reached long before; a power of it still is a number that Decimal can hold."""


def size(
    flow: ResolvedFlow,
    deployment: DeploymentView | None,
    task_resources: Resources | None,
    *,
    attempts: Iterable[Attempt],
    learnt: LearntSize | None,
) -> Resources | None:
    """
    What the container of the next attempt asks for; None where nothing says it.

    Args:
        task_resources: Of a remote task: they take the place of the Flow's, and nothing is learnt of them.
        attempts: Of this run; those that ended as OOMKilled make the next one larger.
        learnt: From the Flow's status.
    """
    resources = task_resources or base_resources(flow, deployment)
    autosize = flow.spec.autosize
    if autosize is not None and autosize.enabled and learnt is not None and task_resources is None:
        resources = _learnt_requests(resources or Resources(), autosize, learnt)
    kills = sum(1 for attempt in attempts if attempt.reason == Reason.OOM_KILLED)
    return _grown(resources, infrastructure_policy(flow, deployment), kills)


def base_resources(flow: ResolvedFlow, deployment: DeploymentView | None) -> Resources | None:
    """What people set: the Deployment's resources take the place of the Flow's."""
    return (deployment.spec.resources if deployment else None) or flow.spec.resources


def infrastructure_policy(flow: ResolvedFlow, deployment: DeploymentView | None) -> InfrastructureRetryPolicy:
    """The Deployment's policy where it sets one, else the Flow's."""
    return (deployment.spec.infrastructure_retries if deployment else None) or flow.spec.infrastructure_retries


def _learnt_requests(resources: Resources, autosize: Autosize, learnt: LearntSize) -> Resources:
    requests = dict(resources.requests)
    if learnt.memory is not None:
        most = _least_of(autosize.max_memory, resources.limits.get("memory"))
        wanted = max(parse_quantity(learnt.memory), parse_quantity(autosize.min_memory))
        requests["memory"] = _memory_up_to(most, wanted)
    if learnt.cpu is not None:
        most = _least_of(autosize.max_cpu, resources.limits.get("cpu"))
        requests["cpu"] = format_cpu(min(parse_quantity(learnt.cpu), most))
    return resources.model_copy(update={"requests": requests})


def _least_of(*bounds: str | int | None) -> Decimal:
    return min((LARGEST, *(parse_quantity(bound) for bound in bounds if bound is not None)))


def _memory_up_to(most: Decimal, wanted: Decimal) -> str:
    """As people write it, where that is not above the bound: rounded up, a request could come out above its limit."""
    text = format_memory(min(wanted, most))
    return text if parse_quantity(text) <= most else str(int(most))


def _grown(resources: Resources | None, policy: InfrastructureRetryPolicy, kills: int) -> Resources | None:
    """Larger by what was killed for want of memory. Where no memory is set, the node's own ran out: nothing to grow."""
    if resources is None or not kills:
        return resources
    return resources.model_copy(
        update={
            "requests": _with_memory_grown(resources.requests, policy, kills),
            "limits": _with_memory_grown(resources.limits, policy, kills),
        }
    )


def _with_memory_grown(
    amounts: Mapping[str, Amount], policy: InfrastructureRetryPolicy, kills: int
) -> dict[str, Amount]:
    if "memory" not in amounts:
        return dict(amounts)
    return {**amounts, "memory": grown_memory(amounts["memory"], policy, kills)}


def grown_memory(memory: Amount, policy: InfrastructureRetryPolicy, kills: int) -> Amount:
    """What an attempt gets after so many OOM kills, where the first one had `memory`; never less than that."""
    first = parse_quantity(memory)
    most = first * GROWTH_LIMIT if policy.max_memory is None else parse_quantity(policy.max_memory)
    wanted = first * Decimal(str(policy.memory_factor)) ** min(kills, MOST_GROWTHS)
    return memory if min(wanted, most) <= first else _memory_up_to(most, wanted)


def requests_of(manifest: Mapping[str, Any]) -> Amounts:
    """
    What a pod asks for, as the scheduler counts it.

    The larger of what its containers need together and what its init containers need one after the other (sidecars
    among them stay, and so add up), and the overhead. A limit stands in for a request that is absent. Parts that
    cannot be read count as nothing: the API server refuses such a pod.

    Source: k8s.io/component-helpers/resource, PodRequests (Kubernetes 1.35).
    """
    spec = mapping(manifest.get("spec"))
    running = _sum(_requests(container) for container in mappings(spec.get("containers")))
    sidecars: dict[str, Decimal] = {}
    starting: dict[str, Decimal] = {}
    for container in mappings(spec.get("initContainers")):
        needs = _sum((sidecars, _requests(container)))
        starting = _largest(starting, needs)
        if container.get("restartPolicy") == "Always":
            sidecars = needs
    total = _largest(_sum((running, sidecars)), starting)
    # What is set for the pod as a whole stands in place of its containers' sum.
    total |= _requests(spec)
    return amounts_of(_sum((total, _read(spec.get("overhead")))))


def _requests(holder: Mapping[str, Any]) -> dict[str, Decimal]:
    resources = mapping(holder.get("resources"))
    return _read(resources.get("limits")) | _read(resources.get("requests"))


def _read(quantities: object) -> dict[str, Decimal]:
    read: dict[str, Decimal] = {}
    for name, value in mapping(quantities).items():
        try:
            read[str(name)] = parse_quantity(value)
        except InvalidQuantity:
            continue
    return read


def _sum(parts: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def _largest(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {*one, *other}}
