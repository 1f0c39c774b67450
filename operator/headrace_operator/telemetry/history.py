"""Metrics of the history store."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OUTCOMES = ("recorded", "bare", "lost")


class HistoryMetrics:
    """All are 0 where no store is set."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter(
            "headrace_history_records_total",
            "Finished runs by what became of their records. "
            "outcome: recorded, bare (the store has refused some of it), lost (the run went without one).",
            ["outcome"],
            registry=registry,
        )
        for outcome in OUTCOMES:  # a series that begins at its first loss is one that increase() does not see
            self._records.labels(outcome)
        self.failures = Counter(
            "headrace_history_failures_total", "Calls of the history store that have failed.", registry=registry
        )
        self.batch_duration = Histogram(
            "headrace_history_batch_duration_seconds",
            "Time of writing one batch of records.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._waiting = Gauge(
            "headrace_history_waiting_runs", "Finished runs that wait for their records.", registry=registry
        )
        self._lag = Gauge(
            "headrace_history_lag_seconds",
            "Seconds for which the first run that waits for its record has waited; 0 while none waits.",
            registry=registry,
        )
        self._full = Gauge(
            "headrace_history_full",
            "1 while as many runs wait as are held back: Backfills start none, and others go without a record. Else 0.",
            registry=registry,
        )

    def watch(
        self,
        waiting: Callable[[], int],
        oldest_s: Callable[[], Iterable[float]],
        monotonic: Callable[[], float],
        is_full: Callable[[], bool],
    ) -> None:
        """Where the gauges look when they are asked."""
        self._waiting.set_function(waiting)
        self._lag.set_function(lambda: max((monotonic() - since_s for since_s in oldest_s()), default=0.0))
        self._full.set_function(lambda: float(is_full()))

    def count(self, *, recorded: int = 0, bare: int = 0, lost: int = 0) -> None:
        """So many runs more."""
        for outcome, count in zip(OUTCOMES, (recorded, bare, lost), strict=True):
            if count:
                self._records.labels(outcome).inc(count)
