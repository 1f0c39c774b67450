"""
How full pools and limits have been, as far back as this process has looked: a sample of each every few seconds, in rings of numbers.

It is for the eye; Prometheus has it for longer, and over restarts.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from headrace.api import keys
from headrace_dashboard.watching.news import Change, News
from headrace_dashboard.watching.records import Kept
from headrace_dashboard.watching.shelf import Shelf

EVERY_S: Final = 20.0
KEPT: Final = 720
"""Samples of each object: four hours."""
MOST_OBJECTS: Final = 2000
"""Pools and limits that are kept in mind; of more, the first ones."""
NUMBERS: Final = 3
UNBOUNDED: Final = -1

Key = tuple[str, str]
"""Plural of the kind, and name."""


@dataclass(frozen=True, slots=True)
class Level:
    """How full something is; `most` is None where nothing bounds it."""

    used: int
    waiting: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """How full it was then."""

    at: datetime
    level: Level


class Saturation:
    """
    The samples of all pools and limits.

    Every series ends with the last sample, so that its instants are the last of the common ones.
    """

    def __init__(self) -> None:
        self._instants = array("d")
        self._series: dict[Key, array[int]] = {}

    def take(self, now: datetime, levels: Mapping[Key, Level]) -> None:
        """Notes how full each is; what is not among them any more is forgotten."""
        self._instants.append(now.timestamp())
        del self._instants[:-KEPT]
        for gone in self._series.keys() - levels.keys():
            del self._series[gone]
        for key, level in levels.items():
            if key not in self._series and len(self._series) >= MOST_OBJECTS:
                continue
            series = self._series.setdefault(key, array("q"))
            series.extend((level.used, level.waiting, UNBOUNDED if level.most is None else level.most))
            del series[: -KEPT * NUMBERS]

    def of(self, resource: keys.Resource, name: str) -> list[Sample]:
        """The samples of one object, the oldest first; none of one that was never looked at."""
        series = self._series.get((resource.plural, name), ())
        count = len(series) // NUMBERS
        if not count:
            return []
        instants = self._instants[-count:]
        return [
            Sample(datetime.fromtimestamp(instants[each], UTC), _level(*series[each * NUMBERS : (each + 1) * NUMBERS]))
            for each in range(count)
        ]


def pool_level(pool: Kept) -> Level:
    """Runs whose pods are in it, runs that wait for it, and how many it takes."""
    return _told(pool.status, waiting="queued", most=(pool.spec.get("capacity") or {}).get("runs"))


def limit_level(limit: Kept) -> Level:
    """Slots that are held, runs that wait for one, and how many there are."""
    return _told(limit.status, waiting="waiting", most=limit.spec.get("slots"))


def levels(pools: Shelf[Kept], limits: Shelf[Kept]) -> dict[Key, Level]:
    """All of them, as they are told now."""
    return {
        **{(pools.plural, pool.name): pool_level(pool) for pool in pools.all()},
        **{(limits.plural, limit.name): limit_level(limit) for limit in limits.all()},
    }


async def sampling(
    saturation: Saturation, pools: Shelf[Kept], limits: Shelf[Kept], *, news: News, now: Callable[[], datetime]
) -> None:
    """Takes samples from when both kinds are listed, and tells pages of those that are in use. Never returns; cancel it."""
    await pools.is_filled.wait()
    await limits.is_filled.wait()
    while True:
        found = levels(pools, limits)
        saturation.take(now(), found)
        for (plural, name), level in found.items():
            if level.used or level.waiting:
                news.add(Change(plural, "", name))
        await asyncio.sleep(EVERY_S)


def _told(status: Mapping[str, Any], *, waiting: str, most: int | None) -> Level:
    return Level(int(status.get("active") or 0), int(status.get(waiting) or 0), most)


def _level(used: int, waiting: int, most: int) -> Level:
    return Level(used, waiting, None if most == UNBOUNDED else most)
