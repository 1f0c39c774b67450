"""Triggers of Deployments from the spec to the run, and what each step costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.kubeapi.errors import Conflict, Forbidden, Unreachable
from headrace_operator.kube.resources import AUTOMATIONS, DEPLOYMENTS, EVENTS, FLOW_RUNS, FLOWS
from headrace_operator.observe.parse import object_key
from tests.builders import NAMESPACE, NOW, stamp
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.handlers.test_worker import INLINE, Operator

AFTER = {"name": "after", "run": {"phases": ["Succeeded"], "deployments": ["extract"]}}
LATE = {"name": "late", "lateRun": {"afterSeconds": 60}}


@pytest.fixture
def operator() -> Operator:
    made = Operator()
    made.apply(FLOWS, "etl", INLINE, uid="f")
    return made


async def deploy(operator: Operator, *triggers: dict[str, Any], **spec: Any) -> None:
    """As `kubectl apply` does it; returns when all of it is done."""
    body = {"flowRef": {"name": "etl"}, "triggers": list(triggers), **spec}
    old = operator.cluster.find(DEPLOYMENTS, NAMESPACE, "load")
    if old is None:
        operator.apply(DEPLOYMENTS, "load", body, uid="d")
    else:
        await operator.cluster.patch(
            DEPLOYMENTS, NAMESPACE, "load", [{"op": "replace", "path": "/spec", "value": body}]
        )
        operator.hear_of(DEPLOYMENTS, "load")
    await operator.rests()


def kept(operator: Operator) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in operator.cluster.all(AUTOMATIONS)}


def writes(operator: Operator) -> list[tuple[str, str, str]]:
    return [request for request in operator.cluster.requests if request[0] != "get"]


def triggering(operator: Operator) -> dict[str, Any] | None:
    conditions = operator.status(DEPLOYMENTS, "load").get("conditions") or ()
    return next((each for each in conditions if each["type"] == "Triggering"), None)


def end_run(operator: Operator, name: str, deployment: str = "extract", **labels: str) -> None:
    """One of another Deployment has succeeded; its Flow gave it a region."""
    made = {"name": name, "namespace": NAMESPACE, "uid": name, "resourceVersion": "1", "labels": labels}
    status = {"phase": "Succeeded", "parameters": {"region": "eu"}, "finishedAt": stamp(NOW + timedelta(seconds=1))}
    operator.intake.run_seen(
        {
            "metadata": {**made, "creationTimestamp": stamp(NOW)},
            "spec": {"deploymentRef": {"name": deployment}},
            "status": status,
        }
    )


async def test_a_trigger_is_kept_by_an_automation_that_the_deployment_owns(operator: Operator) -> None:
    """It carries who made it, and starts that Deployment alone."""
    await deploy(operator, {**AFTER, "filter": "has(event.run.result)", "parameters": {"day": None, "n": 1}})
    (made,) = operator.cluster.all(AUTOMATIONS)
    metadata, spec = made["metadata"], made["spec"]
    assert metadata["name"] == "load.after"
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("Deployment", "load", "d", True)
    assert metadata["labels"]["headrace.dev/deployment"] == "load"
    assert metadata["labels"]["headrace.dev/trigger"] == "after"
    assert spec["trigger"] == {"run": {"deployments": ["extract"], "phases": ["Succeeded"]}}
    assert spec["filter"] == "has(event.run.result)"
    assert spec["actions"] == [{"name": "start", "start": {"deployment": "load", "parameters": {"day": None, "n": 1}}}]
    assert not spec["suspend"]
    condition = triggering(operator)
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("True", "Listening")


async def test_the_end_of_another_deployments_run_starts_one(operator: Operator) -> None:
    """Once, with what its parameters say."""
    parameters = {"of": "{{ event.run.name }}", "region": "{{ event.run.parameters.region }}"}
    await deploy(operator, {**AFTER, "parameters": parameters})
    end_run(operator, "extract-1")
    end_run(operator, "other-1", "other")
    await operator.rests()
    (run,) = operator.cluster.all(FLOW_RUNS)
    assert run["spec"] == {"deploymentRef": {"name": "load"}, "parameters": {"of": "extract-1", "region": "eu"}}
    assert run["metadata"]["labels"]["headrace.dev/automation"] == "load.after"


async def test_what_is_as_it_should_be_costs_nothing(operator: Operator) -> None:
    """Neither what is heard anew, nor a change of another field, nor another leader, writes an Automation."""
    await deploy(operator, AFTER, LATE)
    before = len(operator.cluster.requests)
    operator.intake.wake_everything()
    await operator.rests()
    assert len(operator.cluster.requests) == before
    await deploy(operator, AFTER, LATE, priority=3)
    assert [request for request in writes(operator)[before:] if request[1] == "automations"] == []
    heir = another(operator)
    before = len(operator.cluster.requests)
    await heir.rests()
    assert len(operator.cluster.requests) == before


def another(operator: Operator) -> Operator:
    """The next leader over the same API: it lists what is there."""
    made = Operator()
    object.__setattr__(made.context, "cluster", operator.cluster)
    made.cluster = operator.cluster
    hear_all(made, operator.cluster)
    return made


def hear_all(operator: Operator, cluster: FakeCluster) -> None:
    for obj in cluster.all(FLOWS):
        operator.intake.flow_seen(obj)
    for obj in cluster.all(DEPLOYMENTS):
        operator.intake.deployment_seen(obj)
    for obj in cluster.all(AUTOMATIONS):
        operator.intake.automations.seen(obj)


async def test_a_deployment_without_triggers_costs_nothing(operator: Operator) -> None:
    """No request of Automations, and no condition."""
    await deploy(operator)
    assert [request for request in operator.cluster.requests if request[1] == "automations"] == []
    assert triggering(operator) is None


async def test_changes_reach_the_automation_and_nothing_else_is_lost(operator: Operator) -> None:
    """Labels that people put there stay."""
    await deploy(operator, AFTER)
    await operator.cluster.patch(AUTOMATIONS, NAMESPACE, "load.after", {"metadata": {"labels": {"team": "a"}}})
    operator.intake.automations.seen(kept(operator)["load.after"])
    await deploy(operator, {**AFTER, "filter": "true", "parameters": {"n": True}})
    assert kept(operator)["load.after"]["metadata"]["labels"]["team"] == "a"
    assert kept(operator)["load.after"]["spec"]["filter"] == "true"
    await deploy(operator, {**AFTER, "parameters": {"n": 1}})
    spec = kept(operator)["load.after"]["spec"]
    assert "filter" not in spec
    assert spec["actions"][0]["start"]["parameters"]["n"] is not True


async def test_a_trigger_that_is_taken_out_takes_its_automation_with_it(operator: Operator) -> None:
    """The others stay as they are; with the last one the condition goes."""
    await deploy(operator, AFTER, LATE)
    await deploy(operator, LATE)
    assert list(kept(operator)) == ["load.late"]
    forget(operator, "load.after")
    await deploy(operator)
    forget(operator, "load.late")
    await operator.rests()
    assert kept(operator) == {}
    assert triggering(operator) is None


def forget(operator: Operator, name: str) -> None:
    """The stream tells of its deletion."""
    held = next(key for key in operator.intake.automations.held if key.name == name)
    operator.intake.automations.gone(held, operator.intake.automations.held[held].uid)


async def test_what_people_change_or_delete_is_put_back(operator: Operator) -> None:
    """The Deployment says what its triggers are."""
    await deploy(operator, AFTER)
    await operator.cluster.patch(AUTOMATIONS, NAMESPACE, "load.after", {"spec": {"suspend": True}})
    operator.intake.automations.seen(kept(operator)["load.after"])
    await operator.rests()
    assert not kept(operator)["load.after"]["spec"]["suspend"]
    made = kept(operator)["load.after"]["metadata"]
    await operator.cluster.delete(AUTOMATIONS, NAMESPACE, "load.after", uid=made["uid"])
    forget(operator, "load.after")
    await operator.rests()
    assert kept(operator)["load.after"]["metadata"]["uid"] != made["uid"]


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({}, id="without an owner"),
        pytest.param(
            {"ownerReferences": [{"apiVersion": API_VERSION, "kind": "Deployment", "name": "load", "uid": "d"}]},
            id="not its controller",
        ),
    ],
)
async def test_an_automation_of_somebody_else_is_left_alone(operator: Operator, metadata: dict[str, Any]) -> None:
    """The condition and an Event tell; when it is gone, the trigger's own is made."""
    theirs = {"trigger": {"circuitOpen": {}}, "actions": [{"name": "tell", "event": {"message": "x"}}]}
    made = {"name": "load.after", "namespace": NAMESPACE, **metadata}
    operator.cluster.put(AUTOMATIONS, {"metadata": made, "spec": theirs})
    await deploy(operator, AFTER)
    await operator.what_is_delayed()
    assert kept(operator)["load.after"]["spec"] == theirs
    condition = triggering(operator)
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "TriggerNameTaken")
    assert [event["reason"] for event in operator.cluster.all(EVENTS)] == ["TriggerBlocked"]
    await deploy(operator)
    assert kept(operator)["load.after"]["spec"] == theirs
    await deploy(operator, AFTER)
    stored = kept(operator)["load.after"]
    await operator.cluster.delete(AUTOMATIONS, *object_key(stored), uid=stored["metadata"]["uid"])
    forget(operator, "load.after")
    await operator.rests()
    assert "circuitOpen" not in kept(operator)["load.after"]["spec"]["trigger"]
    assert (triggering(operator) or {})["status"] == "True"


