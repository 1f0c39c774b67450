"""What comes in wakes whoever may have to decide anew, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History, owner_of
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.records import deployment_record, flow_record
from headrace_operator.observe.workkeys import Kind, WorkKey, line_of
from headrace_operator.workqueue import WorkQueue
from tests.builders import NOW, a_pod_object, ended, running
from tests.unit.headrace_operator.observe.objects import (
    STATUS_DELAY_S,
    Wakes,
    an_intake,
    deployment,
    finished,
    flow,
    key,
    run,
    under_way,
)

GATHERED = "Deployment daily in 1 s"
LIMITED = {"concurrency": {"limit": 1}}


def pod(version: int = 1, *, of: str = "r1", status: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    fields = {"resourceVersion": str(version), "uid": f"{of}-1-uid", **metadata}
    return a_pod_object(status or running(), run=of, metadata=fields)


@pytest.fixture
def intake_and_wakes() -> tuple[Intake, Wakes]:
    """A Deployment with one slot and three runs: r1 is under way, r2 and r3 wait."""
    intake, wakes = an_intake()
    intake.deployment_seen(deployment(**LIMITED))
    intake.run_seen(run(name="r1", status=under_way()))
    intake.run_seen(run(name="r2", scheduledTime="2026-03-04T12:00:01Z"))
    intake.run_seen(run(name="r3", scheduledTime="2026-03-04T12:00:02Z"))
    intake.pod_seen(pod(of="r1"))
    intake.gate.run(NOW)
    wakes.told()
    return intake, wakes


@pytest.fixture
def intake(intake_and_wakes: tuple[Intake, Wakes]) -> Intake:
    return intake_and_wakes[0]


@pytest.fixture
def wakes(intake_and_wakes: tuple[Intake, Wakes]) -> Wakes:
    return intake_and_wakes[1]


class TestFlows:
    def test_a_flow_that_changes_wakes_itself_and_the_deployments_that_name_it(
        self, intake: Intake, wakes: Wakes
    ) -> None:
        """Its runs are woken when its revision is stored."""
        intake.flow_seen(flow())
        assert wakes.told() == {"Flow etl", "Deployment daily"}
        intake.flow_seen(flow(name="other"))
        assert wakes.told() == {"Flow other"}

    def test_a_flow_that_is_deleted_wakes_its_runs(self, intake: Intake, wakes: Wakes) -> None:
        """They say that they wait for it."""
        intake.flow_seen(flow())
        wakes.told()
        intake.flow_gone(key("etl"), "etl-uid")
        assert wakes.told() == {"Deployment daily", "FlowRun r1", "FlowRun r2", "FlowRun r3"}

    def test_an_old_event_wakes_nobody(self, intake: Intake, wakes: Wakes) -> None:
        """Nothing changed."""
        intake.flow_seen(flow(2))
        wakes.told()
        intake.flow_seen(flow(1))
        intake.flow_gone(key("etl"), "another-uid")
        assert wakes.told() == set()


class TestDeployments:
    def test_a_changed_spec_wakes_its_runs_and_its_history(self, intake: Intake, wakes: Wakes) -> None:
        """Limit, policy, flow, counts: all may be others."""
        intake.deployment_seen(deployment(2, generation=2, concurrency={"limit": 2}))
        runs = {"FlowRun r1", "FlowRun r2", "FlowRun r3"}
        assert wakes.told() == {"Deployment daily", "Retention daily"} | runs

    def test_a_changed_status_wakes_the_deployment_alone(self, intake: Intake, wakes: Wakes) -> None:
        """It is our own write, most of the time."""
        intake.deployment_seen(deployment(2, status={"activeCount": 1}, **LIMITED))
        assert wakes.told() == {"Deployment daily"}

    def test_a_time_that_is_noted_wakes_the_history(self, intake: Intake, wakes: Wakes) -> None:
        """A run that ended before its time was noted may go now."""
        noted = [{"name": "nightly", "fingerprint": "f", "lastScheduledTime": "2026-03-04T12:00:00Z"}]
        intake.deployment_seen(deployment(2, status={"schedules": noted}, **LIMITED))
        assert wakes.told() == {"Deployment daily", "Retention daily"}

    def test_one_that_is_deleted_wakes_its_runs(self, intake: Intake, wakes: Wakes) -> None:
        """Those that do not go with it say that they wait, or are kept as nobody's; its limit is gone, and others may pass."""
        intake.deployment_gone(key("daily"), "daily-uid")
        assert wakes.told() == {"FlowRun r1", "FlowRun r2", "FlowRun r3", "Retention daily"}

    def test_one_that_is_made_anew_wakes_its_runs(self, intake: Intake, wakes: Wakes) -> None:
        """Though its generation is the same."""
        again = deployment(9, **LIMITED)
        again["metadata"]["uid"] = "another"
        intake.deployment_seen(again)
        assert "FlowRun r2" in wakes.told()


