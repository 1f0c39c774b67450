"""
A span for each attempt of a flow run, and for each task run, whose failed attempts are events of it.

    flow etl ── attempt 1 ──┬── extract      (exception, retrying, exception, …)
                            └── load ─── what instrumented libraries add
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from headrace.engine.blame import traceback_text
from headrace.engine.reporting import shown_as
from headrace.engine.scope import FlowRun, Run, TaskRun
from headrace.engine.session import current_session
from headrace.secrecy.redaction import redacted
from headrace.states import Cancelled, Paused, Retrying, State, Succeeded
from headrace.tracing.context import carrier_of_environment
from headrace.tracing.setup import tracer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

PREFIX: Final = "headrace."
FIELDS: Final = ("flow", "flow_run", "task", "task_run")
"""What the log says of a run, and its span too."""


def tracing(flow: str) -> SpanWatch | None:
    """Makes spans for runs; None where nobody wants them. `flow` is the service's name, if no variable gives one."""
    found = tracer(current_session().flow or flow)
    return SpanWatch(found) if found else None


class _Open(NamedTuple):
    span: Span
    context: Context
    """That the function runs in: the span is the current one."""


class SpanWatch:
    """Makes spans: a Watch."""

    def __init__(self, of: Tracer) -> None:
        self._tracer = of
        self._open: dict[Run, _Open] = {}
        self._retried: dict[tuple[FlowRun, str], _Open] = {}
        """Of task runs between two attempts."""

    def began(self, run: Run) -> None:
        """As promised by Watch."""
        again = self._retried.pop((run.flow_run, run.name), None) if isinstance(run, TaskRun) and run.flow_run else None
        opened = self._open[run] = again or self._opened(run)
        told = opened.span.get_span_context()
        if told.is_valid:
            run.fields = {**run.fields, "trace_id": f"{told.trace_id:032x}", "span_id": f"{told.span_id:016x}"}

    @contextmanager
    def inside(self, run: Run) -> Iterator[None]:
        """As promised by Watch."""
        from opentelemetry import context  # noqa: PLC0415 - loaded: there is a tracer

        opened = self._open.get(run)
        if opened is None:
            yield
            return
        token = context.attach(opened.context)
        thrown_away = False
        try:
            yield
        except GeneratorExit:  # nobody tells how it ended, and the context is somebody else's
            thrown_away = True
            self._open.pop(run).span.end()
            raise
        finally:
            if not thrown_away:
                context.detach(token)

    def ended(self, run: Run, state: State[Any]) -> None:
        """As promised by Watch."""
        opened = self._open.pop(run, None)
        if opened is None:
            return
        span = opened.span
        _tell_outcome(span, run, state)
        if isinstance(state, Retrying) and isinstance(run, TaskRun) and run.flow_run:
            self._retried[run.flow_run, run.name] = opened
            return
        if isinstance(run, FlowRun):
            self._end_retried(run)
        span.end()

    def _opened(self, run: Run) -> _Open:
        from opentelemetry import propagate, trace  # noqa: PLC0415 - loaded: there is a tracer
        from opentelemetry.context import get_current  # noqa: PLC0415 - as above

        around = get_current()
        if not trace.get_current_span(around).get_span_context().is_valid:
            around = propagate.extract(carrier_of_environment(), around)
        span = self._tracer.start_span(run.description.name, around, attributes=_attributes(run))
        return _Open(span, trace.set_span_in_context(span, around))

    def _end_retried(self, run: FlowRun) -> None:
        """A task that waited for its next attempt when its flow was cancelled has no further one."""
        for key in [key for key in self._retried if key[0] is run]:
            self._retried.pop(key).span.end()


def _attributes(run: Run) -> dict[str, Any]:
    session = current_session()
    told = {
        **{name: run.fields.get(name) for name in FIELDS},
        "title": run.title if run.title != run.name else None,
        "tags": tuple(map(redacted, run.tags)),
        "attempt": run.attempt,
        "deployment": session.deployment,
        "namespace": session.namespace,
        "flow_run_uid": session.flow_run_uid,
    }
    return {PREFIX + name: value for name, value in told.items() if value}


def _tell_outcome(span: Span, run: Run, state: State[Any]) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - loaded: there is a span

    attempt = {PREFIX + "attempt": run.attempt}
    error = getattr(state, "exception", None)
    shown = shown_as(run, state)
    if error is not None and shown not in {Cancelled, Paused}:
        # What the standard says of an exception, without what must not be shown.
        of_error = {"exception.message": redacted(str(error)), "exception.stacktrace": traceback_text(error)}
        span.record_exception(error, {**attempt, **of_error})
    if isinstance(state, Retrying) and isinstance(run, TaskRun) and run.flow_run:
        span.add_event("retrying", {**attempt, PREFIX + "delay_s": state.delay_s})
        return
    told = {"state": shown.__name__, "message": state.message}
    span.set_attributes({**attempt, **{PREFIX + name: text for name, text in told.items() if text}})
    if shown is Succeeded:
        span.set_status(Status(StatusCode.OK))
    elif shown not in {Cancelled, Paused}:
        span.set_status(Status(StatusCode.ERROR, state.message))
