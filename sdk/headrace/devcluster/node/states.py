"""
What became of a pod's containers: the record that a node keeps, on disk before each step it tells of.

    Waiting ──> Running ──> Terminated ──(restart policy)──> Waiting or Running, the old end kept as `last`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

KILLED = 137
"""128 and SIGKILL: what is reported of a container that nobody saw ending."""
LOST = "ContainerStatusUnknown"
LOST_MESSAGE = "The node was restarted while the container was running."


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not started, or not yet again."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The main process runs; `started_at` as Kubernetes writes times."""

    started_at: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """The main process ended; `exit_code` is 128 plus the signal where one ended it."""

    exit_code: int
    reason: str
    started_at: str
    finished_at: str
    message: str = ""
    container_id: str = ""


State = Waiting | Running | Terminated


@dataclass(slots=True)
class Container:
    """
    One container of a pod.

    Attributes: `sidecar` is an init container that restarts always; `pid` and `pid_started` find the main process
    again after a restart of the node, 0 where none was started; `launching` is True from the moment at which it
    may have been started, as run number `attempt` (0 is the first); `restarts` counts when it was.
    """

    name: str
    image: str
    init: bool = False
    sidecar: bool = False
    state: State = field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""
    launching: bool = False
    attempt: int = 0
    pid: int = 0
    pid_started: float = 0.0

    @property
    def ended(self) -> Terminated | None:
        """How it ended, if it did."""
        return self.state if isinstance(self.state, Terminated) else None

    @property
    def succeeded(self) -> bool:
        """It ended with 0."""
        return self.ended is not None and self.ended.exit_code == 0

    def wait(self, reason: str, message: str) -> None:
        """Records what the next start waits for."""
        self._keep_end()
        self.state = Waiting(reason, message)

    def begin(self, started_at: str) -> None:
        """Records that the run `attempt` began."""
        self._keep_end()
        self.restarts = self.attempt
        self.state = Running(started_at)

    def _keep_end(self) -> None:
        if isinstance(self.state, Terminated):
            self.last = self.state

    def lose(self, now: str) -> None:
        """Records the end of a container that was running when the node went away; others stay as they are."""
        if isinstance(self.state, Running) or self.launching:
            started_at = self.state.started_at if isinstance(self.state, Running) else now
            if not isinstance(self.state, Running):
                self.begin(started_at)
            self.state = Terminated(KILLED, LOST, started_at, now, LOST_MESSAGE, self.container_id)
        self.launching, self.pid, self.ready, self.started = False, 0, False, False


@dataclass(slots=True)
class PodRecord:
    """
    One pod on this node.

    Attributes: `phase`, `reason` and `message` are empty until the pod's end is decided by more than its containers
    (a deadline), or is final; `initialized` stays True once every init container was done.
    """

    uid: str
    containers: list[Container]
    started_at: str
    phase: str = ""
    reason: str = ""
    message: str = ""
    initialized: bool = False

    def kind(self, *, init: bool) -> list[Container]:
        """The init containers, or the others, in the order of the pod."""
        return [each for each in self.containers if each.init == init]


def save(record: PodRecord, path: Path) -> None:
    """Writes the record in one step: a reader sees the old or the new one."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(asdict(record), default=str))
    unfinished.rename(path)


def load(path: Path) -> PodRecord | None:
    """The record that was saved at `path`, or None."""
    try:
        kept = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return PodRecord(**{**kept, "containers": [_container(each) for each in kept["containers"]]})


def new_record(pod: Mapping[str, Any], now: str) -> PodRecord:
    """The record of a pod that this node sees for the first time, taking up what its status tells."""
    spec, status = pod["spec"], pod.get("status", {})
    inits = spec.get("initContainers") or []
    containers = [
        Container(each["name"], each["image"], init=True, sidecar=each.get("restartPolicy") == "Always")
        for each in inits
    ]
    containers += [Container(each["name"], each["image"]) for each in spec["containers"]]
    for each in containers:
        if inits:
            each.state = Waiting("PodInitializing")
    reported = {
        each["name"]: each for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    }
    for each in containers:
        _take_up(each, reported.get(each.name, {}))
    return PodRecord(
        uid=pod["metadata"]["uid"],
        containers=containers,
        started_at=status.get("startTime") or now,
        initialized=not inits,
    )


def terminated_from(reported: dict[str, Any]) -> Terminated:
    """A `terminated` state of a pod's status."""
    return Terminated(
        exit_code=reported.get("exitCode", 0),
        reason=reported.get("reason", ""),
        started_at=reported.get("startedAt") or "",
        finished_at=reported.get("finishedAt") or "",
        message=reported.get("message", ""),
        container_id=reported.get("containerID", ""),
    )


def _take_up(container: Container, reported: dict[str, Any]) -> None:
    state, last = reported.get("state", {}), reported.get("lastState", {})
    container.restarts = reported.get("restartCount", 0)
    container.container_id = reported.get("containerID", "")
    if "terminated" in last:
        container.last = terminated_from(last["terminated"])
    if "terminated" in state:
        container.state = terminated_from(state["terminated"])
    elif "running" in state:
        container.state = Running(state["running"].get("startedAt", ""))
    again = container.last is not None and isinstance(container.state, Waiting)
    container.attempt = container.restarts + (1 if again else 0)


def _container(kept: dict[str, Any]) -> Container:
    return Container(**{**kept, "state": _state(kept["state"]), "last": _state(kept["last"])})


def _state(kept: dict[str, Any] | None) -> Any:
    """The state whose fields these are: each kind has one that no other has."""
    if kept is None:
        return None
    if "exit_code" in kept:
        return Terminated(**kept)
    return Running(**kept) if "started_at" in kept else Waiting(**kept)
