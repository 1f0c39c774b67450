"""
The runs that a Deployment's schedules call for now, and what is remembered about their times.

The memory of a schedule is one instant: every time up to it is decided, none after it is. A pass decides the times
between the memory and now (catchup.py), then the memory moves. While a schedule is suspended its memory stands still,
so that the times of that span are late ones when it is resumed, and catchUp decides about them.

Runs are created before the memory is written. After a crash in between, the same times are decided again: their runs
have the same names, and those that exist already are neither planned again nor told as missed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from headrace.api.conditions import EventReason, Reason
from headrace.api.deployment import CatchUp, Schedule, ScheduleMemory
from headrace.instants import stamp
from headrace_operator.decide.catchup import Due, MissReason, Span, Timetable, Verdict, decide_times
from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.recurrence import Recurrence, parse


@dataclass(frozen=True, slots=True)
class Owner:
    """
    The Deployment whose schedules are looked at.

    Args:
        created: Aware UTC; where the times of its first schedules begin.
        runs: Names of its FlowRuns that exist: those times have their run.
    """

    name: str
    uid: str
    created: datetime
    runs: Container[str] = field(default_factory=frozenset)


class PlannedRun(NamedTuple):
    """A FlowRun to create; its name derives from its cause, so that a second creation is a conflict."""

    schedule: str
    scheduled_time: datetime
    name: str


class Refusal(NamedTuple):
    """A planned run that will never be, and what its Event says that for."""

    run: PlannedRun
    reason: Reason | EventReason


@dataclass(frozen=True, slots=True)
class Miss:
    """Times of a schedule that got no run; there may be more than `count` when it is `at_least`."""

    schedule: str
    reason: MissReason
    first: datetime
    last: datetime
    count: int
    at_least: bool
    message: str


class BrokenSchedule(NamedTuple):
    """A schedule that names no times, and why; the others go on."""

    schedule: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a pass over the schedules comes to.

    Args:
        runs: To create now, oldest first within a schedule.
        memory: To be written when the runs exist, in the order of the schedules.
        next_times: The next time of each schedule that has one and is not suspended, soonest first.
        look_again_after_s: When the next run is due, jitter included; 0 when there is more to do at once, None when
            no time is due ever.
    """

    runs: tuple[PlannedRun, ...]
    missed: tuple[Miss, ...]
    memory: tuple[ScheduleMemory, ...]
    next_times: tuple[tuple[str, datetime], ...]
    look_again_after_s: float | None
    invalid: tuple[BrokenSchedule, ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a pass comes to for one schedule."""

    memory: ScheduleMemory
    runs: tuple[PlannedRun, ...] = ()
    missed: tuple[Miss, ...] = ()
    next_due: Due | None = None
    unfinished: bool = False
    broken: str | None = None


def plan(
    schedules: Sequence[Schedule],
    catch_up: CatchUp,
    memory: Iterable[ScheduleMemory],
    *,
    deployment: Owner,
    suspended: bool,
    now: datetime,
) -> Plan:
    """
    What is to be run, remembered and told.

    Args:
        memory: As the status has it; entries of schedules that are gone are dropped.
        suspended: Of the Deployment; a schedule can be suspended by itself too.
        now: Aware UTC. May be earlier than in the last pass: nothing is decided twice.
    """
    known = {entry.name: entry for entry in memory}
    start = now if known else deployment.created
    outcomes: list[_Outcome] = []
    for schedule in schedules:
        remembered = _remembered(schedule, known.get(schedule.name), start)
        outcomes.append(_decide(schedule, catch_up, remembered, deployment, suspended=suspended, now=now))
    return _plan(outcomes, now)


def run_name(deployment: str, schedule: str, time: datetime) -> str:
    """`<deployment>-<schedule>-<yyyymmddhhmmss>`, in UTC."""
    return f"{deployment}-{schedule}-{time:%Y%m%d%H%M%S}"


def fingerprint(schedule: Schedule) -> str:
    """A short hash of what decides about a schedule's times: another one means that they were changed."""
    anchor = schedule.anchor.isoformat() if schedule.anchor else None
    times = [schedule.cron, schedule.interval_seconds, anchor, schedule.rrule, schedule.time_zone]
    return hashlib.sha256(json.dumps(times).encode()).hexdigest()[:12]


def without_runs(memory: Iterable[ScheduleMemory], refusals: Iterable[Refusal]) -> tuple[ScheduleMemory, ...]:
    """The memory once the times of these runs are counted as missed."""
    noted = {entry.name: entry for entry in memory}
    for run, reason in refusals:
        noted[run.schedule] = _noted(noted[run.schedule], reason, run.scheduled_time, count=1)
    return tuple(noted.values())


def _remembered(schedule: Schedule, known: ScheduleMemory | None, start: datetime) -> ScheduleMemory:
    """Its memory, or a new one that begins at `start`; what was missed before its times were changed stays told."""
    found = fingerprint(schedule)
    if known is not None and known.fingerprint == found and known.last_scheduled_time is not None:
        return known
    begun: dict[str, Any] = {"fingerprint": found, "last_scheduled_time": start.replace(microsecond=0)}
    return known.model_copy(update=begun) if known else ScheduleMemory(name=schedule.name, **begun)


def _decide(
    schedule: Schedule,
    catch_up: CatchUp,
    memory: ScheduleMemory,
    deployment: Owner,
    *,
    suspended: bool,
    now: datetime,
) -> _Outcome:
    try:
        recurrence = _recurrence(schedule)
    except InvalidSchedule as error:
        return _Outcome(memory, broken=str(error))
    if suspended or schedule.suspend:
        return _Outcome(memory)
    after = memory.last_scheduled_time
    assert after is not None
    table = Timetable(
        recurrence,
        schedule.jitter_seconds,
        seed=f"{deployment.uid}/{schedule.name}",
        has_run=lambda time: run_name(deployment.name, schedule.name, time) in deployment.runs,
    )
    verdict = decide_times(table, catch_up, after=after, now=now)
    missed = tuple(_miss(schedule, catch_up, span) for span in verdict.missed)
    return _Outcome(
        memory=_moved(memory, missed, verdict),
        runs=tuple(_runs(schedule, deployment, verdict)),
        missed=missed,
        next_due=table.next_due(verdict.decided),
        unfinished=verdict.unfinished,
    )


def _recurrence(schedule: Schedule) -> Recurrence:
    return parse(
        cron=schedule.cron,
        interval_seconds=schedule.interval_seconds,
        rrule=schedule.rrule,
        anchor=schedule.anchor,
        time_zone=schedule.time_zone,
    )


def _runs(schedule: Schedule, deployment: Owner, verdict: Verdict) -> Iterator[PlannedRun]:
    for time in verdict.run:
        yield PlannedRun(schedule.name, time, run_name(deployment.name, schedule.name, time))


def _moved(memory: ScheduleMemory, missed: tuple[Miss, ...], verdict: Verdict) -> ScheduleMemory:
    moved = memory.model_copy(update={"last_scheduled_time": verdict.decided})
    if not missed:
        return moved
    last = max(missed, key=lambda miss: miss.last)
    return _noted(moved, last.reason, last.last, count=sum(miss.count for miss in missed))


def _noted(
    memory: ScheduleMemory, reason: MissReason | Reason | EventReason, time: datetime, *, count: int
) -> ScheduleMemory:
    told = {"missed": memory.missed + count, "last_missed_time": time, "last_missed_reason": reason.value}
    return memory.model_copy(update=told)


def _miss(schedule: Schedule, catch_up: CatchUp, span: Span) -> Miss:
    number = f"{'at least ' if span.at_least else ''}{span.count}"
    when = stamp(span.first) if span.count == 1 else f"from {stamp(span.first)} to {stamp(span.last)}"
    times = "time" if span.count == 1 else "times"
    message = f'schedule "{schedule.name}" missed {number} {times} ({when}): {_explained(catch_up, span.reason)}'
    return Miss(schedule.name, span.reason, span.first, span.last, span.count, span.at_least, message)


def _explained(catch_up: CatchUp, reason: MissReason) -> str:
    by_hand = "or create FlowRuns for them"
    return {
        MissReason.CATCH_UP_NONE: f"spec.catchUp.policy is None; choose Latest or All, {by_hand}",
        MissReason.SUPERSEDED: f"spec.catchUp.policy is Latest and a later time got its run; choose All, {by_hand}",
        MissReason.MAX_RUNS: f"spec.catchUp.maxRuns is {catch_up.max_runs}; raise it, {by_hand}",
        MissReason.STARTING_DEADLINE: "longer ago than spec.catchUp.startingDeadlineSeconds "
        f"({catch_up.starting_deadline_seconds}); raise it, {by_hand}",
    }[reason]


def _plan(outcomes: Sequence[_Outcome], now: datetime) -> Plan:
    following = [(outcome.memory.name, outcome.next_due) for outcome in outcomes if outcome.next_due is not None]
    waits_s = [max(0.0, (due.at - now).total_seconds()) for _, due in following]
    waits_s += [0.0 for outcome in outcomes if outcome.unfinished]
    next_times = sorted((due.time, name) for name, due in following)
    return Plan(
        runs=tuple(run for outcome in outcomes for run in outcome.runs),
        missed=tuple(miss for outcome in outcomes for miss in outcome.missed),
        memory=tuple(outcome.memory for outcome in outcomes),
        next_times=tuple((name, time) for time, name in next_times),
        look_again_after_s=min(waits_s, default=None),
        invalid=tuple(BrokenSchedule(o.memory.name, o.broken) for o in outcomes if o.broken is not None),
    )
