"""Whom a run of higher priority may send away, so that it gets what it is short of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from headrace_operator.decide.queueing.resources import Amount, Resource
from headrace_operator.decide.snapshot import ObjectKey

Missing = Mapping[Resource, Amount]
"""How much more of what must become free; each above zero."""


@dataclass(frozen=True, slots=True)
class Occupant:
    """An active run, and what it would leave behind."""

    run: ObjectKey
    priority: int
    since: datetime
    leaving: bool
    holds: Mapping[Resource, Amount]


def still_missing(missing: Missing, occupants: Iterable[Occupant]) -> Missing:
    """What will be missing yet when those have gone who are leaving already."""
    lacking = dict(missing)
    for occupant in occupants:
        if occupant.leaving:
            _take(lacking, occupant, 1)
    return {resource: amount for resource, amount in lacking.items() if amount > 0}


def victims(missing: Missing, occupants: Iterable[Occupant], priority: int) -> tuple[ObjectKey, ...]:
    """
    Runs of lower priority than this that make the room when they go, lowest first and newest first; none of them could
    stay. Empty if all of them together would not be enough.
    """
    lacking = dict(missing)
    chosen: list[Occupant] = []
    for occupant in sorted(_below(priority, occupants), key=_goes_first):
        if not _enough(lacking) and any(lacking[resource] > 0 for resource in lacking if occupant.holds.get(resource)):
            chosen.append(occupant)
            _take(lacking, occupant, 1)
    return tuple(occupant.run for occupant in _needed(chosen, lacking)) if _enough(lacking) else ()


def _below(priority: int, occupants: Iterable[Occupant]) -> list[Occupant]:
    return [occupant for occupant in occupants if occupant.priority < priority and not occupant.leaving]


def _goes_first(occupant: Occupant) -> tuple[int, float, ObjectKey]:
    return occupant.priority, -occupant.since.timestamp(), occupant.run


def _needed(chosen: list[Occupant], lacking: dict[Resource, Amount]) -> list[Occupant]:
    # A small one may have been chosen before a large one that makes enough room alone.
    for occupant in reversed(list(chosen)):
        _take(lacking, occupant, -1)
        if _enough(lacking):
            chosen.remove(occupant)
        else:
            _take(lacking, occupant, 1)
    return chosen


def _take(lacking: dict[Resource, Amount], occupant: Occupant, times: int) -> None:
    for resource in lacking:
        lacking[resource] -= times * occupant.holds.get(resource, 0)


def _enough(lacking: Missing) -> bool:
    return all(amount <= 0 for amount in lacking.values())
