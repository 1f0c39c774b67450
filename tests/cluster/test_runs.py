"""The life of a run, on a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.puppet import Ends, Runs, Stuck, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition

START_DEADLINE_S = 5
KEPT_BYTES = 4 * 1024
"""The budget for a run with few tasks."""
QUICK = {"delaySeconds": 0, "jitter": 0}


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(
        client, kubeconfig, namespace, tmp_path, start_deadline_s=START_DEADLINE_S, status_delay_s=0.1
    ) as made:
        yield made


def attempt_of(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["headrace.dev/attempt"])


async def let_go(world: World, pod: str) -> dict[str, Any]:
    """The pod, once it may go."""

    async def found() -> dict[str, Any] | None:
        found = await world.pod(pod)
        return None if found["metadata"].get("finalizers") else found

    return await eventually(found, what="the pod is let go")


async def test_a_run_goes_to_succeeded_and_tells_what_it_did(world: World) -> None:
    """Status, attempts, tasks, result and usage come from the pod's end; the pod is let go."""
    said = report(result={"rows": 3}, tasks={"total": 2, "succeeded": 2}, usage={"cpuSeconds": 0.5})
    world.puppet.script = lambda _pod: Ends(message=said)
    flow = await world.a_flow()
    await world.a_run("etl-1", parameters={"day": "2026-01-01"})
    status = await world.finished("etl-1")

    assert (status["phase"], status["reason"]) == ("Succeeded", "Succeeded")
    assert [(a["number"], a["pod"], a["exitCode"]) for a in status["attempts"]] == [(1, "etl-1-1", 0)]
    assert status["result"] == {"value": {"rows": 3}}
    assert status["tasks"]["succeeded"] == 2
    assert status["usage"]["cpuSeconds"] == 0.5
    assert condition(status, "Completed") == ("True", "Succeeded")
    assert status["flowRevision"] == (await world.status("Flow", flow["metadata"]["name"]))["revision"]
    await let_go(world, "etl-1-1")
    assert await world.events("etl-1") == []


async def test_what_the_api_keeps_of_a_finished_run_is_small(world: World) -> None:
    """
    Of the status its writer is kept, not who wrote each field of it: that was as much again as the status itself. And of its
    pod nothing of that kind.
    """
    world.puppet.script = lambda _pod: Ends(message=report(result={"rows": 3}, tasks={"total": 2, "succeeded": 2}))
    await world.a_flow()
    await world.a_run("etl-1", parameters={"day": "2026-01-01"})
    await world.finished("etl-1")
    run = await world.get("FlowRun", "etl-1")
    (of_status,) = (each for each in run["metadata"]["managedFields"] if each.get("subresource") == "status")
    assert of_status["fieldsV1"] == {"f:status": {}}
    assert len(orjson.dumps(run)) < KEPT_BYTES
    assert "managedFields" not in (await let_go(world, "etl-1-1"))["metadata"]


async def test_the_pod_carries_code_parameters_and_identity(world: World) -> None:
    """Inline files are mounted read-only, parameters travel as data, no token is mounted."""
    await world.a_flow(timeoutSeconds=90, env=[{"name": "REGION", "value": "eu"}])
    await world.a_run("etl-1", parameters={"text": "costs $5 $(HOME) $$"})
    pod = await world.pod("etl-1-1")
    container = pod["spec"]["containers"][0]
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert container["command"] == ["python", "-m", "headrace.pod"]
    assert env["REGION"] == "eu"
    assert env["HEADRACE_ENTRYPOINT"] == "etl.py:main"
    assert env["HEADRACE_PARAMETERS"] == '{"text":"costs $$5 $$(HOME) $$$$"}'
    assert pod["spec"]["activeDeadlineSeconds"] == 90
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "FlowRun"
    code = next(volume["configMap"]["name"] for volume in pod["spec"]["volumes"] if "configMap" in volume)
    stored = await world.client.get(f"/api/v1/namespaces/{world.namespace}/configmaps/{code}")
    assert stored["immutable"] is True
    assert stored["data"] == {"etl.py": "def main(): ..."}


