"""
Many runs at once on a control plane of their own, from the first one's creation to the last one's success.

Every process shares the machine's cores, so each one's CPU is told. Requests are counted on a plane with an audit log, which
costs the API server more: times are taken on one without.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench import simulated_nodes
from bench.audited import requests, waits_s
from bench.contenders import Contender
from bench.operator import cpu_s
from headrace.devcluster import plane
from headrace.devcluster.binaries import provide_binaries
from headrace.devcluster.processes import Processes
from headrace.devcluster.progress import Silent
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection

NAMESPACE = "burst"
POLL_S = 0.25
SETTLING_S = 3.0
"""The last writes for a run come after its success."""
CREATED_AT_ONCE = 32
REST_SHARE, REST_WITHIN_S = 0.2, 30
"""Of a core: an API server that uses less has done with what it does after its start."""
CONTROLLER, BENCHMARK = "the controller", "this benchmark"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Burst:
    """
    What so many runs took.

    Attributes:
        runs: That succeeded, and seconds from the first creation to the last success, or to the end of patience.
        cpu_ms: A run, by process.
        waits_s: From each run's creation to its pod's, in whole seconds unless `requests` are counted; ascending.
        requests: A run, by verb and resource; empty without an audit log.
        peak_mib: The most memory that the controller had so far.
    """

    runs: int
    seconds: float
    cpu_ms: Mapping[str, float]
    waits_s: tuple[float, ...]
    requests: Mapping[str, float]
    peak_mib: float

    @property
    def runs_a_second(self) -> float:
        """That succeeded."""
        return self.runs / self.seconds

    @property
    def controller_ms(self) -> float:
        """CPU of the controller a run; 0 without one."""
        return self.cpu_ms.get(CONTROLLER, 0.0)

    @property
    def writes(self) -> float:
        """Requests of the controller a run that are writes."""
        return sum(count for what, count in self.requests.items() if what.split()[0] in WRITES)

    def wait_s(self, percent: int) -> float:
        """The percentile of the waits."""
        return median(self.waits_s) if percent == 50 else quantiles(self.waits_s, n=100)[percent - 1]


class ControllerEnded(Exception):
    """The process that is measured is gone."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the controller of {name} ended during a burst")


class Stage:
    """A plane with simulated nodes where one contender serves."""

    def __init__(self, running: plane.Plane, client: KubeClient, contender: Contender, pids: Mapping[str, int]) -> None:
        self._plane = running
        self._client = client
        self._contender = contender
        self._pids = pids
        self._bursts = 0

    async def burst(self, runs: int, *, limited: bool = False, within_s: float = 300) -> Burst:
        """What `runs` take that are created at once; those that did not succeed in time are not counted."""
        self._bursts += 1
        before = await self._contender.succeeded()
        used = self._cpu_s()
        logged = self._plane.audit_log.stat().st_size if self._plane.audit_log else 0
        began_s = time.perf_counter()
        await self._create(runs, limited=limited)
        seconds = await self._until_all_succeeded(began_s, within_s)
        await asyncio.sleep(SETTLING_S)
        done = await self._contender.succeeded() - before
        assert done, f"of {runs} runs of {self._contender.name} none succeeded within {within_s:.0f} s"
        cpu_ms = {name: (after - used[name]) * 1e3 / done for name, after in self._cpu_s().items()}
        return Burst(
            runs=done,
            seconds=seconds,
            cpu_ms=cpu_ms,
            waits_s=tuple(await self._waits_s(logged)),
            requests={what: count / done for what, count in self._requests(logged).items()},
            peak_mib=_peak_mib(self._pids[CONTROLLER]) if CONTROLLER in self._pids else 0.0,
        )

    async def _create(self, runs: int, *, limited: bool) -> None:
        gate = asyncio.Semaphore(CREATED_AT_ONCE)

        async def add(number: int) -> None:
            async with gate:
                await self._contender.create(f"run-{self._bursts}-{number}", limited=limited)

        await asyncio.gather(*(add(number) for number in range(runs)))

    async def _until_all_succeeded(self, began_s: float, within_s: float) -> float:
        while not await self._contender.all_succeeded() and time.perf_counter() - began_s < within_s:
            await asyncio.sleep(POLL_S)
            if CONTROLLER in self._pids and not _runs(self._pids[CONTROLLER]):
                raise ControllerEnded(self._contender.name)
        return time.perf_counter() - began_s

    def _cpu_s(self) -> dict[str, float]:
        return {name: cpu_s(pid) for name, pid in self._pids.items()}

    async def _waits_s(self, logged: int) -> list[float]:
        """Of the pods of this burst."""
        if self._plane.audit_log:
            return waits_s(self._plane.audit_log, logged, self._contender.run_of)
        prefix = f"run-{self._bursts}-"
        pods = await self._client.list(f"/api/v1/namespaces/{NAMESPACE}/pods")
        runs = {each["metadata"]["name"]: _born(each) for each in await self._client.list(self._contender.runs)}
        named = [(self._contender.run_of(pod), _born(pod)) for pod in pods]
        return sorted(born - runs[name] for name, born in named if name.startswith(prefix))

    def _requests(self, logged: int) -> Counter[str]:
        if self._plane.audit_log is None:
            return Counter()
        return requests(self._plane.audit_log, logged, self._contender.agent, self._contender.lease)


def _born(thing: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(thing["metadata"]["creationTimestamp"]).timestamp()


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


async def _rests(pid: int) -> None:
    for _ in range(REST_WITHIN_S):
        before = cpu_s(pid)
        await asyncio.sleep(1)
        if cpu_s(pid) - before < REST_SHARE:
            return


@asynccontextmanager
async def a_stage(enters: type[Contender], *, slots: int, audit: bool = False) -> AsyncIterator[Stage]:
    """A fresh plane where the contender has done a first run; all of it is gone after the block."""
    with TemporaryDirectory() as name:
        guard = plane.tie(Path(name))
        try:
            running = await _plane_for(enters, Path(name), audit=audit)
            async with _client(running) as client:
                await client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
                await simulated_nodes.start(running, client)
                contender = enters(running, client, NAMESPACE)
                try:
                    yield await _opened(running, client, contender, slots)
                finally:
                    contender.stop()
        finally:
            guard.communicate()


async def _plane_for(enters: type[Contender], folder: Path, *, audit: bool) -> plane.Plane:
    """A plane that was started when it knew the contender's kinds: for half a minute its controllers would ask for each owner of a pod."""
    binaries = provide_binaries(os.environ, Silent())
    async with _client(plane.start(folder, binaries, audit=audit)) as client:
        await enters.define(client)
    plane.stop(folder)
    return plane.start(folder, binaries, audit=audit)


def _client(running: plane.Plane) -> KubeClient:
    return KubeClient(load_connection(str(running.kubeconfig)), user_agent="headrace-bench")


async def _opened(running: plane.Plane, client: KubeClient, contender: Contender, slots: int) -> Stage:
    pid = await contender.start(slots)
    others = {name: each.pid for name, each in Processes(running.directory).alive().items() if each.pid != pid}
    await _rests(others["apiserver"])
    controller = {} if pid is None else {CONTROLLER: pid}
    return Stage(running, client, contender, {**controller, **others, BENCHMARK: os.getpid()})
