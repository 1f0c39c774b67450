"""Tasks with pods of their own, from the call in the flow's pod to the result, over real processes."""

import asyncio
import os
import re
from pathlib import Path

import pytest

import headrace
from headrace import Pod, RemoteTaskFailed, RetryRun, TimedOut, UsageError, flow, task
from headrace.engine.session import current_session, using
from headrace.podapi import PodApiError
from headrace.results.cargo import opened
from headrace.states import Failed
from tests.unit.headrace.remote.cluster import Cluster, in_flows_pod
from tests.unit.headrace.runs import a_session, log_of_runs


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/results"


def called(body):
    """What a flow with this body returns."""

    def main():
        return body()

    return flow(main)()


def test_a_task_runs_in_a_process_of_its_own_and_its_result_comes_back(cluster, url):
    """Classes of the flow's file too, there and back."""
    with in_flows_pod(cluster, url) as flows:
        point = flows.main()
    assert (point.x, len(point.y)) == (3, 1)
    assert isinstance(point, flows.Point)
    assert point.y[0] != os.getpid()
    assert cluster.ran == ["etl-7-shifted-0"]


def test_the_flow_run_carries_on_what_its_parent_has(cluster, url):
    """Owner, revision, parameters, and what the pod asks for."""
    with in_flows_pod(cluster, url, scheduled_time="2026-01-01T07:00:00Z") as flows:
        flows.main()
    made = cluster.objects["etl-7-shifted-0"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-7"
    assert made["metadata"]["labels"]["headrace.dev/parent"] == "etl-7"
    spec = made["spec"]
    folder = f"{url}/team-a/etl-7/uid-7/shifted-0"
    assert spec == {
        "flowRef": {"name": "etl", "revision": "rev1"},
        "parameters": {"day": "2026-01-01"},
        "scheduledTime": "2026-01-01T07:00:00Z",
        "task": {
            "name": "shifted",
            "parent": {"name": "etl-7", "uid": "uid-7"},
            "function": "remote_flows.py:shifted",
            "input": spec["task"]["input"],
            "output": spec["task"]["output"],
            "resources": {"requests": {"nvidia.com/gpu": 1, "memory": "1Gi"}, "limits": {"nvidia.com/gpu": 1}},
            "pools": {"names": ["gpu"]},
            "timeoutSeconds": 600,
        },
    }
    assert re.fullmatch(re.escape(folder) + "/input-[0-9a-f]{16}", spec["task"]["input"])
    assert re.fullmatch(re.escape(folder) + "/output-[0-9a-f]{16}-1", spec["task"]["output"])


def test_the_flow_run_tells_no_password_of_the_storage(cluster, url):
    """Everybody who may read FlowRuns would read it."""
    with in_flows_pod(cluster, f"{url}?token=s3cret&region=eu") as flows:
        assert flows.main().x == 3
    spec = cluster.objects["etl-7-shifted-0"]["spec"]
    assert "s3cret" not in repr(spec)
    assert spec["task"]["output"].endswith("-1?region=eu")


def test_the_task_sees_the_run_that_called_it(cluster, url):
    """Its name, its id and its parameters; the task run is numbered as on a laptop."""
    with in_flows_pod(cluster, url) as flows:
        found = called(lambda: [flows.told(), flows.told()][1])
    expected = {"run": "etl-7", "id": "uid-7", "task_run": "told-1", "parameters": {"day": "2026-01-01"}}
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "error"),
    [("odd", "Odd"), ("again", "RetryRun"), ("more", "RemoteTaskFailed"), ("lock", "UsageError")],
)
def test_what_the_task_raises_is_raised_where_it_was_called(cluster, url, kind, error):
    """The exception itself; in words where it cannot be made anew."""
    with in_flows_pod(cluster, url) as flows, pytest.raises(Exception) as caught:
        called(lambda: flows.told(kind))
    assert type(caught.value).__name__ == error
    if kind == "odd":
        assert caught.value.number == 7
        assert "raised in FlowRun team-a/etl-7-told-0" in caught.value.__notes__[0]
        assert cluster.logs["etl-7-told-0"].count("task_retrying") == 2, "its retries are made in its pod"
    if kind == "again":
        assert isinstance(caught.value, RetryRun)
        assert caught.value.delay_seconds == 5
    if kind == "more":
        assert "TakesMore: one" in str(caught.value)
        assert "kubectl logs -n team-a -l headrace.dev/flow-run=etl-7-told-0" in str(caught.value)
    if kind == "lock":
        assert "its result cannot be pickled" in str(caught.value)


def test_the_result_is_stored_in_the_format_that_the_task_asks_for(cluster, url):
    """By its pod."""
    with in_flows_pod(cluster, url) as flows:
        assert called(flows.pickled) == [1]
    (stored,) = Path(url.removeprefix("file://")).rglob("output-*")
    assert opened(stored.read_bytes()).format == "pickle"


