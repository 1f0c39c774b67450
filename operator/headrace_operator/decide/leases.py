"""The Leases of ConcurrencyLimits as deciding looks at them: slots, and the starts that a rate counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from headrace.slots import Rate
from headrace_operator.decide.snapshot import ObjectKey

LATEST_MS: Final = 250_000_000_000_000
"""In the year 9892: pods may note larger numbers, and an instant cannot be later than 9999."""


@dataclass(frozen=True, slots=True)
class Slot:
    """
    One slot of a limit.

    Args:
        holder: Its holderIdentity; "" for a free one.
        transitions: How often it was taken.
        duration_s: Seconds after which this holding expires unless it is renewed; None: never.
        closed: Nobody may take it, should it become free.
        noted_duration_s: What its annotation tells tasks to use as `duration_s`; None: nothing.
        unchanged_since_s: The monotonic second at which the stream told of this version. None: it has not yet.
    """

    key: ObjectKey
    uid: str
    version: int
    limit: str
    index: int
    holder: str = ""
    acquired: datetime | None = None
    renewed: datetime | None = None
    transitions: int = 0
    duration_s: int | None = None
    closed: bool = False
    noted_duration_s: int | None = None
    unchanged_since_s: float | None = None

    @property
    def name(self) -> str:
        """The name of the slot's Lease."""
        return self.key.name


@dataclass(frozen=True, slots=True)
class RateLease:
    """
    The starts that a limit's rate counts.

    Args:
        rate: What the Lease tells of the rate; None where it cannot be read.
        starts_ms: Ascending, in milliseconds since 1970; starts that have left the window may be among them.
    """

    key: ObjectKey
    uid: str
    version: int
    limit: str
    rate: Rate | None
    starts_ms: tuple[int, ...] = ()

    @property
    def starts(self) -> tuple[datetime, ...]:
        """As aware instants, ascending."""
        return tuple(datetime.fromtimestamp(min(start, LATEST_MS) / 1000, UTC) for start in self.starts_ms)


def milliseconds(instant: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC."""
    return round(instant.timestamp() * 1000)
