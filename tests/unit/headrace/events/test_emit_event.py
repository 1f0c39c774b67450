"""Events of flows: in the log, at a real HTTP server, and on the FlowRun."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from headrace import UsageError, emit_event, flow, task
from headrace.engine.session import using
from headrace.events import delivery
from headrace.podapi import PodApiError
from headrace.secrecy.redaction import Registry
from tests.unit.headrace.events.listening import listening
from tests.unit.headrace.runs import a_session, log_of_runs

HERE = Path(__file__).parent
FLOW = """
import time
from headrace import emit_event, flow

@flow
def main(n: int = 1, wait: bool = False):
    for number in range(n):
        emit_event("order.imported", f"order-{number}", {"rows": number})
    print("emitted", flush=True)
    if wait:
        time.sleep(60)
"""


@pytest.fixture(autouse=True)
def no_outboxes(monkeypatch):
    """Each test is a process of its own."""
    monkeypatch.setattr(delivery, "_OUTBOXES", {})
    for name in ("HEADRACE_EVENTS_URL", "HEADRACE_FLOW_RUN_UID", "HEADRACE_API_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def heard(monkeypatch):
    with listening() as server:
        monkeypatch.setenv("HEADRACE_EVENTS_URL", server.url)
        yield server


def test_an_event_is_a_line_of_the_log():
    """With the run that it belongs to, and all that it says."""

    @task
    def load():
        return emit_event("order.imported", "order-17", {"day": date(2026, 1, 1), "rows": (1, 2)})

    session = a_session(flow_run="etl-7", flow="etl", namespace="team-a", flow_run_uid="u")
    with using(session), log_of_runs() as log:
        event = flow(name="main")(lambda: load())()  # noqa: PLW0108 - a flow needs a function of its own
    (line,) = [each for each in log.records if each.event == "event_emitted"]
    assert (line.type, line.subject, line.event_id) == ("order.imported", "order-17", event.id)
    assert line.data == {"day": "2026-01-01", "rows": [1, 2]}
    assert (line.flow_run, line.task_run) == ("etl-7", "load-0")
    assert line.getMessage() == "order.imported order-17"


def test_it_arrives_as_a_cloud_event(heard):
    """Structured JSON, by the specification."""
    session = a_session(flow_run="etl-7", flow="etl", namespace="team-a", deployment="nightly")
    at = datetime(2026, 1, 1, 7, tzinfo=UTC)

    @flow
    def main():
        emit_event("order.imported", {"id": "order-17", "shop": "north"}, {"rows": 3}, occurred=at, id="first")

    with using(session):
        main()
    delivery.flush(10)
    assert heard.taken == [
        {
            "specversion": "1.0",
            "type": "order.imported",
            "id": "first",
            "source": "/headrace/team-a/flowruns/etl-7",
            "subject": "order-17",
            "time": "2026-01-01T07:00:00Z",
            "datacontenttype": "application/json",
            "data": {"rows": 3},
            "flow": "etl",
            "flowrun": "etl-7",
            "deployment": "nightly",
            "shop": "north",
        }
    ]
    assert heard.headers[0]["Content-Type"].startswith("application/cloudevents+json")


def test_outside_of_a_flow_it_works_too(heard):
    """Without a run, a payload and a resource."""
    emit_event("build.done")
    delivery.flush(10)
    (event,) = heard.taken
    assert {"specversion", "type", "id", "source", "time"} == event.keys()
    assert event["source"] == "/headrace/local"


def test_a_later_attempt_gives_the_same_event_the_same_id(monkeypatch):
    """So that a reader who has it already passes it over; equal ones of one attempt are told apart."""
    made = []
    for _ in range(2):
        monkeypatch.setattr("headrace.events.envelope._SEEN", Counter())
        with using(a_session(flow_run_uid="u")):
            made.append([emit_event("a.b", "x", {"n": n}).id for n in (1, 1, 2)])
    assert made[0] == made[1]
    assert len(set(made[0])) == 3
    with using(a_session(flow_run_uid="another")):
        assert emit_event("a.b", "x", {"n": 1}).id not in made[0]


@pytest.mark.parametrize("answers", [[503], [429, 500]])
def test_a_listener_that_is_busy_is_asked_again(heard, answers, monkeypatch):
    """After a pause."""
    monkeypatch.setattr("headrace.outbox.PAUSES_S", (0.0, 0.0))
    heard.answers = list(answers)
    emit_event("a.b")
    assert heard.arrived.acquire(timeout=10)
    assert heard.asked == len(answers) + 1


def test_a_listener_that_refuses_is_told_once(heard):
    """The flow goes on."""
    heard.answers = [400, 400]
    with log_of_runs() as log:
        emit_event("a.b")
        emit_event("a.b")
        delivery.flush(10)
    assert heard.asked == 2
    unsent = [each for each in log.records if each.event == "event_unsent"]
    assert [each.getMessage() for each in unsent] == [
        "events to 127.0.0.1: it refuses an event with 400; the event is left out"
    ]


def test_a_url_that_is_none_is_told(monkeypatch):
    """And the event is in the log."""
    monkeypatch.setenv("HEADRACE_EVENTS_URL", "events.example.org")
    with log_of_runs() as log:
        emit_event("a.b")
    assert [each.event for each in log.records] == ["event_emitted", "event_unsent"]


def test_secrets_stay_at_home(heard, monkeypatch):
    """As in the log."""
    registry = Registry()
    registry.add("s3cr3t-value")
    monkeypatch.setattr("headrace.secrecy.redaction.SECRETS", registry)
    emit_event("a.b", payload={"password": "s3cr3t-value"})
    delivery.flush(10)
    assert heard.taken[0]["data"] == {"password": "**********"}


class FlowRunEvents:
    """The API server's Events; `fault` is what each creation meets."""

    def __init__(self, fault=None):
        self.made = []
        self.asked = 0
        self.fault = fault

    def create(self, path, body):
        self.asked += 1
        assert path == "/api/v1/namespaces/team-a/events"
        if self.fault:
            raise self.fault
        self.made.append(body)
        return body


