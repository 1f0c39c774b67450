"""
What a Backfill's status tells of its partitions, and how the ends of runs get into it.

    run ends ──> noted: over (succeeded, failed, cancelled), or due for another run ──> the run may be deleted

Runs of one partition are numbered. The number that a partition is at follows from the status alone; a run below it
is told already. So an end is counted once, however often it is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from headrace.api.backfill import MAX_RETRY_GROUPS, BackfillSpec, BackfillStatus, RetryGroup
from headrace.api.conditions import Phase, Reason
from headrace.api.money import Cost
from headrace.backfills.outcomes import InvalidOutcomes, Outcomes
from headrace.backfills.ranges import Ranges
from headrace_operator.decide.snapshot import ObjectKey

RUNS_OF_ROUND: Final = 100
"""Numbers of the runs of one partition: from 1, those of the first re-run from 101. More than a partition's retries."""
MAX_RETRYING: Final = 1500
"""Partitions that wait for another run; with more of them no further ones are begun, so that the status stays small."""
RETRY_STEPS: Final = 8
"""Into so many instants a retry's delay is cut: those that are due at about the same time share an entry of the status."""

MAX_INSTANTS: Final = MAX_RETRY_GROUPS // 2
OF_GROUP: Final = 1000
"""Positions of one entry: sixteen characters each at most, with the comma, are within what its field holds."""

BAD_ENDS: Final = frozenset({Phase.FAILED, Phase.CRASHED, Phase.SKIPPED})


@dataclass(frozen=True, slots=True)
class EndedRun:
    """
    A run of a Backfill that has ended, or was deleted.

    Args:
        number: Which run of its partition it is.
    """

    key: ObjectKey
    uid: str
    position: int
    number: int
    phase: Phase
    reason: str
    finished_at: datetime
    cost: Cost | None = None

    @property
    def is_bad(self) -> bool:
        """Whether its partition was to be done and is not: it failed, or its Deployment's concurrency left it out."""
        return self.phase in BAD_ENDS or self.reason == Reason.REPLACED


@dataclass(frozen=True, slots=True)
class Retry:
    """A partition's next run."""

    number: int
    not_before: datetime


@dataclass(frozen=True, slots=True)
class Noted:
    """
    What a status tells.

    Args:
        retrying: By position: partitions whose run failed, and that get another one.
        round: Of re-runs, 0 at first.
    """

    outcomes: Outcomes = field(default_factory=Outcomes)
    retrying: Mapping[int, Retry] = field(default_factory=dict)
    round: int = 0
    over: Ranges = field(default_factory=Ranges)

    def number_of(self, position: int) -> int:
        """The number of the partition's next or present run."""
        retry = self.retrying.get(position)
        return retry.number if retry else self.first_number(position)

    def first_number(self, position: int) -> int:
        """The number of its first run in this round."""
        return self.round * RUNS_OF_ROUND + 1 if position in self.outcomes.again else 1

    def tells(self, position: int, number: int) -> bool:
        """Whether the end of this run is noted: the run is needed no more, and another one like it must not be."""
        return position in self.over or number < self.number_of(position)


def noted_in(status: BackfillStatus, outcomes: Outcomes) -> Noted:
    """
    What the status tells.

    Args:
        outcomes: Its outcomes, decoded.
    Raises: InvalidOutcomes: its field `retrying` says no positions.
    """
    retrying: dict[int, Retry] = {}
    for group in status.retrying:
        try:
            positions = Ranges.parse(group.positions)
        except ValueError as error:
            raise InvalidOutcomes(f"status.retrying: {error}") from error
        retrying.update(dict.fromkeys(positions, Retry(group.attempt, group.not_before)))
    return Noted(outcomes, retrying, status.rerun_failed, outcomes.over)


def with_ends(noted: Noted, spec: BackfillSpec, ended: Iterable[EndedRun]) -> Noted:
    """
    With these ends noted: each once, in the order in which they came.

    A run that failed gives its partition another one as long as it has retries, unless the Backfill is cancelled.
    """
    good, bad, stopped = set[int](), set[int](), set[int]()
    retrying = dict(noted.retrying)
    for run in ended:
        if noted.tells(run.position, run.number):
            continue
        retrying.pop(run.position, None)
        if run.phase is Phase.SUCCEEDED:
            good.add(run.position)
        elif not run.is_bad:
            stopped.add(run.position)
        elif run.number - noted.first_number(run.position) < spec.retries.limit and not spec.cancel:
            retrying[run.position] = Retry(run.number + 1, _due(run.finished_at, spec.retries.delay_seconds))
        else:
            bad.add(run.position)
    if not (good or bad or stopped):
        outcomes = noted.outcomes
    else:
        outcomes = noted.outcomes.noted(succeeded=good, failed=bad, cancelled=stopped)
    return Noted(outcomes, retrying, noted.round, outcomes.over)


def with_rerun(noted: Noted, number: int) -> Noted:
    """With every partition that failed to be run once more; nothing of an earlier round may be under way."""
    outcomes = noted.outcomes.with_failed_again()
    first = {position: retry for position, retry in noted.retrying.items() if position not in outcomes.again}
    return Noted(outcomes, first, number, outcomes.over)


def retry_groups(retrying: Mapping[int, Retry]) -> tuple[RetryGroup, ...]:
    """
    As the status has them: those that are due at the same instant, with the same number, together.

    Where there are more instants than a status holds, as when a window is closed for hours, the earliest ones wait for the next.
    """
    groups: dict[tuple[datetime, int], list[int]] = {}
    for position, retry in retrying.items():
        groups.setdefault((retry.not_before, retry.number), []).append(position)
    return tuple(
        RetryGroup(attempt=number, not_before=due, positions=Ranges.of(positions[first : first + OF_GROUP]).text)
        for number, due, positions in sorted((number, due, sorted(of)) for (due, number), of in _fewer(groups).items())
        for first in range(0, len(positions), OF_GROUP)
    )


def _fewer(groups: dict[tuple[datetime, int], list[int]]) -> dict[tuple[datetime, int], list[int]]:
    """At most MAX_INSTANTS of them, as far as numbers allow: the earliest are put to the next one of their number."""
    excess = len(groups) - MAX_INSTANTS
    if excess <= 0:
        return groups
    kept: dict[tuple[datetime, int], list[int]] = {}
    waiting: dict[int, list[int]] = {}
    latest = {number: due for due, number in sorted(groups)}
    for due, number in sorted(groups):
        positions = waiting.pop(number, []) + groups[due, number]
        if excess > 0 and due < latest[number]:
            waiting[number], excess = positions, excess - 1
        else:
            kept[due, number] = positions
    return kept


def _due(ended: datetime, delay_s: int) -> datetime:
    """At a whole multiple of an eighth of the delay: few instants, so that many retries share one."""
    step_s = max(1, ceil(delay_s / RETRY_STEPS))
    due = (ended + timedelta(seconds=delay_s)).timestamp()
    return datetime.fromtimestamp(ceil(due / step_s) * step_s, UTC)
