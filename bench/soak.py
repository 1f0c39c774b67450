"""
Whether anything grows while runs come and go at a steady rate: `python -m bench soak [--minutes 60] [--rate 5]`.

Runs of a Deployment, with a slot of a limit and a place in a pool, end on a puppet node; one in twenty fails first and is tried
again. The Deployment keeps few of them, so that the API holds the same all the time, and so should the operator.

A figure is flat if the line that fits it best, over the last three quarters of the time, rises by no more than its allowance:
a share of its mean, or an absolute least. The first quarter is left out: lists and memories that are bounded fill up in it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, linear_regression
from typing import Any, Final

import aiohttp

from bench.figures import Figure, tell
from bench.operator import cpu_s
from bench.plane import on_a_plane
from headrace.api.keys import API_VERSION
from headrace.devcluster.crds import install_definitions
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import ApiError
from tests.cluster.support.background import meanwhile
from tests.cluster.support.puppet import NODE_PATH, Ends, Pod, report
from tests.cluster.support.world import World, a_world

NAMESPACE: Final = "soak"
POOL_LABEL: Final = "soak.test/pool"
ROWS: Final = 30
LEFT_OUT: Final = ROWS // 4
KEPT_RUNS: Final = 100
MIB: Final = 2**20
RETRY_S: Final = 1.0
UNFINISHED: Final = ",".join(f"status.phase!={phase}" for phase in ("Succeeded", "Failed", "Crashed", "Cancelled"))


@dataclass(frozen=True, slots=True)
class Sample:
    """What the operator held and had used at one instant."""

    at_s: float
    finished: float
    rss_mib: float
    descriptors: float
    watches: float
    requests: float
    cpu_s: float
    unfinished: float


@dataclass(frozen=True, slots=True)
class Measure:
    """
    One column: its values, and by how much it may rise over the time that counts.

    Attributes:
        share: Of its mean.
        least: Allowed in any case, in its own unit.
    """

    what: str
    unit: str
    values: Sequence[float]
    share: float
    least: float

    @property
    def counted(self) -> Sequence[float]:
        """Without the first quarter."""
        return self.values[LEFT_OUT:]

    @property
    def rise(self) -> float:
        """Of the fitted line, from its first to its last point."""
        slope, _ = linear_regression(range(len(self.counted)), self.counted)
        return slope * (len(self.counted) - 1)

    @property
    def allowed(self) -> float:
        """The highest rise that counts as flat."""
        return max(self.share * fmean(self.counted), self.least)


def columns(samples: Sequence[Sample]) -> list[Measure]:
    """A value for each interval between two samples; what is used up is per run that ended in it."""
    pairs = list(pairwise(samples))
    runs = [max(1.0, after.finished - before.finished) for before, after in pairs]
    per_run = list(zip(pairs, runs, strict=True))
    requests = [(after.requests - before.requests) / count for (before, after), count in per_run]
    cpu_ms = [(after.cpu_s - before.cpu_s) / count * 1e3 for (before, after), count in per_run]
    return [
        Measure("memory", "MiB", [after.rss_mib for _, after in pairs], 0.05, 3.0),
        Measure("file descriptors", "", [after.descriptors for _, after in pairs], 0.0, 3.0),
        Measure("open watches", "", [after.watches for _, after in pairs], 0.0, 2.0),
        Measure("requests per run", "", requests, 0.05, 0.0),
        Measure("operator CPU per run", "ms", cpu_ms, 0.25, 0.0),
        Measure("runs under way", "", [after.unfinished for _, after in pairs], 0.5, 5.0),
    ]


def act(pod: Pod) -> Ends:
    """A pod that runs for up to a second; one in twenty fails at its first attempt."""
    name = str(pod["metadata"]["name"])
    dice = random.Random(name)
    after_s = dice.uniform(0.1, 1.0)
    fails = name.endswith("-1") and dice.random() < 0.05
    return Ends(1, message=report("Failed"), after_s=after_s) if fails else Ends(message=report(), after_s=after_s)


async def prepare(world: World) -> None:
    """A pool, a limit, a Flow and a Deployment."""
    await world.client.patch(NODE_PATH, {"metadata": {"labels": {POOL_LABEL: "yes"}}})
    largest = {"cpu": "4", "memory": "8Gi"}
    pool = {"nodeSelector": {POOL_LABEL: "yes"}, "maxPodResources": largest, "capacity": {"runs": 60}}
    await _put(world.client, "WorkPool", "workpools", pool)
    await _put(world.client, "ConcurrencyLimit", "concurrencylimits", {"slots": 40})
    await world.a_flow(
        "etl",
        command=["true"],
        image="soak",
        limits=[{"name": NAMESPACE, "slots": 1}],
        retries={"limit": 2, "delaySeconds": 0, "jitter": 0},
        resources={"requests": {"cpu": "100m", "memory": "64Mi"}},
    )
    history = {"succeeded": KEPT_RUNS, "failed": KEPT_RUNS}
    await world.create("Deployment", "steady", flowRef={"name": "etl"}, concurrency={"limit": 50}, history=history)


async def _put(client: KubeClient, kind: str, collection: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": NAMESPACE}, "spec": spec}
    await client.create(f"/apis/{API_VERSION}/{collection}", body)


async def create_runs(world: World, rate: float) -> None:
    """One after the other at this rate a second, for ever; one that the API server refuses is left out."""
    began_s, number = time.monotonic(), 0
    while True:
        await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        number += 1
        try:
            await world.a_run(f"run-{number}", deploymentRef={"name": "steady"})
        except ApiError as error:
            print(f"run-{number} was not created: {error}", flush=True)
            await asyncio.sleep(RETRY_S)


class Meter:
    """
    Looks at an operator from outside.

    Args:
        port: Of its metrics.
    """

    def __init__(self, world: World, port: int) -> None:
        self._world = world
        self._url = f"http://127.0.0.1:{port}/metrics"

    async def read(self) -> Sample:
        """The present state."""
        pid = self._world.operator.pid
        told = await self._told()
        served = await self._world.client.text("/metrics")
        left = await self._world.client.list(self._world.path("FlowRun"), {"fieldSelector": UNFINISHED})
        return Sample(
            at_s=time.monotonic(),
            finished=total(told, "headrace_runs_finished_total"),
            rss_mib=rss_mib(pid),
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208 - names are enough
            watches=total(
                served, "apiserver_longrunning_requests", 'verb="WATCH"'
            ),  # everybody's; others' do not change
            requests=total(told, "headrace_api_requests_total"),
            cpu_s=cpu_s(pid),
            unfinished=len(left),
        )

    async def _told(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(self._url) as answer:
            return await answer.text()


def total(text: str, metric: str, label: str = "") -> float:
    """The sum of a metric over its labels, or over those with this one."""
    lines = re.findall(rf"^{metric}(\{{.*\}})? (\S+)$", text, flags=re.MULTILINE)
    return sum(float(value) for labels, value in lines if label in labels)


def rss_mib(pid: int, field: str = "VmRSS") -> float:
    """Memory of a process that is in use; `VmHWM` for the most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, flags=re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / MIB


