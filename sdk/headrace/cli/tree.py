"""A run as a tree: its attempts, their tasks, and the runs that it started."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from headrace.api.audit import account_of
from headrace.cli.loglines import Line
from headrace.cli.outputs import Object
from headrace.cli.printing import painted, shortened
from headrace.cli.runs import cost, duration, instant, phase_of, subject, took
from headrace.terminal_text import harmless

EVENTS: Final[Mapping[str, str]] = {
    "task_started": "running",
    "task_succeeded": "succeeded",
    "task_retrying": "retrying",
    "task_failed": "failed",
    "task_crashed": "crashed",
    "task_cancelled": "cancelled",
    "task_cached": "cached",
    "task_not_started": "not started",
}
"""What the log's events say of a task run (docs/pod-contract.md)."""
COLOURS: Final[Mapping[str, str]] = {
    "failed": "Failed",
    "crashed": "Failed",
    "retrying": "Retrying",
    "running": "Running",
    "succeeded": "Succeeded",
    "cached": "Succeeded",
}
SHOWN: Final = 40
"""Tasks of an attempt, and child runs, that are told one by one."""
TEXT_WIDTH: Final = 160


@dataclass(frozen=True, slots=True)
class Branch:
    """A line, and what hangs below it."""

    text: str
    below: tuple[Branch, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One run of a task in one attempt, as the log tells it."""

    task: str
    name: str
    state: str
    took_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """A run with what belongs to it; `tasks` are those of attempts whose log is there, by number."""

    run: Object
    tasks: Mapping[int, Sequence[TaskRun]] = field(default_factory=dict)
    children: Sequence[Family] = ()


def drawn(branch: Branch) -> str:
    """The tree as text."""
    return harmless("\n".join([branch.text, *_lines(branch.below, "")]))


def branch_of(family: Family, now: datetime, *, colours: bool) -> Branch:
    """What is shown of a run."""
    run = family.run
    status = run.get("status") or {}
    below = [*_facts(run, now)]
    below += [
        _attempt(each, family.tasks.get(each["number"], ()), now, colours=colours)
        for each in status.get("attempts") or ()
    ]
    below += [branch_of(child, now, colours=colours) for child in family.children[:SHOWN]]
    below += [Branch(f"and {len(family.children) - SHOWN} more runs")] if len(family.children) > SHOWN else []
    return Branch(_head(run, now, colours=colours), tuple(below))


def task_runs(lines: Iterable[Line]) -> list[TaskRun]:
    """The task runs that a log tells of, in the order in which they came."""
    found: dict[str, TaskRun] = {}
    for line in lines:
        state, name = EVENTS.get(str(line.facts.get("event"))), str(line.facts.get("task_run", ""))
        if state is None or not name:
            continue
        known = found.get(name) or TaskRun(str(line.facts.get("task", name)), name, state)
        span = line.facts.get("duration_s")
        found[name] = replace(
            known,
            state=state,
            took_s=float(span) if isinstance(span, int | float) else None,
            error=str(line.facts.get("error") or ""),
        )
    return list(found.values())


def _lines(branches: Sequence[Branch], indent: str) -> Iterable[str]:
    for number, branch in enumerate(branches, start=1):
        is_last = number == len(branches)
        first, *rest = branch.text.split("\n")
        yield f"{indent}{'└─ ' if is_last else '├─ '}{first}"
        further = indent + ("   " if is_last else "│  ")
        yield from (f"{further}   {line}" for line in rest)
        yield from _lines(branch.below, further)


def _head(run: Object, now: datetime, *, colours: bool) -> str:
    phase, reason = phase_of(run), (run.get("status") or {}).get("reason")
    shown = painted(phase, phase) if colours else phase
    why = f" ({reason})" if reason not in {None, phase} else ""
    span = took(duration(run, now))
    parts = [run["metadata"]["name"], subject(run), f"{shown}{why}", f"took {span}" if span else "", cost(run)]
    return "   ".join(part for part in parts if part)


def _facts(run: Object, now: datetime) -> Iterable[Branch]:
    """What is worth a line beside attempts."""
    status, spec = run.get("status") or {}, run["spec"]
    created = instant(run, "creationTimestamp") or now
    waited = (instant(run, "startedAt") or now) - created
    if phase_of(run) != "Succeeded" and status.get("message"):
        yield Branch(shortened(status["message"], 2 * TEXT_WIDTH))
    parameters = status.get("parameters") or spec.get("parameters")
    if parameters:
        yield Branch(f"parameters   {shortened(_json(parameters), TEXT_WIDTH)}")
    if waited >= timedelta(seconds=5):
        yield Branch(f"waited   {took(waited)}")
    counts = status.get("tasks")
    if counts:
        told = ", ".join(
            f"{counts[name]} {name}" for name in ("succeeded", "failed", "cached", "retried") if counts.get(name)
        )
        yield Branch(f"tasks   {counts.get('total', 0)} in the last attempt" + (f": {told}" if told else ""))
    if status.get("result"):
        yield Branch(f"result   {shortened(_result(status['result']), TEXT_WIDTH)}")
    for artifact in status.get("artifacts") or ():
        yield Branch(f"artifact   {artifact['name']} ({artifact['kind']}) {artifact.get('url') or ''}".rstrip())
    account = account_of(run)
    if account:
        yield Branch("who", tuple(map(Branch, account)))


def _attempt(attempt: Mapping[str, Any], tasks: Sequence[TaskRun], now: datetime, *, colours: bool) -> Branch:
    reason = attempt.get("reason") or "Running"
    word = reason if reason in {"Succeeded", "Running"} else "Failed"
    started, finished = attempt.get("startedAt"), attempt.get("finishedAt")
    span = (
        (datetime.fromisoformat(finished) if finished else now) - datetime.fromisoformat(started) if started else None
    )
    places = (
        f"on {attempt['node']}" if attempt.get("node") else "",
        f"pool {attempt['pool']}" if attempt.get("pool") else "",
    )
    code = attempt.get("exitCode")
    parts = [
        f"attempt {attempt['number']}",
        painted(reason, word) if colours else reason,
        *places,
        took(span),
        f"exit code {code}" if code else "",
    ]
    message = attempt.get("message") if reason != "Succeeded" else None
    told = (Branch(shortened(message, 2 * TEXT_WIDTH)),) if message else ()
    return Branch("   ".join(part for part in parts if part), (*told, *_tasks(tasks, colours=colours)))


def _tasks(tasks: Sequence[TaskRun], *, colours: bool) -> Iterable[Branch]:
    """A line for each task: those that failed one by one, the others counted."""
    groups: dict[tuple[str, str, str], list[TaskRun]] = {}
    for each in tasks:
        groups.setdefault((each.task, each.state, each.error), []).append(each)
    for (task, state, error), members in list(groups.items())[:SHOWN]:
        shown = painted(state, COLOURS.get(state, "")) if colours else state
        count = f" x {len(members)}" if len(members) > 1 else ""
        longest = max((each.took_s for each in members if each.took_s is not None), default=None)
        span = f"{'at most ' if count else ''}{took(timedelta(seconds=longest))}" if longest is not None else ""
        parts = [f"{task}{count}", shown, span, shortened(error, TEXT_WIDTH)]
        yield Branch("   ".join(part for part in parts if part))
    if len(groups) > SHOWN:
        yield Branch(f"and {len(groups) - SHOWN} more; headrace logs --task NAME shows one")


def _result(found: Mapping[str, Any]) -> str:
    if found.get("omitted"):
        return "not stored: it has more than 1,024 bytes, and spec.results.url of the Flow is not set"
    return str(found["url"]) if "url" in found else _json(found.get("value"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
