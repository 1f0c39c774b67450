"""
What happened to a pod, in one sentence that says what to do.

    diagnose_end     how an attempt ended, and whether it is tried again; None while it has not ended
    diagnose_wait    why a pod that exists does not run; None when it runs, or is on its way (decide/waiting.py)

Each rule recognises one kind of end. The first one with an answer wins: what the flow did comes before what was done
to it, so that a flow that returned while its node went down has succeeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from headrace.api.conditions import Reason
from headrace.api.keys import FLOW_CONTAINER
from headrace_operator.decide.pod_facts import PodFacts, Terminated, pod_facts
from headrace_operator.decide.report import Report, one_line, parse_report, tail
from headrace_operator.decide.waiting import Waiting, diagnose_wait

__all__ = ("Ending", "Fate", "Report", "Waiting", "diagnose_end", "diagnose_wait")

EXIT_RETRY = 75
EXIT_PAUSED = 76
EXIT_CANNOT_START = 78
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_SIGINT = 130
EXIT_SIGKILL = 137
EXIT_SIGTERM = 143

SIGNALS = {6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}

REJECTIONS = frozenset(
    {
        "AppArmor",
        "InvalidNodeInfo",
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "NodeUnschedulable",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "SysctlForbidden",
        "TopologyAffinityError",
        "UnexpectedAdmissionError",
    }
)
"""Reasons of a kubelet that refuses a pod; those about resources begin with "OutOf"."""

NODE_REASONS = {
    "Evicted": Reason.EVICTED,
    "NodeLost": Reason.NODE_LOST,
    "NodeShutdown": Reason.NODE_SHUTDOWN,
    "Preempting": Reason.PREEMPTED,
    "Shutdown": Reason.NODE_SHUTDOWN,
    "Terminated": Reason.NODE_SHUTDOWN,
}
"""`status.reason` of a pod that its node or the node controller ended."""

DISRUPTIONS = {
    "DeletionByDeviceTaintManager": Reason.EVICTED,
    "DeletionByPodGC": Reason.NODE_LOST,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "PreemptionByScheduler": Reason.PREEMPTED,
    "TerminationByKubelet": Reason.EVICTED,
}
"""Reasons of the condition DisruptionTarget."""

ADVICE = {
    Reason.EVICTED: "if it repeats, raise spec.resources.requests of what ran short, or look who drains nodes",
    Reason.NODE_LOST: "if it repeats, look at the node: kubectl describe node",
    Reason.NODE_SHUTDOWN: "expected on spot nodes; keep attempts short there, or use other nodes",
    Reason.PREEMPTED: "if it repeats, give the pod a higher priorityClassName in spec.podTemplate",
}


class Fate(Enum):
    """What follows from an end."""

    DONE = "Done"
    FLOW_RETRY = "FlowRetry"
    """Counts against spec.retries."""
    INFRASTRUCTURE_RETRY = "InfrastructureRetry"
    """Counts against spec.infrastructureRetries."""
    PAUSED = "Paused"
    """It goes on when its pause is over; that is no failure."""
    FINAL = "Final"
    """Another attempt would end the same way, or is not wanted."""


@dataclass(frozen=True, slots=True)
class Ending:
    """
    How an attempt ended. `message` is for people: what happened, and what to do.

    Args:
        started_at: When the flow's container started; None if it never did.
        report: What the SDK reported; None for other containers, and when the process could not.
    """

    fate: Fate
    reason: Reason
    message: str
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    node: str | None = None
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A pod that has ended, and what was said about it."""

    pod: PodFacts
    end: Terminated | None
    report: Report | None
    sdk: bool


def diagnose_end(pod: Mapping[str, Any], *, now: datetime, sdk: bool = True) -> Ending | None:
    """
    How the attempt in this pod ended, None while it has not.

    Args:
        pod: As the API returns it, or the parts of it that PodFacts reads. The container "flow" decides; when it
            has ended, sidecars that still run do not matter: who settles the attempt deletes the pod.
        now: The time of the end where the pod tells none.
        sdk: Whether the SDK runs in it; the exit codes and the termination message of other containers are their own.
    """
    facts = pod_facts(pod)
    if not _has_ended(facts):
        return None
    end = facts.terminated
    report = parse_report(end.message) if sdk and end else None
    ending = next(found for rule in RULES if (found := rule(_Seen(facts, end, report, sdk))))
    return replace(
        ending,
        exit_code=end.exit_code if end and end.reason != "ContainerStatusUnknown" else None,
        started_at=facts.flow.started_at if facts.flow else None,
        finished_at=(end.finished_at if end else None) or _last_change(facts) or now,
        node=facts.node,
        report=report,
    )


def _has_ended(pod: PodFacts) -> bool:
    # Without a node there is no kubelet that could still start it.
    deleted_unbound = pod.deadline is not None and pod.node is None
    # A kubelet tells the container's end before the pod's; waiting for the second keeps the pod's last word. Only a
    # container beside the flow that goes on would have us wait for ever.
    outlived = pod.terminated is not None and any(c.running_since for c in pod.containers if c.name != FLOW_CONTAINER)
    return pod.finished or outlived or deleted_unbound


