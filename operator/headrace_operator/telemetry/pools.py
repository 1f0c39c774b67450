"""The metrics of WorkPools."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Gauge

from headrace_operator.decide.work_pool import PoolSnapshot


class PoolMetrics:
    """Who is in each WorkPool, and its nodes; one that is gone is not told any more."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, ("pool", *labels), registry=registry)

        self._runs = gauge("headrace_pool_runs", "Runs whose pods are in the WorkPool.")
        self._queued = gauge("headrace_pool_queued_runs", "Runs that wait for the WorkPool.")
        self._nodes = gauge("headrace_pool_nodes", "Nodes of the WorkPool. state: total, ready.", "state")

    def told(self, seen: PoolSnapshot) -> None:
        """Who is in it, who waits for it, and its nodes."""
        self._runs.labels(seen.name).set(seen.active)
        self._queued.labels(seen.name).set(seen.queued)
        self._nodes.labels(seen.name, "total").set(seen.nodes.total)
        self._nodes.labels(seen.name, "ready").set(seen.nodes.ready)

    def gone(self, name: str) -> None:
        """It was deleted, or is looked after by another replica."""
        with suppress(KeyError):  # it was never told of
            self._runs.remove(name)
            self._queued.remove(name)
            self._nodes.remove(name, "total")
            self._nodes.remove(name, "ready")
