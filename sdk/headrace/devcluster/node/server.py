"""The https server of a node: `kubectl logs`, for the API server and for nobody else."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from headrace.devcluster.certificates import KUBELET_CLIENT, self_signed, write_pair
from headrace.devcluster.node.logs import LogWriter, Wanted, read
from headrace.devcluster.node.states import Waiting
from headrace.devcluster.node.status import ADDRESS
from headrace.devcluster.node.times import parse
from headrace.devcluster.node.worker import PodWorker

Find = Callable[[str, str], PodWorker | None]
NOT_HERE = "a local node runs containers as plain processes; {what} is not supported, kubectl logs is"
SHUTDOWN_S = 0.5


class LogServer:
    """
    Serves the logs of the pods that `find` knows by namespace and name.

    Args:
        authority: PEM file of the authority that signed the API server's client certificate; without it, nobody
            can prove to be the API server and every request is refused.
    """

    def __init__(self, node: str, directory: Path, authority: Path | None, find: Find) -> None:
        self._find = find
        self._context = _context(node, directory, authority)
        app = web.Application(middlewares=[_only_the_api_server])
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        for what in ("exec", "attach", "portForward", "run"):
            app.router.add_route("*", f"/{what}/{{rest:.*}}", _refuse)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)

    async def start(self, port: int) -> int:
        """The port it listens on; `port` 0 takes a free one. Raises: OSError."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, ADDRESS, port, ssl_context=self._context)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Closes it; streams that follow a log end."""
        await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, name = (request.match_info[each] for each in ("namespace", "pod", "container"))
        worker = self._find(namespace, pod)
        if worker is None:
            return web.Response(status=404, text=f'pod "{pod}" is not on this node')
        try:
            wanted = wanted_from(request.query, datetime.now(UTC))
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        found = _log_of(worker, name, previous=request.query.get("previous") == "true")
        if isinstance(found, str):
            return web.Response(status=400, text=found)
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        async for piece in read(found[0], wanted, found[1]):
            await answer.write(piece)
        return answer


def wanted_from(query: Any, instant: datetime) -> Wanted:
    """What the query of a request for logs asks for, at `instant`. Raises: ValueError."""
    since = parse(query["sinceTime"]) if "sinceTime" in query else None
    if "sinceSeconds" in query:
        since = instant - timedelta(seconds=int(query["sinceSeconds"]))
    return Wanted(
        follow=query.get("follow") == "true",
        timestamps=query.get("timestamps") == "true",
        tail=int(query["tailLines"]) if "tailLines" in query else None,
        since=since,
        limit=int(query["limitBytes"]) if "limitBytes" in query else None,
    )


def _log_of(worker: PodWorker, name: str, *, previous: bool) -> tuple[Path, LogWriter | None] | str:
    """The log file of a container with its writer, if that still runs; or why there is none."""
    record = next((each for each in worker.record.containers if each.name == name), None)
    pod = worker.pod["metadata"]["name"]
    if record is None:
        return f'container "{name}" in pod "{pod}" is not known'
    path = worker.folder / "logs" / name / f"{record.restarts - (1 if previous else 0)}.log"
    if path.exists():
        loop = worker.loops.get(name)
        writer = loop.log if loop and loop.log and loop.log.path == path else None
        return path, writer
    if previous:
        return f'previous terminated container "{name}" in pod "{pod}" not found'
    reason = record.state.reason if isinstance(record.state, Waiting) else "its log is lost"
    return f'container "{name}" in pod "{pod}" is waiting to start: {reason}'


def _context(node: str, directory: Path, authority: Path | None) -> ssl.SSLContext:
    if not (directory / "server.key").exists():
        write_pair(directory, "server", self_signed(node, ADDRESS))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    if authority:
        context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@web.middleware
async def _only_the_api_server(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    certificate = request.get_extra_info("peercert") or {}
    names = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    if KUBELET_CLIENT not in names:
        return web.Response(status=403, text="only the API server may ask")
    answer: web.StreamResponse = await handler(request)
    return answer


async def _refuse(request: web.Request) -> web.Response:
    what = {"exec": "kubectl exec", "attach": "kubectl attach", "portForward": "kubectl port-forward"}
    first = request.path.split("/")[1]
    return web.Response(status=501, text=NOT_HERE.format(what=what.get(first, first)))
