"""
What an object names, as the API has it at this moment.

A Flow, a Deployment, a limit or a pool that does not exist is a warning and no reason to refuse: GitOps applies objects in any order. So are
parameters of a Deployment or a Backfill that break the Flow's schema, as the Flow may be changed by the same commit. A run is different:
its parameters cannot be changed any more, and it would fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from headrace.api.flow import FlowSpec
from headrace.kubeapi.errors import NotFound
from headrace_operator.admission.events import missing_of_automation, missing_of_triggers
from headrace_operator.admission.review import MOST_WARNINGS, NAME, Review, Verdict
from headrace_operator.decide.parameters import parameter_problem
from headrace_operator.decide.snapshot import ResolvedFlow
from headrace_operator.kube.cluster import Reader
from headrace_operator.kube.resources import CONCURRENCY_LIMITS, DEPLOYMENTS, FLOWS, WORK_POOLS, Resource

Spec = Mapping[str, Any]


async def verdict_on_references(review: Review, reader: Reader) -> Verdict:
    """What is to be said about what it names. Raises: ApiError."""
    match review.kind:
        case "FlowRun":
            return await _of_run(review, reader)
        case "Deployment":
            return await _of_deployment(review, reader)
        case "Backfill":
            return await _of_backfill(review, reader)
        case "Automation":
            return Verdict(warnings=tuple(await missing_of_automation(review.namespace, review.spec, reader)))
    return await _of_flow(review, reader)


async def _of_run(review: Review, reader: Reader) -> Verdict:
    spec = review.spec
    deployment: Spec | None = None
    flow_ref = spec.get("flowRef") or {}
    named = (spec.get("deploymentRef") or {}).get("name")
    if named:
        deployment = await _spec(reader, DEPLOYMENTS, review.namespace, named)
        if deployment is None:
            return _missing("Deployment", named, review, "the run waits until it does")
        flow_ref = deployment.get("flowRef") or {}
    flow = await _spec(reader, FLOWS, review.namespace, flow_ref.get("name", ""))
    if flow is None:
        return _missing("Flow", flow_ref.get("name", ""), review, "the run waits until it does")
    if flow_ref.get("revision"):
        return Verdict()  # the schema is that of the revision, which the operator has
    problem = _parameter_problem(flow_ref["name"], flow, ((deployment or {}).get("parameters"), spec.get("parameters")))
    return Verdict(problem=None if problem is None else f"spec.parameters: {problem}")


async def _of_deployment(review: Review, reader: Reader) -> Verdict:
    spec = review.spec
    warnings = [
        *await _missing_places(spec, reader),
        *await missing_of_triggers(review.namespace, review.name, spec, reader),
    ]
    name = (spec.get("flowRef") or {}).get("name", "")
    flow = await _spec(reader, FLOWS, review.namespace, name)
    if flow is None:
        return Verdict(warnings=(*_missing("Flow", name, review, "its runs wait until it does").warnings, *warnings))
    if (spec.get("flowRef") or {}).get("revision"):
        return Verdict(warnings=tuple(warnings))
    partial = _parameter_problem(name, flow, (spec.get("parameters"),), is_partial=True)
    if partial is not None:
        return Verdict(warnings=(f"spec.parameters: {partial}", *warnings))
    return Verdict(warnings=(*[each async for each in _schedule_warnings(spec, name, flow)], *warnings))


async def _of_backfill(review: Review, reader: Reader) -> Verdict:
    name = (review.spec.get("deploymentRef") or {}).get("name", "")
    if await _spec(reader, DEPLOYMENTS, review.namespace, name) is None:
        return _missing("Deployment", name, review, "the Backfill waits until it does")
    return Verdict()


async def _of_flow(review: Review, reader: Reader) -> Verdict:
    warnings = await _missing_places(review.spec, reader)
    problem = _parameter_problem(review.name or "(new)", review.spec, (), is_partial=True)
    return Verdict(warnings=(*(() if problem is None else (f"spec.parameters.defaults: {problem}",)), *warnings))


async def _schedule_warnings(spec: Spec, name: str, flow: Spec) -> AsyncIterator[str]:
    for schedule in (spec.get("schedules") or ())[:MOST_WARNINGS]:
        await asyncio.sleep(0)  # each may take half a second; others go on meanwhile, and the look-up ends in time
        problem = _parameter_problem(name, flow, (spec.get("parameters"), schedule.get("parameters")))
        if problem is not None:
            yield f'runs of schedule "{schedule.get("name")}" will fail: {problem}'


def _parameter_problem(
    name: str, flow: Spec, layers: Iterable[Mapping[str, Any] | None], *, is_partial: bool = False
) -> str | None:
    """
    What is wrong with the parameters that these layers make up, over the Flow's defaults.

    Args:
        is_partial: More may come from a run: none is missing.
    """
    try:
        known = FlowSpec.model_validate(flow)
    except ValidationError:  # of a newer definition than this operator
        return None
    if known.parameters is None:
        merged: dict[str, Any] = {}
    else:
        merged = dict(known.parameters.defaults or {})
        schema = known.parameters.schema_
        if is_partial and schema:
            loose = {key: value for key, value in schema.items() if key != "required"}
            known = known.model_copy(update={"parameters": known.parameters.model_copy(update={"schema_": loose})})
    for layer in layers:
        merged |= layer or {}
    return parameter_problem(merged, ResolvedFlow(name=name, revision="", spec=known))


async def _missing_places(spec: Spec, reader: Reader) -> list[str]:
    """A warning for each ConcurrencyLimit and WorkPool that it names and that does not exist."""
    limits = [limit.get("name", "") for limit in spec.get("limits") or ()]
    pools = list((spec.get("pools") or {}).get("names") or ())
    named = [(CONCURRENCY_LIMITS, "spec.limits", name) for name in limits]
    named += [(WORK_POOLS, "spec.pools.names", name) for name in pools]
    found = await asyncio.gather(
        *(_spec(reader, resource, "", name) for resource, _, name in named[: 2 * MOST_WARNINGS])
    )
    return [
        f'{field}: {resource.kind} "{name}" does not exist; runs wait until it does'
        for (resource, field, name), spec in zip(named, found, strict=False)
        if spec is None
    ]


def _missing(kind: str, name: str, review: Review, what_then: str) -> Verdict:
    return Verdict(warnings=(f'{kind} "{name}" does not exist in namespace "{review.namespace}"; {what_then}',))


async def _spec(reader: Reader, resource: Resource, namespace: str, name: str) -> Spec | None:
    """The spec of the object, None if there is no such object; a name that none can have would lead to another path of the API."""
    if not NAME.fullmatch(name):
        return None
    try:
        obj = await reader.get(resource, namespace, name)
    except NotFound:
        return None
    return obj.get("spec") or {}
