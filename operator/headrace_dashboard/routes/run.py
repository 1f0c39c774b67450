"""The page of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from headrace.api.keys import FLOW_LABEL, FLOWRUNS
from headrace.history.searching import namesakes
from headrace_dashboard.pages.run import Allowed, RunView, run_page
from headrace_dashboard.recorded import HistoryAway
from headrace_dashboard.routes.goes import next_go
from headrace_dashboard.site import NAME, NAMESPACE, Need, Route, Site, Visit, html, see_other

MAX_EVENTS: Final = 50
MAX_CHILDREN: Final = 100
READ_RUN: Final = Need("get", FLOWRUNS.plural)


async def run(visit: Visit) -> web.StreamResponse:
    """The run as it is. Raises: HTTPNotFound, ApiError."""
    found = await visit.site.library.whole(FLOWRUNS, visit.namespace, visit.name)
    if found is None and await _is_recorded(visit):
        return see_other(f"/history/{visit.namespace}/{visit.name}")
    if found is None:
        raise web.HTTPNotFound
    allowed = Allowed(
        change=await visit.may("patch", FLOWRUNS.plural),
        create=await visit.may("create", FLOWRUNS.plural),
        logs=await visit.may("get", "pods", group="", subresource="log"),
        events=await visit.may("list", "events", group=""),
    )
    events = await events_about(visit.site, found) if allowed.events else ()
    can_list = (await visit.scope(FLOWRUNS)).has(visit.namespace)
    return html(run_page(visit.frame(), _view(visit, found, events, can_list=can_list), allowed, visit.site.now()))


async def _is_recorded(visit: Visit) -> bool:
    """Whether the history has a run of the name; no, where it cannot be asked."""
    recorded = visit.site.recorded
    if recorded is None:
        return False
    key = ("name", visit.namespace, visit.name)
    try:
        return bool(await recorded.ask(key, lambda store: namesakes(store, visit.namespace, visit.name, 1)))
    except HistoryAway:
        return False


def _view(visit: Visit, run: Mapping[str, Any], events: Sequence[Mapping[str, Any]], *, can_list: bool) -> RunView:
    runs = visit.site.library.runs.all() if can_list else ()
    beside = [
        each for each in runs if each.namespace == visit.namespace and visit.name in {each.rerun_of, each.started_by}
    ]
    return RunView(
        run,
        schema=schema_of(visit.site, visit.namespace, flow_of(visit.site, run)),
        events=events,
        goes=[each.name for each in beside if each.rerun_of == visit.name],
        children=[(each.name, each.phase) for each in beside if each.started_by == visit.name][:MAX_CHILDREN],
        attempt=_attempt(visit, run),
        next_go=next_go(visit.site.library.runs, visit.namespace, visit.name, run["metadata"]["uid"]),
    )


def flow_of(site: Site, run: Mapping[str, Any]) -> str:
    """The name of the run's Flow; empty where nobody knows it."""
    spec, metadata = run["spec"], run["metadata"]
    # The Deployment comes last: it may be of another Flow by now.
    named = (spec.get("flowRef") or {}).get("name") or (metadata.get("labels") or {}).get(FLOW_LABEL)
    if named or "deploymentRef" not in spec:
        return str(named or "")
    deployment = site.library.deployments.get(metadata["namespace"], spec["deploymentRef"]["name"])
    return str(deployment.spec["flowRef"]["name"]) if deployment else ""


def schema_of(site: Site, namespace: str, flow: str) -> Mapping[str, Any] | None:
    """That of a Flow's parameters, empty for none; None: there is no such Flow."""
    known = site.library.flows.get(namespace, flow)
    return (known.spec.get("parameters") or {}).get("schema") or {} if known else None


async def events_about(site: Site, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Events about a run, the last one first; asked for once in some seconds, however many look. Raises: ApiError."""
    uid, namespace = run["metadata"]["uid"], run["metadata"]["namespace"]

    async def ask() -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{namespace}/events"
        answer = await site.api.get(path, {"fieldSelector": f"involvedObject.uid={uid}", "limit": "500"})
        return sorted(answer.get("items") or (), key=_when, reverse=True)[:MAX_EVENTS]

    return await site.events.get(uid, ask)


def _when(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _attempt(visit: Visit, run: Mapping[str, Any]) -> int:
    """Whose log is shown: the one that the address names, else the last."""
    numbers = [each["number"] for each in (run.get("status") or {}).get("attempts") or ()]
    asked = visit.request.query.get("attempt", "")
    if asked.isdecimal() and len(asked) < 6 and int(asked) in numbers:
        return int(asked)
    return int(numbers[-1]) if numbers else 0


ROUTES: Final = (Route("GET", f"/runs/{NAMESPACE}/{NAME}", run, (READ_RUN,)),)
