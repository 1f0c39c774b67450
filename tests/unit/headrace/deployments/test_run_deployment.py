"""Runs of Deployments that a flow starts: once for each cause, waited for, and told."""

import asyncio
import pickle
import threading
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pydantic import SecretStr

from headrace import (
    DeploymentRunFailed,
    NoSuchResult,
    RunCancelled,
    UsageError,
    flow,
    run_deployment,
    task,
)
from headrace.deployments.naming import keyed_name
from headrace.errors import ResultsError
from headrace.flow_results import Keeper
from headrace.podapi import PodApiError
from headrace.secrecy import redaction
from headrace.states import Cancelled, Crashed, Failed, Paused, Pending, Running, Succeeded
from tests.unit.headrace.deployments.cluster import ORIGIN, SUCCEEDED, Cluster, Killed, in_pod
from tests.unit.headrace.runs import log_of_runs

FAILED = {"phase": "Failed", "reason": "FlowFailed", "message": "no rows"}
RUNNING = {"phase": "Running", "reason": "Running", "message": "attempt 1 runs"}
BREAKS = PodApiError("GET", 422, "it breaks here")


@pytest.fixture
def cluster():
    return Cluster()


def called(*args, **options):
    """What run_deployment() returns in a flow."""

    @flow
    def top():
        return run_deployment(*args, **options)

    return top()


def test_a_run_is_started_and_waited_for(cluster):
    """With what a run needs, and where it comes from."""
    time = datetime(2026, 1, 1, tzinfo=UTC)
    with in_pod(cluster), log_of_runs() as log:
        run = called("nightly", {"day": date(2026, 1, 1), "n": 3}, scheduled_time=time, priority=5)
    (name,) = cluster.names
    made = cluster.runs[name]
    assert run.name == name.partition("/")[2]
    assert run.name.startswith("top-7-nightly-")
    assert (run.phase, run.reason, run.finished, run.result()) == ("Succeeded", "Succeeded", True, 42)
    assert run.state == Succeeded(data=42, message="")
    assert made["spec"] == {
        "deploymentRef": {"name": "nightly"},
        "parameters": {"day": "2026-01-01", "n": 3},
        "scheduledTime": "2026-01-01T00:00:00Z",
        "priority": 5,
        "startedBy": {"name": "top-7", "uid": "uid-7", "root": "top-7", "onEnd": "Cancel"},
    }
    assert made["metadata"]["labels"] == {
        "headrace.dev/deployment": "nightly",
        "headrace.dev/flow": "etl",
        "headrace.dev/started-by": "top-7",
        "headrace.dev/root": "top-7",
    }
    assert made["metadata"]["annotations"] == {
        "headrace.dev/parent-attempt": "1",
        "headrace.dev/started-by-task": "run-nightly-0",
    }
    assert log.events == [
        "flow_started",
        "task_started run-nightly-0",
        "deployment_run_created run-nightly-0",
        "task_succeeded run-nightly-0",
        "flow_succeeded",
    ]


async def test_it_is_awaited_in_an_async_flow(cluster):
    """The event loop goes on."""
    ticks = []

    async def ticking():
        while not ticks:
            ticks.append("tick")
            await asyncio.sleep(0)

    @flow
    async def top():
        run, _ = await asyncio.gather(run_deployment.aio("nightly"), ticking())
        return await run.result_aio()

    with in_pod(cluster):
        assert await top() == 42
    assert ticks