def test_a_timeout_of_the_task_is_kept_in_its_pod(cluster, url):
    """And raised as everywhere."""
    with in_flows_pod(cluster, url) as flows, pytest.raises(TimedOut):
        called(flows.slow)


def test_tasks_are_awaited_submitted_and_bound_to_objects(cluster, url):
    """As tasks that run here."""
    with in_flows_pod(cluster, url) as flows:

        async def awaits():
            return await flows.on_loop(1), await flows.on_loop.submit(2)

        assert asyncio.run(flow(name="main")(awaits)()) == (2, 3)
        assert called(lambda: [each.result() for each in flows.told.map(["a", "b"])][1]["task_run"]) == "told-1"
        assert called(lambda: flows.Model(3).scored(4)) == 12


def test_a_flow_that_starts_over_takes_up_what_it_began(cluster, url):
    """What has succeeded is not run again."""
    with in_flows_pod(cluster, url) as flows:
        first = flows.main()
    with in_flows_pod(cluster, url, attempt=2) as flows, log_of_runs() as log:
        again = flows.main()
    assert again == first
    assert cluster.ran == ["etl-7-shifted-0"]
    assert "task_run_taken_up shifted-0" in log.events


def test_a_flow_that_starts_over_waits_for_what_still_runs(cluster, url):
    """The process died while its task went on."""
    with in_flows_pod(cluster, url) as flows:
        cluster.faults = [None, None, PodApiError("GET", 422, "it breaks here")]
        with pytest.raises(PodApiError):
            flows.main()
    with in_flows_pod(cluster, url, attempt=2) as flows:
        assert flows.main().x == 3
    assert list(cluster.objects) == cluster.ran == ["etl-7-shifted-0"]


@pytest.mark.parametrize("phase", ["Failed", "Crashed", "Cancelled"])
def test_what_failed_in_an_earlier_attempt_is_made_anew(cluster, url, phase):
    """Under the next name; its result is its own."""
    with in_flows_pod(cluster, url) as flows:
        flows.main()
    cluster.end("etl-7-shifted-0", phase)
    with in_flows_pod(cluster, url, attempt=2) as flows:
        flows.main()
    assert cluster.ran == ["etl-7-shifted-0", "etl-7-shifted-0-r2"]
    assert cluster.objects["etl-7-shifted-0-r2"]["spec"]["task"]["output"].endswith("-2")


def test_a_result_that_is_gone_is_made_anew(cluster, url, tmp_path):
    """The storage was emptied between two attempts."""
    with in_flows_pod(cluster, url) as flows:
        flows.main()
    for path in (tmp_path / "results").rglob("output-*"):
        path.unlink()
    with in_flows_pod(cluster, url, attempt=2) as flows:
        flows.main()
    assert cluster.ran == ["etl-7-shifted-0", "etl-7-shifted-0-r2"]


def test_other_arguments_are_another_run(cluster, url):
    """The result of the old ones is not theirs; what still runs with them is cancelled."""
    with in_flows_pod(cluster, url) as flows:
        cluster.faults = [None, None, PodApiError("GET", 422, "it breaks here")]
        with pytest.raises(PodApiError):
            called(lambda: flows.shifted(flows.Point(1, ())))
    with in_flows_pod(cluster, url, attempt=2) as flows:
        assert called(lambda: flows.shifted(flows.Point(5, ()))).x == 6
    assert cluster.cancelled == ["etl-7-shifted-0"]
    assert cluster.ran == ["etl-7-shifted-0-r2"]


def test_a_run_of_another_parent_of_the_same_name_is_left_alone(cluster, url):
    """Its parent was deleted and made anew: it is on its way out."""
    with in_flows_pod(cluster, url) as flows:
        flows.main()
    with in_flows_pod(cluster, url, uid="uid-8") as flows:
        flows.main()
    assert cluster.ran == ["etl-7-shifted-0", "etl-7-shifted-0-r2"]
    assert cluster.cancelled == []


def test_an_answer_that_was_lost_makes_no_second_run(cluster, url):
    """The run is there already, made by this attempt: even its failure is the answer."""
    with in_flows_pod(cluster, url) as flows, pytest.raises(flows.Odd):
        called(lambda: flows.told("odd"))
    with in_flows_pod(cluster, url) as flows, pytest.raises(flows.Odd):
        called(lambda: flows.told("odd"))
    assert cluster.ran == ["etl-7-told-0"]


