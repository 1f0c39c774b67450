"""
Which occurrences an Automation acts on.

    filter ──> known already? ──> silence ──> group fired within its window? ──> rate ──> room ──> a firing

The answer rests on the occurrence and on the Automation's status alone. So it is the same on every replica and after a restart, and
the status, which is written by compare and swap, is the one place where a group's first event is told from the others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from headrace.api.automation import (
    MAX_FIRINGS,
    MAX_GROUP,
    MAX_OPEN,
    AutomationStatus,
    Firing,
    FiringState,
    PlannedAction,
)
from headrace_operator.decide.automation.expressions import EvaluationError
from headrace_operator.decide.automation.occurrences import Occurrence, fingerprint
from headrace_operator.decide.automation.rules import Rules, TooLarge
from headrace_operator.decide.conditions import shortened

REMEMBERED_S: Final = 600
"""A firing is kept for this long at least: a request that is sent twice is known by it."""
LATE: Final = timedelta(hours=1)
"""An occurrence may wait for firings to end, which are given up after as long, before it is judged."""
KEPT_FIRINGS: Final = MAX_FIRINGS // 2
"""Ended ones that no time has settled are forgotten only beyond so many."""
ID_LENGTH: Final = 10


class Outcome(StrEnum):
    """What becomes of an occurrence."""

    FIRED = "fired"
    FAILED = "failed"
    FILTERED = "filtered"
    UNCLEAR = "filter_error"
    KNOWN = "known"
    DEDUPLICATED = "deduplicated"
    SUPPRESSED = "suppressed"
    THROTTLED = "throttled"
    DEFERRED = "deferred"


ACTED_ON: Final = (Outcome.FIRED, Outcome.FAILED)
MATCHED: Final = (Outcome.FIRED, Outcome.FAILED, Outcome.DEDUPLICATED, Outcome.SUPPRESSED, Outcome.THROTTLED)


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What is to be done.

    Attributes:
        firings: Those of the status and the new ones, in the order in which they were made.
        outcomes: How many occurrences came to what.
        deferred: Those that are to be judged again, when firings have ended.
        fresh: The firings that are new.
    """

    firings: tuple[Firing, ...]
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    deferred: tuple[Occurrence, ...] = ()
    fresh: tuple[Firing, ...] = ()


def judged(
    rules: Rules,
    status: AutomationStatus,
    occurrences: Iterable[Occurrence],
    *,
    uid: str,
    now: datetime,
    listed: Container[str] = (),
) -> Judgement:
    """
    What becomes of the occurrences, the oldest first; each that fires counts for the next ones.

    Args:
        uid: The Automation's: one that is made anew under its name has other firings.
        listed: Ids of those that a list told of. Each was counted already, unless it is acted on now.
    """
    docket = _Docket(uid, rules, now)
    for before in status.firings:
        docket.add(before)
    docket.settle()
    fresh, deferred = [], []
    outcomes: Counter[Outcome] = Counter()
    for occurrence in sorted(occurrences, key=lambda each: (each.at, each.id)):
        was_judged = occurrence.id in listed and docket.has_settled(occurrence)
        outcome, firing = (Outcome.KNOWN, None) if was_judged else docket.judge(occurrence)
        outcomes[outcome] += outcome in ACTED_ON or occurrence.id not in listed
        if firing is not None:
            fresh.append(firing)
        if outcome is Outcome.DEFERRED:
            deferred.append(occurrence)
    return Judgement(docket.kept(), outcomes, tuple(deferred), tuple(fresh))


def firing_id(uid: str, group: str, occurrence: str) -> str:
    """Of the firing that this occurrence brings about; names of runs derive from it."""
    return fingerprint(uid, group, occurrence)[:ID_LENGTH]


