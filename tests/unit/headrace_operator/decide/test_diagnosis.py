"""Pods as the API returns them, in the words of kubelet, scheduler and controllers, and what they are diagnosed as."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.conditions import Reason
from headrace_operator.decide import diagnosis, waiting
from headrace_operator.decide.diagnosis import Ending, Fate, Report, Waiting, diagnose_end, diagnose_wait
from headrace_operator.decide.report import RESULT_LIMIT, parse_report
from headrace_operator.decide.retry import INFRASTRUCTURE_REASONS

ROOT = Path(__file__).parents[4]

CREATED = datetime(2026, 5, 1, 7, 0, 0, tzinfo=UTC)
STARTED = CREATED + timedelta(seconds=3)
ENDED = CREATED + timedelta(minutes=5)
NOW = CREATED + timedelta(minutes=6)
LOGS = "kubectl -n team-a logs etl-7-1 -c flow"
DESCRIBE = "kubectl -n team-a describe pod etl-7-1"
POD = "pod etl-7-1 on node n1"


def stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def a_pod(
    *statuses: dict[str, Any],
    phase: str = "Failed",
    node: str | None = "n1",
    metadata: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": "etl-7-1", "namespace": "team-a", "creationTimestamp": stamp(CREATED), **(metadata or {})},
        "spec": {"nodeName": node, "restartPolicy": "Never", **(spec or {})},
        "status": {"phase": phase, "containerStatuses": list(statuses), **status},
    }


def a_container(state: dict[str, Any], name: str = "flow", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "ghcr.io/acme/etl:1", "ready": False, "restartCount": 0, "state": state, **fields}


def terminated(
    code: int, reason: str | None = None, message: str = "", name: str = "flow", **fields: Any
) -> dict[str, Any]:
    ended = {
        "exitCode": code,
        "reason": reason or ("Error" if code else "Completed"),
        "startedAt": stamp(STARTED),
        "finishedAt": stamp(ENDED),
        "message": message,
    }
    return a_container({"terminated": ended}, name, **fields)


def running(name: str = "flow", *, ready: bool = True) -> dict[str, Any]:
    return a_container({"running": {"startedAt": stamp(STARTED)}}, name, ready=ready)


def waits(reason: str, message: str = "", name: str = "flow") -> dict[str, Any]:
    return a_container({"waiting": {"reason": reason, "message": message}}, name)


def unknown() -> dict[str, Any]:
    ended = {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
        "startedAt": None,
        "finishedAt": None,
    }
    return a_container({"terminated": ended})


def a_report(state: str, message: str = "", **fields: Any) -> str:
    return json.dumps({"version": 1, "state": state, "message": message, **fields})


def condition(type_: str, status: str, reason: str = "", message: str = "", at: datetime = CREATED) -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp(at)}


def disruption(reason: str, message: str) -> list[dict[str, Any]]:
    return [condition("DisruptionTarget", "True", reason, message, ENDED - timedelta(seconds=30))]


def deletion(asked: datetime, grace: int = 30) -> dict[str, Any]:
    return {"deletionTimestamp": stamp(asked + timedelta(seconds=grace)), "deletionGracePeriodSeconds": grace}


ASKED = deletion(ENDED - timedelta(seconds=2))


def ends(fate: Fate, reason: Reason, message: str, exit_code: int | None = None, **fields: Any) -> Ending:
    default = {"started_at": STARTED, "finished_at": ENDED, "node": "n1"}
    return Ending(fate, reason, message, exit_code, **{**default, **fields})


NEVER_STARTED = {"started_at": None}

ENDINGS = [
    pytest.param(
        a_pod(terminated(0, message=a_report("Succeeded", "3 rows", result=[1], tasks={"total": 2}, usage={"cpuSeconds": 1.5})), phase="Succeeded"),
        ends(Fate.DONE, Reason.SUCCEEDED, "3 rows", 0, report=Report("Succeeded", message="3 rows", result=[1], tasks={"total": 2}, usage={"cpuSeconds": 1.5})),
        id="a flow that returned has succeeded",
    ),
    pytest.param(
        a_pod(terminated(0), running("proxy"), phase="Running"),
        ends(Fate.DONE, Reason.SUCCEEDED, "the flow returned", 0),
        id="a sidecar that still runs does not keep the flow from being done",
    ),
    pytest.param(
        a_pod(terminated(0), terminated(1, name="proxy")),
        ends(Fate.DONE, Reason.SUCCEEDED, "the flow returned", 0),
        id="a sidecar that failed does not make the flow fail",
    ),
    pytest.param(
        a_pod(terminated(0, message=a_report("Succeeded")), reason="Terminated", message="Pod was terminated in response to imminent node shutdown.", conditions=disruption("TerminationByKubelet", "")),
        ends(Fate.DONE, Reason.SUCCEEDED, "the flow returned", 0, report=Report("Succeeded")),
        id="a flow that returned just before its node went has succeeded",
    ),
    pytest.param(
        a_pod(terminated(1, message=a_report("Failed", "ValueError: no rows", reason="ValueError"))),
        ends(Fate.FLOW_RETRY, Reason.FLOW_FAILED, f"the flow failed: ValueError: no rows; see {LOGS}", 1, report=Report("Failed", "ValueError", "ValueError: no rows")),
        id="a flow that raised has failed",
    ),
    pytest.param(
        a_pod(terminated(1, message=a_report("Failed", "ValueError: no rows")), conditions=disruption("PreemptionByScheduler", "")),
        ends(Fate.FLOW_RETRY, Reason.FLOW_FAILED, f"the flow failed: ValueError: no rows; see {LOGS}", 1, report=Report("Failed", None, "ValueError: no rows")),
        id="a flow that raised while its pod was preempted has failed all the same",
    ),
    pytest.param(
        a_pod(terminated(1, message=a_report("Failed", "the flow took longer than 5 s", reason="TimedOut"))),
        ends(Fate.FLOW_RETRY, Reason.TIMED_OUT, f"the flow took longer than 5 s; raise spec.timeoutSeconds, or see {LOGS}", 1, report=Report("Failed", "TimedOut", "the flow took longer than 5 s")),
        id="a flow that timed out by its own clock",
    ),
    pytest.param(
        a_pod(terminated(75, message=a_report("Retrying", "rate limited", retryDelaySeconds=90))),
        ends(Fate.FLOW_RETRY, Reason.RETRY_REQUESTED, "the flow asked for another attempt: rate limited", 75, report=Report("Retrying", message="rate limited", retry_delay_seconds=90)),
        id="a flow that asks for another attempt",
    ),
    pytest.param(
        a_pod(terminated(78, message=a_report("Failed", 'cannot import "etl": No module named "pandas"', reason="ImportError"))),
        ends(Fate.FINAL, Reason.IMPORT_ERROR, 'the flow cannot start: cannot import "etl": No module named "pandas"', 78, report=Report("Failed", "ImportError", 'cannot import "etl": No module named "pandas"')),
        id="code that does not import is not tried again",
    ),
    pytest.param(
        a_pod(terminated(78, message="usage: headrace\nbad entrypoint")),
        ends(Fate.FINAL, Reason.CANNOT_START, f"the container of {POD} cannot start: bad entrypoint; check spec.entrypoint and spec.image", 78),
        id="exit code 78 without a report cannot start either",
    ),
    pytest.param(
        a_pod(terminated(128, "StartError", 'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "pyton": executable file not found in $PATH: unknown', startedAt=None)),
        ends(Fate.FINAL, Reason.CANNOT_START, f'the container of {POD} cannot start: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "pyton": executable file not found in $PATH: unknown; check spec.entrypoint and spec.image', 128),
        id="a command that is not in the image",
    ),
    pytest.param(
        a_pod(terminated(137, "OOMKilled", resources={"limits": {"memory": "512Mi"}})),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.OOM_KILLED, f"{POD} used more memory than its limit of 512Mi and was killed; raise spec.resources.limits.memory, or load less at once", 137),
        id="out of memory",
    ),
    pytest.param(
        a_pod(terminated(1, "OOMKilled", a_report("Failed", "worker died"))),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.OOM_KILLED, f"{POD} used more memory than its limit and was killed; raise spec.resources.limits.memory, or load less at once", 1, report=Report("Failed", None, "worker died")),
        id="a child that ran out of memory and took the flow with it",
    ),
    pytest.param(
        a_pod(terminated(137), reason="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline", spec={"activeDeadlineSeconds": 300}),
        ends(Fate.FLOW_RETRY, Reason.TIMED_OUT, f"{POD} was stopped at its time limit of 300 s; raise spec.timeoutSeconds, or look in the log for what took so long: {LOGS}", 137),
        id="a pod that outlived its deadline has timed out",
    ),
    pytest.param(
        a_pod(terminated(143, message=a_report("Cancelled", "SIGTERM")), reason="Evicted", message="The node was low on resource: memory. Threshold quantity: 100Mi, available: 83284Ki. Container flow was using 1200Mi, request is 512Mi, has larger consumption of memory. ", conditions=disruption("TerminationByKubelet", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 83284Ki. ")),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.EVICTED, f"{POD} was ended by the cluster (The node was low on resource: memory. Threshold quantity: 100Mi, available: 83284Ki. Container flow was using 1200Mi, request is 512Mi, has larger consumption of memory); if it repeats, raise spec.resources.requests of what ran short, or look who drains nodes", 143, report=Report("Cancelled", None, "SIGTERM")),
        id="evicted by its node, which was short of memory",
    ),
    pytest.param(
        a_pod(terminated(143), metadata=ASKED, conditions=disruption("EvictionByEvictionAPI", "Eviction API: evicting")),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.EVICTED, f"{POD} was ended by the cluster (Eviction API: evicting); if it repeats, raise spec.resources.requests of what ran short, or look who drains nodes", 143),
        id="evicted by a drain",
    ),
    pytest.param(
        a_pod(terminated(143), metadata=ASKED, conditions=disruption("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.PREEMPTED, f"{POD} was ended by the cluster (default-scheduler: preempting to accommodate a higher priority pod); if it repeats, give the pod a higher priorityClassName in spec.podTemplate", 143),
        id="preempted by the scheduler",
    ),
    pytest.param(
        a_pod(terminated(137), reason="Preempting", message="Preempted in order to admit critical pod", conditions=disruption("TerminationByKubelet", "Preempted in order to admit critical pod")),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.PREEMPTED, f"{POD} was ended by the cluster (Preempted in order to admit critical pod); if it repeats, give the pod a higher priorityClassName in spec.podTemplate", 137),
        id="preempted by its kubelet",
    ),
    pytest.param(
        a_pod(terminated(143), reason="Terminated", message="Pod was terminated in response to imminent node shutdown.", conditions=disruption("TerminationByKubelet", "")),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.NODE_SHUTDOWN, f"{POD} was ended by the cluster (Pod was terminated in response to imminent node shutdown); expected on spot nodes; keep attempts short there, or use other nodes", 143),
        id="its node was shut down",
    ),
    pytest.param(
        a_pod(reason="NodeShutdown", message="Pod was rejected as the node is shutting down."),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.NODE_SHUTDOWN, f"{POD} was ended by the cluster (Pod was rejected as the node is shutting down); expected on spot nodes; keep attempts short there, or use other nodes", finished_at=NOW, **NEVER_STARTED),
        id="it came to a node that was being shut down",
    ),
    pytest.param(
        a_pod(running(), conditions=disruption("DeletionByPodGC", "PodGC: node no longer exists")),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.NODE_LOST, f"{POD} was ended by the cluster (PodGC: node no longer exists); if it repeats, look at the node: kubectl describe node", finished_at=ENDED - timedelta(seconds=30)),
        id="its node no longer exists",
    ),
    pytest.param(
        a_pod(unknown(), metadata=ASKED, conditions=disruption("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.NODE_LOST, f"{POD} was ended by the cluster (Taint manager: deleting due to NoExecute taint); if it repeats, look at the node: kubectl describe node", finished_at=ENDED - timedelta(seconds=30), **NEVER_STARTED),
        id="its node did not answer and came back",
    ),
    pytest.param(
        a_pod(reason="OutOfcpu", message="Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 3100, capacity: 4000"),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_REJECTED, "node n1 refused pod etl-7-1 (OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 3100, capacity: 4000); if it repeats, look at the node: kubectl describe node n1", finished_at=NOW, **NEVER_STARTED),
        id="the node had no room for it",
    ),
    pytest.param(
        a_pod(reason="UnexpectedAdmissionError", message="Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected"),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_REJECTED, "node n1 refused pod etl-7-1 (UnexpectedAdmissionError: Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected); if it repeats, look at the node: kubectl describe node n1", finished_at=NOW, **NEVER_STARTED),
        id="the node's device is broken",
    ),
    pytest.param(
        a_pod(terminated(143, message=a_report("Cancelled", "SIGTERM")), metadata=ASKED),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_DELETED, f"{POD} was deleted by somebody; to end a run for good, set its spec.cancel to true", 143, report=Report("Cancelled", None, "SIGTERM")),
        id="somebody deleted the pod",
    ),
    pytest.param(
        a_pod(terminated(137), metadata=ASKED),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_DELETED, f"{POD} was deleted by somebody; to end a run for good, set its spec.cancel to true", 137),
        id="somebody deleted the pod, and it did not end by itself",
    ),
    pytest.param(
        a_pod(terminated(2), metadata=deletion(ENDED + timedelta(seconds=1))),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f"{POD} exited with 2; see {LOGS}", 2),
        id="a deletion after the end is not its cause",
    ),
    pytest.param(
        a_pod(phase="Pending", node=None, metadata=deletion(ENDED, 0)),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_DELETED, "pod etl-7-1 was deleted by somebody; to end a run for good, set its spec.cancel to true", finished_at=NOW, node=None, **NEVER_STARTED),
        id="somebody deleted the pod before it had a node",
    ),
    pytest.param(
        a_pod(terminated(143, message=a_report("Cancelled", "cancelled by SIGTERM"))),
        ends(Fate.FINAL, Reason.CANCELLED, f"the flow was cancelled from inside {POD}: cancelled by SIGTERM; start it again with a new FlowRun", 143, report=Report("Cancelled", None, "cancelled by SIGTERM")),
        id="the flow was cancelled in its pod",
    ),
    pytest.param(
        a_pod(terminated(130)),
        ends(Fate.FINAL, Reason.CANCELLED, f"the flow was cancelled from inside {POD}: ended by a signal (exit code 130); start it again with a new FlowRun", 130),
        id="the flow was interrupted in its pod",
    ),
    pytest.param(
        a_pod(waits("PodInitializing"), initContainerStatuses=[terminated(0, name="one"), terminated(128, message="fatal: repository not found\n", name="clone")]),
        ends(Fate.FLOW_RETRY, Reason.INIT_FAILED, f'init container "clone" of {POD} exited with 128 (fatal: repository not found); see kubectl -n team-a logs etl-7-1 -c clone', finished_at=NOW, **NEVER_STARTED),
        id="an init container failed",
    ),
    pytest.param(
        a_pod(terminated(1), initContainerStatuses=[terminated(143, name="proxy")]),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f"{POD} exited with 1; see {LOGS}", 1),
        id="a sidecar that was stopped after the flow is no failed init container",
    ),
    pytest.param(
        a_pod(unknown()),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_LOST, f"{POD} ended and nobody can tell how (The container could not be located when the pod was terminated); if it repeats, look whether the node restarts: kubectl describe node n1", finished_at=NOW, **NEVER_STARTED),
        id="its kubelet cannot tell how it ended",
    ),
    pytest.param(
        a_pod(),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_LOST, f"{POD} ended and nobody can tell how (no container status); if it repeats, look whether the node restarts: kubectl describe node n1", finished_at=NOW, **NEVER_STARTED),
        id="nothing is known about its container",
    ),
    pytest.param(
        a_pod(terminated(137)),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f"{POD} exited with 137 (SIGKILL: a liveness probe, or the node's own memory ran out); see {LOGS}", 137),
        id="killed for no reason that the API tells",
    ),
    pytest.param(
        a_pod(terminated(139)),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f"{POD} exited with 139 (SIGSEGV); see {LOGS}", 139),
        id="a segmentation fault has its name",
    ),
    pytest.param(
        a_pod(terminated(1, message='{"version":1,"state":"Failed","mess')),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f'{POD} exited with 1: {{"version":1,"state":"Failed","mess; see {LOGS}', 1),
        id="a report that was cut off is told as text",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pod", "expected"), ENDINGS)
def test_what_happened_to_a_pod_that_ended(pod: dict[str, Any], expected: Ending) -> None:
    """The whole diagnosis, its sentence included."""
    assert diagnose_end(pod, now=NOW) == expected


PLAIN = [
    pytest.param(
        a_pod(terminated(0), phase="Succeeded"),
        ends(Fate.DONE, Reason.SUCCEEDED, "the command exited with 0", 0),
        id="a command that succeeded",
    ),
    pytest.param(
        a_pod(terminated(1, message="reading…\nno such file: in.csv\n\n")),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f"{POD} exited with 1: no such file: in.csv; see {LOGS}", 1),
        id="the end of the log is the message",
    ),
    pytest.param(
        a_pod(terminated(78, message=a_report("Failed", "x"))),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f"{POD} exited with 78: {a_report('Failed', 'x')}; see {LOGS}", 78),
        id="exit codes and reports of the SDK mean nothing",
    ),
    pytest.param(
        a_pod(terminated(127)),
        ends(Fate.FLOW_RETRY, Reason.EXIT_CODE, f"{POD} exited with 127 (command not found: check spec.command); see {LOGS}", 127),
        id="a command that its shell does not find",
    ),
    pytest.param(
        a_pod(terminated(0), phase="Succeeded", metadata=ASKED),
        ends(Fate.INFRASTRUCTURE_RETRY, Reason.POD_DELETED, f"{POD} was deleted by somebody; to end a run for good, set its spec.cancel to true", 0),
        id="a command that stops in good order when its pod is deleted has not done its work",
    ),
    pytest.param(
        a_pod(terminated(0), phase="Succeeded", metadata=deletion(ENDED + timedelta(seconds=5))),
        ends(Fate.DONE, Reason.SUCCEEDED, "the command exited with 0", 0),
        id="a pod that was deleted after its command had ended has succeeded",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pod", "expected"), PLAIN)
def test_what_happened_to_a_pod_without_the_sdk(pod: dict[str, Any], expected: Ending) -> None:
    """Any image and command."""
    assert diagnose_end(pod, now=NOW, sdk=False) == expected


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(a_pod(running(), phase="Running"), id="it runs"),
        pytest.param(a_pod(running(), phase="Running", metadata=ASKED), id="it was asked to end and still runs"),
        pytest.param(a_pod(phase="Pending", node=None), id="it waits for a node"),
        pytest.param(a_pod(running(), terminated(1, name="proxy"), phase="Running"), id="only a sidecar ended"),
        pytest.param({}, id="nothing is known of it"),
    ],
)
def test_a_pod_that_has_not_ended_has_no_end(pod: dict[str, Any]) -> None:
    """A second attempt would be a second live pod."""
    assert diagnose_end(pod, now=NOW) is None


def test_an_end_counts_against_the_policy_that_its_fate_names() -> None:
    """Two tables of the operator agree."""
    for case in (*ENDINGS, *PLAIN):
        expected: Any = case.values[1]
        assert (expected.fate is Fate.INFRASTRUCTURE_RETRY) == (expected.reason in INFRASTRUCTURE_REASONS), case.id


SCHEDULED = condition("PodScheduled", "True", at=STARTED)


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    return a_pod(phase="Pending", node=None, conditions=[condition("PodScheduled", "False", reason, message, STARTED)])


def pending(*statuses: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return a_pod(*statuses, phase="Pending", conditions=[SCHEDULED], **fields)


WAITS = [
    pytest.param(
        unscheduled("0/3 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, 2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."),
        Waiting(Reason.UNSCHEDULABLE, "no node takes pod etl-7-1: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, 2 Insufficient cpu (0/3 nodes available); lower spec.resources.requests, or add nodes that are large enough; or tolerate the taint in spec.podTemplate, or add nodes without it", STARTED),
        id="no node is large enough or tolerated",
    ),
    pytest.param(
        unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
        Waiting(Reason.UNSCHEDULABLE, "no node takes pod etl-7-1: 1 node(s) didn't match Pod's node affinity/selector (0/1 nodes available); change the node selector or affinity in spec.podTemplate, or label a node", STARTED),
        id="no node matches the selector",
    ),
    pytest.param(
        unscheduled("no nodes available to schedule pods"),
        Waiting(Reason.UNSCHEDULABLE, f"no node takes pod etl-7-1: no nodes available to schedule pods; see {DESCRIBE}", STARTED),
        id="there are no nodes",
    ),
    pytest.param(
        unscheduled("Scheduling is blocked due to non-empty scheduling gates", "SchedulingGated"),
        Waiting(Reason.SCHEDULING_GATED, "a scheduling gate holds pod etl-7-1 back; whoever set it must lift it (spec.schedulingGates)", STARTED),
        id="a gate holds it",
    ),
    pytest.param(
        pending(waits("ErrImagePull", 'rpc error: code = NotFound desc = failed to pull and unpack image "ghcr.io/acme/etl:1": failed to resolve reference "ghcr.io/acme/etl:1": ghcr.io/acme/etl:1: not found')),
        Waiting(Reason.IMAGE_PULL_FAILED, f'image "ghcr.io/acme/etl:1" cannot be pulled: the registry has no such image or tag; check spec.image; see {DESCRIBE}', STARTED),
        id="the image does not exist",
    ),
    pytest.param(
        pending(waits("ImagePullBackOff", 'Back-off pulling image "ghcr.io/acme/etl:1": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "ghcr.io/acme/etl:1": failed to resolve reference "ghcr.io/acme/etl:1": ghcr.io/acme/etl:1: not found')),
        Waiting(Reason.IMAGE_PULL_FAILED, f'image "ghcr.io/acme/etl:1" cannot be pulled: the registry has no such image or tag; check spec.image; see {DESCRIBE}', STARTED),
        id="a pause between two pulls changes nothing in the sentence",
    ),
    pytest.param(
        pending(waits("ErrImagePull", 'failed to pull and unpack image "ghcr.io/acme/etl:1": failed to resolve reference "ghcr.io/acme/etl:1": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 401 Unauthorized')),
        Waiting(Reason.IMAGE_PULL_FAILED, f'image "ghcr.io/acme/etl:1" cannot be pulled: the registry asks for credentials; check spec.imagePullSecrets; see {DESCRIBE}', STARTED),
        id="the registry asks for credentials",
    ),
    pytest.param(
        pending(waits("ImagePullBackOff", 'Back-off pulling image "ghcr.io/acme/etl:1"')),
        Waiting(Reason.IMAGE_PULL_FAILED, f'image "ghcr.io/acme/etl:1" cannot be pulled: check spec.image, spec.imagePullSecrets and the registry; see {DESCRIBE}', STARTED),
        id="an older kubelet does not say why",
    ),
    pytest.param(
        pending(waits("InvalidImageName", 'Failed to apply default image tag "ETL:1": couldn\'t parse image name "ETL:1": invalid reference format: repository name must be lowercase') | {"image": "ETL:1"}),
        Waiting(Reason.IMAGE_PULL_FAILED, f'image "ETL:1" cannot be pulled: its name is no valid image reference; mend spec.image; see {DESCRIBE}', STARTED, hopeless=True),
        id="the image has an impossible name",
    ),
    pytest.param(
        pending(waits("ErrImageNeverPull", 'Container image "ghcr.io/acme/etl:1" is not present with pull policy of Never')),
        Waiting(Reason.IMAGE_PULL_FAILED, f'image "ghcr.io/acme/etl:1" cannot be pulled: it is not on the node and spec.imagePullPolicy is Never; load it there, or choose IfNotPresent; see {DESCRIBE}', STARTED, hopeless=True),
        id="the image may not be pulled",
    ),
    pytest.param(
        pending(waits("PodInitializing"), initContainerStatuses=[waits("ErrImagePull", "pull access denied", "clone")]),
        Waiting(Reason.IMAGE_PULL_FAILED, f'image "ghcr.io/acme/etl:1" cannot be pulled: the registry denies access, or has no such image; check spec.image and spec.imagePullSecrets; see {DESCRIBE}', STARTED),
        id="an init container's image cannot be pulled",
    ),
    pytest.param(
        pending(waits("CreateContainerConfigError", 'secret "db" not found')),
        Waiting(Reason.CONFIG_MISSING, 'Secret "db" is not in namespace team-a, and container "flow" needs it; create it, or change spec.env or spec.envFrom', STARTED),
        id="a Secret is missing",
    ),
    pytest.param(
        pending(waits("CreateContainerConfigError", 'configmap "settings" not found')),
        Waiting(Reason.CONFIG_MISSING, 'ConfigMap "settings" is not in namespace team-a, and container "flow" needs it; create it, or change spec.env or spec.envFrom', STARTED),
        id="a ConfigMap is missing",
    ),
    pytest.param(
        pending(waits("CreateContainerConfigError", "couldn't find key password in Secret team-a/db")),
        Waiting(Reason.CONFIG_MISSING, 'Secret "db" in namespace team-a has no key "password", which container "flow" needs; add the key, or change spec.env', STARTED),
        id="a key of a Secret is missing",
    ),
    pytest.param(
        pending(waits("CreateContainerConfigError", 'container has runAsNonRoot and image will run as root (pod: "etl-7-1_team-a(0f)", container: flow)')),
        Waiting(Reason.CONTAINER_CREATION_FAILED, f'container "flow" of {POD} cannot be created: container has runAsNonRoot and image will run as root (pod: "etl-7-1_team-a(0f)", container: flow); mend the Flow\'s spec', STARTED),
        id="the image would run as root",
    ),
    pytest.param(
        pending(waits("ContainerCreating"), spec={"volumes": [{"secret": {"secretName": "tls"}}, {"configMap": {"name": "etl-1"}}, {"secret": {"secretName": "x", "optional": True}}, {"projected": {"sources": [{"configMap": {"name": "ca"}}]}}, {"emptyDir": {}}]}),
        Waiting(Reason.VOLUME_WAIT, f'{POD} is still being prepared; it needs Secret "tls", ConfigMap "etl-1", ConfigMap "ca" in namespace team-a; its volumes or a large image keep it, see {DESCRIBE}', STARTED),
        id="a volume may be missing",
    ),
    pytest.param(
        a_pod(running(), phase="Running", metadata=deletion(NOW - timedelta(minutes=3))),
        Waiting(Reason.NODE_UNREACHABLE, "node n1 does not answer, so nobody knows whether pod etl-7-1 still runs; mend the node, or if it is gone for good: kubectl delete node n1", NOW - timedelta(minutes=3) + timedelta(seconds=30)),
        id="a pod that was to end long ago",
    ),
    pytest.param(
        a_pod(running(), phase="Running", conditions=[condition("Ready", "False", at=ENDED)]),
        Waiting(Reason.NODE_UNREACHABLE, "node n1 does not answer, so nobody knows whether pod etl-7-1 still runs; mend the node, or if it is gone for good: kubectl delete node n1", ENDED),
        id="a pod that the node controller declared not ready",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pod", "expected"), WAITS)
def test_what_a_pod_waits_for(pod: dict[str, Any], expected: Waiting) -> None:
    """The whole diagnosis, its sentence included."""
    assert diagnose_wait(pod, now=NOW) == expected


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(a_pod(running(), phase="Running", conditions=[condition("Ready", "True")]), id="it runs"),
        pytest.param(a_pod(running(ready=False), phase="Running", conditions=[condition("Ready", "False", "ContainersNotReady")]), id="its probe says not ready"),
        pytest.param(a_pod(running(), phase="Running", metadata=deletion(NOW - timedelta(seconds=60))), id="its grace period is just over"),
        pytest.param(a_pod(terminated(1)), id="it has ended"),
        pytest.param(a_pod(waits("ContainerCreating"), phase="Pending", conditions=[condition("PodScheduled", "True", at=NOW - timedelta(seconds=20))]), id="it was bound just now"),
        pytest.param(pending(waits("PodInitializing"), initContainerStatuses=[running("clone")]), id="an init container takes its time"),
        pytest.param(a_pod(phase="Pending", node=None), id="the scheduler has not looked at it yet"),
        pytest.param({}, id="nothing is known of it"),
    ],
)  # fmt: skip
def test_a_pod_on_its_way_waits_for_nothing(pod: dict[str, Any]) -> None:
    """No status is written for what is in order."""
    assert diagnose_wait(pod, now=NOW) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("Traceback…", None, id="text"),
        pytest.param("[1]", None, id="JSON that is no object"),
        pytest.param("[" * 4000, None, id="brackets without end"),
        pytest.param('{"version":2,"state":"Failed"}', None, id="another version"),
        pytest.param('{"version":1,"state":"Exploded"}', None, id="an unknown state"),
        pytest.param('{"version":1,"state":["Failed"]}', None, id="a state of the wrong type"),
        pytest.param(a_report("Failed", "x" * 70_000), None, id="too large"),
        pytest.param(a_report("Failed", "a\n\tb\x00c"), Report("Failed", message="a b c"), id="control characters"),
        pytest.param(a_report("Failed", "x" * 601), Report("Failed", message="x" * 599 + "…"), id="a long message"),
        pytest.param(a_report("Failed", reason="Bad Reason!"), Report("Failed"), id="a reason that is no word"),
        pytest.param(a_report("Failed", tasks={"total": 3, "failed": -1, "cached": "2", "retried": True}), Report("Failed", tasks={"total": 3}), id="counts that are none"),
        pytest.param(a_report("Failed", tasks=[1], usage="much"), Report("Failed"), id="parts of the wrong type"),
        pytest.param(a_report("Failed", usage={"cpuSeconds": float("nan"), "maxMemoryBytes": 5}), Report("Failed", usage={"maxMemoryBytes": 5}), id="no number"),
        pytest.param(a_report("Retrying", retryDelaySeconds=1e300), Report("Retrying"), id="a delay beyond all calendars"),
        pytest.param(a_report("Succeeded", result="x" * RESULT_LIMIT), Report("Succeeded"), id="a result that is too large"),
        pytest.param(a_report("Succeeded", result="\ud800"), Report("Succeeded"), id="half a character"),
        pytest.param(a_report("Succeeded", result=2**80), Report("Succeeded", result=float(2**80)), id="more than 64 bits"),
        pytest.param(a_report("Succeeded", result={"rows": [1, None, "é"]}), Report("Succeeded", result={"rows": [1, None, "é"]}), id="any JSON"),
        pytest.param(a_report("Succeeded", resultUrl="s3://b/k"), Report("Succeeded", result_url="s3://b/k"), id="a result that is stored"),
        pytest.param(a_report("Succeeded", resultUrl="s3://" + "k" * 2048), Report("Succeeded"), id="a URL that is too long"),
        pytest.param(a_report("Succeeded", resultUrl="/etc/passwd"), Report("Succeeded"), id="a path that is no URL"),
        pytest.param(a_report("Succeeded", resultUrl=7), Report("Succeeded"), id="a URL that is none"),
        pytest.param(a_report("Succeeded", resultOmitted=True), Report("Succeeded", result_omitted=True), id="a result that was left out"),
        pytest.param(a_report("Succeeded", tasks={"subflows": 2}), Report("Succeeded", tasks={"subflows": 2}), id="flows that it called"),
    ],
)  # fmt: skip
def test_a_report_is_taken_as_far_as_it_can_be_trusted(message: str, expected: Report | None) -> None:
    """Foreign input."""
    assert parse_report(message) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("reason", "message", "result", "tasks", "usage", "retryDelaySeconds")


@given(
    state=st.sampled_from(["Succeeded", "Failed", "Cancelled", "Retrying"]),
    fields=st.dictionaries(st.sampled_from(FIELDS), VALUES),
    cut=st.integers(0, 200),
    code=st.integers(0, 255),
)
def test_no_termination_message_breaks_the_diagnosis(state: str, fields: dict[str, Any], cut: int, code: int) -> None:
    """Whatever comes out can be written as JSON, and has a sentence."""
    text = a_report(state, **{"message": "", **fields})
    for message in (text, text[:cut]):
        ending = diagnose_end(a_pod(terminated(code, message=message)), now=NOW)
        assert ending is not None
        assert ending.message
        assert orjson.dumps([ending.message, ending.report.result if ending.report else None])


def reasons_given() -> set[Reason]:
    """Every reason that the diagnosis can give."""
    sources = [Path(module.__file__ or "").read_text() for module in (diagnosis, waiting)]
    return {Reason[name] for source in sources for name in re.findall(r"Reason\.([A-Z_]+)", source)}


@pytest.mark.parametrize("reason", sorted(reasons_given()))
def test_every_reason_has_its_place_in_the_runbook(reason: Reason) -> None:
    """docs/diagnosis.md says what it means and what to do."""
    assert f"\n### {reason}\n" in (ROOT / "docs" / "diagnosis.md").read_text()
