"""POST /hooks/<namespace>/<automation>, over HTTP; an ingress adds TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import structlog
from aiohttp import web

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.inbound.receiver import Answer, Receiver
from headrace_operator.kube.cluster import ApiCluster
from headrace_operator.kube.metered import MeteredCluster
from headrace_operator.settings import Settings
from headrace_operator.telemetry.automations import AutomationMetrics
from headrace_operator.telemetry.metrics import Metrics

log = structlog.get_logger()

MAX_BODY: Final = 256 * 1024
BODY_S: Final = 10.0
"""A sender that is slower keeps a connection from others."""
WRITE_S: Final = 10.0
ALL_BODIES: Final = 32 * 1024 * 1024
"""Bytes of all bodies that are held at once: whoever has no secret can fill no more of the operator's memory."""
PATH: Final = "/hooks/{namespace}/{automation}"


async def receive_requests(
    settings: Settings,
    connection: Connection,
    metrics: Metrics,
    clock: Callable[[], datetime],
    *,
    monotonic: Callable[[], float],
) -> None:
    """Serves until it is cancelled. Raises: OSError: the port is taken."""
    agent = f"headrace-operator/{settings.identity} inbound"
    async with KubeClient(connection, user_agent=agent) as client:
        cluster = MeteredCluster(ApiCluster(client, write_timeout_s=WRITE_S), metrics)
        receiver = Receiver(cluster, metrics.automations, clock=clock, monotonic=monotonic)
        runner = web.AppRunner(application(receiver, metrics.automations, settings.namespace), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=settings.inbound_port, shutdown_timeout=WRITE_S).start()
            log.info("inbound_started", port=settings.inbound_port)
            await asyncio.Event().wait()
        finally:
            receiver.close()
            await runner.cleanup()


def application(
    receiver: Receiver, metrics: AutomationMetrics, served: str = "", *, all_bodies: int = ALL_BODIES
) -> web.Application:
    """
    What answers.

    Args:
        served: The only namespace; empty for all.
        all_bodies: Bytes of bodies that are held at once.
    """
    room = Room(all_bodies)

    async def hook(request: web.Request) -> web.Response:
        answer = await _answered(receiver, request, served, room)
        metrics.answered(answer.status)
        headers = {} if answer.retry_after_s is None else {"Retry-After": str(answer.retry_after_s)}
        return web.json_response(dict(answer.told), status=answer.status, headers=headers)

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post(PATH, hook)
    return app


class Room:
    """
    What bodies that come in may fill.

    Attributes:
        free: Bytes.
    """

    def __init__(self, free: int) -> None:
        self.free = free

    @asynccontextmanager
    async def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """A body, which takes its room as long as it is held. Raises: TooLarge, Full. TimeoutError: it is slow."""
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for part in request.content.iter_any():
                    self.free -= len(part)
                    body += part
                    if len(body) > MAX_BODY:
                        raise TooLarge
                    if self.free < 0:
                        raise Full
            yield bytes(body)
        finally:
            self.free += len(body)


class TooLarge(Exception):
    """A body has more than MAX_BODY bytes."""


class Full(Exception):
    """There is no room for a body at the moment."""


async def _answered(receiver: Receiver, request: web.Request, served: str, room: Room) -> Answer:
    key = ObjectKey(request.match_info["namespace"], request.match_info["automation"])
    if not (_is_name(key.namespace) and _is_name(key.name)) or (served and key.namespace != served):
        return Answer(401, {"error": "no Automation of this name takes this request, or its signature is wrong"})
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        async with room.body(request) as body:
            return await receiver.receive(key, headers, body)
    except TooLarge:
        return Answer(413, {"error": f"the body has more than {MAX_BODY} bytes"})
    except Full:
        return Answer(503, {"error": "too many requests; send it again"}, retry_after_s=2)
    except TimeoutError:
        return Answer(408, {"error": f"the body did not come within {BODY_S:.0f} s"})
    except web.RequestPayloadError:
        return Answer(400, {"error": "the body is not encoded as its headers say"})


def _is_name(text: str) -> bool:
    """Whether it may be the name of an object: it becomes a part of a path."""
    return 0 < len(text) <= 253 and all(part.replace("-", "").isalnum() for part in text.split(".")) and text.isascii()
