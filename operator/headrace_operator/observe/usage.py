"""What finished runs used: the latest few of each Deployment, and of each Flow's runs without one."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from headrace.api.flow import MAX_SAMPLES
from headrace_operator.decide.autosize import FinishedUsage, Lesson, usage_of
from headrace_operator.decide.sizing import base_resources, infrastructure_policy
from headrace_operator.decide.snapshot import DeploymentView, ObjectKey, ResolvedFlow, Run
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.records import FlowRecord


class Source(NamedTuple):
    """Whose runs they are: of a Deployment, or of a Flow by itself."""

    namespace: str
    deployment: str | None
    flow: str | None


class Usages:
    """As many as a Flow keeps samples of: older ones say nothing that newer ones do not."""

    def __init__(self) -> None:
        self._of: dict[Source, dict[str, FinishedUsage]] = {}

    def put(self, run: Run) -> None:
        """Remember what a finished run used. A remote task says nothing about the size of its flow."""
        use = usage_of(run.status) if run.finished and run.task is None else None
        if use is None:
            return
        uses = self._of.setdefault(Source(run.key.namespace, run.deployment_ref, run.flow_ref), {})
        uses[run.uid] = use
        if len(uses) > MAX_SAMPLES:
            oldest = min(uses.values(), key=attrgetter("finished_at"))
            del uses[next(uid for uid, each in uses.items() if each is oldest)]

    def of(self, source: Source) -> tuple[FinishedUsage, ...]:
        """The latest of this source, in no order."""
        return tuple(self._of.get(source, {}).values())


def lessons_of(record: FlowRecord, cache: Cache, usages: Usages) -> Iterator[Lesson]:
    """What the runs of a Flow used, each with what people had set for it."""
    if record.spec is None:
        return
    namespace, name = record.key
    flow = ResolvedFlow(name, record.revision or "", record.spec)
    yield from _lessons(flow, None, usages.of(Source(namespace, None, name)))
    for deployment in cache.deployments.values():
        if deployment.spec and deployment.key.namespace == namespace and deployment.spec.flow_ref.name == name:
            view = DeploymentView(deployment.key, deployment.uid, deployment.spec)
            yield from _lessons(flow, view, usages.of(Source(namespace, deployment.key.name, None)))


def _lessons(
    flow: ResolvedFlow, deployment: DeploymentView | None, uses: tuple[FinishedUsage, ...]
) -> Iterator[Lesson]:
    resources, policy = base_resources(flow, deployment), infrastructure_policy(flow, deployment)
    return (Lesson(use, resources, policy) for use in uses)


def sized_flow(run: Run, cache: Cache) -> ObjectKey | None:
    """The Flow that learns from the run; None where it does not ask for that."""
    deployment = cache.deployments.get(ObjectKey(run.key.namespace, run.deployment_ref or ""))
    name = deployment.spec.flow_ref.name if deployment and deployment.spec else run.flow_ref
    record = cache.flows.get(ObjectKey(run.key.namespace, name or ""))
    learns = record is not None and record.spec is not None and record.spec.autosize is not None
    return record.key if record is not None and learns else None