@pytest.fixture
def on_run(monkeypatch):
    """A pod with access to the API server that is given."""

    def with_api(api):
        variables = {"HEADRACE_NAMESPACE": "team-a", "HEADRACE_FLOW_RUN": "etl-7", "HEADRACE_FLOW_RUN_UID": "u"}
        monkeypatch.setenv("HEADRACE_FLOW_RUN_UID", "u")
        monkeypatch.setenv("HEADRACE_API_DIR", "/nowhere")
        monkeypatch.setattr(delivery, "_OUTBOXES", {"u": delivery.OnRun(api, variables)})
        return api

    return with_api


def test_it_is_shown_on_the_flow_run(on_run):
    """As `kubectl describe` reads it."""
    api = on_run(FlowRunEvents())
    with using(a_session(flow_run_uid="u")):
        emit_event("order.imported", "order-17", {"rows": 3}, occurred=datetime(2026, 1, 1, 7, 0, 0, 5, tzinfo=UTC))
    delivery.flush(10)
    (made,) = api.made
    assert made["reason"] == "OrderImported"
    assert made["message"] == 'order.imported order-17 {"rows": 3}'
    assert made["involvedObject"]["uid"] == "u"
    assert made["firstTimestamp"] == "2026-01-01T07:00:00Z"
    assert made["metadata"]["name"].startswith("etl-7.")


def test_only_the_first_ones_are_shown_on_the_flow_run(on_run):
    """A flow that tells ten thousand things must not fill etcd."""
    api = on_run(FlowRunEvents())
    with log_of_runs() as log:
        for number in range(30):
            emit_event("a.b", f"x-{number}")
        delivery.flush(10)
    assert len(api.made) == 25
    assert [each.event for each in log.records].count("event_unsent") == 1


