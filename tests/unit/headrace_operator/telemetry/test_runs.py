"""What metrics tell of runs, as they end and while they are under way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from headrace.api.conditions import Phase
from headrace.api.money import Cost
from headrace_operator.decide.actions import Decision
from headrace_operator.decide.snapshot import ObjectKey, Run, RunStatus
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.telemetry.standing import FlowFacts
from tests.builders import NAMESPACE, NOW, a_flow, a_run, a_running_status, a_snapshot

OF_FLOW = {"namespace": NAMESPACE, "flow": "etl"}


class Told:
    """Metrics in a registry of their own, and what they tell."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    def ends(self, run: Run | None = None, **status: Any) -> None:
        """A run that ran since NOW has ended so."""
        run = run or a_run(status=a_running_status())
        fields = {"phase": Phase.SUCCEEDED, "reason": "Succeeded", "finished_at": NOW + timedelta(seconds=90), **status}
        ended = replace(a_running_status(), **fields)
        self.metrics.decided(a_snapshot(run), Decision(reason="Ended", status=ended))

    def value(self, name: str, **labels: str) -> float | None:
        """The sample of this name; None if there is none."""
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def told() -> Told:
    return Told()


def test_the_end_of_a_run_is_counted_once(told: Told) -> None:
    """A second look at a finished run counts nothing."""
    told.ends()
    told.ends(a_run(status=RunStatus(phase=Phase.SUCCEEDED)))
    labels = {**OF_FLOW, "phase": "Succeeded"}
    assert told.value("headrace_runs_finished_total", **labels, reason="Succeeded") == 1
    assert told.value("headrace_run_duration_seconds_sum", **labels) == 90


def test_the_trace_of_a_run_is_told_beside_its_figures(told: Told) -> None:
    """By the id that Tempo and Jaeger know."""
    told.ends(replace(a_run(status=a_running_status()), traceparent=f"00-{'a' * 32}-{'b' * 16}-01"))
    text = generate_latest(told.registry).decode()
    assert f'# {{trace_id="{"a" * 32}"}} 90.0' in text


def test_the_trace_of_a_run_that_nobody_traces_is_its_uid(told: Told) -> None:
    """As its pods are told."""
    told.ends(replace(a_run(status=a_running_status()), uid="12345678-1234-1234-1234-123456789abc"))
    assert 'trace_id="12345678123412341234123456789abc"' in generate_latest(told.registry).decode()


def test_a_run_of_a_schedule_tells_how_late_it_was(told: Told) -> None:
    """From the time it was for, not from its creation."""
    run = a_run(
        status=a_running_status(), schedule="daily", deployment_ref="daily", scheduled_time=NOW - timedelta(seconds=7)
    )
    told.ends(run)
    assert told.value("headrace_schedule_delay_seconds_sum", namespace=NAMESPACE, deployment="daily") == 7


def test_a_run_for_a_later_time_does_not_wait_until_then(told: Told) -> None:
    """It is in nobody's way before."""
    told.ends(
        a_run(status=a_running_status(), created=NOW - timedelta(days=1), scheduled_time=NOW - timedelta(seconds=2))
    )
    assert told.value("headrace_run_queue_seconds_sum", **OF_FLOW) == 2


def test_tasks_and_cost_are_added_up(told: Told) -> None:
    """What is 0 makes no series."""
    cost = Cost(amount="0.25", currency="EUR")
    told.ends(tasks={"total": 5, "succeeded": 4, "failed": 1, "retried": 2, "cached": 0}, cost=cost)
    told.ends(tasks={"total": 1, "succeeded": 1}, cost=cost)
    counts = {
        o: told.value("headrace_tasks_total", **OF_FLOW, outcome=o)
        for o in ("succeeded", "failed", "retried", "cached")
    }
    assert counts == {"succeeded": 5, "failed": 1, "retried": 2, "cached": None}
    assert told.value("headrace_run_cost_total", **OF_FLOW, currency="EUR") == 0.5


