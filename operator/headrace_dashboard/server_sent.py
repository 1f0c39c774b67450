"""Server-sent events: a response that stays open, and what is written to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson
import structlog
from aiohttp import web

from headrace.kubeapi.errors import ApiError
from headrace_dashboard.site import Visit

log = structlog.get_logger()

RETRY_MS: Final = 3000
BEAT: Final = b": \n\n"
"""A comment, which tells browsers and proxies that the stream is alive."""


class Events:
    """An open stream of events."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response

    async def send(self, event: str, data: object, *, id_: str = "") -> None:
        """One event, its data as JSON. Raises: ConnectionError: the browser has gone."""
        head = f"id: {id_}\nevent: {event}\ndata: " if id_ else f"event: {event}\ndata: "
        await self.response.write(head.encode() + orjson.dumps(data) + b"\n\n")

    async def beat(self) -> None:
        """That the stream is alive. Raises: ConnectionError."""
        await self.response.write(BEAT)


@asynccontextmanager
async def events_to(visit: Visit) -> AsyncIterator[Events]:
    """The stream of a visit, counted among all. Raises: HTTPServiceUnavailable: there are too many."""
    site = visit.site
    if site.streams >= site.settings.max_streams or site.closing.is_set():
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"})
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    site.streams += 1
    try:
        await response.prepare(visit.request)
        await response.write(f"retry: {RETRY_MS}\n\n".encode())
        yield Events(response)
    except ConnectionError:  # the browser has gone: nothing is left to be told
        return
    except ApiError as error:  # nobody knows who it is now, or what they may: the browser comes back and is asked anew
        log.warning("stream_ended", path=visit.request.path, error=str(error))
    finally:
        site.streams -= 1
