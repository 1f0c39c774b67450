"""Backfills: the list, one of them with its calendar, and its buttons."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from headrace.api import keys
from headrace_dashboard.pages.backfills import BackfillView, backfill_page, backfills_page
from headrace_dashboard.pages.calendar import Calendar, calendar
from headrace_dashboard.pages.selecting import GROUPS
from headrace_dashboard.routes.changing import changed
from headrace_dashboard.site import NAME, NAMESPACE, Need, Refusal, Route, Visit, html
from headrace_dashboard.watching.records import Kept

MAX_PROBLEM: Final = 500
READ: Final = Need("get", keys.BACKFILLS.plural)
CHANGE: Final = Need("patch", keys.BACKFILLS.plural)


async def listing(visit: Visit) -> web.StreamResponse:
    """Those of the namespaces that the visitor may list Backfills of."""
    scope = await visit.scope(keys.BACKFILLS)
    shown = [each for each in visit.site.library.backfills.all() if scope.has(each.namespace)]
    return html(backfills_page(visit.frame(), shown, visit.site.now()))


async def backfill(visit: Visit) -> web.StreamResponse:
    """One of them. Raises: HTTPNotFound, ApiError."""
    found = _found(visit)
    active = _active(visit, found) if (await visit.scope(keys.FLOWRUNS)).has(visit.namespace) else ()
    may_change = await visit.may("patch", keys.BACKFILLS.plural)
    drawn, problem = await _drawn(visit, found, active)
    view = BackfillView(found, drawn, problem, may_change=may_change)
    return html(backfill_page(visit.frame(), view, visit.site.now()))


async def suspend(visit: Visit) -> web.StreamResponse:
    """No more of its runs are started. Raises: ApiError."""
    return await changed(visit, keys.BACKFILLS, {"suspend": True}, "backfill-suspended")


async def resume(visit: Visit) -> web.StreamResponse:
    """It goes on. Raises: ApiError."""
    return await changed(visit, keys.BACKFILLS, {"suspend": False}, "backfill-resumed")


async def cancel(visit: Visit) -> web.StreamResponse:
    """Ends it for good, with the runs that have not ended. Raises: ApiError."""
    return await changed(visit, keys.BACKFILLS, {"cancel": True}, "backfill-cancelled")


async def rerun(visit: Visit) -> web.StreamResponse:
    """
    Its failed partitions run once more: once for each page that was looked at, however often the button is pressed.

    Raises: HTTPNotFound, Refusal, ApiError.
    """
    rounds = int(_found(visit).spec.get("rerunFailed") or 0)
    after = (await visit.request.post()).get("after", "")
    if after != str(rounds):
        raise Refusal(
            "Its failed partitions were run again meanwhile. Look at it, and repeat if some failed once more."
        )
    return await changed(visit, keys.BACKFILLS, {"rerunFailed": rounds + 1}, "backfill-again")


async def _drawn(visit: Visit, found: Kept, active: tuple[int, ...]) -> tuple[Calendar | None, str]:
    """The calendar, computed once for all who look at it; or why there is none."""

    async def draw() -> Calendar:
        return await asyncio.to_thread(calendar, found.spec, found.status, active)

    try:
        return await visit.site.calendars.get((found.uid, found.version, active), draw), ""
    except ValueError as error:  # the operator says so too, in the status
        return None, f"There is no calendar: {error}"[:MAX_PROBLEM]


def _active(visit: Visit, found: Kept) -> tuple[int, ...]:
    """Positions of its partitions whose runs have not ended."""
    positions = (
        dict(run.labels).get(keys.POSITION_LABEL, "")
        for run in visit.site.library.runs.all()
        if run.backfill == found.name and run.namespace == found.namespace and run.phase not in GROUPS["finished"]
    )
    return tuple(sorted({int(each) for each in positions if each.isdecimal() and each.isascii()}))


def _found(visit: Visit) -> Kept:
    found = visit.site.library.backfills.get(visit.namespace, visit.name)
    if found is None:
        raise web.HTTPNotFound
    return found


_ONE: Final = f"/backfills/{NAMESPACE}/{NAME}"
ROUTES: Final = (
    Route("GET", "/backfills", listing),
    Route("GET", _ONE, backfill, (READ,)),
    Route("POST", f"{_ONE}/suspend", suspend, (CHANGE,)),
    Route("POST", f"{_ONE}/resume", resume, (CHANGE,)),
    Route("POST", f"{_ONE}/cancel", cancel, (CHANGE,)),
    Route("POST", f"{_ONE}/rerun", rerun, (CHANGE,)),
)