def test_recovery_is_from_the_first_failure_to_the_next_success(told: Told) -> None:
    """What was cancelled between says nothing."""
    told.ends(phase=Phase.FAILED, finished_at=NOW + timedelta(seconds=10))
    told.ends(phase=Phase.CRASHED, finished_at=NOW + timedelta(seconds=20))
    told.ends(phase=Phase.CANCELLED, finished_at=NOW + timedelta(seconds=30))
    assert told.value("headrace_recovery_seconds_count", **OF_FLOW) is None
    told.ends(finished_at=NOW + timedelta(seconds=110))
    told.ends(finished_at=NOW + timedelta(seconds=120))
    assert told.value("headrace_recovery_seconds_count", **OF_FLOW) == 1
    assert told.value("headrace_recovery_seconds_sum", **OF_FLOW) == 100


def test_a_deployment_does_not_recover_by_another_run_of_its_flow(told: Told) -> None:
    """By hand it may work, with other parameters."""
    of_deployment = a_run(status=a_running_status(), deployment_ref="daily")
    told.ends(of_deployment, phase=Phase.FAILED)
    told.ends()
    assert told.value("headrace_recovery_seconds_count", **OF_FLOW) is None
    told.ends(of_deployment)
    assert told.value("headrace_recovery_seconds_count", **OF_FLOW) == 1


def test_a_run_that_never_started_lasted_nothing(told: Told) -> None:
    """It counts as ended all the same."""
    told.ends(a_run(), phase=Phase.CANCELLED, reason="Cancelled", started_at=None)
    labels = {**OF_FLOW, "phase": "Cancelled"}
    assert told.value("headrace_runs_finished_total", **labels, reason="Cancelled") == 1
    assert told.value("headrace_run_duration_seconds_count", **labels) is None


# Under way


class Held:
    """Two waiting runs, one that runs, one that has ended; a Flow."""

    def runs(self) -> list[Run]:
        late = {"schedule": "daily", "scheduled_time": NOW - timedelta(seconds=40)}
        waiting = RunStatus(phase=Phase.PENDING, reason="WaitingForSlot")
        return [
            a_run(),
            a_run(status=waiting, **late),
            a_run(status=a_running_status(), **late),
            a_run(status=RunStatus(phase=Phase.FAILED)),
        ]

    def flows(self) -> list[FlowFacts]:
        labels = {"headrace.dev/team": "growth", "headrace.dev/tier": "critical"}
        spec = a_flow(env=[{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}]).spec
        return [FlowFacts(ObjectKey(NAMESPACE, "etl"), labels, spec), FlowFacts(ObjectKey(NAMESPACE, "bad"), {}, None)]


@pytest.fixture
def standing(told: Told) -> Told:
    told.metrics.watch(Held(), keeps_history=True, clock=lambda: NOW)
    return told


def test_runs_under_way_are_told_by_phase_and_by_what_they_wait_for(standing: Told) -> None:
    """One that has ended is in neither; one without a status is Pending."""
    phases = {
        p: standing.value("headrace_runs", namespace=NAMESPACE, phase=p) for p in ("Pending", "Running", "Failed")
    }
    assert phases == {"Pending": 2, "Running": 1, "Failed": None}
    assert standing.value("headrace_runs_waiting", namespace=NAMESPACE, reason="WaitingForSlot") == 1


def test_a_scheduled_run_that_waits_is_late_and_one_that_runs_is_not(standing: Told) -> None:
    """The latest counts."""
    assert standing.value("headrace_late_run_seconds", namespace=NAMESPACE) == 40


def test_flows_are_told_with_who_looks_after_them(standing: Told) -> None:
    """One that cannot be used has no owner, and cannot be traced."""
    owned = {"namespace": NAMESPACE, "flow": "etl", "team": "growth", "tier": "critical"}
    assert standing.value("headrace_flow_info", **owned) == 1

    def signals(flow: str) -> dict[str, float | None]:
        names = ("owner", "traces", "history", "results")
        return {s: standing.value("headrace_flow_signals", namespace=NAMESPACE, flow=flow, signal=s) for s in names}

    assert signals("etl") == {"owner": 1, "traces": 1, "history": 1, "results": 0}
    assert signals("bad") == {"owner": 0, "traces": 0, "history": 1, "results": 0}
