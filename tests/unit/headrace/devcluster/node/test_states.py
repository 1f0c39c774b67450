"""The record of a pod, and the status that comes of it."""

from __future__ import annotations

import pytest

from headrace.devcluster.node.states import (
    Container,
    PodRecord,
    Running,
    Terminated,
    Waiting,
    load,
    new_record,
    save,
)
from headrace.devcluster.node.status import container_status, finish, phase, pod_status

T = "2026-01-01T00:00:00Z"
DONE = Terminated(0, "Completed", T, T)
BROKEN = Terminated(1, "Error", T, T)
RUNS = Running(T)
WAITS = Waiting("ContainerCreating")


def a_record(*states, init=(), initialized=True, last=None):
    containers = [Container(f"init-{n}", "none", init=True, state=s) for n, s in enumerate(init)]
    containers += [Container(f"main-{n}", "none", state=s, last=last) for n, s in enumerate(states)]
    return PodRecord("uid", containers, T, initialized=initialized)


def a_pod(**spec):
    containers = [{"name": "main", "image": "none"}]
    return {"metadata": {"uid": "u", "name": "p"}, "spec": {"containers": containers, "restartPolicy": "Never", **spec}}


@pytest.mark.parametrize(
    ("record", "policy", "expected"),
    [
        pytest.param(a_record(WAITS), "Never", "Pending", id="not started yet"),
        pytest.param(a_record(RUNS), "Never", "Running", id="runs"),
        pytest.param(a_record(RUNS, WAITS), "Never", "Pending", id="one of two has not started"),
        pytest.param(a_record(RUNS, DONE), "Never", "Running", id="one of two has ended"),
        pytest.param(a_record(DONE, DONE), "Never", "Succeeded", id="all ended well"),
        pytest.param(a_record(DONE, BROKEN), "Never", "Failed", id="one of two failed"),
        pytest.param(a_record(BROKEN), "OnFailure", "Running", id="will be restarted"),
        pytest.param(a_record(DONE), "OnFailure", "Succeeded", id="is not restarted after success"),
        pytest.param(a_record(DONE), "Always", "Running", id="is restarted after success"),
        pytest.param(a_record(WAITS, last=BROKEN), "Always", "Running", id="waits for its next start"),
        pytest.param(a_record(WAITS, init=[RUNS], initialized=False), "Never", "Pending", id="initializes"),
        pytest.param(a_record(WAITS, init=[BROKEN], initialized=False), "Never", "Failed", id="init container failed"),
        pytest.param(a_record(WAITS, init=[BROKEN], initialized=False), "Always", "Pending", id="init is tried again"),
    ],
)
def test_phase(record, policy, expected):
    """By the kubelet's rules."""
    assert phase(record, policy, over=False) == expected


@pytest.mark.parametrize(
    ("record", "policy", "expected"),
    [
        pytest.param(a_record(DONE), "Always", "Succeeded", id="ended well when it was told to"),
        pytest.param(a_record(BROKEN), "Always", "Failed", id="ended badly"),
        pytest.param(a_record(WAITS), "Never", "Failed", id="never ran"),
        pytest.param(a_record(WAITS, init=[WAITS], initialized=False), "Always", "Failed", id="never initialized"),
    ],
)
def test_the_last_phase(record, policy, expected):
    """Final once nothing will be started any more; containers that never ran are reported as such."""
    finish(record, policy, T)

    assert record.phase == expected
    assert all(each.ended for each in record.kind(init=False)) == record.initialized


def test_a_final_phase_waits_for_the_last_word():
    """While a sidecar still runs, a pod whose main container ended is Running."""
    record = a_record(DONE)
    before = pod_status(a_pod(), record, T)["phase"]
    finish(record, "Never", T)

    assert (before, pod_status(a_pod(), record, T)["phase"]) == ("Running", "Succeeded")


def test_transition_times_stay_while_nothing_changes():
    """A condition keeps the time of its last change."""
    record = a_record(RUNS)
    record.containers[0].ready = True
    later = "2026-01-02T00:00:00Z"
    pod = {**a_pod(), "status": pod_status(a_pod(), record, T)}
    same = {each["lastTransitionTime"] for each in pod_status(pod, record, later)["conditions"]}
    record.containers[0].ready = False
    changed = {c["type"] for c in pod_status(pod, record, later)["conditions"] if c["lastTransitionTime"] == later}

    assert same == {T}
    assert changed == {"Ready", "ContainersReady"}


def test_a_record_survives_the_disk(tmp_path):
    """Every state comes back as it was."""
    record = a_record(RUNS, DONE, WAITS, init=[BROKEN], last=BROKEN)
    save(record, tmp_path / "record.json")

    assert load(tmp_path / "record.json") == record
    assert load(tmp_path / "none.json") is None


def test_a_pod_that_was_here_before_is_taken_up_from_its_status():
    """Without a record, the status tells what ran: it is lost, and not started as if it were new."""
    status = container_status(Container("main", "none", state=RUNS, last=BROKEN, restarts=2))
    record = new_record({**a_pod(), "status": {"containerStatuses": [status], "startTime": T}}, "later")
    record.containers[0].lose("later")
    [container] = record.containers

    assert (container.ended.reason, container.ended.exit_code, container.restarts) == ("ContainerStatusUnknown", 137, 2)
    assert (container.last.exit_code, record.started_at) == (1, T)


def test_a_run_that_may_have_begun_is_lost_too():
    """The record said "launching": nobody knows whether the process was there."""
    container = Container("main", "none", state=BROKEN, launching=True, attempt=1)
    container.lose("now")

    assert (container.ended.reason, container.last, container.restarts) == ("ContainerStatusUnknown", BROKEN, 1)
    assert not container.launching


def test_what_ended_or_never_began_is_not_lost():
    """Only what ran is."""
    for state in (WAITS, DONE):
        container = Container("main", "none", state=state)
        container.lose("now")
        assert container.state == state