async def test_a_failed_flow_is_tried_again_with_backoff_then_succeeds(world: World) -> None:
    """Each failure is an attempt; the waits between them are told in the status."""
    world.puppet.script = lambda pod: (
        Ends(1, message=report("Failed")) if attempt_of(pod) < 3 else Ends(message=report())
    )
    await world.a_flow(retries={"limit": 2, "delaySeconds": 1, "factor": 1, "jitter": 0})
    await world.a_run("etl-1")
    waiting = await world.run_is("etl-1", "Retrying")
    assert waiting["nextAttemptAt"]
    status = await world.finished("etl-1")
    assert status["phase"] == "Succeeded"
    assert [attempt["exitCode"] for attempt in status["attempts"]] == [1, 1, 0]
    assert world.puppet.started == ["etl-1-1", "etl-1-2", "etl-1-3"]


async def test_exhausted_retries_end_as_failed_with_the_last_reason(world: World) -> None:
    """The reason stays that of the failure; the message says that no retry is left."""
    world.puppet.script = lambda _pod: Ends(1, message=report("Failed", reason="FlowFailed", message="KeyError: 'x'"))
    await world.a_flow(retries={"limit": 1, **QUICK})
    await world.a_run("etl-1")
    status = await world.finished("etl-1")
    assert (status["phase"], status["reason"], len(status["attempts"])) == ("Failed", "FlowFailed", 2)
    assert condition(status, "Completed") == ("True", "FlowFailed")
    assert "KeyError: 'x'" in status["message"]
    assert "no retry left of 1" in status["message"]
    assert "FlowFailed" in {reason for reason, _ in await world.events("etl-1")}


@pytest.mark.parametrize(
    ("ending", "phase", "reason", "attempts"),
    [
        pytest.param(Ends(78), "Failed", "CannotStart", 1, id="a flow that cannot start is not tried again"),
        pytest.param(
            Ends(78, message=report("Failed", reason="ImportError", message="No module named 'pandas'")),
            "Failed",
            "ImportError",
            1,
            id="an import error is told as such",
        ),
        pytest.param(
            Ends(137, reason="OOMKilled"), "Crashed", "OOMKilled", 3, id="an OOM kill counts as infrastructure"
        ),
        pytest.param(
            Ends(137, pod_reason="Evicted"),
            "Crashed",
            "Evicted",
            3,
            id="an eviction by the kubelet counts as infrastructure",
        ),
        pytest.param(
            Ends(
                137,
                conditions=(
                    {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "m"},
                ),
            ),
            "Crashed",
            "Preempted",
            3,
            id="a preemption counts as infrastructure",
        ),
        pytest.param(
            Ends(
                137,
                conditions=(
                    {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "m"},
                ),
            ),
            "Crashed",
            "NodeLost",
            3,
            id="a lost node counts as infrastructure",
        ),
        pytest.param(
            Ends(137, pod_reason="DeadlineExceeded"), "Failed", "TimedOut", 2, id="a timeout counts as a failure"
        ),
    ],
)
async def test_each_ending_counts_against_its_own_retries(
    world: World, ending: Ends, phase: str, reason: str, attempts: int
) -> None:
    """Flow retries are for the flow, infrastructure retries for the cluster; a flow that cannot start gets neither."""
    world.puppet.script = lambda _pod: ending
    await world.a_flow(retries={"limit": 1, **QUICK}, infrastructureRetries={"limit": 2, **QUICK}, timeoutSeconds=30)
    await world.a_run("etl-1")
    status = await world.finished("etl-1")
    assert (status["phase"], status["reason"], len(status["attempts"])) == (phase, reason, attempts)


async def test_a_pod_that_somebody_deletes_is_replaced_only_when_it_has_ended(world: World) -> None:
    """At most one live pod per run, whoever deletes one."""
    world.puppet.script = lambda pod: Runs() if attempt_of(pod) == 1 else Ends(message=report())
    await world.a_flow(infrastructureRetries={"limit": 1, **QUICK})
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Running")
    await world.delete_pod("etl-1-1")
    status = await world.finished("etl-1")
    assert [attempt["reason"] for attempt in status["attempts"]] == ["PodDeleted", "Succeeded"]
    assert world.puppet.most_live == 1


