"""What is counted of a budget, in which period, and that nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.budget import MAX_COUNTED, BudgetPeriod, PeriodBudget, Spent
from headrace.api.conditions import Phase
from headrace_operator.decide.cost import Expense
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.decide.spending import FOLD_ABOVE, Period, Spending, advance, period_at
from tests.builders import NAMESPACE, NOW

UTC_ZONE = ZoneInfo("Etc/UTC")
BUDGET = PeriodBudget(amount=100, period=BudgetPeriod.DAY)
DAY = timedelta(days=1)


def an_end(
    name: str, *amounts: str, at: datetime = NOW, currency: str = "USD", expensed: datetime | None = None
) -> FinishedRun:
    """A run that ended then, with attempts of these costs."""
    expenses = tuple(Expense(expensed or at, Decimal(amount), currency) for amount in amounts)
    return FinishedRun(
        ObjectKey(NAMESPACE, name), f"uid-{name}", "daily", Phase.SUCCEEDED, "Why", at, expenses=expenses
    )


def there(*runs: FinishedRun, uncounted: Iterable[FinishedRun] = (), unfinished: Iterable[str] = ()) -> Spending:
    return Spending(
        {run.uid: run for run in runs},
        {run.uid: run.expenses for run in uncounted},
        tuple((Expense(NOW, Decimal(amount), "USD"),) for amount in unfinished),
    )


def step(memory: Spent | None, seen: Spending, *, now: datetime = NOW, budget: PeriodBudget = BUDGET) -> Spent:
    return advance(memory, budget, seen, zone=UTC_ZONE, now=now).spent


@pytest.mark.parametrize(
    ("now", "kind", "zone", "since", "until"),
    [
        ("2026-03-02T12:00Z", BudgetPeriod.DAY, "Etc/UTC", "2026-03-02T00:00Z", "2026-03-03T00:00Z"),
        ("2026-03-02T00:00Z", BudgetPeriod.DAY, "Etc/UTC", "2026-03-02T00:00Z", "2026-03-03T00:00Z"),
        ("2026-03-01T23:59Z", BudgetPeriod.WEEK, "Etc/UTC", "2026-02-23T00:00Z", "2026-03-02T00:00Z"),
        ("2026-12-31T23:00Z", BudgetPeriod.MONTH, "Etc/UTC", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        ("2026-01-31T23:30Z", BudgetPeriod.MONTH, "Europe/Berlin", "2026-01-31T23:00Z", "2026-02-28T23:00Z"),
        ("2026-03-29T12:00Z", BudgetPeriod.DAY, "Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
        ("2026-10-25T12:00Z", BudgetPeriod.DAY, "Europe/Berlin", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
        # The clock skips midnight: the day begins with the first instant after that.
        ("2026-03-08T12:00Z", BudgetPeriod.DAY, "America/Havana", "2026-03-08T05:00Z", "2026-03-09T04:00Z"),
    ],
)
def test_periods_are_those_of_the_calendar(now: str, kind: BudgetPeriod, zone: str, since: str, until: str) -> None:
    """Days of 23 and of 25 hours among them."""
    found = period_at(datetime.fromisoformat(now), kind, ZoneInfo(zone))
    assert found == Period(datetime.fromisoformat(since), datetime.fromisoformat(until))


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.sampled_from(BudgetPeriod))  # noqa: DTZ001
def test_each_instant_is_in_one_period_and_they_follow_each_other(naive: datetime, kind: BudgetPeriod) -> None:
    """In a zone whose clock changes."""
    zone = ZoneInfo("America/Sao_Paulo")
    now = naive.replace(tzinfo=zone)
    period = period_at(now, kind, zone)
    assert period.since <= now < period.until
    assert period_at(period.until, kind, zone).since == period.until
    assert period_at(period.until - timedelta(microseconds=1), kind, zone) == period


def test_the_first_count_takes_all_that_is_there() -> None:
    """Of the present period, in the budget's currency; a run with two attempts is one run."""
    spent = step(
        None,
        there(
            an_end("a", "1.5", "0.25"),
            an_end("b", "2"),
            an_end("old", "40", at=NOW - DAY),
            an_end("euro", "7", currency="EUR"),
        ),
    )
    assert (spent.amount, spent.settled, spent.runs) == ("3.750000", "3.750000", 2)
    assert spent.counted == ("uid-a", "uid-b")
    assert spent.per_run == "1.875000"


def test_a_run_that_is_counted_is_not_counted_again() -> None:
    """It is there still, and another one has ended."""
    first, second = an_end("a", "1"), an_end("b", "2")
    memory = step(None, there(first))
    assert step(memory, there(first)) == memory
    after = step(memory, there(first, second, uncounted=[second]))
    assert (after.amount, after.runs, after.counted) == ("3.000000", 2, ("uid-a", "uid-b"))


def test_a_run_that_was_deleted_stays_counted_and_is_named_no_more() -> None:
    memory = step(None, there(an_end("a", "1")))
    later = an_end("b", "2")
    after = step(memory, there(later, uncounted=[later]))
    assert (after.amount, after.counted) == ("3.000000", ("uid-b",))