def test_it_is_a_task_run_of_the_flow(cluster):
    """In the figures, and in the log with what it waits for."""
    cluster.ends = [{"phase": "Pending", "reason": "WaitingForSlot", "message": "1 of 1"}, RUNNING, RUNNING, SUCCEEDED]
    with in_pod(cluster) as session, log_of_runs() as log:
        called("nightly")
    assert session.tally.counts().succeeded == 1
    told = [(each.levelname, each.phase, each.reason) for each in log.records if each.event == "deployment_run_changed"]
    assert told == [("WARNING", "Pending", "WaitingForSlot"), ("INFO", "Running", "Running")]
    assert "neither goes on" in next(each.getMessage() for each in log.records if each.levelname == "WARNING")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (FAILED, Failed),
        ({"phase": "Crashed", "reason": "OOMKilled", "message": "more than 1Gi"}, Crashed),
        ({"phase": "Cancelled", "reason": "Cancelled", "message": "on request"}, Cancelled),
        ({"phase": "Skipped", "reason": "SkippedByConcurrency", "message": "no slot was free"}, Cancelled),
    ],
    ids=lambda value: value.get("phase") if isinstance(value, dict) else "",
)
def test_a_run_that_ends_badly_is_returned(cluster, status, state):
    """And raised by whoever asks for its result; the task run has failed."""
    cluster.ends = [status]
    with in_pod(cluster) as session:
        run = called("nightly")
    assert (run.phase, type(run.state)) == (status["phase"], state)
    with pytest.raises(DeploymentRunFailed, match=f"ended as {status['phase']} .{status['reason']}.: ") as caught:
        run.result()
    assert (caught.value.run, caught.value.reason, caught.value.message) == (run.name, run.reason, run.message)
    assert session.tally.counts().failed == 1


@pytest.mark.parametrize("options", [{"wait": False}, {"timeout_seconds": 0}])
def test_without_waiting_it_is_only_created(cluster, options):
    """And goes on when the flow ends."""
    with in_pod(cluster):
        run = called("nightly", **options)
    assert (run.phase, type(run.state), run.finished) == ("Pending", Pending, False)
    assert "onEnd" not in cluster.runs[cluster.names[0]]["spec"]["startedBy"]
    with pytest.raises(UsageError, match="has no result yet"):
        run.result()


@pytest.mark.parametrize(("asked", "end"), [(True, "Cancel"), (False, None)])
def test_whether_it_ends_with_the_flow_can_be_said(cluster, asked, end):
    """Apart from waiting."""
    with in_pod(cluster):
        called("nightly", wait=False, as_subflow=asked)
    assert cluster.runs[cluster.names[0]]["spec"]["startedBy"].get("onEnd") == end


def test_a_run_that_takes_longer_is_returned_as_it_is(cluster):
    """And goes on."""
    cluster.ends = [RUNNING]
    with in_pod(cluster), log_of_runs() as log:
        run = called("nightly", timeout_seconds=10)
    assert (run.phase, run.state) == ("Running", Running(message="attempt 1 runs"))
    assert cluster.cancelled == []
    assert "task_failed run-nightly-0" in log.events


def test_a_run_that_was_only_started_is_waited_for_later(cluster):
    """Several at once, without threads."""
    with in_pod(cluster) as session:
        run = called("nightly", wait=False)
        ended = run.wait()
        assert ended.wait() is ended
    assert (run.phase, ended.phase, ended.result()) == ("Pending", "Succeeded", 42)
    assert session.tally.counts().total == 1


async def test_it_is_awaited_later(cluster):
    """On an event loop."""
    with in_pod(cluster):
        run = await run_deployment.aio("nightly", wait=False)
        with pytest.raises(UsageError, match="would block the event loop"):
            run.wait()
        assert (await run.wait_aio()).result() == 42


def test_waiting_later_has_an_end_too(cluster):
    """As it is then, or gone."""
    cluster.ends = [RUNNING]
    with in_pod(cluster):
        run = called("nightly", wait=False)
        assert run.wait(timeout_seconds=5).phase == "Running"
        cluster.runs.clear()
        assert run.wait(timeout_seconds=5).reason == "Deleted"


def test_waiting_later_ends_though_the_control_plane_is_away(cluster):
    """With what is known."""
    with in_pod(cluster):
        run = called("nightly", wait=False)
        cluster.faults = [PodApiError("GET", 0, "connection refused")] * 50
        assert run.wait(timeout_seconds=5) is run


def test_a_control_plane_that_is_away_does_not_make_the_time_longer(cluster):
    """What was heard last is returned."""
    with in_pod(cluster):
        away = PodApiError("GET", 0, "connection refused")
        cluster.faults = [None, None, *[away] * 50]
        run = called("nightly", timeout_seconds=5)
    assert run.phase == "Pending"
    assert cluster.faults


