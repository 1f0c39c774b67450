"""What runs have cost, of those that the visitor may list, with the history store also of those that have left the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from aiohttp import web

from headrace.api.keys import FLOWRUNS
from headrace.costs import Total
from headrace.history import HistoryStore
from headrace.history.searching import GroupBy, Search, spent, spent_between
from headrace_dashboard.pages.cost import Asked, Past, added_up, asked_from, cost_page, counted, name_of
from headrace_dashboard.pages.selecting import LONGER_SPANS, SPANS
from headrace_dashboard.recorded import HistoryAway, Recorded
from headrace_dashboard.routes.history import visible
from headrace_dashboard.site import Route, Visit, html
from headrace_dashboard.watching.library import Library
from headrace_dashboard.watching.records import RunRecord

MONTHS: Final = 12
GROUPED: Final[Mapping[str, GroupBy]] = {
    "team": "flow",
    "flow": "flow",
    "deployment": "deployment",
    "namespace": "namespace",
    "pool": "pool",
    "backfill": "backfill",
}
"""What the store groups by for each of what is asked; the team is that of the Flow."""


async def cost(visit: Visit) -> web.StreamResponse:
    """Of the namespaces that the visitor may list runs of. Raises: ApiError."""
    library, now, recorded = visit.site.library, visit.site.now(), visit.site.recorded
    scope = await visit.scope(FLOWRUNS)
    asked = asked_from(visit.request.query, LONGER_SPANS if recorded else SPANS)
    past = await _past(visit, recorded, asked) if recorded else None
    runs = counted(library.runs.all(), asked, scope.has, past=past, now=now)
    named = ((_name(library, run, asked.by), run) for run in runs)
    return html(cost_page(visit.frame(), asked, added_up(named, past.spent if past else ()), past=past, now=now))


async def _past(visit: Visit, recorded: Recorded, asked: Asked) -> Past:
    now = visit.site.now().replace(second=0, microsecond=0)  # whoever asks within the minute shares the answer
    span_s = LONGER_SPANS.get(asked.since)
    by, months = GROUPED[asked.by], months_before(now)
    live = [run.uid for run in visit.site.library.runs.all() if run.finished]

    def work(store: HistoryStore) -> tuple[list[dict[str, Any]], set[str], list[dict[str, Any]]]:
        known = store.known(live) if live else set()
        return spent(store, within, by), known, spent_between(store, every, months)

    try:
        told = await visible(visit, recorded)
        within = Search(namespaces=told, since=now - timedelta(seconds=span_s) if span_s else None)
        every = Search(namespaces=told)
        rows, known, monthly = await recorded.ask(("cost", within, by), work)
    except HistoryAway as away:
        return Past(problem=str(away))
    named = [_spent(_recorded_name(visit.site.library, row, asked.by), row) for row in rows]
    by_month = [
        (f"{since:%Y-%m}", [_spent("", row) for row in monthly if row["span"] == number])
        for number, (since, _) in enumerate(months)
    ]
    return Past(named, frozenset(known), [(month, each) for month, each in by_month if each])


def months_before(now: datetime) -> list[tuple[datetime, datetime]]:
    """Beginnings and ends of this month and those before it, in UTC, this one first."""
    ordinal = now.year * 12 + now.month - 1
    begins = [datetime((ordinal - back) // 12, (ordinal - back) % 12 + 1, 1, tzinfo=UTC) for back in range(-1, MONTHS)]
    return [(since, until) for until, since in pairwise(begins)]


def _spent(name: str, row: Mapping[str, Any]) -> Total:
    return Total(name, row["currency"] or "", Decimal(row["amount"] or 0), row["runs"], row["unpriced"])


def _recorded_name(library: Library, row: Mapping[str, Any], by: str) -> str:
    value = row["name"] or ""
    return _team(library, row["namespace"], value) if by == "team" else name_of(by, row["namespace"] or "", value)


def _name(library: Library, run: RunRecord, by: str) -> str:
    if by != "team":
        return name_of(by, run.namespace, str(getattr(run, by)))
    flow = run.flow
    if not flow and (deployment := library.deployments.get(run.namespace, run.deployment)):
        flow = str(deployment.spec["flowRef"]["name"])
    return _team(library, run.namespace, flow)


def _team(library: Library, namespace: str, flow: str) -> str:
    """The team of a Flow, which runs themselves may not name; empty for none, or where the Flow is gone."""
    found = library.flows.get(namespace, flow)
    return found.team if found else ""


ROUTES: Final = (Route("GET", "/cost", cost),)
