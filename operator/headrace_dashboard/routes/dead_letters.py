"""Runs that failed and that nobody has dealt with."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from headrace.api.keys import FLOWRUNS
from headrace_dashboard.access.rights import Right
from headrace_dashboard.pages.dead_letters import SHOWN, dead_letters, dead_letters_page
from headrace_dashboard.site import Route, Visit, html


async def listing(visit: Visit) -> web.StreamResponse:
    """Those of the namespaces that the visitor may list runs of."""
    scope = await visit.scope(FLOWRUNS)
    found = dead_letters(visit.site.library.runs.all(), scope.has)
    may_start = {
        namespace
        for namespace in sorted({run.namespace for run in found[:SHOWN]})
        if await visit.site.rights.may(visit.visitor, Right("create", FLOWRUNS.plural, namespace))
    }
    return html(dead_letters_page(visit.frame(), found, visit.site.now(), may_start=may_start))


ROUTES: Final = (Route("GET", "/dead-letters", listing),)
