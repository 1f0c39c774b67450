"""
Nodes, and what of Kubernetes looks after pods on them: a scheduler, kubelets, and the controllers for nodes that do not answer.

    created ──> bound, runs ──> ends as its script says
                   │ deleted: ends with 143, is removed
                   │ its node is away: nothing is told; DELETED_AFTER_S later its deletion is asked for
                   │       the node is back: what ended meanwhile is told    the node is gone: failed, removed by force
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import thread_time
from typing import Any

from headrace.kubeapi.errors import NotFound
from tests.cluster.support.puppet import Ends, report
from tests.simulated.kinds import kinds
from tests.simulated.store import FINAL, Change, Key, Store

DELETED_AFTER_S = 5.0
"""A cluster's own default is 300 s."""
TERMINATES_IN_S = 0.05
KUBELET = "kubelet"
NODE_CONTROLLER = "node-controller"

Script = Callable[[Mapping[str, Any]], Ends]
"""How a pod ends; `after_s` is when."""


def all_well(_: Mapping[str, Any]) -> Ends:
    """Every pod succeeds at once."""
    return WELL


WELL = Ends(message=report())


@dataclass(frozen=True)
class _Played:
    """A pod that was taken on."""

    uid: str
    node: str
    began: str


class Nodes:
    """
    All nodes of one store; they take every pod.

    Args:
        begins_in_s: From a pod's creation to its start; called for each. None: a pod ends within the write that binds it,
            which is the least work that a node can make.

    Attributes:
        cpu_s: What this took.
    """

    def __init__(
        self,
        store: Store,
        script: Script = all_well,
        *,
        names: tuple[str, ...] = ("node-0",),
        begins_in_s: Callable[[], float] | None = None,
    ) -> None:
        self.cpu_s = 0.0
        self.names = names
        self._store = store
        self._script = script
        self.begins_in_s = begins_in_s
        self._pods, self._nodes = kinds()["v1", "pods"], kinds()["v1", "nodes"]
        self._played: dict[Key, _Played] = {}
        self._away: set[str] = set()
        self._untold: dict[str, list[tuple[Key, Ends]]] = {}
        self._turn = 0
        for name in names:
            self._add_node(name)
        store.observers.append(self._observe)

    def lose(self, name: str) -> None:
        """The node answers no more."""
        self._away.add(name)
        self._tell_node(name, "Unknown")
        asyncio.get_running_loop().call_later(DELETED_AFTER_S, self._evict, name)

    def bring_back(self, name: str) -> None:
        """The node answers again: what ended meanwhile is told, what was deleted ends."""
        if name not in self._away:
            return
        self._away.discard(name)
        self._tell_node(name, "True")
        for key, ending in self._untold.pop(name, []):
            self._end(key, ending)
        for key in self._on(name):
            self._end(key, Ends(143))

    def destroy(self, name: str) -> None:
        """The node is taken out of the cluster: its pods are failed and removed by force. One of its name comes anew."""
        self._away.discard(name)
        self._untold.pop(name, None)
        self._store.remove(self._nodes, ("", name), agent=NODE_CONTROLLER)
        for key in self._on(name, deleted=False):
            gone = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByPodGC",
                "message": "node is gone",
            }
            self._report(key, {"phase": "Failed", "conditions": [gone]})
            self._delete(key)
        self._add_node(name)

    def vanish(self, key: Key) -> None:
        """The pod is removed by force, its finalizer first."""
        self._store.remove(self._pods, key, agent="somebody")

    def live(self) -> list[Key]:
        """Pods that run."""
        return list(self._played)

    def _add_node(self, name: str) -> None:
        node = {"metadata": {"name": name, "labels": {}}, "spec": {}}
        self._store.create(self._nodes, "", node, agent=KUBELET)
        self._tell_node(name, "True")

    def _tell_node(self, name: str, ready: str) -> None:
        condition = {"type": "Ready", "status": ready, "reason": "Simulated", "message": ""}
        self._store.write(
            self._nodes, ("", name), lambda node: {**node, "status": {"conditions": [condition]}}, agent=NODE_CONTROLLER
        )

    def _observe(self, change: Change) -> None:
        if change.kind is not self._pods:
            return
        loop = asyncio.get_running_loop()
        if change.after is None:
            self._played.pop(change.key, None)
        elif change.before is None:
            if self.begins_in_s is None:
                loop.call_soon(self._clocked, self._play_at_once, change.key, change.after.uid)
            else:
                loop.call_later(self.begins_in_s(), self._play, change.key, change.after.uid)
        elif "deletionTimestamp" in change.after.obj["metadata"]:
            loop.call_later(TERMINATES_IN_S, self._terminate, change.key)

    def _clocked(self, act: Callable[[Key, str], None], key: Key, uid: str) -> None:
        began_s = thread_time()
        act(key, uid)
        self.cpu_s += thread_time() - began_s

    def _play_at_once(self, key: Key, uid: str) -> None:
        pod = self._to_begin(key, uid)
        if pod is None:
            return
        ending, now = self._script(pod), self._now()
        status = _ended(ending, now, now)
        spec = {**pod["spec"], "nodeName": self.names[0]}
        self._store.write(self._pods, key, lambda obj: {**obj, "spec": spec, "status": status}, agent=KUBELET)

    def _play(self, key: Key, uid: str) -> None:
        pod = self._to_begin(key, uid)
        ready = [name for name in self.names if name not in self._away]
        if pod is None or not ready:
            if pod is not None:
                asyncio.get_running_loop().call_later(1.0, self._play, key, uid)
            return
        self._turn += 1
        played = _Played(uid, ready[self._turn % len(ready)], self._now())
        self._played[key] = played
        bound = {**pod["spec"], "nodeName": played.node}
        running = {
            "phase": "Running",
            **_container({"running": {"startedAt": played.began}}),
            "startTime": played.began,
        }
        self._store.write(self._pods, key, lambda obj: {**obj, "spec": bound, "status": running}, agent=KUBELET)
        ending = self._script(pod)
        asyncio.get_running_loop().call_later(ending.after_s, self._end_of, key, uid, ending)

    def _to_begin(self, key: Key, uid: str) -> Mapping[str, Any] | None:
        """The pod, None if it is gone or deleted: no kubelet starts such a one."""
        stored = self._store.find(self._pods, key)
        if stored is None or stored.uid != uid or "deletionTimestamp" in stored.obj["metadata"]:
            return None
        return stored.obj

    def _end_of(self, key: Key, uid: str, ending: Ends) -> None:
        played = self._played.get(key)
        if played is not None and played.uid == uid:
            self._end(key, ending)

    def _end(self, key: Key, ending: Ends) -> None:
        played = self._played.get(key)
        if played is None:
            return
        if played.node in self._away:
            self._untold.setdefault(played.node, []).append((key, ending))
            return
        del self._played[key]
        self._report(key, _ended(ending, played.began, self._now()))
        if "deletionTimestamp" in self._store.get(self._pods, key).obj["metadata"]:
            self._delete(key)

    def _terminate(self, key: Key) -> None:
        """As a kubelet does with a pod that is deleted."""
        stored = self._store.find(self._pods, key)
        if stored is None or "deletionTimestamp" not in stored.obj["metadata"]:
            return
        played = self._played.get(key)
        if played is not None:
            if played.node not in self._away:
                self._end(key, Ends(143))
        elif stored.obj["metadata"].get("deletionGracePeriodSeconds"):
            self._delete(key)

    def _evict(self, name: str) -> None:
        """As the controller of nodes does with the pods of one that does not answer."""
        if name not in self._away:
            return
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "node is away",
        }
        for key in self._on(name, deleted=False):
            status = self._store.get(self._pods, key).obj["status"]
            self._report(key, {**status, "conditions": [target]})
            self._store.delete(self._pods, key, agent=NODE_CONTROLLER)

    def _on(self, name: str, *, deleted: bool = True) -> list[Key]:
        """Pods that run on a node; those that are to end, unless told otherwise."""
        found = [key for key, played in self._played.items() if played.node == name]
        if not deleted:
            return found
        return [key for key in found if "deletionTimestamp" in self._store.get(self._pods, key).obj["metadata"]]

    def _report(self, key: Key, status: dict[str, Any]) -> None:
        if status["phase"] in FINAL:
            self._played.pop(key, None)
        try:
            self._store.write(self._pods, key, lambda obj: {**obj, "status": status}, agent=KUBELET)
        except NotFound:
            return

    def _delete(self, key: Key) -> None:
        if self._store.find(self._pods, key) is not None:
            self._store.delete(self._pods, key, grace_s=0, agent=KUBELET)

    def _now(self) -> str:
        return f"{self._store.clock():%Y-%m-%dT%H:%M:%SZ}"


def _container(state: Mapping[str, Any]) -> dict[str, Any]:
    flow = {"name": "flow", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"containerStatuses": [flow]}


def _ended(ending: Ends, began: str, now: str) -> dict[str, Any]:
    terminated = {
        "exitCode": ending.exit_code,
        "reason": ending.reason or ("Completed" if ending.exit_code == 0 else "Error"),
        "message": ending.message,
        "startedAt": began,
        "finishedAt": now,
    }
    status = {
        "phase": "Failed" if ending.exit_code else "Succeeded",
        "startTime": began,
        **_container({"terminated": terminated}),
    }
    return {**status, **({"reason": ending.pod_reason} if ending.pod_reason else {})}
