"""
`headrace list` of 1,000 runs on a real API server, from the start of its process to its end: `python -m bench cli`.

Each way of writing the list is timed several times; of the wall time the fastest counts, as others use the machine too. CPU is that of the
process, without the API server.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, tell
from bench.plane import on_a_plane
from headrace.api.keys import API_VERSION
from headrace.devcluster.crds import install_definitions
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection

RUNS = 1000
ROUNDS = 7
AT_ONCE = 16
BUDGET_S = 1.0
PATH = f"/apis/{API_VERSION}/namespaces/default/flowruns"
WAYS = ((), ("-o", "wide"), ("--phase", "failed"), ("-o", "json"))
STATUS = {
    "phase": "Succeeded",
    "reason": "Succeeded",
    "message": "the flow returned",
    "startedAt": "2026-03-01T07:00:02.000000Z",
    "finishedAt": "2026-03-01T07:03:11.000000Z",
    "flowRevision": "7c9a5e21f0",
    "attempts": [{"number": 1, "pod": "etl-1", "node": "node-1", "reason": "Succeeded"}],
    "tasks": {"total": 12, "succeeded": 12},
}


def main() -> int:
    """Prints the figures. Returns 1 if the budget is exceeded."""
    return on_a_plane(_measured, audit=False)


async def _measured(plane: Plane, _folder: Path) -> int:
    async with KubeClient(load_connection(str(plane.kubeconfig))) as client:
        await install_definitions(client)
        turns = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(_created(client, number, turns) for number in range(RUNS)))
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    fastest = [_timed(way, environment) for way in WAYS]
    return tell(Figure(f"headrace list of {RUNS:,} runs", fastest[0], "s", BUDGET_S))


async def _created(client: KubeClient, number: int, turns: asyncio.Semaphore) -> None:
    name = f"etl-{number:04}"
    spec = {"deploymentRef": {"name": "etl"}, "parameters": {"day": f"2026-03-01+{number}"}}
    body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "FlowRun", "metadata": {"name": name}, "spec": spec}
    phase = "Failed" if number % 20 == 0 else "Succeeded"
    async with turns:
        await client.create(PATH, body)
        await client.patch(f"{PATH}/{name}/status", {"status": {**STATUS, "phase": phase}})


def _timed(way: tuple[str, ...], environment: dict[str, str]) -> float:
    """Seconds of the fastest round; medians and CPU are printed."""
    walls, cpus = [], []
    for _ in range(ROUNDS):
        before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "headrace.cli", "list", *way],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        walls.append(time.perf_counter() - began_s)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    lines = len(done.stdout.splitlines())
    command = " ".join(("headrace list", *way))
    print(
        f"{command}: {min(walls):.2f} s fastest, {median(walls):.2f} s median; CPU {median(cpus):.2f} s; {lines:,} lines"
    )
    return min(walls)


if __name__ == "__main__":
    sys.exit(main())
