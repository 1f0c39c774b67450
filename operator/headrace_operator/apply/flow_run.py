"""A FlowRun's Decision, carried out: actions in order, the status once, then what had to wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from headrace.api.conditions import Phase
from headrace.api.keys import API_VERSION
from headrace_operator.apply.events import record_event
from headrace_operator.apply.pods import create_pod, delete_pod, release_pod
from headrace_operator.apply.slots import SlotStore, release_slots, take_slots, to_nobody
from headrace_operator.decide.actions import Action, Decision, DeletePod, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.leases import Slot
from headrace_operator.decide.placement import Pool
from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.queueing.slots import run_holder
from headrace_operator.decide.run_status import is_back_in_line
from headrace_operator.decide.sizing import requests_of, size
from headrace_operator.decide.snapshot import ObjectKey, ResolvedFlow, RunStatus, Snapshot, Turn, Unresolved
from headrace_operator.errors import SlotsTakenError
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import FLOW_RUNS
from headrace_operator.manifests.event import Subject
from headrace_operator.manifests.pod import pod_manifest
from headrace_operator.manifests.run_status import status_patch


class Answers(Protocol):
    """Takes in what the API answers to a write, so that the next decision knows of it."""

    def run_written(self, obj: Mapping[str, Any], *, is_settled: bool) -> None: ...

    def pod_written(self, obj: Mapping[str, Any]) -> None: ...

    def slots_changed(self, limit: str) -> None: ...


class HandOver(Protocol):
    """Knows who waits for slots."""

    def offer(self, slot: Slot) -> bool:
        """Offer the slot of a run that is over to the next one in line. Returns False if it is to be given back."""


class Gate(Protocol):
    """Knows the WorkPools and the limits' slots."""

    @property
    def slots(self) -> SlotStore: ...

    @property
    def hand_over(self) -> HandOver: ...

    def pool(self, name: str | None) -> Pool | None: ...


class RunApplier:
    """
    Carries decisions out; the answers of the API are handed back.

    Args:
        clock: The time of day.
    """

    def __init__(
        self,
        cluster: Cluster,
        answers: Answers,
        gate: Gate,
        *,
        default_image: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster = cluster
        self._answers = answers
        self._gate = gate
        self._slots = gate.slots
        self._default_image = default_image
        self._clock = clock

    async def perform(self, seen: Snapshot, decision: Decision, now: datetime) -> None:
        """
        Raises: PodRefusedError, PodNameTakenError, SlotsTakenError: the launch was not taken; nothing else was done.
            Conflict: the run has changed since it was read. ApiError.
        """
        for action in decision.actions:
            await self._act(seen, action, now)
        if decision.status is not None:
            await self._write_status(seen, decision)
            if _has_finished(decision.status):
                await self._release(seen, self._gate.hand_over.offer)
            elif is_back_in_line(decision.status):
                await self.give_back(seen)
        for action in decision.afterwards:
            await self._act(seen, action, now)

    def requests(self, seen: Snapshot, flow: ResolvedFlow) -> Amounts:
        """What the next pod of the run asks for, whatever its pool."""
        return requests_of(self._manifest(seen, flow, LaunchPod(1)))

    async def give_back(self, seen: Snapshot) -> None:
        """Free every slot that the run holds. Raises: ApiError."""
        await self._release(seen, to_nobody)

    async def clear_orphans(self, key: ObjectKey, actions: tuple[Action, ...]) -> None:
        """Let go of pods whose run is over. Raises: ApiError."""
        for action in actions:
            await self._act_on_pod(key.namespace, action)

    async def _release(self, seen: Snapshot, offer: Callable[[Slot], bool]) -> None:
        holder = run_holder(seen.run.key, seen.run.uid)
        limits = {slot.limit for slot in self._slots.held_by(holder)}
        if limits:
            try:
                await release_slots(self._cluster, self._slots, holder, offer=offer)
            finally:
                self._tell_slots(limits)

    async def _write_status(self, seen: Snapshot, decision: Decision) -> None:
        run = seen.run
        if decision.status is None:
            return
        patch = status_patch(run.status, decision.status, resource_version=run.version)
        if patch is None:
            return
        key = run.key
        stored = await self._cluster.patch(FLOW_RUNS, key.namespace, key.name, patch, subresource="status")
        self._answers.run_written(stored, is_settled=_is_settled(seen, decision.status))

    async def _act(self, seen: Snapshot, action: Action, now: datetime) -> None:
        if isinstance(action, LaunchPod):
            await self._launch(seen, action)
        elif isinstance(action, RecordEvent):
            subject = Subject(API_VERSION, "FlowRun", seen.run.key, seen.run.uid)
            await record_event(self._cluster, subject, action, now)
        else:
            await self._act_on_pod(seen.run.key.namespace, action)

    async def _act_on_pod(self, namespace: str, action: Action) -> None:
        if isinstance(action, DeletePod):
            await delete_pod(self._cluster, namespace, action)
        elif isinstance(action, ReleasePod):
            released = await release_pod(self._cluster, namespace, action)
            if released is not None:
                self._answers.pod_written(released)

    async def _launch(self, seen: Snapshot, action: LaunchPod) -> None:
        if isinstance(seen.flow, Unresolved):
            return
        await self._take_slots(seen, action.turn)
        self._answers.pod_written(await create_pod(self._cluster, self._manifest(seen, seen.flow, action)))

    def _manifest(self, seen: Snapshot, flow: ResolvedFlow, action: LaunchPod) -> dict[str, Any]:
        task = seen.run.task
        resources = size(
            flow,
            seen.deployment,
            task.resources if task else None,
            attempts=seen.run.status.attempts,
            learnt=seen.learnt,
        )
        return pod_manifest(
            seen,
            flow,
            action.attempt,
            default_image=self._default_image,
            pool=self._gate.pool(action.turn.pool),
            resources=resources,
        )

    async def _take_slots(self, seen: Snapshot, turn: Turn) -> None:
        if not turn.limits and not turn.rates:
            return
        holder = run_holder(seen.run.key, seen.run.uid)
        try:
            taken = await take_slots(
                self._cluster, self._slots, turn.limits, turn.rates, holder=holder, clock=self._clock
            )
        finally:
            self._tell_slots({*(name for name, _ in turn.limits), *turn.rates})
        if not taken:
            raise SlotsTakenError(*seen.run.key)

    def _tell_slots(self, limits: Iterable[str]) -> None:
        for limit in limits:
            self._answers.slots_changed(limit)


def _has_finished(status: RunStatus) -> bool:
    return status.phase is not None and status.phase.finished


def _is_settled(seen: Snapshot, status: RunStatus) -> bool:
    """
    Whether the next decision on this status is that nothing is to be done, unless something happens.

    So it is while its one pod runs, and when it is over and the one pod is let go, which comes after the status.
    """
    return len(seen.pods) <= 1 and (_has_finished(status) or status.phase is Phase.RUNNING)
