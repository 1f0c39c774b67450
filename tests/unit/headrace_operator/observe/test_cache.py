"""What the cache holds is true, whatever the order in which it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace_operator.decide.snapshot import Place, Pod, Run, RunStatus, Turn
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.gone import REMEMBERED, Gone
from headrace_operator.observe.parse import pod_from, run_from
from headrace_operator.observe.records import deployment_record, flow_record
from tests.builders import NOW, a_pod_object, ended, running
from tests.unit.headrace_operator.observe import objects
from tests.unit.headrace_operator.observe.objects import PAUSE, finished, gave_back, key, under_way

DAILY = key("daily")


def a_run(version: int = 1, **changes: Any) -> Run:
    return run_from(objects.run(version, **changes))


def a_pod(version: int = 1, *, run: str = "r1", attempt: int = 1, **changes: Any) -> Pod:
    metadata = {"resourceVersion": str(version), "uid": f"{run}-{attempt}-uid", **changes.pop("metadata", {})}
    pod = pod_from(
        a_pod_object(changes.pop("status", running()), run=run, attempt=attempt, metadata=metadata, **changes)
    )
    assert pod is not None
    return pod


def a_cache(*runs: Run, **spec: Any) -> Cache:
    cache = Cache()
    cache.put_deployment(deployment_record(objects.deployment(**spec)))
    for run in runs:
        cache.put_run(run)
    return cache


def counts(cache: Cache) -> tuple[int, int]:
    ledger = cache.ledger(DAILY)
    return ledger.active_count, ledger.waiting_count


class TestNewerWins:
    """Events may be late, answers to our own writes early."""

    @pytest.mark.parametrize("version", [4, 5])
    def test_what_is_not_newer_changes_nothing(self, version: int) -> None:
        """The same version again, or an older one."""
        cache = a_cache(a_run(5, status={"phase": "Running"}))
        assert cache.put_run(a_run(version)) is False
        assert cache.runs[key("r1")].status.phase == "Running"

    def test_newer_replaces_older_of_every_kind(self) -> None:
        """And says that it was news."""
        cache = Cache()
        for version in (1, 2):
            assert cache.put_flow(flow_record(objects.flow(version)))
            assert cache.put_deployment(deployment_record(objects.deployment(version)))
            assert cache.put_run(a_run(version))
            assert cache.put_pod(a_pod(version))
        held = (cache.flows, cache.deployments, cache.runs, cache.pods)
        assert [[record.version for record in kind.values()] for kind in held] == [[2], [2], [2], [2]]

    def test_versions_are_compared_as_numbers(self) -> None:
        """10 is more than 9."""
        cache = a_cache(a_run(9))
        assert cache.put_run(a_run(10)) is True


class TestGoneIsGone:
    """A deleted object does not come back."""

    def test_the_answer_to_our_last_write_does_not_raise_it_from_the_dead(self) -> None:
        """However new it is."""
        cache = a_cache(a_run(1))
        assert cache.drop_run(key("r1"), "r1-uid") is True
        assert cache.put_run(a_run(99)) is False
        assert cache.runs == {}

    def test_a_deletion_that_is_heard_of_before_the_object_counts_too(self) -> None:
        """The stream was ahead of the answer to the creation."""
        cache = Cache()
        assert cache.drop_pod(key("r1-1"), "r1-1-uid") is None
        assert cache.put_pod(a_pod()) is False

    def test_a_new_object_of_the_name_is_another_one(self) -> None:
        """The deletion of the old one, heard of late, leaves it alone."""
        cache = a_cache(a_run(1))
        cache.put_run(a_run(2, uid="new"))
        assert cache.drop_run(key("r1"), "r1-uid") is False
        assert cache.runs[key("r1")].uid == "new"

    def test_the_oldest_of_many_are_forgotten(self) -> None:
        """Memory is bounded."""
        gone = Gone()
        for number in range(REMEMBERED + 1):
            gone.add(str(number))
        assert "0" not in gone
        assert "1" in gone


class TestPods:
    """Pods by run."""

    def test_the_pods_of_a_run_are_told_by_attempt(self) -> None:
        """By number, not by name; those of other runs are not among them."""
        cache = a_cache()
        for attempt in (10, 9, 2):
            cache.put_pod(a_pod(attempt=attempt))
        cache.put_pod(a_pod(run="r2"))
        assert [pod.attempt for pod in cache.pods_of(key("r1"))] == [2, 9, 10]
        assert cache.pods_of(key("r3")) == ()

    def test_a_pod_that_goes_leaves_no_trace(self) -> None:
        """It is handed back, for whom it concerns."""
        cache = a_cache()
        cache.put_pod(a_pod())
        gone = cache.drop_pod(key("r1-1"), "r1-1-uid")
        assert gone is not None
        assert gone.run == key("r1")
        assert cache.pods_of(key("r1")) == ()

    def test_a_pod_whose_label_is_changed_moves(self) -> None:
        """It does not stay with the run that it was taken from."""
        cache = a_cache(a_run())
        cache.put_pod(a_pod())
        cache.put_pod(replace(a_pod(2), run=key("r2")))
        assert cache.pods_of(key("r1")) == ()
        assert [pod.key.name for pod in cache.pods_of(key("r2"))] == ["r1-1"]
        assert counts(cache) == (0, 1)

    def test_pods_that_are_held_are_told_from_those_let_go(self) -> None:
        """By our finalizer."""
        cache = a_cache()
        cache.put_pod(a_pod(metadata={"finalizers": ["others/finalizer"]}))
        assert not cache.holds_pods(key("r1"))
        cache.put_pod(a_pod(attempt=2))
        assert cache.holds_pods(key("r1"))


class TestFinishedRuns:
    """They are held for as long as their pods are."""

    def test_a_finished_run_without_pods_is_not_held(self) -> None:
        """It was held before, or never was."""
        cache = a_cache(a_run(1))
        assert cache.put_run(a_run(2, status=finished())) is True
        assert cache.put_run(a_run(3, name="r2", status=finished())) is False
        assert cache.runs == {}

    def test_a_finished_run_is_held_until_its_pods_are_let_go(self) -> None:
        """Letting go of them needs no read then."""
        cache = a_cache(a_run(1))
        cache.put_pod(a_pod(1, status=ended(0)))
        cache.put_run(a_run(2, status=finished()))
        assert key("r1") in cache.runs
        cache.put_pod(a_pod(2, status=ended(0), metadata={"finalizers": []}))
        assert cache.runs == {}

    def test_or_until_they_are_gone(self) -> None:
        """Somebody took the finalizer off."""
        cache = a_cache(a_run(1))
        cache.put_pod(a_pod())
        cache.put_run(a_run(2, status=finished()))
        cache.drop_pod(key("r1-1"), "r1-1-uid")
        assert cache.runs == {}

    def test_a_finished_run_holds_no_slot(self) -> None:
        """Though it is held."""
        cache = a_cache(a_run(1))
        cache.put_pod(a_pod())
        assert counts(cache) == (1, 0)
        cache.put_run(a_run(2, status=finished()))
        assert counts(cache) == (0, 0)


class TestSlots:
    """Who is active, who waits, who neither."""

    @pytest.mark.parametrize(
        ("run", "expected"),
        [
            pytest.param(a_run(), (0, 1), id="a new run waits"),
            pytest.param(a_run(suspend=True), (0, 0), id="a suspended one asks for no slot"),
            pytest.param(a_run(cancel=True), (0, 0), id="nor does one that is to be cancelled"),
            pytest.param(a_run(status=under_way()), (1, 0), id="one with an attempt holds a slot"),
            pytest.param(a_run(status=under_way(), suspend=True), (1, 0), id="suspended between attempts it keeps it"),
            pytest.param(a_run(status=gave_back(pause=PAUSE)), (0, 0), id="one that pauses holds none and wants none"),
            pytest.param(a_run(status=gave_back()), (0, 1), id="one whose pause is over waits for its turn"),
            pytest.param(a_run(flowRef={"name": "etl"}), (0, 0), id="one without a Deployment is in no ledger"),
        ],
    )
    def test_a_run_stands_where_its_spec_and_status_put_it(self, run: Run, expected: tuple[int, int]) -> None:
        """Active and waiting runs of the Deployment."""
        assert counts(a_cache(run)) == expected

    def test_a_run_counts_as_active_from_the_decision_on(self) -> None:
        """Before its pod exists: two runs must not take one slot."""
        cache = a_cache(a_run(), a_run(name="r2"))
        cache.charge(key("r1"), 1, Turn())
        assert counts(cache) == (1, 1)
        assert cache.place(cache.runs[key("r2")]) == Place(active=1, ahead=0, newer=0)
        cache.put_pod(a_pod())
        assert counts(cache) == (1, 1)

    def test_a_run_whose_pod_was_refused_waits_again(self) -> None:
        """Its slot is free."""
        cache = a_cache(a_run())
        cache.charge(key("r1"), 1, Turn())
        cache.discharge(key("r1"))
        assert counts(cache) == (0, 1)
        assert not cache.is_admitted(cache.runs[key("r1")])

    def test_a_charge_ends_with_the_pod_that_it_was_for(self) -> None:
        """The pod went before any status: nothing is held any more."""
        cache = a_cache(a_run())
        cache.charge(key("r1"), 1, Turn())
        cache.put_pod(a_pod())
        cache.drop_pod(key("r1-1"), "r1-1-uid")
        assert counts(cache) == (0, 1)

    def test_the_pod_of_an_earlier_attempt_ends_no_charge(self) -> None:
        """It is let go while the next one is launched."""
        cache = a_cache(a_run(1, status=under_way()))
        cache.charge(key("r1"), 2, Turn(pool="gpu"))
        cache.put_pod(a_pod(5))
        assert cache.turn_of(key("r1")) == Turn(pool="gpu")

    def test_a_run_that_goes_gives_its_slot_back(self) -> None:
        """Charged or with a pod."""
        cache = a_cache(a_run(), a_run(name="r2", status=under_way("r2-1")))
        cache.charge(key("r1"), 1, Turn())
        cache.drop_run(key("r1"), "r1-uid")
        cache.drop_run(key("r2"), "r2-uid")
        assert counts(cache) == (0, 0)
        assert cache.ledger(DAILY).all() == []

    def test_a_run_made_anew_elsewhere_leaves_its_old_place(self) -> None:
        """Deleted and created under the same name while nobody listened: the old Deployment's slot is free."""
        cache = a_cache(a_run(1, status=under_way()))
        cache.charge(key("r1"), 1, Turn())
        cache.put_run(a_run(2, uid="new", deploymentRef={"name": "weekly"}))
        assert counts(cache) == (0, 0)
        assert cache.ledger(key("weekly")).waiting_count == 1

    def test_a_priority_is_the_runs_own_else_the_deployments(self) -> None:
        """A change of the Deployment's sorts its runs anew."""
        cache = a_cache(a_run(name="a"), a_run(name="b", priority=3))
        assert [cache.place(cache.runs[key(name)]).ahead for name in ("b", "a")] == [0, 1]
        cache.put_deployment(deployment_record(objects.deployment(2, priority=7)))
        cache.reindex_deployment(DAILY)
        assert [cache.place(cache.runs[key(name)]).ahead for name in ("a", "b")] == [0, 1]

    def test_a_task_has_the_priority_of_the_run_that_waits_for_it(self) -> None:
        """However deep; one whose parent is gone has none."""
        cache = a_cache(a_run(name="parent"))
        cache.put_deployment(deployment_record(objects.deployment(2, priority=7)))
        for name, parent in (("child", "parent"), ("grandchild", "child"), ("orphan", "nobody")):
            task = {
                "name": "train",
                "parent": {"name": parent, "uid": f"{parent}-uid"},
                "function": "etl:train",
                "input": "file:///in",
                "output": "file:///out",
            }
            cache.put_run(a_run(name=name, flowRef={"name": "etl"}, task=task))
        found = [cache.priority_of(cache.runs[key(name)]) for name in ("child", "grandchild", "orphan")]
        assert found == [7, 7, 0]


