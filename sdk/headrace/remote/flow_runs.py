"""FlowRuns of tasks, through the API: claimed once, and waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.api.keys import (
    API_VERSION,
    FLOW_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PARENT_LABEL,
)
from headrace.api.owners import owner_reference
from headrace.errors import RemoteTaskFailed
from headrace.flowruns import (
    ATTEMPT_ANNOTATION,
    FINISHED,
    Api,
    Clock,
    FlowRun,
    FlowRunsOf,
    Tell,
    is_of,
    is_taken_up,
    phase,
    told_taken_up,
)
from headrace.podapi import PodApiError
from headrace.tracing.context import trace_annotations


@dataclass(frozen=True, slots=True)
class Parent:
    """The FlowRun of this pod: what its tasks' FlowRuns carry on. `attempt` is the number of this pod, from 1."""

    namespace: str
    name: str
    uid: str
    flow: str
    revision: str
    attempt: int
    parameters: Mapping[str, Any]
    scheduled_time: str = ""


Plan = Callable[[int], Mapping[str, Any]]
"""From the number of the go, from 1, to the FlowRun to create."""


def manifest(parent: Parent, name: str, task: Mapping[str, Any]) -> dict[str, Any]:
    """The FlowRun of one task; it goes when its parent goes."""
    flow = {"name": parent.flow, "revision": parent.revision}
    spec: dict[str, Any] = {
        "flowRef": {key: value for key, value in flow.items() if value},
        "task": {**task, "parent": {"name": parent.name, "uid": parent.uid}},
    }
    # The same parameters satisfy the Flow's schema once more, and the task may ask for them.
    optional = {"parameters": dict(parent.parameters), "scheduledTime": parent.scheduled_time}
    return {
        "apiVersion": API_VERSION,
        "kind": "FlowRun",
        "metadata": {
            "name": name,
            "namespace": parent.namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, FLOW_LABEL: parent.flow, PARENT_LABEL: parent.name},
            "annotations": {ATTEMPT_ANNOTATION: str(parent.attempt), **trace_annotations()},
            "ownerReferences": [owner_reference("FlowRun", parent.name, parent.uid)],
        },
        "spec": spec | {key: value for key, value in optional.items() if value},
    }


class FlowRuns:
    """The FlowRuns of the tasks of one run."""

    def __init__(self, api: Api, parent: Parent, *, tell: Tell, clock: Clock) -> None:
        self._parent = parent
        self._tell = tell
        self._runs = FlowRunsOf(api, parent.namespace, tell, self._forbidden, clock)

    def claimed(self, plan: Plan, *, has_result: Callable[[FlowRun], bool]) -> FlowRun:
        """
        The FlowRun of this task: one that an earlier attempt of the parent began, or a new one.

        Args:
            has_result: Whether the result of one that has succeeded is still there.
        Raises: UsageError: the ServiceAccount may not create FlowRuns. PodApiError: the API server refuses it.
        """
        go = 1
        while True:
            wanted = plan(go)
            name = wanted["metadata"]["name"]
            found = self._runs.created(wanted, "task_run_created")
            if found is None:  # it was there and is gone: the name is free
                continue
            if self._fits(found, wanted) and is_taken_up(found, attempt=self._parent.attempt, has_result=has_result):
                if not is_of(found, self._parent.attempt):
                    self._tell("task_run_taken_up", told_taken_up(found))
                return found
            if self._is_outdated(found, wanted):
                self._tell(
                    "task_run_outdated", f"FlowRun {name} has other arguments than this attempt; it is cancelled"
                )
                self._runs.cancel(name)
            go += 1

    def ended(self, run: FlowRun, task: str) -> FlowRun:
        """
        The FlowRun in its last phase, which may take hours.

        Raises: RemoteTaskFailed: it was deleted. UsageError: the ServiceAccount may not read FlowRuns.
        """
        ended = self._runs.ended(run)
        if ended is None:
            message = "somebody deleted it; start the run again"
            name = run["metadata"]["name"]
            raise RemoteTaskFailed(task, self._parent.namespace, name, reason="Deleted", message=message)
        return ended

    def _fits(self, found: FlowRun, wanted: Mapping[str, Any]) -> bool:
        """Whether it runs the same function with the same arguments for the same parent."""
        ours, theirs = wanted["spec"]["task"], found["spec"].get("task") or {}
        return self._is_ours(found) and all(theirs.get(key) == ours[key] for key in ("function", "input"))

    def _is_outdated(self, found: FlowRun, wanted: Mapping[str, Any]) -> bool:
        is_alive = phase(found) not in FINISHED and not found["spec"].get("cancel")
        return self._is_ours(found) and is_alive and not self._fits(found, wanted)

    def _is_ours(self, found: FlowRun) -> bool:
        return bool(((found["spec"].get("task") or {}).get("parent") or {}).get("uid") == self._parent.uid)

    def _forbidden(self, error: PodApiError) -> str:
        return (
            f'Flow "{self._parent.flow}": its ServiceAccount may not do what remote tasks need ({error.message}); give it a '
            f"Role in namespace {self._parent.namespace} with the verbs create, get, watch and patch on flowruns.headrace.dev"
        )
