"""What each shard counts of WorkPools and ConcurrencyLimits, for the statuses that tell of all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.queueing.board import Board


@dataclass(frozen=True, slots=True)
class PoolTally:
    """Runs in a pool, what they request, and runs that wait for it."""

    active: int = 0
    queued: int = 0
    requested: Mapping[str, Decimal] = field(default_factory=dict)

    def and_of(self, other: PoolTally) -> PoolTally:
        """Of both together."""
        units = {*self.requested, *other.requested}
        total = {unit: self.requested.get(unit, Decimal(0)) + other.requested.get(unit, Decimal(0)) for unit in units}
        return PoolTally(self.active + other.active, self.queued + other.queued, total)

    @property
    def amounts(self) -> Amounts:
        """What they request."""
        return tuple(sorted(self.requested.items()))


class Tallies:
    """As the other shards told last."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._pools: dict[int, dict[str, PoolTally]] = {}
        self._waiting: dict[int, dict[str, int]] = {}

    def tell(self, shard: int, text: str) -> bool:
        """What a shard counts, as `tally` wrote it; what cannot be read counts as nothing. Returns whether it is news."""
        if self._texts.get(shard) == text:
            return False
        self._texts[shard] = text
        try:
            told = json.loads(text or "{}")
            self._pools[shard] = {name: _pool(each) for name, each in told.get("pools", {}).items()}
            self._waiting[shard] = {name: int(count) for name, count in told.get("limits", {}).items()}
        except (ValueError, TypeError, AttributeError, InvalidOperation):
            self._pools[shard], self._waiting[shard] = {}, {}
        return True

    def pool(self, name: str) -> PoolTally:
        """Of all other shards together."""
        total = PoolTally()
        for pools in self._pools.values():
            total = total.and_of(pools.get(name, PoolTally()))
        return total

    def waiting_for_limit(self, name: str) -> int:
        """Of all other shards together."""
        return sum(limits.get(name, 0) for limits in self._waiting.values())


def tally(board: Board, pools: Iterable[str], limits: Iterable[str], *, load: float = 0) -> str:
    """
    What a shard counts, for the others; without what is zero, so that an idle shard tells nothing.

    Args:
        load: How much work it is.
    """
    told: dict[str, Any] = {
        "pools": {name: counted for name in sorted(pools) if (counted := _told(board, name))},
        "limits": {name: count for name in sorted(limits) if (count := board.waiting_for_limit(name))},
        "load": load,
    }
    found = {part: counts for part, counts in told.items() if counts}
    return json.dumps(found, separators=(",", ":")) if found else ""


@lru_cache(maxsize=1024)
def load_told(text: str) -> float:
    """How much work a shard is, as `tally` wrote it; 0 where that cannot be read."""
    try:
        told = float(json.loads(text or "{}").get("load", 0))
    except (ValueError, TypeError, AttributeError):
        return 0
    return told if 0 < told < math.inf else 0


def _told(board: Board, pool: str) -> dict[str, Any]:
    active, requested = board.active_in_pool(pool)
    queued = board.waiting_for_pool(pool)
    requests = {unit: format(amount.normalize(), "f") for unit, amount in requested}
    counted: dict[str, Any] = {"active": active, "queued": queued, "requested": requests}
    return {part: count for part, count in counted.items() if count}


def _pool(told: Mapping[str, Any]) -> PoolTally:
    requested = {unit: Decimal(amount) for unit, amount in told.get("requested", {}).items()}
    return PoolTally(int(told.get("active", 0)), int(told.get("queued", 0)), requested)
