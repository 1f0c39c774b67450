"""Automations from what happens to what is done, and what each step costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from headrace.kubeapi.errors import Conflict, Forbidden, Invalid, Unavailable, Unreachable
from headrace_operator.decide.automation.judging import Outcome
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.automation import reconcile
from headrace_operator.kube.resources import AUTOMATIONS, DEPLOYMENTS, EVENTS, FLOW_RUNS, FLOWS, SECRETS
from headrace_operator.observe.parse import run_from
from tests.builders import NAMESPACE, NOW, stamp
from tests.fake_cluster import FakeCluster, names
from tests.unit.headrace_operator.handlers.test_worker import INLINE, Operator

START = {"name": "look", "start": {"deployment": "diagnose", "parameters": {"run": "{{ event.run.name }}"}}}
ON_FAILED = {"run": {"phases": ["Failed"], "flows": ["etl"]}}


@pytest.fixture
def operator() -> Operator:
    made = Operator()
    made.apply(FLOWS, "etl", INLINE, uid="f")
    return made


def automate(operator: Operator, **spec: Any) -> None:
    body = {"trigger": ON_FAILED, "actions": [START], **spec}
    made = {"name": "auto", "namespace": NAMESPACE, "generation": 1, "creationTimestamp": stamp(NOW)}
    operator.cluster.put(AUTOMATIONS, {"metadata": made, "spec": body})
    hear(operator)


def hear(operator: Operator) -> None:
    operator.intake.automations.seen(stored(operator))


def stored(operator: Operator) -> dict[str, Any]:
    found = operator.cluster.find(AUTOMATIONS, NAMESPACE, "auto")
    assert found is not None
    return found


def a_run(name: str, phase: str = "Failed", after_s: float = 1, **metadata: Any) -> dict[str, Any]:
    """As the API has it, once it has ended."""
    at = stamp(NOW + timedelta(seconds=after_s))
    status = {"phase": phase, "reason": "FlowFailed", "finishedAt": at}
    told = {"name": name, "namespace": NAMESPACE, "uid": name, "creationTimestamp": stamp(NOW), **metadata}
    return {"metadata": {"resourceVersion": "1", **told}, "spec": {"flowRef": {"name": "etl"}}, "status": status}


async def test_a_run_that_fails_starts_another_one(operator: Operator) -> None:
    """Once: claimed, created, noted."""
    automate(operator)
    await operator.rests()
    before = len(operator.cluster.requests)
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    (made,) = operator.cluster.all(FLOW_RUNS)
    assert made["spec"]["parameters"] == {"run": "bad"}
    assert made["metadata"]["labels"]["headrace.dev/automation"] == "auto"
    assert stored(operator)["status"]["counts"]["fired"] == 1
    assert len(operator.cluster.requests) - before == 3


def a_start(name: str, deployment: str, region: str) -> dict[str, Any]:
    return {"name": name, "start": {"deployment": deployment, "parameters": {"region": region}}}


@pytest.mark.parametrize(
    "deployments",
    [("load", "load"), ("x" * 60 + "-a", "x" * 60 + "-b"), ("x" * 49, "x" * 49 + "-b")],
    ids=["of one Deployment", "of Deployments with long names", "of Deployments whose names are cut at a dash"],
)
async def test_each_start_of_a_firing_makes_a_run_of_its_own(operator: Operator, deployments: tuple[str, str]) -> None:
    """Their names differ, and carry the firing's id between dashes, by which the Automation knows them."""
    automate(operator, actions=[a_start("eu", deployments[0], "eu"), a_start("us", deployments[1], "us")])
    await operator.rests()
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    made = operator.cluster.all(FLOW_RUNS)
    assert [each["spec"]["parameters"]["region"] for each in made] == ["eu", "us"]
    assert [each["spec"]["deploymentRef"]["name"] for each in made] == list(deployments)
    (firing,) = stored(operator)["status"]["firings"]
    assert all(f"-{firing['id']}-" in f"{name}-" and len(name) <= 63 for name in names(made))


async def test_starts_that_were_made_before_a_crash_are_not_made_again(operator: Operator) -> None:
    """The second one of a Deployment has the same number each time."""
    automate(operator, actions=[a_start("eu", "load", "eu"), a_start("us", "load", "us")])
    await operator.rests()
    operator.cluster.lose_next(FLOW_RUNS)
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    heir = with_cluster(operator.cluster)
    hear(heir)
    await heir.rests()
    assert sorted(each["spec"]["parameters"]["region"] for each in operator.cluster.all(FLOW_RUNS)) == ["eu", "us"]
    assert [each["state"] for each in stored(operator)["status"]["firings"]] == ["Done"]


