"""Every metric of the operator. Label values are few: kinds, phases, reasons, namespaces; never a run's name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache, cached_property

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headrace_operator.decide.actions import Decision
from headrace_operator.decide.snapshot import ObjectKey, Snapshot
from headrace_operator.telemetry.automations import AutomationMetrics
from headrace_operator.telemetry.backfills import BackfillMetrics
from headrace_operator.telemetry.budgets import BudgetMetrics
from headrace_operator.telemetry.history import HistoryMetrics
from headrace_operator.telemetry.limits import LimitMetrics
from headrace_operator.telemetry.pools import PoolMetrics
from headrace_operator.telemetry.runs import RunMetrics
from headrace_operator.telemetry.spans import RunSpans
from headrace_operator.telemetry.standing import Held, Standing
from headrace_operator.telemetry.webhook import WebhookMetrics

RECONCILES = (
    "Reconciles. kind: Flow, Deployment, FlowRun, Retention, Autosize, ConcurrencyLimit, WorkPool, Admission, "
    "Backfill, BackfillRetention, Automation; "
    "outcome: done, stale, api_error, error."
)
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The operator's metrics, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.runs = RunMetrics(registry)
        self.spans: RunSpans | None = None
        """None: nobody wants spans."""
        self.history = HistoryMetrics(registry)
        self.backfills = BackfillMetrics(registry)
        self.automations = AutomationMetrics(registry)
        self.budgets = BudgetMetrics(registry)
        self.limits = LimitMetrics(registry)
        self.pools = PoolMetrics(registry)
        self.webhook = WebhookMetrics(registry)

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
        self._shards = gauge(
            "headrace_shards",
            "Shards that all replicas together are to hold; 1 without shards. serves: as below.",
            "serves",
        )
        self._shards_held = gauge(
            "headrace_shards_held",
            "Shards that this replica holds; without shards, 1 while it leads and 0 while it stands by. "
            "serves: the one namespace that it serves, empty for all.",
            "serves",
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

    def shards(self, serves: str, count: int, held: Callable[[], int]) -> None:
        """
        From now on, standing by included.

        Args:
            serves: The one namespace that is served; empty for all.
            count: Shards of all replicas together.
            held: How many are held here, whenever it is asked for.
        """
        self._shards.labels(serves).set(count)
        self._shards_held.labels(serves).set_function(held)

    def circuit(self, deployment: ObjectKey, *, is_open: bool | None) -> None:
        """Whether the circuit of a Deployment is open; None: it has no circuit breaker, or is gone."""
        if is_open is None:
            with suppress(KeyError):  # it never had one
                self._circuit_open.remove(*deployment)
        else:
            self._circuit_open.labels(*deployment).set(is_open)

    def decided(self, seen: Snapshot, decision: Decision) -> None:
        """As RunMetrics and RunSpans have it."""
        self.runs.decided(seen, decision)
        if self.spans is not None:
            self.spans.decided(seen, decision)

    def watch(self, held: Held, *, keeps_history: bool, clock: Callable[[], datetime]) -> None:
        """Where gauges of what is under way look when they are asked; as Standing has it."""
        self._registry.register(Standing(held, keeps_history=keeps_history, clock=clock))