@dataclass(slots=True)
class _Docket:
    """
    What an Automation has fired for, while occurrences are judged: a thousand may wait, and each pass looks at all of them.

    Attributes:
        known: Ids of the firings.
        times: When they happened, in order.
        groups: When those of a group did.
        under_way: How many are open.
        settled_before: What happened earlier was judged once, by firings that may be forgotten by now; None: none is forgotten.
    """

    uid: str
    rules: Rules
    now: datetime
    firings: list[Firing] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    times: list[datetime] = field(default_factory=list)
    groups: defaultdict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    under_way: int = 0
    settled_before: datetime | None = None

    def settle(self) -> None:
        """
        Firings were forgotten, perhaps: what they kept from firing must not fire when a list tells of it once more.

        Somebody was here when the newest firing happened, and judged what was older.
        """
        if len(self.firings) >= KEPT_FIRINGS:
            self.settled_before = self.times[-1] - self._memory - LATE

    def has_settled(self, occurrence: Occurrence) -> bool:
        """Whether it was judged once, if it is found again."""
        return self.settled_before is not None and occurrence.at < self.settled_before

    def add(self, firing: Firing) -> None:
        """One more that counts for what is judged next."""
        self.firings.append(firing)
        self.known.add(firing.id)
        insort(self.times, firing.at)
        self.groups[firing.group].append(firing.at)
        self.under_way += firing.state is FiringState.OPEN

    def judge(self, occurrence: Occurrence) -> tuple[Outcome, Firing | None]:
        """What it comes to, and the firing, which is among `firings` then."""
        try:
            if not self.rules.counts(occurrence.event):
                return Outcome.FILTERED, None
        except EvaluationError:
            return Outcome.UNCLEAR, None
        group = self.rules.group_of(occurrence)
        obstacle = self._told_before(occurrence, group) or self._too_much(occurrence)
        if obstacle is not None:
            return obstacle, None
        firing = self._firing(occurrence, group)
        self.add(firing)
        return (Outcome.FAILED if firing.state is FiringState.FAILED else Outcome.FIRED), firing

    def kept(self) -> tuple[Firing, ...]:
        """Those that may still settle something, and as many of the newest ended ones as there is room for."""
        surplus = len(self.firings) - KEPT_FIRINGS
        kept = []
        for firing in self.firings:
            if surplus > 0 and firing.state is not FiringState.OPEN and self.now - firing.at >= self._memory:
                surplus -= 1
            else:
                kept.append(firing)
        return tuple(kept)

    @property
    def _memory(self) -> timedelta:
        """For how long a firing may keep others from firing."""
        spec = self.rules.spec
        return timedelta(seconds=max(spec.deduplicate_seconds, spec.rate_limit.per_seconds, REMEMBERED_S))

    def _told_before(self, occurrence: Occurrence, group: str) -> Outcome | None:
        if firing_id(self.uid, group, occurrence.id) in self.known:
            return Outcome.KNOWN
        if self.rules.is_silent(occurrence.at):
            return Outcome.SUPPRESSED
        window = timedelta(seconds=self.rules.spec.deduplicate_seconds)
        fired = any(abs(occurrence.at - at) < window for at in self.groups.get(group, ()))
        return Outcome.DEDUPLICATED if fired else None

    def _too_much(self, occurrence: Occurrence) -> Outcome | None:
        rate = self.rules.spec.rate_limit
        stretch = timedelta(seconds=rate.per_seconds)
        near = bisect_left(self.times, occurrence.at + stretch) - bisect_right(self.times, occurrence.at - stretch)
        if near >= rate.count:
            return Outcome.THROTTLED
        if (
            len(self.firings) >= MAX_FIRINGS and len(self.kept()) >= MAX_FIRINGS
        ):  # it may be so for the whole of a window: nobody can wait for that
            return Outcome.THROTTLED
        return Outcome.DEFERRED if self.under_way >= MAX_OPEN else None

    def _firing(self, occurrence: Occurrence, group: str) -> Firing:
        made = Firing(
            id=firing_id(self.uid, group, occurrence.id),
            group=group,
            about=occurrence.about[:MAX_GROUP],
            at=occurrence.at,
            state=FiringState.OPEN,
        )
        try:
            actions = self.rules.rendered(occurrence.event)
        except (EvaluationError, TooLarge) as error:
            return made.model_copy(
                update={"state": FiringState.FAILED, "message": shortened(f"nothing is done: {error}")}
            )
        return made.model_copy(update={"actions": tuple(PlannedAction(**action) for action in actions)})