async def test_that_of_an_earlier_deployment_of_the_name_is_waited_for(operator: Operator) -> None:
    """The garbage collector takes it."""
    await deploy(operator, AFTER)
    (stored,) = operator.cluster.all(AUTOMATIONS)
    (owner,) = stored["metadata"]["ownerReferences"]
    heir = Operator()
    heir.apply(FLOWS, "etl", INLINE, uid="f")
    metadata = {**stored["metadata"], "ownerReferences": [{**owner, "uid": "earlier"}]}
    heir.intake.automations.seen(heir.cluster.put(AUTOMATIONS, {**stored, "metadata": metadata}))
    await deploy(heir, AFTER)
    assert (triggering(heir) or {})["reason"] == "TriggerNameTaken"
    assert [verb for verb, plural, _ in heir.cluster.requests if plural == "automations" and verb == "delete"] == []


@pytest.mark.parametrize("lost", [False, True], ids=["before it", "after it"])
async def test_who_dies_around_a_creation_leaves_one_automation(operator: Operator, *, lost: bool) -> None:
    """Whether it took effect or not, the next one makes it so."""
    if lost:
        operator.cluster.lose_next(AUTOMATIONS)
    else:
        operator.cluster.fail_next("create", AUTOMATIONS, Unreachable(0, "Unreachable", "reset"))
    await deploy(operator, AFTER, LATE)
    heir = another(operator)
    await heir.rests()
    await heir.what_is_delayed()
    assert sorted(kept(heir)) == ["load.after", "load.late"]
    assert (triggering(heir) or {})["status"] == "True"


