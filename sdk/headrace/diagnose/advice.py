"""
The next step for each reason of a run, as docs/diagnosis.md tells it at length.

`{run}`, `{namespace}`, `{deployment}` and `{pod}` stand for names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RETRY: Final = "headrace retry {run} -n {namespace} runs it again"
LOGS: Final = "headrace logs {run} -n {namespace} has the whole log"
POD: Final = "kubectl describe pod {pod} -n {namespace} shows what the node says"

NEXT_STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    # It waits
    "FlowNotFound": ("create the Flow, or mend the name: kubectl get fl -n {namespace} lists those that are",),
    "DeploymentNotFound": (
        "create the Deployment, or mend the name: headrace deployments -n {namespace} lists those that are",
    ),
    "RevisionNotFound": ("pin a revision that is there (spec.flowRef.revision), or none",),
    "InvalidSpec": ("mend what the message names, and apply the Flow again",),
    "InvalidParameters": ("mend the parameters: headrace retry {run} -n {namespace} --set NAME=VALUE",),
    "ForeignTask": ("let the run itself call the task; a FlowRun with spec.task is not to be made by hand",),
    "WaitingForSlot": (
        "it starts when a run of its Deployment ends; spec.concurrency.limit of the Deployment says how many run at once",
    ),
    "WaitingForLimit": ("it starts when slots are given back; headrace limits NAME shows who holds them",),
    "WaitingForRate": (
        "it starts by itself within the time of the rate; spec.rate of the ConcurrencyLimit says how many may",
    ),
    "WaitingForPool": (
        "it starts when a run there ends; headrace pools shows how full they are; raise spec.capacity for more",
    ),
    "WaitingForQuota": (
        "it starts when a run of the namespace ends; the annotation headrace.dev/max-active-runs of the namespace says how many may run",
    ),
    "WaitingForBudget": (
        "it starts in the budget's next period; headrace cost --budgets -n {namespace} shows what is spent; raise spec.budget.amount of the Deployment to let it go on",
    ),
    "LimitNotFound": ("create the ConcurrencyLimit that the message names; headrace limits lists those that are",),
    "LimitTooSmall": ("raise spec.slots of the ConcurrencyLimit, or ask for fewer in spec.limits",),
    "PoolNotFound": ("allow a pool that is there in spec.pools; headrace pools lists them",),
    "NoPoolFits": ("ask for less in spec.resources of the Flow, allow a larger pool in spec.pools, or add one",),
    "Admitted": ("its pod is about to be made; if this lasts, headrace doctor looks at the operator",),
    "Accepted": ("its turn is about to come; if this lasts, headrace doctor looks at the operator",),
    "Suspended": ("headrace resume {run} -n {namespace} lets it go on",),
    "PodPending": ("its pod is being prepared; " + POD,),
    "Unschedulable": ("add a node that takes it, or ask for less in spec.resources; " + POD,),
    "ImagePullFailed": ("mend spec.image or spec.imagePullSecrets of the Flow; " + POD,),
    "ConfigMissing": ("create the Secret, ConfigMap or key that the message names; the pod starts by itself then",),
    "ContainerCreationFailed": ("mend the Flow (securityContext, volumes, image); " + POD,),
    "PodCreationFailed": ("mend what the API server refused: a quota, a policy, or spec.podTemplate",),
    "SchedulingGated": ("whoever has gated the pod has to lift the gate; " + POD,),
    "VolumeWait": ("look for volumes that are missing; " + POD,),
    "NodeUnreachable": ("mend the node; if it is gone for good, kubectl delete node NODE lets the run go on",),
    "CircuitOpen": (
        "mend what failed (headrace failures --deployment {deployment} -n {namespace}), then headrace circuit close {deployment} -n {namespace}",
    ),
    "CircuitHalfOpen": (
        "wait for the run that tries whether it works again, or headrace circuit close {deployment} -n {namespace}",
    ),
    "AwaitingApproval": (
        "headrace approve {run} -n {namespace}, or headrace reject {run} -n {namespace} --reason WHY",
    ),
    "InvalidAnswer": ("answer again, as the message says: headrace approve {run} -n {namespace} -p NAME=VALUE",),
    "Sleeping": ("it goes on by itself at the time that is told; headrace cancel {run} -n {namespace} ends it",),
    "Paused": ("its pod is about to go; it tells in a moment for what it waits",),
    "RunResumed": ("its next attempt starts when its turn comes",),
    "RetryScheduled": ("it is tried again by itself; headrace cancel {run} -n {namespace} ends it",),
    "Outranked": ("it starts again when there is room; a higher spec.priority lets it go first",),
    "CancelRequested": ("its pod has its grace period to end; " + POD,),
    "Running": ("headrace logs {run} -n {namespace} -f follows it",),
    # It died by the flow
    "FlowFailed": ("mend the flow; " + LOGS, RETRY),
    "RetryRequested": (
        "the flow asked for more attempts than spec.retries allows; raise that, or mend the flow",
        RETRY,
    ),
    "ExitCode": ("look for the cause at the end of the log; " + LOGS, RETRY),
    "CannotStart": ("mend spec.entrypoint, spec.command or spec.image of the Flow", RETRY),
    "InitFailed": (
        "kubectl logs {pod} -n {namespace} -c CONTAINER has the log of the init container that the message names",
        RETRY,
    ),
    "ImportError": ("add the package that the message names to the image of the Flow", RETRY),
    "TimedOut": ("look in the log for what took so long (" + LOGS + "), or raise spec.timeoutSeconds", RETRY),
    "Rejected": ("settle what the person who said no asks for, then start it again", RETRY),
    "ApprovalTimedOut": ("ask again, or give people longer (timeout_seconds)", RETRY),
    "TooManyPauses": ("let the flow pause less often, or split it into several runs",),
    # It died by the infrastructure
    "OOMKilled": (
        "raise spec.resources.limits.memory of the Flow, or turn on spec.autosize; or load less at once",
        RETRY,
    ),
    "Evicted": ("raise spec.resources.requests of what ran short; after a drain nothing is to be done", RETRY),
    "Preempted": ("set a higher priorityClassName on the WorkPool if it repeats", RETRY),
    "NodeLost": ("look at the node if it repeats: kubectl describe node NODE", RETRY),
    "NodeShutdown": ("expected on spot nodes; allow others in spec.pools for long runs", RETRY),
    "PodDeleted": (
        "find out who deleted the pod (the API server's audit log); headrace cancel is the way to end a run",
        RETRY,
    ),
    "PodLost": ("look whether the node restarted: kubectl describe node NODE", RETRY),
    "PodRejected": ("look at the node if it refuses again and again: kubectl describe node NODE", RETRY),
    "PoolUnavailable": ("look at the pool: headrace pools; kubectl describe wp POOL", RETRY),
    # People or rules ended it
    "Duplicate": (
        "the run that counts is named in the message; headrace retry {run} -n {namespace} executes it all the same",
    ),
    "Cancelled": (RETRY,),
    "Replaced": ("a newer run took its place, as spec.concurrency.onConflict is Replace", RETRY),
    "SkippedByConcurrency": ("no slot was free, and spec.concurrency.onConflict is Skip; Queue lets runs wait", RETRY),
    "Succeeded": ("headrace result {run} -n {namespace} prints what it returned",),
}
"""By the word in status.reason."""


def next_steps(reason: str, names: Mapping[str, str]) -> list[str]:
    """
    What to do, with the names filled in; empty where nothing is known of a reason.

    Args:
        names: `run`, `namespace`, `deployment` and `pod`, "" where there is none.
    """
    return [step.format_map(names) for step in NEXT_STEPS.get(reason, ())]
