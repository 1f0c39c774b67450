"""Backfills from end to end against a cluster in memory: what the API answers is met, and told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace.api.backfill import BackfillStatus
from headrace.kubeapi.errors import ApiError, Conflict, Forbidden, Invalid, Unreachable
from headrace_operator.decide.backfill import rules
from headrace_operator.decide.backfill.progress import BackfillDecision, PlannedRun
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.errors import LeadershipLostError
from headrace_operator.handlers import backfill, retention
from headrace_operator.kube.fenced import FencedCluster, Unanswered
from headrace_operator.kube.resources import BACKFILLS, DEPLOYMENTS, EVENTS, FLOW_RUNS
from tests.builders import NAMESPACE, NOW, stamp
from tests.fake_cluster import names
from tests.unit.headrace_operator.handlers.test_worker import Operator


def apply(operator: Operator, count: int = 2, **spec: Any) -> None:
    """A Backfill of so many partitions, and its Deployment, heard of."""
    operator.cluster.put(
        DEPLOYMENTS, {"metadata": {"name": "daily", "namespace": NAMESPACE}, "spec": {"flowRef": {"name": "etl"}}}
    )
    operator.hear_of(DEPLOYMENTS, "daily")
    listed = [{"name": f"p{number}", "parameters": {"number": number}} for number in range(count)]
    body = {"deploymentRef": {"name": "daily"}, "partitions": {"list": listed}, **spec}
    operator.cluster.put(BACKFILLS, {"metadata": {"name": "bf", "namespace": NAMESPACE}, "spec": body})
    hear(operator)


def hear(operator: Operator) -> None:
    """The stream brings the Backfill."""
    found = operator.cluster.find(BACKFILLS, NAMESPACE, "bf")
    assert found is not None
    operator.intake.backfills.seen(found)


def runs(operator: Operator) -> list[str]:
    return sorted(names(operator.cluster.all(FLOW_RUNS)))


def events(operator: Operator) -> list[str]:
    return sorted(event["reason"] for event in operator.cluster.all(EVENTS) if event["involvedObject"]["name"] == "bf")


def status(operator: Operator) -> BackfillStatus:
    return BackfillStatus.model_validate(operator.status(BACKFILLS, "bf"))


async def later(operator: Operator, seconds: float) -> None:
    """So long after, with all that was put off until then."""
    operator.now += timedelta(seconds=seconds)
    await operator.what_is_delayed()


async def end(operator: Operator, *names: str, phase: str = "Succeeded") -> None:
    """These runs have ended, and the operator has heard the answers to its own writes."""
    told = {"phase": phase, "reason": phase, "finishedAt": stamp(NOW)}
    for name in names:
        stored = await operator.cluster.patch(FLOW_RUNS, NAMESPACE, name, {"status": told}, subresource="status")
        operator.intake.run_seen(stored)
    await later(operator, 2)


@pytest.fixture
async def operator() -> Any:
    made = Operator()
    yield made
    made.queue.close()


async def test_runs_belong_to_the_backfill_and_have_its_labels_and_parameters(operator: Operator) -> None:
    """No scheduledTime: it would put them ahead of today's runs."""
    apply(operator, parameters={"dry": True}, priority=-5)
    await operator.rests()
    assert runs(operator) == ["bf-p0", "bf-p1"]
    made = operator.cluster.find(FLOW_RUNS, NAMESPACE, "bf-p1")
    assert made is not None
    assert made["spec"] == {
        "deploymentRef": {"name": "daily"},
        "parameters": {"dry": True, "number": 1},
        "priority": -5,
    }
    labels = made["metadata"]["labels"]
    assert (labels["headrace.dev/backfill"], labels["headrace.dev/partition"]) == ("bf", "p1")
    assert [owner["kind"] for owner in made["metadata"]["ownerReferences"]] == ["Backfill"]


async def test_outcomes_are_told_before_runs_are_deleted(operator: Operator) -> None:
    """And runs keep their names for a while."""
    apply(operator)
    await operator.rests()
    for name in runs(operator):
        await end(operator, name)
    assert (status(operator).phase, status(operator).succeeded) == ("Succeeded", 2)
    assert runs(operator) == ["bf-p0", "bf-p1"]
    await later(operator, operator.context.settings.lost_write_s)
    assert runs(operator) == []
    assert events(operator) == ["Started", "Succeeded"]


