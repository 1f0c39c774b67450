"""FlowRuns of tasks, through the API: claimed once, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from headrace.api.keys import (
    API_VERSION,
    FLOW_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PARENT_LABEL,
    TRACEPARENT_ANNOTATION,
)
from headrace.errors import RemoteTaskFailed, UsageError
from headrace.podapi import PodApiError
from headrace.tracing.context import current_traceparent

FINISHED: Final = frozenset({"Succeeded", "Failed", "Crashed", "Cancelled", "Skipped"})
ATTEMPT_ANNOTATION: Final = "headrace.dev/parent-attempt"
"""On a task's FlowRun: the attempt of its parent that created it."""
WATCH_S: Final = 240
FIRST_PAUSE_S: Final = 0.5
LAST_PAUSE_S: Final = 15.0

T = TypeVar("T")

FlowRun = Mapping[str, Any]
"""A FlowRun as the API returns it."""


class Api(Protocol):
    """What is asked of the Kubernetes API. Raises: PodApiError."""

    def get(self, path: str) -> dict[str, Any]: ...

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]: ...

    def patch(self, path: str, body: Any) -> dict[str, Any]: ...

    def watch(self, path: str, params: Mapping[str, str], *, timeout_s: int) -> Iterator[dict[str, Any]]: ...


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
Tell = Callable[[str, str], None]
"""Takes an event and a sentence for the log."""


def manifest(parent: Parent, name: str, task: Mapping[str, Any]) -> dict[str, Any]:
    """The FlowRun of one task; it goes when its parent goes."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": "FlowRun",
        "name": parent.name,
        "uid": parent.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
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
            "annotations": {ATTEMPT_ANNOTATION: str(parent.attempt), **_trace()},
            "ownerReferences": [owner],
        },
        "spec": spec | {key: value for key, value in optional.items() if value},
    }


def _trace() -> dict[str, str]:
    """The annotation by which the spans of a new FlowRun hang below the current one."""
    traceparent = current_traceparent()
    return {TRACEPARENT_ANNOTATION: traceparent} if traceparent else {}


class FlowRuns:
    """
    The FlowRuns of one namespace.

    Args:
        sleep: Blocks for that many seconds.
    """

    def __init__(self, api: Api, parent: Parent, *, tell: Tell, sleep: Callable[[float], None] = time.sleep) -> None:
        self._api = api
        self._parent = parent
        self._tell = tell
        self._sleep = sleep

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
            found = self._patiently(partial(self._created_or_there, wanted))
            if found is None:  # it was there and is gone: the name is free
                continue
            if self._fits(found, wanted) and self._is_taken_up(found, has_result):
                return found
            if self._is_outdated(found, wanted):
                self._tell(
                    "task_run_outdated", f"FlowRun {name} has other arguments than this attempt; it is cancelled"
                )
                self._patiently(partial(self._cancelled, name))
            go += 1

    def ended(self, run: FlowRun, task: str) -> FlowRun:
        """
        The FlowRun in its last phase, which may take hours.

        Raises: RemoteTaskFailed: it was deleted. UsageError: the ServiceAccount may not read FlowRuns.
        """
        name, uid = run["metadata"]["name"], run["metadata"]["uid"]
        while True:
            current = self._patiently(partial(self._read, name))
            if current is None or current["metadata"]["uid"] != uid:
                message = "somebody deleted it; start the run again"
                raise RemoteTaskFailed(task, self._parent.namespace, name, reason="Deleted", message=message)
            if _phase(current) in FINISHED:
                return current
            last = self._patiently(partial(self._watched, current))
            if last is not None:
                return last

    def _created_or_there(self, body: Mapping[str, Any]) -> FlowRun | None:
        try:
            created = self._api.create(self._path(), body)
        except PodApiError as error:
            if error.status != 409:
                raise
            return self._read(body["metadata"]["name"])
        self._tell("task_run_created", f"FlowRun {created['metadata']['name']} was created; waiting for it")
        return created

    def _is_taken_up(self, found: FlowRun, has_result: Callable[[FlowRun], bool]) -> bool:
        metadata, phase = found["metadata"], _phase(found)
        if (metadata.get("annotations") or {}).get(ATTEMPT_ANNOTATION) == str(self._parent.attempt):
            return True  # our own, whose answer was lost, or just created
        if metadata.get("deletionTimestamp") or (phase not in FINISHED and found["spec"].get("cancel")):
            return False
        taken = has_result(found) if phase == "Succeeded" else phase not in FINISHED
        if taken:
            self._tell(
                "task_run_taken_up", f"FlowRun {metadata['name']} of an earlier attempt is {phase or 'new'}; taken up"
            )
        return taken

    def _fits(self, found: FlowRun, wanted: Mapping[str, Any]) -> bool:
        """Whether it runs the same function with the same arguments for the same parent."""
        ours, theirs = wanted["spec"]["task"], found["spec"].get("task") or {}
        return self._is_ours(found) and all(theirs.get(key) == ours[key] for key in ("function", "input"))

    def _is_outdated(self, found: FlowRun, wanted: Mapping[str, Any]) -> bool:
        is_alive = _phase(found) not in FINISHED and not found["spec"].get("cancel")
        return self._is_ours(found) and is_alive and not self._fits(found, wanted)

    def _is_ours(self, found: FlowRun) -> bool:
        return bool(((found["spec"].get("task") or {}).get("parent") or {}).get("uid") == self._parent.uid)

    def _cancelled(self, name: str) -> None:
        try:
            self._api.patch(self._path(name), {"spec": {"cancel": True}})
        except PodApiError as error:
            if error.status != 404:
                raise

    def _read(self, name: str) -> FlowRun | None:
        try:
            return self._api.get(self._path(name))
        except PodApiError as error:
            if error.status != 404:
                raise
            return None

    def _watched(self, run: FlowRun) -> FlowRun | None:
        """The run as soon as it has ended; None if the watch ended first, or the run was deleted."""
        metadata = run["metadata"]
        params = {"fieldSelector": f"metadata.name={metadata['name']}", "resourceVersion": metadata["resourceVersion"]}
        try:
            for event in self._api.watch(self._path(), params, timeout_s=WATCH_S):
                if event["type"] == "DELETED":
                    return None
                if event["type"] != "BOOKMARK" and _phase(event["object"]) in FINISHED:
                    return dict(event["object"])
        except PodApiError as error:
            if error.status != 410:
                raise
        return None

    def _patiently(self, ask: Callable[[], T]) -> T:
        """
        The answer, however long the API server does not give one: a control plane may be away for minutes.

        Raises: UsageError: not allowed. PodApiError: refused for good.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return ask()
            except PodApiError as error:
                if error.status == 403:
                    raise UsageError(self._forbidden(error)) from error
                if not error.passes:
                    raise
                self._tell("api_unreachable", f"{error}; the next try is in {pause_s:g} s")
            self._sleep(pause_s)
            pause_s = min(pause_s * 2, LAST_PAUSE_S)

    def _forbidden(self, error: PodApiError) -> str:
        return (
            f'Flow "{self._parent.flow}": its ServiceAccount may not do what remote tasks need ({error.message}); give it a '
            f"Role in namespace {self._parent.namespace} with the verbs create, get, watch and patch on flowruns.headrace.dev"
        )

    def _path(self, name: str = "") -> str:
        collection = f"/apis/{API_VERSION}/namespaces/{self._parent.namespace}/flowruns"
        return f"{collection}/{name}" if name else collection


def _phase(run: FlowRun) -> str:
    return str((run.get("status") or {}).get("phase") or "")
