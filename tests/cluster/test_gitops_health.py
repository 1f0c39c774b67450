"""What Argo CD and Flux show of objects, asked of their own code: every phase, every condition, every action."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from deploy.argocd.generate import KINDS, LUA, customizations
from headrace.api import keys
from headrace.api.backfill import BackfillPhase
from headrace.api.conditions import Phase
from tests.cluster.support.gitops import ArgoCD, flux_statuses

pytestmark = pytest.mark.timeout(5400)  # the first test builds a program around Argo CD
OLD = "2026-01-01T00:00:00Z"
HOOK = {"argocd.argoproj.io/hook": "PostSync"}
LAST_RUN = {"headrace.dev/health-of-last-run": "true"}


@pytest.fixture(scope="module")
def argocd() -> ArgoCD:
    """With the shipped settings."""
    return ArgoCD()


def an(kind, status=None, annotations=None, generation=1, **spec):
    """An object of ours."""
    metadata = {"name": "orders", "namespace": "team", "uid": "u-1", "generation": generation}
    item = {"apiVersion": keys.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    if annotations:
        metadata["annotations"] = annotations
    return item if status is None else {**item, "status": status}


def saying(*conditions, since=OLD, **status):
    """A status of generation 1 with conditions (type, status, reason); their message is "why"."""
    named = [
        {"type": type_, "status": value, "reason": reason, "message": "why", "lastTransitionTime": since}
        for type_, value, reason in conditions
    ]
    return {"observedGeneration": 1, "conditions": named, **status}


def ready(value="True", reason="Ready", **status):
    """A status with the condition Ready alone."""
    return saying(("Ready", value, reason), **status)


def a_moment_ago():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


FAILED_LAST = ready(lastRun={"name": "orders-1", "phase": "Failed", "reason": "FlowFailed", "time": OLD})
OPEN = saying(("Ready", "True", "Ready"), ("CircuitOpen", "True", "CircuitOpen"))
BAD_CRON = saying(("Ready", "True", "Ready"), ("Scheduling", "False", "InvalidSchedule"))
NO_TRIGGER = saying(("Ready", "True", "Ready"), ("Triggering", "False", "TriggerNameTaken"))
HELD_TRIGGER = saying(("Ready", "True", "Ready"), ("Triggering", "False", "Suspended"))
CASES = [
    *((f"{kind} without a status", an(kind), "Progressing", "waits for the operator") for kind in KINDS),
    *(
        (f"{kind} that was changed since", an(kind, ready(), generation=2), "Progressing", "waits for the operator")
        for kind in KINDS
        if kind not in {"FlowRun", "Backfill"}
    ),
    *(
        (f"{kind} that is ready", an(kind, ready()), "Healthy", "why")
        for kind in ("Flow", "Deployment", "WorkPool", "ConcurrencyLimit", "Automation")
    ),
    *(
        (f"{kind} with a wrong spec", an(kind, ready("False", "InvalidSpec")), "Degraded", "InvalidSpec: why")
        for kind in ("Flow", "Deployment", "WorkPool", "ConcurrencyLimit", "Automation")
    ),
    ("suspended Deployment", an("Deployment", ready(), suspend=True), "Healthy", "Suspended: spec.suspend is true"),
    ("suspended Automation", an("Automation", ready(), suspend=True), "Healthy", "Suspended: spec.suspend is true"),
    ("open circuit", an("Deployment", OPEN), "Degraded", "CircuitOpen: why"),
    ("wrong schedule", an("Deployment", BAD_CRON), "Degraded", "InvalidSchedule: why"),
    ("blocked trigger", an("Deployment", NO_TRIGGER), "Degraded", "TriggerNameTaken: why"),
    ("suspended trigger", an("Deployment", HELD_TRIGGER, suspend=True), "Healthy", "Suspended: spec.suspend is true"),
    ("failed last run", an("Deployment", FAILED_LAST), "Healthy", "orders-1, is Failed"),
    ("failed last run that counts", an("Deployment", FAILED_LAST, LAST_RUN), "Degraded", "FlowFailed: the last run"),
    ("Flow is missing", an("Deployment", ready("False", "FlowNotFound")), "Degraded", "FlowNotFound: why"),
    ("no nodes", an("WorkPool", ready("Unknown", "NoNodes")), "Healthy", "NoNodes: why"),
    ("nodes that start", an("WorkPool", ready("False", "NodesNotReady")), "Progressing", "NodesNotReady: why"),
    ("shrunk limit", an("ConcurrencyLimit", ready("False", "Resizing")), "Healthy", "Resizing: why"),
    ("backfill of nothing", an("Backfill", ready("False", "DeploymentNotFound", phase="Pending")), "Degraded", "why"),
    ("cancelled hook", an("Backfill", ready(phase="Cancelled"), HOOK), "Degraded", ""),
    ("rerun backfill", an("Backfill", ready(phase="Failed"), generation=2), "Progressing", "waits for the operator"),
    ("run that sleeps", an("FlowRun", {"phase": "Paused", "reason": "Sleeping"}), "Progressing", "Sleeping"),
    ("run that is held", an("FlowRun", {"phase": "Pending", "reason": "Suspended"}), "Suspended", "Suspended"),
    ("skipped hook", an("FlowRun", {"phase": "Skipped", "reason": "Duplicate"}, HOOK), "Degraded", "Duplicate"),
    ("cancelled hook run", an("FlowRun", {"phase": "Cancelled"}, HOOK), "Degraded", ""),
]
OF_RUNS = {
    Phase.PENDING: "Progressing",
    Phase.RUNNING: "Progressing",
    Phase.RETRYING: "Progressing",
    Phase.PAUSED: "Suspended",
    Phase.SUCCEEDED: "Healthy",
    Phase.FAILED: "Degraded",
    Phase.CRASHED: "Degraded",
    Phase.CANCELLED: "Healthy",
    Phase.SKIPPED: "Healthy",
}
OF_BACKFILLS = {
    BackfillPhase.PENDING: "Progressing",
    BackfillPhase.RUNNING: "Progressing",
    BackfillPhase.WAITING: "Progressing",
    BackfillPhase.PAUSED: "Suspended",
    BackfillPhase.SUCCEEDED: "Healthy",
    BackfillPhase.FAILED: "Degraded",
    BackfillPhase.CANCELLED: "Healthy",
}


def test_health_of_every_situation(argocd):
    """The status, and a message that says why."""
    found = argocd.health(*(case[1] for case in CASES))
    wrong = [
        (case[0], status, message)
        for case, (status, message) in zip(CASES, found, strict=True)
        if status != case[2] or case[3] not in message
    ]
    assert not wrong


def test_health_of_every_phase(argocd):
    """A phase that is added later is not forgotten: the tables are asked for each."""
    runs = [an("FlowRun", {"phase": phase, "reason": "Why", "message": "because"}, generation=2) for phase in Phase]
    backfills = [an("Backfill", ready(phase=phase)) for phase in BackfillPhase]
    found = [status for status, _ in argocd.health(*runs, *backfills)]
    assert found == [*(OF_RUNS[phase] for phase in Phase), *(OF_BACKFILLS[phase] for phase in BackfillPhase)]
    assert argocd.health(runs[0]) == [("Progressing", "Why: because")]


def test_what_is_named_may_come_shortly_after(argocd):
    """Applied in one go, a Deployment is no failure for two minutes because its Flow comes second."""
    fresh = saying(("Ready", "False", "FlowNotFound"), since=a_moment_ago())
    stale = (datetime.now(UTC) - timedelta(minutes=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    older = saying(("Ready", "False", "FlowNotFound"), since=stale)
    found = argocd.health(an("Deployment", fresh), an("Deployment", older))
    assert [status for status, _ in found] == ["Progressing", "Degraded"]


def test_an_object_that_is_deleted_is_under_way(argocd):
    """Argo CD's own rule, which ours leave alone."""
    gone = an("Flow", ready())
    gone["metadata"]["deletionTimestamp"] = OLD
    assert argocd.health(gone)[0][0] == "Progressing"


