"""A FlowRun's Decision, carried out: actions in order, the status once, then what had to wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from headrace.api.keys import API_VERSION
from headrace_operator.apply.events import record_event
from headrace_operator.apply.pods import create_pod, delete_pod, release_pod
from headrace_operator.decide.actions import Action, Decision, DeletePod, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.snapshot import ObjectKey, Snapshot, Unresolved
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import FLOW_RUNS
from headrace_operator.manifests.event import Subject
from headrace_operator.manifests.pod import pod_manifest
from headrace_operator.manifests.run_status import status_patch


class Answers(Protocol):
    """Takes in what the API answers to a write, so that the next decision knows of it."""

    def run_seen(self, obj: Mapping[str, Any]) -> None: ...

    def pod_seen(self, obj: Mapping[str, Any]) -> None: ...


class RunApplier:
    """Carries decisions out; the answers of the API are handed back."""

    def __init__(self, cluster: Cluster, answers: Answers, *, default_image: str) -> None:
        self._cluster = cluster
        self._answers = answers
        self._default_image = default_image

    async def perform(self, seen: Snapshot, decision: Decision, now: datetime) -> None:
        """
        Raises: PodRefusedError, PodNameTakenError: the launch was not taken; nothing else was done.
            Conflict: the run has changed since it was read. ApiError.
        """
        for action in decision.actions:
            await self._act(seen, action, now)
        if decision.status is not None:
            await self._write_status(seen, decision)
        for action in decision.afterwards:
            await self._act(seen, action, now)

    async def clear_orphans(self, key: ObjectKey, actions: tuple[Action, ...]) -> None:
        """Let go of pods whose run is over. Raises: ApiError."""
        for action in actions:
            await self._act_on_pod(key.namespace, action)

    async def _write_status(self, seen: Snapshot, decision: Decision) -> None:
        run = seen.run
        if decision.status is None:
            return
        patch = status_patch(run.status, decision.status, resource_version=run.version)
        if patch is None:
            return
        key = run.key
        stored = await self._cluster.patch(FLOW_RUNS, key.namespace, key.name, patch, subresource="status")
        self._answers.run_seen(stored)

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
                self._answers.pod_seen(released)

    async def _launch(self, seen: Snapshot, action: LaunchPod) -> None:
        if isinstance(seen.flow, Unresolved):
            return
        manifest = pod_manifest(seen, seen.flow, action.attempt, default_image=self._default_image)
        self._answers.pod_seen(await create_pod(self._cluster, manifest))
