"""
All of a namespace at once: `--all` of `headrace cancel`, `suspend` and `resume`.

What makes runs comes first (Automations, Deployments, Backfills), then the runs, which are listed when that is done: none that was made
meanwhile is left out.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headrace.api import keys
from headrace.cli.cluster import Api, ClusterRefusal, asked, listed, path_of
from headrace.cli.exits import OK, status_of
from headrace.cli.outputs import Object
from headrace.cli.printing import counted
from headrace.cli.references import Reference
from headrace.cli.runs import ENDED, phase_of
from headrace.errors import HeadraceError
from headrace.kubeapi.errors import ApiError, NotFound
from headrace.terminal_text import harmless

ENDED_BACKFILLS: Final = frozenset({"Succeeded", "Failed", "Cancelled"})
AT_ONCE: Final = 8
"""Requests at the same time."""
TRIES: Final = 5
FIRST_DELAY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sweep:
    """
    What is done to all of a namespace.

    Attributes:
        makers: Kinds that make runs, in their order; the runs follow them.
        wants: Whether it is to be done to an object of this kind.
        change: What is merged into it.
        done: As a line goes on behind the object's name.
        after: What a person should know when it is done.
    """

    verb: str
    makers: tuple[keys.Resource, ...]
    wants: Callable[[keys.Resource, Object], bool]
    change: Mapping[str, Any]
    done: str
    after: str


def marked(*, together: bool) -> dict[str, Any]:
    """The part of a change that notes, or forgets, that an object was suspended together with all others."""
    return {"metadata": {"annotations": {keys.SUSPENDED_TOGETHER_ANNOTATION: "true" if together else None}}}


def has_ended(resource: keys.Resource, found: Object) -> bool:
    """Whether nothing comes of it any more; of what has no end, never."""
    ends = {keys.FLOWRUNS: ENDED, keys.BACKFILLS: ENDED_BACKFILLS}.get(resource, frozenset[str]())
    return phase_of(found) in ends


def _to_cancel(resource: keys.Resource, found: Object) -> bool:
    return not has_ended(resource, found) and not found["spec"].get("cancel")


def _to_suspend(resource: keys.Resource, found: Object) -> bool:
    """An Automation that a Deployment keeps for its trigger is suspended with that."""
    labels = found["metadata"].get("labels") or {}
    return not has_ended(resource, found) and not found["spec"].get("suspend") and keys.TRIGGER_LABEL not in labels


def _to_resume(resource: keys.Resource, found: Object) -> bool:
    """What somebody had suspended before, for a reason of its own, stays so."""
    is_ours = keys.SUSPENDED_TOGETHER_ANNOTATION in (found["metadata"].get("annotations") or {})
    return is_ours and not has_ended(resource, found) and bool(found["spec"].get("suspend"))


_MAKERS: Final = (keys.AUTOMATIONS, keys.DEPLOYMENTS, keys.BACKFILLS)
CANCEL: Final = Sweep(
    verb="cancel",
    makers=(keys.BACKFILLS,),
    wants=_to_cancel,
    change={"spec": {"cancel": True}},
    done="will be cancelled",
    after="Deployments and Automations that are not suspended start new ones: headrace suspend --all -n {namespace}",
)
SUSPEND: Final = Sweep(
    verb="suspend",
    makers=_MAKERS,
    wants=_to_suspend,
    change={"spec": {"suspend": True}, **marked(together=True)},
    done="suspended",
    after="what runs goes on; headrace resume --all -n {namespace} lets go on what was suspended now, and nothing else",
)
RESUME: Final = Sweep(
    verb="resume",
    makers=tuple(reversed(_MAKERS)),
    wants=_to_resume,
    change={"spec": {"suspend": False}, **marked(together=False)},
    done="resumed",
    after="catchUp of each Deployment decides about the times that it has missed",
)


async def targets_of(
    api: Api, namespace: str, sweep: Sweep, kinds: Sequence[keys.Resource] | None = None
) -> list[Reference]:
    """What the sweep would change, of these kinds; None: of all its kinds. Raises: ClusterRefusal, ApiError."""
    found: list[Reference] = []
    for kind in (*sweep.makers, keys.FLOWRUNS) if kinds is None else kinds:
        objects = await listed(api, path_of(kind, namespace))
        found += [Reference(kind, each["metadata"]["name"]) for each in objects if sweep.wants(kind, each)]
    return found


def plan(targets: Iterable[Reference], sweep: Sweep, namespace: str) -> str:
    """What will be done, for people."""
    numbers = Counter(target.resource for target in targets)
    lines = [f"  {counted(number, resource.kind)}" for resource, number in numbers.items()]
    note = "" if sweep is not CANCEL else "; it cannot be taken back"
    return "\n".join([f"headrace {sweep.verb} --all in namespace {namespace}{note}:", *lines])


async def swept(api: Api, namespace: str, sweep: Sweep) -> int:
    """
    The exit status: that of the first failure, which is no matter to the others.

    Raises: ClusterRefusal, ApiError: the objects cannot be listed.
    """
    statuses: list[int] = []
    for kinds in (sweep.makers, (keys.FLOWRUNS,)):
        targets = await targets_of(api, namespace, sweep, kinds)
        statuses += await _all_changed(api, namespace, sweep, targets)
    print(sweep.after.format(namespace=namespace), file=sys.stderr)
    return next((status for status in statuses if status != OK), OK)


async def _all_changed(api: Api, namespace: str, sweep: Sweep, targets: Sequence[Reference]) -> list[int]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(target: Reference) -> int:
        async with turns:
            try:
                is_there = await _changed(api, namespace, sweep, target)
            except (HeadraceError, ApiError) as error:
                print(harmless(f"headrace: {error}"), file=sys.stderr)
                return status_of(error)
        if is_there:
            print(f"{target}: {sweep.done}", flush=True)
        return OK

    return list(await asyncio.gather(*map(one, targets)))


async def _changed(api: Api, namespace: str, sweep: Sweep, target: Reference) -> bool:
    """Whether it was there to be changed, once the API server has time for it. Raises: ClusterRefusal, ApiError."""
    wanted, path = f"{sweep.verb} {target}", path_of(target.resource, namespace, target.name)
    attempt = 0
    while True:
        try:
            await asked(wanted, api.patch(path, sweep.change))
        except ClusterRefusal as error:
            if isinstance(error.__cause__, NotFound):  # it went meanwhile
                return False
            raise
        except ApiError as error:
            attempt += 1
            if not error.retryable or attempt == TRIES:
                raise
            await asyncio.sleep(error.retry_after_s or FIRST_DELAY_S * 2 ** (attempt - 1))
        else:
            return True