@pytest.mark.parametrize(
    ("phase", "state"), [("Retrying", Running), ("Paused", Paused), ("Pending", Pending), ("Running", Running)]
)
def test_a_run_under_way_has_a_state(cluster, phase, state):
    """As far as there are words for it."""
    with in_pod(cluster):
        run = replace(called("nightly", wait=False), phase=phase)
    assert type(run.state) is state
    assert not run.state.is_final()


def test_equal_calls_are_two_runs(cluster):
    """In whatever order they begin, they are the same two again in the next attempt."""

    @flow
    def top():
        return [run_deployment("nightly", {"n": n}).name for n in (1, 1, 2)]

    @flow
    def reordered():
        return [run_deployment("nightly", {"n": n}).name for n in (2, 1, 1)]

    with in_pod(cluster):
        one, again, other = top()
    assert again == f"{one}-r2"
    assert len({one, again, other}) == 3
    with in_pod(cluster, replace(ORIGIN, attempt=2)):
        assert reordered() == [other, one, again]
    assert len(cluster.names) == 3


def test_equal_calls_at_the_same_time_are_two_runs_too(cluster):
    """In threads of their own."""
    both = threading.Barrier(2)
    cluster.on_watch = both.wait

    @task
    def start():
        return run_deployment("nightly").name

    @flow
    def top():
        return {each.result() for each in [start.submit(), start.submit()]}

    with in_pod(cluster):
        assert len(top()) == 2
    assert len(cluster.names) == 2


def test_a_flow_that_starts_over_waits_for_what_still_runs(cluster):
    """Its process died while the run went on."""
    with in_pod(cluster):
        cluster.faults = [None, None, BREAKS]
        with pytest.raises(PodApiError):
            called("nightly")
    with in_pod(cluster, replace(ORIGIN, attempt=2)), log_of_runs() as log:
        assert called("nightly").result() == 42
    assert len(cluster.names) == 1
    assert "deployment_run_taken_up run-nightly-0" in log.events


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
def test_a_flow_that_is_killed_at_any_request_has_one_run(cluster, number, side):
    """On either side of reading the Deployment, creating the run, reading it, and watching it; twice over."""
    for attempt in (1, 2):
        cluster.requests, cluster.kill_at = 0, (number, side)
        with in_pod(cluster, replace(ORIGIN, attempt=attempt)), pytest.raises(Killed):
            called("nightly")
    cluster.kill_at = None
    with in_pod(cluster, replace(ORIGIN, attempt=3)):
        assert called("nightly").result() == 42
    assert len(cluster.names) == 1


def test_what_has_succeeded_does_not_run_again(cluster):
    """Its result is there."""
    with in_pod(cluster):
        called("nightly")
    cluster.ends = []
    with in_pod(cluster, replace(ORIGIN, attempt=2)):
        assert called("nightly").result() == 42
    assert len(cluster.names) == 1


@pytest.mark.parametrize("phase", ["Failed", "Crashed", "Cancelled", "Skipped"])
def test_what_failed_in_an_earlier_attempt_is_started_anew(cluster, phase):
    """A retry of the flow would be none otherwise."""
    cluster.ends = [{"phase": phase}]
    with in_pod(cluster):
        called("nightly")
    cluster.ends = [SUCCEEDED]
    with in_pod(cluster, replace(ORIGIN, attempt=2)):
        run = called("nightly")
    assert run.result() == 42
    assert cluster.names[1] == f"{cluster.names[0]}-r2"


def test_what_has_succeeded_is_kept_where_results_are(cluster, tmp_path):
    """Also when the Deployment's history keeps its runs no longer."""
    kept = {"results_url": f"file://{tmp_path}", "namespace": "team-a"}
    with in_pod(cluster, **kept):
        first = called("nightly")
    cluster.runs.clear()
    with in_pod(cluster, replace(ORIGIN, attempt=2), attempt=2, **kept), log_of_runs() as log:
        assert called("nightly") == first
    assert cluster.names == []
    assert "task_cached run-nightly-0" in log.events


