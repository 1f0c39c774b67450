"""How often, and after which delay, a failed attempt is followed by another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Delay = tuple[float, ...] | Callable[[int], float]
"""Seconds after the 1st, 2nd, … failure, the last one repeated; or a function of the number of failures, from 1."""


Condition = Callable[[Exception], bool] | type[Exception] | tuple[type[Exception], ...]
"""Exception classes, or a function that says yes or no to an exception."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    Delays that grow, for `retry_delay_seconds`: first_seconds x factor^(failures-1).

    Args:
        first_seconds: After the first failure.
        factor: From one delay to the next.
        max_seconds: No delay is longer, but for the jitter.
        jitter: Share by which each is moved at random, up or down, so that many do not come back at once: 0 to 1.
    """

    first_seconds: float
    factor: float = 2.0
    max_seconds: float = 3600.0
    jitter: float = 0.1

    def __call__(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure, from 1."""
        from random import random  # noqa: PLC0415 - 4 ms that only a retry pays

        # The exponent is bounded too: factor 10 and a thousand failures would overflow a float.
        bounded = min(self.first_seconds * self.factor ** min(failures - 1, 64), self.max_seconds)
        return bounded * (1 + self.jitter * (2 * random() - 1))  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `limit` further attempts after the first."""

    limit: int = 0
    delay: Delay = (0.0,)
    condition: Condition | None = None
    """Which exceptions are followed by another attempt. None: all."""

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failure, from 1; never negative."""
        if callable(self.delay):
            return max(0.0, float(self.delay(failures)))
        return self.delay[min(failures, len(self.delay)) - 1]

    def wants(self, error: Exception) -> bool:
        """Whether this exception is to be followed by another attempt."""
        if self.condition is None:
            return True
        if isinstance(self.condition, type | tuple):
            return isinstance(error, self.condition)
        return bool(self.condition(error))


NO_RETRIES = Retries()
