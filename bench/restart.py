"""
How soon an operator is at work in a full cluster: `python -m bench restart [--finished 100000] [--active 5000] [--news]`.

The API server is filled with finished FlowRuns and with active ones whose pods run, copies of one of each that an operator made.
Then an operator is started: the time until the first new run has its pod, and the most memory until all has been read. Then
another one stands by, and the first is told to end: the time until a new run has its pod.

Runs are written straight into etcd (bench/stored.py), pods by the API server.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from bench.figures import Figure, tell
from bench.operator import cpu_s
from bench.plane import on_a_plane
from bench.soak import rss_mib
from bench.stored import Stored
from headrace.api.keys import FLOW_RUN_LABEL
from headrace.devcluster.crds import install_definitions
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import ApiError, NotFound
from headrace_operator.wiring import UNFINISHED
from tests.cluster.support.operator import OperatorProcess
from tests.cluster.support.puppet import NODE, Ends, Pod, Runs, report
from tests.cluster.support.replicas import Replicas
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

NAMESPACE: Final = "restart"
LAUNCH_BUDGET_S: Final = 10.0
MEMORY_BUDGET_MIB: Final = 300.0
AT_ONCE: Final = 24
TOLD_EVERY: Final = 10_000
LEASE_S: Final = 15.0
DIGESTED_S: Final = 5.0
"""A list of the unfinished runs takes no longer then: two seconds, as a rule."""
SERVED_BY: Final = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")

Object = dict[str, Any]


def act(pod: Pod) -> Ends | Runs:
    """Pods of active runs run on; others end at once."""
    return Runs() if str(pod["metadata"]["name"]).startswith("active") else Ends(message=report())


def stored_copy(template: Object, name: str) -> Object:
    """The same object under another name, as an API server stores it."""
    made = copy.deepcopy(template)
    made["metadata"].update(name=name, uid=str(uuid4()))
    del made["metadata"]["resourceVersion"]
    return made


def copied(template: Object, name: str) -> Object:
    """The same object under another name, as one creates it."""
    made = copy.deepcopy(template)
    made["metadata"] = {key: value for key, value in made["metadata"].items() if key not in SERVED_BY}
    made["metadata"]["name"] = name
    return made


async def in_parallel(jobs: Iterable[Callable[[], Awaitable[None]]], what: str) -> None:
    """A few at once; one that the API server refuses for now is tried again."""
    began, left = time.monotonic(), iter(jobs)
    done = 0

    async def work() -> None:
        nonlocal done
        for job in left:
            await _until_done(job)
            done += 1
            if done % TOLD_EVERY == 0:
                print(f"  {done:,} {what} after {time.monotonic() - began:.0f} s", flush=True)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    print(f"{done:,} {what} in {time.monotonic() - began:.0f} s", flush=True)


async def _until_done(job: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await job()
        except ApiError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(error.retry_after_s or 0.2)


class Filling:
    """
    Copies of a finished and of an active run that an operator made.

    Args:
        is_news: The status of each active run has to be written anew, as after an hour without an operator.
    """

    def __init__(self, world: World, stored: Stored, *, is_news: bool) -> None:
        self._world = world
        self._stored = stored
        self._is_news = is_news
        self._done: Object = {}
        self._active: Object = {}
        self._pod: Object = {}

    async def take_templates(self) -> None:
        """Needs an operator that works."""
        await self._world.a_run("done")
        await self._world.a_run("active")
        await self._world.finished("done", within_s=60)
        await self._world.run_is("active", "Running", within_s=60)
        self._done = await self._world.get("FlowRun", "done")
        self._active = await self._world.get("FlowRun", "active")
        self._pod = await self._world.pod("active-1")

    async def finished(self, count: int) -> None:
        """So many finished runs, without pods: those are gone long since in a cluster of this age."""
        await self._written("finished runs", (stored_copy(self._done, f"done-{number}") for number in range(count)))

    async def active(self, count: int) -> None:
        """So many active runs, each with its pod."""
        runs = [self._active_copy(f"active-{number}") for number in range(count)]
        await self._written("active runs", runs)
        await in_parallel((self._pod_creator(run) for run in runs), "pods of active runs")

    async def _written(self, what: str, runs: Iterable[Object]) -> None:
        began, left, done = time.monotonic(), iter(runs), 0
        while written := await self._stored.write("flowruns", islice(left, TOLD_EVERY)):
            done += written
            print(f"  {done:,} {what} after {time.monotonic() - began:.0f} s", flush=True)

    def _active_copy(self, name: str) -> Object:
        """Nothing of it is news to an operator, unless `is_news`: then its message is of another pod, and its status is written anew."""
        run = stored_copy(self._active, name)
        status = run["status"]
        status["attempts"][0]["pod"] = f"{name}-1"
        if not self._is_news:
            told = [status, *status["conditions"]]
            for each in told:
                each["message"] = each["message"].replace("pod active-1 ", f"pod {name}-1 ")
        return run

    def _pod_creator(self, run: Object) -> Callable[[], Awaitable[None]]:
        client, namespace, name = self._world.client, self._world.namespace, run["metadata"]["name"]

        async def create() -> None:
            pod = copied(self._pod, f"{name}-1")
            pod["metadata"]["labels"][FLOW_RUN_LABEL] = name
            pod["metadata"]["ownerReferences"][0].update(name=name, uid=run["metadata"]["uid"])
            pod["spec"]["nodeName"] = NODE
            await client.create(f"/api/v1/namespaces/{namespace}/pods", pod)

        return create


async def knows_all(world: World) -> bool:
    """
    Whether the API server's cache has digested what etcd was given: a hundred thousand runs at once, where a cluster has them for days.

    For some seconds it answers late, or that it knows nothing of the present version (504).
    """
    began_s = time.monotonic()
    try:
        await world.client.list(world.path("FlowRun"), {"fieldSelector": UNFINISHED})
    except ApiError as error:
        if not error.retryable:
            raise
        return False
    return time.monotonic() - began_s < DIGESTED_S


async def time_to_pod(world: World, name: str, *, since_s: float) -> float:
    """Seconds until a new run has its pod."""
    await world.a_run(name)
    path = f"/api/v1/namespaces/{world.namespace}/pods/{name}-1"

    async def look() -> bool:
        try:
            await world.client.get(path)
        except NotFound:
            return False
        return True

    await eventually(look, within_s=300, what=f"run {name} has a pod")
    return time.monotonic() - since_s


async def restart(world: World, replicas: Replicas) -> list[Figure]:
    """An operator that starts."""
    first = replicas["first"]
    began_s = time.monotonic()
    first.start()
    launch_s = await time_to_pod(world, "new-1", since_s=began_s)
    at_launch_mib = rss_mib(first.pid)
    await eventually(lambda: has_told(first, "history_read"), within_s=600, what="finished runs are read")
    read_s, used_s = time.monotonic() - began_s, cpu_s(first.pid)
    peak_mib = rss_mib(first.pid, "VmHWM")
    tell_times(first)
    print(
        f"at the first launch: {at_launch_mib:.0f} MiB; finished runs read after {read_s:.1f} s and {used_s:.1f} s of CPU"
    )
    print(f"memory then: {rss_mib(first.pid):.0f} MiB, {peak_mib:.0f} MiB at the most")
    return [
        Figure("operator started to the first new pod", launch_s, "s", LAUNCH_BUDGET_S),
        Figure("memory at the most", peak_mib, "MiB", MEMORY_BUDGET_MIB),
    ]


async def take_over(world: World, replicas: Replicas) -> list[Figure]:
    """One that stands by when the other is told to end."""
    second = replicas["second"]
    second.start()
    await eventually(lambda: has_told(second, "standing_by"), within_s=60, what="the second stands by")
    began_s = time.monotonic()
    await asyncio.to_thread(replicas["first"].stop)
    launch_s = await time_to_pod(world, "new-2", since_s=began_s)
    await eventually(lambda: has_told(second, "history_read"), within_s=600, what="finished runs are read")
    return [
        Figure("leader told to end to the next new pod", launch_s, "s", LAUNCH_BUDGET_S),
        Figure("memory of the second at the most", rss_mib(second.pid, "VmHWM"), "MiB", MEMORY_BUDGET_MIB),
    ]


def tell_times(process: OperatorProcess) -> None:
    """When it came how far, by its own log."""
    entries = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
    times = {entry["event"]: datetime.fromisoformat(entry["time"]) for entry in reversed(entries) if "time" in entry}
    began = times.get("operator_started")
    for event in ("leadership_acquired", "caches_synced", "pod_created", "run_decided", "history_read"):
        if began is not None and event in times:
            print(f"  {event}: {(times[event] - began).total_seconds():.1f} s after operator_started")
    print(f"  events: {dict(Counter(entry['event'] for entry in entries).most_common(8))}")
    for entry in entries:
        if entry.get("level") in {"warning", "error"}:
            print(f"  {entry}")


def has_told(process: OperatorProcess, event: str) -> bool:
    """Whether its log has an event of this name."""
    return f'"{event}"' in process.log.read_text()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench restart")
    parser.add_argument("--finished", type=int, default=100_000, help="finished runs (100000)")
    parser.add_argument("--active", type=int, default=5_000, help="active runs with a pod each (5000)")
    parser.add_argument("--news", action="store_true", help="the status of each active run has to be written anew")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    options = _options(arguments)

    async def measure(started: Plane, folder: Path) -> int:
        async with AsyncExitStack() as stack:
            connection = load_connection(str(started.kubeconfig))
            client = await stack.enter_async_context(KubeClient(connection, user_agent="headrace-bench"))
            await install_definitions(client)
            await client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            world = await stack.enter_async_context(
                a_world(client, started.kubeconfig, NAMESPACE, folder, script=act, log_level="info")
            )
            await world.a_flow(command=["true"], image="restart")
            stored = await stack.enter_async_context(Stored(folder))
            filling = Filling(world, stored, is_news=options.news)
            await filling.take_templates()
            world.operator.kill()
            await filling.finished(options.finished)
            await filling.active(options.active)
            await eventually(lambda: len(world.puppet.live) > options.active, within_s=600, what="every pod runs")
            await eventually(lambda: knows_all(world), within_s=600, what="the API server has read what etcd was given")
            names = ("first", "second")
            replicas = Replicas(
                started.kubeconfig,
                folder,
                served=NAMESPACE,
                home=NAMESPACE,
                identities=names,
                lease_s=LEASE_S,
                log_level="info",
            )
            stack.callback(replicas.kill)
            await client.delete(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{replicas.lease}")
            return tell(*await restart(world, replicas), *await take_over(world, replicas))

    return on_a_plane(measure, audit=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
