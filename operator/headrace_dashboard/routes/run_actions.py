"""What the buttons of a run do. Each asks for the right of its own, acts as the visitor where they have a token, and is logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from headrace.api.keys import FLOWRUNS
from headrace.cli.again import Changes, NotToBeRunAgain, once_more
from headrace_dashboard.pages.schema_form import BadField, filled
from headrace_dashboard.routes.changing import changed, created, tell
from headrace_dashboard.routes.goes import go_from
from headrace_dashboard.site import NAME, NAMESPACE, Need, Refusal, Route, Visit, see_other

READ: Final = Need("get", FLOWRUNS.plural)
CHANGE: Final = Need("patch", FLOWRUNS.plural)
CREATE: Final = Need("create", FLOWRUNS.plural, on_object=False)
DECISIONS: Final = frozenset({"Approve", "Reject"})
MAX_COMMENT: Final = 256


async def cancel(visit: Visit) -> web.StreamResponse:
    """Asks for the run's end. Raises: ApiError."""
    return await changed(visit, FLOWRUNS, {"cancel": True}, "cancelled")


async def suspend(visit: Visit) -> web.StreamResponse:
    """Holds the next attempt back. Raises: ApiError."""
    return await changed(visit, FLOWRUNS, {"suspend": True}, "suspended")


async def resume(visit: Visit) -> web.StreamResponse:
    """Lets the next attempt start. Raises: ApiError."""
    return await changed(visit, FLOWRUNS, {"suspend": False}, "resumed")


async def retry(visit: Visit) -> web.StreamResponse:
    """
    Creates the go of the run that the button was made for: one, however often it is pressed, as its name derives from the run.

    Raises: Refusal, ApiError.
    """
    go = go_from(visit.name, (await visit.request.post()).get("go"))
    try:
        new = once_more(await _read(visit), Changes(), go=go)
    except NotToBeRunAgain as error:
        raise Refusal(str(error)) from error
    name = str(new["metadata"]["name"])
    new["metadata"]["annotations"] = visit.on_behalf()
    is_new = await created(visit, FLOWRUNS, new)
    if is_new:
        tell(visit, FLOWRUNS, "again", new=name)
    return see_other(f"/runs/{visit.namespace}/{name}?said={'again' if is_new else 'again-before'}")


async def answer(visit: Visit) -> web.StreamResponse:
    """Gives an answer to the pause that the form was made for. Raises: Refusal, ApiError."""
    form = await visit.request.post()
    given = {name: value for name, value in form.items() if isinstance(value, str)}
    run = await _read(visit)
    pause = (run.get("status") or {}).get("pause") or {}
    if not pause or pause.get("name") != given.get("pause"):
        raise Refusal("the run does not ask this any more; look at what it waits for now")
    answers = _answers(run, _answer(pause, given))
    return await changed(visit, FLOWRUNS, {"answers": answers}, "answered", version=run["metadata"]["resourceVersion"])


def _answer(pause: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    decision = given.get("decision", "")
    if decision not in DECISIONS:
        raise Refusal("the form says neither Approve nor Reject")
    said: dict[str, Any] = {"name": pause["name"], "decision": decision}
    if comment := given.get("comment", "").strip():
        said["comment"] = comment[:MAX_COMMENT]
    if decision == "Approve" and pause.get("schema"):
        try:
            said["input"] = filled(pause["schema"], given)
        except BadField as error:
            raise Refusal(str(error)) from error
    return said


def _answers(run: Mapping[str, Any], mine: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All answers with this one. Raises: Refusal: somebody has answered, and was not refused."""
    before = {each["name"]: each for each in run["spec"].get("answers") or ()}
    if mine["name"] in before and (run["status"]["pause"] or {}).get("refused") is None:
        raise Refusal("somebody has answered meanwhile; the operator is about to take that answer")
    return list({**before, mine["name"]: mine}.values())


async def _read(visit: Visit) -> Mapping[str, Any]:
    visit.site.library.forget(FLOWRUNS, visit.namespace, visit.name)
    found = await visit.site.library.whole(FLOWRUNS, visit.namespace, visit.name)
    if found is None:
        raise web.HTTPNotFound
    return found


_RUN: Final = f"/runs/{NAMESPACE}/{NAME}"
ROUTES: Final = (
    Route("POST", f"{_RUN}/cancel", cancel, (CHANGE,)),
    Route("POST", f"{_RUN}/suspend", suspend, (CHANGE,)),
    Route("POST", f"{_RUN}/resume", resume, (CHANGE,)),
    Route("POST", f"{_RUN}/retry", retry, (READ, CREATE)),
    Route("POST", f"{_RUN}/answer", answer, (READ, CHANGE)),
)