@pytest.mark.parametrize(("verb", "then"), [("patch", [{**AFTER, "filter": "true"}]), ("delete", [])])
async def test_a_write_that_fails_is_made_later(operator: Operator, verb: str, then: list[dict[str, Any]]) -> None:
    """The one that somebody else was quicker than, too."""
    await deploy(operator, AFTER)
    errors = (Conflict(409, "Conflict", "changed"), Unreachable(0, "Unreachable", "reset"))
    operator.cluster.fail_next(verb, AUTOMATIONS, *errors)
    await deploy(operator, *then)
    for _ in errors:
        await operator.what_is_delayed()
    assert [made["spec"].get("filter") for made in kept(operator).values()] == [each["filter"] for each in then]


async def test_what_the_api_server_refuses_is_told_and_tried_again(operator: Operator) -> None:
    """The other triggers stay."""
    refusal = Forbidden(403, "Forbidden", "exceeded quota: automations")
    await deploy(operator, LATE)
    operator.cluster.fail_next("create", AUTOMATIONS, *[refusal] * 5)
    await deploy(operator, AFTER, LATE)
    condition = triggering(operator)
    assert condition is not None
    assert condition["reason"] == "TriggerRefused"
    assert "exceeded quota" in condition["message"]
    assert list(kept(operator)) == ["load.late"]
    operator.cluster.fails_no_more()
    await operator.what_is_delayed()
    assert sorted(kept(operator)) == ["load.after", "load.late"]
    assert (triggering(operator) or {})["status"] == "True"


async def test_an_expression_that_cannot_be_understood_shows_on_the_deployment(operator: Operator) -> None:
    """And goes when it is mended."""
    await deploy(operator, {**AFTER, "filter": "event.run.name =="})
    condition = triggering(operator)
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "InvalidSpec")
    assert 'trigger "after"' in condition["message"]
    await deploy(operator, AFTER)
    assert (triggering(operator) or {})["status"] == "True"


async def test_a_suspended_deployment_is_started_by_no_event(operator: Operator) -> None:
    """Nor later, by what happened meanwhile."""
    await deploy(operator, AFTER, suspend=True)
    assert (triggering(operator) or {})["reason"] == "Suspended"
    end_run(operator, "extract-1")
    await operator.rests()
    operator.now += timedelta(seconds=5)
    await deploy(operator, AFTER)
    assert operator.cluster.all(FLOW_RUNS) == []
    assert (triggering(operator) or {})["status"] == "True"


async def test_one_trigger_may_be_suspended_alone(operator: Operator) -> None:
    """The other one goes on."""
    await deploy(operator, {**AFTER, "suspend": True}, {**AFTER, "name": "too"})
    end_run(operator, "extract-1")
    await operator.rests()
    assert [run["metadata"]["labels"]["headrace.dev/automation"] for run in operator.cluster.all(FLOW_RUNS)] == [
        "load.too"
    ]


async def test_a_firing_writes_no_deployment(operator: Operator) -> None:
    """What fired is in the Automation's status; the Deployment's would be written twice for it."""
    await deploy(operator, AFTER)
    before = len(operator.cluster.requests)
    end_run(operator, "extract-1")
    await operator.rests()
    assert [request for request in operator.cluster.requests[before:] if request[1] == "deployments"] == []


async def test_deployments_that_start_each_other_come_to_an_end(operator: Operator) -> None:
    """The chain has a bound, and who reaches it is told why."""
    await deploy(operator, {"name": "after", "run": {"phases": ["Succeeded"], "deployments": ["extract"]}})
    chain = {"headrace.dev/automation": "extract.after"}
    end_run(operator, "extract-1", **chain)
    end_run(operator, "extract-2", **chain, **{"headrace.dev/chain": "31"})
    end_run(operator, "extract-3", **chain, **{"headrace.dev/chain": "32"})
    await operator.rests()
    links = sorted(run["metadata"]["labels"]["headrace.dev/chain"] for run in operator.cluster.all(FLOW_RUNS))
    assert links == ["2", "32"]
    firings = kept(operator)["load.after"]["status"]["firings"]
    assert next(each["message"] for each in firings if each["state"] == "Failed").startswith("nothing is done: its run")
