"""
A node that does to pods what a test tells it, and reports status in the kubelet's words.

The real scheduler binds pods to it. Faster than processes, and it can die in ways that a real node cannot be asked for.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from headrace.kubeapi.client import STRATEGIC_MERGE_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists, ApiError, NotFound
from headrace.kubeapi.stream import Stream

Pod = dict[str, Any]

NODE = "puppet"
NODE_PATH = f"/api/v1/nodes/{NODE}"
HEARTBEAT_S = 10.0
"""The node controller gives a node up after 50 s."""
RETRY_S = 0.5


@dataclass(frozen=True)
class Ends:
    """The container runs for a while, then ends."""

    exit_code: int = 0
    message: str = ""
    reason: str = ""
    pod_reason: str = ""
    conditions: tuple[dict[str, Any], ...] = ()
    after_s: float = 0.0


@dataclass(frozen=True)
class Runs:
    """The container runs until the pod is deleted, or `end` is called; then it ends as `on_term` says, or never."""

    on_term: Ends | None = field(default_factory=lambda: Ends(143))


@dataclass(frozen=True)
class Stuck:
    """The container cannot start, for this reason, in the kubelet's words."""

    reason: str
    message: str


Script = Callable[[Pod], Ends | Runs | Stuck | None]
"""What happens to a pod; None leaves it alone, unbound."""


def report(state: str = "Succeeded", **fields: Any) -> str:
    """A termination message as the SDK writes it."""
    return json.dumps({"version": 1, "state": state, "reason": "Completed", "message": "", **fields})