async def test_cancelling_ends_the_pod_and_the_run(world: World) -> None:
    """spec.cancel asks the pod to end; the run is Cancelled when it has."""
    world.puppet.script = lambda _pod: Runs(on_term=Ends(143))
    await world.a_flow(retries={"limit": 3, **QUICK})
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Running")
    await world.patch("FlowRun", "etl-1", {"cancel": True})
    status = await world.finished("etl-1")
    assert (status["phase"], status["reason"], len(status["attempts"])) == ("Cancelled", "Cancelled", 1)


async def test_a_run_cancelled_before_it_starts_gets_no_pod(world: World) -> None:
    """Nothing is launched for a run that nobody wants any more."""
    await world.a_flow()
    await world.a_run("etl-1", cancel=True)
    assert (await world.finished("etl-1"))["phase"] == "Cancelled"
    assert world.puppet.started == []


async def test_a_suspended_run_waits_and_goes_on(world: World) -> None:
    """spec.suspend holds back the next attempt, and only that."""
    await world.a_flow()
    await world.a_run("etl-1", suspend=True)
    await world.run_is("etl-1", "Paused", "Suspended")
    assert world.puppet.started == []
    await world.patch("FlowRun", "etl-1", {"suspend": False})
    assert (await world.finished("etl-1"))["phase"] == "Succeeded"


async def test_a_run_waits_for_its_flow_and_says_so(world: World) -> None:
    """A missing Flow is a condition and an Event, and mends itself when the Flow comes."""
    await world.a_run("etl-1")
    status = await world.run_is("etl-1", "Pending", "FlowNotFound")
    assert condition(status, "Accepted") == ("False", "FlowNotFound")
    assert 'no Flow "etl"' in status["message"]
    assert [reason for reason, _ in await world.events("etl-1")] == ["FlowNotFound"]
    await world.a_flow()
    assert (await world.finished("etl-1"))["phase"] == "Succeeded"


async def test_wrong_parameters_end_the_run_before_it_has_a_pod(world: World) -> None:
    """Each wrong parameter is named with what was expected."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    await world.a_flow(parameters={"schema": schema, "defaults": {"n": 1}})
    await world.a_run("bad-1", parameters={"n": "three"})
    status = await world.finished("bad-1")
    assert (status["phase"], status["reason"]) == ("Failed", "InvalidParameters")
    assert "parameter \"n\": 'three' is not of type 'integer'" in status["message"]
    assert world.puppet.started == []


async def test_a_run_stays_on_its_revision(world: World) -> None:
    """A Flow that changes while a run is under way is for the next run; a pinned revision stays for ever."""
    world.puppet.script = lambda pod: (
        Ends(1, message=report("Failed")) if attempt_of(pod) == 1 else Ends(message=report())
    )
    await world.a_flow(image="old:1", retries={"limit": 1, "delaySeconds": 2, "jitter": 0})
    await world.a_run("etl-1")
    waiting = await world.run_is("etl-1", "Retrying")
    await world.patch("Flow", "etl", {"image": "new:2"})
    await eventually(lambda: _is_not_revision(world, waiting["flowRevision"]))
    await world.finished("etl-1")
    assert (await world.pod("etl-1-2"))["spec"]["containers"][0]["image"] == "old:1"

    world.puppet.script = lambda _pod: Ends(message=report())
    await world.a_run("etl-2")
    await world.create("FlowRun", "etl-3", flowRef={"name": "etl", "revision": waiting["flowRevision"]})
    await world.finished("etl-2")
    await world.finished("etl-3")
    assert (await world.pod("etl-2-1"))["spec"]["containers"][0]["image"] == "new:2"
    assert (await world.pod("etl-3-1"))["spec"]["containers"][0]["image"] == "old:1"


async def _is_not_revision(world: World, revision: str) -> bool:
    return (await world.status("Flow", "etl")).get("revision") != revision


@pytest.mark.parametrize(
    ("stuck", "reason", "says"),
    [
        pytest.param(
            Stuck("ImagePullBackOff", 'Back-off pulling image "nope:1"'), "ImagePullFailed", "nope:1", id="image"
        ),
        pytest.param(
            Stuck("CreateContainerConfigError", 'secret "db" not found'), "ConfigMissing", 'Secret "db"', id="secret"
        ),
        pytest.param(
            Stuck("CreateContainerConfigError", 'configmap "cfg" not found'), "ConfigMissing", "cfg", id="configmap"
        ),
    ],
)
async def test_a_pod_that_cannot_start_says_why_and_is_given_up(
    world: World, stuck: Stuck, reason: str, says: str
) -> None:
    """What is missing is told at once; after the deadline the run fails, without a storm of retries."""
    world.puppet.script = lambda _pod: stuck
    await world.a_flow(retries={"limit": 3, **QUICK}, image="nope:1")
    await world.a_run("etl-1")
    waiting = await world.run_is("etl-1", "Pending", reason)
    assert says in waiting["message"]
    status = await world.finished("etl-1")
    assert (status["phase"], status["reason"], len(status["attempts"])) == ("Failed", reason, 1)


async def test_a_pod_that_no_node_takes_is_told_and_may_wait_for_ever(world: World) -> None:
    """An autoscaler may yet come; the scheduler's own words are passed on."""
    world.puppet.script = lambda _pod: None
    await world.a_flow(resources={"requests": {"example.com/gpu": "8"}, "limits": {"example.com/gpu": "8"}})
    await world.a_run("etl-1")
    status = await world.run_is("etl-1", "Pending", "Unschedulable")
    assert "example.com/gpu" in status["message"]
    await asyncio.sleep(START_DEADLINE_S + 1)
    assert (await world.status("FlowRun", "etl-1"))["phase"] == "Pending"
    await world.patch("FlowRun", "etl-1", {"cancel": True})
    assert (await world.finished("etl-1"))["phase"] == "Cancelled"


