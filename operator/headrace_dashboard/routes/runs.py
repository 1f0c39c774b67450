"""The list of runs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from headrace.api.keys import FLOWRUNS
from headrace_dashboard.pages.runs import runs_page
from headrace_dashboard.pages.selecting import query_from, selected
from headrace_dashboard.site import Route, Visit, html, see_other


async def listing(visit: Visit) -> web.StreamResponse:
    """Runs of the namespaces that the visitor may list runs of."""
    library, now = visit.site.library, visit.site.now()
    scope = await visit.scope(FLOWRUNS)
    query = query_from(visit.request.query)
    found = selected(library.runs.all(), query, scope.has, now=now, size=visit.site.settings.page_size)
    namespaces = sorted(filter(scope.has, library.runs.namespaces()))
    return html(runs_page(visit.frame(), query, found, namespaces=namespaces, now=now))


async def start(_: Visit) -> web.StreamResponse:
    """The page that everybody begins with."""
    return see_other("/runs")


ROUTES: Final = (Route("GET", "/", start), Route("GET", "/runs", listing))