def test_without_the_right_it_is_in_the_log_only(on_run):
    """The API server is asked once, and it is told once."""
    api = on_run(FlowRunEvents(PodApiError("POST", 403, "forbidden")))
    with log_of_runs() as log:
        emit_event("a.b")
        emit_event("a.b")
        delivery.flush(10)
    assert api.asked == 1
    (unsent,) = [each for each in log.records if each.event == "event_unsent"]
    assert (unsent.levelname, "create on events" in unsent.getMessage()) == ("INFO", True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("",), "expected what has happened"),
        (("a b",), "expected what has happened"),
        (("a.b", 7), "resource is 7, expected a name"),
        (("a.b", {"name": "x"}), "expected a name"),
        (("a.b", {"id": "x", "Name": "y"}), "at most 20 lower-case letters and digits"),
        (("a.b", {"id": "x", "source": "y"}), "that CloudEvents does not use itself"),
        (("a.b", "x", object()), "payload is no JSON"),
        (("a.b", "x", "y" * 70_000), "payload has 70002 bytes of JSON, at most 65536"),
    ],
)
def test_a_wrong_event_is_told(arguments, says):
    """Where it is emitted, with what to write."""
    with pytest.raises(UsageError, match=says):
        emit_event(*arguments)


def test_a_wrong_time_or_id_is_told():
    """As above."""
    with pytest.raises(UsageError, match="expected an aware datetime"):
        emit_event("a.b", occurred=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake
    with pytest.raises(UsageError, match="id is ''"):
        emit_event("a.b", id="")


def pod(tmp_path, url, **parameters):
    """The process of a flow that emits."""
    (tmp_path / "emits.py").write_text(FLOW)
    environment = {
        "PATH": os.environ["PATH"],
        "HEADRACE_ENTRYPOINT": "emits.py:main",
        "HEADRACE_CODE_DIR": str(tmp_path),
        "HEADRACE_FLOW_RUN": "etl-7",
        "HEADRACE_FLOW_RUN_UID": "u",
        "HEADRACE_NAMESPACE": "team-a",
        "HEADRACE_EVENTS_URL": url,
        "HEADRACE_PARAMETERS": json.dumps(parameters),
    }
    command = [sys.executable, "-m", "headrace.pod"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_the_end_of_a_pod_waits_for_what_is_not_sent_yet(heard, tmp_path):
    """Nothing is lost, and the order is kept."""
    with pod(tmp_path, heard.url, n=50) as process:
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [each["data"]["rows"] for each in heard.taken] == list(range(50))


def test_a_pod_that_is_cancelled_sends_what_it_has_emitted(heard, tmp_path):
    """Within its grace period."""
    with pod(tmp_path, heard.url, n=5, wait=True) as process:
        assert process.stdout
        while "emitted" not in process.stdout.readline().split("\n"):
            continue
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert len(heard.taken) == 5


def test_the_end_of_a_program_waits_for_what_is_not_sent_yet(heard, tmp_path):
    """On a laptop, where no pod is around the flow."""
    (tmp_path / "emits.py").write_text(f"{FLOW}\nmain(5)\n")
    environment = {"PATH": os.environ["PATH"], "HEADRACE_EVENTS_URL": heard.url}
    subprocess.run(
        [sys.executable, tmp_path / "emits.py"], check=True, env=environment, capture_output=True, timeout=60
    )
    assert [each["subject"] for each in heard.taken] == [f"order-{number}" for number in range(5)]


def test_a_listener_that_never_answers_holds_up_nobody_for_long(tmp_path):
    """The flow succeeds, and its pod ends within some seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began_s = time.monotonic()
        with pod(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/", n=3) as process:
            process.communicate(timeout=60)
    assert process.returncode == 0
    assert time.monotonic() - began_s < 20