async def test_what_does_not_fire_costs_nothing(operator: Operator) -> None:
    """No read and no write."""
    automate(operator, filter="event.run.name == 'other'")
    await operator.rests()
    before = len(operator.cluster.requests)
    for number in range(20):
        operator.intake.run_seen(a_run(f"bad-{number}"))
        operator.intake.run_seen(a_run(f"good-{number}", "Succeeded"))
        await operator.rests()
    assert len(operator.cluster.requests) == before


async def test_another_operator_finds_what_was_not_claimed_and_repeats_nothing(operator: Operator) -> None:
    """It lists what had finished before its start."""
    automate(operator)
    await operator.rests()
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    heir = with_cluster(operator.cluster)
    hear(heir)
    for name in ("bad", "new"):
        heir.intake.finished_run_listed(run_from(a_run(name)))
    await heir.rests()
    assert len(operator.cluster.all(FLOW_RUNS)) == 2


@pytest.mark.parametrize(
    ("spec", "count"), [({"groupBy": ["event.run.flow"]}, "deduplicated"), ({"rateLimit": {"count": 1}}, "throttled")]
)
async def test_what_another_operator_has_counted_is_not_counted_again(operator: Operator, spec, count) -> None:
    """Finished runs that are kept are listed at each start."""
    automate(operator, **spec)
    await operator.rests()
    failed = [a_run(f"bad-{number}", after_s=number + 1) for number in range(5)]
    for run in failed:
        operator.intake.run_seen(run)
    await operator.rests()
    operator.now += timedelta(seconds=60)
    await operator.what_is_delayed()
    counts = stored(operator)["status"]["counts"]
    assert (counts["fired"], counts[count]) == (1, 4)
    for _ in range(3):
        heir = with_cluster(operator.cluster)
        hear(heir)
        for run in failed:
            heir.intake.finished_run_listed(run_from(run))
        await heir.rests()
        heir.now += timedelta(seconds=60)
        await heir.what_is_delayed()
    assert stored(operator)["status"]["counts"] == counts


def with_cluster(cluster: FakeCluster) -> Operator:
    """Another process over the same API."""
    made = Operator()
    object.__setattr__(made.context, "cluster", cluster)
    made.cluster = cluster
    return made


@pytest.mark.parametrize(
    ("verb", "resource"), [("patch", AUTOMATIONS), ("create", FLOW_RUNS)], ids=["the claim", "the run"]
)
@pytest.mark.parametrize("error", [Conflict(409, "Conflict", "changed"), Unreachable(0, "Unreachable", "reset")])
async def test_a_write_that_fails_is_made_later(operator: Operator, verb, resource, error) -> None:
    """Nothing is lost with it, and nothing is done twice."""
    automate(operator)
    await operator.rests()
    operator.cluster.fail_next(verb, resource, error)
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    await operator.what_is_delayed()
    assert len(operator.cluster.all(FLOW_RUNS)) == 1
    assert [each["state"] for each in stored(operator)["status"]["firings"]] == ["Done"]


AGAIN = {"name": "again", "run": "Retry"}


async def test_a_run_once_more_is_the_same_run(operator: Operator) -> None:
    """As `headrace rerun` makes it: limits may select it by its labels, and a daily flow asks for its day."""
    automate(operator, actions=[AGAIN])
    labels = {"team": "x", "headrace.dev/schedule": "daily", "headrace.dev/automation": "other"}
    spec = {"flowRef": {"name": "etl"}, "scheduledTime": stamp(NOW), "parameters": {"day": 1}, "priority": 3}
    failed = a_run("bad", labels=labels) | {"spec": {**spec, "cancel": True}}
    operator.intake.run_seen(operator.cluster.put(FLOW_RUNS, failed))
    await operator.rests()
    (made,) = (run for run in operator.cluster.all(FLOW_RUNS) if run["metadata"]["name"] != "bad")
    assert made["spec"] == spec
    assert made["metadata"]["labels"] == {
        "team": "x",
        "headrace.dev/rerun-of": "bad",
        "headrace.dev/automation": "auto",
        "headrace.dev/chain": "2",
        "app.kubernetes.io/managed-by": "headrace",
    }


