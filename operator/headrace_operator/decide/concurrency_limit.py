"""
What to do about one ConcurrencyLimit: its Leases, and its status.

The Leases are the capacity: a slot that has none cannot be taken.

    more slots now      the missing Leases are made, lowest index first
    fewer, some free    free ones go, highest index first
    fewer, all held     all are closed, so that none is taken again; each goes when it is given back, until as many are
                        left as there are to be, and these are opened
    none                one Lease stays, closed: a pause must not begin the count of its holders anew, by which writes
                        of a former one are told
    no limit any more   as if it had no slots; made anew, it finds who still holds some of them

A slot is taken back from a run that is over, from a pod that has ended, and from a task that this process has itself
seen silent for as long as its holding lasts without renewal. The last is counted here by one monotonic clock, so clocks
that differ do no harm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from headrace import slots
from headrace.api.concurrencylimit import (
    MAX_HOLDERS_LISTED,
    ConcurrencyLimitSpec,
    ConcurrencyLimitStatus,
    RateSpec,
    SlotHolder,
)
from headrace.api.conditions import ConditionType, Reason
from headrace.slots import PodHolder, Rate, RunHolder, parse_holder
from headrace_operator.decide.conditions import condition, stored, with_condition
from headrace_operator.decide.leases import RateLease, Slot, milliseconds
from headrace_operator.decide.snapshot import ConditionView

AHEAD_MS: Final = 60_000
"""Clocks of nodes may differ by so much."""
CALM_S: Final = 10.0
"""A limit stays saturated until a slot has been free for so long: between two runs each is, for a moment."""


@dataclass(frozen=True, slots=True)
class LimitSnapshot:
    """
    A ConcurrencyLimit and its Leases.

    Args:
        exists: False: it is deleted, and only its Leases are left.
        spec: None where it cannot be read; `problem` says why.
        slots: By index.
        waiting: Runs that wait for it.
        over: Holders that are known to be over: finished or deleted runs, pods that have ended.
        saturated_since: As the status says.
        free_for_s: Since when there has been a free slot; 0 where there is none.
    """

    name: str
    exists: bool
    generation: int
    spec: ConcurrencyLimitSpec | None
    problem: str | None
    conditions: tuple[ConditionView, ...]
    slots: tuple[Slot, ...]
    rate: RateLease | None
    waiting: int
    over: frozenset[str]
    saturated_since: datetime | None = None
    free_for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CreateSlot:
    """Make the Lease of this slot; `duration_s` is for its annotation."""

    index: int
    duration_s: int


@dataclass(frozen=True, slots=True)
class CreateRate:
    """Make the Lease in which starts are noted."""

    rate: Rate


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Free a slot whose holder is over or silent, unless it has changed."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a Lease, unless it has changed."""

    lease: Slot | RateLease


@dataclass(frozen=True, slots=True)
class Annotate:
    """Set annotations of a Lease, remove those that are None, unless it has changed."""

    lease: Slot | RateLease
    notes: tuple[tuple[str, str | None], ...]


LeaseAction = CreateSlot | CreateRate | TakeBack | Remove | Annotate


@dataclass(frozen=True, slots=True)
class LimitDecision:
    """
    Writes to the Leases, in order, and the status to have.

    Args:
        status: None: there is nothing to tell it of.
        look_again_after_s: When time alone changes the answer; None: never.
    """

    actions: tuple[LeaseAction, ...]
    status: ConcurrencyLimitStatus | None
    look_again_after_s: float | None


def decide_limit(seen: LimitSnapshot, now: datetime, now_s: float) -> LimitDecision:
    """
    The Leases brought in line with the spec, and what the status says of them.

    Args:
        now_s: The present second of the clock by which `Slot.unchanged_since_s` is told.
    """
    actions = (*_slot_actions(seen, now_s), *_rate_actions(seen, now))
    return LimitDecision(actions, _status(seen, now) if seen.exists else None, _look_again_after_s(seen, now, now_s))


