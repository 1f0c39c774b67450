"""Flows and runs on a real cluster, as a test starts and follows them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from tests.cluster.support.waiting import eventually

API = "/apis/headrace.dev/v1alpha1"
FINAL = {"Succeeded", "Failed", "Crashed", "Cancelled"}
WITHIN_S = 120.0
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


class Runs:
    """Flows and runs of one namespace."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.objects = f"{API}/namespaces/{namespace}"
        self.pods = f"/api/v1/namespaces/{namespace}/pods"

    async def wait_for_service_account(self) -> None:
        """No pod can be made in a namespace before it has one."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"
        await eventually(lambda: self._found(path), what=f"{path} exists")

    async def start_code(self, name: str, code: str, **spec: Any) -> str:
        """A run of a Python flow, whose file has a function `main`. Returns the run's name."""
        source = {"inline": {"files": {"flow.py": code}}}
        return await self.start(name, {"entrypoint": "flow.py:main", "source": source, **spec})

    async def start(self, name: str, spec: Mapping[str, Any]) -> str:
        """A Flow, and a run of it. Returns the run's name."""
        await self.client.create(f"{self.objects}/flows", _object("Flow", name, spec))
        return await self.start_again(name, f"{name}-run")

    async def start_again(self, flow: str, name: str) -> str:
        """A run of a Flow that is there. Returns the run's name."""
        await self.client.create(f"{self.objects}/flowruns", _object("FlowRun", name, {"flowRef": {"name": flow}}))
        return name

    async def change(self, name: str, spec: Mapping[str, Any]) -> None:
        """Changes a run's spec."""
        await self.client.patch(f"{self.objects}/flowruns/{name}", {"spec": dict(spec)})

    async def seen(self, name: str) -> dict[str, Any]:
        """The status of a run; empty at first."""
        run = await self.client.get(f"{self.objects}/flowruns/{name}")
        return dict(run.get("status") or {})

    async def ended(self, name: str, *, within_s: float = WITHIN_S) -> dict[str, Any]:
        """The status of a run as soon as it has its last phase."""
        return await self.reached(name, lambda status: status.get("phase") in FINAL, within_s=within_s)

    async def reached(
        self, name: str, fact: Callable[[dict[str, Any]], bool], *, within_s: float = WITHIN_S
    ) -> dict[str, Any]:
        """The status of a run as soon as `fact` is true of it."""
        last: dict[str, Any] = {}

        async def look() -> dict[str, Any] | None:
            last.clear()
            last.update(await self.seen(name))
            return dict(last) if fact(last) else None

        try:
            return await eventually(look, within_s=within_s)
        except AssertionError as error:
            msg = f"{name} after {within_s:.0f} s: {json.dumps(last, indent=1)}"
            raise AssertionError(msg) from error

    async def pod(self, name: str) -> dict[str, Any] | None:
        """A pod; None where there is none."""
        return await self._found(f"{self.pods}/{name}")

    async def running(self, name: str) -> dict[str, Any]:
        """A pod as soon as its container runs."""

        async def look() -> dict[str, Any] | None:
            pod = await self.pod(name)
            return pod if pod and _runs(pod) else None

        return await eventually(look, within_s=WITHIN_S, what=f"the container of pod {name} runs")

    async def log(self, pod: str) -> str:
        """What a pod has written."""
        return await self.client.text(f"{self.pods}/{pod}/log")

    async def printed(self, pod: str, text: str) -> None:
        """Waits until the log of a pod that runs has `text`."""
        try:
            await eventually(lambda: self._has(pod, text), within_s=WITHIN_S, what=f"{text!r} in the log of {pod}")
        except AssertionError as error:
            msg = f"{error}; the log: {await self.log(pod)}"
            raise AssertionError(msg) from error

    def following(self, pod: str) -> asyncio.Task[str]:
        """All that a pod writes until it ends, also if it is deleted then."""
        whole = self.client.text(f"{self.pods}/{pod}/log", {"follow": "true"})
        return asyncio.get_running_loop().create_task(whole)

    async def _has(self, pod: str, text: str) -> bool:
        return text in await self.log(pod)

    async def _found(self, path: str) -> dict[str, Any] | None:
        try:
            return await self.client.get(path)
        except NotFound:
            return None


async def follow(client: KubeClient, path: str) -> AsyncIterator[tuple[float, dict[str, Any]]]:
    """Each state of the objects at `path` from now on, with the time (monotonic, in seconds) at which it came."""
    async for line in client.lines(path, {"watch": "true"}):
        event = json.loads(line)
        if event["type"] in {"ADDED", "MODIFIED"}:
            yield time.monotonic(), event["object"]


def _runs(pod: Mapping[str, Any]) -> bool:
    states = [each["state"] for each in pod["status"].get("containerStatuses") or ()]
    return bool(states) and all("running" in each for each in states)


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "headrace.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
