"""The current span, for other processes."""

from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import TracerProvider

from headrace.cli.start import _manifest as started_run
from headrace.remote.flow_runs import Parent, manifest
from headrace.tracing.context import carrier, current_traceparent, joined, trace_annotations

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("TRACEPARENT", raising=False)


def a_span():
    return TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("test")


def test_it_is_the_current_span():
    """As W3C writes it."""
    with a_span() as span:
        told = span.get_span_context()
        flags = f"{told.trace_flags:02x}"
        assert current_traceparent() == f"00-{told.trace_id:032x}-{told.span_id:016x}-{flags}"
        assert carrier()["traceparent"] == current_traceparent()


@pytest.mark.parametrize(("given", "found"), [(GIVEN, GIVEN), ("", None), ("00-0-0-01", None), (f"{GIVEN}x", None)])
def test_without_a_span_it_is_what_the_process_was_started_under(monkeypatch, given, found):
    """So that a trace goes through processes that do not trace."""
    monkeypatch.setenv("TRACEPARENT", given)
    assert current_traceparent() == found


def test_nobody_traces():
    """Then nothing is written anywhere."""
    assert current_traceparent() is None
    assert trace_annotations() == {}


def test_a_carrier_makes_its_span_the_current_one():
    """In another process, for as long as the work takes."""
    with a_span():
        headers = carrier()
    with joined(headers):
        assert current_traceparent() == headers["traceparent"]
    assert current_traceparent() is None
    with joined({}):
        assert current_traceparent() is None


def test_flow_runs_that_are_created_carry_it(monkeypatch):
    """Of tasks in pods of their own, and of `headrace start` inside a trace."""
    monkeypatch.setenv("TRACEPARENT", GIVEN)
    parent = Parent("team-a", "etl-7", "u-1", "etl", "rev1", 1, {}, "")
    task = manifest(parent, "etl-7-train-0", {"name": "train"})
    deployment = {"metadata": {"name": "daily"}, "spec": {"flowRef": {"name": "etl"}}}
    started = started_run(deployment, {"deploymentRef": {"name": "daily"}}, datetime(2026, 1, 1, tzinfo=UTC))
    for run in (task, started):
        assert run["metadata"]["annotations"]["headrace.dev/traceparent"] == GIVEN
    monkeypatch.delenv("TRACEPARENT")
    outside = started_run(deployment, {"deploymentRef": {"name": "daily"}}, datetime(2026, 1, 1, tzinfo=UTC))
    assert "annotations" not in outside["metadata"]
