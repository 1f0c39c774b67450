"""The table of routes, and what every request passes: who it is, whether it is theirs, whether they may."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import structlog
from aiohttp import web

from headrace.kubeapi.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from headrace_dashboard.access.forgery import CSRF_FIELD, HEADERS, is_from_elsewhere, is_ours
from headrace_dashboard.pages.errors import error_page
from headrace_dashboard.routes import (
    artifacts,
    automations,
    backfills,
    capacity,
    cost,
    dead_letters,
    deployments,
    history,
    live,
    logs,
    run,
    run_actions,
    runs,
    signing_in,
)
from headrace_dashboard.site import SITE, Refusal, Route, Site, Visit, html, see_other, stranger

log = structlog.get_logger()

ROUTES: Final[tuple[Route, ...]] = (
    *signing_in.ROUTES,
    *runs.ROUTES,
    *history.ROUTES,
    *run.ROUTES,
    *run_actions.ROUTES,
    *artifacts.ROUTES,
    *logs.ROUTES,
    *deployments.ROUTES,
    *backfills.ROUTES,
    *dead_letters.ROUTES,
    *capacity.ROUTES,
    *automations.ROUTES,
    *cost.ROUTES,
    *live.ROUTES,
)
"""Everything that only somebody who was let in may ask for."""

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final[Mapping[str, str]] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MAX_BODY: Final = 256 * 1024
A_YEAR_S: Final = 31_536_000

CARRIED: Final = ("Retry-After", "Allow")
"""Headers of an error that its page has too."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is told instead of a page."""

    status: int
    title: str
    text: str


def application(site: Site) -> web.Application:
    """The whole site, ready to be served."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_told])
    app[SITE] = site
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _guarded(route))
    app.router.add_get("/sign-in", signing_in.form)
    app.router.add_post("/sign-in", signing_in.sign_in)
    app.router.add_get("/static/{version}/{file}", _static(static_files()))
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.on_response_prepare.append(_with_headers)
    app.on_shutdown.append(_closing)
    return app


def static_files() -> dict[str, bytes]:
    """What is served to everybody, by name."""
    return {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in TYPES}


def assets_version(files: Mapping[str, bytes]) -> str:
    """Another one whenever a file is another one, so that browsers may keep them."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:12]


def _guarded(route: Route) -> Answer:
    """What answers a route: nothing of it is reached by who may not."""

    async def answer(request: web.Request) -> web.StreamResponse:
        site = request.app[SITE]
        visitor = await site.door.visitor(request)
        if visitor is None:
            return _unknown(request)
        visit = Visit(site, request, visitor)
        if request.method != "GET":
            await _check_origin(visit)
        for need in route.needs:
            right = need.right(visit.namespace, visit.name)
            if not await site.rights.may(visitor, right):
                log.info("request_refused", user=visitor.person.name, path=request.path, right=str(right))
                problem = f"{visitor.person.name} may not {right}."
                return html(
                    error_page(visit.frame(), "Not allowed", problem, "Ask an administrator for the right to."),
                    status=403,
                )
        return await route.handler(visit)

    return answer


async def _check_origin(visit: Visit) -> None:
    """Raises: HTTPForbidden: another page has made the visitor's browser ask."""
    request = visit.request
    if is_from_elsewhere(request.headers, request.host):
        raise web.HTTPForbidden
    if visit.visitor.is_ambient:
        given = (await request.post()).get(CSRF_FIELD, "")
        if not isinstance(given, str) or not is_ours(given, visit.visitor.csrf):
            raise web.HTTPForbidden


def _unknown(request: web.Request) -> web.StreamResponse:
    site = request.app[SITE]
    wants_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
    if site.door.can_sign_in and wants_page:
        return see_other(f"/sign-in?onward={quote(request.path_qs, safe='/?=')}" if request.path != "/" else "/sign-in")
    problem = "Nobody has said who you are, or the cluster does not know you."
    advice = "Come through the proxy that signs you in." if not site.door.can_sign_in else "Sign in again."
    response = html(error_page(stranger(site), "Not signed in", problem, advice), status=401)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


@web.middleware
async def _told(request: web.Request, handler: Answer) -> web.StreamResponse:
    """What went wrong, as a page; nothing of the inside is shown."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = _error(request, _of_http(error))
        response.headers.update({name: error.headers[name] for name in CARRIED if name in error.headers})
        return response
    except Refusal as error:
        return _error(request, Problem(409, "Not possible", str(error)))
    except ApiError as error:
        return _error(request, _meaning(error))
    except ConnectionError:  # the browser has gone while it was written to
        raise
    except Exception:
        log.exception("request_failed", method=request.method, path=request.path)
        return _error(request, Problem(500, "Something is broken", "The dashboard's own log says what."))


def _meaning(error: ApiError) -> Problem:
    """Of what the API server said."""
    if isinstance(error, NotFound):
        return Problem(404, "Not found", "There is no such object any more.")
    if isinstance(error, Forbidden):
        return Problem(403, "Not allowed", error.message)
    if isinstance(error, Conflict):
        return Problem(
            409, "Changed meanwhile", "The object has changed since you looked at it. Look again, and repeat."
        )
    if isinstance(error, Invalid):
        return Problem(422, "Refused", error.message)
    log.warning("api_unreachable", error=str(error))
    return Problem(
        503, "The cluster does not answer", "The API server cannot be asked at the moment, so nothing is shown."
    )


ADVICE: Final[Mapping[int, str]] = {
    403: "This request did not come from a page of the dashboard that is yours. Load the page again.",
    404: "There is nothing here, or no more.",
    405: "This cannot be done here.",
}


def _error(request: web.Request, problem: Problem) -> web.Response:
    return html(error_page(stranger(request.app[SITE]), problem.title, problem.text), status=problem.status)


def _of_http(error: web.HTTPException) -> Problem:
    said = error.text or ""
    is_told = said and not said.startswith(f"{error.status}:")
    return Problem(error.status, error.reason, said if is_told else ADVICE.get(error.status, said))


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


async def _closing(app: web.Application) -> None:
    """Ends the streams that are open, or the process would wait for browsers."""
    site = app[SITE]
    site.closing.set()
    site.library.news.add_everything()
    site.library.news.tick()


def _static(files: Mapping[str, bytes]) -> Answer:
    version = assets_version(files)

    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        if request.match_info["version"] != version or name not in files:
            raise web.HTTPNotFound
        headers = {"Cache-Control": f"public, max-age={A_YEAR_S}, immutable"}
        return web.Response(body=files[name], content_type=TYPES[Path(name).suffix], charset="utf-8", headers=headers)

    return answer


async def _healthz(_: web.Request) -> web.Response:
    """The process answers."""
    return web.Response(text="ok\n")


async def _readyz(request: web.Request) -> web.Response:
    """Runs were listed, so that pages are whole."""
    is_filled = request.app[SITE].library.is_filled
    return web.Response(text="ok\n" if is_filled else "the runs are not listed yet\n", status=200 if is_filled else 503)