class TestRuns:
    def test_a_new_run_wakes_itself_and_has_its_deployment_count(self, intake: Intake, wakes: Wakes) -> None:
        """The count is written after a while, with others. No slot is free: nobody else is woken."""
        intake.run_seen(run(name="r4"))
        assert wakes.told() == {"FlowRun r4", GATHERED}

    def test_an_end_wakes_whoever_is_next_and_the_history(self, intake: Intake, wakes: Wakes) -> None:
        """A slot is free: a pass over all that waits finds whose turn it is."""
        intake.run_seen(run(2, name="r1", status=finished()))
        assert wakes.told() == {"FlowRun r1", GATHERED, "Retention daily"}

    def test_a_slot_is_free_when_its_run_is_deleted(self, intake: Intake, wakes: Wakes) -> None:
        """Its pod is looked after, and a pass finds whose turn it is."""
        intake.run_gone(key("r1"), "r1-uid")
        assert wakes.told() == {"FlowRun r1", GATHERED}

    def test_a_run_without_a_deployment_wakes_itself_alone(self, intake: Intake, wakes: Wakes) -> None:
        """It is in nobody's queue; at its end it is in its namespace's history."""
        intake.run_seen(run(name="alone", flowRef={"name": "etl"}))
        assert wakes.told() == {"FlowRun alone"}
        intake.run_seen(run(2, name="alone", flowRef={"name": "etl"}, status=finished()))
        assert wakes.told() == {"FlowRun alone", "Retention "}

    def test_leaving_the_stream_after_our_own_last_write_wakes_nobody(self, intake: Intake, wakes: Wakes) -> None:
        """The stream holds unfinished runs: ours leaves it, its pod about to be let go."""
        intake.run_seen(run(2, name="r1", status=finished()))
        wakes.told()
        intake.run_gone(key("r1"), "r1-uid")
        assert wakes.told() == set()
        assert key("r1") in intake.cache.runs

    def test_leaving_the_stream_a_second_time_wakes_nobody(self, intake: Intake, wakes: Wakes) -> None:
        """There was nothing to forget."""
        intake.run_gone(key("r3"), "r3-uid")
        wakes.told()
        intake.run_gone(key("r3"), "r3-uid")
        assert wakes.told() == set()

    def test_under_replace_a_run_that_waits_wakes_all(self) -> None:
        """The oldest has to go for it."""
        intake, wakes = an_intake()
        intake.deployment_seen(deployment(concurrency={"limit": 1, "onConflict": "Replace"}))
        intake.run_seen(run(name="r1", status=under_way()))
        wakes.told()
        intake.run_seen(run(name="r2"))
        assert wakes.told() == {"FlowRun r1", "FlowRun r2", GATHERED}

    def test_without_a_limit_nobody_waits_for_anybody(self) -> None:
        """A run wakes itself."""
        intake, wakes = an_intake()
        intake.deployment_seen(deployment())
        intake.run_seen(run(name="r1"))
        wakes.told()
        intake.run_seen(run(name="r2"))
        assert wakes.told() == {"FlowRun r2", GATHERED}


class TestPods:
    def test_a_pod_wakes_its_run(self, intake: Intake, wakes: Wakes) -> None:
        """When it comes, changes and goes."""
        intake.pod_seen(pod(2, of="r1", status=ended(0)))
        assert wakes.told() == {"FlowRun r1"}
        intake.pod_gone(key("r1-1"), "r1-1-uid")
        assert wakes.told() == {"FlowRun r1"}

    def test_what_is_known_already_wakes_nobody(self, intake: Intake, wakes: Wakes) -> None:
        """An answer to our own write that the stream brings again, or the end of a pod that was never seen."""
        intake.pod_seen(pod(1, of="r1"))
        intake.pod_gone(key("r9-1"), "r9-1-uid")
        assert wakes.told() == set()

    def test_a_pod_of_nobody_is_passed_over(self, intake: Intake, wakes: Wakes) -> None:
        """It carries none of our labels."""
        intake.pod_seen(pod(of="r1", labels={}))
        assert wakes.told() == set()


