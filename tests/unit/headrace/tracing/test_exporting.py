"""Spans that leave a pod's process, at a receiver of OTLP over HTTP."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.headrace.listening import listening
from tests.unit.headrace.test_pod import Pod

HERE = Path(__file__).parent
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, SPAN = (bytes.fromhex(part) for part in GIVEN.split("-")[1:3])


def pod(folder, entrypoint, **variables):
    return Pod(folder, f"traced_flows.py:{entrypoint}", HEADRACE_CODE_DIR=str(HERE), **variables)


def attributes(span):
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_the_spans_of_a_pod_reach_the_collector(tmp_path):
    """Under the span that the operator names, with the Flow as the service."""
    with listening() as collector:
        exit_code, _ = pod(tmp_path, "main", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, TRACEPARENT=GIVEN).ended()
        found = collector.spans()
    assert exit_code == 0
    assert set(collector.paths) == {"/v1/traces"}
    assert (found["main"].trace_id, found["main"].parent_span_id) == (TRACE, SPAN)
    assert found["load"].parent_span_id == found["main"].span_id
    assert found["query"].parent_span_id == found["load"].span_id
    assert attributes(found["main"])["headrace.flow_run"] == "etl-7"
    assert b"service.name" in collector.bodies[0]
    assert b"etl" in collector.bodies[0]


def test_the_spans_of_tasks_in_processes_are_in_the_same_trace(tmp_path):
    """Though the process is killed as soon as the task is done."""
    with listening() as collector:
        pod(tmp_path, "crunching", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, TRACEPARENT=GIVEN).ended()
        found = collector.all_spans()
    tasks = {span.span_id: span for span in found if span.name == "crunch"}
    queries = [span for span in found if span.name.startswith("query")]
    assert len(tasks) == len(queries) == 2
    assert {span.parent_span_id for span in queries} == set(tasks)
    assert {span.trace_id for span in found} == {TRACE}


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
def test_the_spans_of_a_flow_that_does_not_succeed_are_sent(tmp_path, ends):
    """They are the ones that people look for."""
    with listening() as collector:
        entrypoint = "failing" if ends == "fails" else "sleeping"
        run = pod(tmp_path, entrypoint, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        if ends == "is cancelled":
            run.until("sleeping")
            run.process.send_signal(signal.SIGTERM)
        _, message = run.ended()
        span = collector.spans()[entrypoint]
    assert message["state"] == attributes(span)["headrace.state"]
    assert message["state"] == ("Failed" if ends == "fails" else "Cancelled")


@pytest.mark.parametrize("collector", ["is not there", "does not answer"])
def test_a_collector_cannot_fail_a_flow_nor_hold_it_up_for_long(tmp_path, collector):
    """The report is written first; then the process waits three seconds, at most."""
    with listening(lambda _number: time.sleep(60) or 200) as silent:
        url = silent.url if collector == "does not answer" else "http://127.0.0.1:9"
        run = pod(tmp_path, "main", OTEL_EXPORTER_OTLP_ENDPOINT=url)
        while not run.log.read_text():
            assert run.process.poll() is None
            time.sleep(0.02)
        reported_at = time.monotonic()
        exit_code, message = run.ended()
        assert time.monotonic() - reported_at < 6
    assert (exit_code, message["state"]) == (0, "Succeeded")


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_nothing_is_loaded_where_nobody_asks(tmp_path, variables):
    """Whoever does not trace does not pay, not even for the import."""
    _, message = pod(tmp_path, "loaded", **variables).ended()
    assert [name for name in message["result"] if name.startswith("opentelemetry")] == []
    if not variables:
        assert message["result"] == []


def test_an_exporter_may_be_switched_off(tmp_path):
    """By the standard variable."""
    with listening() as collector:
        run = pod(tmp_path, "main", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_EXPORTER="none")
        assert run.ended()[0] == 0
    assert collector.bodies == []


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, 'OTEL_TRACES_EXPORTER is "zipkin", expected otlp, console or none'),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
            "there can be none: ValueError: max_queue_size",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "install headrace[otel]",
        ),
    ],
)
def test_variables_that_cannot_be_used_do_not_fail_a_flow(tmp_path, variables, says):
    """They are told once, with what to look at."""
    run = pod(tmp_path, "main", **variables)
    assert run.ended()[0] == 0
    (line,) = (line for line in run.events if line["event"] == "tracing_unavailable")
    assert says in line["message"]


WITHOUT_OTEL = """
import sys
sys.modules["opentelemetry"] = None
from headrace import flow
@flow
def main(): return 3
assert main() == main() == 3
"""


def test_without_the_extra_the_run_goes_on_and_says_what_to_install():
    """A cluster may set the variables for all pods; the log says it once."""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OTEL], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.count("install headrace[otel]") == 1


OWN_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
from headrace import flow
@flow
def main(): return trace.get_tracer_provider() is provider
assert main()
"""


def test_a_program_that_traces_by_itself_keeps_its_provider():
    """Its exporter gets the spans of its runs."""
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", OWN_PROVIDER], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    assert '"name": "main"' in done.stdout
