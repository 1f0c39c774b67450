"""A run that another run's flow started: it ends with that one, if it was started so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.api.conditions import Phase, Reason
from headrace.api.flowrun import ParentRef, StartedBy
from headrace_operator.decide.actions import DeletePod
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.snapshot import ObjectKey, RunStatus
from headrace_operator.manifests.pod import pod_manifest
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.task_runs import TaskRuns
from tests.builders import (
    NAMESPACE,
    NOW,
    a_flow,
    a_pod,
    a_run,
    a_running_status,
    a_snapshot,
    a_task,
    ended,
    running,
)

STARTER = ObjectKey(NAMESPACE, "etl-0")


def started_by(**fields: Any) -> StartedBy:
    return StartedBy.model_validate({"name": "etl-0", "uid": "u", "root": "top-1", "onEnd": "Cancel", **fields})


def test_it_ends_with_the_run_that_waits_for_it() -> None:
    """Its pod is asked to end, as by spec.cancel."""
    seen = a_snapshot(
        a_run(started_by=started_by(), status=a_running_status()),
        pods=(a_pod(running()),),
        admitted=True,
        parent_is_over=True,
    )
    decision = decide(seen, NOW)
    assert decision.actions == (DeletePod("etl-1-1", "pod-uid-1"),)
    assert decision.reason == Reason.CANCEL_REQUESTED


def test_it_says_why_it_was_cancelled() -> None:
    """Whoever looks at it has not asked for that."""
    decision = decide(a_snapshot(a_run(started_by=started_by()), parent_is_over=True), NOW)
    assert decision.status is not None
    assert decision.status.phase is Phase.CANCELLED
    assert decision.status.message == "FlowRun etl-0, which started this run, is over or was cancelled"


@pytest.mark.parametrize(
    ("run", "parent"),
    [
        pytest.param({}, None, id="a run that a person started"),
        pytest.param({"started_by": started_by(onEnd="Leave")}, None, id="one that goes on by itself"),
        pytest.param({"started_by": started_by()}, ParentRef(name="etl-0", uid="u"), id="one that is waited for"),
        pytest.param({"task": a_task()}, ParentRef(name="etl-0", uid="parent-uid"), id="a task"),
    ],
)
def test_only_what_is_waited_for_ends_with_another_run(run: dict[str, Any], parent: ParentRef | None) -> None:
    """The others have nobody whose end concerns them."""
    assert a_run(**run).parent == parent


def test_the_end_of_the_starter_is_news_to_it() -> None:
    """Until it has ended itself."""
    ends_with = TaskRuns()
    child = a_run(started_by=started_by())
    ends_with.changed(child)
    ends_with.changed(a_run(key=ObjectKey(NAMESPACE, "free"), started_by=started_by(onEnd="Leave")))
    assert ends_with.changed(a_run(key=STARTER, cancel=True)) == [child.key]
    ends_with.changed(a_run(started_by=started_by(), status=RunStatus(phase=Phase.SUCCEEDED)))
    assert ends_with.gone(STARTER) == []


def test_its_own_retries_are_made() -> None:
    """It is a run of its Deployment like any other."""
    flow = a_flow(retries={"limit": 1, "delaySeconds": 0})
    run = a_run(started_by=started_by(), status=a_running_status())
    decision = decide(a_snapshot(run, flow=flow, pods=(a_pod(ended(1)),), admitted=True), NOW)
    assert decision.status is not None
    assert decision.status.phase is Phase.RETRYING


def test_its_pod_knows_where_it_comes_from() -> None:
    """The run that started it, and the one at the top."""
    flow = a_flow()
    made = pod_manifest(a_snapshot(a_run(started_by=started_by()), flow=flow), flow, 1, default_image="x")
    env = {each["name"]: each.get("value") for each in made["spec"]["containers"][0]["env"]}
    assert (env["HEADRACE_PARENT_RUN"], env["HEADRACE_ROOT_RUN"]) == ("etl-0", "top-1")


def test_it_is_read_as_the_api_returns_it() -> None:
    """With what the API server fills in."""
    fields = {"name": "etl-0", "uid": "u", "root": "top-1", "onEnd": "Leave", "namespace": "team-b"}
    run = run_from({"metadata": {"name": "n", "namespace": "team-a", "uid": "x"}, "spec": {"startedBy": fields}})
    assert run.started_by == started_by(onEnd="Leave", namespace="team-b")


@pytest.mark.parametrize(
    ("report", "result"),
    [
        pytest.param({"result": [1]}, {"value": [1]}, id="a small result"),
        pytest.param({"resultUrl": "s3://b/k"}, {"url": "s3://b/k"}, id="one that is stored"),
        pytest.param({"resultOmitted": True}, {"omitted": True}, id="one that is not"),
        pytest.param(
            {"result": 1, "resultUrl": "s3://b/k", "resultOmitted": True}, {"value": 1}, id="never two of them"
        ),
        pytest.param({}, None, id="none"),
    ],
)
def test_what_the_flow_returned_is_told_in_one_way(report: dict[str, Any], result: dict[str, Any] | None) -> None:
    """As the definition has it."""
    text = json.dumps({"version": 1, "state": "Succeeded", **report})
    seen = a_snapshot(a_run(status=a_running_status()), pods=(a_pod(ended(0, message=text)),), admitted=True)
    decision = decide(seen, NOW)
    assert decision.status is not None
    assert decision.status.result == result
