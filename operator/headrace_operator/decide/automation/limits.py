"""Which saturated ConcurrencyLimits an Automation waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.api.automation_sources import OnLimitSaturated
from headrace.instants import stamp
from headrace_operator.decide.automation.occurrences import Occurrence, fingerprint


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """
    What a ConcurrencyLimit's status tells. Who holds its slots is not in it: they may be another team's.

    Attributes:
        since: Since when it has been saturated; None: it is not.
    """

    name: str
    uid: str
    slots: int
    used: int
    waiting: int
    since: datetime | None


def saturated_at(on: OnLimitSaturated, limit: LimitFacts) -> datetime | None:
    """When it will have been, or was, saturated for long enough; None where it is not, or is not named."""
    if limit.since is None or (on.limits is not None and limit.name not in on.limits):
        return None
    return limit.since + timedelta(seconds=on.after_seconds)


def limit_occurrence(limit: LimitFacts, at: datetime) -> Occurrence:
    """That it has been saturated for long enough since then."""
    facts = {"name": limit.name, "slots": limit.slots, "used": limit.used, "waiting": limit.waiting}
    event = {"type": "limitSaturated", "limit": facts}
    since = "" if limit.since is None else stamp(limit.since)
    about = f"ConcurrencyLimit {limit.name} has been saturated since {since}"
    return Occurrence(fingerprint("limit", limit.uid, since), at, about, event, limit.uid)
