"""The log of an attempt, as it is written: lines, and the timeline of tasks that they tell of. Read with the visitor's own rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiohttp import web

from headrace.api.keys import FLOW_CONTAINER, FLOWRUNS
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import ApiError, Invalid, NotFound
from headrace_dashboard.pages.log_lines import Line, Moment, Tasks, line_from, moment_of
from headrace_dashboard.pages.timeline import timeline
from headrace_dashboard.server_sent import Events, events_to
from headrace_dashboard.site import NAME, NAMESPACE, Need, Route, Visit

GATHER_S: Final = 0.25
"""Lines that come within this time travel together."""
BEAT_S: Final = 5.0
"""So often the bars of tasks that go on are drawn anew where no line comes."""
MOST_AT_ONCE: Final = 500
READ_RUN: Final = Need("get", FLOWRUNS.plural)
READ_LOG: Final = Need("get", "pods", group="", subresource="log", on_object=False)


async def log(visit: Visit) -> web.StreamResponse:
    """
    Stays open until the log ends: `lines`, `tasks` (HTML), at last `end` with why.

    A browser that connects again says the stamp of the last line that it has; those before are not sent again.
    """
    pod = await _pod(visit)
    after = visit.request.headers.get("Last-Event-ID") or visit.request.query.get("after", "")
    async with events_to(visit) as events:
        async with visit.hands() as api:
            why = await _followed(visit, events, _lines(visit, api, pod), moment_of(after))
        await events.send("end", {"why": why})
    return events.response


async def text(visit: Visit) -> web.StreamResponse:
    """The whole log as it is. Raises: HTTPNotFound, ApiError."""
    pod = await _pod(visit)
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"})
    with suppress(ConnectionError):  # the browser has gone
        async with visit.hands() as api, _told_while_it_can_be(response):
            async for line in api.raw_lines(_path(visit, pod), {"container": FLOW_CONTAINER}):
                if not response.prepared:
                    await response.prepare(visit.request)
                await response.write(line)
    if not response.prepared:
        await response.prepare(visit.request)
    return response


@asynccontextmanager
async def _told_while_it_can_be(response: web.StreamResponse) -> AsyncIterator[None]:
    """A failure is a page as long as nothing was sent; then the text just ends. Raises: ApiError."""
    try:
        yield
    except ApiError:
        if not response.prepared:
            raise


async def _followed(visit: Visit, events: Events, lines: AsyncIterator[Line], after: Moment | None) -> str:
    """Sends what comes and is later than `after` (None: all of it), until there is no more; why it ended, empty if the container did."""
    queue: asyncio.Queue[Line | str] = asyncio.Queue(MOST_AT_ONCE)
    reader = asyncio.create_task(_read_into(queue, lines))
    tasks = Tasks()
    try:
        while not visit.site.closing.is_set():
            batch = await _batch(queue)
            if not batch:
                if await visit.site.door.visitor(visit.request) is None:
                    return "You are signed out."
                await events.beat()
                if tasks.are_going():
                    await events.send("tasks", _chart(visit, tasks))
                continue
            news = [each for each in batch if isinstance(each, Line)]
            unseen = [each for each in news if after is None or each.is_later_than(after)]
            if unseen:
                await events.send("lines", [each.shown() for each in unseen], id_=unseen[-1].stamp)
            if sum(tasks.take(each) for each in news):
                await events.send("tasks", _chart(visit, tasks))
            if isinstance(batch[-1], str):
                return batch[-1]
        return "The dashboard is being restarted."
    finally:
        reader.cancel()


def _chart(visit: Visit, tasks: Tasks) -> dict[str, str]:
    return {"html": timeline(tasks.bars(), visit.site.now(), title="Tasks over time")}


async def _read_into(queue: asyncio.Queue[Line | str], lines: AsyncIterator[Line]) -> None:
    """Every line, then why there are no more."""
    why = ""
    try:
        async for line in lines:
            await queue.put(line)
    except (NotFound, Invalid) as error:
        why = f"There is no log: {error.message}"
    except ApiError as error:
        why = f"The log cannot be read now: {error.message}"
    await queue.put(why)


async def _batch(queue: asyncio.Queue[Line | str]) -> list[Line | str]:
    """What has come, gathered for a moment; empty if nothing has come for a while. Text comes last."""
    try:
        async with asyncio.timeout(BEAT_S):
            batch = [await queue.get()]
    except TimeoutError:
        return []
    if isinstance(batch[0], Line):
        await asyncio.sleep(GATHER_S)
    while not queue.empty() and len(batch) < MOST_AT_ONCE:
        batch.append(queue.get_nowait())
    return batch


async def _lines(visit: Visit, api: KubeClient, pod: str) -> AsyncIterator[Line]:
    """From the end of what there is, always: tasks are made out from lines that a browser may have already."""
    params = {
        "container": FLOW_CONTAINER,
        "follow": "true",
        "timestamps": "true",
        "tailLines": str(visit.site.settings.log_lines),
    }
    async for written in api.lines(_path(visit, pod), params):
        yield line_from(written)


async def _pod(visit: Visit) -> str:
    """The pod of the attempt, as the run names it. Raises: HTTPNotFound, ApiError."""
    run: Mapping[str, Any] = await visit.site.library.whole(FLOWRUNS, visit.namespace, visit.name) or {}
    number = int(visit.request.match_info["number"])
    for attempt in (run.get("status") or {}).get("attempts") or ():
        if attempt["number"] == number:
            return str(attempt["pod"])
    raise web.HTTPNotFound


def _path(visit: Visit, pod: str) -> str:
    return f"/api/v1/namespaces/{visit.namespace}/pods/{pod}/log"


_ATTEMPT: Final = f"/runs/{NAMESPACE}/{NAME}/attempts/{{number:[0-9]{{1,5}}}}"
ROUTES: Final = (
    Route("GET", f"{_ATTEMPT}/log", log, (READ_RUN, READ_LOG)),
    Route("GET", f"{_ATTEMPT}/log.txt", text, (READ_RUN, READ_LOG)),
)
