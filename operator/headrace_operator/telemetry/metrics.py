"""Every metric of the operator. Label values are few: kinds, phases, reasons, namespaces; never a run's name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headrace_operator.decide.actions import Decision
from headrace_operator.decide.snapshot import ObjectKey, Snapshot, Unresolved
from headrace_operator.telemetry.backfills import BackfillMetrics
from headrace_operator.telemetry.history import HistoryMetrics
from headrace_operator.telemetry.limits import LimitMetrics
from headrace_operator.telemetry.pools import PoolMetrics

RECONCILES = (
    "Reconciles. kind: Flow, Deployment, FlowRun, Retention, Autosize, ConcurrencyLimit, WorkPool, Admission, "
    "Backfill, BackfillRetention; "
    "outcome: done, stale, api_error, error."
)
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The operator's metrics, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.history = HistoryMetrics(registry)
        self.backfills = BackfillMetrics(registry)
        self.limits = LimitMetrics(registry)
        self.pools = PoolMetrics(registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._reconciles = counter("headrace_reconciles_total", RECONCILES, "kind", "outcome")
        self._duration = Histogram(
            "headrace_reconcile_duration_seconds",
            "Time of one reconcile, its API calls included. kind: as above.",
            ["kind"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        of_flow = ("namespace", "flow")
        self._finished = counter(
            "headrace_runs_finished_total",
            "Runs that reached their last phase. phase: Succeeded, Failed, Crashed, Cancelled, Skipped; "
            "reason: those of docs/diagnosis.md.",
            *of_flow,
            "phase",
            "reason",
        )
        again = "Attempts that ended and are tried again. reason: those of docs/diagnosis.md."
        self._retried = counter("headrace_attempts_failed_total", again, *of_flow, "reason")
        paused = "Pauses that began. reason: AwaitingApproval, Sleeping."
        self._paused = counter("headrace_runs_paused_total", paused, *of_flow, "reason")
        self.api_requests = counter(
            "headrace_api_requests_total",
            "Requests to the API server. verb: get, list, create, patch, delete; "
            "resource: plural; code: ok, or the class of the error.",
            "verb",
            "resource",
            "code",
        )

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._circuit_open = gauge(
            "headrace_circuit_open",
            "Deployments with a circuit breaker: 1 while it holds runs back, one try at a time included; 0 while it is closed.",
            "namespace",
            "deployment",
        )
        self.shards_held = gauge(
            "headrace_shards_held",
            "Shards that this replica holds; without shards, 1 while it leads and 0 while it stands by.",
        )
        self.queue_length = gauge("headrace_workqueue_length", "Keys that wait for a worker.")

    # Finding a child by its labels costs ten times what counting does; these few are found once.

    @cached_property
    def _reconciles_of(self) -> Callable[..., Counter]:
        return cache(self._reconciles.labels)

    @cached_property
    def _durations_of(self) -> Callable[..., Histogram]:
        return cache(self._duration.labels)

    def reconciled(self, kind: str, outcome: str, duration_s: float) -> None:
        """One reconcile is over."""
        self._reconciles_of(kind, outcome).inc()
        self._durations_of(kind).observe(duration_s)

    def circuit(self, deployment: ObjectKey, *, is_open: bool | None) -> None:
        """Whether the circuit of a Deployment is open; None: it has no circuit breaker, or is gone."""
        if is_open is None:
            with suppress(KeyError):  # it never had one
                self._circuit_open.remove(*deployment)
        else:
            self._circuit_open.labels(*deployment).set(is_open)

    def decided(self, seen: Snapshot, decision: Decision) -> None:
        """Count what a Decision says of the run's end, or of its next attempt."""
        status = decision.status
        if status is None or status.phase is None:
            return
        flow = "" if isinstance(seen.flow, Unresolved) else seen.flow.name
        namespace = seen.run.key.namespace
        if status.phase.finished and not seen.run.finished:
            self._finished.labels(namespace, flow, status.phase, status.reason or "").inc()
        elif status.pause is not None:
            if seen.run.status.pause is None:
                self._paused.labels(namespace, flow, status.reason or "").inc()
        elif status.next_attempt_at is not None and status.next_attempt_at != seen.run.status.next_attempt_at:
            self._retried.labels(namespace, flow, status.reason or "").inc()
