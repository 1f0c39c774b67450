"""Why a run is as it is: what it waits for, or what killed it, from what the API knows of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from headrace.diagnose.advice import next_steps
from headrace.diagnose.wording import Object, event_lines, span

DEAD: Final = frozenset({"Failed", "Crashed", "Cancelled", "Skipped"})
MOST_ATTEMPTS: Final = 10


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known; what could not be read is None or empty.

    Args:
        run: The FlowRun.
        pod: Of its latest attempt.
        events: Of the run and that pod, as the API has them.
        ahead: Runs of its Deployment that wait before it; None where that is not what it waits for.
        around: Lines about what it waits for: limits, pools, the Deployment.
        log_tail: The last lines that it wrote, for people.
        operator: Whether an operator works; None where that is unknown.
        now: The time.
    """

    run: Object
    now: datetime
    pod: Object | None = None
    events: Sequence[Object] = ()
    ahead: int | None = None
    around: Sequence[str] = ()
    log_tail: Sequence[str] = ()
    operator: bool | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer: `what` in a line, `because` by headings, and `steps` to take."""

    what: str
    because: Mapping[str, Sequence[str]] = field(default_factory=dict)
    steps: Sequence[str] = ()


def explained(facts: Facts) -> Explanation:
    """What a person is told."""
    status = facts.run.get("status") or {}
    name, phase, reason = facts.run["metadata"]["name"], status.get("phase"), str(status.get("reason") or "")
    if not phase:
        return _unseen(facts)
    why = f" ({reason})" if reason and reason != phase else ""
    message = f": {status['message']}" if status.get("message") else ""
    because = {
        "attempts": _attempts(status),
        "waits for": [*_place_in_line(facts), *facts.around] if phase not in DEAD else [],
        "pod": _pod(facts.pod) if phase in {"Pending", "Retrying", "Running"} else [],
        "events": list(event_lines(facts.events, facts.now)),
        "last lines of the log": list(facts.log_tail),
    }
    steps = [*_next(facts, reason or str(phase))]
    return Explanation(
        f"{name} is {phase}{why}{_since(facts)}{message}", {k: v for k, v in because.items() if v}, steps
    )


def _unseen(facts: Facts) -> Explanation:
    name, namespace = facts.run["metadata"]["name"], facts.run["metadata"]["namespace"]
    waited = span(facts.now - datetime.fromisoformat(facts.run["metadata"]["creationTimestamp"]))
    if facts.operator is False:
        steps = [f"start the operator that serves namespace {namespace}; headrace doctor tells what is wrong with it"]
        return Explanation(
            f"{name} was created {waited} ago, and no operator works: nobody has looked at it", {}, steps
        )
    steps = ["wait a moment; if it stays so, headrace doctor looks whether an operator serves this namespace"]
    return Explanation(
        f"{name} was created {waited} ago, and waits for its pod or for its first look", _kept(facts), steps
    )


def _kept(facts: Facts) -> dict[str, Sequence[str]]:
    """A pod that starts within seconds is not told of in the status: it would cost a write."""
    found = {"pod": _pod(facts.pod), "events": list(event_lines(facts.events, facts.now))}
    return {heading: lines for heading, lines in found.items() if lines}


def _attempts(status: Object) -> list[str]:
    attempts = list(status.get("attempts") or ())
    shown = attempts[-MOST_ATTEMPTS:]
    earlier = len(attempts) - len(shown)
    lines = [f"{earlier} earlier ones are left out"] if earlier else []
    for each in shown:
        place = f" on {each['node']}" if each.get("node") else ""
        code = f", exit code {each['exitCode']}" if each.get("exitCode") else ""
        # The last message is that of the run, mostly, and stands above.
        message = f": {each['message']}" if each.get("message") and each["message"] != status.get("message") else ""
        lines.append(f"{each['number']}: {each.get('reason') or 'runs'}{place}{code}{message}")
    return lines


def _place_in_line(facts: Facts) -> list[str]:
    if facts.ahead is None:
        return []
    return (
        ["it is the next one in line"] if not facts.ahead else [f"{facts.ahead} runs of its Deployment stand before it"]
    )


def _pod(pod: Object | None) -> list[str]:
    """What its conditions and containers say, where that is not well."""
    if pod is None:
        return []
    status = pod.get("status") or {}
    lines = [
        f"{each['type']} is {each['status']}: {each.get('reason', '')} {each.get('message', '')}".rstrip(": ")
        for each in status.get("conditions") or ()
        if each["status"] != "True" and each.get("reason") not in {None, "PodCompleted", "ContainersNotReady"}
    ]
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for each in containers:
        waiting = (each.get("state") or {}).get("waiting")
        if waiting:
            lines.append(
                f"container {each['name']} waits: {waiting.get('reason', '')} {waiting.get('message', '')}".rstrip()
            )
    head = f"{pod['metadata']['name']} is {status.get('phase', 'Pending')}"
    return [head, *lines]


def _next(facts: Facts, reason: str) -> Iterable[str]:
    run, status = facts.run, facts.run.get("status") or {}
    attempts = status.get("attempts") or [{}]
    metadata = run["metadata"]
    names = {
        "run": metadata["name"],
        "namespace": metadata["namespace"],
        "deployment": (run["spec"].get("deploymentRef") or {}).get("name", ""),
        "pod": attempts[-1].get("pod") or f"{metadata['name']}-1",
    }
    if facts.operator is False and status.get("phase") not in {*DEAD, "Succeeded"}:
        yield "no operator works at the moment, so nothing of this will change; headrace doctor tells more"
    if "task" in run["spec"] and status.get("phase") in DEAD:
        yield f"it is a task of run {run['spec']['task']['parent']['name']}, which decides what follows; retry that one"
        return
    yield from next_steps(reason, names)


def _since(facts: Facts) -> str:
    """Since when it is so, or until when it waits."""
    status = facts.run.get("status") or {}
    if status.get("nextAttemptAt"):
        left = datetime.fromisoformat(status["nextAttemptAt"]) - facts.now
        return f", until {status['nextAttemptAt']}" + (f" (in {span(left)})" if left > timedelta(0) else "")
    if status.get("finishedAt"):
        return f", since {span(facts.now - datetime.fromisoformat(status['finishedAt']))}"
    begun = status.get("startedAt") if status.get("phase") == "Running" else None
    return f", for {span(facts.now - datetime.fromisoformat(begun or facts.run['metadata']['creationTimestamp']))}"
