"""What the operator adds to a pod, measured beside a bare pod on the same node; printed, and judged by counts elsewhere."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.kubeapi.client import KubeClient
from tests.e2e.images.provided import RUNTIME
from tests.e2e.runs import Runs, follow

ROUNDS = 5
COMMAND = ["python3", "-S", "-c", "pass"]
NODE = {"headrace.dev/pool": "general"}
ENDED = {"Succeeded", "Failed"}
RESTRICTED = {
    "securityContext": {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
}
"""As runs have it, and the namespace asks for it."""


@dataclass(slots=True)
class Marks:
    """When something was first seen, in seconds of a monotonic clock, by object and fact."""

    seen: dict[tuple[str, str], float] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self, client: KubeClient, path: str, facts: Callable[[Mapping[str, Any]], list[str]]) -> None:
        """Notes facts of all objects at `path` until it is cancelled."""
        async for at_s, thing in follow(client, path):
            for fact in facts(thing):
                self.seen.setdefault((thing["metadata"]["name"], fact), at_s)
            self.news.set()

    async def wait(self, name: str, fact: str) -> float:
        """When it was seen."""
        while (name, fact) not in self.seen:
            self.news.clear()
            await self.news.wait()
        return self.seen[name, fact]


def of_pod(pod: Mapping[str, Any]) -> list[str]:
    """Created, started and ended; `running` too where the end came before anybody saw the start."""
    states = [each["state"] for each in pod["status"].get("containerStatuses") or ()]
    started = any("running" in each or "terminated" in each for each in states)
    return ["created", *(["running"] if started else []), *(["ended"] if pod["status"].get("phase") in ENDED else [])]


def of_run(run: Mapping[str, Any]) -> list[str]:
    """That it ended."""
    return ["ended"] if (run.get("status") or {}).get("phase") in ENDED else []


async def test_what_the_operator_adds_to_a_pod(client: KubeClient, runs: Runs, measured: list[str]) -> None:
    """Runs and bare pods of one command take turns on one node; every one succeeds."""
    marks = Marks()
    template = {"spec": {"nodeSelector": NODE}}
    spec = {"image": RUNTIME, "command": COMMAND, "podTemplate": template}
    rows: dict[str, list[tuple[float, ...]]] = {"FlowRun": [], "bare Pod": []}
    watching = [
        asyncio.ensure_future(marks.watch(client, runs.pods, of_pod)),
        asyncio.ensure_future(marks.watch(client, f"{runs.objects}/flowruns", of_run)),
    ]
    try:
        await runs.ended(await runs.start("timed", spec))
        for number in range(ROUNDS):
            began_s = time.monotonic()
            name = await runs.start_again("timed", f"timed-{number}")
            pod = f"{name}-1"
            parts = [await marks.wait(pod, fact) for fact in ("created", "running", "ended")]
            rows["FlowRun"].append(tuple(at_s - began_s for at_s in [*parts, await marks.wait(name, "ended")]))
            began_s = time.monotonic()
            await client.create(runs.pods, bare_pod(f"bare-{number}"))
            parts = [await marks.wait(f"bare-{number}", fact) for fact in ("created", "running", "ended")]
            rows["bare Pod"].append(tuple(at_s - began_s for at_s in [*parts, parts[-1]]))
    finally:
        for each in watching:
            each.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    phases = [(await runs.seen(f"timed-{number}"))["phase"] for number in range(ROUNDS)]
    assert phases == ["Succeeded"] * ROUNDS
    measured += table(rows)


def bare_pod(name: str) -> dict[str, Any]:
    """The same container without anybody's help."""
    container = {"name": "flow", "image": RUNTIME, "imagePullPolicy": "IfNotPresent", "command": COMMAND, **RESTRICTED}
    spec = {"restartPolicy": "Never", "nodeSelector": NODE, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def table(rows: Mapping[str, list[tuple[float, ...]]]) -> list[str]:
    """Medians in milliseconds, and what the operator adds: before the pod is there, and after it has ended."""
    lines = [f"{'median of ' + str(ROUNDS):14} pod created  container running  pod ended  FlowRun Succeeded"]
    for name, measured in rows.items():
        created, running, ended, done = (statistics.median(column) * 1000 for column in zip(*measured, strict=True))
        last = f"{done:14.0f} ms" if name == "FlowRun" else ""
        lines.append(f"{name:14} {created:8.0f} ms {running:15.0f} ms {ended:7.0f} ms {last}")
    added = [created + done - ended for created, _, ended, done in rows["FlowRun"]]
    bare = statistics.median(created for created, *_ in rows["bare Pod"]) * 1000
    lines.append(f"the operator adds {statistics.median(added) * 1000 - bare:.0f} ms")
    return lines
