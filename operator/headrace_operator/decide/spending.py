"""
What the runs of a Deployment have cost in the present period of a budget.

    run ends ──> uncounted ──> status written: settled amount, and the run's UID ──> the run may be deleted

A run that is over is counted once: what the status names, or what ended before `countedUntil`, is in the amount. Attempts of
runs under way are added up anew each time, as the runs themselves tell of them. An attempt belongs to the period in which it
ended; its price was fixed then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Final, NamedTuple

from headrace.api.budget import MAX_COUNTED, BudgetPeriod, PeriodBudget, Spent
from headrace_operator.decide.cost import SMALLEST, Expense, amount_text
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.wallclock import first_instant, wall_time

FOLD_ABOVE: Final = 500
"""Of more runs than that the older ones are told by an instant instead of by their UIDs."""
FOLD_AFTER: Final = timedelta(seconds=60)
"""Ends that are older are all heard of, unless the API was away meanwhile: a write ends within seconds."""
SKEW: Final = timedelta(seconds=60)
"""By how much the clock of who counts next may be behind: a period that has begun does not end for that."""


class Period(NamedTuple):
    """From its first instant to that of the next one."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Spending:
    """
    What there is to count.

    Args:
        kept: Finished runs with a cost that are there, by UID.
        uncounted: By UID, the costs of runs that are over and that the status does not count, be they there or deleted.
        unfinished: For each run under way, what its attempts that ended have cost.
    """

    kept: Mapping[str, FinishedRun]
    uncounted: Mapping[str, tuple[Expense, ...]]
    unfinished: tuple[tuple[Expense, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """What has been spent, and the UIDs of the runs that this counts for the first time."""

    spent: Spent
    counted: frozenset[str]


def period_at(now: datetime, kind: BudgetPeriod, zone: tzinfo) -> Period:
    """The period in which an instant lies; both ends aware UTC, at midnight of the zone, or when its clock skips that."""
    day = wall_time(now, zone).date()
    if kind is BudgetPeriod.WEEK:
        day -= timedelta(days=day.weekday())
    elif kind is BudgetPeriod.MONTH:
        day = day.replace(day=1)
    days = {BudgetPeriod.DAY: 1, BudgetPeriod.WEEK: 7, BudgetPeriod.MONTH: 31}[kind]
    following = day + timedelta(days=days)
    if kind is BudgetPeriod.MONTH:
        following = following.replace(day=1)
    begin, end = (first_instant(datetime.combine(each, time()), zone) for each in (day, following))
    return Period(begin, end)


def cost_in(expenses: Iterable[Expense], period: Period, currency: str) -> Decimal:
    """What was spent in the period, in this currency."""
    return sum(
        (each.amount for each in expenses if each.currency == currency and period.since <= each.at < period.until),
        Decimal(0),
    )


def concerns(expenses: Iterable[Expense], memory: Spent) -> bool:
    """Whether some of it belongs to the period that is counted, or to a later one."""
    return any(each.currency == memory.currency and each.at >= memory.since for each in expenses)


def advance(memory: Spent | None, budget: PeriodBudget, seen: Spending, *, zone: tzinfo, now: datetime) -> Count:
    """
    Count what is not counted yet; in a new period, or another currency, all that is there.

    Args:
        memory: As the status in the API has it; None before the first count.
        zone: The budget's.
    """
    is_ahead = memory is not None and timedelta(0) < memory.since - now <= SKEW
    period = period_at(memory.since if memory is not None and is_ahead else now, budget.period, zone)
    same_money = memory if memory is not None and memory.currency == budget.currency else None
    base = same_money if same_money is not None and same_money.since == period.since else None
    candidates = dict(seen.uncounted)
    if base is None:
        candidates |= {uid: run.expenses for uid, run in seen.kept.items()}
    costs = ((uid, cost_in(each, period, budget.currency)) for uid, each in candidates.items())
    added = {uid: amount for uid, amount in costs if amount}
    settled = (Decimal(base.settled) if base else Decimal(0)) + sum(added.values(), Decimal(0))
    under_way = sum((cost_in(each, period, budget.currency) for each in seen.unfinished), Decimal(0))
    runs = (base.runs if base else 0) + len(added)
    until, named = _named(base, seen.kept, added, now=now)
    spent = Spent(
        since=period.since,
        until=period.until,
        amount=amount_text(settled + under_way),
        currency=budget.currency,
        settled=amount_text(settled),
        runs=runs,
        per_run=_mean(settled, runs) if runs else same_money.per_run if same_money else None,
        counted_until=until,
        counted=named,
    )
    return Count(spent, frozenset(added))


def _named(
    base: Spent | None, kept: Mapping[str, FinishedRun], added: Iterable[str], *, now: datetime
) -> tuple[datetime | None, tuple[str, ...]]:
    """Until when all that ended is counted, and the UIDs of later ones; those that are gone cannot come again."""
    until, before = (base.counted_until, base.counted) if base else (None, ())
    named = [uid for uid in added if uid in kept]
    if not named:
        return until, before
    named = [*(uid for uid in before if uid in kept), *named]
    if len(named) <= FOLD_ABOVE:
        return until, tuple(named)
    ends = sorted(kept[uid].finished_at for uid in named)
    starts = [until, (now - FOLD_AFTER).replace(microsecond=0)]
    if len(ends) > MAX_COUNTED:
        starts.append(ends[-MAX_COUNTED] + timedelta(seconds=1))
    until = max(start for start in starts if start is not None)
    return until, tuple(uid for uid in named if kept[uid].finished_at >= until)


def _mean(amount: Decimal, runs: int) -> str:
    return amount_text(max(SMALLEST, amount / runs))
