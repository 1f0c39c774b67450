"""FlowRuns as commands show them: which are meant, and what a line tells of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headrace.api import keys
from headrace.cli.cluster import Api, asked, listed, path_of
from headrace.cli.outputs import Column, Object
from headrace.cli.printing import painted, shortened
from headrace.diagnose.wording import span
from headrace.errors import UsageError

PHASES: Final = ("Pending", "Running", "Retrying", "Paused", "Succeeded", "Failed", "Crashed", "Cancelled", "Skipped")
ENDED: Final = frozenset({"Succeeded", "Failed", "Crashed", "Cancelled", "Skipped"})
"""Those of headrace.api.conditions, whose models take longer to import than a list takes to read."""
MESSAGE_WIDTH: Final = 80
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs; what is None or empty leaves a field open. `since` is of their creation."""

    deployment: str | None = None
    flow: str | None = None
    backfill: str | None = None
    phases: frozenset[str] = frozenset()
    labels: str = ""
    since: datetime | None = None


async def found_runs(api: Api, namespace: str, wanted: Wanted) -> list[dict[str, Any]]:
    """Those that match; the namespace "" is all of them. Raises: ClusterRefusal, ApiError."""
    runs = await listed(api, path_of(keys.FLOWRUNS, namespace), _selectors(wanted))
    deployments = await flows_of_deployments(api, namespace) if wanted.flow else {}
    return [run for run in runs if _matches(run, wanted, deployments)]


async def the_run(api: Api, namespace: str, name: str, wanted: str) -> dict[str, Any]:
    """One run. Raises: ClusterRefusal: there is none of this name. ApiError."""
    missing = f"there is no such FlowRun in namespace {namespace}; headrace list -n {namespace} shows those that are"
    return await asked(wanted, api.get(path_of(keys.FLOWRUNS, namespace, name)), missing=missing)


async def flows_of_deployments(api: Api, namespace: str) -> dict[tuple[str, str], str]:
    """The Flow of each Deployment, by namespace and name."""
    found = await listed(api, path_of(keys.DEPLOYMENTS, namespace))
    return {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each["spec"]["flowRef"]["name"] for each in found
    }


def phases_from(texts: Sequence[str]) -> frozenset[str]:
    """
    The phases that were typed, in any case and with commas; "active" and "ended" are several.

    Raises: UsageError.
    """
    known = {phase.lower(): {phase} for phase in PHASES}
    known["active"], known["ended"] = {"Running", "Retrying"}, set(ENDED)
    found: set[str] = set()
    for word in ",".join(texts).split(",") if texts else ():
        if word.lower() not in known:
            raise UsageError(f'--phase "{word}": expected one of {", ".join(PHASES)}, or active, or ended')
        found |= known[word.lower()]
    return frozenset(found)


def phase_of(run: Object) -> str:
    """Its phase; one that nobody has looked at is Pending."""
    return (run.get("status") or {}).get("phase") or "Pending"


def subject(run: Object) -> str:
    """What it runs: "deployment/nightly" or "flow/etl"; the task of another run, "task/train"."""
    spec = run["spec"]
    if "task" in spec:
        return f"task/{spec['task']['name']}"
    ref = spec.get("deploymentRef")
    return f"deployment/{ref['name']}" if ref else f"flow/{spec['flowRef']['name']}"


def flow_of(run: Object, deployments: Mapping[tuple[str, str], str]) -> str:
    """The name of its Flow, "" where nothing tells it any more."""
    spec, metadata = run["spec"], run["metadata"]
    if "flowRef" in spec:
        return str(spec["flowRef"]["name"])
    known = deployments.get((metadata["namespace"], spec["deploymentRef"]["name"]))
    return known or (metadata.get("labels") or {}).get(keys.FLOW_LABEL, "")


def instant(run: Object, field: str) -> datetime | None:
    """An instant of its status, or of its metadata for "creationTimestamp"; None where there is none."""
    text = (run["metadata"] if field == "creationTimestamp" else run.get("status") or {}).get(field)
    return datetime.fromisoformat(text) if text else None


def duration(run: Object, now: datetime) -> timedelta | None:
    """From its start to its end, or to now; None where it has not started."""
    started = instant(run, "startedAt")
    return (instant(run, "finishedAt") or now) - started if started else None


def took(length: timedelta | None) -> str:
    """As people write it: "0.4s", "12s", "5m"; "" for None."""
    if length is None:
        return ""
    seconds = length.total_seconds()
    return f"{max(0.0, seconds):.1f}s" if seconds < 10 else span(length)


def cost(run: Object) -> str:
    """Amount and currency, "" where it is unknown."""
    found = (run.get("status") or {}).get("cost")
    return f"{found['amount']} {found['currency']}" if found else ""


def columns(now: datetime, *, namespaces: bool, colours: bool) -> list[Column]:
    """
    Those of a list of runs.

    Args:
        namespaces: Whether runs of several are shown.
        colours: Whether phases are coloured.
    """

    def status(field: str) -> Callable[[Object], str]:
        return lambda run: str((run.get("status") or {}).get(field) or "")

    def last(field: str) -> Callable[[Object], str]:
        return lambda run: str(((run.get("status") or {}).get("attempts") or [{}])[-1].get(field) or "")

    def phase(run: Object) -> str:
        word = phase_of(run)
        return painted(word, word) if colours else word

    head = [Column("NAMESPACE", lambda run: run["metadata"]["namespace"])] if namespaces else []
    return [
        *head,
        Column("NAME", lambda run: run["metadata"]["name"]),
        Column("OF", subject),
        Column("PHASE", phase),
        Column("REASON", lambda run: status("reason")(run) if phase_of(run) != "Succeeded" else ""),
        Column("ATTEMPT", last("number")),
        Column("TOOK", lambda run: took(duration(run, now))),
        Column("AGE", lambda run: span(now - (instant(run, "creationTimestamp") or now))),
        Column("SCHEDULED", lambda run: run["spec"].get("scheduledTime", ""), wide=True),
        Column("REVISION", status("flowRevision"), wide=True),
        Column("POOL", status("pool"), wide=True),
        Column("NODE", last("node"), wide=True),
        Column("COST", cost, wide=True),
        Column("MESSAGE", lambda run: shortened(status("message")(run), MESSAGE_WIDTH), wide=True),
    ]


def _selectors(wanted: Wanted) -> dict[str, str]:
    """What the API server can pick: labels, and a phase, of which it knows no "or"."""
    labels = [wanted.labels] if wanted.labels else []
    labels += [f"{keys.BACKFILL_LABEL}={wanted.backfill}"] if wanted.backfill else []
    unwanted = [phase for phase in PHASES if phase not in wanted.phases] if wanted.phases else []
    # A run that nobody has looked at has the phase "", and counts as Pending.
    unwanted += [""] if wanted.phases and "Pending" not in wanted.phases else []
    fields = ",".join(f"status.phase!={phase}" for phase in unwanted)
    given = {"labelSelector": ",".join(labels), "fieldSelector": fields}
    return {name: value for name, value in given.items() if value}


def _matches(run: Object, wanted: Wanted, deployments: Mapping[tuple[str, str], str]) -> bool:
    return (
        wanted.deployment in {None, (run["spec"].get("deploymentRef") or {}).get("name")}
        and (wanted.flow is None or flow_of(run, deployments) == wanted.flow)
        and (wanted.since is None or (instant(run, "creationTimestamp") or LONG_AGO) >= wanted.since)
    )
