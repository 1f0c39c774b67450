"""What an Automation's status says next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from headrace.api.automation import AutomationStatus, EventCounts, Firing, FiringState
from headrace.api.conditions import ConditionType, Reason
from headrace_operator.decide.automation.judging import MATCHED, Judgement, Outcome
from headrace_operator.decide.conditions import condition, shortened, stored, with_condition
from headrace_operator.decide.snapshot import ConditionView

Counts = Counter[Outcome]


def with_judgement(status: AutomationStatus, judgement: Judgement) -> AutomationStatus:
    """The status with what was judged. What happened before a firing that is forgotten is not looked at again."""
    kept = {firing.id for firing in judgement.firings}
    forgotten = [firing.at for firing in status.firings if firing.id not in kept]
    fired = [firing.at for firing in judgement.fresh]
    changes: dict[str, object] = {"firings": judgement.firings}
    if forgotten:
        # Beyond them: what is found again from the very second of one that is forgotten would fire once more.
        after = max(forgotten).replace(microsecond=0) + timedelta(seconds=1)
        changes["since"] = max([after, *([status.since] if status.since else [])])
    if fired:
        changes["last_triggered"] = max([*fired, *([status.last_triggered] if status.last_triggered else [])])
    return status.model_copy(update=changes)


def with_counts(status: AutomationStatus, outcomes: Mapping[Outcome, int]) -> AutomationStatus:
    """The status with these added to its counts."""
    before = status.counts
    counts = EventCounts(
        matched=before.matched + sum(outcomes.get(outcome, 0) for outcome in MATCHED),
        fired=before.fired + outcomes.get(Outcome.FIRED, 0),
        deduplicated=before.deduplicated + outcomes.get(Outcome.DEDUPLICATED, 0),
        suppressed=before.suppressed + outcomes.get(Outcome.SUPPRESSED, 0),
        throttled=before.throttled + outcomes.get(Outcome.THROTTLED, 0),
        failed=before.failed + outcomes.get(Outcome.FAILED, 0),
    )
    return status if counts == before else status.model_copy(update={"counts": counts})


def with_ended(status: AutomationStatus, ended: Mapping[str, str | None]) -> AutomationStatus:
    """
    The status with firings that ended.

    Args:
        ended: By id: what went wrong, None for nothing.
    """
    if not ended:
        return status
    firings = tuple(_ended(firing, ended[firing.id]) if firing.id in ended else firing for firing in status.firings)
    failures = sum(problem is not None for problem in ended.values())
    counts = status.counts.model_copy(update={"failed": status.counts.failed + failures})
    return status.model_copy(update={"firings": firings, "counts": counts})


def _ended(firing: Firing, problem: str | None) -> Firing:
    state = FiringState.DONE if problem is None else FiringState.FAILED
    message = None if problem is None else shortened(problem)
    return firing.model_copy(update={"state": state, "message": message, "actions": None})


def observed(
    status: AutomationStatus,
    *,
    generation: int,
    problem: tuple[Reason, str] | None,
    created: datetime,
    now: datetime,
) -> AutomationStatus:
    """
    The status of this generation of the spec.

    What happened under another spec is not judged by this one: whoever mends a filter does not mean last week's failures.
    """
    reason, message = problem or (Reason.READY, "it acts on what happens")
    before = tuple(
        ConditionView(
            each.type, each.status, each.reason, each.message, each.last_transition_time, each.observed_generation
        )
        for each in status.conditions
    )
    ready = condition(
        ConditionType.READY, holds=problem is None, reason=reason, message=message, now=now, generation=generation
    )
    after = with_condition(before, ready)
    changes: dict[str, object] = {}
    if after is not before:
        changes["conditions"] = tuple(map(stored, after))
    if status.observed_generation != generation:
        changes["observed_generation"] = generation
        is_first = status.observed_generation is None and generation == 1
        changes["since"] = created if is_first else now.replace(microsecond=0)
    return status.model_copy(update=changes) if changes else status


def open_firings(firings: Iterable[Firing]) -> list[Firing]:
    """Those whose actions are not done, in the order in which they were made."""
    return [firing for firing in firings if firing.state is FiringState.OPEN]
