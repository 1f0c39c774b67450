"""
One pod on this node, from the moment it is bound until its object is gone.

    volumes ──> init containers ──> containers ──> final status written ──> object deleted ──> folder removed
       deletion, deadline or a phase that another set: everything that runs takes leave, then the same way on
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import structlog

from headrace.devcluster.node import events
from headrace.devcluster.node.container import ContainerLoop, Surroundings
from headrace.devcluster.node.ending import Ending
from headrace.devcluster.node.machine import Machine
from headrace.devcluster.node.reporter import Reporter
from headrace.devcluster.node.sources import MissingSource, Sources
from headrace.devcluster.node.states import Container, PodRecord, Running, load, new_record, save
from headrace.devcluster.node.status import FINAL, finish, pod_status
from headrace.devcluster.node.times import now, parse
from headrace.devcluster.node.volumes import Volumes
from headrace.kubeapi.client import KubeClient

FIRST_MOUNT_RETRY_S, LAST_MOUNT_RETRY_S = 0.1, 5.0
REFRESH_S = 60.0
"""How often volumes are brought up to date, tokens included; a kubelet takes about as long."""
SAME_START_S = 2.0
"""Start times count from the boot, whose time of day moves a little when the clock is set."""
GONE_GRACE_S = 1.0
"""For containers of a pod whose object was removed by force."""
DEADLINE = "Pod was active on the node longer than the specified deadline"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Host:
    """What the pods of one node share. `allocatable` is the node's; `directory` holds a folder a pod."""

    client: KubeClient
    node: str
    machine: Machine
    directory: Path
    allocatable: Mapping[str, str]