class TestFlows:
    """Who uses a Flow, and which of its revisions."""

    def test_the_runs_of_a_flow_name_it_or_their_deployment_does(self) -> None:
        """Of its namespace."""
        cache = a_cache(
            a_run(name="by-deployment"),
            a_run(name="by-itself", flowRef={"name": "etl"}),
            a_run(name="other", flowRef={"name": "other"}),
            a_run(name="lost", deploymentRef={"name": "nowhere"}),
        )
        cache.put_run(replace(a_run(name="elsewhere", flowRef={"name": "etl"}), key=key("x")._replace(namespace="b")))
        assert {k.name for k in cache.runs_of_flow(key("etl"))} == {"by-deployment", "by-itself"}

    def test_revisions_in_use_are_those_that_anything_names(self) -> None:
        """Statuses, pods before the first status, runs that pin, Deployments that pin."""
        cache = a_cache(
            a_run(name="r1", status={"flowRevision": "status"}),
            a_run(name="r2"),
            a_run(name="r3", flowRef={"name": "etl", "revision": "run"}),
            flowRef={"name": "etl", "revision": "deployment"},
        )
        cache.put_pod(replace(a_pod(run="r2"), revision="pod"))
        assert cache.revisions_in_use(key("etl")) == {"status", "run", "deployment", "pod"}

    def test_times_are_noted_by_schedule_and_a_new_schedule_has_none(self) -> None:
        """A run of a schedule without a noted time must not be deleted: it would be made once more."""
        noted = [{"name": "old", "fingerprint": "f", "lastScheduledTime": "2026-03-04T12:00:00Z"}]
        schedules = [{"name": name, "cron": "0 7 * * *"} for name in ("old", "new")]
        record = deployment_record(objects.deployment(status={"schedules": noted}, schedules=schedules))
        assert record.scheduled_until == {"old": NOW, "new": None}


def test_a_run_without_a_deployment_has_a_place_of_its_own() -> None:
    """Nothing is ahead of it."""
    run = a_run(flowRef={"name": "etl"})
    assert a_cache(run).place(run) == Place()
    assert RunStatus() == a_run().status