def _last_change(pod: PodFacts) -> datetime | None:
    return max((c.since for c in pod.conditions.values() if c.since is not None), default=None)


def succeeded(seen: _Seen) -> Ending | None:
    """Whatever happened to the pod afterwards."""
    finished = seen.end.exit_code == 0 if seen.end else seen.pod.phase == "Succeeded"
    if not finished or (_was_interrupted(seen) and not (seen.report and seen.report.state == "Succeeded")):
        return None
    done = "the flow returned" if seen.sdk else "the command exited with 0"
    return Ending(Fate.DONE, Reason.SUCCEEDED, (seen.report.message if seen.report else "") or done)


def _was_interrupted(seen: _Seen) -> bool:
    """Whether it was told to stop first: many programs then exit with 0, their work half done."""
    if seen.pod.reason == "DeadlineExceeded" or seen.pod.reason in NODE_REASONS:
        return True
    told = (seen.pod.asked_to_end, seen.pod.disruption.since if seen.pod.disruption else None)
    finished = seen.end.finished_at if seen.end else None
    return any(since is not None and (finished is None or since <= finished) for since in told)


def deadline_exceeded(seen: _Seen) -> Ending | None:
    """The kubelet stops a pod at its activeDeadlineSeconds."""
    if seen.pod.reason != "DeadlineExceeded":
        return None
    limit = f" of {seen.pod.active_deadline_s} s" if seen.pod.active_deadline_s else ""
    message = f"{seen.pod} was stopped at its time limit{limit}; raise spec.timeoutSeconds, or look in the log for what took so long: {seen.pod.kubectl('logs')}"
    return Ending(Fate.FLOW_RETRY, Reason.TIMED_OUT, message)


def init_failed(seen: _Seen) -> Ending | None:
    """The flow's container never got its turn."""
    if seen.pod.flow is not None and seen.pod.flow.started_at is not None:
        return None
    failed = next((c for c in seen.pod.init if c.terminated and c.terminated.exit_code != 0), None)
    if failed is None or failed.terminated is None or failed.terminated.reason == "ContainerStatusUnknown":
        return None
    words = tail(failed.terminated.message) or failed.terminated.reason
    message = f'init container "{failed.name}" of {seen.pod} exited with {failed.terminated.exit_code} ({words}); see kubectl -n {seen.pod.namespace} logs {seen.pod.name} -c {failed.name}'
    return Ending(Fate.FLOW_RETRY, Reason.INIT_FAILED, message)


def rejected(seen: _Seen) -> Ending | None:
    """The kubelet refused the pod when it arrived: the scheduler's picture of the node was out of date."""
    if seen.pod.reason not in REJECTIONS and not seen.pod.reason.startswith("OutOf"):
        return None
    message = f"node {seen.pod.node} refused pod {seen.pod.name} ({seen.pod.reason}: {one_line(seen.pod.message)}); if it repeats, look at the node: kubectl describe node {seen.pod.node}"
    return Ending(Fate.INFRASTRUCTURE_RETRY, Reason.POD_REJECTED, message)


def out_of_memory(seen: _Seen) -> Ending | None:
    """Also when only a child of the flow's process was killed, and the flow failed over it."""
    if seen.end is None or seen.end.reason != "OOMKilled":
        return None
    limit = seen.pod.memory_limit
    than = f"its limit of {limit}" if limit else "its limit"
    message = f"{seen.pod} used more memory than {than} and was killed; raise spec.resources.limits.memory, or load less at once"
    return Ending(Fate.INFRASTRUCTURE_RETRY, Reason.OOM_KILLED, message)


def reported(seen: _Seen) -> Ending | None:
    """The SDK said itself how the flow ended."""
    if seen.report is None or seen.end is None:
        return None
    said = seen.report.message or "no reason given"
    if seen.end.exit_code == EXIT_CANNOT_START:
        return Ending(Fate.FINAL, _start_problem(seen.report), f"the flow cannot start: {said}")
    if seen.report.state == "Retrying" or seen.end.exit_code == EXIT_RETRY:
        return Ending(Fate.FLOW_RETRY, Reason.RETRY_REQUESTED, f"the flow asked for another attempt: {said}")
    if seen.report.state != "Failed":
        return None
    if seen.report.reason == Reason.TIMED_OUT:
        return Ending(
            Fate.FLOW_RETRY, Reason.TIMED_OUT, f"{said}; raise spec.timeoutSeconds, or see {seen.pod.kubectl('logs')}"
        )
    return Ending(Fate.FLOW_RETRY, Reason.FLOW_FAILED, f"the flow failed: {said}; see {seen.pod.kubectl('logs')}")


def paused(seen: _Seen) -> Ending | None:
    """The flow gave its pod back, to wait for an answer or a time."""
    if seen.report is None or seen.report.pause is None or seen.end is None or seen.end.exit_code != EXIT_PAUSED:
        return None
    return Ending(Fate.PAUSED, Reason.PAUSED, f"the flow paused: {seen.report.message or seen.report.pause.name}")


