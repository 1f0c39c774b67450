"""The process in the pod: a real one, with its exit code, its termination message and its signals."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import ANY

import pytest

from headrace import ParameterError, UsageError
from headrace.engine.session import Session
from headrace.pod import parameters, session

FLOWS = Path(__file__).parent / "pod_flows.py"


class Pod:
    """One process of `python -m headrace.pod`."""

    def __init__(self, folder, entrypoint, **variables):
        self.log = folder / "termination-log"
        self.log.write_text("")
        environment = {
            "HEADRACE_ENTRYPOINT": entrypoint,
            "HEADRACE_CODE_DIR": str(FLOWS.parent),
            "HEADRACE_FLOW": "etl",
            "HEADRACE_FLOW_RUN": "etl-7",
            "HEADRACE_TERMINATION_LOG": str(self.log),
            "PATH": os.environ["PATH"],
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headrace.pod"],
            env={key: value for key, value in environment.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )

    def ended(self):
        """Exit code and termination message."""
        self.out, self.err = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(self.log.read_text())

    def until(self, line):
        """Returns when the process has printed this line."""
        for printed in self.process.stdout:
            if line in printed:
                return
        raise AssertionError(f"{line!r} was never printed")

    @property
    def events(self):
        """The log lines, as objects; what is no JSON is left out."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


@pytest.fixture
def pod(tmp_path):
    """Starts pods; none outlives the test."""
    started = []

    def start(entrypoint, **variables):
        started.append(Pod(tmp_path, f"pod_flows:{entrypoint}" if ":" not in entrypoint else entrypoint, **variables))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def test_a_flow_that_returns(pod):
    """Exit code 0, result, counts and usage; the log as JSON lines beside what is printed."""
    run = pod("adds", HEADRACE_PARAMETERS='{"day": "2026-01-01", "n": 2}')
    code, said = run.ended()
    usage = said.pop("usage")
    assert code == 0
    assert said == {
        "version": 1,
        "state": "Succeeded",
        "reason": "Completed",
        "message": "the flow returned",
        "result": ["2026-01-01", 4],
        "tasks": {"total": 2, "succeeded": 2, "failed": 0, "cached": 0, "retried": 1},
    }
    assert usage["cpuSeconds"] > 0
    assert usage["maxMemoryBytes"] > 2**20
    assert "printed as it is" in run.out.splitlines()
    assert [event["event"] for event in run.events] == [
        "flow_started",
        "task_started",
        "task_retrying",
        "task_started",
        "task_succeeded",
        "task_started",
        "task_succeeded",
        "log",
        "flow_succeeded",
    ]
    assert {(event["flow"], event["flow_run"]) for event in run.events} == {("etl", "etl-7")}
    assert (run.events[-2]["logger"], run.events[-2]["message"]) == ("library", "from a library")
    assert run.err == ""


def test_the_run_is_told_to_the_flow(pod):
    """By headrace.runtime, from the environment."""
    code, said = pod(
        "tells",
        HEADRACE_ATTEMPT="3",
        HEADRACE_SCHEDULED_TIME="2026-01-01T07:00:00Z",
        HEADRACE_DEPLOYMENT="etl-daily",
        HEADRACE_NAMESPACE="team",
        HEADRACE_FLOW_RUN_UID="u-1",
        HEADRACE_PARAMETERS='{"n": 1}',
    ).ended()
    assert (code, said["result"]) == (
        0,
        ["etl-7", "etl", 3, "2026-01-01T07:00:00Z", "etl-daily", "team", "u-1", {"n": 1}],
    )