class Puppet:
    """
    Plays the script for every pod of one namespace. `started` lists pod names in the order of their creation.

    All puppets share one Node, which takes no pods while none is at work.
    """

    at_work = 0

    def __init__(self, client: KubeClient, namespace: str, script: Script | None = None) -> None:
        self._client = client
        self._namespace = namespace
        self.script: Script = script or (lambda _pod: Ends(message=report()))
        self.started: list[str] = []
        self.live: dict[str, str] = {}
        self.most_live = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pods: dict[str, Pod] = {}
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """By uid: a wait is woken by its own pod only, as there are thousands of them."""
        self._ending: set[str] = set()
        self._stream: asyncio.Task[None] | None = None
        self._heart: asyncio.Task[None] | None = None
        self.problems: list[BaseException] = []

    async def __aenter__(self) -> Self:
        await self._register()
        self._heart = asyncio.create_task(self._beat())
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        self._stream = asyncio.create_task(Stream(self._client, path, {}, self).run())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._stream, self._heart, *self._tasks.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        Puppet.at_work -= 1
        if not Puppet.at_work:  # pods of other tests are for other nodes
            await self._client.patch(NODE_PATH, {"spec": {"unschedulable": True}})

    def end(self, name: str) -> None:
        """Have the container of a pod end by itself that was told to run."""
        self._ending.add(name)
        for uid in [uid for uid in self._pods if self._name(uid) == name]:
            self._news[uid].set()

    async def _register(self) -> None:
        Puppet.at_work += 1
        with suppress(AlreadyExists):
            await self._client.create("/api/v1/nodes", {"metadata": {"name": NODE}})
        await self._client.patch(NODE_PATH, {"spec": {"unschedulable": None, "taints": None}})
        await self._heartbeat()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            await self._heartbeat()

    async def _heartbeat(self) -> None:
        room = {"cpu": "64", "memory": "256Gi", "pods": "500", "ephemeral-storage": "1Ti"}
        ready = {"type": "Ready", "status": "True", "reason": "Puppet", "message": "", "lastHeartbeatTime": _now()}
        status = {"capacity": room, "allocatable": room, "conditions": [ready]}
        await self._client.patch(f"{NODE_PATH}/status", {"status": status}, content_type=STRATEGIC_MERGE_PATCH)

    # The sink of the stream
    def seen(self, pod: Pod) -> None:
        uid = pod["metadata"]["uid"]
        is_new = uid not in self._pods
        self._pods[uid] = pod
        if is_new:
            self.started.append(pod["metadata"]["name"])
        self._news[uid].set()
        if uid not in self._tasks and pod["status"].get("phase") not in {"Succeeded", "Failed"}:
            self._tasks[uid] = asyncio.create_task(self._play(uid))

    def gone(self, pod: Pod) -> None:
        self._pods.pop(pod["metadata"]["uid"], None)
        self.live.pop(pod["metadata"]["uid"], None)
        self._news[pod["metadata"]["uid"]].set()

    def synced(self, uids: set[str], version: int) -> None:
        return

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        self.problems.append(error)

    async def _play(self, uid: str) -> None:
        act = self.script(self._pods[uid])
        try:
            if act is None:
                await self._until_deleted(uid)
                return
            await self._until_bound(uid)
            if "nodeName" not in self._pods.get(uid, {}).get("spec", {}):
                return  # deleted before it had a node: no kubelet starts it
            await self._act(uid, act)
            await self._until_deleted(uid)
            await self._remove(uid)
        except NotFound:
            return
        finally:
            self.live.pop(uid, None)
            self._news.pop(uid, None)

    async def _act(self, uid: str, act: Ends | Runs | Stuck) -> None:
        if isinstance(act, Stuck):
            await self._report(uid, "Pending", {"waiting": {"reason": act.reason, "message": act.message}})
            await self._until_deleted(uid)
            await self._report(uid, "Failed", _terminated(Ends(137, reason="ContainerStatusUnknown"), None))
            return
        self.live[uid] = self._name(uid)
        self.most_live = max(self.most_live, len(self.live))
        began = _now()
        await self._report(uid, "Running", {"running": {"startedAt": began}})
        if isinstance(act, Runs):
            await self._until_told(uid)
            if act.on_term is None:
                await asyncio.Event().wait()
                return
            act = act.on_term
        elif act.after_s and await self._is_told_within(uid, act.after_s):
            act = Ends(143)
        self.live.pop(uid, None)
        phase = "Succeeded" if act.exit_code == 0 else "Failed"
        await self._report(uid, phase, _terminated(act, began), act)

    async def _report(self, uid: str, phase: str, state: dict[str, Any], act: Ends | None = None) -> None:
        status: dict[str, Any] = {
            "phase": phase,
            "startTime": _now(),
            "containerStatuses": [
                {
                    "name": "flow",
                    "image": self._image(uid),
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        if act is not None and act.pod_reason:
            status["reason"] = act.pod_reason
        if act is not None and act.conditions:
            status["conditions"] = list(act.conditions)
        await self._tell_api(uid, status)

    async def _tell_api(self, uid: str, status: dict[str, Any]) -> None:
        """As a kubelet does: again and again, until it is told or the pod is gone."""
        while True:
            try:
                path = f"{self._path(uid)}/status"
                await self._client.patch(path, {"status": status}, content_type=STRATEGIC_MERGE_PATCH)
            except NotFound:
                raise
            except ApiError as error:
                self.problems.append(error)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _until_deleted(self, uid: str) -> None:
        await self._until(uid, lambda: self._is_deleted(uid))

    def _is_deleted(self, uid: str) -> bool:
        return uid not in self._pods or "deletionTimestamp" in self._pods[uid]["metadata"]

    async def _until_bound(self, uid: str) -> None:
        await self._until(uid, lambda: self._is_deleted(uid) or "nodeName" in self._pods[uid]["spec"])

    async def _until_told(self, uid: str) -> None:
        await self._until(uid, lambda: self._is_deleted(uid) or self._name(uid) in self._ending)

    async def _is_told_within(self, uid: str, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._until_told(uid)
        except TimeoutError:
            return False
        return True

    async def _until(self, uid: str, holds: Callable[[], bool]) -> None:
        while not holds():
            self._news[uid].clear()
            await self._news[uid].wait()

    async def _remove(self, uid: str) -> None:
        """As a kubelet does when the last container has ended."""
        await self._client.delete(self._path(uid), uid=uid, grace_s=0)

    def _name(self, uid: str) -> str:
        return str(self._pods[uid]["metadata"]["name"])

    def _image(self, uid: str) -> str:
        return str(self._pods[uid]["spec"]["containers"][0]["image"])

    def _path(self, uid: str) -> str:
        if uid not in self._pods:
            raise NotFound(404, "NotFound", "the pod is gone")
        return f"/api/v1/namespaces/{self._namespace}/pods/{self._name(uid)}"


def _terminated(act: Ends, began: str | None) -> dict[str, Any]:
    terminated = {
        "exitCode": act.exit_code,
        "reason": act.reason or ("Completed" if act.exit_code == 0 else "Error"),
        "message": act.message,
        "finishedAt": _now(),
    }
    if began is not None:
        terminated["startedAt"] = began
    return {"terminated": terminated}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