def test_what_did_not_succeed_is_not_kept(cluster, tmp_path):
    """The next attempt starts it anew."""
    kept = {"results_url": f"file://{tmp_path}", "namespace": "team-a"}
    cluster.ends = [FAILED]
    with in_pod(cluster, **kept):
        called("nightly")
    cluster.ends = [SUCCEEDED]
    with in_pod(cluster, replace(ORIGIN, attempt=2), attempt=2, **kept):
        assert called("nightly").result() == 42


def test_an_answer_that_was_lost_makes_no_second_run(cluster):
    """The run is there, made by this attempt: even its failure is the answer."""
    with in_pod(cluster):
        called("nightly")
    cluster.end(cluster.names[0], **FAILED)
    with in_pod(cluster):
        assert called("nightly").phase == "Failed"
    assert len(cluster.names) == 1


def test_a_retried_task_goes_on_with_the_run_that_it_has_begun(cluster):
    """The same attempt of the flow: its wait was broken off, the run was not."""
    cluster.faults = [None, None, BREAKS]

    @task(retries=1)
    def start():
        return run_deployment("nightly").result()

    with in_pod(cluster):
        assert flow(name="top")(lambda: start())() == 42  # noqa: PLW0108 - a flow needs a function of its own
    assert len(cluster.names) == 1


def test_a_retried_task_starts_another_run_where_the_first_has_failed(cluster):
    """That is what it is retried for."""
    cluster.ends = [FAILED]

    @task(retries=1)
    def start():
        run = run_deployment("nightly")
        cluster.ends = [SUCCEEDED]
        return run.result()

    with in_pod(cluster):
        assert flow(name="top")(lambda: start())() == 42  # noqa: PLW0108 - as above
    assert len(cluster.names) == 2


def test_a_run_of_another_parent_of_the_same_name_is_left_alone(cluster):
    """Its parent was deleted and made anew."""
    with in_pod(cluster):
        called("nightly")
    with in_pod(cluster, replace(ORIGIN, uid="uid-8")):
        called("nightly")
    assert len(cluster.names) == 2


def test_a_key_names_one_run_whoever_asks(cluster):
    """As `headrace start --idempotency-key` has it."""
    with in_pod(cluster):
        first = called("nightly", idempotency_key="2026-01-01")
    with in_pod(cluster, replace(ORIGIN, run="other", uid="uid-9")), log_of_runs() as log:
        again = called("nightly", {"n": 2}, idempotency_key="2026-01-01")
    assert first == again
    assert first.name == keyed_name("nightly", "2026-01-01")
    assert cluster.runs[cluster.names[0]]["spec"]["idempotencyKey"] == "2026-01-01"
    assert "deployment_run_differs run-nightly-0" in log.events


def test_a_key_that_is_taken_by_something_else_is_told(cluster):
    """It would be another run's result."""
    with in_pod(cluster):
        name = called("nightly", idempotency_key="k").name
        del cluster.runs[f"team-a/{name}"]["spec"]["idempotencyKey"]
        with pytest.raises(UsageError, match="is of another cause; delete it"):
            called("nightly", idempotency_key="k")


def test_a_run_that_was_deleted_is_told(cluster):
    """The flow does not wait for ever."""
    with in_pod(cluster):
        cluster.faults = [None, None, PodApiError("GET", 404, "not found")]
        run = called("nightly")
    assert (run.phase, run.reason) == ("Cancelled", "Deleted")


def test_a_deployment_that_is_not_there_is_told_with_those_that_are(cluster):
    """Nothing was created."""
    with in_pod(cluster), pytest.raises(UsageError, match=r"no Deployment of that name in namespace team-a \(known: nightly, other\)"):  # fmt: skip
        called("nightl")
    assert cluster.names == []


def test_a_deployment_that_may_not_be_read_is_started_all_the_same(cluster):
    """The operator knows whether it is there."""
    with in_pod(cluster):
        cluster.faults = [PodApiError("GET", 403, "forbidden")]
        assert called("nightly").result() == 42