@pytest.mark.parametrize(
    ("now_there", "told"),
    [
        (None, "is gone: it cannot be run again"),
        (a_run("bad", uid="other"), "was deleted, and another one has its name"),
        (
            a_run("bad") | {"spec": {"flowRef": {"name": "etl"}, "task": {"parent": {"name": "whole"}}}},
            "is a task of run whole; run that again (headrace rerun whole)",
        ),
    ],
    ids=["gone", "made anew", "a task of another run"],
)
async def test_what_cannot_be_run_once_more_fails_the_firing(operator: Operator, now_there, told) -> None:
    """And says what to do."""
    automate(operator, actions=[AGAIN])
    if now_there is not None:
        operator.cluster.put(FLOW_RUNS, now_there)
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    (firing,) = stored(operator)["status"]["firings"]
    assert firing["state"] == "Failed"
    assert told in firing["message"]
    assert set(names(operator.cluster.all(FLOW_RUNS))) <= {"bad"}


async def test_runs_once_more_are_counted_in_chains(operator: Operator) -> None:
    """Two Automations that retry each other's runs would go on for ever."""
    automate(operator, actions=[AGAIN])
    for links in (31, 32):
        labels = {"headrace.dev/automation": "other", "headrace.dev/chain": str(links)}
        operator.intake.run_seen(operator.cluster.put(FLOW_RUNS, a_run(f"bad-{links}", labels=labels)))
    await operator.rests()
    made = [run for run in operator.cluster.all(FLOW_RUNS) if "headrace.dev/rerun-of" in run["metadata"]["labels"]]
    assert [run["metadata"]["labels"]["headrace.dev/chain"] for run in made] == ["32"]
    told = {each["state"]: each.get("message", "") for each in stored(operator)["status"]["firings"]}
    assert told["Done"] == ""
    assert "its run is the last of 32" in told["Failed"]


TOLD = {"name": "told", "event": {"message": "a run has failed"}}


async def test_each_firing_writes_its_event(operator: Operator) -> None:
    """Also where an earlier one has told the same; one that was written before a crash is not written again."""
    automate(operator, actions=[TOLD, {**TOLD, "name": "louder"}])
    await operator.rests()
    operator.cluster.lose_next(EVENTS)
    for number in range(3):
        operator.intake.run_seen(a_run(f"bad-{number}"))
        await operator.rests()
        await operator.what_is_delayed()
    told = [event["message"] for event in operator.cluster.all(EVENTS)]
    assert told == ["a run has failed"] * 6
    assert [each["state"] for each in stored(operator)["status"]["firings"]] == ["Done"] * 3


async def test_an_event_that_could_not_be_written_is_written_later(operator: Operator) -> None:
    """It is what the Automation is for, and not beside its work."""
    automate(operator, actions=[TOLD])
    await operator.rests()
    operator.cluster.fail_next("create", EVENTS, Unreachable(0, "Unreachable", "reset"))
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    await operator.what_is_delayed()
    assert len(operator.cluster.all(EVENTS)) == 1
    assert [each["state"] for each in stored(operator)["status"]["firings"]] == ["Done"]


def a_hook(**fields: Any) -> dict[str, Any]:
    return {"name": "page", "webhook": {"url": "http://127.0.0.1:1/", **fields}}


@pytest.mark.parametrize(
    "hook",
    [
        a_hook(secretRef={"name": "s", "key": "k"}),
        {"name": "page", "webhook": {"urlFrom": {"name": "s", "key": "k"}, "body": "Slack"}},
        a_hook(body="PagerDuty", routingKeyFrom={"name": "s", "key": "k"}),
    ],
    ids=["the key of signatures", "the URL", "PagerDuty's key"],
)
async def test_a_secret_of_a_webhook_that_is_not_there_is_told_before_it_is_needed(operator: Operator, hook) -> None:
    """And what needs none is done; once it is there, Ready is True within a minute."""
    automate(operator, actions=[hook, START])
    await operator.rests()
    assert ready(operator) == ("False", "SecretNotReadable", 'Secret "s" is not in namespace team-a; create it')
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    assert len(operator.cluster.all(FLOW_RUNS)) == 1
    operator.context.webhooks.close()
    operator.cluster.put(SECRETS, {"metadata": {"name": "s", "namespace": NAMESPACE}, "data": {"k": "a2V5"}})
    operator.now += timedelta(seconds=60)
    await operator.what_is_delayed()
    assert ready(operator)[0] == "True"


async def test_a_secret_that_goes_is_told_within_minutes(operator: Operator) -> None:
    """Nobody tells of it; what happens in between costs no look at it, and neither does a restart."""
    operator.cluster.put(SECRETS, {"metadata": {"name": "s", "namespace": NAMESPACE}, "data": {"k": "a2V5"}})
    automate(operator, trigger={"webhook": {"secretRef": {"name": "s", "key": "k"}}})
    await operator.rests()
    assert ready(operator)[0] == "True"
    heir = with_cluster(operator.cluster)
    hear(heir)
    await heir.rests()
    await operator.cluster.delete(SECRETS, NAMESPACE, "s", uid=secret_uid(operator))
    for minutes, told in ((9, "True"), (1, "False")):
        heir.now += timedelta(minutes=minutes)
        await heir.what_is_delayed()
        await heir.rests()
        assert ready(heir)[0] == told
    assert operator.cluster.asked("get").count("s") == 2