ENDS = {
    "fails": (1, "Failed", "FlowFailed", 'task "bad-0": ValueError: no way out (pod_flows.py:'),
    "fails_itself": (1, "Failed", "FlowFailed", "KeyError: 'x' (pod_flows.py:"),
    "asks": (75, "Retrying", "RetryRequested", "database is busy (pod_flows.py:"),
    "takes_long": (1, "Failed", "TimedOut", 'flow "etl" took longer than its timeout of 0.05 s (pod_flows.py:'),
    "takes_long_on_loop": (1, "Failed", "TimedOut", 'flow "etl" took longer than its timeout of 0.05 s (pod_flows.py:'),
    "task_takes_long": (1, "Failed", "FlowFailed", 'task "long-0" took longer than its timeout of 0.05 s (pod_flows.py:'),
    "leaves": (1, "Failed", "FlowFailed", "the code called sys.exit(0); return to succeed, raise to fail (pod_flows.py:"),
    "plain": (0, "Succeeded", "Completed", "the flow returned"),
    "missing:main": (78, "Failed", "BadEntrypoint", 'entrypoint "missing:main": there is no module "missing" in '),
    "pod_flows.py:needs": (78, "Failed", "InvalidParameters", 'flow "needs": parameter "day" is missing, expected datetime.date; it takes day: datetime.date'),
    "pod_broken:main": (78, "Failed", "ImportError", "its module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
}  # fmt: skip


@pytest.mark.parametrize(("entrypoint", "end"), ENDS.items(), ids=ENDS)
def test_every_end_has_its_exit_code_and_its_sentence(entrypoint, end, pod):
    """State, reason and message tell what happened, and where."""
    run = pod(entrypoint)
    code, said = run.ended()
    assert (code, said["state"], said["reason"]) == end[:3]
    assert end[3] in said["message"]
    assert run.err == ""
    if code == 78:
        assert (run.events[-1]["event"], run.events[-1]["message"]) == ("flow_refused", said["message"])


def test_the_flows_own_retries_are_the_operators(pod):
    """One attempt a process, whatever the decorator says; the delay that RetryRun asks for is passed on."""
    run = pod("asks")
    _, said = run.ended()
    assert said["retryDelaySeconds"] == 17
    assert [event["event"] for event in run.events] == ["flow_started", "flow_retrying"]


def test_a_wrong_environment_is_told(pod):
    """Exit code 78: another attempt would end the same way."""
    code, said = pod("plain", HEADRACE_ATTEMPT="0").ended()
    assert (code, said["state"], said["message"]) == (
        78,
        "Failed",
        "HEADRACE_ATTEMPT is '0', expected a whole number from 1",
    )


@pytest.mark.parametrize("text", ["[1]", "{", "null"])
def test_parameters_are_a_json_object(text):
    """Nothing else can be given by name."""
    with pytest.raises(
        ParameterError, match=rf"\"HEADRACE_PARAMETERS\" is '{re.escape(text)}', expected a JSON object"
    ):
        parameters(text, "etl")


@pytest.mark.parametrize("text", ["7:00", "2026-01-01T07:00:00", "tomorrow"])
def test_a_time_has_a_zone(text):
    """A time without one means nothing to a flow that runs elsewhere."""
    with pytest.raises(UsageError, match=f"HEADRACE_SCHEDULED_TIME is '{text}', expected RFC 3339"):
        session({"HEADRACE_SCHEDULED_TIME": text})


def test_a_flow_that_pauses_gives_its_pod_back_and_goes_on_in_the_next_one(pod):
    """The operator tells the second attempt how the pause was answered."""
    run = pod("asks_a_person")
    code, said = run.ended()
    assert (code, said["state"]) == (76, "Paused")
    assert said["pause"]["name"] == "deploy"
    assert [event["event"] for event in run.events] == [
        "flow_started",
        "task_started",
        "task_succeeded",
        "pause_keeps_nothing",
        "flow_paused",
    ]
    answers = {"deploy": {"decision": "Approve", "input": {"replicas": 3}}}
    code, said = pod("asks_a_person", HEADRACE_ANSWERS=json.dumps(answers)).ended()
    assert (code, said["result"]) == (0, 3)
    code, said = pod("asks_a_person", HEADRACE_ANSWERS="[]").ended()
    assert code == 78
    assert "HEADRACE_ANSWERS" in said["message"]


def test_an_empty_environment_is_that_of_a_first_attempt():
    """What is absent is empty."""
    assert session({}) == Session(repeats_flows=False, answers={}, tally=ANY, ledger=ANY, showcase=ANY)


@pytest.mark.parametrize(
    ("entrypoint", "number"),
    [
        ("waits", signal.SIGTERM),
        ("waits", signal.SIGINT),
        ("waits_on_loop", signal.SIGTERM),
        ("waits_for_thread", signal.SIGTERM),
    ],
)
def test_a_signal_cancels_the_run(entrypoint, number, pod):
    """`finally` blocks run, also those that take their time, and more signals do not cut them short."""
    run = pod(entrypoint)
    run.until("waiting")
    run.process.send_signal(number)
    run.until("cleaning up")
    run.process.send_signal(signal.SIGTERM)
    code, said = run.ended()
    assert code == 128 + number
    assert (said["state"], said["reason"]) == ("Cancelled", "Cancelled")
    assert f"cancelled by {number.name} (pod_flows.py:" in said["message"]
    assert "cleaned up" in run.out
    assert run.events[-1]["event"] == "flow_cancelled"


def test_a_thread_that_cannot_be_stopped_does_not_keep_the_pod(pod):
    """It blocks in C; the process reports, and leaves."""
    run = pod("blocks_in_thread")
    run.until("waiting")
    run.process.send_signal(signal.SIGTERM)
    code, said = run.ended()
    assert (code, said["state"]) == (143, "Cancelled")


def test_a_signal_during_import_cancels_the_run(pod, tmp_path):
    """The flow has not begun; it is cancelled all the same."""
    (tmp_path / "slow_import.py").write_text(
        "import threading\nprint('waiting', flush=True)\nthreading.Event().wait()\n"
    )
    run = pod("slow_import:main", HEADRACE_CODE_DIR=str(tmp_path))
    run.until("waiting")
    run.process.send_signal(signal.SIGTERM)
    code, said = run.ended()
    assert (code, said["state"]) == (143, "Cancelled")


def test_without_a_file_for_the_message_the_exit_code_is_told(tmp_path, pod):
    """And the log says what is missing."""
    run = pod("plain", HEADRACE_TERMINATION_LOG=str(tmp_path / "no" / "folder"))
    run.out, run.err = run.process.communicate(timeout=60)
    assert run.process.returncode == 0
    assert run.events[-1]["event"] == "termination_log_unwritable"
    assert "No such file or directory; HEADRACE_TERMINATION_LOG names another file" in run.events[-1]["message"]


def test_what_is_printed_comes_at_once(pod):
    """It does not wait in a buffer until the flow ends."""
    run = pod("waits")
    seen = threading.Event()
    threading.Thread(target=lambda: (run.until("waiting"), seen.set())).start()
    assert seen.wait(timeout=60)
    run.process.send_signal(signal.SIGTERM)
    run.until("cleaned up")
