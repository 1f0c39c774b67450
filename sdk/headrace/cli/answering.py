"""Answers to runs that pause: found, given, and whether the operator takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.api import keys
from headrace.cli.cluster import Api, ClusterRefusal, asked, path_of
from headrace.errors import UsageError
from headrace.kubeapi.errors import Conflict
from headrace.pausing.forms import fields_of
from headrace.terminal_text import harmless

TRIES = 5
LOOKS = 20
BETWEEN_LOOKS_S = 0.5
"""Ten seconds in all: an operator at work answers within one."""

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for an answer; `pause` is its status.pause, `given` its spec.answers, by name."""

    namespace: str
    run: str
    version: str
    pause: Mapping[str, Any]
    given: Mapping[str, Mapping[str, Any]]

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """Of the input that it asks for; None: it takes none."""
        found: Mapping[str, Any] | None = self.pause.get("schema")
        return found


async def waiting_run(api: Api, namespace: str, name: str) -> Waiting:
    """
    The run, with what it asks.

    Raises: ClusterRefusal: there is none of this name, or it asks nothing. ApiError.
    """
    wanted = f"answer run {name}"
    missing = f"there is no such FlowRun in namespace {namespace}; headrace approve --list shows what waits"
    run = await asked(wanted, api.get(path_of(keys.FLOWRUNS, namespace, name)), missing=missing)
    found = _waiting(run)
    if found is None:
        status = run.get("status") or {}
        is_now = status.get("phase") or "Pending"
        raise ClusterRefusal(wanted, f"it waits for no answer: it is {is_now} ({status.get('reason') or 'not begun'})")
    return found


async def waiting_runs(api: Api, namespace: str) -> list[Waiting]:
    """The runs that wait for an answer, longest first; the namespace "" is all of them. Raises: ClusterRefusal, ApiError."""
    pages = api.pages(path_of(keys.FLOWRUNS, namespace), {"fieldSelector": "status.phase=Paused"})
    found: list[Waiting] = []
    while (page := await asked("list runs that wait", anext(pages, None))) is not None:
        found += [waiting for run in page.get("items") or () if (waiting := _waiting(run)) is not None]
    return sorted(found, key=lambda waiting: (waiting.pause["since"], waiting.namespace, waiting.run))


def input_from(waiting: Waiting, texts: Mapping[str, str]) -> dict[str, Any]:
    """
    The input as it was given on the command line: text where the field is text, JSON elsewhere.

    Raises: UsageError: the run asks for no such field.
    """
    fields = {field.name: field for field in fields_of(waiting.schema or {})}
    unknown = [name for name in texts if name not in fields]
    if unknown:
        takes = ", ".join(f"{field.name} ({field.told})" for field in fields.values()) or "no input"
        raise UsageError(f'-p {unknown[0]}: pause "{waiting.pause["name"]}" of {waiting.run} takes {takes}')
    return {name: fields[name].value(text) for name, text in texts.items()}


def missing_fields(waiting: Waiting, given: Mapping[str, Any]) -> list[str]:
    """What must be given and is not, as options to type."""
    return [
        f"-p {field.name}=… ({field.told})"
        for field in fields_of(waiting.schema or {})
        if field.required and field.name not in given
    ]


async def give(api: Api, waiting: Waiting, answer: Mapping[str, Any]) -> None:
    """
    Writes the answer into spec.answers, unless somebody else has answered meanwhile.

    Args:
        answer: Without the name of the pause.
    Raises: ClusterRefusal, ApiError.
    """
    name = waiting.pause["name"]
    wanted = f"answer run {waiting.run}"
    for left in reversed(range(TRIES)):
        mine = {"name": name, **answer}
        _refuse_second(waiting, mine, wanted)
        answers = {**waiting.given, name: mine}
        body = {"metadata": {"resourceVersion": waiting.version}, "spec": {"answers": list(answers.values())}}
        try:
            await asked(wanted, api.patch(path_of(keys.FLOWRUNS, waiting.namespace, waiting.run), body))
        except Conflict:
            if not left:
                raise
            waiting = await waiting_run(api, waiting.namespace, waiting.run)
            if waiting.pause["name"] != name:
                raise ClusterRefusal(wanted, f'its pause "{name}" is over; it asks something else now') from None
            continue
        return


async def verdict(api: Api, waiting: Waiting, *, sleep: Sleep = asyncio.sleep) -> str:
    """
    What became of the answer that was given, for people.

    Raises: ClusterRefusal: the operator could not take it. ApiError.
    """
    path = path_of(keys.FLOWRUNS, waiting.namespace, waiting.run)
    for _ in range(LOOKS):
        status = (await asked(f"follow run {waiting.run}", api.get(path))).get("status") or {}
        pause = status.get("pause") or {}
        if pause.get("name") != waiting.pause["name"]:
            return harmless(f"{waiting.run} goes on: {status.get('message') or status.get('phase')}")
        if pause.get("refused") != waiting.pause.get("refused"):
            raise ClusterRefusal(f"answer run {waiting.run}", f"{pause.get('problem')}; it waits for another answer")
        await sleep(BETWEEN_LOOKS_S)
    return f"{waiting.run}: the answer is given, and no operator has taken it up yet; kubectl get fr {waiting.run} shows when"


def _waiting(run: Mapping[str, Any]) -> Waiting | None:
    pause = (run.get("status") or {}).get("pause")
    if not pause or pause.get("kind") != "Approval":
        return None
    metadata = run["metadata"]
    given = {answer["name"]: answer for answer in run["spec"].get("answers") or ()}
    return Waiting(metadata["namespace"], metadata["name"], metadata["resourceVersion"], pause, given)


def _refuse_second(waiting: Waiting, mine: Mapping[str, Any], wanted: str) -> None:
    """Raises: ClusterRefusal: an answer that was not refused is there, or the very one that was."""
    before = waiting.given.get(waiting.pause["name"])
    if before == mine and waiting.pause.get("refused") is not None:
        raise ClusterRefusal(wanted, f"{waiting.pause.get('problem')}; it waits for another answer")
    if before is not None and waiting.pause.get("refused") is None:
        raise ClusterRefusal(
            wanted, f"somebody has answered already: {before['decision']}; the operator takes it up soon"
        )
