"""
Which of a schedule's times get their run now, and which are missed, and why.

    after ──expired──┬──late──────────────┬──on time──┬── now
                     │                    │           │
       startingDeadlineSeconds          ON_TIME_S   due later
       nothing runs              catchUp.policy     everything runs

Every time between `after` and the last one decided is either run or told as missed. Work is bounded: a year's outage of
a schedule of every minute is neither listed nor caught up with in one go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from headrace.api.deployment import CatchUp, CatchUpPolicy
from headrace_operator.decide.recurrence import Recurrence, between, newest, next_after

ON_TIME_S = 60.0
"""A time that passed no longer ago than this is no missed one: an operator that is replaced is away for less."""

LISTED_LIMIT = 10_000
"""More pending times than this are not counted one by one: a week of minutes."""

RUNS_PER_PASS = 100
"""Policy All creates no more at once; the rest follows in the next pass, so that nothing is flooded."""

MAX_RUNS_LIMIT = LISTED_LIMIT // 2
"""A larger `maxRuns` counts as this one."""


class MissReason(StrEnum):
    """Why a time got no run."""

    CATCH_UP_NONE = "CatchUpNone"
    SUPERSEDED = "SupersededByLatest"
    MAX_RUNS = "MaxRuns"
    STARTING_DEADLINE = "StartingDeadline"


@dataclass(frozen=True, slots=True)
class Span:
    """Missed times from `first` to `last`; there may be more than `count` when it is `at_least`."""

    reason: MissReason
    first: datetime
    last: datetime
    count: int
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What was decided.

    Args:
        run: Times to run now, oldest first.
        decided: The last time that is decided: `after` if none was.
        unfinished: More times wait for the next pass.
    """

    run: tuple[datetime, ...]
    missed: tuple[Span, ...]
    decided: datetime
    unfinished: bool


@dataclass(frozen=True, slots=True)
class Due:
    """A time, and when its run is created: up to the jitter later."""

    time: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Timetable:
    """
    The times of one schedule and their jitter.

    Args:
        seed: Spreads schedules against each other; the same from one process to the next.
        has_run: Whether the run of a time exists already, made by a pass whose memory was lost.
    """

    recurrence: Recurrence
    jitter_s: int
    seed: str
    has_run: Callable[[datetime], bool]

    def due(self, times: list[datetime]) -> list[Due]:
        """When the run of each time is created. A run never waits for the schedule's next time, so order holds."""
        if not times:
            return []
        ends = [*times, *next_after(self.recurrence, times[-1], 1)]
        gaps = [int((later - earlier).total_seconds()) for earlier, later in pairwise(ends)]
        gaps += [self.jitter_s] * (len(times) - len(gaps))
        return [Due(time, time + self._offset(time, gap)) for time, gap in zip(times, gaps, strict=True)]

    def without_run(self, dues: list[Due]) -> list[Due]:
        """Those whose run does not exist yet."""
        return [due for due in dues if not self.has_run(due.time)]

    def next_due(self, after: datetime) -> Due | None:
        """The first time past `after`, None if the schedule has ended."""
        return next(iter(self.due(next_after(self.recurrence, after, 1))), None)

    def _offset(self, time: datetime, gap_s: int) -> timedelta:
        bound = min(self.jitter_s, gap_s)
        if bound <= 1:
            return timedelta()
        digest = hashlib.sha256(f"{self.seed}/{time.isoformat()}".encode()).digest()
        return timedelta(seconds=int.from_bytes(digest[:8], "big") % bound)