async def test_no_run_is_created_while_too_many_that_ended_are_not_deleted(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast they end; it goes on with the deletion that makes them few enough. One that is to be kept does not count."""
    for module in (rules, retention):
        monkeypatch.setattr(module, "MAX_UNDELETED", 2)
    apply(operator, 6, maxActive=3, keepFailed=1)
    await operator.rests()
    await end(operator, "bf-p0", phase="Failed")
    assert len(runs(operator)) == 4
    await end(operator, "bf-p1", "bf-p2")
    assert runs(operator) == ["bf-p0", "bf-p1", "bf-p2", "bf-p3"]
    assert "fewer than 2" in status(operator).message
    await later(operator, operator.context.settings.lost_write_s)
    assert runs(operator) == ["bf-p0", "bf-p3", "bf-p4", "bf-p5"]


async def test_a_run_whose_creation_had_no_answer_is_found_and_not_made_twice(operator: Operator) -> None:
    """It exists, and the second creation says so."""
    operator.cluster.lose_next(FLOW_RUNS)
    apply(operator, 1)
    await operator.rests()
    await operator.what_is_delayed()
    assert runs(operator) == ["bf-p0"]
    assert operator.cluster.asked("create").count("bf-p0") == 2
    await end(operator, "bf-p0")
    assert status(operator).phase == "Succeeded"


async def test_a_name_that_somebody_else_has_is_told_and_the_others_go_on(operator: Operator) -> None:
    """Its partition waits until the name is free."""
    taken = {"metadata": {"name": "bf-p0", "namespace": NAMESPACE}, "spec": {"flowRef": {"name": "etl"}}}
    operator.cluster.put(FLOW_RUNS, taken)
    apply(operator)
    await operator.rests()
    await end(operator, "bf-p1")
    assert "RunNameTaken" in events(operator)
    assert (status(operator).succeeded, status(operator).pending) == (1, 1)
    assert operator.cluster.asked("create").count("bf-p0") == 1


async def test_a_partition_whose_name_was_taken_for_long_runs_when_it_is_free(operator: Operator) -> None:
    """However often it was tried meanwhile, and though nothing else happens."""
    taken = {"metadata": {"name": "bf-p0", "namespace": NAMESPACE}, "spec": {"flowRef": {"name": "etl"}}}
    stored = operator.cluster.put(FLOW_RUNS, taken)
    apply(operator, 1)
    await operator.rests()
    for _ in range(4):
        await later(operator, 31)
    assert operator.cluster.asked("create").count("bf-p0") > 2
    await operator.cluster.delete(FLOW_RUNS, NAMESPACE, "bf-p0", uid=stored["metadata"]["uid"])
    await later(operator, 31)
    assert operator.cluster.find(FLOW_RUNS, NAMESPACE, "bf-p0") is not None


async def test_a_run_that_the_api_server_refuses_for_ever_is_a_failed_partition(operator: Operator) -> None:
    """An Event has the answer."""
    operator.cluster.fail_next("create", FLOW_RUNS, Invalid(422, "Invalid", "spec.parameters: too long"))
    apply(operator, 1)
    await operator.rests()
    assert (status(operator).phase, status(operator).failed) == ("Failed", 1)
    assert events(operator) == ["PartitionsFailed", "RunRefused", "Started"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Forbidden(403, "Forbidden", "exceeded quota: flowruns"), id="a quota that is used up"),
        pytest.param(Invalid(400, "Unknown", 'admission webhook "x" denied the request: not at night'), id="a webhook"),
        pytest.param(Invalid(422, "Invalid", 'flowruns "bf-p0" is forbidden: Policy denied request'), id="a policy"),
    ],
)
async def test_what_is_forbidden_for_now_is_told_and_tried_again(operator: Operator, error: ApiError) -> None:
    """Nothing is lost meanwhile."""
    operator.cluster.fail_next("create", FLOW_RUNS, error)
    apply(operator, 1)
    await operator.rests()
    assert events(operator) == ["RunsNotCreated", "Started"]
    assert status(operator).failed == 0
    await operator.what_is_delayed()
    assert runs(operator) == ["bf-p0"]


async def test_a_cancellation_that_met_a_conflict_is_told_again(operator: Operator) -> None:
    """The run is there: nobody else has its name."""
    apply(operator, 1)
    await operator.rests()
    await operator.cluster.patch(BACKFILLS, NAMESPACE, "bf", {"spec": {"cancel": True}, "metadata": {"generation": 2}})
    operator.cluster.fail_next("patch", FLOW_RUNS, Conflict(409, "Conflict", "modified"))
    hear(operator)
    await operator.rests()
    await operator.what_is_delayed()
    (run,) = operator.cluster.all(FLOW_RUNS)
    assert run["spec"]["cancel"]


async def test_cancelling_tells_each_run_once(operator: Operator) -> None:
    """And ends with the last of them."""
    apply(operator)
    await operator.rests()
    await operator.cluster.patch(BACKFILLS, NAMESPACE, "bf", {"spec": {"cancel": True}, "metadata": {"generation": 2}})
    hear(operator)
    await operator.rests()
    assert all(run["spec"]["cancel"] for run in operator.cluster.all(FLOW_RUNS))
    operator.cluster.requests.clear()
    hear(operator)
    await later(operator, 2)
    assert not {"bf-p0", "bf-p1"} & set(operator.cluster.asked("patch"))


async def test_a_backfill_that_is_changed_as_its_time_comes_stays(operator: Operator) -> None:
    """The stream has not told of it yet."""
    apply(operator, 1, ttlSecondsAfterFinished=60)
    await operator.rests()
    await end(operator, "bf-p0", phase="Failed")
    again = {"spec": {"rerunFailed": 1}, "metadata": {"generation": 2}}
    await operator.cluster.patch(BACKFILLS, NAMESPACE, "bf", again)
    await later(operator, 61)
    await operator.what_is_delayed()
    assert status(operator).rerun_failed == 1
    assert "bf-p0--r1" in runs(operator)


async def test_a_lost_leadership_is_told_as_such(operator: Operator) -> None:
    """It ends the process; what several creations come to must not hide it."""
    apply(operator)

    def no_longer() -> None:
        raise LeadershipLostError("me")

    operator.context = replace(
        operator.context, cluster=FencedCluster(operator.cluster, no_longer, Unanswered(1.0, lambda: 0.0))
    )
    record = operator.intake.backfills.held[ObjectKey(NAMESPACE, "bf")]
    runs = operator.intake.backfills.runs(record.uid)
    decision = BackfillDecision(create=(PlannedRun(0, 1), PlannedRun(1, 1)))
    with pytest.raises(LeadershipLostError):
        await backfill._change_runs(operator.context, record, runs, decision)


async def test_a_status_whose_answer_is_lost_is_read_anew_and_counts_once(operator: Operator) -> None:
    """The outcome may have been stored, or not."""
    apply(operator)
    await operator.rests()
    operator.cluster.fail_next("patch", BACKFILLS, Unreachable(0, "Unreachable", "connection reset"))
    await end(operator, "bf-p0")
    await operator.what_is_delayed()
    assert (status(operator).succeeded, status(operator).active) == (1, 1)


async def test_a_backfill_goes_when_its_time_has_come(operator: Operator) -> None:
    """By its uid, so that no other one of its name goes."""
    apply(operator, 1, ttlSecondsAfterFinished=0)
    await operator.rests()
    await end(operator, "bf-p0")
    await operator.what_is_delayed()
    assert operator.cluster.all(BACKFILLS) == []


async def test_a_backfill_stays_until_its_deployment_counts_how_its_runs_ended(operator: Operator) -> None:
    """They would go with it, and be in no circuit and no budget."""
    apply(operator, 1, ttlSecondsAfterFinished=0)
    await operator.rests()
    refused = Unreachable(0, "Unreachable", "connection reset")
    operator.cluster.fail_next("patch", DEPLOYMENTS, refused, refused, refused)
    await end(operator, "bf-p0", phase="Failed")
    assert status(operator).phase == "Failed"
    assert operator.status(DEPLOYMENTS, "daily").get("circuit") is None
    for _ in range(4):
        await operator.what_is_delayed()
    assert operator.status(DEPLOYMENTS, "daily")["consecutiveFailures"] == 1
    assert operator.cluster.all(BACKFILLS) == []
