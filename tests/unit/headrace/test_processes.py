"""Tasks in processes of their own: what goes over, what comes back, and that they can be stopped."""

import os
import re
import sys
import threading
from pathlib import Path

import pytest

from headrace import Processes, ProcessFailed, RetryRun, RunCancelled, Threads, TimedOut, UsageError, flow, task
from headrace.engine.session import using
from headrace.states import Failed
from tests.unit.headrace import process_tasks as tasks
from tests.unit.headrace.runs import a_session, log_of_runs


def run(body, *, max_workers=2):
    """What a flow with this body returns, whose tasks run in processes."""
    return flow(name="main", task_runner=Processes(max_workers=max_workers))(body)()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_tasks_run_in_processes_that_serve_many():
    """In order, at most two at a time; called tasks stay in the flow's process, and so do coroutines."""

    def body():
        mapped = tasks.where.map(range(12)).result()
        return mapped, tasks.where(3), tasks.on_loop.submit().result()

    mapped, called, on_loop = run(body)
    assert [value for value, _ in mapped] == list(range(12))
    pids = {pid for _, pid in mapped}
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert called == (3, os.getpid())
    assert on_loop == os.getpid()
    assert not any(is_alive(pid) for pid in pids)


def test_a_method_and_its_object_go_over():
    """Bound, as in the flow."""
    name, rows, pid = run(lambda: tasks.Table("orders").load.submit(3).result())
    assert (name, rows) == ("orders", 3)
    assert pid != os.getpid()


def test_code_in_the_process_knows_its_run_and_its_log_lines_come_back():
    """As if it ran here."""
    with using(a_session(flow_run="etl-7", namespace="team")), log_of_runs() as log:
        told = run(lambda: tasks.speaks.with_options(task_run_name="say", tags=["loud"]).submit().result())
    assert told == ("speaks-0", "speaks", 1, "say", ("loud",), "etl-7", "team")
    lines = [record for record in log.records if record.event == "log"]
    assert [line.getMessage() for line in lines] == ["loaded 3", "printed"]
    assert (lines[0].rows, str(lines[0].path), lines[0].task_run, lines[0].flow_run) == (3, "/x", "speaks-0", "etl-7")
    assert log.events.count("task_succeeded speaks-0") == 1


def test_what_a_task_raises_comes_back():
    """With the traceback of the process; retries and RetryRun work as ever."""
    with pytest.raises(ValueError, match="no") as caught:
        run(lambda: tasks.raises.submit("ValueError").result())
    assert "process_tasks.py" in caught.value.__notes__[0]
    with pytest.raises(RetryRun) as asked:
        run(lambda: tasks.raises.submit("RetryRun").result())
    assert asked.value.delay_seconds == 5


@pytest.mark.parametrize(
    ("submitted", "says"),
    [
        (lambda: tasks.raises.submit("Unsendable"), 'task "raises-0": Unsendable: text'),
        (tasks.returns_a_lock.submit, "what it returned cannot be sent back"),
    ],
)
def test_what_cannot_be_sent_back_is_told(submitted, says):
    """In place of a broken pickle."""
    with pytest.raises(ProcessFailed, match=re.escape(says)):
        run(lambda: submitted().result())


def test_a_process_that_dies_is_a_failed_attempt(tmp_path):
    """Which is tried again, in another process."""
    with using(a_session()), log_of_runs() as log:
        assert run(lambda: tasks.dies_once.submit(str(tmp_path)).result()) == "done"
    (retrying,) = [record for record in log.records if record.event == "task_retrying"]
    assert retrying.error.startswith('task "dies_once-0": its process was ended by SIGKILL; the kernel does that where')


def test_a_timeout_kills_the_process():
    """Whatever blocks it."""

    def body():
        _, pid = tasks.where.submit().result()  # it has started when the timeout begins
        state = tasks.hangs.submit().wait()
        assert not is_alive(pid)
        return state, tasks.where.submit().result()[1] != pid

    state, there_is_another = run(body, max_workers=1)
    assert isinstance(state, Failed)
    assert isinstance(state.exception, TimedOut)
    assert there_is_another


def test_a_flow_that_is_broken_off_kills_its_processes(tmp_path):
    """It does not wait for them."""

    def body():
        tasks.waits.submit(str(tmp_path))
        while not (tmp_path / "pid").exists():
            threading.Event().wait(0.01)
        raise RunCancelled("the test")

    with pytest.raises(RunCancelled, match="the test"):
        run(body)
    assert not is_alive(int(Path(tmp_path / "pid").read_text()))


def test_with_cloudpickle_functions_inside_functions_go_over():
    """With what they see around them."""
    around = 3
    nested = task(name="nested")(lambda value: (value + around, os.getpid()))
    value, pid = run(lambda: nested.submit(4).result())
    assert value == 7
    assert pid != os.getpid()


def test_a_function_that_no_process_finds_is_told(monkeypatch):
    """With what to write instead, where cloudpickle is not installed."""
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    nested = task(name="nested")(lambda: 1)
    with pytest.raises(UsageError, match=r"another process cannot find .*<lambda>; write it as a `def` at the top"):
        run(lambda: nested.submit().result())


def test_arguments_that_cannot_be_sent_are_told():
    """With the task that they are for."""
    with pytest.raises(UsageError, match='task "where-0": its arguments cannot be sent to another process'):
        run(lambda: tasks.where.submit(threading.Lock()).result())


@pytest.mark.parametrize("runner", [Threads, Processes])
@pytest.mark.parametrize("count", [0, True, "two", 1.5])
def test_a_runner_takes_a_count(runner, count):
    """It says what it expects."""
    with pytest.raises(UsageError, match=f"{runner.__name__}: max_workers is .*, expected a whole number"):
        runner(max_workers=count)


def test_threads_may_be_as_many_as_asked_for():
    """Forty that wait for each other can only end if all of them run."""
    meet = threading.Barrier(40)
    arrive = task(name="arrive")(lambda: meet.wait(timeout=60))
    made = flow(name="main", task_runner=Threads(max_workers=40))(lambda: [arrive.submit() for _ in range(40)])
    assert sorted(made()) == list(range(40))
