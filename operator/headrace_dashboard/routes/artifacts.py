"""The content of an artifact that was not stored: it is in the log of the run, which is read with the visitor's own rights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from headrace.api.keys import FLOW_CONTAINER, FLOWRUNS
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import Invalid, NotFound
from headrace_dashboard.pages.artifact import artifact_page, content_of
from headrace_dashboard.routes.logs import READ_LOG, READ_RUN
from headrace_dashboard.site import NAME, NAMESPACE, Route, Visit, html

MARK: Final = b'"artifact_'
"""Of a log's lines those alone are taken apart that have it."""
MAX_LOG: Final = 64 * 1024 * 1024
"""Bytes of each log that are looked at, from its beginning."""
MAX_LINE: Final = 2 * 1024 * 1024


async def artifact(visit: Visit) -> web.StreamResponse:
    """What the newest log that is there tells last of it. Raises: HTTPNotFound, ApiError."""
    run: Mapping[str, Any] | None = await visit.site.library.whole(FLOWRUNS, visit.namespace, visit.name)
    if run is None:
        raise web.HTTPNotFound
    name, found = visit.request.match_info["key"], None
    attempts = (run.get("status") or {}).get("attempts") or ()
    async with visit.hands() as api:
        for attempt in reversed(attempts):
            found = await _told(api, f"/api/v1/namespaces/{visit.namespace}/pods/{attempt['pod']}/log", name)
            if found is not None:
                break
    return html(artifact_page(visit.frame(), (visit.namespace, visit.name), name, found))


async def _told(api: KubeClient, path: str, name: str) -> tuple[str, Any] | None:
    """Kind and content as a pod's log tells them last; None where it does not, or is gone. Raises: ApiError."""
    found = None
    try:
        async for line in api.raw_lines(path, {"container": FLOW_CONTAINER, "limitBytes": str(MAX_LOG)}):
            if MARK in line and len(line) <= MAX_LINE:
                found = content_of(_facts(line), name) or found
    except (NotFound, Invalid):  # the pod is gone, or has not started
        return None
    return found


def _facts(line: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


ROUTES: Final = (
    Route("GET", f"/runs/{NAMESPACE}/{NAME}/artifacts/{{key:[a-z0-9-]{{1,63}}}}", artifact, (READ_RUN, READ_LOG)),
)