def unapproved(seen: _Seen) -> Ending | None:
    """A pause was answered with no, or not in time, and the flow made nothing of that: it would be so again."""
    said = seen.report.reason if seen.report is not None and seen.end is not None else None
    if seen.report is None or said not in {Reason.REJECTED, Reason.APPROVAL_TIMED_OUT}:
        return None
    return Ending(Fate.FINAL, Reason(said), seen.report.message or "no reason given")


def _start_problem(report: Report) -> Reason:
    known = {str(reason): reason for reason in (Reason.IMPORT_ERROR, Reason.INVALID_PARAMETERS)}
    return known.get(report.reason or "", Reason.CANNOT_START)


def disrupted(seen: _Seen) -> Ending | None:
    """The cluster ended it: its node says so in status.reason, or who did it in the condition DisruptionTarget."""
    cause = seen.pod.disruption
    reason = NODE_REASONS.get(seen.pod.reason) or (DISRUPTIONS.get(cause.reason, Reason.EVICTED) if cause else None)
    if reason is None:
        return None
    told = one_line(seen.pod.message) or (one_line(cause.message) if cause else "") or seen.pod.reason
    message = f"{seen.pod} was ended by the cluster ({told.rstrip('. ')}); {ADVICE[reason]}"
    return Ending(Fate.INFRASTRUCTURE_RETRY, reason, message)


def deleted(seen: _Seen) -> Ending | None:
    """Somebody deleted the pod, and its process ended after that."""
    asked = seen.pod.asked_to_end
    if asked is None or (seen.end and seen.end.finished_at and seen.end.finished_at < asked):
        return None
    message = f"{seen.pod} was deleted by somebody; to end a run for good, set its spec.cancel to true"
    return Ending(Fate.INFRASTRUCTURE_RETRY, Reason.POD_DELETED, message)


def untraceable(seen: _Seen) -> Ending | None:
    """The node cannot tell, after a restart for example, or the API has no word about the container."""
    if seen.end is not None and seen.end.reason != "ContainerStatusUnknown":
        return None
    told = (seen.end.message if seen.end else seen.pod.message) or "no container status"
    message = f"{seen.pod} ended and nobody can tell how ({one_line(told).rstrip('. ')}); if it repeats, look whether the node restarts: kubectl describe node {seen.pod.node}"
    return Ending(Fate.INFRASTRUCTURE_RETRY, Reason.POD_LOST, message)


def cancelled(seen: _Seen) -> Ending | None:
    """It ended itself as cancelled, or by a signal that somebody sent into the pod."""
    assert seen.end is not None
    by_signal = seen.end.exit_code in {EXIT_SIGINT, EXIT_SIGTERM}
    if not by_signal and not (seen.report and seen.report.state == "Cancelled"):
        return None
    told = (seen.report.message if seen.report else "") or f"ended by a signal (exit code {seen.end.exit_code})"
    message = f"the flow was cancelled from inside {seen.pod}: {told}; start it again with a new FlowRun"
    return Ending(Fate.FINAL, Reason.CANCELLED, message)


def not_startable(seen: _Seen) -> Ending | None:
    """The container runtime found nothing to execute, or the SDK could not say why it did not start."""
    assert seen.end is not None
    refused = seen.end.reason in {"StartError", "ContainerCannotRun"}
    if not refused and not (seen.sdk and seen.end.exit_code == EXIT_CANNOT_START):
        return None
    told = one_line(seen.end.message) if refused else tail(seen.end.message)
    fields = "spec.entrypoint and spec.image" if seen.sdk else "spec.command, spec.args and spec.image"
    message = f"the container of {seen.pod} cannot start: {told or seen.end.reason}; check {fields}"
    return Ending(Fate.FINAL, Reason.CANNOT_START, message)


def exited(seen: _Seen) -> Ending | None:
    """A container that is no SDK flow, or a process that was not able to report."""
    assert seen.end is not None
    last = tail(seen.end.message)
    said = f": {last}" if last else ""
    message = f"{seen.pod} exited with {_exit_code(seen.end.exit_code)}{said}; see {seen.pod.kubectl('logs')}"
    return Ending(Fate.FLOW_RETRY, Reason.EXIT_CODE, message)


def _exit_code(code: int) -> str:
    if code == EXIT_SIGKILL:
        return "137 (SIGKILL: a liveness probe, or the node's own memory ran out)"
    if code == EXIT_NOT_FOUND:
        return "127 (command not found: check spec.command)"
    if code == EXIT_NOT_EXECUTABLE:
        return "126 (command not executable: check its file mode)"
    signal = SIGNALS.get(code - 128)
    return f"{code} ({signal})" if signal else str(code)


RULES: tuple[Callable[[_Seen], Ending | None], ...] = (
    succeeded,
    deadline_exceeded,
    out_of_memory,
    paused,
    unapproved,
    reported,
    rejected,
    disrupted,
    deleted,
    init_failed,
    untraceable,
    cancelled,
    not_startable,
    exited,
)
