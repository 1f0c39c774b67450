"""What goes on that Automations wait for: saturated limits, and series of metrics that are beyond a threshold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from headrace.api.automation import Series
from headrace.api.automation_sources import OnLimitSaturated, OnMetric
from headrace.api.conditions import Reason
from headrace.slots import PodHolder, RunHolder, parse_holder
from headrace_operator.decide.automation.limits import LimitFacts, limit_occurrence, saturated_at
from headrace_operator.decide.automation.occurrences import Occurrence
from headrace_operator.decide.automation.series import followed, series_occurrences
from headrace_operator.handlers.context import Context
from headrace_operator.observe.automations import AutomationRecord
from headrace_operator.observe.parse import instant
from headrace_operator.observe.records import LimitRecord

UNUSED_AGAIN: Final = timedelta(seconds=30)
"""A saturated limit that no run of the namespace uses is looked at again: one may come to use it. That costs no request."""
NO_LIMITS: Final = (
    "trigger.limitSaturated: this operator serves single namespaces and reads no ConcurrencyLimits; have one that "
    "serves the cluster act on them"
)


def stand(context: Context, record: AutomationRecord, now: datetime) -> datetime | None:
    """What goes on by now becomes occurrences. Returns when time alone changes something, None for never."""
    trigger = record.rules.spec.trigger if record.rules is not None else None
    if trigger is not None and trigger.limit_saturated is not None:
        return _stand_limits(context, record, trigger.limit_saturated, now)
    if trigger is not None and trigger.metric is not None:
        return _stand_series(context, record, trigger.metric, now)
    context.queries.forget(record.key)
    return None


def series_of(context: Context, record: AutomationRecord) -> tuple[Series, ...]:
    """Those that are beyond the threshold, as the last reading has them; as they were before it, while there is none."""
    if record.rules is not None and record.rules.spec.trigger.metric is None:
        return ()
    seen = context.queries.reading(record.key)
    return record.status.series if seen is None else followed(record.status.series, seen)


def problem_of(context: Context, record: AutomationRecord) -> tuple[Reason, str] | None:
    """Why nothing can be seen of what it waits for, None if something can."""
    trigger = record.rules.spec.trigger if record.rules is not None else None
    if trigger is None:
        return None
    if trigger.limit_saturated is not None and context.settings.cluster_objects == "ignore":
        return Reason.INVALID_SPEC, NO_LIMITS
    if trigger.metric is not None:
        return context.queries.problem(record.key)
    unwatched = context.intake.automations.subscriptions.problem(record.key)
    return None if unwatched is None else (Reason.EVENTS_NOT_READABLE, unwatched)


def _stand_limits(context: Context, record: AutomationRecord, on: OnLimitSaturated, now: datetime) -> datetime | None:
    going_on: list[Occurrence] = []
    dues: list[datetime] = []
    for limit in _limits(context):
        at = saturated_at(on, limit)
        if at is None:
            continue
        if at > now:
            dues.append(at)
        elif on.limits is not None or _is_used(context, record.key.namespace, limit.name):
            going_on.append(limit_occurrence(limit, at))
        else:
            dues.append(now + UNUSED_AGAIN)
    context.intake.automations.stand(record, going_on)
    return min(dues, default=None)


def _limits(context: Context) -> Iterator[LimitFacts]:
    for limit in context.intake.cache.limits.values():
        yield _facts(limit)


def _facts(limit: LimitRecord) -> LimitFacts:
    return LimitFacts(
        name=limit.key.name,
        uid=limit.uid,
        slots=(limit.spec.slots if limit.spec is not None else None) or 0,
        used=int(limit.status.get("active") or 0),
        waiting=int(limit.status.get("waiting") or 0),
        since=instant(limit.status.get("saturatedSince")),
    )


def _is_used(context: Context, namespace: str, limit: str) -> bool:
    """Whether runs of the namespace, or their tasks, hold slots of the limit or wait for it."""
    if namespace in context.board.namespaces_at_limit(limit):
        return True
    holders = (parse_holder(holder) for holder in context.slots.holders(limit))
    return any(isinstance(each, RunHolder | PodHolder) and each.namespace == namespace for each in holders)


def _stand_series(context: Context, record: AutomationRecord, on: OnMetric, now: datetime) -> datetime | None:
    left_s = context.queries.look(record.key, (record.uid, record.generation), on)
    seen = context.queries.reading(record.key)
    if seen is not None:
        context.intake.automations.stand(record, series_occurrences(on, series_of(context, record), seen))
    return None if left_s is None else now + timedelta(seconds=left_s)
