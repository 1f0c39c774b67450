"""One namespace with an operator and a puppet node, and short words for what tests do in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from tests.cluster.support.operator import OperatorProcess
from tests.cluster.support.puppet import Puppet, Script
from tests.cluster.support.waiting import eventually

LOG_TAIL = 6000
"""Characters of the operator's log that a failed test shows."""
FINISHED = {"Succeeded", "Failed", "Crashed", "Cancelled", "Skipped"}
PLURALS = {"Flow": "flows", "Deployment": "deployments", "FlowRun": "flowruns", "Backfill": "backfills"}


class World:
    """What a test does: apply, look, wait."""

    def __init__(self, client: KubeClient, namespace: str, operator: OperatorProcess, puppet: Puppet) -> None:
        self.client = client
        self.namespace = namespace
        self.operator = operator
        self.puppet = puppet

    def path(self, kind: str, name: str = "") -> str:
        """The URL path of one object of ours, or of its collection."""
        collection = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{PLURALS[kind]}"
        return f"{collection}/{name}" if name else collection

    async def create(self, kind: str, name: str, **spec: Any) -> dict[str, Any]:
        """A new object; `spec` as in a manifest."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        return await self.client.create(self.path(kind), body)

    async def a_flow(self, name: str = "etl", **spec: Any) -> dict[str, Any]:
        """A Flow with inline code, unless `spec` says otherwise."""
        source = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "def main(): ..."}}}}
        return await self.create("Flow", name, **(spec if "command" in spec else {**source, **spec}))

    async def a_run(self, name: str, flow: str = "etl", **spec: Any) -> dict[str, Any]:
        """A FlowRun of the flow, or of the deployment that `spec` names."""
        return await self.create(
            "FlowRun", name, **(spec if "deploymentRef" in spec else {"flowRef": {"name": flow}, **spec})
        )

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object as it is."""
        return await self.client.get(self.path(kind, name))

    async def list(self, kind: str) -> list[dict[str, Any]]:
        """All of the namespace, in the order of their creation."""
        items = await self.client.list(self.path(kind))
        return sorted(items, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    async def patch(self, kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Merged into the spec."""
        return await self.client.patch(self.path(kind, name), {"spec": spec})

    async def status(self, kind: str, name: str) -> dict[str, Any]:
        """Its status, empty where there is none."""
        return (await self.get(kind, name)).get("status") or {}

    async def finished(self, name: str, within_s: float = 40) -> dict[str, Any]:
        """The status of a run once it has ended."""

        async def look() -> dict[str, Any] | None:
            status = await self.status("FlowRun", name)
            return status if status.get("phase") in FINISHED else None

        return await eventually(look, within_s=within_s, what=f"run {name} ends")

    async def run_is(self, name: str, phase: str, reason: str | None = None, within_s: float = 40) -> dict[str, Any]:
        """The status of a run once it is in this phase, for this reason."""

        async def look() -> dict[str, Any] | None:
            status = await self.status("FlowRun", name)
            return status if status.get("phase") == phase and reason in {None, status.get("reason")} else None

        return await eventually(look, within_s=within_s, what=f"run {name} is {phase}/{reason}")

    async def pods(self) -> list[dict[str, Any]]:
        """All pods of the namespace."""
        return await self.client.list(f"/api/v1/namespaces/{self.namespace}/pods")

    async def pod(self, name: str, within_s: float = 30) -> dict[str, Any]:
        """One pod, as soon as it exists."""

        async def look() -> dict[str, Any] | None:
            try:
                return await self.client.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}")
            except NotFound:
                return None

        return await eventually(look, within_s=within_s, what=f"pod {name} exists")

    async def delete_pod(self, name: str) -> None:
        """As kubectl delete does."""
        await self.client.delete(f"/api/v1/namespaces/{self.namespace}/pods/{name}")

    async def events(self, about: str) -> list[tuple[str, str]]:
        """Reason and message of each Event about an object."""
        items = await self.client.list(f"/api/v1/namespaces/{self.namespace}/events")
        return [(e["reason"], e["message"]) for e in items if e["involvedObject"]["name"] == about]


def condition(status: Mapping[str, Any], type_: str) -> tuple[str, str]:
    """Status and reason of one condition."""
    return next((c["status"], c["reason"]) for c in status.get("conditions") or () if c["type"] == type_)


@asynccontextmanager
async def a_world(
    client: KubeClient,
    kubeconfig: Path,
    namespace: str,
    folder: Path,
    *,
    script: Script | None = None,
    start: bool = True,
    **settings: object,
) -> AsyncIterator[World]:
    """The namespace with its operator (started unless told otherwise) and its puppet node."""
    operator = OperatorProcess(kubeconfig, namespace, folder, **settings)
    async with Puppet(client, namespace, script) as puppet:
        world = World(client, namespace, operator, puppet)
        if start:
            operator.start()
        try:
            yield world
        finally:
            operator.kill()
            # pytest shows it beside a failure, and only there.
            print(operator.log.read_text()[-LOG_TAIL:] if operator.log.exists() else "the operator wrote no log")


@asynccontextmanager
async def with_real_pods(
    client: KubeClient, kubeconfig: Path, namespace: str, folder: Path, **settings: Any
) -> AsyncIterator[World]:
    """The namespace with its operator, for pods that run as processes on local nodes."""
    operator = OperatorProcess(kubeconfig, namespace, folder, **settings)
    operator.start()
    try:
        yield World(client, namespace, operator, Puppet(client, namespace))
    finally:
        operator.kill()
        print(operator.log.read_text()[-LOG_TAIL:])
