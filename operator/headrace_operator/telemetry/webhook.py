"""The metrics of the admission webhook."""

from __future__ import annotations

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge


class Outcome(StrEnum):
    """What became of a call."""

    ALLOWED = "allowed"
    WARNED = "warned"
    REFUSED = "refused"
    FORGED = "forged"
    BUSY = "busy"
    ERROR = "error"


class WebhookMetrics:
    """Who asked, and what they were told."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reviews = Counter(
            "headrace_webhook_reviews_total",
            "Calls of the admission webhook. kind: Flow, Deployment, FlowRun, Backfill, empty for forged and busy; "
            "outcome: allowed, warned, refused, forged, busy, error.",
            ("kind", "outcome"),
            registry=registry,
        )
        self.expires = Gauge(
            "headrace_webhook_certificate_expires_seconds",
            "Unix time at which the certificate of the admission webhook expires; 0 while there is none.",
            registry=registry,
        )

    def reviewed(self, kind: str, outcome: Outcome) -> None:
        """Counts one review, by kind and outcome."""
        self._reviews.labels(kind, outcome).inc()