def _slot_actions(seen: LimitSnapshot, now_s: float) -> list[LeaseAction]:
    ended = {slot.key: slot for slot in seen.slots if _is_over(slot, seen.over, now_s)}
    wanted = _wanted(seen)
    if wanted is None:  # nobody knows what the limit is to be
        return [TakeBack(slot) for slot in ended.values()]
    free = [slot for slot in reversed(seen.slots) if not slot.holder or slot.key in ended]
    kept = max(wanted, 1) if seen.exists and _has_slots(seen) else wanted
    going = {slot.key: slot for slot in free[: max(0, len(seen.slots) - kept)]}
    staying = [slot for slot in seen.slots if slot.key not in going]
    closed = len(staying) > wanted
    return [
        *(Remove(slot) for slot in going.values()),
        *(TakeBack(slot) for slot in staying if slot.key in ended),
        *(note for slot in staying if slot.key not in ended for note in _annotations(seen, slot, closed=closed)),
        *(CreateSlot(index, _duration_s(seen)) for index in _missing(staying, wanted)),
    ]


def _wanted(seen: LimitSnapshot) -> int | None:
    """How many slots there are to be; None where the spec cannot be read."""
    if not seen.exists:
        return 0
    return None if seen.spec is None else seen.spec.slots or 0


def _has_slots(seen: LimitSnapshot) -> bool:
    return seen.spec is not None and seen.spec.slots is not None


def _missing(staying: list[Slot], wanted: int) -> list[int]:
    present = {slot.index for slot in staying}
    lowest_first = (index for index in range(wanted) if index not in present)
    return [index for index, _ in zip(lowest_first, range(wanted - len(staying)), strict=False)]


def _annotations(seen: LimitSnapshot, slot: Slot, *, closed: bool) -> Iterable[Annotate]:
    notes: list[tuple[str, str | None]] = []
    if slot.closed != closed:
        notes.append((slots.CLOSED_ANNOTATION, "true" if closed else None))
    # A holder renews by the duration that it took the slot with, and is held to the annotation.
    if not slot.holder and slot.noted_duration_s != _duration_s(seen):
        notes.append((slots.DURATION_ANNOTATION, str(_duration_s(seen))))
    if notes:
        yield Annotate(slot, tuple(notes))


def _duration_s(seen: LimitSnapshot) -> int:
    return seen.spec.lease_duration_seconds if seen.spec else slots.DEFAULT_DURATION_S


def _is_over(slot: Slot, over: frozenset[str], now_s: float) -> bool:
    if not slot.holder:
        return False
    left_s = _expires_in_s(slot, now_s)
    return slot.holder in over or (left_s is not None and left_s <= 0)


def _expires_in_s(slot: Slot, now_s: float) -> float | None:
    """Seconds until a task that stays silent has lost the slot; None for holders that never expire."""
    if slot.duration_s is None or not isinstance(parse_holder(slot.holder), PodHolder):
        return None
    silent_s = 0.0 if slot.unchanged_since_s is None else now_s - slot.unchanged_since_s
    return slot.duration_s - silent_s


def _rate_actions(seen: LimitSnapshot, now: datetime) -> list[LeaseAction]:
    if seen.exists and seen.spec is None:
        return []
    wanted = _rate(seen.spec.rate) if seen.exists and seen.spec and seen.spec.rate else None
    lease = seen.rate
    if lease is None:
        return [CreateRate(wanted)] if wanted else []
    if wanted is None:
        return [Remove(lease)] if _window_left_s(lease, now) <= 0 else []
    notes: list[tuple[str, str | None]] = []
    if lease.rate != wanted:
        notes.append((slots.RATE_ANNOTATION, str(wanted)))
    starts_ms = _believable(lease, now)
    if starts_ms != lease.starts_ms:
        notes.append((slots.STARTS_ANNOTATION, ",".join(map(str, starts_ms))))
    return [Annotate(lease, tuple(notes))] if notes else []


