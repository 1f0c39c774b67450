"""A node: watches the pods bound to it and gives each a worker."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from headrace.devcluster.node import registration
from headrace.devcluster.node.machine import Machine, examine
from headrace.devcluster.node.options import NodeOptions
from headrace.devcluster.node.server import LogServer
from headrace.devcluster.node.worker import Host, PodWorker
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import ApiError
from headrace.kubeapi.stream import Stream

PODS = "/api/v1/pods"

log = structlog.get_logger()


class Pods:
    """The pods bound to one node, each with its worker: the sink of their stream."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of the newest pod of this name."""
        wanted = (namespace, name)
        matching = [
            each
            for each in self._workers.values()
            if (each.pod["metadata"]["namespace"], each.pod["metadata"]["name"]) == wanted
        ]
        return matching[-1] if matching else None

    def seen(self, obj: dict[str, Any]) -> None:
        """A pod is bound to this node, or changed."""
        uid = obj["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid].saw(obj)
            return
        worker = PodWorker(self._host, obj)
        self._workers[uid] = worker
        self._tasks[uid] = asyncio.create_task(self._run(uid, worker))

    def gone(self, obj: dict[str, Any]) -> None:
        """A pod's object is gone."""
        worker = self._workers.get(obj["metadata"]["uid"])
        if worker:
            worker.gone()

    def synced(self, uids: set[str], version: int) -> None:
        """Everything was listed at `version`: what is not in `uids` is gone, folders included."""
        for uid, worker in list(self._workers.items()):
            if uid not in uids and int(worker.pod["metadata"]["resourceVersion"]) <= version:
                worker.gone()
        for folder in self._host.directory.iterdir():
            if folder.name not in uids and folder.name not in self._workers:
                shutil.rmtree(folder, ignore_errors=True)

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke."""
        log.warning("watch_broken", error=str(error), retry_in_s=round(retry_in_s, 1))

    async def stop(self) -> None:
        """Ends every process at once; nothing more is reported."""
        for task in self._tasks.values():
            task.cancel()
        for worker in self._workers.values():
            worker.kill()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, uid: str, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:
            log.exception("worker_failed", pod=worker.pod["metadata"]["name"])
            raise
        finally:
            self._workers.pop(uid, None)
            self._tasks.pop(uid, None)


@asynccontextmanager
async def running_node(client: KubeClient, options: NodeOptions) -> AsyncIterator[asyncio.Task[None]]:
    """
    A registered node that runs pods until the block ends; then its processes are killed, and the Node stays.

    Returns: The task of its watch, which ends only by an error.
    Raises: ApiError: the API server refuses the node.
    """
    description = options.description
    options.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    machine, lacks = await examine(description.name, options.directory, client.connection.server)
    for lack in lacks:
        log.warning("machine_lacks", what=lack)
    pods = Pods(_host(client, options, machine))
    server = LogServer(description.name, options.directory, options.client_authority, pods.find)
    port = await server.start(options.port)
    node = await registration.register(client, description, port)
    log.info("node_registered", node=description.name, port=port, isolates=machine.isolates)
    stream = Stream(client, PODS, {"fieldSelector": f"spec.nodeName={description.name}"}, pods)
    tasks = [asyncio.create_task(stream.run()), asyncio.create_task(registration.heartbeat(client, node))]
    try:
        yield tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        await pods.stop()
        await server.stop()
        if machine.groups:
            machine.groups.remove()


def _host(client: KubeClient, options: NodeOptions, machine: Machine) -> Host:
    folder = options.directory / "pods"
    folder.mkdir(exist_ok=True)
    return Host(
        client=client,
        node=options.description.name,
        machine=machine,
        directory=Path(folder),
        allocatable=registration.capacity(options.description),
    )
