"""Hooks, titles and tags: what an author adds to a run."""

import asyncio
import threading
from contextlib import suppress

import pytest

from headrace import RetryRun, RunCancelled, UsageError, flow, runtime, tags, task
from headrace.engine.session import using
from headrace.states import Cancelled, Crashed, Failed, Retrying, Running, Succeeded
from tests.unit.headrace.runs import a_session, log_of_runs

TURNS = ("on_running", "on_retry", "on_success", "on_failure", "on_cancellation", "on_crash")


class Heard:
    """Hooks that note who called them."""

    def __init__(self):
        self.calls = []

    def hooks(self):
        return {turn: self.hook(turn) for turn in TURNS}

    def hook(self, turn):
        return lambda what, run, state: self.calls.append((turn, what.name, run.name, state.name))


def ends(*errors):
    """Raises one after the other, then returns."""
    left = list(errors)

    def work():
        if left:
            raise left.pop(0)
        return "done"

    return work


def both(kind, work, **options):
    """The same task with `def` and with `async def`."""

    async def on_loop():
        return work()

    made = task(name="step", **options)(work if kind == "def" else on_loop)
    return made if kind == "def" else lambda: asyncio.run(made())


ENDS = {
    "it succeeds": ((), ["on_running", "on_success"], ["Running", "Succeeded"]),
    "it fails once": (
        (ValueError(),),
        ["on_running", "on_retry", "on_running", "on_success"],
        ["Running", "Retrying", "Running", "Succeeded"],
    ),
    "it fails for good": (
        (ValueError(), ValueError()),
        ["on_running", "on_retry", "on_running", "on_failure"],
        ["Running", "Retrying", "Running", "Failed"],
    ),
    "it is cancelled": ((RunCancelled("it"),), ["on_running", "on_cancellation"], ["Running", "Cancelled"]),
    "it crashes": ((BaseException("out"),), ["on_running", "on_crash"], ["Running", "Crashed"]),
}


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(("errors", "turns", "states"), ENDS.values(), ids=ENDS)
def test_hooks_are_called_at_each_turn(kind, errors, turns, states):
    """With the task, its run and the state."""
    heard = Heard()
    with using(a_session()):
        try:
            both(kind, ends(*errors), retries=1, **heard.hooks())()
        except BaseException as error:  # noqa: BLE001 - the point
            assert error is errors[-1]
    assert heard.calls == [(turn, "step", "step-0", state) for turn, state in zip(turns, states, strict=True)]


def test_every_state_after_an_attempt_has_a_hook():
    """And gets that state."""
    seen = {}

    def note(_task, _run, state):
        seen[type(state)] = state

    for error in (None, ValueError("no"), RunCancelled(), BaseException()):
        work = task(name="step", retries=1, **dict.fromkeys(TURNS, note))(ends(*[error] * 2 if error else ()))
        with using(a_session()), suppress(BaseException):
            work()
    assert set(seen) == {Running, Retrying, Succeeded, Failed, Cancelled, Crashed}
    assert seen[Succeeded].data == "done"
    assert seen[Failed].message == "ValueError: no"


def test_a_flow_has_hooks_too():
    """Several, in their order; they may ask about the run."""
    heard = []

    def first(what, run, state):
        heard.append((what, run.parameters, runtime.flow_run.name))

    def second(what, run, state):
        heard.append(state.data)

    @flow(on_success=[first, second])
    def main(day, limit=5):
        return day

    with using(a_session(flow_run="etl-7")):
        main(3)
    assert heard == [(main, {"day": 3, "limit": 5}, "etl-7"), 3]


def test_an_async_flow_awaits_its_async_hooks():
    """On its own loop."""
    heard = []

    async def on_loop(_flow, _run, state):
        await asyncio.sleep(0)
        heard.append(state.name)

    @flow(on_running=on_loop, on_failure=on_loop)
    async def main():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())
    assert heard == ["Running", "Failed"]


def test_a_hook_that_raises_is_logged_and_changes_nothing():
    """The next one is called all the same."""
    heard = Heard()

    def broken(*_):
        raise LookupError("no such channel")

    step = task(name="step", on_success=[broken, heard.hook("on_success")])(ends())
    with log_of_runs() as log:
        assert step() == "done"
    assert log.events == ["task_started step-0", "task_succeeded step-0", "hook_failed step-0"]
    assert log.records[-1].getMessage() == "hook broken raised LookupError: no such channel"
    assert len(heard.calls) == 1


