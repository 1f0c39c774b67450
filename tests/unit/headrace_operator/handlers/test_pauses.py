"""Runs that pause, from end to end against a cluster in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from headrace.kubeapi.errors import Unreachable
from headrace_operator.kube.resources import CONCURRENCY_LIMITS, DEPLOYMENTS, EVENTS, FLOW_RUNS, PODS, WORK_POOLS
from headrace_operator.telemetry.metrics import Metrics
from tests.builders import NAMESPACE, ended, report, running
from tests.unit.headrace_operator.handlers.test_stories import Operator, flow

SCHEMA = {"type": "object", "properties": {"replicas": {"type": "integer"}}, "required": ["replicas"]}


def pauses(**pause: Any) -> dict[str, Any]:
    """The status of a pod whose flow has paused."""
    asked = {"kind": "Approval", "name": "deploy", "message": "to production?", **pause}
    return ended(76, message=report("Paused", message="waits", pause=asked))


def yes(**given: Any) -> list[dict[str, Any]]:
    return [{"name": "deploy", "decision": "Approve", **({"input": given} if given else {})}]


class Metered(Operator):
    """Its metrics can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = CollectorRegistry()
        self.context = replace(self.context, metrics=Metrics(self.registry))


@pytest.fixture
async def operator() -> Any:
    made = Metered()
    yield made
    made.queue.close()


def variables(operator: Operator, pod: str) -> dict[str, str]:
    found = operator.cluster.find(PODS, NAMESPACE, pod)
    assert found is not None
    return {each["name"]: each.get("value") for each in found["spec"]["containers"][0]["env"]}


def events(operator: Operator) -> list[str]:
    return [event["reason"] for event in operator.cluster.all(EVENTS)]


async def test_while_a_run_waits_others_have_its_slot_its_room_and_its_turn(operator: Metered) -> None:
    """And it asks for all of it again when it goes on."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=1)
    operator.everywhere(WORK_POOLS, "cpu", capacity={"runs": 1})
    await flow(operator, limits=[{"name": "db"}])
    operator.apply(DEPLOYMENTS, "daily", {"flowRef": {"name": "etl"}, "concurrency": {"limit": 1}})
    for name in ("a", "b"):
        operator.apply(FLOW_RUNS, name, {"deploymentRef": {"name": "daily"}})
        await operator.goes_on()
    assert operator.pods() == ["a-1"]
    await operator.pod_is("a-1", running())
    await operator.pod_is("a-1", pauses(schema=SCHEMA))
    await operator.goes_on(60)
    assert operator.reason("a") == "AwaitingApproval"
    assert operator.pods() == ["a-1", "b-1"]
    assert operator.holders() == {"db.slot-0": "run/team-a/b"}
    assert operator.status(DEPLOYMENTS, "daily")["activeCount"] == 1
    await operator.change("a", answers=yes(replicas=3))
    await operator.goes_on()
    assert operator.status(name="a")["phase"] == "Retrying"
    assert operator.pods() == ["a-1", "b-1"]
    await operator.pod_is("b-1", ended(0))
    await operator.goes_on()
    assert operator.pods() == ["a-1", "a-2", "b-1"]
    told = json.loads(variables(operator, "a-2")["HEADRACE_ANSWERS"])
    assert told == {"deploy": {"decision": "Approve", "input": {"replicas": 3}}}
    assert "HEADRACE_ANSWERS" not in variables(operator, "b-1")
    await operator.pod_is("a-2", ended(0, message=report()))
    await operator.goes_on()
    status = operator.status(name="a")
    assert (status["phase"], [each["reason"] for each in status["attempts"]]) == ("Succeeded", ["Paused", "Succeeded"])
    assert events(operator) == ["RunPaused", "RunResumed"]
    registry = operator.registry
    told = {"namespace": NAMESPACE, "flow": "etl"}
    assert registry.get_sample_value("headrace_runs_paused_total", {**told, "reason": "AwaitingApproval"}) == 1


async def test_a_wrong_answer_is_told_once_and_can_be_mended(operator: Metered) -> None:
    await flow(operator)
    operator.runs("a")
    await operator.goes_on()
    await operator.pod_is("a-1", pauses(schema=SCHEMA))
    await operator.change("a", answers=yes(replicas="many"))
    for _ in range(3):
        await operator.goes_on()
    assert operator.reason("a") == "InvalidAnswer"
    assert "input.replicas: 'many' is not of type 'integer'" in operator.status(name="a")["message"]
    assert events(operator) == ["RunPaused", "InvalidAnswer"]
    await operator.change("a", answers=yes(replicas=3))
    await operator.goes_on()
    assert operator.pods() == ["a-1", "a-2"]


async def test_an_answer_that_is_given_beforehand_is_taken_when_it_is_asked_for(operator: Metered) -> None:
    await flow(operator)
    operator.runs("a", answers=yes())
    await operator.goes_on()
    await operator.pod_is("a-1", pauses())
    await operator.goes_on()
    assert operator.pods() == ["a-1", "a-2"]


@pytest.mark.parametrize(
    ("pause", "decision"),
    [
        pytest.param({"timeoutSeconds": 300}, "TimedOut", id="an approval that nobody gives"),
        pytest.param({"kind": "Sleep", "until": "2026-03-04T12:06:00Z"}, "Elapsed", id="a sleep"),
    ],
)
async def test_time_alone_ends_a_wait(operator: Operator, pause: dict[str, Any], decision: str) -> None:
    await flow(operator)
    operator.runs("a")
    await operator.goes_on()
    await operator.pod_is("a-1", pauses(**pause))
    await operator.goes_on(355)
    assert operator.status(name="a")["phase"] == "Paused"
    await operator.goes_on(1)
    assert operator.status(name="a")["answers"][0]["decision"] == decision
    failed = [
        sample
        for family in operator.registry.collect()
        for sample in family.samples
        if "attempts_failed" in sample.name
    ]
    assert failed == []
    assert operator.pods() == ["a-1", "a-2"]


async def test_what_is_paused_is_not_taken_for_a_second_run_of_its_key(operator: Metered) -> None:
    """It has begun: a run that comes later with the same key is the duplicate."""
    await flow(operator)
    operator.runs("a", idempotencyKey="alert-7")
    await operator.goes_on()
    await operator.pod_is("a-1", pauses())
    operator.runs("b", idempotencyKey="alert-7")
    await operator.goes_on()
    await operator.change("a", answers=yes())
    await operator.goes_on()
    assert operator.status(name="b")["reason"] == "Duplicate"
    assert operator.pods() == ["a-1", "a-2"]


async def test_an_answer_whose_write_is_lost_is_taken_by_the_next_look(operator: Metered) -> None:
    """The pause is over when the status says so, and no pod is started before."""
    await flow(operator)
    operator.runs("a")
    await operator.goes_on()
    await operator.pod_is("a-1", pauses())
    await operator.change("a", answers=yes())
    operator.cluster.fail_next("patch", FLOW_RUNS, Unreachable(0, "Unreachable", "no answer"))
    await operator.rests()
    assert operator.pods() == ["a-1"]
    await operator.goes_on(5)
    assert operator.pods() == ["a-1", "a-2"]
    assert [each["decision"] for each in operator.status(name="a")["answers"]] == ["Approve"]