def a_run(phase, **spec):
    run = an("FlowRun", {"phase": phase}, deploymentRef={"name": "orders"}, **spec)
    run["metadata"]["labels"] = {"team": "a", "headrace.dev/schedule": "daily", "app.kubernetes.io/instance": "x"}
    owner = {"apiVersion": keys.API_VERSION, "kind": "Deployment", "name": "orders", "uid": "d-1", "controller": True}
    run["metadata"]["ownerReferences"] = [owner]
    return run


@pytest.mark.parametrize(
    ("item", "offered"),
    [
        (an("Flow"), {"run-now"}),
        (an("Deployment"), {"run-now", "suspend"}),
        (an("Deployment", {"circuit": {"state": "Open"}}, suspend=True), {"run-now", "resume", "close-circuit"}),
        (a_run("Running"), {"cancel", "suspend"}),
        (a_run("Running", cancel=True, suspend=True), {"resume"}),
        (a_run("Failed", parameters={"n": 1}), {"retry"}),
        (a_run("Failed", parameters={"n": {}}), set()),
        (a_run("Failed", parameters={"n": 2**60}), set()),
        (an("FlowRun", {"phase": "Failed"}, flowRef={"name": "x"}, task={"name": "t"}), set()),
        (an("Backfill", {"phase": "Running"}), {"suspend", "cancel"}),
        (an("Backfill", {"phase": "Failed", "failed": 2}), {"rerun-failed"}),
        (an("Automation", suspend=True), {"resume"}),
        (an("WorkPool"), set()),
    ],
)
def test_only_actions_that_can_be_taken_are_offered(argocd, item, offered):
    """Others are there and disabled."""
    assert argocd.actions(item) == offered


