"""Creates pods on one node and waits for what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from tests.cluster.support.waiting import eventually

Pod = dict[str, Any]


class Pods:
    """The pods of one namespace that are bound to one node."""

    def __init__(self, client: KubeClient, namespace: str, node: str) -> None:
        self.client, self.namespace, self.node = client, namespace, node

    def path(self, plural: str, name: str = "") -> str:
        """The URL path of a core object, or of its collection."""
        return f"/api/v1/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    async def run(
        self, name: str, *command: str, container: Pod | None = None, metadata: Pod | None = None, **spec: Any
    ) -> Pod:
        """A new pod with one container, `main`, that runs the command; it is never restarted unless `spec` says so."""
        main = {"name": "main", "image": "none", "command": list(command), **(container or {})}
        body = {
            "metadata": {"name": name, **(metadata or {})},
            "spec": {"nodeName": self.node, "restartPolicy": "Never", "containers": [main], **spec},
        }
        return await self.client.create(self.path("pods"), body)

    async def shell(self, name: str, script: str, **options: Any) -> Pod:
        """A new pod that runs a script."""
        return await self.run(name, "sh", "-c", script, **options)

    async def get(self, name: str) -> Pod:
        """The pod as it is."""
        return await self.client.get(self.path("pods", name))

    async def until(self, name: str, true_of: Callable[[Pod], object], *, within_s: float = 20) -> Pod:
        """The pod as soon as something is true of it."""
        last: list[Pod] = []

        async def reached() -> Pod | None:
            last[:] = [await self.get(name)]
            return last[0] if true_of(last[0]) else None

        try:
            return await eventually(reached, within_s=within_s)
        except AssertionError:
            raise AssertionError(f"{name} did not get there; it is {last[0]['status']}") from None

    async def running(self, name: str) -> Pod:
        """The pod when it runs."""
        return await self.until(name, lambda pod: pod["status"]["phase"] == "Running")

    async def ended(self, name: str, *, within_s: float = 20) -> Pod:
        """The pod when it has ended."""
        return await self.until(name, lambda pod: pod["status"]["phase"] in {"Succeeded", "Failed"}, within_s=within_s)

    async def waits(self, name: str, reason: str) -> Pod:
        """The pod when its container waits for this reason."""
        return await self.until(name, lambda pod: waiting(pod).get("reason") == reason)

    async def gone(self, name: str, *, within_s: float = 20) -> None:
        """Returns when there is no such pod."""

        async def missing() -> bool:
            try:
                await self.get(name)
            except NotFound:
                return True
            return False

        await eventually(missing, within_s=within_s, what=f"{name} is gone")

    async def logs(self, name: str, **params: str) -> str:
        """What the container wrote."""
        return await self.client.text(self.path("pods", name) + "/log", params)

    async def says(self, name: str) -> str:
        """What the container wrote, once it ended well."""
        pod = await self.ended(name)
        written = await self.logs(name)
        assert pod["status"]["phase"] == "Succeeded", (pod["status"], written)
        return written

    async def events(self, name: str) -> dict[str, str]:
        """Messages of the pod's events by reason, newest last."""
        found = await self.client.list(self.path("events"), {"fieldSelector": f"involvedObject.name={name}"})
        return {each["reason"]: each["message"] for each in found}

    async def config_map(self, name: str, **data: str) -> None:
        """A new ConfigMap."""
        await self.client.create(self.path("configmaps"), {"metadata": {"name": name}, "data": data})

    async def secret(self, name: str, **data: str) -> None:
        """A new Secret."""
        await self.client.create(self.path("secrets"), {"metadata": {"name": name}, "stringData": data})


def state(pod: Pod, index: int = 0) -> Pod:
    """The state of a container."""
    found: Sequence[Pod] = pod["status"].get("containerStatuses") or [{}]
    return found[index].get("state", {})


def terminated(pod: Pod, index: int = 0) -> Pod:
    """How a container ended; empty while it has not."""
    return state(pod, index).get("terminated", {})


def waiting(pod: Pod, index: int = 0) -> Pod:
    """What a container waits for; empty when it does not."""
    return state(pod, index).get("waiting", {})


def restarts(pod: Pod, index: int = 0) -> int:
    """How often a container was started anew."""
    found: Sequence[Pod] = pod["status"].get("containerStatuses") or [{}]
    return found[index].get("restartCount", 0)


def conditions(pod: Pod) -> dict[str, str]:
    """Status by type."""
    return {each["type"]: each["status"] for each in pod["status"]["conditions"]}


def condition(pod: Pod, kind: str) -> Pod:
    """One condition, whole."""
    return next(each for each in pod["status"]["conditions"] if each["type"] == kind)
