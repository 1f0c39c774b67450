"""Dead letters: runs that failed or crashed for good, and were not run again since."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from headrace.api import keys
from headrace.cli.cluster import Api, asked, path_of
from headrace.errors import UsageError

DEAD = ("Failed", "Crashed")
UNIT_S: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST = timedelta(days=36500)
"""A hundred years; the calendar of Python begins with the year 1, and a span that leads before it is an error of its own."""

OfDeployment = Annotated[str | None, typer.Option("--deployment", help="Only runs of this Deployment.")]
OfFlow = Annotated[str | None, typer.Option("--flow", help="Only runs of this Flow, through a Deployment or without.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="AGE", help="Only runs that ended within this time: 90m, 24h, 7d.")
]
ForReason = Annotated[str | None, typer.Option("--reason", help="Only runs that ended for this reason: OOMKilled.")]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters are meant; None leaves a field open."""

    deployment: str | None = None
    flow: str | None = None
    since: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A run that ended as Failed or Crashed; `run` is the object, without what the operator wrote at length."""

    namespace: str
    name: str
    phase: str
    reason: str
    message: str
    attempts: int
    ended: datetime
    run: Mapping[str, Any]

    @property
    def of(self) -> str:
        """What it ran: a Deployment or a Flow, by kind and name."""
        spec = self.run["spec"]
        ref = spec.get("deploymentRef")
        return f"deployment/{ref['name']}" if ref else f"flow/{spec['flowRef']['name']}"


def age_from(text: str) -> timedelta:
    """
    The span that "90m", "24h" or "7d" says.

    Raises: UsageError.
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise UsageError(f'--since "{text}": expected a number and s, m, h or d, such as 24h')
    span = timedelta(seconds=int(found[1]) * UNIT_S[found[2]])
    if span > LONGEST:
        raise UsageError(f'--since "{text}": expected at most {LONGEST.days}d; leave it out for any age')
    return span


def dead_selector() -> str:
    """A field selector of Failed and Crashed: the API server knows no "or"; a run without a status has the phase ""."""
    from headrace.api.conditions import Phase  # noqa: PLC0415 - the API's models; other commands start without them

    return ",".join(f"status.phase!={phase}" for phase in ("", *(phase for phase in Phase if phase not in DEAD)))


async def dead_letters(api: Api, namespace: str, filters: Filters) -> list[DeadLetter]:
    """Those that match, newest first; the namespace "" is all of them. Raises: ClusterRefusal, ApiError."""
    again = await _run_again(api, namespace)
    deployments = await _deployments_of(api, namespace, filters.flow) if filters.flow else frozenset()
    found = [
        letter
        async for run in _listed(api, path_of(keys.FLOWRUNS, namespace), {"fieldSelector": dead_selector()})
        if (letter := dead_letter(run)) is not None
        and not _is_settled(run, again)
        and _matches(letter, filters, deployments)
    ]
    return sorted(found, key=lambda letter: (letter.ended, letter.namespace, letter.name), reverse=True)


def dead_letter(run: Mapping[str, Any]) -> DeadLetter | None:
    """The run as a dead letter; None if it is none, or the task of another run, which that run deals with."""
    status = run.get("status") or {}
    if status.get("phase") not in DEAD or "task" in run["spec"]:
        return None
    metadata = run["metadata"]
    kept = {"flowRevision": status.get("flowRevision"), "phase": status["phase"]}
    return DeadLetter(
        namespace=metadata["namespace"],
        name=metadata["name"],
        phase=status["phase"],
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        attempts=len(status.get("attempts") or ()),
        ended=datetime.fromisoformat(status.get("finishedAt") or metadata["creationTimestamp"]),
        run={
            "metadata": {name: value for name, value in metadata.items() if name != "managedFields"},
            "spec": run["spec"],
            "status": kept,
        },
    )


def _is_settled(run: Mapping[str, Any], again: Mapping[tuple[str, str], str]) -> bool:
    """Whether a run that was made after it is another go of it; an older one is of an earlier run of the name."""
    metadata = run["metadata"]
    made = again.get((metadata["namespace"], metadata["name"]))
    return made is not None and made >= str(metadata["creationTimestamp"])


def _matches(letter: DeadLetter, filters: Filters, deployments: frozenset[tuple[str, str]]) -> bool:
    spec = letter.run["spec"]
    deployment = (spec.get("deploymentRef") or {}).get("name")
    is_of_flow = (spec.get("flowRef") or {}).get("name") == filters.flow or (
        deployment is not None and (letter.namespace, deployment) in deployments
    )
    return (
        filters.deployment in {None, deployment}
        and (filters.flow is None or is_of_flow)
        and (filters.since is None or letter.ended >= filters.since)
        and filters.reason in {None, letter.reason}
    )


async def _run_again(api: Api, namespace: str) -> Mapping[tuple[str, str], str]:
    """When the latest new go of a run was created, by the run's namespace and name."""
    latest: dict[tuple[str, str], str] = {}
    async for run in _listed(api, path_of(keys.FLOWRUNS, namespace), {"labelSelector": keys.RERUN_OF_LABEL}):
        metadata = run["metadata"]
        key = metadata["namespace"], metadata["labels"][keys.RERUN_OF_LABEL]
        latest[key] = max(latest.get(key, ""), metadata["creationTimestamp"])
    return latest


async def _deployments_of(api: Api, namespace: str, flow: str) -> frozenset[tuple[str, str]]:
    """Namespace and name of each Deployment that runs a Flow of this name."""
    return frozenset(
        [
            (found["metadata"]["namespace"], found["metadata"]["name"])
            async for found in _listed(api, path_of(keys.DEPLOYMENTS, namespace), {})
            if found["spec"]["flowRef"]["name"] == flow
        ]
    )


async def _listed(api: Api, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """The objects at a path, a page at a time."""
    pages = api.pages(path, params)
    wanted = f"list {path.rpartition('/')[2]}"
    while True:
        page = await asked(wanted, anext(pages, None))
        if page is None:
            return
        for item in page.get("items") or ():
            yield item
