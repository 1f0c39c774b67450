"""Why a Deployment starts no runs, why a Backfill does not go on, why a limit lets nobody in; and the next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from headrace.deployments.triggers import trigger_text
from headrace.diagnose.explaining import Explanation
from headrace.diagnose.wording import Object, ago, condition, event_lines, span

MOST_NAMED: Final = 3
MOST_HOLDERS: Final = 10
ORDINARY: Final = frozenset({"Ready", "Scheduling", "Triggering", "CircuitOpen", "Completed"})
"""Conditions that are told by what they mean for the object."""

MEND: Final = ("mend what the message names, and apply it again",)
OF_DEPLOYMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "FlowNotFound": ("create the Flow, or mend spec.flowRef.name: kubectl get fl -n {namespace} lists those that are",),
    "RevisionNotFound": ("pin a revision that is there (spec.flowRef.revision), or none",),
    "InvalidSpec": MEND,
    "InvalidSchedule": MEND,
    "CircuitOpen": (
        "mend what failed: headrace failures --deployment {name} -n {namespace}",
        "headrace circuit close {name} -n {namespace} lets runs start before then",
    ),
    "TriggerNameTaken": ("delete the Automation that has the name, or rename the trigger",),
    "TriggerRefused": ("mend what refuses it: a quota, a policy, or a right of the operator; it is tried again",),
    "SecretNotReadable": ("create the Secret or its key, or let the operator read it (docs/automations.md)",),
    "Suspended": ("headrace resume deployment/{name} -n {namespace} lets its schedules go on",),
    "BudgetExceeded": (
        "headrace cost --budgets -n {namespace} shows what is spent of what",
        "it goes on in the next period; raise spec.budget.amount to let it go on now",
    ),
    "NoSchedules": ("headrace run {name} -n {namespace} starts one by hand",),
}
OF_BACKFILLS: Final[Mapping[str, tuple[str, ...]]] = {
    "DeploymentNotFound": ("create the Deployment, or make the Backfill of another one",),
    "InvalidSpec": MEND,
    "WindowClosed": ("it goes on by itself; make spec.window wider, or take it out, to go on now",),
    "HistoryFull": ("mend the history store; it goes on by itself then",),
    "Suspended": ("headrace backfill resume {name} -n {namespace} lets it go on",),
    "TooManyFailures": (
        "kubectl get fr -n {namespace} -l headrace.dev/backfill={name} shows the runs; mend the cause",
        "headrace backfill retry-failed {name} -n {namespace} runs what failed again, and then the rest",
    ),
    "BudgetExceeded": ("raise spec.budget.amount, and it goes on",),
    "PartitionsFailed": (
        "kubectl get fr -n {namespace} -l headrace.dev/backfill={name} shows the runs; mend the cause",
        "headrace backfill retry-failed {name} -n {namespace} runs what failed again",
    ),
    "InvalidStatus": ("mend the status, or make a new Backfill of what is left; nothing is created until then",),
}
NOBODY_WORKS: Final = "no operator works at the moment, so nothing of this will change; headrace doctor tells more"
UNSEEN: Final = "wait a moment; if it stays so, headrace doctor looks whether an operator serves it"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What is known around an object; what could not be read is None or empty.

    Attributes: `waiting` are runs of it that have not started, `events` those about it, `operator` tells whether one works.
    """

    now: datetime
    waiting: Sequence[Object] = ()
    events: Sequence[Object] = ()
    operator: bool | None = None
    lines: Sequence[str] = field(default_factory=tuple)
    """About what it rests on."""


def deployment_explained(found: Object, around: Surroundings) -> Explanation:
    """Why it starts no runs, or when it does."""
    name = str(found["metadata"]["name"])
    if not (found.get("status") or {}).get("conditions"):
        return _unseen(f"deployment {name}", found, around)
    reason, told = _brake(found, around.now)
    because = {
        "schedules": list(_schedules(found, around.now)),
        "triggers": [f"{each['name']}: {trigger_text(each)}" for each in found["spec"].get("triggers") or ()],
        "runs": list(_runs(found, around)),
        "also": [_condition(each) for each in _further(found)],
        "rests on": list(around.lines),
        "events": list(event_lines(around.events, around.now)),
    }
    steps = [*_steps(OF_DEPLOYMENTS, reason, found, around), *_of_the_first(around.waiting)]
    return Explanation(f"deployment {name} {told}", _filled(because), steps)


