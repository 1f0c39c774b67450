"""Deployments: the list, one of them, and its buttons."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from aiohttp import web

from headrace.api import keys
from headrace.deployments.naming import new_name
from headrace_dashboard.pages.concealing import concealed
from headrace_dashboard.pages.deployments import DeploymentView, deployment_page, deployments_page
from headrace_dashboard.pages.schema_form import BadField, filled
from headrace_dashboard.routes.changing import changed, tell
from headrace_dashboard.site import NAME, NAMESPACE, Need, Refusal, Route, Visit, html, see_other
from headrace_dashboard.watching.library import path_of
from headrace_dashboard.watching.records import Kept

NEWEST: Final = 10
READ: Final = Need("get", keys.DEPLOYMENTS.plural)
CHANGE: Final = Need("patch", keys.DEPLOYMENTS.plural)
START: Final = Need("create", keys.FLOWRUNS.plural, on_object=False)


async def listing(visit: Visit) -> web.StreamResponse:
    """Those of the namespaces that the visitor may list Deployments of."""
    scope = await visit.scope(keys.DEPLOYMENTS)
    shown = [each for each in visit.site.library.deployments.all() if scope.has(each.namespace)]
    return html(deployments_page(visit.frame(), shown, visit.site.now()))


async def deployment(visit: Visit) -> web.StreamResponse:
    """One of them. Raises: HTTPNotFound, ApiError."""
    found = _found(visit)
    can_list = (await visit.scope(keys.FLOWRUNS)).has(visit.namespace)
    runs = visit.site.library.runs.all() if can_list else ()
    own = (run for run in runs if run.deployment == found.name and run.namespace == found.namespace)
    schema, values = parameters_of(visit, found)
    view = DeploymentView(
        found,
        schema,
        values,
        tuple(islice(own, NEWEST)),
        may_start=await visit.may("create", keys.FLOWRUNS.plural),
        may_change=await visit.may("patch", keys.DEPLOYMENTS.plural),
    )
    return html(deployment_page(visit.frame(), view, visit.site.now()))


async def start(visit: Visit) -> web.StreamResponse:
    """Creates a run with the parameters of the form. Raises: Refusal, ApiError."""
    found = _found(visit)
    schema, values = parameters_of(visit, found)
    form = {name: value for name, value in (await visit.request.post()).items() if isinstance(value, str)}
    try:
        given = filled(schema, form)
    except BadField as error:
        raise Refusal(str(error)) from error
    changed = {name: value for name, value in given.items() if name not in values or values[name] != value}
    name = new_name(found.name, visit.site.now())
    async with visit.hands() as api:
        await api.create(path_of(keys.FLOWRUNS, visit.namespace), _run(visit, found, name, changed))
    tell(visit, keys.DEPLOYMENTS, "started", flow_run=name)
    return see_other(f"/runs/{visit.namespace}/{name}?said=started")


async def suspend(visit: Visit) -> web.StreamResponse:
    """Has its schedules start no runs. Raises: ApiError."""
    return await changed(visit, keys.DEPLOYMENTS, {"suspend": True}, "schedules-suspended")


async def resume(visit: Visit) -> web.StreamResponse:
    """Has its schedules start runs again. Raises: ApiError."""
    return await changed(visit, keys.DEPLOYMENTS, {"suspend": False}, "schedules-resumed")


def parameters_of(visit: Visit, found: Kept) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The schema of its Flow's parameters, and what its runs get by the Flow's defaults and by its own; what is secret is left out."""
    flow = visit.site.library.flows.get(found.namespace, found.spec["flowRef"]["name"])
    parameters = (flow.spec.get("parameters") if flow else None) or {}
    schema: Mapping[str, Any] = parameters.get("schema") or {}
    values = {**(parameters.get("defaults") or {}), **(found.spec.get("parameters") or {})}
    shown = concealed(values, schema)
    return schema, {name: value for name, value in values.items() if shown[name] == value}


def _run(visit: Visit, found: Kept, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    labels = {keys.DEPLOYMENT_LABEL: found.name, keys.FLOW_LABEL: found.spec["flowRef"]["name"]}
    spec = {"deploymentRef": {"name": found.name}, **({"parameters": dict(parameters)} if parameters else {})}
    metadata = {"name": name, "labels": labels, "annotations": visit.on_behalf()}
    return {"apiVersion": keys.API_VERSION, "kind": keys.FLOWRUNS.kind, "metadata": metadata, "spec": spec}


def _found(visit: Visit) -> Kept:
    found = visit.site.library.deployments.get(visit.namespace, visit.name)
    if found is None:
        raise web.HTTPNotFound
    return found


_ONE: Final = f"/deployments/{NAMESPACE}/{NAME}"
ROUTES: Final = (
    Route("GET", "/deployments", listing),
    Route("GET", _ONE, deployment, (READ,)),
    Route("POST", f"{_ONE}/start", start, (READ, START)),
    Route("POST", f"{_ONE}/suspend", suspend, (CHANGE,)),
    Route("POST", f"{_ONE}/resume", resume, (CHANGE,)),
)