def _believable(lease: RateLease, now: datetime) -> tuple[int, ...]:
    """The starts; what a clock that was wrong noted far ahead counts as made now, or all would wait until then."""
    now_ms = milliseconds(now)
    return tuple(sorted(start if start <= now_ms + AHEAD_MS else now_ms for start in lease.starts_ms))


def _rate(spec: RateSpec) -> Rate:
    return Rate(spec.count, spec.per_seconds)


def _window_left_s(lease: RateLease, now: datetime) -> float:
    """Seconds until no start is within the window: until then a limit that is made anew has to know of them."""
    if lease.rate is None or not lease.starts_ms:
        return 0.0
    return lease.rate.per_s + (_believable(lease, now)[-1] - milliseconds(now)) / 1000


def _look_again_after_s(seen: LimitSnapshot, now: datetime, now_s: float) -> float | None:
    held = (_expires_in_s(slot, now_s) for slot in seen.slots if slot.holder not in seen.over)
    instants_s = [left_s for left_s in held if left_s is not None and left_s > 0]
    if seen.waiting and seen.saturated_since is not None and seen.free_for_s < CALM_S and _has_free_slot(seen):
        instants_s.append(CALM_S - seen.free_for_s)
    if seen.rate is not None and not (seen.exists and (seen.spec is None or seen.spec.rate)):
        instants_s.append(max(0.0, _window_left_s(seen.rate, now)))
    return min(instants_s, default=None)


def _has_free_slot(seen: LimitSnapshot) -> bool:
    return sum(bool(slot.holder) for slot in seen.slots) < (_wanted(seen) or 0)


def _saturated_since(seen: LimitSnapshot, now: datetime) -> datetime | None:
    """Since when all of its slots have been taken, and runs wait; of a limit that has none, since when runs wait."""
    if not _has_slots(seen) or not seen.waiting:
        return None
    if not _has_free_slot(seen):
        return seen.saturated_since or now.replace(microsecond=0)
    return seen.saturated_since if seen.free_for_s < CALM_S else None


def _status(seen: LimitSnapshot, now: datetime) -> ConcurrencyLimitStatus:
    held = [slot for slot in seen.slots if slot.holder]
    conditions = with_condition(seen.conditions, _ready(seen, len(held), now))
    return ConcurrencyLimitStatus(
        observed_generation=seen.generation,
        active=len(held),
        waiting=seen.waiting,
        saturated_since=_saturated_since(seen, now),
        holders=tuple(_told(slot) for slot in held[:MAX_HOLDERS_LISTED]),
        conditions=tuple(stored(view) for view in conditions),
    )


def _told(slot: Slot) -> SlotHolder:
    since = slot.acquired.replace(microsecond=0) if slot.acquired else None
    return SlotHolder(slot=slot.name, holder=_shown(slot.holder), since=since)


def _shown(holder: str) -> str:
    """As people name it, without what tells objects of one name apart."""
    match parse_holder(holder):
        case RunHolder(namespace, name):
            return f"run/{namespace}/{name}"
        case PodHolder(namespace, name):
            return f"pod/{namespace}/{name}"
        case _:
            return holder


def _ready(seen: LimitSnapshot, held: int, now: datetime) -> ConditionView:
    reason, message = _readiness(seen, held)
    return condition(
        ConditionType.READY,
        holds=reason is Reason.READY,
        reason=reason,
        message=message,
        now=now,
        generation=seen.generation,
    )


def _readiness(seen: LimitSnapshot, held: int) -> tuple[Reason, str]:
    """No figures: the message would change, and be written, with each slot that is given back."""
    if seen.spec is None:
        return Reason.INVALID_SPEC, seen.problem or "the spec cannot be read"
    if held > (seen.spec.slots or 0):
        return (
            Reason.RESIZING,
            "more slots are held than spec.slots; nobody gets one until enough are given back, see status.holders",
        )
    return Reason.READY, "no more slots are held than there are"
