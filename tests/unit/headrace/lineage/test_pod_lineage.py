"""Lineage that a pod's process reports and sends."""

import signal
import time
from pathlib import Path

import pytest

from tests.unit.headrace.listening import listening
from tests.unit.headrace.test_pod import Pod

HERE = Path(__file__).parent
UID = "6f0c4a52-3d0b-4c1f-9d58-0a4f5f0e9b11"


def pod(folder, entrypoint, **variables):
    return Pod(
        folder,
        f"lineage_flows.py:{entrypoint}",
        HEADRACE_CODE_DIR=str(HERE),
        HEADRACE_FLOW_RUN_UID=UID,
        **variables,
    )


def test_the_termination_message_says_what_was_read_and_written(tmp_path):
    """For the status of the run; nobody needs to listen elsewhere."""
    _, message = pod(tmp_path, "main").ended()
    assert message["lineage"] == {
        "inputs": ["postgres://warehouse:5432/shop.public.orders"],
        "outputs": ["s3://lake/orders/2026-01-01.csv"],
    }


@pytest.mark.parametrize(("entrypoint", "last"), [("main", "COMPLETE"), ("sleeping", "ABORT")])
def test_the_last_event_is_sent_before_the_process_ends(tmp_path, entrypoint, last):
    """Also where the run is told to stop."""
    with listening() as listener:
        run = pod(tmp_path, entrypoint, OPENLINEAGE_URL=listener.url)
        if entrypoint == "sleeping":
            run.until("sleeping")
            run.process.send_signal(signal.SIGTERM)
        run.ended()
        event = listener.events()[-1]
    assert (event["eventType"], event["run"]["runId"], event["job"]["name"]) == (last, UID, "etl")


@pytest.mark.parametrize("listener", ["is not there", "does not answer", "fails"])
def test_a_listener_cannot_fail_a_flow_nor_hold_it_up_for_long(tmp_path, listener):
    """The report is written first; then the process waits three seconds, at most."""
    with listening(lambda _number: 500 if listener == "fails" else time.sleep(60) or 200) as there:
        url = "http://127.0.0.1:9" if listener == "is not there" else there.url
        run = pod(tmp_path, "main", OPENLINEAGE_URL=url)
        while not run.log.read_text():
            assert run.process.poll() is None
            time.sleep(0.02)
        reported_at = time.monotonic()
        exit_code, message = run.ended()
        assert time.monotonic() - reported_at < 6
    assert (exit_code, message["state"]) == (0, "Succeeded")
    assert len([line for line in run.events if line["event"] == "lineage_unsent"]) == 1
