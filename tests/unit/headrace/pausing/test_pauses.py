"""pause() and sleep_until() in a pod: the attempt ends, and the next one is told how it was answered."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from headrace import (
    PauseRejected,
    PauseTimedOut,
    RunPaused,
    UsageError,
    flow,
    pause,
    sleep_for,
    sleep_until,
    states,
    task,
)
from headrace.cancellation import Cancellation
from headrace.engine.execution import final_state
from headrace.engine.session import using
from headrace.launch import Launch, Work, launch
from headrace.pausing.requests import MAX_MESSAGE_BYTES, schema_of
from headrace.termination import LIMIT, Usage, termination_message
from tests.unit.headrace.runs import FakeClock, a_session, log_of_runs


class Approval(BaseModel):
    """How to deploy."""

    replicas: int = Field(ge=1, description="How many.")
    title: str = "plain"

    @field_validator("replicas")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


def yes(name: str, **given: Any) -> dict[str, Any]:
    return {name: {"decision": "Approve", "input": given}}


def in_pod(of: Any, answers: Any = None, **session: Any) -> Any:
    """What the flow returns in an attempt that was told these answers."""
    with using(a_session(answers=answers or {}, repeats_flows=False, **session)):
        result = of()
        return asyncio.run(result) if asyncio.iscoroutine(result) or hasattr(result, "__await__") else result


def asked(of: Any, answers: Any = None, **session: Any) -> dict[str, Any]:
    """What the attempt pauses for."""
    with pytest.raises(RunPaused) as caught:
        in_pod(of, answers, **session)
    return caught.value.pause.told()


class TestAnswers:
    def test_an_attempt_pauses_and_the_next_one_gets_the_input_as_the_model(self) -> None:
        @flow
        def deploy() -> int:
            return pause("deploy?", wait_for_input=Approval, timeout_seconds=60, name="deploy").replicas

        told = asked(deploy)
        assert told == {
            "kind": "Approval",
            "name": "deploy",
            "message": "deploy?",
            "schema": schema_of(Approval),
            "timeoutSeconds": 60.0,
        }
        assert in_pod(deploy, yes("deploy", replicas=4)) == 4

    def test_pauses_are_numbered_flows_inside_the_flow_included(self) -> None:
        @flow
        def inner() -> None:
            pause("second?")

        @flow
        def outer() -> str:
            pause("first?")
            inner(return_state=True)
            pause("third?")
            return "done"

        answers: dict[str, Any] = {}
        for number, message in enumerate(("first?", "second?", "third?")):
            told = asked(outer, answers)
            assert (told["name"], told["message"]) == (f"pause-{number}", message)
            answers |= yes(told["name"])
        assert in_pod(outer, answers) == "done"

    @pytest.mark.parametrize(("decision", "error"), [("Reject", PauseRejected), ("TimedOut", PauseTimedOut)])
    def test_a_no_is_an_exception_that_a_flow_may_catch(self, decision: str, error: type[Exception]) -> None:
        @flow
        def deploy() -> str:
            try:
                pause(name="deploy")
            except error as caught:
                return str(caught)
            return "deployed"

        answer = {"deploy": {"decision": decision, "comment": "not now"}}
        assert in_pod(deploy, answer).startswith('pause "deploy" was ')

    def test_an_input_that_only_the_model_can_refuse_is_asked_for_again(self) -> None:
        """The run still waits, and says what is wrong."""

        @flow
        def deploy() -> int:
            return pause(wait_for_input=Approval, name="deploy").replicas

        assert asked(deploy, yes("deploy", replicas=3))["problem"] == "replicas: Value error, must be even"

    def test_what_the_author_catches_by_mistake_pauses_all_the_same(self) -> None:
        """Nobody has approved."""

        @flow
        def deploy() -> str:
            with suppress(BaseException):
                pause(name="deploy")
            return "deployed"

        assert asked(deploy)["name"] == "deploy"

    def test_finally_blocks_run_and_tasks_that_run_come_to_their_end(self) -> None:
        done = []
        begun, goes_on = Event(), Event()

        @task
        def work() -> None:
            begun.set()
            goes_on.wait()
            done.append("task")

        @flow
        def deploy() -> None:
            work.submit()
            begun.wait()
            try:
                pause(name="deploy")
            finally:
                done.append("finally")
                goes_on.set()

        asked(deploy)
        assert sorted(done) == ["finally", "task"]

    def test_async_flows_pause_too(self) -> None:
        @flow
        async def deploy() -> int:
            await sleep_until.aio(datetime(2020, 1, 1, tzinfo=UTC))
            return (await pause.aio("deploy?", wait_for_input=Approval)).replicas

        assert asked(deploy)["name"] == "pause-0"
        assert in_pod(deploy, yes("pause-0", replicas=2)) == 2

    def test_what_is_lost_without_a_results_url_is_told(self) -> None:
        @task
        def work() -> None: ...

        @flow
        def deploy() -> None:
            work()
            pause(name="deploy")

        with log_of_runs() as log:
            asked(deploy)
        assert "pause_keeps_nothing" in log.events
        assert "flow_paused" in log.events
        assert not [each for each in log.records if each.levelname == "ERROR"]


@pytest.mark.parametrize("name", ["", "first"])
def test_a_flow_inside_that_is_tried_again_finds_its_own_answers(name: str) -> None:
    """And leaves the names of others: else a later question would get an answer that was given to this one."""
    failures = [OSError("once")]

    @flow(retries=1)
    def inner() -> None:
        pause("deploy?", name=name)
        if failures:
            raise failures.pop()

    @flow
    def main() -> None:
        inner()
        pause("drop the database?")

    given = yes(name or "pause-0")
    told = asked(main, given)
    assert (told["message"], told["name"]) == ("drop the database?", "pause-0" if name else "pause-1")
    assert not failures
    assert asked(main, given) == told


def test_with_a_results_url_tasks_before_the_pause_do_not_run_again(tmp_path: Path) -> None:
    """The next attempt takes their results; nothing is lost, and nothing is warned of."""
    runs = []

    @task
    def build() -> str:
        runs.append("build")
        return "image"

    @flow
    def deploy() -> str:
        image = build.submit().result()
        pause(name="deploy")
        return image

    session = {
        "namespace": "team-a",
        "flow_run": "etl-7",
        "flow_run_uid": "u",
        "flow": "etl",
        "results_url": tmp_path.as_uri(),
    }
    with log_of_runs() as log:
        asked(deploy, **session, attempt=1)
        assert in_pod(deploy, yes("deploy"), **session, attempt=2) == "image"
    assert runs == ["build"]
    assert "pause_keeps_nothing" not in log.events


class TestSleeping:
    def test_a_long_sleep_gives_the_pod_back_and_is_over_in_the_next_attempt(self) -> None:
        when = datetime.fromtimestamp(FakeClock().wall_s() + 3600, UTC)

        @flow
        def report() -> str:
            sleep_until(when)
            return "done"

        assert asked(report) == {"kind": "Sleep", "name": "sleep-0", "until": "2027-01-15T09:00:00.000Z"}
        assert in_pod(report, {"sleep-0": {"decision": "Elapsed"}}) == "done"

    @pytest.mark.parametrize(("seconds", "slept"), [(60, 60), (0, None)])
    def test_a_short_sleep_stays_in_the_pod(self, seconds: float, slept: float | None) -> None:
        @flow
        def report() -> str:
            sleep_for(seconds, name="nap")
            return "done"

        clock = FakeClock()
        assert in_pod(report, clock=clock) == "done"
        assert clock.slept == [pytest.approx(slept, abs=5)] if slept else not clock.slept

    def test_a_laptop_sleeps(self) -> None:
        @flow
        async def report() -> None:
            await sleep_for.aio(86400)

        clock = FakeClock()
        with using(a_session(clock=clock)):
            asyncio.run(report())
        assert clock.slept == [pytest.approx(86400, abs=5)]


class TestMisuse:
    def test_a_task_cannot_pause(self) -> None:
        @task
        def work() -> None:
            pause("go on?")

        @flow
        def deploy() -> None:
            work()

        with pytest.raises(UsageError, match=r'pause\(\) in task "work": a task cannot pause'):
            in_pod(deploy)

    def test_a_flow_that_a_task_calls_cannot_pause(self) -> None:
        @flow
        def inner() -> None:
            pause("go on?")

        @task
        def work() -> None:
            inner()

        @flow
        def deploy() -> None:
            work()

        with pytest.raises(UsageError, match="call that flow from the flow"):
            in_pod(deploy)

    def test_outside_a_flow_nothing_pauses(self) -> None:
        with pytest.raises(UsageError, match=r"sleep_for\(\) belongs into a flow"):
            sleep_for(1)

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            pytest.param(lambda: pause(name="a b"), "cannot have the name 'a b'", id="a name that is none"),
            pytest.param(lambda: pause(name="x" * 64), "at most 63", id="a long name"),
            pytest.param(
                lambda: [sleep_for(0, name="x"), pause(name="x")], "another pause of this run", id="a name twice"
            ),
            pytest.param(lambda: pause(3), "expected the question as text", id="a message that is none"),
            pytest.param(lambda: pause("x" * MAX_MESSAGE_BYTES), "write the details to the log", id="a long message"),
            pytest.param(lambda: pause(timeout_seconds=0), "timeout_seconds=0", id="no time to answer"),
            pytest.param(
                lambda: pause(wait_for_input=int), "expected a pydantic model", id="an input that is no model"
            ),
            pytest.param(lambda: sleep_until(datetime(2026, 1, 1)), "with a time zone", id="a time of nowhere"),  # noqa: DTZ001
            pytest.param(lambda: sleep_for(-1), "expected a number of seconds", id="a negative sleep"),
        ],
    )
    def test_is_told_what_to_write(self, call: Any, says: str) -> None:
        @flow
        def deploy() -> None:
            call()

        with pytest.raises(UsageError, match=says):
            in_pod(deploy)

    def test_a_model_that_is_too_large_is_refused(self) -> None:
        large = type("Large", (BaseModel,), {"__annotations__": {f"field_{n}": Literal["x" * 50] for n in range(60)}})
        with pytest.raises(UsageError, match="ask for fewer fields"):
            schema_of(large)

    def test_the_form_for_def_in_an_async_flow_is_refused(self) -> None:
        @flow
        async def deploy() -> None:
            pause("go on?")

        with pytest.raises(UsageError, match=r"write `await pause.aio\(…\)`"):
            in_pod(deploy)


class TestTheEndOfTheAttempt:
    def ending(self, of: Any, answers: Any = None) -> Any:
        session = a_session(answers=answers or {}, repeats_flows=False)

        class Loaded(Launch):
            def loaded(self) -> Any:
                return Work(of.described.is_async, partial(final_state, of.described, ((), {})), session)

        return launch(Loaded("x", dict, session), Cancellation())

    def test_the_termination_message_tells_the_pause_and_fits_however_large_its_parts_are(self) -> None:
        fields = {f"field_{n}": str for n in range(44)}
        model = type("Wide", (BaseModel,), {"__annotations__": fields})
        question = "ü" * (MAX_MESSAGE_BYTES // 2 - 1)

        @flow
        def deploy() -> None:
            pause(question, wait_for_input=model, name="n" * 63, timeout_seconds=1e8)

        ending = self.ending(deploy)
        assert (ending.phase, ending.exit_code) == ("Paused", 76)
        message = termination_message(ending, Usage(123456.789, 10**15))
        assert len(message) <= LIMIT
        assert json.loads(message)["pause"]["message"] == question
        assert json.loads(message)["pause"]["schema"] == schema_of(model)

    @pytest.mark.parametrize(
        ("decision", "told"),
        [("Reject", ("Cancelled", "Rejected", 1)), ("TimedOut", ("Failed", "ApprovalTimedOut", 1))],
    )
    def test_a_no_that_the_flow_lets_through_ends_the_run(self, decision: str, told: tuple[str, str, int]) -> None:
        @flow(retries=3)
        def deploy() -> None:
            pause(name="deploy")

        ending = self.ending(deploy, {"deploy": {"decision": decision, "comment": "not now"}})
        assert (ending.phase, ending.reason, ending.exit_code) == told
        assert 'pause "deploy"' in ending.message

    def test_a_rejected_run_is_cancelled_in_the_eyes_of_its_hooks(self) -> None:
        seen = []

        def hook(_flow: Any, _run: Any, state: states.State[Any]) -> None:
            seen.append(state.name)

        @flow(on_cancellation=hook, on_failure=hook)
        def deploy() -> None:
            pause(name="deploy")

        self.ending(deploy, {"deploy": {"decision": "Reject"}})
        self.ending(deploy)
        assert seen == ["Cancelled"]


def test_schemas_keep_fields_that_are_called_title() -> None:
    """Only pydantic's own titles, which repeat the names, are left out."""
    assert schema_of(Approval) == {
        "type": "object",
        "description": "How to deploy.",
        "properties": {
            "replicas": {"type": "integer", "minimum": 1, "description": "How many."},
            "title": {"type": "string", "default": "plain"},
        },
        "required": ["replicas"],
    }


def test_a_sleep_is_counted_from_now() -> None:
    """Not from the start of the process."""
    clock = FakeClock()

    @flow
    def report() -> None:
        sleep_for(7200)

    until = datetime.fromisoformat(asked(report, clock=clock)["until"])
    assert until == pytest.approx(datetime.fromtimestamp(clock.wall_s() + 7200, UTC), abs=timedelta(seconds=5))
