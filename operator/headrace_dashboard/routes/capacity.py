"""Limits and pools, which are in no namespace: what one may see of them is a right over the whole cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from headrace.api import keys
from headrace_dashboard.pages.capacity import Measured, Shown, capacity_page, limit_page, pool_page
from headrace_dashboard.site import NAME, Need, Route, Visit, html
from headrace_dashboard.watching.records import Kept
from headrace_dashboard.watching.saturation import Level, limit_level, pool_level

DRAWN: Final = 50
"""Pools, and limits, of which the list has a picture: those for which most wait."""
WITH_A_POD: Final = frozenset({"Pending", "Running"})
"""Phases of a run that has a pool in which it has a pod."""


async def listing(visit: Visit) -> web.StreamResponse:
    """Of each kind all or, where the visitor may not list it, none."""
    shown = Shown(
        pools=await _measured(visit, keys.WORKPOOLS, pool_level),
        limits=await _measured(visit, keys.CONCURRENCYLIMITS, limit_level),
    )
    return html(capacity_page(visit.frame(), shown, visit.site.now()))


async def pool(visit: Visit) -> web.StreamResponse:
    """One of them. Raises: HTTPNotFound, ApiError."""
    found = _one(visit, keys.WORKPOOLS, pool_level)
    scope = await visit.scope(keys.FLOWRUNS)
    runs = [
        run
        for run in visit.site.library.runs.all()
        if run.pool == visit.name and run.phase in WITH_A_POD and scope.has(run.namespace)
    ]
    return html(pool_page(visit.frame(), found, runs, visit.site.now()))


async def limit(visit: Visit) -> web.StreamResponse:
    """One of them. Raises: HTTPNotFound, ApiError."""
    found = _one(visit, keys.CONCURRENCYLIMITS, limit_level)
    scope = await visit.scope(keys.FLOWRUNS)
    return html(limit_page(visit.frame(), found, scope.has, visit.site.now()))


async def _measured(visit: Visit, resource: keys.Resource, level: Callable[[Kept], Level]) -> list[Measured] | None:
    if not (await visit.scope(resource)).everywhere:
        return None
    library = visit.site.library
    known = [(each, level(each)) for each in library.shelves()[resource].all()]
    busiest = sorted(known, key=lambda each: (-each[1].waiting, -each[1].used, each[0].name))[:DRAWN]
    drawn = {each.name for each, _ in busiest}
    return [
        Measured(each, at, library.saturation.of(resource, each.name) if each.name in drawn else ())
        for each, at in known
    ]


def _one(visit: Visit, resource: keys.Resource, level: Callable[[Kept], Level]) -> Measured:
    found: Kept | None = visit.site.library.shelves()[resource].get("", visit.name)
    if found is None:
        raise web.HTTPNotFound
    return Measured(found, level(found), visit.site.library.saturation.of(resource, visit.name))


ROUTES: Final = (
    Route("GET", "/capacity", listing),
    Route("GET", f"/capacity/pools/{NAME}", pool, (Need("get", keys.WORKPOOLS.plural),)),
    Route("GET", f"/capacity/limits/{NAME}", limit, (Need("get", keys.CONCURRENCYLIMITS.plural),)),
)
