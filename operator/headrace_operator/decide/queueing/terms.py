"""What the board is told and what it answers, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.snapshot import Blocked, ObjectKey

Slots = tuple[tuple[str, int], ...]
"""How many slots of which ConcurrencyLimits, sorted by the limits' names."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` starts in any window of `per_s` seconds."""

    count: int
    per_s: float


@dataclass(frozen=True, slots=True)
class LimitTerms:
    """A ConcurrencyLimit. `slots` None: any number; `rate` None: at any pace."""

    slots: int | None = None
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """
    A WorkPool's capacity.

    Args:
        runs: Active runs that it takes at once; None for any number.
        resources: What their requests may add up to; a resource that is not named has no bound.
        preempts: A run may send away runs of lower priority to get into it.
    """

    runs: int | None = None
    resources: Amounts = ()
    preempts: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """
    What a waiting run needs before its next pod may be made.

    Args:
        due: When it was meant to start; aware UTC.
        deployment: Whose slot it needs; None: none, or it holds it already.
        limits: Slots that it needs and is not known to hold by its Holding.
        rates: ConcurrencyLimits that must let one more start through.
        pools: WorkPools that fit, best first; None: no pools are in use, it runs anywhere; (): none fits.
        pools_problem: Why none fits.
        counts: It adds an active run to its namespace; False for a retry, which counts already and goes before new runs.
        preempts: Its deployment lets it send away runs of lower priority.
        parents: Of a remote task: the run that waits for it, and whoever waits for that one.
    """

    run: ObjectKey
    uid: str
    due: datetime
    priority: int = 0
    deployment: ObjectKey | None = None
    limits: Slots = ()
    rates: tuple[str, ...] = ()
    pools: tuple[str, ...] | None = None
    pools_problem: Blocked | None = None
    requests: Amounts = ()
    counts: bool = True
    preempts: bool = False
    parents: tuple[ObjectKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """
    What an active run holds.

    Args:
        since: When its attempt began: of equal priority, the newest is sent away first; aware UTC.
        pool: Where its pod is; None: in none, or it has no pod just now.
        counts: It is an active run of its namespace.
        leaving: It is being ended already, so that its room is as good as free.
    """

    uid: str
    since: datetime
    priority: int = 0
    deployment: ObjectKey | None = None
    limits: Slots = ()
    pool: str | None = None
    requests: Amounts = ()
    counts: bool = True
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """The run may start, in this pool; None where no pools are in use."""

    run: ObjectKey
    pool: str | None


@dataclass(frozen=True, slots=True)
class Admission:
    """
    What one pass came to.

    Args:
        grants: In the order in which they were given; each is charged already.
        blocked: The heads of lines that were looked at and must wait; `Board.explain` answers for every waiting run.
        preempt: Active runs to send away; each is named once.
        look_again_at: When a pass may come to something else though nothing is told; None: never.
    """

    grants: tuple[Grant, ...] = ()
    blocked: tuple[tuple[ObjectKey, Blocked], ...] = ()
    preempt: tuple[ObjectKey, ...] = ()
    look_again_at: datetime | None = None


Holders = Mapping[str, int]
"""Slots of one limit by holder: "run/<namespace>/<name>/<uid>" or "pod/<namespace>/<pod>/<uid>/<token>"."""