async def soak(world: World, meter: Meter, *, minutes: float, rate: float) -> int:
    """Prints a line an interval and the verdict; 1 if a figure is not flat."""
    print(f"{'minute':>7} {'runs':>7} {'MiB':>7} {'files':>6} {'watches':>8} {'req/run':>8} {'ms/run':>7} {'open':>5}")
    began_s = time.monotonic()
    samples = [await meter.read()]
    async with meanwhile(create_runs(world, rate)):
        for number in range(1, ROWS + 1):
            await asyncio.sleep(max(0.0, began_s + number * minutes * 60 / ROWS - time.monotonic()))
            samples.append(await meter.read())
            line = [measure.values[-1] for measure in columns(samples)]
            minute = (samples[-1].at_s - began_s) / 60
            told = "{:7.1f} {:6.0f} {:8.0f} {:8.2f} {:7.2f} {:5.0f}".format(*line)
            print(f"{minute:7.1f} {samples[-1].finished:7.0f} {told}", flush=True)
    return verdict(samples)


def verdict(samples: Sequence[Sample]) -> int:
    """1 if a figure is not flat."""
    return tell(*(Figure(f"rise of {m.what}", m.rise, m.unit, m.allowed) for m in columns(samples)))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench soak")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--rate", type=float, default=5.0, help="runs a second (5)")
    return parser.parse_args(arguments)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the table. Returns 1 if a figure is not flat."""
    options = _options(arguments)

    async def measure(started: Plane, folder: Path) -> int:
        port = free_port()
        async with AsyncExitStack() as stack:
            connection = load_connection(str(started.kubeconfig))
            client = await stack.enter_async_context(KubeClient(connection, user_agent="headrace-bench"))
            await install_definitions(client)
            await client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            opened = a_world(
                client, started.kubeconfig, NAMESPACE, folder, script=act, log_level="warning", metrics_port=port
            )
            world = await stack.enter_async_context(opened)
            await prepare(world)
            await world.a_run("first", deploymentRef={"name": "steady"})
            await world.finished("first", within_s=60)
            return await soak(world, Meter(world, port), minutes=options.minutes, rate=options.rate)

    return on_a_plane(measure, audit=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
