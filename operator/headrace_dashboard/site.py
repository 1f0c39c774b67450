"""What routes work with: the site, which all share, and a visit, which is one request of somebody who was let in."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from headrace.api.keys import GROUP, Resource
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace_dashboard.access.remembered import Remembered
from headrace_dashboard.access.rights import Right, Rights, Scope
from headrace_dashboard.access.visitors import Doorkeeper, Visitor
from headrace_dashboard.pages.calendar import Calendar
from headrace_dashboard.pages.layout import Frame
from headrace_dashboard.recorded import Recorded
from headrace_dashboard.settings import Settings
from headrace_dashboard.watching.library import Library

NAMESPACE: Final = "{namespace:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?}"
NAME: Final = "{name:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?}"
"""In paths: nothing that could climb out of the place in the API's path that it is put into."""
AGENT: Final = "headrace-dashboard"


@dataclass(slots=True)
class Site:
    """
    What all requests share.

    Attributes: `api` reads and watches with the dashboard's own rights. `hands` is another client of the same rights, for logs and actions
    of visitors without a token: logs that are open must not keep watches from connecting. `now` is aware UTC. `recorded` is the history store,
    None where there is none.
    """

    settings: Settings
    connection: Connection
    api: KubeClient
    hands: KubeClient
    library: Library
    rights: Rights
    door: Doorkeeper
    now: Callable[[], datetime]
    assets: str
    events: Remembered[str, list[dict[str, Any]]]
    calendars: Remembered[tuple[str, int, tuple[int, ...]], Calendar]
    recorded: Recorded | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0


class Refusal(Exception):
    """What was asked for cannot be done; its text says why, and what to do."""


SITE: Final = web.AppKey("site", Site)

SAID: Final = {
    "cancelled": "The run is asked to end.",
    "suspended": "No further attempt starts until the run is resumed.",
    "resumed": "The run goes on when its turn comes.",
    "answered": "The answer is given; the run goes on when the operator has checked it.",
    "started": "The run is created.",
    "started-before": "This form had started this run already. To start another one, load the page of the Deployment again.",
    "schedules-suspended": "Its schedules start no runs until they are resumed.",
    "schedules-resumed": "Its schedules start runs again.",
    "backfill-suspended": "No more of its runs are started until it is resumed.",
    "backfill-resumed": "It goes on.",
    "backfill-cancelled": "It ends for good: nothing more is started, and what runs is cancelled.",
    "backfill-again": "Its failed partitions are run once more.",
    "again": "This run is another go of the one before.",
    "again-before": "It was run again already: this is that go. Its page says how it went, and can run it once more.",
}
"""What became of an action, by the word that stands in the address after it."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, with whose it is."""

    site: Site
    request: web.Request
    visitor: Visitor

    @property
    def namespace(self) -> str:
        """As the path has it."""
        return self.request.match_info.get("namespace", "")

    @property
    def name(self) -> str:
        """As the path has it."""
        return self.request.match_info.get("name", "")

    def frame(self) -> Frame:
        """What every page shows."""
        said = SAID.get(self.request.query.get("said", ""), "")
        return replace(
            stranger(self.site),
            person=self.visitor.person.name,
            csrf=self.visitor.csrf,
            path=self.request.path,
            can_sign_out=self.site.door.can_sign_in and self.visitor.is_ambient,
            problems=tuple(self.site.library.problems()),
            said=said,
        )

    async def scope(self, resource: Resource) -> Scope:
        """The namespaces in which the visitor may list the resource. Raises: ApiError."""
        namespaces = self.site.library.shelves()[resource].namespaces()
        return await self.site.rights.scope(self.visitor, resource, namespaces)

    async def may(self, verb: str, resource: str, *, group: str = GROUP, subresource: str = "") -> bool:
        """Whether the visitor may do this to the object of the path. Raises: ApiError."""
        right = Right(verb, resource, self.namespace, self.name if group == GROUP else "", group, subresource)
        return await self.site.rights.may(self.visitor, right)

    @asynccontextmanager
    async def hands(self) -> AsyncIterator[KubeClient]:
        """A client that acts for the visitor: with their own token, or else with the rights of the dashboard."""
        if not self.visitor.token:
            yield self.site.hands
            return
        async with KubeClient(signed_in(self.site.connection, self.visitor.token), user_agent=AGENT) as client:
            yield client

    def on_behalf(self) -> dict[str, str]:
        """Annotations that tell who asked, where the API server sees the dashboard alone."""
        if self.visitor.token or self.visitor.is_self:
            return {}
        return {ASKED_BY: self.visitor.person.name}


ASKED_BY: Final = "headrace.dev/asked-by"
"""On an object that the dashboard created or changed with its own rights: the user who asked for it."""

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Need:
    """A right to something in the namespace of the path; `on_object` asks for it on the object of the path alone."""

    verb: str
    resource: str
    group: str = GROUP
    subresource: str = ""
    on_object: bool = True

    def right(self, namespace: str, name: str) -> Right:
        """That of the object that a path names."""
        return Right(self.verb, self.resource, namespace, name if self.on_object else "", self.group, self.subresource)


@dataclass(frozen=True, slots=True)
class Route:
    """
    A path and what answers it.

    Attributes: `needs` are rights that a visitor must have; without any, the handler shows what `Visit.scope()` allows.
    """

    method: str
    path: str
    handler: Handler
    needs: tuple[Need, ...] = ()


def stranger(site: Site) -> Frame:
    """The frame of a page for somebody who is not known."""
    return Frame(person="", csrf="", assets=site.assets, has_history=site.recorded is not None)


def see_other(address: str) -> web.Response:
    """Look there, by GET."""
    return web.Response(status=303, headers={"Location": address})


def html(text: str, *, status: int = 200) -> web.Response:
    """A page, which no cache keeps: it is for this visitor alone."""
    return web.Response(text=text, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def signed_in(connection: Connection, token: str) -> Connection:
    """The same API server, as the holder of the token and as nobody else."""
    return Connection(
        server=connection.server,
        namespace=connection.namespace,
        ssl=without_certificate(connection.ssl),
        authorization=lambda: f"Bearer {token}",
    )


def without_certificate(trust: ssl.SSLContext | bool) -> ssl.SSLContext | bool:  # noqa: FBT001 - as Connection has it
    """The same trust, without a certificate of our own: the API server would take it before any token."""
    if isinstance(trust, bool):
        return trust
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode, bare.verify_flags = (
        trust.check_hostname,
        trust.verify_mode,
        trust.verify_flags,
    )
    known = trust.get_ca_certs(binary_form=True)
    for certificate in known:
        bare.load_verify_locations(cadata=certificate)
    if not known:
        bare.load_default_certs()
    return bare