def backfill_explained(found: Object, around: Surroundings) -> Explanation:
    """Why it does not go on, or how far it is."""
    status, name = found.get("status") or {}, str(found["metadata"]["name"])
    if not status.get("phase"):
        return _unseen(f"backfill {name}", found, around)
    reason = str(status.get("reason") or "")
    why = f" ({reason})" if reason and reason != status["phase"] else ""
    message = f": {status['message']}" if status.get("message") else ""
    because = {
        "partitions": list(_progress(status)),
        "rests on": list(around.lines),
        "runs": list(_waiting(around.waiting)),
        "events": list(event_lines(around.events, around.now)),
    }
    steps = [*_steps(OF_BACKFILLS, reason, found, around), *_of_the_first(around.waiting)]
    return Explanation(f"backfill {name} is {status['phase']}{why}{message}", _filled(because), steps)


def limit_explained(found: Object, around: Surroundings) -> Explanation:
    """Who holds its slots, and who waits for them."""
    status, spec, name = found.get("status") or {}, found["spec"], str(found["metadata"]["name"])
    held, slots, waiting = status.get("active") or 0, spec.get("slots"), status.get("waiting") or 0
    count = "has a rate and no slots" if slots is None else f"has {held} of {slots} slots held"
    full = slots is not None and held >= slots and waiting > 0
    ready = condition(found, "Ready")
    resizing = f" ({ready.get('reason')}: {ready.get('message')})" if ready.get("status") == "False" else ""
    because = {"held by": list(_holders(status, around.now)), "runs": list(_waiting(around.waiting))}
    steps = [NOBODY_WORKS] if around.operator is False else []
    if full:
        steps.append("a slot is given back when what holds it ends; headrace why NAME tells what a run is at")
    if full and slots:
        steps.append("a larger spec.slots lets more run at once, if what it protects bears it")
    if spec.get("rate") and waiting:
        rate = spec["rate"]
        steps.append(f"{rate['count']} may start in {rate.get('perSeconds', 1)}s; the others follow by themselves")
    return Explanation(f"limit {name} {count}, {waiting} waiting{resizing}", _filled(because), steps)


def _brake(found: Object, now: datetime) -> tuple[str, str]:
    """What holds its runs back, by its reason, and in words; the reason is Ready where nothing does."""
    status = found["status"]
    circuit, ready = status.get("circuit") or {}, condition(found, "Ready")
    if ready.get("status") == "False":
        return str(ready.get("reason")), f"starts no runs ({ready.get('reason')}): {ready.get('message')}"
    if circuit.get("state") in {"Open", "HalfOpen"}:
        failed = status.get("consecutiveFailures") or 0
        retry = f"; one run tries again at {circuit['retryAt']}" if circuit.get("retryAt") else ""
        return "CircuitOpen", f"starts no runs (CircuitOpen): {failed} failed in a row{retry}"
    return _by_itself(found, now)


def _by_itself(found: Object, now: datetime) -> tuple[str, str]:
    """As _brake, of one whose runs may start: what starts them."""
    status, triggering, scheduling = found["status"], condition(found, "Triggering"), condition(found, "Scheduling")
    if triggering.get("status") == "False" and triggering.get("reason") != "Suspended":
        reason = str(triggering.get("reason"))
        return reason, f"has triggers that start no runs ({reason}): {triggering.get('message')}"
    if triggering.get("status") == "True" and scheduling.get("reason") == "NoSchedules":
        return "Ready", "is ready; events start its runs"
    budget = condition(found, "BudgetExceeded")
    if budget.get("status") == "True" and found["spec"].get("budget", {}).get("action") == "Stop":
        return "BudgetExceeded", f"starts no runs (BudgetExceeded): {budget.get('message')}"
    if scheduling.get("status") == "False":
        reason = str(scheduling.get("reason"))
        return reason, f"starts no runs by itself ({reason}): {scheduling.get('message')}"
    following = [each for each in status.get("nextSchedules") or () if each.get("time")]
    if not following:
        return "Ready", "is ready, and none of its schedules has a further time"
    at = str(following[0]["time"])
    left = datetime.fromisoformat(at) - now
    when = f"{at} (in {span(left)})" if left.total_seconds() > 0 else f"{at}, which is due"
    return "Ready", f"is ready; {following[0]['name']} starts its next run at {when}"


