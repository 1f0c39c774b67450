"""How often something may happen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

MAX_BUCKETS: Final = 10_000


class Buckets:
    """
    Token buckets, one a key; the least recently used ones are forgotten.

    Args:
        rate: Tokens a second; `burst` is how many there are at most.
        monotonic: Seconds that never go back.
    """

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def takes(self, key: Hashable, tokens: float = 1) -> bool:
        """Whether one more that costs so many tokens may happen now; it is counted then."""
        now = self._monotonic()
        left, since = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= tokens
        self._left[key] = (left - tokens if allowed else left, now)
        if len(self._left) > MAX_BUCKETS:
            self._left.popitem(last=False)
        return allowed
