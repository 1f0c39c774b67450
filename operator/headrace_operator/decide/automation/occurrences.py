"""
What happened, and which of it an Automation waits for.

An occurrence's id and time derive from what is in the API, not from who saw it when: seen a second time, it is the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from headrace.api import keys
from headrace.api.automation import EventSource, OnOverdueRun, OnRun, RunChoice
from headrace.api.conditions import Phase
from headrace.instants import stamp
from headrace_operator.decide.snapshot import ConditionView, ObjectKey, Run


@dataclass(frozen=True, slots=True)
class Occurrence:
    """
    Something that happened.

    Attributes:
        id: The same whenever and wherever this very thing is seen.
        at: When it happened, aware.
        about: In a few words, for people.
        event: What expressions see as `event`: JSON.
        group: What it is grouped by where the Automation does not say. Empty: its id.
    """

    id: str
    at: datetime
    about: str
    event: Mapping[str, Any]
    group: str = ""


@dataclass(frozen=True, slots=True)
class CircuitView:
    """A Deployment's circuit breaker, as its condition tells."""

    deployment: ObjectKey
    uid: str
    condition: ConditionView


def fingerprint(*parts: str) -> str:
    """40 hexadecimal digits; lists of parts that differ have different ones."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode(errors="surrogatepass")
        digest.update(b"%d:" % len(raw) + raw)
    return digest.hexdigest()[:40]


def is_chosen(choice: RunChoice, run: Run, flow: str | None) -> bool:
    """
    Whether a FlowRun is one of these.

    Args:
        flow: That it runs; None where it is not known.
    """
    if choice.deployments is not None and run.deployment_ref not in choice.deployments:
        return False
    if choice.flows is not None and flow not in choice.flows:
        return False
    return choice.selector is None or choice.selector.matches(run.labels)


def run_occurrence(source: EventSource, automation: str, run: Run, *, flow: str | None) -> Occurrence | None:
    """That the run is in a phase that is waited for; None where it is not, or where the Automation started it itself."""
    on = source.run
    if on is None or not _has_phase(on, run) or not is_chosen(on, run, flow) or _is_own(run, automation):
        return None
    at = _since(run)
    if at is None:
        return None
    phase = str(run.status.phase)
    attempt = "" if run.finished else f"{len(run.status.attempts)}/{stamp(at)}"
    about = f"FlowRun {run.key.name} is {phase}" + (f" ({run.status.reason})" if run.status.reason else "")
    return Occurrence(fingerprint("run", run.uid, phase, attempt), at, about, run_event("run", run, flow))


def _is_own(run: Run, automation: str) -> bool:
    """Whether this Automation started it: acting on it would go on for ever."""
    return run.labels.get(keys.AUTOMATION_LABEL) == automation


def _has_phase(on: OnRun, run: Run) -> bool:
    return run.status.phase in on.phases and (on.reasons is None or run.status.reason in on.reasons)


def _since(run: Run) -> datetime | None:
    """Since when it is in its phase."""
    status = run.status
    if run.finished:
        return status.finished_at or run.created
    if status.phase is Phase.PAUSED:
        return status.pause.since if status.pause else None
    return status.attempts[-1].finished_at if status.attempts else None


def overdue_at(source: EventSource, automation: str, run: Run, *, flow: str | None) -> datetime | None:
    """
    When the run will be, or has been, late or long.

    Returns: None if it is not waited for, came far enough, or was started by the Automation itself.
    """
    if run.finished or run.deleting or _is_own(run, automation):
        return None
    late, long = source.late_run, source.long_run
    if late is not None and run.status.started_at is None and not run.status.attempts and is_chosen(late, run, flow):
        return _after(late, run.due)
    if long is not None and run.status.started_at is not None and is_chosen(long, run, flow):
        return _after(long, run.status.started_at)
    return None


def _after(overdue: OnOverdueRun, since: datetime) -> datetime:
    return since + timedelta(seconds=overdue.after_seconds)


def overdue_occurrence(source: EventSource, run: Run, at: datetime, *, flow: str | None) -> Occurrence:
    """That the run is late, or lasts for long, since then."""
    is_late = source.late_run is not None
    kind = "lateRun" if is_late else "longRun"
    about = f"FlowRun {run.key.name} " + ("has not started in time" if is_late else "lasts longer than it should")
    return Occurrence(fingerprint(kind, run.uid), at, about, run_event(kind, run, flow))


def circuit_occurrence(source: EventSource, circuit: CircuitView) -> Occurrence | None:
    """That a Deployment's circuit has opened; None where it is closed, or not waited for."""
    on, name = source.circuit_open, circuit.deployment.name
    if on is None or circuit.condition.status != "True" or (on.deployments is not None and name not in on.deployments):
        return None
    since = circuit.condition.last_transition_time
    event = {
        "type": "circuitOpen",
        "deployment": {"name": name, "namespace": circuit.deployment.namespace},
        "message": circuit.condition.message,
        "at": stamp(since),
    }
    about = f"the circuit of Deployment {name} is open"
    return Occurrence(fingerprint("circuit", circuit.uid, stamp(since)), since, about, event, circuit.uid)


def run_event(kind: str, run: Run, flow: str | None) -> dict[str, Any]:
    """What expressions see of a FlowRun; what it does not have is left out."""
    status = run.status
    # What the run is given by its Flow and its Deployment is in the status, once it is accepted.
    parameters = status.parameters if status.parameters is not None else run.parameters
    facts = {
        "name": run.key.name,
        "namespace": run.key.namespace,
        "uid": run.uid,
        "deployment": run.deployment_ref,
        "flow": flow,
        "labels": dict(run.labels),
        "parameters": None if parameters is None else dict(parameters),
        "phase": None if status.phase is None else str(status.phase),
        "reason": status.reason,
        "message": status.message,
        "attempts": len(status.attempts),
        "scheduledTime": _told(run.scheduled_time),
        "startedAt": _told(status.started_at),
        "finishedAt": _told(status.finished_at),
        "result": None if status.result is None else dict(status.result),
        "artifacts": [dict(artifact) for artifact in status.artifacts],
    }
    return {"type": kind, "run": {name: value for name, value in facts.items() if value is not None}}


def _told(at: datetime | None) -> str | None:
    return None if at is None else stamp(at)