def _schedules(found: Object, now: datetime) -> Iterator[str]:
    status = found["status"]
    following = {each["name"]: each["time"] for each in status.get("nextSchedules") or ()}
    memory = {each["name"]: each for each in status.get("schedules") or ()}
    for each in found["spec"].get("schedules") or ():
        name, seen = each["name"], memory.get(each["name"], {})
        state = "suspended" if each.get("suspend") else f"next at {following[name]}" if name in following else "no time"
        missed = ""
        if seen.get("missed"):
            last = f", the last {ago(seen['lastMissedTime'], now)}" if seen.get("lastMissedTime") else ""
            missed = f"; {seen['missed']} missed{last}: {seen.get('lastMissedReason') or 'no reason is told'}"
        yield f"{name}: {state}{missed}"


def _runs(found: Object, around: Surroundings) -> Iterator[str]:
    status, most = found["status"], (found["spec"].get("concurrency") or {}).get("limit")
    named = [str(each["name"]) for each in status.get("active") or ()]
    if active := status.get("activeCount") or 0:
        yield f"{active}{f' of {most}' if most else ''} under way{_some(named, active)}"
    yield from _waiting(around.waiting)
    if last := status.get("lastRun"):
        why = f" ({last['reason']})" if last.get("reason") not in {None, last["phase"]} else ""
        yield f"the last that ended: {last['name']} {last['phase']}{why}, {ago(last['time'], around.now)}"


def _waiting(waiting: Sequence[Object]) -> Iterator[str]:
    """How many wait for what."""
    reasons = Counter(str((each.get("status") or {}).get("reason") or "their first look") for each in waiting)
    if reasons:
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        yield f"{len(waiting)} have not started: {told}"


def _of_the_first(waiting: Sequence[Object]) -> Iterator[str]:
    """Its own explanation says more than any summary."""
    if waiting:
        metadata = min(waiting, key=lambda each: str(each["metadata"]["creationTimestamp"]))["metadata"]
        yield f"headrace why {metadata['name']} -n {metadata['namespace']} tells what the oldest of them waits for"


def _progress(status: Object) -> Iterator[str]:
    if status.get("total") is None:
        return
    names = ("succeeded", "failed", "cancelled", "active", "pending")
    counts = ", ".join(f"{status[name]} {name}" for name in names if status.get(name))
    yield f"{status.get('progress') or '0%'} of {status['total']}: {counts or 'none has begun'}"
    if status.get("ratePerMinute"):
        yield f"{status['ratePerMinute']:g} a minute" + (f", until {status['eta']}" if status.get("eta") else "")
    for word, name in (("cost so far", "cost"), ("all of it", "projectedCost")):
        if price := status.get(name):
            yield f"{word}: {price['amount']} {price['currency']}"


def _holders(status: Object, now: datetime) -> Iterator[str]:
    """The longest first: those are the ones to look at."""
    holders = sorted(status.get("holders") or (), key=lambda each: str(each.get("since") or ""))
    for each in holders[:MOST_HOLDERS]:
        yield f"{each['holder']}" + (
            f", since {span(now - datetime.fromisoformat(each['since']))}" if each.get("since") else ""
        )
    if (more := (status.get("active") or 0) - min(len(holders), MOST_HOLDERS)) > 0 and holders:
        yield f"and {more} more"


def _further(found: Object) -> list[Object]:
    """Conditions of other kinds, which have words of their own."""
    return [each for each in found["status"].get("conditions") or () if each["type"] not in ORDINARY]


def _condition(each: Object) -> str:
    return f"{each['type']} is {each['status']} ({each.get('reason')}): {each.get('message') or ''}".rstrip(": ")


def _steps(advice: Mapping[str, tuple[str, ...]], reason: str, found: Object, around: Surroundings) -> Iterator[str]:
    metadata = found["metadata"]
    if around.operator is False:
        yield NOBODY_WORKS
    for step in advice.get(reason, ()):
        yield step.format(name=metadata["name"], namespace=metadata.get("namespace", ""))


def _unseen(what: str, found: Object, around: Surroundings) -> Explanation:
    created = ago(found["metadata"]["creationTimestamp"], around.now)
    because = {"events": list(event_lines(around.events, around.now))}
    steps = [NOBODY_WORKS if around.operator is False else UNSEEN]
    return Explanation(f"{what} was created {created}, and no operator has looked at it yet", _filled(because), steps)


def _some(names: Sequence[str], count: int) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    more = f" and {count - min(len(names), MOST_NAMED)} more" if count > MOST_NAMED else ""
    return f": {shown}{more}" if shown else ""


def _filled(because: Mapping[str, list[str]]) -> dict[str, Sequence[str]]:
    return {heading: lines for heading, lines in because.items() if lines}
