"""Objects as the API server returns them become typed, immutable values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from headrace.api.conditions import ACTIVE, FINISHED, ConditionType, Phase, Reason
from headrace.api.deployment import CatchUpPolicy, Deployment, OnConflict, Schedule
from headrace.api.flow import Flow, FlowSource, ImageSource
from headrace.api.flowrun import FlowRun

METADATA = {
    "name": "etl",
    "namespace": "team-a",
    "uid": "5002da82-fd94-4227-a521-266492b3adb6",
    "generation": 3,
    "resourceVersion": "293",
    "creationTimestamp": "2026-01-01T07:00:00Z",
    "labels": {"team": "a"},
    "managedFields": [{"manager": "kubectl"}],
    "selfLink": "/from/an/old/server",
}


def a_flow(**spec: object) -> dict[str, object]:
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "Flow",
        "metadata": METADATA,
        "spec": {"entrypoint": "etl:main", **spec},
    }


def test_reads_an_object_as_the_api_server_returns_it():
    flow = Flow.model_validate(a_flow(retries={"limit": 2}))

    assert (flow.metadata.name, flow.metadata.namespace, flow.metadata.generation) == ("etl", "team-a", 3)
    assert flow.metadata.creation_timestamp == datetime(2026, 1, 1, 7, tzinfo=UTC)
    assert flow.metadata.deletion_timestamp is None
    assert flow.spec.retries.limit == 2
    assert flow.spec.infrastructure_retries.limit == 3
    assert flow.spec.source == FlowSource(image=ImageSource())
    assert flow.status is None


def test_keeps_opaque_parts_as_they_are():
    parameters = {"schema": {"type": "object", "x": None}, "defaults": {"day": None, "n": [1, {"a": 2.5}]}}

    flow = Flow.model_validate(a_flow(parameters=parameters))

    assert flow.spec.parameters is not None
    assert flow.spec.parameters.schema_ == parameters["schema"]
    assert flow.to_api()["spec"]["parameters"] == parameters


def test_refuses_a_field_that_the_spec_does_not_have():
    """A field that the installed definitions know and this version does not must not be passed over."""
    with pytest.raises(ValidationError, match="circuitBreaker"):
        Flow.model_validate(a_flow(circuitBreaker={}))


def test_passes_over_a_status_field_of_a_newer_operator():
    run = FlowRun.model_validate(
        {
            "metadata": {"name": "etl-1"},
            "spec": {"flowRef": {"name": "etl"}},
            "status": {
                "phase": "Running",
                "cost": {"amount": "1.20", "currency": "EUR", "tax": "0.20"},
                "mood": "fine",
            },
        }
    )

    assert run.status is not None
    assert run.status.phase is Phase.RUNNING
    assert run.to_api()["status"] == {"phase": "Running", "cost": {"amount": "1.20", "currency": "EUR"}}


def test_refuses_another_kind():
    with pytest.raises(ValidationError, match="kind"):
        Deployment.model_validate(a_flow())


def test_reads_times_in_utc_and_refuses_times_without_a_zone():
    schedule = {"name": "hourly", "intervalSeconds": 3600}

    shifted = Schedule.model_validate({**schedule, "anchor": "2026-07-01T09:00:00+02:00"})

    assert shifted.anchor == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert shifted.anchor.tzinfo is UTC
    with pytest.raises(ValidationError, match="timezone"):
        Schedule.model_validate({**schedule, "anchor": "2026-07-01T09:00:00"})


@pytest.mark.parametrize("anchor", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_refuses_a_time_that_utc_has_no_date_for(anchor):
    """As it refuses others, and not as a fault of its own, which would end an operator."""
    with pytest.raises(ValidationError, match="before the year 1 or after 9999 in UTC"):
        Schedule.model_validate({"name": "s", "intervalSeconds": 60, "anchor": anchor})


def test_fills_in_the_defaults_of_a_deployment():
    deployment = Deployment.model_validate(
        {
            "metadata": {"name": "etl"},
            "spec": {
                "flowRef": {"name": "etl"},
                "schedules": [{"name": "daily", "cron": "@daily"}],
                "concurrency": {"limit": 1},
            },
        }
    )

    spec = deployment.spec
    assert (spec.priority, spec.suspend, spec.schedules[0].time_zone) == (0, False, "Etc/UTC")
    assert (spec.catch_up.policy, spec.catch_up.max_runs) == (CatchUpPolicy.LATEST, None)
    assert (spec.history.succeeded, spec.history.failed, spec.history.ttl_seconds) == (10, 10, None)
    assert spec.concurrency is not None
    assert spec.concurrency.on_conflict is OnConflict.QUEUE
    assert spec.retries is None


def test_is_immutable():
    flow = Flow.model_validate(a_flow())
    with pytest.raises(ValidationError, match="frozen"):
        flow.spec.image = "other"  # type: ignore[misc]


def test_says_no_more_than_is_needed():
    flow = Flow.model_validate(
        {"metadata": {"name": "etl"}, "spec": {"entrypoint": "etl:main", "retries": {"limit": 0}}}
    )

    assert flow.to_api() == {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "Flow",
        "metadata": {"name": "etl"},
        "spec": {"entrypoint": "etl:main"},
    }


def test_every_phase_is_waiting_active_or_finished():
    waiting = {Phase.PENDING, Phase.PAUSED}
    assert waiting | ACTIVE | FINISHED == set(Phase)
    assert len(waiting) + len(ACTIVE) + len(FINISHED) == len(Phase)
    assert [phase.finished for phase in (Phase.SKIPPED, Phase.RETRYING)] == [True, False]
    assert [phase.active for phase in (Phase.SKIPPED, Phase.RETRYING)] == [False, True]


@pytest.mark.parametrize("words", [Phase, ConditionType, Reason])
def test_every_word_is_camel_case_and_has_a_meaning(words):
    for word in words:
        assert words(word.value) is word
        assert word.isalnum(), word
        assert word[0].isupper(), word
        assert word.meaning.endswith("."), word