def test_an_answer_is_for_a_pause_that_asks_for_no_input(argocd):
    """Where it asks for some, a person can still say no."""
    pause = {"kind": "Approval", "name": "release"}
    asked = an("FlowRun", {"phase": "Paused", "pause": pause}, flowRef={"name": "x"})
    assert argocd.actions(asked) >= {"approve", "reject"}
    answers = [{"name": "release", "decision": "Approve"}]
    assert argocd.act(asked, "approve") == ("patch", {"spec": {"answers": answers}})
    asked["status"]["pause"] = {**pause, "schema": {"type": "object"}}
    assert argocd.actions(asked).isdisjoint({"approve"}) and "reject" in argocd.actions(asked)


def test_actions_change_one_field(argocd):
    """As merge patches, so that nothing else is written."""
    assert argocd.act(an("Deployment"), "suspend") == ("patch", {"spec": {"suspend": True}})
    assert argocd.act(an("Backfill", rerunFailed=1), "rerun-failed") == ("patch", {"spec": {"rerunFailed": 2}})
    assert argocd.act(a_run("Running", parameters={"a": {}, "b": []}), "cancel") == (
        "patch",
        {"spec": {"cancel": True}},
    )
    _, patch = argocd.act(an("Deployment"), "close-circuit")
    assert list(patch["metadata"]["annotations"]) == [keys.CIRCUIT_RESET_ANNOTATION]


def test_a_retry_carries_what_counts_and_nothing_of_the_old_run(argocd):
    """Twice by two people, it is one run: both have one idempotency key."""
    operation, run = argocd.act(a_run("Failed", parameters={"n": 1, "of": ["a"]}, priority=3), "retry")
    assert operation == "create"
    assert run["metadata"]["labels"] == {"team": "a", keys.RERUN_OF_LABEL: "orders"}
    assert [owner["kind"] for owner in run["metadata"]["ownerReferences"]] == ["Deployment"]
    assert run["spec"] == {
        "deploymentRef": {"name": "orders"},
        "parameters": {"n": 1, "of": ["a"]},
        "priority": 3,
        "idempotencyKey": "retry/u-1",
    }


FLUX_CASES = [
    (an("Flow", ready()), "Current", "Current"),
    (an("Flow", ready("False", "InvalidSpec")), "InProgress", "Failed"),
    (an("Flow", ready(), generation=2), "InProgress", "InProgress"),
    (an("Flow"), "Current", "Unknown"),
    (an("Deployment", ready("False", "FlowNotFound")), "InProgress", "InProgress"),
    (an("Deployment", OPEN), "Current", "Failed"),
    (an("Deployment", BAD_CRON), "Current", "Failed"),
    (an("WorkPool", ready("Unknown", "NoNodes")), "InProgress", "Current"),
    (an("ConcurrencyLimit", ready("False", "Resizing")), "InProgress", "Current"),
    (an("FlowRun", saying(phase="Running")), "Current", "InProgress"),
    (an("FlowRun", saying(phase="Succeeded")), "Current", "Current"),
    (an("FlowRun", saying(phase="Crashed")), "Current", "Failed"),
    (an("Backfill", ready(phase="Running")), "Current", "InProgress"),
    (an("Backfill", ready(phase="Failed")), "Current", "Failed"),
    (an("Automation", ready()), "Current", "Current"),
]


def test_what_flux_makes_of_it():
    """By kstatus alone, and by the expressions that are shipped for each kind."""
    found = flux_statuses(*(case[0] for case in FLUX_CASES))
    assert found == [case[1:] for case in FLUX_CASES]
    assert {case[0]["kind"] for case in FLUX_CASES} == set(KINDS)


def test_the_shipped_files_are_current():
    """Values and patch are made from the Lua files; every kind of the API is in them."""
    done = subprocess.run([sys.executable, "-m", "deploy.argocd.generate", "--check"], cwd=LUA.parents[2], check=False)
    assert done.returncode == 0
    kinds = {
        yaml.safe_load(path.read_text())["spec"]["names"]["kind"] for path in (LUA.parents[2] / "crds").glob("*.yaml")
    }
    assert kinds == set(KINDS)
    shipped = yaml.safe_load((LUA.parent / "values.yaml").read_text())["configs"]["cm"]
    assert shipped == customizations()
    assert not [name for name, text in shipped.items() if "{{" in text], "the chart would take it for a template"