@pytest.mark.parametrize(
    ("name", "says"),
    [("nightly", "make a Role in namespace team-a with"), ("team-b/nightly", "make a Role in namespace team-b with")],
)
def test_a_right_that_is_missing_is_told(cluster, name, says):
    """With the Role to make, and for whom."""
    cluster.deployments["team-b/nightly"] = {}
    cluster.faults = [None, PodApiError("POST", 403, "forbidden")]
    with in_pod(cluster), pytest.raises(UsageError, match=says) as caught:
        called(name)
    assert 'the ServiceAccount of Flow "top" in namespace team-a' in str(caught.value)


@pytest.mark.parametrize("conflict", [None, "Queue", "Replace"])
def test_a_run_that_would_wait_for_itself_is_refused(cluster, conflict):
    """Its Deployment has one slot, and this run holds it."""
    concurrency = {"limit": 1} | ({"onConflict": conflict} if conflict else {})
    cluster.deployments["team-a/nightly"]["concurrency"] = concurrency
    own = replace(ORIGIN, deployment="nightly")
    with in_pod(cluster, own), pytest.raises(UsageError, match="each would wait for the other"):
        called("nightly")
    with in_pod(cluster, own):
        assert called("nightly", wait=False).phase == "Pending"


def test_another_namespace_is_named_before_the_deployment(cluster):
    """The run there does not end with this one by itself: the API knows no owners across namespaces."""
    cluster.deployments["team-b/nightly"] = {}
    with in_pod(cluster):
        run = called("team-b/nightly")
    assert run.namespace == "team-b"
    made = cluster.runs[cluster.names[0]]["spec"]["startedBy"]
    assert made == {"namespace": "team-a", "name": "top-7", "uid": "uid-7", "root": "top-7"}


def stopped(cluster, name="nightly"):
    """The flow is told to stop while it waits."""

    def stop():
        raise RunCancelled("SIGTERM")

    cluster.on_watch = stop
    with pytest.raises(RunCancelled):
        called(name)


def test_a_pod_that_is_told_to_stop_leaves_the_run_alone(cluster):
    """It may be evicted, and its next attempt goes on with the run; a cancelled one is the operator's to tell."""
    with in_pod(cluster):
        stopped(cluster)
    assert cluster.cancelled == []


@pytest.mark.parametrize(("cancelled", "count"), [(True, 1), (False, 0)])
def test_a_cancelled_run_cancels_what_it_waits_for_in_another_namespace(cluster, cancelled, count):
    """The operator does not do that there."""
    cluster.deployments["team-b/nightly"] = {}
    cluster.runs["team-a/top-7"] = {"metadata": {}, "spec": {"cancel": cancelled}}
    with in_pod(cluster):
        stopped(cluster, "team-b/nightly")
    assert len(cluster.cancelled) == count


def test_on_a_laptop_the_run_is_named_by_the_time(cluster):
    """Nobody finds it again, so nobody has to."""
    with in_pod(cluster, None):
        run = called("nightly")
    assert run.name.startswith("nightly-20260101070000-")
    assert "startedBy" not in cluster.runs[cluster.names[0]]["spec"]
    assert run.result() == 42


def test_on_a_laptop_ctrl_c_cancels_the_run(cluster):
    """Nobody else would."""
    with in_pod(cluster, None):
        stopped(cluster)
    assert cluster.cancelled == cluster.names


async def test_on_a_laptop_a_cancelled_await_cancels_the_run(cluster):
    """As above."""
    begun, free = threading.Event(), threading.Event()
    cluster.on_watch = lambda: (begun.set(), free.wait(10))

    @flow
    async def top():
        await run_deployment.aio("nightly")

    with in_pod(cluster, None):
        waits = asyncio.ensure_future(top())
        await asyncio.to_thread(begun.wait)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
    free.set()
    assert cluster.cancelled == cluster.names


def test_without_a_flow_it_works_too(cluster):
    """In a plain program."""
    with in_pod(cluster, None):
        assert run_deployment("nightly").result() == 42


def test_what_the_run_returned_comes_from_the_storage(cluster, tmp_path):
    """Where it was too large for the status."""
    url = f"file://{tmp_path}/result-1"
    Keeper(url, "etl", "etl-1").delivered(Succeeded(data=["x" * 5000]))
    cluster.ends = [{"phase": "Succeeded", "result": {"url": url}}]
    with in_pod(cluster):
        assert called("nightly").result() == ["x" * 5000]