def test_a_control_plane_that_is_away_is_waited_for(cluster, url):
    """With growing pauses."""
    away = PodApiError("POST", 0, "connection refused")
    cluster.faults = [away, away, PodApiError("POST", 503, "busy"), None, away]
    with in_flows_pod(cluster, url) as flows, log_of_runs() as log:
        assert flows.main().x == 3
        assert current_session().clock.slept == [0.5, 1.0, 2.0, 0.5]
    assert log.events.count("api_unreachable shifted-0") == 4


def test_a_run_that_somebody_deleted_is_told(cluster, url):
    """The flow does not wait for ever."""
    with in_flows_pod(cluster, url) as flows:
        cluster.faults = [None, PodApiError("GET", 404, "not found")]
        with pytest.raises(RemoteTaskFailed, match="somebody deleted it") as caught:
            flows.main()
    assert caught.value.reason == "Deleted"


def test_what_the_cluster_did_to_it_is_told(cluster, url):
    """No exception is there to raise: the run's own words."""
    with in_flows_pod(cluster, url) as flows:
        cluster.run = lambda name: cluster.end(name, "Crashed", "OOMKilled", "more memory than 1Gi")
        with pytest.raises(RemoteTaskFailed, match="ended as OOMKilled: more memory than 1Gi"):
            flows.main()


def test_a_torn_result_is_none(cluster, url, tmp_path):
    """It is told, not returned."""
    with in_flows_pod(cluster, url) as flows:
        flows.main()
        (output,) = (tmp_path / "results").rglob("output-*")
        output.write_bytes(output.read_bytes()[:-1])
        with pytest.raises(RemoteTaskFailed, match="not whole") as caught:
            flows.main()
    assert caught.value.reason == "ResultUnreadable"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": ""}, "set spec.results.url of Flow"),
        ({"fault": PodApiError("POST", 403, "forbidden")}, "create, get, watch and patch on flowruns.headrace.dev"),
    ],
)
def test_what_the_flow_lacks_is_told(cluster, url, changes, says):
    """With the field to set."""
    cluster.faults = [changes["fault"]] if "fault" in changes else []
    with in_flows_pod(cluster, changes.get("url", url)) as flows, pytest.raises(UsageError, match=says):
        flows.main()


def test_a_wrong_call_is_told_before_anything_is_sent(cluster, url):
    """With the signature of the task."""
    with in_flows_pod(cluster, url) as flows, pytest.raises(UsageError, match=r"call it as shifted\(point, by=1\)"):
        called(lambda: flows.shifted(1, 2, 3))
    assert cluster.objects == {}


def test_arguments_that_cannot_travel_are_told(cluster, url):
    """Before a pod is asked for."""
    with in_flows_pod(cluster, url) as flows, pytest.raises(UsageError, match="its arguments cannot be pickled"):
        called(lambda: flows.shifted(each for each in []))
    assert cluster.objects == {}


def test_a_task_under_another_name_is_told(cluster, url):
    """Its process would find the bare function, without the options."""
    with in_flows_pod(cluster, url) as flows, pytest.raises(UsageError, match="write @task above its `def`"):
        called(lambda: flows.unreachable(1))


def test_without_a_cluster_it_runs_here_and_says_so_once():
    """The same file on a laptop."""
    with using(a_session()), log_of_runs() as log:
        local = flow(name="main")(lambda: (here(1), here(2)))
        assert local() == (os.getpid(), os.getpid())
    assert log.events.count("task_kept_here here-0") == 1


@task(pod=Pod())
def here(x):
    return os.getpid()


def test_a_result_that_was_stored_before_the_pod_was_lost_is_used(cluster, url):
    """The next attempt of the task's run does not run the task."""
    with in_flows_pod(cluster, url) as flows:
        called(flows.told)
        report = cluster.run("etl-7-told-0", HEADRACE_ATTEMPT="2")
    assert report["result"]["run"] == "etl-7"
    assert "task_started" not in cluster.logs["etl-7-told-0"]


@pytest.mark.parametrize(
    ("task_json", "says"),
    [
        ("{", "HEADRACE_TASK is '{'"),
        ('{"name": "told"}', "expected a JSON object with name, function, input, output and parent"),
    ],
)
def test_a_task_that_cannot_be_read_is_refused(cluster, url, task_json, says):
    """Exit code 78: nothing would mend it."""
    with in_flows_pod(cluster, url) as flows:
        called(flows.told)
        report = cluster.run("etl-7-told-0", HEADRACE_TASK=task_json)
    assert (report["state"], report["reason"]) == ("Failed", "BadEntrypoint")
    assert says in report["message"]


def test_a_state_is_returned_on_request(cluster, url):
    """As for any task."""
    with in_flows_pod(cluster, url) as flows:
        state = called(lambda: flows.told("odd", return_state=True))
    assert isinstance(state, Failed)
    assert headrace.errors.shown(state.exception) == "Odd(7)"
