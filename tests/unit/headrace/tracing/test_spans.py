"""Spans of runs, with OpenTelemetry's own SDK as the witness."""

import asyncio

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from headrace import RetryRun, flow, get_run_logger, task
from headrace.engine.session import using
from headrace.secrecy.redaction import MASK
from tests.unit.headrace.runs import a_session, log_of_runs

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch):
    """What a program that traces by itself exports."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE"):
        monkeypatch.delenv(name, raising=False)

    def found(name):
        return next(span for span in exporter.get_finished_spans() if span.name == name)

    found.all = exporter.get_finished_spans
    return found


def query():
    """What an instrumented library does."""
    with trace.get_tracer("library").start_as_current_span("query"):
        return 1


def is_below(span, above):
    return span.parent.span_id == above.context.span_id and span.context.trace_id == above.context.trace_id


def test_a_task_is_below_its_flow_and_the_library_below_the_task(spans):
    """Whoever looks at a slow query sees which task of which run made it."""

    @task(tags=["db"])
    def load(rows):
        return query() + rows

    @flow(name="etl")
    def main():
        return load(1)

    with using(a_session(flow_run="etl-7", namespace="team-a", deployment="daily", flow_run_uid="u-1", attempt=2)):
        assert main() == 2
    assert is_below(spans("load"), spans("etl"))
    assert is_below(spans("query"), spans("load"))
    assert spans("etl").parent is None
    assert dict(spans("etl").attributes) == {
        "headrace.flow": "etl",
        "headrace.flow_run": "etl-7",
        "headrace.flow_run_uid": "u-1",
        "headrace.namespace": "team-a",
        "headrace.deployment": "daily",
        "headrace.attempt": 2,
        "headrace.state": "Succeeded",
    }
    assert spans("load").attributes["headrace.task_run"] == "load-0"
    assert spans("load").attributes["headrace.tags"] == ("db",)
    assert spans("load").status.status_code is StatusCode.OK


def test_submitted_tasks_are_below_their_flow(spans):
    """In threads of their own, and so is what their libraries do."""

    @task
    def load(_row):
        return query()

    @flow(name="etl")
    def main():
        return sum(load.map([1, 2, 3]).result())

    with using(a_session()):
        assert main() == 3
    loads = {span.context.span_id for span in spans.all() if span.name == "load" and is_below(span, spans("etl"))}
    assert len(loads) == 3
    assert {span.parent.span_id for span in spans.all() if span.name == "query"} == loads


def test_tasks_on_an_event_loop_do_not_mix_their_spans(spans):
    """They take turns in one thread."""

    @task
    async def load(pause):
        await asyncio.sleep(0)
        with trace.get_tracer("library").start_as_current_span(f"query {pause}"):
            await asyncio.sleep(pause)
        return trace.get_current_span().get_span_context().span_id

    @flow(name="etl")
    async def main():
        futures = [load.submit(pause) for pause in (0.002, 0, 0.001)]
        return [await future for future in futures]

    with using(a_session()):
        current = asyncio.run(main())
    assert [spans(f"query {pause}").parent.span_id for pause in (0.002, 0, 0.001)] == current
    assert {
        span.context.span_id for span in spans.all() if span.name == "load" and is_below(span, spans("etl"))
    } == set(current)


def test_failed_attempts_of_a_task_are_events_of_its_span(spans):
    """One run, one span, however often it was tried."""
    tries = []

    @task(retries=2, retry_delay_seconds=7)
    def load():
        tries.append(1)
        query()
        if len(tries) < 3:
            raise ConnectionError("no route")

    @flow(name="etl")
    def main():
        load()

    with using(a_session()):
        main()
    (span,) = (span for span in spans.all() if span.name == "load")
    assert [event.name for event in span.events] == ["exception", "retrying"] * 2
    assert span.events[0].attributes["exception.type"] == "ConnectionError"
    assert span.events[2].attributes["headrace.attempt"] == 2
    assert span.events[3].attributes["headrace.delay_s"] == 7
    assert span.attributes["headrace.attempt"] == 3
    assert span.status.status_code is StatusCode.OK
    assert sum(is_below(other, span) for other in spans.all() if other.parent) == 3


def test_each_attempt_of_a_flow_is_a_span(spans):
    """In a cluster each is a pod."""
    tries = []

    @flow(name="etl", retries=1)
    def main():
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("first")

    with using(a_session()):
        main()
    first, second = (span for span in spans.all() if span.name == "etl")
    assert (first.attributes["headrace.attempt"], first.attributes["headrace.state"]) == (1, "Retrying")
    assert first.status.status_code is StatusCode.ERROR
    assert first.events[0].attributes["exception.message"] == "first"
    assert (second.attributes["headrace.attempt"], second.attributes["headrace.state"]) == (2, "Succeeded")


def test_a_failure_is_told_with_its_exception(spans):
    """Of the task and of the flow that it ended."""

    @task
    def load():
        raise KeyError("id")

    @flow(name="etl")
    def main():
        load()

    with using(a_session()):
        main(return_state=True)
    for name in ("load", "etl"):
        assert spans(name).status.status_code is StatusCode.ERROR
        assert spans(name).status.description == "KeyError: 'id'"
        assert spans(name).attributes["headrace.state"] == "Failed"
        assert spans(name).events[0].attributes["exception.type"] == "KeyError"


def test_a_secret_is_not_in_the_tags_of_a_span(spans, secrets):
    """A tag may be made of a parameter, such as a customer's key."""
    secrets("hunter2-hunter2")
    task(name="load", tags=["of hunter2-hunter2"])(lambda: 1)()
    assert spans("load").attributes["headrace.tags"] == (f"of {MASK}",)