def test_a_result_that_was_left_out_is_told(cluster):
    """It is not None."""
    cluster.ends = [{"phase": "Succeeded", "result": {"omitted": True}}]
    with in_pod(cluster), pytest.raises(NoSuchResult, match=r"set spec\.results\.url of its Flow"):
        called("nightly").result()


def test_no_result_is_none(cluster):
    """Its flow returned nothing."""
    cluster.ends = [{"phase": "Succeeded"}]
    with in_pod(cluster):
        assert called("nightly").result() is None


def test_a_run_can_be_pickled(cluster):
    """It is a task's result, and kept as such."""
    with in_pod(cluster):
        run = called("nightly")
    assert pickle.loads(pickle.dumps(run)) == run
    error = replace(run, phase="Failed", reason="FlowFailed").failure()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_it_is_not_called_where_it_would_block_the_event_loop(cluster):
    """With what to write instead."""

    @flow
    async def top():
        run_deployment("nightly")

    with in_pod(cluster), pytest.raises(UsageError, match=r"await run_deployment.aio"):
        await top()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "Nightly"}, "expected the name of a Deployment"),
        ({"name": "a/b/c"}, "expected the name of a Deployment"),
        ({"name": 7}, "expected the name of a Deployment"),
        ({"parameters": [1]}, "parameters is .1., expected a dict"),
        ({"parameters": {"a": object()}}, "the parameters are no JSON"),
        ({"parameters": {"a": float("nan")}}, "the parameters are no JSON"),
        ({"timeout_seconds": -1}, "timeout_seconds is -1"),
        ({"timeout": 3}, 'did you mean "timeout_seconds"'),
        ({"wait": "no"}, "wait is 'no', expected True or False"),
        ({"idempotency_key": ""}, "expected text of 1 to 253 characters"),
        ({"scheduled_time": datetime(2026, 1, 1)}, "expected an aware datetime"),  # noqa: DTZ001 - that is the mistake
        ({"priority": 2**31}, "expected a whole number"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_created(cluster, arguments, says):
    """With what to write."""
    with in_pod(cluster), pytest.raises(UsageError, match=says):
        called(**{"name": "nightly", **arguments})
    assert cluster.names == []


def test_a_secret_is_no_parameter(cluster):
    """It would be plain in the API, or its mask would arrive in its place; nothing is created."""
    for secret in (SecretStr("staple"), {"login": [SecretStr("staple")]}):
        with (
            in_pod(cluster),
            pytest.raises(UsageError, match=r'parameter "password" holds a secret.*secretRef') as caught,
        ):
            called("nightly", {"password": secret})
        assert "staple" not in str(caught.value)
    assert not cluster.names


def test_a_parameter_with_the_text_of_a_secret_is_told(cluster, monkeypatch):
    """It may be meant so: user names and the like are words of every day. Naming a Secret is fine."""
    monkeypatch.setattr(redaction.SECRETS, "forms", ("postgres",))
    reference = {"secretRef": {"name": "postgres", "key": "password"}}
    with in_pod(cluster), log_of_runs() as log:
        called("nightly", {"url": "postgres://db", "day": 3, "password": reference})
    assert sum(each.startswith("secret_in_parameters") for each in log.events) == 1
    assert len(cluster.names) == 1


def test_a_pickle_from_another_namespace_is_not_read(cluster, tmp_path):
    """It is the run's own status that says where it is: people of another team could run code here."""
    url = f"file://{tmp_path}/result-1"
    Keeper(url, "etl", "etl-1").delivered(Succeeded(data={"a": float("inf"), "b": ("x" * 5000, {1})}))
    cluster.ends = [{"phase": "Succeeded", "result": {"url": url}}] * 2
    cluster.deployments["team-b/nightly"] = {}
    with in_pod(cluster, namespace="team-a"):
        assert called("nightly").result()["a"] == float("inf")
        with pytest.raises(ResultsError, match="its run is of another namespace"):
            called("team-b/nightly").result()
