"""The FlowRun of a scheduled time."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.flowrun import FlowRun
from headrace_operator.manifests.flow_run import scheduled_run
from headrace_operator.observe.parse import run_from
from tests.builders import NOW, a_deployment


def a_scheduled_run(parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return scheduled_run(
        a_deployment(parameters={"not": "copied"}),
        name="daily-morning-1",
        schedule="morning",
        scheduled_time=NOW,
        parameters=parameters,
    )


def test_a_scheduled_run_names_its_cause() -> None:
    """Owner, labels, time; the Deployment's parameters are merged when it is accepted."""
    assert a_scheduled_run() == {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "FlowRun",
        "metadata": {
            "name": "daily-morning-1",
            "namespace": "team-a",
            "labels": {
                "app.kubernetes.io/managed-by": "headrace",
                "headrace.dev/flow": "etl",
                "headrace.dev/deployment": "daily",
                "headrace.dev/schedule": "morning",
            },
            "ownerReferences": [
                {
                    "apiVersion": "headrace.dev/v1alpha1",
                    "kind": "Deployment",
                    "name": "daily",
                    "uid": "dep-uid",
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {"deploymentRef": {"name": "daily"}, "scheduledTime": "2026-03-04T12:00:00Z"},
    }


@pytest.mark.parametrize("parameters", [{"day": "today"}, {"day": None}])
def test_a_schedules_own_parameters_are_the_runs(parameters: dict[str, Any]) -> None:
    """As they are."""
    assert a_scheduled_run(parameters)["spec"]["parameters"] == parameters


def test_the_operator_reads_what_it_wrote() -> None:
    """And so does the model that the definition is made from."""
    made = a_scheduled_run({"day": "today"})
    FlowRun.model_validate(made)
    made["metadata"]["uid"] = "u"
    run = run_from(made)
    assert (run.deployment_ref, run.schedule, run.scheduled_time, run.due) == ("daily", "morning", NOW, NOW)