class TestStart:
    def test_everything_that_is_held_is_looked_at_once(self, intake: Intake, wakes: Wakes) -> None:
        """Pods whose run is not held included."""
        intake.flow_seen(flow())
        intake.pod_seen(pod(of="orphan"))
        wakes.told()
        intake.wake_everything()
        runs = {"FlowRun r1", "FlowRun r2", "FlowRun r3", "FlowRun orphan"}
        assert wakes.told() == {"Flow etl", "Deployment daily"} | runs

    def test_those_under_way_come_first_then_those_that_wait_as_they_stand_in_line(self) -> None:
        """Who is looked at first gets what is free."""
        intake, wakes = an_intake()
        for name, spec in (
            ("a", {"scheduledTime": "2026-03-04T12:00:05Z"}),
            ("b", {"scheduledTime": "2026-03-04T12:00:01Z"}),
            ("c", {"priority": 3}),
            ("d", {"status": under_way("d-1")}),
        ):
            intake.run_seen(run(name=name, flowRef={"name": "etl"}, **spec))
        wakes.told()
        intake.wake_everything()
        assert [wake for wake in wakes.in_order() if wake.startswith("FlowRun")] == [
            "FlowRun d",
            "FlowRun c",
            "FlowRun b",
            "FlowRun a",
        ]

    def test_a_new_run_waits_for_no_run_under_way_that_was_listed_before_it(self) -> None:
        """Each of those may have an outcome to be written."""
        queue: WorkQueue[WorkKey] = WorkQueue(line_of)
        intake = Intake(
            Cache(), History(), queue, status_delay_s=STATUS_DELAY_S, autosize_delay_s=30, monotonic=lambda: 0.0
        )
        for number in range(20):
            name = f"r{number}"
            intake.run_seen(run(name=name, flowRef={"name": "etl"}, status=under_way(f"{name}-1")))
            intake.pod_seen(pod(1, of=name))
            intake.pod_seen(pod(1, of=f"orphan-{number}"))
        intake.run_seen(run(name="s1", flowRef={"name": "etl"}))
        intake.wake_everything()

        async def is_taken_soon() -> bool:
            both = [await queue.get(), await queue.get()]
            for each in both:
                queue.done(each)
            return "s1" in {each.key.name for each in both}

        assert asyncio.run(is_taken_soon())
        intake.wake_runs_of_flow(key("etl"))  # a Flow is looked at, and then its runs are woken
        intake.flow_seen(flow())
        queue.add(WorkKey(Kind.FLOW_RUN, key("s1")))
        assert asyncio.run(is_taken_soon())

    def test_every_owner_of_finished_runs_is_looked_at(self) -> None:
        """Its Deployment too, which tells of the last run."""
        intake, wakes = an_intake()
        intake.run_seen(run(name="r1", status=finished()))
        intake.run_seen(run(name="r2", flowRef={"name": "etl"}, status=finished()))
        wakes.told()
        intake.history_listed()
        assert wakes.told() == {"Retention daily", "Retention ", "Deployment daily"}

    def test_an_owner_is_named_by_its_key(self) -> None:
        """An empty name is that of runs without a Deployment."""
        assert owner_of(key("daily")).deployment == "daily"
        assert owner_of(key("")).deployment is None


class TestBrokenObjects:
    """What the API server took, and this version cannot use, is held with its problem."""

    def test_a_flow(self) -> None:
        """Field, complaint, value, what to do; the first of several, and how many more."""
        record = flow_record(flow(spec={"entrypoint": 5, "nonsense": True}))
        assert record.spec is None
        assert record.problem == (
            "spec.entrypoint: Input should be a valid string, found 5 (and 1 more); mend the manifest and apply it again"
        )

    def test_a_deployment(self) -> None:
        """A status that cannot be read is no fault of its spec."""
        assert deployment_record(deployment(status={"activeCount": "many"})).problem is None
        broken = deployment_record(deployment(concurrency={"limit": 0}))
        assert broken.spec is None
        assert "spec.concurrency.limit: Input should be greater than or equal to 1, found 0" in (broken.problem or "")

    def test_managed_fields_are_not_held(self) -> None:
        """They are larger than all the rest."""
        seen = flow(managedFields=[{"manager": "kubectl"}])
        assert "managedFields" not in flow_record(seen).obj["metadata"]
