"""
One container from its first start to its last end.

    Waiting ──> Running ──> Terminated ──┐ restart policy says no, or the pod ends: done
       ^                                 │
       └── back-off: 0, 10, 20 … 300 s ──┘
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from headrace.devcluster.node import probes
from headrace.devcluster.node.cgroups import Group
from headrace.devcluster.node.ending import Ending
from headrace.devcluster.node.environment import command_line, environment
from headrace.devcluster.node.launch import Mount, Orders
from headrace.devcluster.node.logs import LogWriter, last_words
from headrace.devcluster.node.machine import TERMINATION_LOG, Machine
from headrace.devcluster.node.options import quantity
from headrace.devcluster.node.process import CannotStart, Process
from headrace.devcluster.node.sources import MissingSource
from headrace.devcluster.node.states import Container, Terminated, Waiting
from headrace.devcluster.node.times import now
from headrace.devcluster.node.volumes import Volumes
from headrace.devcluster.processes import start_time

FIRST_BACKOFF_S, LAST_BACKOFF_S, FORGET_BACKOFF_S = 10, 300, 600
"""As the kubelet has them: after ten minutes of running, an end counts as the first again."""
CONFIG_RETRY_S = 2.0
PULL_RETRY_S = 1.0
START_FAILED = 128
NEVER = "1970-01-01T00:00:00Z"
"""What containerd reports as the start of a container that it could not start."""
MESSAGE_BYTES = 4096
UNREACHABLE_REGISTRY = ".invalid"
"""A top-level domain that exists nowhere (RFC 2606): images from there stand for images that cannot be pulled."""
RUNC = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
RUNC += "unable to start container process: error during container init: "

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What the containers of one pod share.

    Attributes: `pod` as it was when it came to this node (what changes of it later does not concern running
    containers); `changed` is called after each change of a record, before the next step; `warn` writes an event
    from a reason and a message.
    """

    pod: Mapping[str, Any]
    folder: Path
    volumes: Volumes
    machine: Machine
    ending: Ending
    changed: Callable[[], None]
    warn: Callable[[str, str], Awaitable[None]]

    @property
    def title(self) -> str:
        """The pod, as a kubelet names it in messages."""
        metadata = self.pod["metadata"]
        return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"

    def log_file(self, container: str, restarts: int) -> Path:
        """Where the log of one run is."""
        return self.folder / "logs" / container / f"{restarts}.log"


