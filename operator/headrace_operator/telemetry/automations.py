"""The metrics of Automations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter

from headrace_operator.decide.automation.judging import Outcome
from headrace_operator.decide.snapshot import ObjectKey

ACTION_KINDS = ("start", "run", "deployment", "webhook", "event")


class AutomationMetrics:
    """What events came to, and what became of actions; of an Automation that is gone nothing more is told."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "headrace_automation_events_total",
            "Events that an Automation has seen. outcome: fired, failed, deduplicated, suppressed, throttled, known, "
            "filtered, filter_error, deferred.",
            ["namespace", "automation", "outcome"],
            registry=registry,
        )
        self._actions = Counter(
            "headrace_automation_actions_total",
            "Actions that ended. action: start, run, deployment, webhook, event; outcome: done, failed.",
            ["namespace", "automation", "action", "outcome"],
            registry=registry,
        )
        self._queries = Counter(
            "headrace_automation_queries_total",
            "Queries that an Automation's metric asked. outcome: done, failed.",
            ["namespace", "automation", "outcome"],
            registry=registry,
        )
        self._requests = Counter(
            "headrace_inbound_requests_total",
            "Requests to /hooks by the HTTP status of their answer; this replica's own.",
            ["code"],
            registry=registry,
        )

    def judged(self, automation: ObjectKey, outcomes: Mapping[Outcome, int]) -> None:
        """Events came to this."""
        for outcome, count in outcomes.items():
            self._events.labels(*automation, outcome.value).inc(count)

    def acted(self, automation: ObjectKey, action: str, problem: str | None) -> None:
        """An action has ended."""
        self._actions.labels(*automation, action, "done" if problem is None else "failed").inc()

    def asked(self, automation: ObjectKey, *, is_answered: bool) -> None:
        """A query has ended."""
        self._queries.labels(*automation, "done" if is_answered else "failed").inc()

    def answered(self, code: int) -> None:
        """A request to the inbound endpoint was answered."""
        self._requests.labels(str(code)).inc()

    def gone(self, automation: ObjectKey) -> None:
        """It was deleted, or is another replica's now."""
        for outcome in Outcome:
            with suppress(KeyError):
                self._events.remove(*automation, outcome.value)
        for end in ("done", "failed"):
            with suppress(KeyError):
                self._queries.remove(*automation, end)
            for action in ACTION_KINDS:
                with suppress(KeyError):
                    self._actions.remove(*automation, action, end)
