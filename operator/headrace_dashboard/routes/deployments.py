"""Deployments: the list, one of them, and its buttons."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from aiohttp import web

from headrace.api import keys
from headrace.deployments.naming import keyed_name, mark_of
from headrace_dashboard.pages.concealing import concealed
from headrace_dashboard.pages.deployments import DeploymentView, deployment_page, deployments_page
from headrace_dashboard.pages.schema_form import BadField, filled, is_as_shown
from headrace_dashboard.routes.changing import changed, created, tell
from headrace_dashboard.site import NAME, NAMESPACE, Need, Refusal, Route, Visit, html, see_other
from headrace_dashboard.watching.records import Kept

NEWEST: Final = 10
FORM_ID: Final = re.compile("[0-9a-f]{32}")
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
        form_id=secrets.token_hex(16),
    )
    return html(deployment_page(visit.frame(), view, visit.site.now()))


async def start(visit: Visit) -> web.StreamResponse:
    """Creates a run with the parameters of the form, one however often it is sent. Raises: Refusal, ApiError."""
    found = _found(visit)
    schema, values = parameters_of(visit, found)
    form = {name: value for name, value in (await visit.request.post()).items() if isinstance(value, str)}
    try:
        given = filled(schema, form)
    except BadField as error:
        raise Refusal(str(error)) from error
    changed = {
        name: value for name, value in given.items() if name not in values or not is_as_shown(values[name], value)
    }
    key = start_key(form.get("form", ""), given)
    name = keyed_name(found.name, key)
    is_new = await created(visit, keys.FLOWRUNS, _run(visit, found, key, changed))
    if is_new:
        tell(visit, keys.DEPLOYMENTS, "started", flow_run=name)
    return see_other(f"/runs/{visit.namespace}/{name}?said={'started' if is_new else 'started-before'}")


def start_key(form_id: str, given: Mapping[str, Any]) -> str:
    """
    The idempotency key of what a form starts: sent twice it starts one run, filled in anew another.

    Raises: Refusal: no page has such a form.
    """
    if not FORM_ID.fullmatch(form_id):
        raise Refusal("the form does not say which one it is; load the page again")
    return f"form-{form_id}-{mark_of(given)}"


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


def _run(visit: Visit, found: Kept, key: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    labels = {keys.DEPLOYMENT_LABEL: found.name, keys.FLOW_LABEL: found.spec["flowRef"]["name"]}
    given = {"parameters": dict(parameters)} if parameters else {}
    spec = {"deploymentRef": {"name": found.name}, "idempotencyKey": key, **given}
    metadata = {"name": keyed_name(found.name, key), "labels": labels, "annotations": visit.on_behalf()}
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
