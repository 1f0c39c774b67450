"""What the operator tells of runs that ended, at a receiver of OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from headrace.api.conditions import Phase
from headrace_operator.decide.actions import Decision
from headrace_operator.decide.snapshot import Run
from headrace_operator.decide.trace import traceparent
from headrace_operator.telemetry.spans import RunSpans, run_spans
from tests.builders import NOW, a_run, a_running_status, a_snapshot, an_attempt
from tests.unit.headrace.listening import Listener, listening

UID = "0af76519-16cd-43dd-8448-eb211c80319c"
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with listening() as listener:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", listener.url)
        yield listener


def told(run: Run, phase: Phase = Phase.SUCCEEDED) -> None:
    """The run began at NOW, tried twice, and has ended a minute later."""
    spans = run_spans()
    assert isinstance(spans, RunSpans)
    attempts = (
        an_attempt(1, exit_code=1, reason="FlowFailed", finished_at=NOW + timedelta(seconds=20)),
        an_attempt(2, started_at=NOW + timedelta(seconds=30), finished_at=NOW + timedelta(seconds=60)),
    )
    status = replace(a_running_status(), phase=phase, attempts=attempts, finished_at=NOW + timedelta(seconds=60))
    spans.decided(a_snapshot(run), Decision(reason="Ended", status=status))
    spans.close()


def a_traced_run(**changes: Any) -> Run:
    return a_run(**{"uid": UID, "created": NOW - timedelta(seconds=5), "status": a_running_status(), **changes})


def test_a_run_is_the_span_that_its_pods_hang_below(collector: Listener) -> None:
    """From its creation on, with its wait and its attempts as children."""
    run = a_traced_run()
    told(run)
    spans = collector.spans()
    _, trace, parent_of_pods, _ = traceparent(run).split("-")
    whole = spans["etl"]
    assert (whole.trace_id.hex(), whole.span_id.hex(), whole.parent_span_id) == (trace, parent_of_pods, b"")
    assert (whole.end_time_unix_nano - whole.start_time_unix_nano) / 1e9 == 65
    assert {name: span.parent_span_id for name, span in spans.items() if name != "etl"} == dict.fromkeys(
        ("queued", "attempt 1", "attempt 2"), whole.span_id
    )
    assert (spans["queued"].end_time_unix_nano - spans["queued"].start_time_unix_nano) / 1e9 == 5
    assert spans["attempt 1"].status.code == Status.STATUS_CODE_ERROR
    assert spans["attempt 2"].status.code == Status.STATUS_CODE_UNSET


def test_a_run_that_somebody_started_is_below_that(collector: Listener) -> None:
    """Beside its pods, which hang below the same span."""
    told(a_traced_run(traceparent=GIVEN))
    whole = collector.spans()["etl"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == tuple(GIVEN.split("-")[1:3])


def test_the_same_end_is_told_in_the_same_spans(collector: Listener) -> None:
    """By an operator that takes over from one that died before it wrote the status."""
    told(a_traced_run())
    told(a_traced_run())
    first, second = (collector.all_spans()[:4], collector.all_spans()[4:])
    assert [span.span_id for span in first] == [span.span_id for span in second]


def test_a_failed_run_is_an_error(collector: Listener) -> None:
    """So that it is found by its status."""
    told(a_traced_run(), Phase.CRASHED)
    assert collector.spans()["etl"].status.code == Status.STATUS_CODE_ERROR


def test_a_run_whose_starter_keeps_no_spans_has_none(collector: Listener) -> None:
    """Sampling was decided there."""
    told(a_traced_run(traceparent=GIVEN[:-2] + "00"))
    assert collector.bodies == []


def test_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing of OpenTelemetry is used."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert run_spans() is None
