"""
That something has changed, told to the pages that show it: never what, as a page is read anew with the rights of then.

However many browsers listen, one stream a kind feeds them all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from headrace.api.keys import Resource
from headrace_dashboard.access.rights import Right
from headrace_dashboard.access.visitors import Visitor
from headrace_dashboard.server_sent import events_to
from headrace_dashboard.site import Route, Visit
from headrace_dashboard.watching.news import Batch, Change

BEAT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Interest:
    """What a page shows: kinds, of one namespace and of one name or, where these are empty, of any."""

    resources: tuple[Resource, ...]
    namespace: str
    name: str


async def live(visit: Visit) -> web.StreamResponse:
    """Stays open; tells `changed`, and `signed-out` when the visitor is not known any more."""
    interest = _interest(visit)
    batch = visit.site.library.news.latest
    async with events_to(visit) as events:
        while not visit.site.closing.is_set():
            following = await _following(batch)
            visitor = await visit.site.door.visitor(visit.request)
            if visitor is None or visitor.person != visit.visitor.person:
                await events.send("signed-out", {})
                break
            if following is None:
                await events.beat()
                continue
            batch = following
            if await _concerns(visit, visitor, interest, batch):
                await events.send("changed", {})
    return events.response


async def _following(batch: Batch) -> Batch | None:
    """The next news; None: there were none for a while."""
    try:
        async with asyncio.timeout(BEAT_S):
            return await batch.following()
    except TimeoutError:
        return None


async def _concerns(visit: Visit, visitor: Visitor, interest: Interest, batch: Batch) -> bool:
    """Whether anything has changed that the page shows and the visitor may see. Raises: ApiError."""
    if batch.everything:
        return True
    for resource in interest.resources:
        for namespace in batch.places.get(resource.plural, ()):
            if interest.namespace not in {"", namespace}:
                continue
            if interest.name:
                if Change(resource.plural, namespace, interest.name) in batch.changes:
                    right = Right("get", resource.plural, namespace, interest.name)
                    return await visit.site.rights.may(visitor, right)
                continue
            if (await visit.site.rights.scope(visitor, resource, {namespace} - {""})).has(namespace):
                return True
    return False


def _interest(visit: Visit) -> Interest:
    given = visit.request.query
    known = {resource.plural: resource for resource in visit.site.library.shelves()}
    wanted = [each for each in given.get("of", "").split(",") if each]
    if not wanted or any(each not in known for each in wanted):
        raise web.HTTPBadRequest(text=f"of: expected some of {', '.join(known)}, with commas between\n")
    return Interest(tuple(known[each] for each in wanted), given.get("namespace", ""), given.get("name", ""))


ROUTES: Final = (Route("GET", "/live", live),)
