"""
Who a visitor is: found out anew for every request, from a token, from a proxy's headers, or given.

Groups and names that begin with `system:` are the cluster's own; a token may carry them, a proxy may not give them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Protocol

from aiohttp import web

from headrace.kubeapi.client import KubeClient
from headrace_dashboard.access.remembered import Remembered
from headrace_dashboard.settings import OWN_RIGHTS, Settings

TOKEN_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
SELF_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
OF_THE_CLUSTER: Final = "system:"
AUTHENTICATED: Final = "system:authenticated"
REMEMBERED: Final = 2000
MAX_TOKEN: Final = 3800
"""Browsers keep cookies of up to 4,096 bytes, name and attributes included."""
SECURE_COOKIE: Final = "__Host-headrace"
PLAIN_COOKIE: Final = "headrace"


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the API server knows them."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def spec(self) -> dict[str, Any]:
        """As a SubjectAccessReview takes it."""
        return {
            "user": self.name,
            "uid": self.uid,
            "groups": list(self.groups),
            "extra": {key: list(values) for key, values in self.extra},
        }


@dataclass(frozen=True, slots=True)
class Visitor:
    """
    Somebody who was let in.

    Attributes: `token` is their own, with which their actions are made; empty where there is none. `csrf` is what forms carry. `is_ambient`
    tells that a browser sends the credentials by itself, so that forms need `csrf`. `is_self` tells that it is the dashboard's own identity.
    """

    person: Person
    csrf: str
    token: str = ""
    is_ambient: bool = True
    is_self: bool = False

    def __repr__(self) -> str:
        return f"Visitor({self.person.name!r})"


class Doorkeeper(Protocol):
    """Tells who a visitor is, by what the request carries."""

    can_sign_in: bool
    """Whether there is a form for it."""

    async def visitor(self, request: web.Request) -> Visitor | None:
        """Who asks; None: nobody who is known. Raises: ApiError."""


class ByToken:
    """A bearer token of the cluster, in the Authorization header or in the cookie that the sign-in form has set."""

    can_sign_in = True

    def __init__(self, api: KubeClient, settings: Settings, clock_s: Callable[[], float]) -> None:
        self._api = api
        self._people: Remembered[bytes, Person | None] = Remembered(settings.token_ttl_s, REMEMBERED, clock_s)
        self._cookie = cookie_name(settings)

    async def visitor(self, request: web.Request) -> Visitor | None:
        """As Doorkeeper has it."""
        scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
        header = sent.strip() if scheme.lower() == "bearer" else ""
        return await self.holder(header or request.cookies.get(self._cookie, ""), is_ambient=not header)

    async def holder(self, token: str, *, is_ambient: bool = True) -> Visitor | None:
        """Whose token it is; None: nobody's. Raises: ApiError."""
        if not token or len(token) > MAX_TOKEN or not (token.isascii() and token.isprintable()):
            return None
        person = await self._people.get(hashlib.sha256(token.encode()).digest(), lambda: self._reviewed(token))
        if person is None:
            return None
        return Visitor(person, csrf=_mark(token, "csrf"), token=token, is_ambient=is_ambient)

    async def _reviewed(self, token: str) -> Person | None:
        answer = await self._api.create(TOKEN_REVIEWS, {**_kind("TokenReview"), "spec": {"token": token}})
        status = answer.get("status") or {}
        return person_of(status["user"]) if status.get("authenticated") is True and status.get("user") else None


class ByHeader:
    """A proxy that has made sure who it is: it knows the secret, and its network if one is set."""

    can_sign_in = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._networks = settings.networks()

    async def visitor(self, request: web.Request) -> Visitor | None:
        """As Doorkeeper has it."""
        settings = self._settings
        given = request.headers.get(settings.proxy_secret_header, "")
        if not hmac.compare_digest(given.encode(), settings.proxy_secret.encode()) or not self._is_near(request):
            return None
        users = request.headers.getall(settings.user_header, [])
        if len(users) != 1 or not users[0].strip():  # twice: one of them is not the proxy's
            return None
        name = settings.user_prefix + users[0].strip()
        listed = ",".join(request.headers.getall(settings.groups_header, []))
        groups = tuple(settings.groups_prefix + each.strip() for each in listed.split(",") if each.strip())
        if any(each.startswith(OF_THE_CLUSTER) for each in (name, *groups)):
            return None
        return Visitor(Person(name, groups=(*groups, AUTHENTICATED)), csrf=_mark(settings.proxy_secret, f"csrf/{name}"))

    def _is_near(self, request: web.Request) -> bool:
        if not self._networks:
            return True
        try:
            address = ip_address(request.remote or "")
        except ValueError:
            return False
        return any(address in network for network in self._networks)


class AsItself:
    """Whoever connects from this machine is taken for the owner of the kubeconfig."""

    can_sign_in = False

    def __init__(self, api: KubeClient) -> None:
        self._api = api
        self._csrf = secrets.token_hex(32)
        self._person: Person | None = None

    async def visitor(self, request: web.Request) -> Visitor | None:
        """As Doorkeeper has it. None for a page of elsewhere whose host name was made to point here."""
        if not _is_local(request.host):
            return None
        if self._person is None:
            answer = await self._api.create(SELF_REVIEWS, _kind("SelfSubjectReview"))
            self._person = person_of(answer["status"]["userInfo"])
        return Visitor(self._person, csrf=self._csrf, is_self=True)


def doorkeeper(api: KubeClient, settings: Settings, clock_s: Callable[[], float]) -> Doorkeeper:
    """The one that the settings ask for."""
    if settings.auth == OWN_RIGHTS:
        return AsItself(api)
    return ByHeader(settings) if settings.auth == "header" else ByToken(api, settings, clock_s)


def cookie_name(settings: Settings) -> str:
    """A secure one cannot be set by other hosts of the domain, which its name says to the browser."""
    return SECURE_COOKIE if settings.secure_cookie else PLAIN_COOKIE


def person_of(user: Mapping[str, Any]) -> Person:
    """As a TokenReview tells them."""
    extra = tuple(sorted((key, tuple(values or ())) for key, values in (user.get("extra") or {}).items()))
    return Person(str(user["username"]), str(user.get("uid") or ""), tuple(user.get("groups") or ()), extra)


def _kind(kind: str) -> dict[str, str]:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": kind}


def _mark(secret: str, purpose: str) -> str:
    """A text that only who knows the secret can make, and from which nobody learns it; each replica makes the same."""
    return hmac.new(secret.encode(), f"headrace-dashboard/{purpose}".encode(), hashlib.sha256).hexdigest()


def _is_local(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name in {"localhost", "127.0.0.1", "[::1]"}