async def test_a_plain_container_is_a_flow_too(world: World) -> None:
    """Its exit code is its outcome, the end of its log its message."""
    world.puppet.script = lambda _pod: Ends(3, message="cannot open /data\n")
    await world.a_flow("copy", image="busybox", command=["cp"], args=["/a", "/b"])
    await world.a_run("copy-1", flow="copy")
    status = await world.finished("copy-1")
    assert (status["phase"], status["reason"]) == ("Failed", "ExitCode")
    assert "cannot open /data" in status["message"]
    assert (await world.pod("copy-1-1"))["spec"]["containers"][0]["command"] == ["cp"]


async def test_a_pod_that_the_api_refuses_is_told_and_tried_again_when_it_may_pass(world: World) -> None:
    """A quota is for people to raise: the run waits for them, and says so."""
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await world.client.create(f"/api/v1/namespaces/{world.namespace}/resourcequotas", quota)

    async def in_force() -> bool:
        read = await world.client.get(f"/api/v1/namespaces/{world.namespace}/resourcequotas/none")
        return bool(read.get("status", {}).get("hard"))

    await eventually(in_force)
    await world.a_flow()
    await world.a_run("etl-1")
    status = await world.run_is("etl-1", "Pending", "PodCreationFailed")
    assert "quota" in status["message"]


async def test_a_broken_pod_template_fails_the_run_with_the_apis_words(world: World) -> None:
    """The same pod would be refused for ever."""
    await world.a_flow(podTemplate={"spec": {"containers": [{"name": "flow", "imagePullPolicy": "Sometimes"}]}})
    await world.a_run("etl-1")
    status = await world.finished("etl-1")
    assert (status["phase"], status["reason"]) == ("Failed", "PodCreationFailed")
    assert "Sometimes" in status["message"]


async def test_deleting_a_run_takes_its_pod_with_it(world: World) -> None:
    """The finalizer holds an outcome, not a pod that nobody waits for."""
    world.puppet.script = lambda _pod: Runs()
    await world.a_flow()
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Running")
    await world.client.delete(world.path("FlowRun", "etl-1"))

    async def no_pod() -> bool:
        return not await world.pods()

    await eventually(no_pod)


async def test_a_broken_flow_affects_itself_alone(world: World) -> None:
    """It gets a condition; runs of other flows go on."""
    await world.a_flow("broken", parameters={"schema": {"type": "no such type"}})
    await world.a_flow()
    await world.a_run("etl-1")
    assert (await world.finished("etl-1"))["phase"] == "Succeeded"

    async def told() -> bool:
        status = await world.status("Flow", "broken")
        return bool(status) and condition(status, "Ready") == ("False", "InvalidSpec")

    await eventually(told)
    await world.a_run("broken-1", flow="broken")
    assert "JSON Schema" in (await world.run_is("broken-1", "Pending", "InvalidSpec"))["message"]