class ContainerLoop:
    """Runs one container as often as the restart policy says."""

    def __init__(self, spec: Mapping[str, Any], record: Container, around: Surroundings, restart_policy: str) -> None:
        self.record = record
        self.log: LogWriter | None = None
        self._spec = spec
        self._around = around
        self._policy = restart_policy
        self._backoff_s = 0
        self._process: Process | None = None
        self._restart = asyncio.Event()

    async def run(self) -> None:
        """Returns when the container has ended for good, or the pod ends before it could start."""
        while not self._around.ending.begun:
            ended = self.record.ended
            if ended and not (self._again(ended) and await self._back_off(ended)):
                return
            await self._once()

    def kill(self) -> None:
        """Ends the processes at once."""
        if self._process:
            self._process.kill()

    def _again(self, ended: Terminated) -> bool:
        return self._policy == "Always" or (self._policy == "OnFailure" and ended.exit_code != 0)

    async def _back_off(self, ended: Terminated) -> bool:
        """Waits for the next start; False if the pod ends before."""
        wait_s, before = self._backoff_s, self.record.last
        self.record.attempt = self.record.restarts + 1
        self._backoff_s = min(max(FIRST_BACKOFF_S, 2 * wait_s), LAST_BACKOFF_S)
        if wait_s:
            text = f"restarting failed container={self.record.name} pod={self._around.title}"
            self._wait("CrashLoopBackOff", f"back-off {_duration(wait_s)} {text}")
            await self._around.warn("BackOff", f"Back-off {text}")
            if not await self._around.ending.pause(wait_s):
                self.record.state, self.record.last = ended, before
                self._around.changed()
                return False
        return True

    async def _once(self) -> None:
        """One run, or one vain attempt to start it."""
        if pulled_from_nowhere(self.record.image):
            await self._fail_to_pull()
            return
        try:
            variables = await self._environment()
            orders, group = self._orders(variables)
        except MissingSource as error:
            await self._lack_configuration(str(error))
            return
        self.record.container_id = f"headrace://{uuid.uuid4().hex}"
        self.record.launching = True
        self._around.changed()  # before the process exists: a node that dies now must not start it again
        self.log = LogWriter(self._around.log_file(self.record.name, self.record.attempt))
        try:
            await self._run(orders, group)
        finally:
            self.log.close()
            self.record.launching = False
            if group:
                group.remove()

    async def _run(self, orders: Orders, group: Group | None) -> None:
        assert self.log
        try:
            process = await Process.start(orders, self.log.feed)
        except CannotStart as error:
            await self._around.warn("Failed", f"Error: {RUNC}{error}")
            self.record.begin(NEVER)
            self._end(START_FAILED, "StartError", NEVER, RUNC + str(error))
            return
        self._process, started_at = process, now()
        self._record_start(process, started_at)
        loop = asyncio.get_running_loop()
        began = loop.time()
        code = await self._accompany(process)
        if loop.time() - began > FORGET_BACKOFF_S:
            self._backoff_s = 0
        killed_for_memory = group is not None and group.oom_kills() > 0 and code == START_FAILED + 9
        reason = "OOMKilled" if killed_for_memory else ("Error" if code else "Completed")
        self._process = None
        self._end(code, reason, started_at, self._message(code))

    def _record_start(self, process: Process, started_at: str) -> None:
        record = self.record
        record.pid, record.pid_started = process.pid, start_time(process.pid)
        record.begin(started_at)
        record.started = "startupProbe" not in self._spec
        record.ready = record.started and "readinessProbe" not in self._spec
        self._around.changed()

    def _end(self, code: int, reason: str, started_at: str, message: str) -> None:
        record = self.record
        record.state = Terminated(code, reason, started_at, now(), message, record.container_id)
        record.ready = record.started = record.launching = False
        record.pid = 0
        self._around.changed()
        log.info(
            "container_ended", pod=self._around.pod["metadata"]["name"], container=record.name, code=code, reason=reason
        )

    async def _accompany(self, process: Process) -> int:
        """The exit code; meanwhile probes the container, and ends it when the pod ends or a probe asks for it."""
        self._restart.clear()
        ended = asyncio.ensure_future(process.wait())
        company = [asyncio.create_task(each) for each in self._company(process)]
        asks = [asyncio.create_task(self._around.ending.wait()), asyncio.create_task(self._restart.wait())]
        await asyncio.wait([ended, *asks], return_when=asyncio.FIRST_COMPLETED)
        for task in (*company, *asks):
            task.cancel()
        await asyncio.gather(*company, *asks, return_exceptions=True)
        if not ended.done():
            await self._take_leave(process, ended)
        return await ended

    def _company(self, process: Process) -> list[Any]:
        post_start = (self._spec.get("lifecycle") or {}).get("postStart")
        return [self._probe(process), *([self._post_start(post_start, process)] if post_start else ())]

    async def _take_leave(self, process: Process, ended: asyncio.Future[int]) -> None:
        """The pre-stop hook, SIGTERM, and SIGKILL when the grace period is over."""
        ending = self._around.ending
        grace_s = float(self._around.pod["spec"].get("terminationGracePeriodSeconds", 30))
        loop = asyncio.get_running_loop()
        own_end = loop.time() + grace_s

        def left_s() -> float:
            return ending.left_s() if ending.begun else max(0.0, own_end - loop.time())

        pre_stop = (self._spec.get("lifecycle") or {}).get("preStop")
        if pre_stop and left_s():
            await probes.check(pre_stop, self._spec, process, left_s())
        process.terminate()
        while not ended.done() and left_s():
            await asyncio.wait([ended], timeout=min(left_s(), 0.2))  # a shorter grace period may come
        process.kill()

    async def _probe(self, process: Process) -> None:
        spec, record = self._spec, self.record
        if "startupProbe" in spec:
            await probes.watch(spec["startupProbe"], spec, process, self._started_up)
            if not record.started:
                return
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in spec:
                group.create_task(probes.watch(spec["readinessProbe"], spec, process, self._turned_ready))
            if "livenessProbe" in spec:
                group.create_task(probes.watch(spec["livenessProbe"], spec, process, self._turned_alive))

    async def _started_up(self, result: probes.Result) -> bool:
        if not result.passed:
            return await self._unhealthy("Startup", result.why)
        self.record.started = True
        self.record.ready = "readinessProbe" not in self._spec
        self._around.changed()
        return True

    async def _turned_ready(self, result: probes.Result) -> bool:
        self.record.ready = result.passed
        self._around.changed()
        if not result.passed:
            await self._around.warn("Unhealthy", f"Readiness probe failed: {result.why}")
        return False

    async def _turned_alive(self, result: probes.Result) -> bool:
        return False if result.passed else await self._unhealthy("Liveness", result.why)

    async def _unhealthy(self, kind: str, why: str) -> bool:
        await self._around.warn("Unhealthy", f"{kind} probe failed: {why}")
        self._restart.set()
        return True

    async def _post_start(self, hook: Mapping[str, Any], process: Process) -> None:
        result = await probes.check(hook, self._spec, process, FORGET_BACKOFF_S)
        if not result.passed:
            await self._around.warn("FailedPostStartHook", f"PostStartHook failed: {result.why}")
            self._restart.set()

    async def _fail_to_pull(self) -> None:
        """Reports what a kubelet reports of an image whose registry does not answer."""
        image = self.record.image
        host = image.partition("/")[0].partition(":")[0]
        problem = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": failed to do '
        problem += f'request: Head "https://{host}/v2/": dial tcp: lookup {host}: no such host'
        self._backoff_s = min(max(FIRST_BACKOFF_S, 2 * self._backoff_s), LAST_BACKOFF_S)
        self._wait("ErrImagePull", problem)
        await self._around.warn("Failed", f'Failed to pull image "{image}": {problem}')
        if await self._around.ending.pause(PULL_RETRY_S):
            self._wait("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {problem}')
            await self._around.ending.pause(self._backoff_s)

    async def _lack_configuration(self, problem: str) -> None:
        first = not (isinstance(self.record.state, Waiting) and self.record.state.message == problem)
        self._wait("CreateContainerConfigError", problem)
        if first:
            await self._around.warn("Failed", f"Error: {problem}")
        await self._around.ending.pause(CONFIG_RETRY_S)

    def _wait(self, reason: str, message: str) -> None:
        self.record.wait(reason, message)
        self._around.changed()

    async def _environment(self) -> dict[str, str]:
        pod = self._around.pod
        hostname = pod["spec"].get("hostname") or pod["metadata"]["name"]
        return await environment(
            self._spec,
            pod,
            base={**self._around.machine.environment, "HOSTNAME": hostname},
            sources=self._around.volumes.sources,
            allocatable=self._around.volumes.allocatable,
        )

    def _orders(self, variables: Mapping[str, str]) -> tuple[Orders, Group | None]:
        spec, around = self._spec, self._around
        argv = command_line(spec, variables)
        if not argv:
            msg = "a local node does not use the image, so the container must say its command"
            raise MissingSource(msg)
        group = self._group()
        orders = around.machine.orders(
            argv,
            env=variables,
            cwd=spec.get("workingDir") or "/",
            mounts=[*self._mounts(), self._termination_log()],
            hostname=variables["HOSTNAME"],
            groups=[group.procs] if group else [],
        )
        return orders, group

    def _group(self) -> Group | None:
        limit = ((self._spec.get("resources") or {}).get("limits") or {}).get("memory")
        groups = self._around.machine.groups
        if not limit or not groups:
            return None
        uid = self._around.pod["metadata"]["uid"]
        return groups.create(f"{uid}-{self.record.name}-{self.record.attempt}", int(quantity(limit)))

    def _mounts(self) -> list[Mount]:
        return [self._mount(each) for each in self._spec.get("volumeMounts") or ()]

    def _mount(self, mount: Mapping[str, Any]) -> Mount:
        volumes, name = self._around.volumes, mount["name"]
        source = volumes.path(name)
        if mount.get("subPath"):
            source = (source / mount["subPath"]).resolve()
            if not source.exists() and volumes.from_api(name):
                msg = f'failed to prepare subPath for volumeMount "{name}" of container "{self.record.name}"'
                raise MissingSource(msg)
            if not source.exists():
                source.mkdir(parents=True)
        read_only = bool(mount.get("readOnly")) or volumes.from_api(name)
        return Mount(source=str(source), target=mount["mountPath"].rstrip("/"), read_only=read_only)

    def _termination_log(self) -> Mount:
        file = self._message_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        target = self._spec.get("terminationMessagePath") or TERMINATION_LOG
        return Mount(source=str(file), target=target, read_only=False)

    def _message_file(self) -> Path:
        return self._around.folder / "messages" / f"{self.record.name}-{self.record.attempt}"

    def _message(self, code: int) -> str:
        """The termination message, at most 4,096 bytes; the end of the log where the pod asks for it."""
        with self._message_file().open("rb") as file:
            written = file.read(MESSAGE_BYTES).decode(errors="replace")
        if not written and code and self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            assert self.log
            self.log.close()
            return last_words(self.log.path)
        return written


def pulled_from_nowhere(image: str) -> bool:
    """Whether the image stands for one that cannot be pulled: its registry's host ends in `.invalid`."""
    host, slash, _ = image.partition("/")
    return bool(slash) and host.partition(":")[0].endswith(UNREACHABLE_REGISTRY)


def _duration(seconds: int) -> str:
    """As Go prints it: 10s, 1m20s."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
