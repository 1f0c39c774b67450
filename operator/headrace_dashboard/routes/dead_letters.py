"""Runs that failed and that nobody has dealt with."""

from __future__ import annotations

from functools import partial
from typing import Final

from aiohttp import web

from headrace.api.keys import FLOWRUNS
from headrace_dashboard.access.rights import Right
from headrace_dashboard.pages.dead_letters import SHOWN, dead_letters, dead_letters_page
from headrace_dashboard.routes.goes import Runs, next_go
from headrace_dashboard.site import Route, Visit, html
from headrace_dashboard.watching.records import RunRecord


async def listing(visit: Visit) -> web.StreamResponse:
    """Those of the namespaces that the visitor may list runs of."""
    scope = await visit.scope(FLOWRUNS)
    found = dead_letters(visit.site.library.runs.all(), scope.has)
    may_start = {
        namespace
        for namespace in sorted({run.namespace for run in found[:SHOWN]})
        if await visit.site.rights.may(visit.visitor, Right("create", FLOWRUNS.plural, namespace))
    }
    go = partial(_next_go, visit.site.library.runs)
    return html(dead_letters_page(visit.frame(), found, visit.site.now(), may_start=may_start, next_go=go))


def _next_go(runs: Runs, run: RunRecord) -> int:
    return next_go(runs, run.namespace, run.name, run.uid)


ROUTES: Final = (Route("GET", "/dead-letters", listing),)
