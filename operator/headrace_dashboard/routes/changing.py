"""What a button creates, or changes in the object of its page: done for the visitor, noted with whom it was for, told in the log, seen by the next page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from headrace.api.keys import Resource
from headrace.kubeapi.errors import AlreadyExists
from headrace_dashboard.site import Visit, see_other
from headrace_dashboard.watching.library import path_of

log = structlog.get_logger()


async def changed(
    visit: Visit, resource: Resource, spec: Mapping[str, Any], said: str, *, version: str = ""
) -> web.StreamResponse:
    """
    Sets fields of the object's spec, and leads back to its page, below whose address that of the button is.

    Args:
        said: What became of it, one of `site.SAID`.
        version: The only resourceVersion of it that is to be changed; empty: whichever it has.
    Raises: ApiError.
    """
    metadata: dict[str, Any] = {"resourceVersion": version} if version else {}
    if annotations := visit.on_behalf():
        metadata["annotations"] = annotations
    body = {"spec": dict(spec), **({"metadata": metadata} if metadata else {})}
    async with visit.hands() as api:
        found = await api.patch(path_of(resource, visit.namespace, visit.name), body)
    visit.site.library.shelves()[resource].seen(found)
    tell(visit, resource, said)
    return see_other(f"{visit.request.path.rpartition('/')[0]}?said={said}")


async def created(visit: Visit, resource: Resource, body: Mapping[str, Any]) -> bool:
    """Creates an object in the namespace of the page; False: it is there already, of an earlier press. Raises: ApiError."""
    try:
        async with visit.hands() as api:
            await api.create(path_of(resource, visit.namespace), body)
    except AlreadyExists:
        return False
    return True


def tell(visit: Visit, resource: Resource, action: str, **facts: str) -> None:
    """Notes in the log who did what to the object of the page; `facts` are what came of it."""
    log.info(
        "action_performed",
        action=action,
        user=visit.visitor.person.name,
        kind=resource.kind,
        namespace=visit.namespace,
        name=visit.name,
        **facts,
    )
