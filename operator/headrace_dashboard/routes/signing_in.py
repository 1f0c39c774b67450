"""Signing in with a token, and out. The cookie is the token itself: nothing is kept here, so each replica knows everybody."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from headrace_dashboard.access.forgery import is_from_elsewhere
from headrace_dashboard.access.visitors import MAX_TOKEN, ByToken, cookie_name
from headrace_dashboard.pages.sign_in import sign_in_page
from headrace_dashboard.site import SITE, Route, Site, Visit, html, see_other, stranger

ONWARD: Final = re.compile(
    r"/(runs|history|deployments|backfills|dead-letters|capacity|automations|cost)([/?][A-Za-z0-9/?&=%._~+-]*)?"
)
"""Our own pages alone: nobody is led elsewhere by a link to this form."""
START: Final = "/runs"


async def form(request: web.Request) -> web.Response:
    """The form to sign in; the start page where there is none."""
    site = request.app[SITE]
    if not site.door.can_sign_in:
        return see_other(START)
    return html(sign_in_page(stranger(site), onward=_onward(request.query.get("onward", ""))))


async def sign_in(request: web.Request) -> web.Response:
    """Sets the cookie, if somebody has the token. Raises: ApiError."""
    site = request.app[SITE]
    if not isinstance(site.door, ByToken) or is_from_elsewhere(request.headers, request.host):
        raise web.HTTPForbidden
    given = await request.post()
    token, onward = str(given.get("token", "")).strip(), _onward(str(given.get("onward", "")))
    if len(token) > MAX_TOKEN:
        problem = f"This token has {len(token)} characters; a cookie holds {MAX_TOKEN}. Use a token with fewer claims, or a proxy."
        return html(sign_in_page(stranger(site), problem=problem, onward=onward), status=400)
    if await site.door.holder(token) is None:
        problem = "The cluster does not accept this token. It may have expired."
        return html(sign_in_page(stranger(site), problem=problem, onward=onward), status=401)
    response = see_other(onward)
    _set_cookie(site, response, token)
    return response


async def sign_out(visit: Visit) -> web.StreamResponse:
    """Takes the cookie back."""
    response = see_other("/sign-in")
    _set_cookie(visit.site, response, "")
    return response


def _set_cookie(site: Site, response: web.Response, token: str) -> None:
    response.set_cookie(
        cookie_name(site.settings),
        token,
        max_age=None if token else 0,
        path="/",
        httponly=True,
        secure=site.settings.secure_cookie,
        samesite="Strict",
    )


def _onward(text: str) -> str:
    return text if ONWARD.fullmatch(text) else START


ROUTES: Final = (Route("POST", "/sign-out", sign_out),)