async def test_secrets_that_cannot_be_looked_at_for_now_hold_nothing_back(operator: Operator) -> None:
    """What was read last holds."""
    operator.cluster.put(SECRETS, {"metadata": {"name": "s", "namespace": NAMESPACE}, "data": {"k": "a2V5"}})
    automate(operator, actions=[START, {"name": "page", "webhook": {"urlFrom": {"name": "s", "key": "k"}}}])
    await operator.rests()
    operator.now += timedelta(minutes=10)
    operator.cluster.fail_next("get", SECRETS, Unavailable(500, "InternalError", "cannot decrypt"))
    operator.intake.run_seen(a_run("bad", after_s=600))
    await operator.rests()
    assert len(operator.cluster.all(FLOW_RUNS)) == 1
    assert ready(operator)[0] == "True"
    operator.context.webhooks.close()


async def test_secrets_of_a_spec_that_cannot_be_used_are_not_looked_at(operator: Operator) -> None:
    """Nor is the Automation, however much time goes by."""
    automate(operator, actions=[{"name": "page", "webhook": {"urlFrom": {"name": "s", "key": "k"}}}])
    await operator.rests()
    (record,) = operator.intake.automations.held.values()
    assert await reconcile(operator.context, record.key) == 60
    patch = {"spec": {"filter": "1 +"}, "metadata": {"generation": 2}}
    await operator.cluster.patch(AUTOMATIONS, NAMESPACE, "auto", patch)
    hear(operator)
    await operator.rests()
    operator.now += timedelta(hours=1)
    assert await reconcile(operator.context, record.key) is None
    assert operator.cluster.asked("get").count("s") == 1


def ready(operator: Operator) -> tuple[str, str, str]:
    (condition,) = stored(operator)["status"]["conditions"]
    return condition["status"], condition["reason"], condition["message"]


def secret_uid(operator: Operator) -> str:
    found = operator.cluster.find(SECRETS, NAMESPACE, "s")
    assert found is not None
    return str(found["metadata"]["uid"])


STOP = {"name": "stop", "deployment": {"name": "load", "set": "Suspend"}}


@pytest.mark.parametrize(
    "error",
    [
        Forbidden(403, "Forbidden", "exceeded quota"),
        Invalid(422, "Invalid", "flowruns \"x\" is forbidden: ValidatingAdmissionPolicy 'x' denied request"),
    ],
    ids=["a quota", "a policy"],
)
async def test_an_action_that_is_forbidden_for_now_keeps_no_other_back(operator: Operator, error) -> None:
    """A quota may be used up for an hour, and to suspend a Deployment is urgent; it is not done again with the other one."""
    operator.apply(DEPLOYMENTS, "load", {"flowRef": {"name": "etl"}})
    automate(operator, actions=[START, STOP])
    await operator.rests()
    operator.cluster.fail_next("create", FLOW_RUNS, *[error] * 9)
    operator.intake.run_seen(a_run("bad"))
    await operator.rests()
    assert operator.cluster.all(FLOW_RUNS) == []
    assert (operator.cluster.find(DEPLOYMENTS, NAMESPACE, "load") or {})["spec"]["suspend"]
    await operator.cluster.patch(DEPLOYMENTS, NAMESPACE, "load", {"spec": {"suspend": False}})
    operator.cluster.fails_no_more()
    await operator.what_is_delayed()
    assert len(operator.cluster.all(FLOW_RUNS)) == 1
    assert not (operator.cluster.find(DEPLOYMENTS, NAMESPACE, "load") or {})["spec"]["suspend"]
    assert [each["state"] for each in stored(operator)["status"]["firings"]] == ["Done"]


@pytest.mark.parametrize(
    ("action", "resource"),
    [(STOP, DEPLOYMENTS), ({"name": "stop", "run": "Cancel"}, FLOW_RUNS)],
    ids=["of a Deployment", "of a run"],
)
async def test_a_change_that_the_api_server_never_takes_fails_the_firing(operator: Operator, action, resource) -> None:
    """A policy refuses it each time: it would be open for ever, and with 32 such ones nothing else would fire."""
    operator.apply(DEPLOYMENTS, "load", {"flowRef": {"name": "etl"}})
    automate(operator, actions=[action])
    await operator.rests()
    operator.cluster.fail_next("patch", resource, Invalid(422, "Invalid", "policy: not on Sundays"))
    operator.intake.run_seen(operator.cluster.put(FLOW_RUNS, a_run("bad")))
    await operator.rests()
    (firing,) = stored(operator)["status"]["firings"]
    assert firing["state"] == "Failed"
    assert firing["message"] == "action stop: the API server refuses it: policy: not on Sundays"


