"""What an Automation claims of what has happened: its next status, and what of it need not be written at once."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from headrace.api.automation import AutomationStatus, Series
from headrace.api.conditions import Reason
from headrace_operator.decide.automation.judging import Judgement, judged
from headrace_operator.decide.automation.occurrences import Occurrence
from headrace_operator.decide.automation.progress import Counts, observed, with_counts, with_judgement
from headrace_operator.decide.automation.rules import Rules

COUNTED_EVERY: Final = timedelta(seconds=30)
"""Counts that nothing else takes along are written after this long."""


@dataclass(frozen=True, slots=True)
class AutomationSnapshot:
    """
    What an Automation's claim rests on.

    Args:
        rules: None: its spec cannot be used.
        problem: Why it cannot act as it should.
        series: Those of a metric that are beyond the threshold by now.
        occurrences: What has happened and is not judged yet.
        listed: Ids of those among them that a list told of.
        counts: What became of others and is not in the status yet.
        counted_since: Since when there is something in these that people would see; None: there was nothing.
    """

    uid: str
    generation: int
    created: datetime
    rules: Rules | None
    status: AutomationStatus
    problem: tuple[Reason, str] | None = None
    series: tuple[Series, ...] = ()
    occurrences: tuple[Occurrence, ...] = ()
    listed: Container[str] = ()
    counts: Counts = field(default_factory=Counts)
    counted_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What is claimed.

    Args:
        status: To be written first, by compare and swap; None: nothing is to be.
        settled: What needs no further look, once that is written.
        counts, counted_since: As an AutomationSnapshot has them, from then on.
    """

    status: AutomationStatus | None
    judgement: Judgement
    settled: tuple[Occurrence, ...]
    counts: Counts
    counted_since: datetime | None


def claimed(seen: AutomationSnapshot, now: datetime) -> Claim:
    """What has happened since the status says that this spec is in force, judged; what happened before counts for nothing."""
    status = observed(seen.status, generation=seen.generation, problem=seen.problem, created=seen.created, now=now)
    if seen.series != status.series:
        status = status.model_copy(update={"series": seen.series})
    judgement = Judgement(status.firings)
    if seen.rules is not None:
        current = [each for each in seen.occurrences if status.since is None or each.at >= status.since]
        judgement = judged(seen.rules, status, current, uid=seen.uid, now=now, listed=seen.listed)
        status = with_judgement(status, judgement)
    counts = seen.counts + judgement.outcomes
    deferred = {each.id for each in judgement.deferred}
    settled = tuple(each for each in seen.occurrences if each.id not in deferred)
    counted = with_counts(status, counts)
    is_due = seen.counted_since is not None and now - seen.counted_since >= COUNTED_EVERY
    if status != seen.status or is_due:
        return Claim(counted, judgement, settled, Counts(), None)
    is_news = counted is not status  # counts that change nothing that people see may wait for ever
    return Claim(None, judgement, settled, counts, (seen.counted_since or now) if is_news else None)
