"""
The controller of Argo Workflows on a control plane, as its own program runs it, with the settings that served it best.

A run is a workflow of one container. Nothing runs in its pod; the exit codes of its containers, which the simulated node
reports, are all that the controller needs of a template without outputs.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import yaml

from bench.contenders import first_run
from bench.gotools import ARGO
from headrace.devcluster.crds import COLLECTION as DEFINITIONS
from headrace.devcluster.plane import Plane
from headrace.devcluster.processes import Processes
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotServed, TooManyRequests
from tests.cluster.support.waiting import eventually

API = "/apis/argoproj.io/v1alpha1"
PROCESS = "workflow-controller"
SETTINGS = ("--qps=1000", "--burst=1000", "--workflow-workers=48", "--pod-cleanup-workers=16")
"""The defaults (20 requests a second, bursts of 30) hold it back to a fifth."""
UNFINISHED = "workflows.argoproj.io/completed!=true"
SEMAPHORE = {"configMapKeyRef": {"name": "semaphores", "key": "slots"}}


class Argo:
    """The controller, for one namespace; without its metrics, and with nothing but errors in its log."""

    name = f"Argo Workflows {ARGO.version}"
    agent = "workflow-controller"
    lease = ""

    def __init__(self, plane: Plane, client: KubeClient, namespace: str) -> None:
        self._plane = plane
        self._client = client
        self._namespace = namespace

    @staticmethod
    async def define(client: KubeClient) -> None:
        """Installs its definitions."""
        files = [path.read_text() for path in ARGO.kept.glob("argoproj.io_*.yaml")]
        await asyncio.gather(*(_define(client, yaml.safe_load(each)) for each in files))

    async def start(self, slots: int) -> int:
        """The process id, when the controller serves; `slots` are those of its semaphore."""
        await self._config_map("workflow-controller-configmap", metricsConfig="enabled: false\n")
        await self._config_map("semaphores", slots=str(slots))
        command: list[str | Path] = [
            ARGO.program,
            f"--kubeconfig={self._plane.kubeconfig}",
            f"--namespace={self._namespace}",
            "--namespaced",
            "--executor-image=argoexec",
            "--loglevel=error",
            *SETTINGS,
        ]
        environment = {**os.environ, "LEADER_ELECTION_DISABLE": "true"}
        started = Processes(self._plane.directory).start(PROCESS, command, environment)
        await first_run(self)
        return started.pid

    async def create(self, name: str, *, limited: bool) -> None:
        """A workflow, through the semaphore if `limited`."""
        spec: dict[str, Any] = {
            "entrypoint": "main",
            "templates": [{"name": "main", "container": {"image": "i", "command": ["true"]}}],
        }
        if limited:
            spec["synchronization"] = {"semaphores": [SEMAPHORE]}
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name},
            "spec": spec,
        }
        await self._client.create(self.runs, body)

    @property
    def runs(self) -> str:
        """The collection of workflows."""
        return f"{API}/namespaces/{self._namespace}/workflows"

    async def all_succeeded(self) -> bool:
        """Whether no workflow is left to do. Raises: AssertionError: one ended otherwise."""
        page = await self._client.get(self.runs, {"labelSelector": UNFINISHED, "limit": "1"})
        return not page["items"]

    async def succeeded(self) -> int:
        """How many did."""
        found = await self._client.list(self.runs)
        return sum(each.get("status", {}).get("phase") == "Succeeded" for each in found)

    def run_of(self, pod: dict[str, Any]) -> str:
        """The workflow of a pod."""
        return str(pod["metadata"]["labels"]["workflows.argoproj.io/workflow"])

    def stop(self) -> None:
        """The end of the plane, to which it is bound, is its end."""

    async def _config_map(self, name: str, **data: str) -> None:
        await self._client.create(
            f"/api/v1/namespaces/{self._namespace}/configmaps", {"metadata": {"name": name}, "data": data}
        )


async def _define(client: KubeClient, definition: dict[str, Any]) -> None:
    await client.create(DEFINITIONS, definition)

    async def served() -> bool | None:
        try:
            await client.get(f"{API}/{definition['spec']['names']['plural']}", {"limit": "1"})
        except (NotServed, TooManyRequests):  # not yet known, or not yet read
            return None
        return True

    _: bool = await eventually(served, what=f"{definition['metadata']['name']} is served")