class PodWorker:
    """
    Runs one pod. `run` once; `saw` and `gone` tell it what the API server shows.

    Attributes: `folder` holds its volumes, logs and record; `record` is what it reports; `loops` by container name.
    """

    def __init__(self, host: Host, pod: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        self.folder = host.directory / metadata["uid"]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = _recovered(self.folder, pod)
        self.loops: dict[str, ContainerLoop] = {}
        self._policy: str = pod["spec"].get("restartPolicy", "Always")
        self._ending = Ending()
        self._deleted = asyncio.Event()
        self._late = False
        self._reporter = Reporter(host.client, pod, self._status)
        self._around = Surroundings(
            pod=pod,
            folder=self.folder,
            volumes=_volumes(host, pod, self.folder),
            machine=host.machine,
            ending=self._ending,
            changed=self._changed,
            warn=lambda reason, message: events.warn(host.client, pod, host.node, reason=reason, message=message),
        )

    @property
    def pod(self) -> Mapping[str, Any]:
        """The pod as the API server last showed it."""
        return self._reporter.pod

    def saw(self, pod: Mapping[str, Any]) -> None:
        """The API server shows the pod, perhaps changed."""
        self._reporter.saw(pod)
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()
            self._ending.begin(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        elif pod.get("status", {}).get("phase") in FINAL and not self.record.phase:
            self._ending.begin(self._grace_s())

    def gone(self) -> None:
        """The object is gone."""
        self._reporter.gone.set()
        self._deleted.set()
        self._ending.begin(GONE_GRACE_S)

    def kill(self) -> None:
        """Ends every process at once, as if the machine lost power."""
        for loop in self.loops.values():
            loop.kill()

    async def run(self) -> None:
        """Returns when nothing of the pod is left here, its folder included."""
        self.saw(self.pod)
        if self.record.phase not in FINAL:
            company = [asyncio.create_task(each) for each in (self._reporter.run(), self._time_out(), self._refresh())]
            try:
                await self._live()
            finally:
                for task in company:
                    task.cancel()
                await asyncio.gather(*company, return_exceptions=True)
            self._finish()
            await self._reporter.flush()
        await self._leave()

    async def _live(self) -> None:
        """Everything the pod does; returns when its containers have ended for good."""
        self._changed()
        if not await self._mounted():
            return
        sidecars: list[asyncio.Task[None]] = []
        try:
            if await self._initialized(sidecars):
                await asyncio.gather(*(loop.run() for loop in self._loops(init=False)))
        finally:
            self._ending.begin(self._grace_s())  # sidecars end when the others have
            await asyncio.gather(*sidecars)

    async def _mounted(self) -> bool:
        """Whether the volumes are there; tries until they are, or the pod ends."""
        delay_s, last = FIRST_MOUNT_RETRY_S, ""
        while not self._ending.begun:
            try:
                await self._around.volumes.prepare()
            except MissingSource as error:
                if str(error) != last:
                    await self._around.warn("FailedMount", str(error))
                last = str(error)
            else:
                return True
            await self._ending.pause(delay_s)
            delay_s = min(2 * delay_s, LAST_MOUNT_RETRY_S)
        return False

    async def _initialized(self, sidecars: list[asyncio.Task[None]]) -> bool:
        """Whether every init container did its part, one after the other; sidecars go on in tasks of their own."""
        for loop in self._loops(init=True):
            if loop.record.sidecar:
                sidecars.append(asyncio.create_task(loop.run()))
                await self._until_started(loop.record)
            else:
                await loop.run()
            if self._ending.begun or not (loop.record.sidecar or loop.record.succeeded):
                return False
        self.record.initialized = True
        self._changed()
        return True

    async def _until_started(self, record: Container) -> None:
        while not (record.started and isinstance(record.state, Running)) and await self._ending.pause(0.05):
            pass

    def _loops(self, *, init: bool) -> Sequence[ContainerLoop]:
        specs = self._around.pod["spec"].get("initContainers" if init else "containers") or ()
        records = {each.name: each for each in self.record.kind(init=init)}
        made = [ContainerLoop(spec, records[spec["name"]], self._around, self._policy_of(spec, init)) for spec in specs]
        self.loops |= {loop.record.name: loop for loop in made}
        return made

    def _policy_of(self, spec: Mapping[str, Any], init: bool) -> str:  # noqa: FBT001 - passed on
        """The restart policy of one container: an init container is not run again once it succeeded."""
        if not init:
            return self._policy
        if spec.get("restartPolicy") == "Always":
            return "Always"
        return "Never" if self._policy == "Never" else "OnFailure"

    async def _time_out(self) -> None:
        """Ends the pod when `activeDeadlineSeconds` are over, as it says at any time."""
        while True:
            limit = self.pod["spec"].get("activeDeadlineSeconds")
            if limit is not None:
                left_s = limit - (parse(now()) - parse(self.record.started_at)).total_seconds()
                if left_s <= 0:
                    self._late = True
                    self._ending.begin(self._grace_s())
                    return
            if not await self._ending.pause(1.0 if limit is None else min(left_s, 1.0)):
                return

    async def _refresh(self) -> None:
        """Brings volumes up to date; what cannot be read just now stays as it is."""
        while self._around.volumes.any_from_api and await self._ending.pause(REFRESH_S):
            with contextlib.suppress(MissingSource):
                await self._around.volumes.prepare()

    def _finish(self) -> None:
        if self._late:
            self.record.phase, self.record.reason, self.record.message = "Failed", "DeadlineExceeded", DEADLINE
        finish(self.record, self._policy, now())
        log.info("pod_ended", pod=self._around.title, phase=self.record.phase)
        self._changed()

    async def _leave(self) -> None:
        """Waits until the pod is to go, lets the API server remove it, and removes its folder."""
        await self._deleted.wait()
        await self._reporter.delete()
        await self._reporter.gone.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _grace_s(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _changed(self) -> None:
        save(self.record, self.folder / "record.json")
        self._reporter.change()

    def _status(self, pod: Mapping[str, Any]) -> dict[str, Any]:
        return pod_status(pod, self.record, now())


def _recovered(folder: Path, pod: Mapping[str, Any]) -> PodRecord:
    """
    The record of a pod that may have been here before this process began.

    What ran then has ended: its processes are ended if they survived, and reported as lost.
    """
    record = load(folder / "record.json") or new_record(pod, now())
    phase = pod.get("status", {}).get("phase")
    for each in record.containers:
        _end_survivor(each.pid, each.pid_started)
        each.lose(now())
    if phase in FINAL and not record.phase:
        record.phase = phase
    return record


def _volumes(host: Host, pod: Mapping[str, Any], folder: Path) -> Volumes:
    sources = Sources(host.client, pod["metadata"]["namespace"])
    return Volumes(pod=pod, folder=folder / "volumes", sources=sources, allocatable=host.allocatable)


def _end_survivor(pid: int, started: float) -> None:
    """Ends a process that outlived the node which started it; nothing if its id belongs to another one now."""
    if not pid:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < SAME_START_S:
            for each in (*process.children(recursive=True), process):
                each.kill()