def test_a_flow_that_asks_for_another_attempt_has_not_failed():
    """In a pod, where the operator makes it."""
    heard = Heard()
    main = flow(name="main", retries=1, **heard.hooks())(ends(RetryRun("busy")))
    with using(a_session(repeats_flows=False, flow_run="etl-7")), pytest.raises(RetryRun):
        main()
    assert [turn for turn, *_ in heard.calls] == ["on_running", "on_retry"]


def test_hooks_of_submitted_tasks_run_beside_the_flow():
    """In the thread of their task."""
    threads = []
    step = task(name="step", on_success=lambda *_: threads.append(threading.get_ident()))(ends())

    @flow
    def main():
        step.submit().wait()

    main()
    assert threads != [threading.get_ident()]
    assert len(threads) == 1


@pytest.mark.parametrize(
    ("condition", "tried"),
    [
        (ConnectionError, True),
        ((OSError, ValueError), True),
        ([KeyError], False),
        (lambda error: "refused" in str(error), True),
        (lambda error: False, False),
    ],
)
def test_retry_if_says_what_is_tried_again(condition, tried):
    """By class, or by looking at the exception."""
    step = task(name="step", retries=1, retry_if=condition)(ends(ConnectionError("refused")))
    with using(a_session()):
        state = step(return_state=True)
    assert state.name == ("Succeeded" if tried else "Failed")
    assert tried or state.message == "ConnectionError: refused; not tried again, as retry_if says no"


def test_a_retry_if_that_raises_ends_the_retries():
    """With the error that began it, and a word about the function."""
    step = task(name="step", retries=1, retry_if=lambda error: error.code > 3)(ends(ValueError("no")))
    state = step(return_state=True)
    assert state.message == (
        "ValueError: no; not tried again, as retry_if raised AttributeError: 'ValueError' object has no attribute 'code'"
    )


def test_a_title_is_made_from_the_parameters():
    """Defaults, formats and attributes included; the name stays unique."""
    load = task(name="load", task_run_name="load {day:>3} {rows.real}")(lambda day, rows=7: runtime.task_run.title)
    count = task(name="count", task_run_name=lambda given: f"{len(given)} given")(
        lambda *args: (runtime.task_run.name, runtime.task_run.title)
    )

    @flow(flow_run_name="etl {day}")
    def main(day):
        return load(day), count(1), runtime.flow_run.title

    with log_of_runs() as log:
        assert main(4) == ("load   4 7", ("count-0", "1 given"), "etl 4")
    assert [getattr(record, "run_title", None) for record in log.records] == [
        "etl 4", "load   4 7", "load   4 7", "1 given", "1 given", "etl 4",
    ]  # fmt: skip
    assert runtime.task_run.title == runtime.flow_run.title == ""


def test_a_title_that_cannot_be_made_is_logged_and_left_out():
    """The run goes on."""
    step = task(name="step", task_run_name="{day:%d}")(lambda day: runtime.task_run.title)
    with log_of_runs() as log:
        assert step("monday") == "step-0"
    assert log.records[0].event == "title_failed"
    assert "ValueError: Invalid format specifier" in log.records[0].getMessage()


def test_runs_are_marked_with_their_tags():
    """Those of the flow, of the blocks around, and their own, each once."""
    step = task(name="step", tags=["own", "flow"])(lambda: runtime.task_run.tags)

    @flow(tags=["flow"])
    def main():
        with tags("block"), tags("inner"):
            inside = step.submit().result()
        return inside, step(), runtime.flow_run.tags

    with log_of_runs() as log:
        assert main() == (("flow", "block", "inner", "own"), ("flow", "own"), ("flow",))
    assert log.records[0].tags == ["flow"]
    assert log.records[1].tags == ["flow", "block", "inner", "own"]
    assert (runtime.task_run.tags, runtime.flow_run.tags) == ((), ())
    with pytest.raises(UsageError, match=r"tags\(\): tags has 3"), tags(3):
        pass