def test_a_secret_is_not_in_a_span(spans, secrets):
    """Traces leave the cluster."""
    secrets("hunter2-hunter2")

    @flow(name="etl")
    def main():
        raise ValueError("wrong password hunter2-hunter2")

    with using(a_session()):
        main(return_state=True)
    assert "hunter2" not in spans("etl").to_json()


def test_a_subflow_is_below_the_flow_that_called_it(spans):
    """And its tasks below it."""

    @task
    def load():
        pass

    @flow
    def inner():
        load()

    @flow
    def outer():
        inner()

    with using(a_session()):
        outer()
    assert is_below(spans("inner"), spans("outer"))
    assert is_below(spans("load"), spans("inner"))


def test_the_environment_says_what_a_run_is_below(spans, monkeypatch):
    """As the operator sets it, and whoever starts a program inside a trace; with what travels along."""
    monkeypatch.setenv("TRACEPARENT", GIVEN)
    monkeypatch.setenv("TRACESTATE", "vendor=1")
    monkeypatch.setenv("BAGGAGE", "team=a")
    found = []

    @flow(name="etl")
    def main():
        found.append(baggage.get_baggage("team"))

    with using(a_session()):
        main()
    assert f"{spans('etl').context.trace_id:032x}" == GIVEN.split("-")[1]
    assert f"{spans('etl').parent.span_id:016x}" == GIVEN.split("-")[2]
    assert spans("etl").context.trace_state["vendor"] == "1"
    assert found == ["a"]


def test_a_span_around_the_call_comes_before_the_environment(spans, monkeypatch):
    """It is nearer."""
    monkeypatch.setenv("TRACEPARENT", GIVEN)

    @flow(name="etl")
    def main():
        pass

    with using(a_session()), trace.get_tracer("program").start_as_current_span("program"):
        main()
    assert is_below(spans("etl"), spans("program"))


def test_log_lines_name_the_span_that_they_belong_to(spans):
    """So that a line leads to its trace."""

    @task
    def load():
        get_run_logger().info("loaded")

    @flow(name="etl")
    def main():
        load()

    with using(a_session()), log_of_runs() as log:
        main()
    told = {(line.event, line.trace_id, line.span_id) for line in log.records}
    trace_id = f"{spans('etl').context.trace_id:032x}"
    of_flow, of_task = (f"{spans(name).context.span_id:016x}" for name in ("etl", "load"))
    assert told == {
        ("flow_started", trace_id, of_flow),
        ("task_started", trace_id, of_task),
        ("log", trace_id, of_task),
        ("task_succeeded", trace_id, of_task),
        ("flow_succeeded", trace_id, of_flow),
    }


def test_a_run_that_asks_for_another_pod_has_not_failed(spans):
    """Its state says that it goes on; the span says that this attempt did not succeed."""

    @flow(name="etl")
    def main():
        raise RetryRun("busy")

    with using(a_session(repeats_flows=False)):
        main(return_state=True)
    assert spans("etl").attributes["headrace.state"] == "Retrying"
    assert spans("etl").status.status_code is StatusCode.ERROR


def test_a_task_that_waits_for_its_next_attempt_when_the_flow_ends_has_a_span(spans):
    """Nothing that was begun is missing in the trace."""

    @task(retries=1, retry_delay_seconds=30)
    async def load():
        raise ValueError("busy")

    @flow(name="etl")
    async def main():
        load.submit()
        await asyncio.sleep(0.05)
        raise KeyboardInterrupt

    async def stopped():
        with pytest.raises(KeyboardInterrupt):
            await main()

    with using(a_session(clock=a_session_clock())):
        asyncio.run(stopped())
    assert spans("load").events[-1].name == "retrying"


def a_session_clock():
    """The computer's: the task is to be asleep."""
    from headrace.engine.clock import SystemClock  # noqa: PLC0415 - for this test

    return SystemClock()


def test_after_the_run_no_span_is_current(spans):
    """Neither where it was called, nor after a failure."""

    @flow(name="etl")
    def main():
        raise ValueError("x")

    with using(a_session()):
        main(return_state=True)
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_tracer_that_raises_does_not_harm_the_run(spans, monkeypatch):
    """It is told once an attempt, and that is all."""
    monkeypatch.setattr(TracerProvider, "get_tracer", lambda *_: Broken())

    @flow(name="etl")
    def main():
        return 7

    with using(a_session()), log_of_runs() as log:
        assert main() == 7
    assert "watch_failed" in log.events


class Broken:
    def start_span(self, *_args, **_options):
        raise RuntimeError("no span today")
