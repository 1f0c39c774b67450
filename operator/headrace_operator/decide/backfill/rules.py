"""Which phase a Backfill is in, and whether it may create runs: the first rule with an answer wins, and the order is policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from headrace.api.backfill import BackfillPhase
from headrace.api.conditions import Reason
from headrace.instants import stamp
from headrace_operator.decide.backfill.calendar import is_open, next_change
from headrace_operator.decide.backfill.costs import affordable, described
from headrace_operator.decide.backfill.situation import Situation

MAX_UNDELETED: Final = 2000
"""With as many finished runs that are still in the API nothing is created. A run's name is held for seconds after its end, so that there are always some."""
UNDELETED_LOOK_S: Final = 10.0
"""Their number is looked at again after so long: whoever deletes them is not always us, and then nothing wakes the Backfill."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The phase and why; `creates`: further runs may be created."""

    phase: BackfillPhase
    reason: Reason
    message: str
    creates: bool = False
    look_again_at: datetime | None = None


Rule = Callable[[Situation], Verdict | None]


def cancelled(at: Situation) -> Verdict | None:
    """spec.cancel ends it once its runs have ended."""
    if not at.spec.cancel:
        return None
    if at.active:
        told = f"spec.cancel is true; {len(at.active)} run(s) are being ended"
        return Verdict(BackfillPhase.RUNNING, Reason.CANCEL_REQUESTED, told)
    return Verdict(BackfillPhase.CANCELLED, Reason.CANCELLED, f"spec.cancel is true; {_tally(at)}")


def all_over(at: Situation) -> Verdict | None:
    """Every partition is over."""
    if at.over < at.total or at.active:
        return None
    outcomes = at.after.outcomes
    if not outcomes.failed and not outcomes.cancelled:
        return Verdict(BackfillPhase.SUCCEEDED, Reason.SUCCEEDED, f"all {at.total} partitions succeeded")
    step = "raise spec.rerunFailed to run those that failed once more"
    if not outcomes.failed:
        step = "create a new Backfill of those that were cancelled, if they are to be run"
    return Verdict(BackfillPhase.FAILED, Reason.PARTITIONS_FAILED, f"{_tally(at)}; {step}")


def too_many_failures(at: Situation) -> Verdict | None:
    """More failed than spec.maxFailures allows."""
    failed, allowed = len(at.after.outcomes.failed), at.spec.max_failures
    if allowed is None or failed <= allowed:
        return None
    told = (
        f"{failed} partition(s) failed, spec.maxFailures allows {allowed}; mend the cause, then raise spec.rerunFailed, "
        "or spec.maxFailures to go on without them"
    )
    return _ends_with_active(at, Reason.TOO_MANY_FAILURES, told)


def unread(at: Situation) -> Verdict | None:
    """Which runs had finished before the start is being read: nothing changes until then."""
    status = at.seen.status
    if at.seen.is_complete:
        return None
    phase = status.phase or BackfillPhase.PENDING
    reason = Reason(status.reason) if status.reason in set(Reason) else Reason.RUNNING
    return Verdict(phase, reason, status.message or "reads which of its runs have ended")


def budget_spent(at: Situation) -> Verdict | None:
    """A further run would cost more than is left."""
    if at.spec.budget is None or at.active or affordable(at.spec.budget, at.cost, at.over, active=0) > 0:
        return None
    told = (
        f"{described(at.cost)} is spent on {at.over} of {at.total} partitions, and one more would exceed spec.budget "
        f"({at.spec.budget.amount} {at.spec.budget.currency}); raise it to go on"
    )
    return Verdict(BackfillPhase.FAILED, Reason.BUDGET_EXCEEDED, told)


def suspended(at: Situation) -> Verdict | None:
    """spec.suspend holds back what has not begun."""
    if not at.spec.suspend:
        return None
    return Verdict(BackfillPhase.PAUSED, Reason.SUSPENDED, "spec.suspend is true; set it to false to go on")


def no_deployment(at: Situation) -> Verdict | None:
    """The Deployment is not there, or cannot be used."""
    if at.seen.deployment_problem is None:
        return None
    return Verdict(BackfillPhase.WAITING, *at.seen.deployment_problem)


def window_closed(at: Situation) -> Verdict | None:
    """Outside its window it starts nothing."""
    window = at.spec.window
    if window is None:
        return None
    change = next_change(window, at.now)
    if is_open(window, at.now):
        return None
    told = f"spec.window is closed until {stamp(change)}" if change else "spec.window never opens"
    return Verdict(BackfillPhase.WAITING, Reason.WINDOW_CLOSED, told, look_again_at=change)


def store_full(at: Situation) -> Verdict | None:
    """Too many finished runs wait for the history store."""
    if not at.seen.is_store_full:
        return None
    told = "too many finished runs wait for the history store; it goes on when they are recorded"
    return Verdict(BackfillPhase.WAITING, Reason.HISTORY_FULL, told)


def undeleted(at: Situation) -> Verdict | None:
    """Runs end faster than an API server that has much to do deletes them: without a bound they would fill it."""
    if at.seen.undeleted < MAX_UNDELETED:
        return None
    told = f"{at.seen.undeleted} of its finished runs are still in the API; it goes on when there are fewer than {MAX_UNDELETED}"
    again = at.now + timedelta(seconds=UNDELETED_LOOK_S)
    return Verdict(BackfillPhase.RUNNING, Reason.RUNNING, told, look_again_at=again)


def draining(at: Situation) -> Verdict | None:
    """A re-run begins when the runs of the one before have ended."""
    if not at.is_draining:
        return None
    told = "spec.rerunFailed was raised; the failed partitions are run again when those of the last re-run have ended"
    return Verdict(BackfillPhase.RUNNING, Reason.RUNNING, told)


def goes_on(at: Situation) -> Verdict | None:
    """Nothing stands in the way."""
    budget = at.spec.budget
    if budget is not None and at.over and (at.cost is None or at.cost.currency != budget.currency):
        told = (
            f"no run has told its cost in {budget.currency} (spec.budget.currency) yet, so one at a time is started; "
            "spec.pricing of WorkPools makes costs known, in its own currency"
        )
    else:
        told = "runs are created as there is room for them"
    return Verdict(BackfillPhase.RUNNING, Reason.RUNNING, told, creates=True)


RULES: tuple[Rule, ...] = (
    cancelled,
    all_over,
    too_many_failures,
    unread,
    budget_spent,
    suspended,
    no_deployment,
    window_closed,
    store_full,
    undeleted,
    draining,
    goes_on,
)


def _ends_with_active(at: Situation, reason: Reason, told: str) -> Verdict:
    if at.active:
        return Verdict(BackfillPhase.RUNNING, reason, f"{told}; waits for {len(at.active)} run(s) to end")
    return Verdict(BackfillPhase.FAILED, reason, told)


def _tally(at: Situation) -> str:
    outcomes = at.after.outcomes
    told = f"of {at.total} partitions {len(outcomes.succeeded)} succeeded, {len(outcomes.failed)} failed"
    told += f", {len(outcomes.cancelled)} were cancelled" if outcomes.cancelled else ""
    left = at.total - at.over
    return f"{told}, {left} were not run" if left else told
