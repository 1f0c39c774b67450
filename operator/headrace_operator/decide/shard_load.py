"""
How much work a shard is, as its holder tells the other replicas.

What is told is coarse, and holds on until it is clearly wrong: a figure that is written anew with each breath of the load would cost more
than an uneven spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

SMOOTHED_OVER_S: Final = 60.0
"""A burst that is shorter moves no shard."""
UP: Final = 1.2
DOWN: Final = 0.8
"""By how much the load must have changed until it is told anew."""


@dataclass(frozen=True, slots=True)
class ShardLoad:
    """
    Of one shard.

    Args:
        told: Reconciles per second, as the replicas know it: in tenths, as a shard's few are a large part of a small cluster's.
        smoothed: The same as it is now, over the last minute or so.
    """

    told: float = 0
    smoothed: float = 0.0

    def after(self, reconciles: int, took_s: float) -> ShardLoad:
        """The load after so many more reconciles in so many seconds, above zero."""
        weight = 1 - math.exp(-took_s / SMOOTHED_OVER_S)
        smoothed = self.smoothed + weight * (reconciles / took_s - self.smoothed)
        is_right = self.told * DOWN <= smoothed < max(1.0, self.told * UP)
        return replace(self, told=self.told if is_right else _in_tenths(smoothed), smoothed=smoothed)


def _in_tenths(load: float) -> float:
    return 0 if load < 1 else round(load, 1)


def load_from(told: float) -> ShardLoad:
    """The load of a shard that was taken, as its former holder told it."""
    return ShardLoad(told, told)
