"""Events on their way to a listener that may be away, slow or unwilling."""

import threading
import time

import pytest

from headrace import outbox
from headrace.lineage.sending import Listener, Sender, listener
from headrace.outbox import WAITING
from tests.unit.headrace.listening import listening
from tests.unit.headrace.runs import log_of_runs


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Pauses between tries that a test can wait for."""
    monkeypatch.setattr(outbox, "PAUSES_S", (0.01, 0.01))


def told(log):
    return [line.getMessage() for line in log.records if line.event == "lineage_unsent"]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_may_pass_is_tried_again(status):
    """A listener that restarts loses nothing, and the order stays."""
    with listening(lambda number: status if number <= 2 else 201) as there, log_of_runs() as log:
        sender = Sender(Listener(there.url))
        sender.send(b"1")
        sender.send(b"2")
        there.wait_for(4)
        assert sender.flush(10)
    assert there.bodies == [b"1", b"1", b"1", b"2"]
    assert told(log) == []


@pytest.mark.parametrize("status", [400, 401, 422])
def test_what_is_refused_is_left_out_and_told_once(status):
    """It would be refused again, and the log is no place for thousands of such lines."""
    with listening(lambda _number: status) as there, log_of_runs() as log:
        sender = Sender(Listener(there.url))
        for body in (b"1", b"2"):
            sender.send(body)
        assert sender.flush(10)
    assert there.bodies == [b"1", b"2"]
    assert told(log) == [f"OpenLineage at 127.0.0.1: it refuses an event with {status}; the event is left out"]


def test_a_listener_that_is_not_there_is_given_up():
    """After three tries; the end of the process does not wait for further ones."""
    with log_of_runs() as log:
        sender = Sender(Listener("http://127.0.0.1:9"))
        sender.send(b"1")
        assert sender.flush(10)
    (message,) = told(log)
    assert "refused" in message


def test_a_slow_listener_holds_up_nobody():
    """Whoever sends goes on at once; the end waits as long as it is told to."""
    gate = threading.Event()
    with listening(lambda _number: gate.wait(30) and 200) as there, log_of_runs() as log:
        sender = Sender(Listener(there.url))
        began = time.monotonic()
        for number in range(3):
            sender.send(b"%d" % number)
        there.wait_for(1)
        assert not sender.flush(0.05)
        assert time.monotonic() - began < 5
        gate.set()
        assert sender.flush(10)
    assert told(log) == ["OpenLineage at 127.0.0.1: 3 events were not sent in time"]


def test_a_queue_that_is_full_takes_no_more():
    """The memory of a flow is for the flow."""
    gate = threading.Event()
    with listening(lambda _number: gate.wait(30) and 200) as there, log_of_runs() as log:
        sender = Sender(Listener(there.url))
        sender.send(b"first")
        there.wait_for(1)
        for _ in range(WAITING + 5):
            sender.send(b"x")
        assert told(log) == [f"OpenLineage at 127.0.0.1: more than {WAITING} events wait; further ones are left out"]
        gate.set()
        assert sender.flush(60)
    assert len(there.bodies) == WAITING + 1


def test_the_log_names_the_listener_without_its_password():
    """A URL may hold one."""
    with log_of_runs() as log:
        sender = Sender(Listener("http://me:secret@127.0.0.1:9"))
        sender.send(b"1")
        assert sender.flush(10)
    assert "secret" not in "".join(told(log))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"OPENLINEAGE_URL": "marquez:5000"}, None),
        ({"OPENLINEAGE_URL": "http://marquez:5000/"}, Listener("http://marquez:5000/api/v1/lineage")),
        (
            {"OPENLINEAGE_URL": "https://x/y", "OPENLINEAGE_ENDPOINT": "/z", "OPENLINEAGE_API_KEY": "k\n"},
            Listener("https://x/y/z", "k"),
        ),
        ({"OPENLINEAGE_URL": "http://x", "OPENLINEAGE_DISABLED": "True"}, None),
    ],
)
def test_the_environment_names_the_listener(variables, expected):
    """In the words of OpenLineage's other clients."""
    assert listener(variables) == expected
