"""
Runs as spans: what a run was before its pods and between them, in the same trace as theirs.

    the run                 from its creation to its end
        queued              until its first attempt started
        attempt 1, 2, …     each pod's container, which the spans of the SDK describe from within

Exported once a run has ended, where the variables of OpenTelemetry ask for it (docs/tracing.md). The ids derive from the run's UID: a
second operator that tells the same end tells the same spans.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from headrace.api.conditions import FAILURES
from headrace.tracing.setup import span_exporter
from headrace_operator.decide.actions import Decision
from headrace_operator.decide.snapshot import Attempt, Run, RunStatus, Snapshot, Unresolved
from headrace_operator.decide.trace import traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

SERVICE: Final = "headrace-operator"
NANOSECONDS: Final = 1_000_000_000

Value = str | int


def run_spans() -> RunSpans | None:
    """What tells of runs, as the variables OTEL_… say; None where nobody asks, or OpenTelemetry is not installed."""
    exporter = span_exporter()
    return None if exporter is None else RunSpans(exporter)


class RunSpans:
    """Sends spans in the background, in batches; a collector that is away costs them, and nothing else."""

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the extra

        self._resource = Resource.create({"service.name": SERVICE})
        self._processor: SpanProcessor = BatchSpanProcessor(exporter)

    def decided(self, seen: Snapshot, decision: Decision) -> None:
        """Tell of the run, if the Decision ended it."""
        status = decision.status
        if status is None or status.phase is None or not status.phase.finished or seen.run.finished:
            return
        above = traceparent(seen.run)
        if not int(above[-2:], 16) & 1:  # whoever started the run keeps no spans of it
            return
        flow = "" if isinstance(seen.flow, Unresolved) else seen.flow.name
        for span in self._of(seen.run, flow, status, above):
            self._processor.on_end(span)

    def close(self) -> None:
        """What is left is sent."""
        self._processor.shutdown()

    def _of(self, run: Run, flow: str, status: RunStatus, given: str) -> Iterator[ReadableSpan]:
        _, trace, above, _ = given.split("-")
        # The derived parent of the pods' spans is this very span; a given one is somebody else's.
        own = above if run.traceparent is None else _mark(run, "run")
        parent = None if run.traceparent is None else _context(trace, above)
        ended = status.finished_at or run.created
        whole = _context(trace, own)
        facts, is_lost = _facts(run, flow, status), status.phase in FAILURES
        yield self._span(flow, (run.created, ended), whole, parent, attributes=facts, is_lost=is_lost)
        queued = _context(trace, _mark(run, "queued"))
        yield self._span("queued", (run.created, status.started_at or ended), queued, whole, attributes={})
        for attempt in status.attempts:
            if attempt.started_at is not None:
                name = f"attempt {attempt.number}"
                times = (attempt.started_at, attempt.finished_at or ended)
                of, is_lost = _context(trace, _mark(run, name)), bool(attempt.exit_code)
                yield self._span(name, times, of, whole, attributes=_pod(run, attempt), is_lost=is_lost)

    def _span(
        self,
        name: str,
        times: tuple[datetime, datetime],
        context: SpanContext,
        parent: SpanContext | None,
        *,
        attributes: dict[str, Value],
        is_lost: bool = False,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - the extra
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - the extra

        began, ended = (int(at.timestamp() * NANOSECONDS) for at in times)
        code = StatusCode.ERROR if is_lost else StatusCode.UNSET
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            status=Status(code),
            start_time=began,
            end_time=max(began, ended),
        )


def _facts(run: Run, flow: str, status: RunStatus) -> dict[str, Value]:
    named = {"deployment": run.deployment_ref, "schedule": run.schedule, "pool": status.pool, "reason": status.reason}
    return {
        "headrace.flow": flow,
        "headrace.flow_run": run.key.name,
        "headrace.flow_run_uid": run.uid,
        "headrace.namespace": run.key.namespace,
        "headrace.state": status.phase or "",
        **{f"headrace.{name}": value for name, value in named.items() if value},
    }


def _pod(run: Run, attempt: Attempt) -> dict[str, Value]:
    facts: dict[str, Value | None] = {
        "k8s.namespace.name": run.key.namespace,
        "k8s.pod.name": attempt.pod,
        "k8s.node.name": attempt.node,
        "headrace.attempt": attempt.number,
        "headrace.reason": attempt.reason,
        "process.exit.code": attempt.exit_code,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _mark(run: Run, part: str) -> str:
    """The id of a span, the same whoever tells it."""
    return hashlib.sha256(f"{run.uid}/{part}".encode()).hexdigest()[:16]


def _context(trace: str, span: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - the extra

    return SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
