"""What runs have cost, of those that the visitor may list."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from headrace.api.keys import FLOWRUNS
from headrace_dashboard.pages.cost import asked_from, cost_page, totals
from headrace_dashboard.site import Route, Visit, html
from headrace_dashboard.watching.library import Library
from headrace_dashboard.watching.records import RunRecord


async def cost(visit: Visit) -> web.StreamResponse:
    """Of the namespaces that the visitor may list runs of."""
    library, now = visit.site.library, visit.site.now()
    scope = await visit.scope(FLOWRUNS)
    asked = asked_from(visit.request.query)
    found = totals(library.runs.all(), asked, scope.has, team_of=lambda run: _team_of(library, run), now=now)
    return html(cost_page(visit.frame(), asked, found, now))


def _team_of(library: Library, run: RunRecord) -> str:
    """The team of the run's Flow, which the run itself may not name; empty for none."""
    name = run.flow
    if not name and (deployment := library.deployments.get(run.namespace, run.deployment)):
        name = str(deployment.spec["flowRef"]["name"])
    flow = library.flows.get(run.namespace, name)
    return flow.team if flow else ""


ROUTES: Final = (Route("GET", "/cost", cost),)
