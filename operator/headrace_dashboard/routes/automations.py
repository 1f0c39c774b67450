"""Automations: the list, and one of them."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from headrace.api import keys
from headrace_dashboard.pages.automations import automation_page, automations_page
from headrace_dashboard.site import NAME, NAMESPACE, Need, Route, Visit, html


async def listing(visit: Visit) -> web.StreamResponse:
    """Those of the namespaces that the visitor may list Automations of."""
    scope = await visit.scope(keys.AUTOMATIONS)
    shown = [each for each in visit.site.library.automations.all() if scope.has(each.namespace)]
    return html(automations_page(visit.frame(), shown, visit.site.now()))


async def automation(visit: Visit) -> web.StreamResponse:
    """One of them. Raises: HTTPNotFound, ApiError."""
    found = visit.site.library.automations.get(visit.namespace, visit.name)
    if found is None:
        raise web.HTTPNotFound
    can_list = (await visit.scope(keys.FLOWRUNS)).has(visit.namespace)
    label = (keys.AUTOMATION_LABEL, visit.name)
    runs = [
        run
        for run in visit.site.library.runs.all()
        if can_list and run.namespace == visit.namespace and label in run.labels
    ]
    return html(automation_page(visit.frame(), found, runs, visit.site.now()))


_ONE: Final = f"/automations/{NAMESPACE}/{NAME}"
ROUTES: Final = (
    Route("GET", "/automations", listing),
    Route("GET", _ONE, automation, (Need("get", keys.AUTOMATIONS.plural),)),
)
