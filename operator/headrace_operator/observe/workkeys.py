"""What can be reconciled, and how it is asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from headrace_operator.decide.snapshot import ObjectKey


class Kind(StrEnum):
    """
    What is reconciled. RETENTION is the finished runs of one Deployment, or of those without one; BACKFILL_RETENTION those
    of one Backfill; AUTOSIZE what a Flow's runs used; ADMISSION the waiting runs of all; ROOM what a shard
    has booked of a WorkPool; TRIGGERS the Automations of a Deployment.
    """

    FLOW = "Flow"
    DEPLOYMENT = "Deployment"
    FLOW_RUN = "FlowRun"
    RETENTION = "Retention"
    AUTOSIZE = "Autosize"
    LIMIT = "ConcurrencyLimit"
    POOL = "WorkPool"
    ROOM = "Room"
    ADMISSION = "Admission"
    BACKFILL = "Backfill"
    BACKFILL_RETENTION = "BackfillRetention"
    AUTOMATION = "Automation"
    TRIGGERS = "Triggers"


class WorkKey(NamedTuple):
    """What a worker takes from the queue."""

    kind: Kind
    key: ObjectKey


ADMISSION: Final = WorkKey(Kind.ADMISSION, ObjectKey("", ""))
"""The one key of its kind: a pass over all that waits."""


def line_of(key: WorkKey) -> str:
    """Whose turn it is when the key is worked on: its namespace's, or that of what belongs to none."""
    return key.key.namespace


class Waker(Protocol):
    """Has a key looked at, now or later; an earlier instant wins."""

    def add(self, key: WorkKey, after_s: float = 0.0) -> None: ...

    def add_behind(self, key: WorkKey, *, gives_way: bool = False) -> None:
        """
        Have a key looked at beside what comes in now: one of many that are looked at because of no news.

        Args:
            gives_way: Also if it was added as news: those were told of by a list.
        """
        ...
