"""
What the operator costs on a real API server, with a node that ends pods at once: `python -m bench operator`.

    idle     one run at a time: FlowRun created to pod created, beside a bare pod's creation in the same run; writes
    burst    many runs at once: runs per second, the operator's CPU and writes per run; a run whose pod waits for more
             than 5 s costs a write more, that tells so
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.figures import Figure, tell
from bench.plane import on_a_plane
from headrace.devcluster import plane
from headrace.devcluster.crds import install_definitions
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace_operator.wiring import LEADER_LEASE
from tests.cluster.support.puppet import Puppet
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import FINISHED, World, a_world

IDLE_RUNS = 200
BURST_RUNS = 400
LAUNCH_BUDGET_MS = 25.0
LAUNCH_P99_BUDGET_MS = 60.0
WRITES_BUDGET = 4.0
SETTLING_S = 2.0
"""The last finalizers are taken off after the last status."""
NAMESPACE = "bench"


class Births:
    """When each pod was first seen, by its name, on this process's monotonic clock."""

    def __init__(self, puppet: Puppet) -> None:
        self.at: dict[str, float] = {}
        passed_on = puppet.seen

        def seen(pod: dict[str, Any]) -> None:
            self.at.setdefault(pod["metadata"]["name"], time.perf_counter())
            passed_on(pod)

        puppet.seen = seen  # type: ignore[method-assign]


async def idle(world: World, births: Births, audit_log: Path) -> int:
    """The latency of a launch, and writes a run."""
    launch_ms, bare_ms = [], []
    written = _writes(audit_log)
    for number in range(IDLE_RUNS):
        bare_ms.append(await _bare_pod(world, births, f"bare-{number}"))
        began = time.perf_counter()
        await world.a_run(f"idle-{number}")
        await eventually(lambda number=number: f"idle-{number}-1" in births.at, within_s=10, what="a pod")
        launch_ms.append((births.at[f"idle-{number}-1"] - began) * 1e3)
        await world.finished(f"idle-{number}")
    p50, p99 = median(launch_ms), quantiles(launch_ms, n=100)[98]
    print(f"FlowRun created to pod seen: {p50:.1f} ms median, {p99:.1f} ms p99")
    print(
        f"bare pod created to pod seen: {median(bare_ms):.1f} ms median; the operator adds {p50 - median(bare_ms):.1f} ms"
    )
    await asyncio.sleep(SETTLING_S)
    per_run = (_writes(audit_log) - written).total() / IDLE_RUNS
    return tell(
        Figure("FlowRun created to pod seen, median", p50, "ms", LAUNCH_BUDGET_MS),
        Figure("FlowRun created to pod seen, p99", p99, "ms", LAUNCH_P99_BUDGET_MS),
        Figure("writes per run", per_run, "", WRITES_BUDGET),
    )


async def _bare_pod(world: World, births: Births, name: str) -> float:
    began = time.perf_counter()
    pod = {"metadata": {"name": name}, "spec": {"containers": [{"name": "flow", "image": "i"}]}}
    await world.client.create(f"/api/v1/namespaces/{world.namespace}/pods", pod)
    await eventually(lambda: name in births.at, within_s=10, what="a pod")
    return (births.at[name] - began) * 1e3


async def burst(world: World, operator_pid: int, audit_log: Path) -> None:
    """Throughput, CPU and writes."""
    before_s, written = cpu_s(operator_pid), _writes(audit_log)
    began = time.perf_counter()
    await asyncio.gather(*(world.a_run(f"burst-{number}") for number in range(BURST_RUNS)))

    async def over() -> bool:
        runs = await world.list("FlowRun")
        ended = [run for run in runs if run.get("status", {}).get("phase") in FINISHED]
        return len(ended) == IDLE_RUNS + BURST_RUNS

    await eventually(over, within_s=300, what="every run ends")
    took_s = time.perf_counter() - began
    await asyncio.sleep(SETTLING_S)
    counted = _writes(audit_log) - written
    cpu_ms = (cpu_s(operator_pid) - before_s) / BURST_RUNS * 1e3
    per_run = counted.total() / BURST_RUNS
    print(
        f"{BURST_RUNS} runs in {took_s:.1f} s: {BURST_RUNS / took_s:.1f} runs/s on {os.cpu_count()} cores that all parts share"
    )
    print(f"operator CPU per run: {cpu_ms:.2f} ms; writes per run: {per_run:.2f}")
    print("  " + ", ".join(f"{what} {count / BURST_RUNS:.2f}" for what, count in counted.most_common()))


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _writes(audit_log: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in audit_log.read_text().splitlines():
        entry = json.loads(line)
        is_ours = entry.get("userAgent", "").startswith("headrace-operator") and entry["stage"] == "ResponseComplete"
        if is_ours and entry["verb"] in {"create", "patch", "update", "delete"}:
            target = entry["objectRef"]
            if target.get("name", "").startswith(LEADER_LEASE):  # renewed by the clock, whatever runs
                continue
            found[" ".join(filter(None, (entry["verb"], target["resource"], target.get("subresource"))))] += 1
    return found


async def _measure(started: plane.Plane, folder: Path) -> int:
    async with KubeClient(load_connection(str(started.kubeconfig)), user_agent="headrace-bench") as client:
        await install_definitions(client)
        await client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        async with a_world(client, started.kubeconfig, NAMESPACE, folder, log_level="warning") as world:
            births = Births(world.puppet)
            await world.a_flow()
            await world.a_run("warm")
            await world.finished("warm")
            await client.delete(world.path("FlowRun", "warm"))
            assert started.audit_log is not None
            worst = await idle(world, births, started.audit_log)
            await burst(world, world.operator.pid, started.audit_log)
            return worst


def main() -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    return on_a_plane(_measure)


if __name__ == "__main__":
    sys.exit(main())