def test_a_run_that_was_deleted_before_it_was_counted_counts() -> None:
    """Nobody names it: it cannot come again."""
    memory = step(None, there())
    after = step(memory, there(uncounted=[an_end("a", "1")]))
    assert (after.amount, after.runs, after.counted) == ("1.000000", 1, ())


def test_attempts_of_runs_under_way_are_added_up_anew_each_time() -> None:
    """They are no part of what is settled, so that their run's end counts them once."""
    memory = step(None, there(unfinished=["0.5", "0.25"]))
    assert (memory.amount, memory.settled, memory.runs) == ("0.750000", "0.000000", 0)
    ended = an_end("a", "0.5", "1")
    after = step(memory, there(ended, uncounted=[ended], unfinished=["0.25"]))
    assert (after.amount, after.settled) == ("1.750000", "1.500000")


def test_a_new_period_begins_with_nothing_but_knows_what_a_run_costs() -> None:
    memory = step(None, there(an_end("a", "4")))
    after = step(memory, there(an_end("a", "4")), now=NOW + DAY)
    assert (after.amount, after.runs, after.per_run, after.counted) == ("0.000000", 0, "4.000000", ())
    assert after.since == memory.until


def test_an_attempt_belongs_to_the_period_in_which_it_ended() -> None:
    """A run that ended in the next one counts there with its last attempt alone."""
    memory = step(None, there())
    morning = memory.until + timedelta(hours=1)
    both = FinishedRun(
        ObjectKey(NAMESPACE, "a"),
        "uid-a",
        "daily",
        Phase.SUCCEEDED,
        "Why",
        morning,
        expenses=(Expense(NOW, Decimal(3), "USD"), Expense(morning, Decimal(5), "USD")),
    )
    assert step(memory, there(both, uncounted=[both]), now=morning).amount == "5.000000"
    assert step(memory, there(both, uncounted=[both])).amount == "3.000000"


def test_a_clock_that_is_a_little_behind_does_not_end_the_period() -> None:
    """As that of the operator that takes over just after midnight."""
    midnight = step(None, there(), now=NOW).until
    memory = step(None, there(an_end("a", "1", at=midnight)), now=midnight)
    assert step(memory, there(), now=midnight - timedelta(seconds=5)) == memory
    assert step(memory, there(), now=midnight - timedelta(minutes=5)).since == NOW.replace(hour=0)


def test_another_currency_counts_what_is_there() -> None:
    memory = step(None, there(an_end("a", "1")))
    euro = BUDGET.model_copy(update={"currency": "EUR"})
    after = step(memory, there(an_end("a", "1"), an_end("b", "2", currency="EUR")), budget=euro)
    assert (after.amount, after.currency, after.per_run) == ("2.000000", "EUR", "2.000000")


def test_of_many_runs_the_older_ones_are_told_by_an_instant() -> None:
    """What ended a minute ago or later is named still."""
    runs = [an_end(f"r{number}", "1", at=NOW - timedelta(seconds=number)) for number in range(FOLD_ABOVE + 1)]
    spent = step(None, there(*runs))
    assert spent.runs == FOLD_ABOVE + 1
    assert spent.counted_until == NOW - timedelta(seconds=60)
    assert set(spent.counted) == {run.uid for run in runs if run.finished_at >= spent.counted_until}


def test_no_more_are_named_than_a_status_holds() -> None:
    runs = [an_end(f"r{number}", "1") for number in range(MAX_COUNTED + 1)]
    spent = step(None, there(*runs))
    assert len(spent.counted) <= MAX_COUNTED
    assert spent.runs == MAX_COUNTED + 1


def _restarted(memory: Spent, kept: Mapping[str, FinishedRun]) -> Spending:
    """What who starts anew finds uncounted, by the status alone."""
    until = memory.counted_until
    uncounted = [
        run for run in kept.values() if run.uid not in memory.counted and (until is None or run.finished_at >= until)
    ]
    return there(*kept.values(), uncounted=uncounted)


@given(st.lists(st.tuples(st.integers(1, 900), st.booleans(), st.booleans()), max_size=30))
def test_whatever_dies_in_between_each_run_counts_once(ends: list[tuple[int, bool, bool]]) -> None:
    """Each run ends, its count is written or is not, and a counted run is deleted or is not; all are counted in the end."""
    memory, kept = step(None, there()), dict[str, FinishedRun]()
    for number, (cents, is_written, is_deleted) in enumerate(ends):
        run = an_end(f"r{number}", f"{cents / 100}", at=NOW + timedelta(seconds=number))
        kept[run.uid] = run
        if is_written:
            memory = step(memory, _restarted(memory, kept), now=run.finished_at)
        if is_written and is_deleted:
            kept.pop(next(iter(kept)))
    memory = step(memory, _restarted(memory, kept), now=NOW + timedelta(seconds=60))
    assert Decimal(memory.amount) == sum(Decimal(cents) for cents, *_ in ends) / 100
    assert memory.runs == len(ends)
