"""Finished runs that somebody else deleted: nothing is kept of them."""

from __future__ import annotations

from headrace_operator.observe.history import Owner
from headrace_operator.observe.intake import Intake
from tests.builders import a_pod_object, ended
from tests.unit.headrace_operator.observe.objects import Wakes, an_intake, finished, key, run

POD = key("r1-1")
OWNER = Owner(key("r1").namespace, "daily")


def an_intake_with_a_finished_run() -> tuple[Intake, Wakes]:
    """Its pod is let go, and there still."""
    intake, wakes = an_intake()
    intake.run_seen(run(9, name="r1", status=finished()))
    metadata = {"resourceVersion": "8", "uid": "r1-1-uid"}
    intake.pod_seen(a_pod_object(ended(), run="r1", run_uid="r1-uid", metadata=metadata))
    wakes.told()
    return intake, wakes


def test_a_finished_run_is_asked_for_when_its_last_pod_goes() -> None:
    """Runs that finished are not watched; a deletion takes the pods along."""
    intake, wakes = an_intake_with_a_finished_run()
    intake.pod_gone(POD, "r1-1-uid")
    assert "FlowRun r1" in wakes.told()
    assert intake.history.departures.uid(key("r1")) == "r1-uid"


def test_nothing_is_kept_of_one_that_is_found_to_be_deleted() -> None:
    """Neither in the history nor among the ends that a circuit breaker counts."""
    intake, _ = an_intake_with_a_finished_run()
    intake.pod_gone(POD, "r1-1-uid")
    intake.run_deleted(key("r1"), "r1-uid")
    assert intake.history.of(OWNER) == []
    assert not intake.history.has_finished(key("r1"), "r1-uid")
    assert intake.history.departures.uid(key("r1")) is None


def test_one_that_is_there_still_is_kept() -> None:
    """Somebody removed the pod alone."""
    intake, _ = an_intake_with_a_finished_run()
    intake.pod_gone(POD, "r1-1-uid")
    intake.run_seen(run(9, name="r1", status=finished()))
    assert [record.key for record in intake.history.of(OWNER)] == [key("r1")]
    assert intake.history.departures.uid(key("r1")) is None


def test_another_run_of_the_name_says_that_the_first_is_gone() -> None:
    """A name belongs to one object."""
    intake, _ = an_intake_with_a_finished_run()
    intake.pod_gone(POD, "r1-1-uid")
    intake.run_seen(run(20, name="r1", uid="another"))
    assert intake.history.of(OWNER) == []


def test_a_run_that_we_deleted_ourselves_is_not_asked_for() -> None:
    """It is out of the history by then."""
    intake, _ = an_intake_with_a_finished_run()
    intake.run_retired(intake.history.of(OWNER)[0])
    intake.pod_gone(POD, "r1-1-uid")
    assert intake.history.departures.uid(key("r1")) is None
