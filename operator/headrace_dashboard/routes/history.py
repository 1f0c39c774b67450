"""Runs of the history store: the list, and one of them. Rights are those of the runs in the cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from headrace.api.conditions import FINISHED
from headrace.api.keys import FLOWRUNS
from headrace.history import HistoryStore
from headrace.history.searching import Search, namesakes, namespaces, one, page
from headrace_dashboard.pages.history import Listed, as_run, cursor, history_page, recorded_page
from headrace_dashboard.pages.run import RunView
from headrace_dashboard.pages.selecting import GROUPS, LONGER_SPANS, Query, query_from, without_nul
from headrace_dashboard.recorded import HistoryAway, Recorded
from headrace_dashboard.routes.run import READ_RUN, flow_of, schema_of
from headrace_dashboard.site import NAME, NAMESPACE, Route, Visit, html, see_other

MOST_NAMESAKES: Final = 20
ENDS: Final = frozenset(map(str, FINISHED))


async def listing(visit: Visit) -> web.StreamResponse:
    """Of the namespaces that the visitor may list runs of. Raises: HTTPNotFound, ApiError."""
    recorded = _store(visit)
    query = _query(visit)
    try:
        told = await visible(visit, recorded)
        listed = await _listed(visit, recorded, query, told)
    except HistoryAway as away:
        listed = Listed(problem=str(away))
    return html(history_page(visit.frame(), query, listed, visit.site.now()))


async def run(visit: Visit) -> web.StreamResponse:
    """One that has left the cluster. Raises: HTTPNotFound, HTTPServiceUnavailable, ApiError."""
    uid = without_nul(visit.request.query.get("uid", ""))[:64]
    try:
        found, names = await _store(visit).ask(
            ("run", visit.namespace, visit.name, uid),
            lambda store: (
                one(store, visit.namespace, visit.name, uid),
                namesakes(store, visit.namespace, visit.name, MOST_NAMESAKES),
            ),
        )
    except HistoryAway as away:
        raise web.HTTPServiceUnavailable(text=str(away)) from away
    if found is None:
        raise web.HTTPNotFound
    live = visit.site.library.runs.get(visit.namespace, visit.name)
    if live is not None and live.uid == found["uid"]:
        return see_other(f"/runs/{visit.namespace}/{visit.name}")
    if not await visit.may("get", "pods", group="", subresource="log"):
        found = {**found, "log_tail": None}
    told = as_run(found)
    schema = schema_of(visit.site, visit.namespace, found.get("flow") or flow_of(visit.site, told))
    view = RunView(told, schema, events=(), goes=(), children=(), attempt=0, is_recorded=True)
    beside = [each for each in names if each["uid"] != found["uid"]]
    return html(recorded_page(visit.frame(), found, view, beside=beside, now=visit.site.now()))


async def visible(visit: Visit, recorded: Recorded) -> tuple[str, ...] | None:
    """Namespaces of recorded runs that may be shown, by name; None: all. Raises: HistoryAway, ApiError."""
    if (await visit.site.rights.scope(visit.visitor, FLOWRUNS, ())).everywhere:
        return None
    known = await recorded.ask("namespaces", namespaces)
    scope = await visit.site.rights.scope(visit.visitor, FLOWRUNS, known)
    return tuple(sorted(scope.namespaces.intersection(known)))


def search(query: Query, told: tuple[str, ...] | None, now: datetime) -> Search:
    """What the filters mean, within the namespaces that may be told."""
    wanted = query.namespace
    allowed = told if not wanted else (wanted,) if told is None or wanted in told else ()
    span_s = LONGER_SPANS.get(query.since)
    return Search(
        namespaces=allowed,
        phases=tuple(sorted(GROUPS.get(query.phase, {query.phase}) if query.phase else ())),
        flow=query.flow,
        deployment=query.deployment,
        label=query.label,
        part_of_name=query.q.lower(),
        since=now - timedelta(seconds=span_s) if span_s else None,
        after=_after(query.after),
    )


async def _listed(visit: Visit, recorded: Recorded, query: Query, told: tuple[str, ...] | None) -> Listed:
    size = visit.site.settings.page_size
    # To the minute: whoever asks within it shares the answer.
    wanted = search(query, told, visit.site.now().replace(second=0, microsecond=0))
    if wanted.namespaces == ():  # nothing that is asked for may be told: no store need be asked
        return Listed(namespaces=told or ())

    def work(store: HistoryStore) -> list[dict[str, Any]]:
        return page(store, wanted, size + 1)

    found = await recorded.ask(wanted, work)
    shown = found[:size]
    offered = told if told is not None else await recorded.ask("namespaces", namespaces)
    following = cursor(shown[-1]) if len(found) > size else ""
    return Listed(shown, frozenset(_present(visit, shown)), following, offered)


def _present(visit: Visit, shown: list[dict[str, Any]]) -> list[str]:
    """Uids of those that are in the cluster."""
    live = visit.site.library.runs
    found = [(each["uid"], live.get(each["namespace"], each["name"])) for each in shown]
    return [uid for uid, run in found if run is not None and run.uid == uid]


def _query(visit: Visit) -> Query:
    query = query_from(visit.request.query, LONGER_SPANS)
    if query.phase not in {"", "dead", *ENDS}:
        query = replace(query, phase="")
    return query if not query.after or _after(query.after) else replace(query, after="")


def _after(text: str) -> tuple[datetime, str] | None:
    """The end and the uid of the last run of the page before; None for none, or for what cannot be meant."""
    end, _, rest = text.partition("~")
    try:
        found = datetime.fromisoformat(end)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC), rest.partition("~")[2])


def _store(visit: Visit) -> Recorded:
    """Raises: HTTPNotFound: there is none."""
    if visit.site.recorded is None:
        raise web.HTTPNotFound(text="No history store is set (HEADRACE_DASHBOARD_HISTORY_URL).")
    return visit.site.recorded


ROUTES: Final = (
    Route("GET", "/history", listing),
    Route("GET", f"/history/{NAMESPACE}/{NAME}", run, (READ_RUN,)),
)