def decide_times(table: Timetable, catch_up: CatchUp, *, after: datetime, now: datetime) -> Verdict:
    """What becomes of the times past `after` that are due by `now`; each is decided once, oldest first."""
    expired, begin = _long_expired(table, catch_up, after, now)
    listed, older = _pending(table.recurrence, catch_up, begin, now)
    pending = [due for due in table.due(listed) if due.at <= now]
    too_late = [due for due in pending if _is_expired(due, catch_up, now)]
    late = [due for due in pending[len(too_late) :] if (now - due.at).total_seconds() > ON_TIME_S]
    on_time = pending[len(too_late) + len(late) :]
    passed_over, caught_up = _split(late, catch_up, has_on_time=bool(on_time))
    missed = (
        *expired,
        *_span(MissReason.STARTING_DEADLINE, table.without_run(too_late), older if not passed_over else None),
        *_span(_REASONS[catch_up.policy], table.without_run(passed_over), older),
    )
    chosen = [*caught_up, *on_time]
    run = tuple(due.time for due in table.without_run(chosen[:RUNS_PER_PASS]))
    if len(chosen) > RUNS_PER_PASS:
        return Verdict(run, missed, decided=chosen[RUNS_PER_PASS - 1].time, unfinished=True)
    decided = pending[-1].time if pending else begin
    return Verdict(run, missed, decided, unfinished=_runs_all(catch_up) and len(listed) == LISTED_LIMIT)


_REASONS = {
    CatchUpPolicy.NONE: MissReason.CATCH_UP_NONE,
    CatchUpPolicy.LATEST: MissReason.SUPERSEDED,
    CatchUpPolicy.ALL: MissReason.MAX_RUNS,
}


def _runs_all(catch_up: CatchUp) -> bool:
    return catch_up.policy is CatchUpPolicy.ALL and catch_up.max_runs is None


def _long_expired(
    table: Timetable, catch_up: CatchUp, after: datetime, now: datetime
) -> tuple[tuple[Span, ...], datetime]:
    """Times that are too late whatever their jitter, not listed one by one, and the last of them."""
    if catch_up.starting_deadline_seconds is None:
        return (), after
    latest = timedelta(seconds=catch_up.starting_deadline_seconds + table.jitter_s, microseconds=1)
    times = between(table.recurrence, after, now - latest, LISTED_LIMIT)
    if not times:
        return (), after
    at_least = len(times) == LISTED_LIMIT
    last = newest(table.recurrence, after, now - latest, 1)[0] if at_least else times[-1]
    missed = [time for time in times if not table.has_run(time)]
    if not missed:
        return (), last
    span = Span(MissReason.STARTING_DEADLINE, missed[0], last if at_least else missed[-1], len(missed), at_least)
    return (span,), last


def _pending(
    recurrence: Recurrence, catch_up: CatchUp, after: datetime, now: datetime
) -> tuple[list[datetime], datetime | None]:
    """Times to decide, and the first of the older ones that are too many to be listed."""
    listed = between(recurrence, after, now, LISTED_LIMIT)
    if len(listed) < LISTED_LIMIT or _runs_all(catch_up):
        return listed, None
    first = listed[0]
    listed = newest(recurrence, after, now, LISTED_LIMIT)
    return listed, first if first < listed[0] else None


def _is_expired(due: Due, catch_up: CatchUp, now: datetime) -> bool:
    deadline_s = catch_up.starting_deadline_seconds
    return deadline_s is not None and (now - due.at).total_seconds() > deadline_s


def _split(late: list[Due], catch_up: CatchUp, *, has_on_time: bool) -> tuple[list[Due], list[Due]]:
    """Late times that are passed over, and those that the policy catches up with."""
    if catch_up.policy is CatchUpPolicy.ALL:
        kept = len(late) if catch_up.max_runs is None else min(catch_up.max_runs, MAX_RUNS_LIMIT)
    else:
        kept = 1 if catch_up.policy is CatchUpPolicy.LATEST and not has_on_time else 0
    cut = max(0, len(late) - kept)
    return late[:cut], late[cut:]


def _span(reason: MissReason, dues: list[Due], older: datetime | None) -> tuple[Span, ...]:
    if not dues:
        return ()
    return (Span(reason, older or dues[0].time, dues[-1].time, len(dues), at_least=older is not None),)