async def test_a_cancellation_that_met_a_conflict_is_made_later(operator: Operator) -> None:
    """Unless another run has the name now."""
    automate(operator, actions=[{"name": "stop", "run": "Cancel"}])
    await operator.rests()
    operator.cluster.fail_next("patch", FLOW_RUNS, Conflict(409, "Conflict", "modified"))
    operator.intake.run_seen(operator.cluster.put(FLOW_RUNS, a_run("bad")))
    await operator.rests()
    await operator.what_is_delayed()
    assert (operator.cluster.find(FLOW_RUNS, NAMESPACE, "bad") or {})["spec"].get("cancel")
    assert [each["state"] for each in stored(operator)["status"]["firings"]] == ["Done"]


async def test_a_run_that_an_automation_started_does_not_trigger_it(operator: Operator) -> None:
    """It would go on for ever."""
    automate(operator)
    operator.intake.run_seen(a_run("bad", labels={"headrace.dev/automation": "auto"}))
    await operator.rests()
    assert operator.cluster.all(FLOW_RUNS) == []


@pytest.mark.parametrize("kind", ["lateRun", "longRun"])
async def test_a_run_that_an_automation_started_is_never_late_nor_long_to_it(operator: Operator, kind: str) -> None:
    """What starts a run for each that is late would start runs for ever once they all are."""
    automate(operator, trigger={kind: {"afterSeconds": 10}})
    running = {"phase": "Running", "startedAt": stamp(NOW)} if kind == "longRun" else {}
    for name, labels in (("own", {"headrace.dev/automation": "auto"}), ("other", {})):
        operator.intake.run_seen(a_run(name, labels=labels) | {"status": running})
    operator.now += timedelta(seconds=11)
    await operator.rests()
    await operator.what_is_delayed()
    (firing,) = stored(operator)["status"]["firings"]
    assert "FlowRun other " in firing["about"]


async def test_runs_that_have_ended_are_not_kept_until_they_would_have_been_long(operator: Operator) -> None:
    """A month's runs have as much memory as those under way."""
    automate(operator, trigger={"longRun": {"afterSeconds": 28 * 24 * 3600}})
    (record,) = operator.intake.automations.held.values()
    for number in range(1000):
        run = run_from(a_run(f"r{number}") | {"status": {"phase": "Running", "startedAt": stamp(NOW)}})
        operator.intake.automations.run_seen(run)
        if number:
            operator.intake.automations.run_gone(run.key)
    waiting = operator.intake.automations.waiting(record.uid)
    assert [key.name for key in waiting.overdue] == ["r0"]
    assert len(waiting.order) < 200
    assert waiting.order[0][1].name == "r0"


async def test_what_happened_before_the_spec_was_changed_is_no_event(operator: Operator) -> None:
    """Whoever mends a filter does not mean last week's failures."""
    automate(operator, filter="false")
    await operator.rests()
    operator.now += timedelta(hours=1)
    await operator.cluster.patch(
        AUTOMATIONS, NAMESPACE, "auto", {"spec": {"filter": "true"}, "metadata": {"generation": 2}}
    )
    hear(operator)
    await operator.rests()
    operator.intake.finished_run_listed(run_from(a_run("old")))
    operator.intake.finished_run_listed(run_from(a_run("new", after_s=3601)))
    await operator.rests()
    (made,) = operator.cluster.all(FLOW_RUNS)
    assert made["spec"]["parameters"] == {"run": "new"}


async def test_what_is_counted_while_a_status_is_written_is_told_by_the_next_one(operator: Operator) -> None:
    """Of a flood, what is above the room for it is counted as it comes."""
    automate(operator)
    await operator.rests()
    waiting = operator.intake.automations.waiting(stored(operator)["metadata"]["uid"])
    write = operator.cluster.patch

    async def slow(*args: Any, **options: Any) -> Any:
        waiting.counts[Outcome.THROTTLED] += 7
        return await write(*args, **options)

    operator.intake.run_seen(a_run("bad"))
    with patch.object(operator.cluster, "patch", slow):
        await reconcile(operator.context, ObjectKey(NAMESPACE, "auto"))
    assert stored(operator)["status"]["counts"]["throttled"] == 0
    assert waiting.counts[Outcome.THROTTLED] == 14  # as the firing was claimed, and as its end was told
