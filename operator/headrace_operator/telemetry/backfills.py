"""The metrics of Backfills."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from headrace.api.backfill import BackfillStatus
from headrace_operator.decide.snapshot import ObjectKey

STATES: Final = ("succeeded", "failed", "cancelled", "active", "pending")


class BackfillMetrics:
    """How far each Backfill is; one that is gone is not told any more."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._partitions = Gauge(
            "headrace_backfill_partitions",
            "Partitions of the Backfill. state: succeeded, failed, cancelled, active, pending.",
            ["namespace", "backfill", "state"],
            registry=registry,
        )
        self._cost = Gauge(
            "headrace_backfill_cost",
            "What the runs of the Backfill have cost so far, in its currency; absent where that is not known.",
            ["namespace", "backfill"],
            registry=registry,
        )

    def told(self, key: ObjectKey, status: BackfillStatus) -> None:
        """Its status says this."""
        for state in STATES:
            self._partitions.labels(*key, state).set(getattr(status, state))
        if status.cost is not None:
            self._cost.labels(*key).set(float(status.cost.exact))

    def gone(self, key: ObjectKey) -> None:
        """It was deleted, or is another replica's now."""
        for state in STATES:
            with suppress(KeyError):  # it was never told of
                self._partitions.remove(*key, state)
        with suppress(KeyError):
            self._cost.remove(*key)
