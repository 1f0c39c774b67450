"""What is done about a Deployment: its runs that are due, and a status that tells of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from headrace.api.conditions import Phase, Reason
from headrace.api.deployment import ActiveRun, DeploymentSpec, LastRun, ScheduleMemory
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.deployment import DeploymentDecision, DeploymentSnapshot, decide_deployment
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.schedule import PlannedRun
from headrace_operator.decide.snapshot import ConditionView, ObjectKey
from tests.builders import NAMESPACE, NOW, a_deployment

HOURLY = {"name": "hourly", "cron": "0 * * * *"}
LATER = NOW + timedelta(minutes=30)
READY = ConditionView("Ready", "True", "Ready", "runs can be started", NOW, 1)


def seen(spec: DeploymentSpec | None = None, /, **changes: Any) -> DeploymentSnapshot:
    """A Deployment that was made half an hour ago and of which nothing is known yet."""
    fields: dict[str, Any] = {
        "key": ObjectKey(NAMESPACE, "daily"),
        "uid": "dep-uid",
        "generation": 1,
        "created": NOW - timedelta(minutes=30),
        "spec": spec or a_deployment().spec,
        "problem": None,
        "flow_problem": None,
        "conditions": (),
        "memory": (),
        "last_known": None,
        "active": (),
        "active_count": 0,
        "queued_count": 0,
        "known_runs": frozenset(),
        "last_finished": None,
    }
    return DeploymentSnapshot(**{**fields, **changes})


def scheduled(*schedules: dict[str, Any], **spec: Any) -> DeploymentSpec:
    return a_deployment(schedules=list(schedules), **spec).spec


def conditions(decision: DeploymentDecision) -> dict[str, tuple[str, str, str]]:
    return {c.type: (c.status, c.reason, c.message) for c in decision.status.conditions}


def again(before: DeploymentSnapshot, decision: DeploymentDecision, **changes: Any) -> DeploymentSnapshot:
    """What is seen when the decision was carried out."""
    kept = tuple(
        ConditionView(c.type, c.status, c.reason, c.message, c.last_transition_time, c.observed_generation)
        for c in decision.status.conditions
    )
    return replace(before, conditions=kept, memory=decision.status.schedules, **changes)


def a_finished(minutes_ago: int, phase: Phase = Phase.FAILED) -> FinishedRun:
    ended = NOW - timedelta(minutes=minutes_ago)
    return FinishedRun(ObjectKey(NAMESPACE, f"r{minutes_ago}"), "u", "daily", phase, "FlowFailed", ended)


def test_a_time_that_is_due_gets_its_run_and_is_remembered() -> None:
    """The run, the memory that follows it, the next time, and when to look again."""
    decision = decide_deployment(seen(scheduled(HOURLY)), NOW)
    assert decision.create == (PlannedRun("hourly", NOW, "daily-hourly-20260304120000"),)
    assert decision.events == ()
    (memory,) = decision.status.schedules
    assert (memory.name, memory.last_scheduled_time) == ("hourly", NOW)
    (next_one,) = decision.status.next_schedules
    assert (next_one.name, next_one.time) == ("hourly", NOW + timedelta(hours=1))
    assert decision.look_again_at == NOW + timedelta(hours=1)


def test_a_second_look_decides_nothing_twice_and_writes_nothing_new() -> None:
    """The status is the same, but for nothing."""
    first_seen = seen(scheduled(HOURLY))
    first = decide_deployment(first_seen, NOW)
    second = decide_deployment(again(first_seen, first), LATER)
    assert second.create == ()
    assert second.status == first.status
    assert second.look_again_at == first.look_again_at


def test_an_operator_that_died_before_the_status_decides_the_same_again() -> None:
    """The run has the same name: creating it is a conflict, and not a second run."""
    before = seen(scheduled(HOURLY))
    assert decide_deployment(before, NOW).create == decide_deployment(before, NOW + timedelta(seconds=9)).create


def test_the_first_schedule_of_an_old_deployment_begins_now() -> None:
    """A Deployment that ran by hand for a year owes no run for that year."""
    old = seen(created=NOW - timedelta(days=365))
    by_hand = decide_deployment(old, NOW - timedelta(days=1))
    spec = scheduled(HOURLY, catchUp={"policy": "All"})
    decision = decide_deployment(again(old, by_hand, spec=spec, generation=2), LATER)
    assert (decision.create, decision.events) == ((), ())
    assert decision.look_again_at == NOW + timedelta(hours=1)


def test_missed_times_are_told_in_an_event() -> None:
    """And in the memory, which the status keeps."""
    spec = scheduled(HOURLY, catchUp={"policy": "None"})
    first_seen = seen(spec)
    first = decide_deployment(first_seen, NOW)
    much_later = NOW + timedelta(hours=5, minutes=30)
    decision = decide_deployment(again(first_seen, first), much_later)
    assert decision.create == ()
    (event,) = decision.events
    assert isinstance(event, RecordEvent)
    assert (event.reason, event.warning) == ("MissedSchedule", True)
    assert decision.status.schedules[0].missed == 5


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param(
            scheduled(),
            ("False", "NoSchedules", "there is no schedule; create a FlowRun to start a run"),
            id="no schedule",
        ),
        pytest.param(scheduled(HOURLY), ("True", "Scheduled", "1 schedule(s) start runs"), id="a schedule"),
        pytest.param(
            scheduled(HOURLY, suspend=True),
            (
                "False",
                "Suspended",
                "spec.suspend is true; set it to false and catchUp decides about the missed times",
            ),
            id="suspended",
        ),
    ],
)
def test_whether_schedules_start_runs_is_told(spec: DeploymentSpec, told: tuple[str, str, str]) -> None:
    """In the condition Scheduling; it is Ready all the same."""
    found = conditions(decide_deployment(seen(spec), NOW))
    assert found == {"Ready": ("True", "Ready", "runs can be started"), "Scheduling": told}


def test_a_broken_schedule_is_named_and_the_others_go_on() -> None:
    """Its name, the field, what is wrong."""
    decision = decide_deployment(seen(scheduled(HOURLY, {"name": "never", "cron": "0 0 30 2 *"})), NOW)
    status, reason, message = conditions(decision)["Scheduling"]
    assert (status, reason) == ("False", "InvalidSchedule")
    assert 'schedule "never": cron "0 0 30 2 *"' in message
    assert [run.schedule for run in decision.create] == ["hourly"]


def test_a_flow_that_cannot_be_run_is_told_and_times_are_kept_all_the_same() -> None:
    """The runs say that they wait; no time is lost over a Flow that comes late."""
    problem = (Reason.FLOW_NOT_FOUND, "there is no Flow")
    decision = decide_deployment(seen(scheduled(HOURLY), flow_problem=problem), NOW)
    assert conditions(decision)["Ready"] == ("False", "FlowNotFound", "there is no Flow")
    assert len(decision.create) == 1


def test_a_spec_that_cannot_be_read_starts_nothing_and_forgets_nothing() -> None:
    """Mended, it goes on from where it was."""
    memory = (ScheduleMemory(name="hourly", fingerprint="f", last_scheduled_time=NOW),)
    broken = replace(seen(memory=memory, active_count=2), spec=None, problem="spec.priority: no")
    decision = decide_deployment(broken, LATER)
    assert (decision.create, decision.events, decision.look_again_at) == ((), (), None)
    assert decision.status.schedules == memory
    assert decision.status.active_count == 2
    assert conditions(decision)["Ready"] == ("False", "InvalidSpec", "spec.priority: no")


def test_the_counts_and_the_active_runs_are_told() -> None:
    """As they are now."""
    active = (ActiveRun(name="r1", uid="u1"),)
    status = decide_deployment(seen(active=active, active_count=1, queued_count=3, generation=4), NOW).status
    assert (status.active, status.active_count, status.queued_count, status.observed_generation) == (active, 1, 3, 4)


@pytest.mark.parametrize(
    ("known_minutes_ago", "finished", "expected"),
    [
        pytest.param(None, None, None, id="none has ended"),
        pytest.param(None, a_finished(5), "r5", id="the first end"),
        pytest.param(9, a_finished(5), "r5", id="a later end"),
        pytest.param(3, a_finished(5), "known", id="the status knows of a later one: this process began after it"),
        pytest.param(3, None, "known", id="this process knows of none"),
    ],
)
def test_the_last_run_is_the_later_of_what_is_known(
    known_minutes_ago: int | None, finished: FinishedRun | None, expected: str | None
) -> None:
    """From the status, and from what has ended since."""
    known = None
    if known_minutes_ago is not None:
        known = LastRun(name="known", phase=Phase.SUCCEEDED, time=NOW - timedelta(minutes=known_minutes_ago))
    last = decide_deployment(seen(last_known=known, last_finished=finished), NOW).status.last_run
    assert (last and last.name) == expected
    if expected == "r5":
        assert last == LastRun(name="r5", phase=Phase.FAILED, reason="FlowFailed", time=NOW - timedelta(minutes=5))


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    """Only the generation that it speaks of moves."""
    old = replace(READY, last_transition_time=NOW - timedelta(days=1))
    status = decide_deployment(seen(conditions=(old,), generation=2), NOW).status
    (ready,) = (c for c in status.conditions if c.type == "Ready")
    assert (ready.last_transition_time, ready.observed_generation) == (NOW - timedelta(days=1), 2)


def test_runs_that_exist_are_not_planned_again() -> None:
    """An operator died after creating them, and their time is late by now."""
    late: datetime = NOW + timedelta(minutes=20)
    spec = scheduled(HOURLY, catchUp={"policy": "None"})
    decision = decide_deployment(seen(spec, known_runs={"daily-hourly-20260304120000"}), late)
    assert (decision.create, decision.events) == ((), ())


class TestCircuit:
    """What the status remembers of runs that ended, and tells."""

    @staticmethod
    def an_end(second: int, phase: Phase = Phase.FAILED) -> FinishedRun:
        return FinishedRun(
            ObjectKey(NAMESPACE, f"r{second}"),
            f"uid-{second}",
            "daily",
            phase,
            "FlowFailed",
            NOW + timedelta(seconds=second),
            version=second,
        )

    def failing(self, count: int, **changes: Any) -> DeploymentSnapshot:
        spec = a_deployment(circuitBreaker={"failures": 3, "cooldownSeconds": 60}).spec
        return seen(spec, **{"ended": tuple(map(self.an_end, range(1, count + 1))), **changes})

    def test_an_open_circuit_is_told_in_status_condition_and_event(self) -> None:
        """And it is looked at again when the cooldown is over."""
        decision = decide_deployment(self.failing(3), NOW)
        circuit = decision.status.circuit
        assert circuit is not None
        assert (circuit.state, circuit.retry_at) == ("Open", NOW + timedelta(seconds=63))
        assert decision.status.consecutive_failures == 3
        assert conditions(decision)["CircuitOpen"][:2] == ("True", "CircuitOpen")
        assert [(event.reason, event.warning) for event in decision.events] == [("CircuitOpen", True)]
        assert decision.look_again_at == NOW + timedelta(seconds=63)

    def test_the_sooner_of_schedule_and_cooldown_is_looked_at(self) -> None:
        """Neither waits for the other."""
        spec = scheduled(HOURLY, circuitBreaker={"failures": 1, "cooldownSeconds": 7200})
        late = NOW + timedelta(minutes=1)
        decision = decide_deployment(seen(spec, ended=(self.an_end(1),), created=late), late)
        assert decision.look_again_at == NOW + timedelta(hours=1)

    def test_nothing_is_counted_before_all_ends_are_known(self) -> None:
        """What was remembered stays as it is, condition included."""
        known = decide_deployment(self.failing(2), NOW)
        before = self.failing(2, ended=None, circuit=known.status.circuit, consecutive_failures=2)
        decision = decide_deployment(before, NOW)
        assert decision.status.circuit == known.status.circuit
        assert decision.status.consecutive_failures == 2
        assert "CircuitOpen" not in conditions(decision)

    def test_without_a_breaker_the_count_is_told_and_no_condition(self) -> None:
        """One that was there goes."""
        old = ConditionView("CircuitOpen", "True", "CircuitOpen", "open", NOW, 1)
        decision = decide_deployment(seen(ended=(self.an_end(1),), conditions=(old,)), NOW)
        assert decision.status.consecutive_failures == 1
        assert decision.status.circuit is not None
        assert decision.status.circuit.state is None
        assert "CircuitOpen" not in conditions(decision)

    def test_a_deployment_of_which_nothing_ended_remembers_nothing(self) -> None:
        """Its status stays small."""
        assert decide_deployment(seen(ended=()), NOW).status.circuit is None

    def test_a_spec_that_cannot_be_read_keeps_the_memory(self) -> None:
        """It is mended soon, and every end counts once all the same."""
        memory = decide_deployment(self.failing(2), NOW).status.circuit
        broken = self.failing(2, spec=None, problem="no", circuit=memory, consecutive_failures=2)
        status = decide_deployment(broken, NOW).status
        assert (status.circuit, status.consecutive_failures) == (memory, 2)

    def test_runs_of_an_earlier_deployment_of_the_name_do_not_count(self) -> None:
        """It was deleted; those that were made by hand stayed."""
        ended = (self.an_end(-3600), self.an_end(1))
        assert decide_deployment(self.failing(0, ended=ended), NOW).status.consecutive_failures == 1
