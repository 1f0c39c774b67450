"""The pod of a remote task, and what a flow's pod gets that calls one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.remote.running import task_fields
from headrace_operator.decide.snapshot import ResolvedFlow
from headrace_operator.manifests.pod import pod_manifest
from tests.builders import a_flow, a_run, a_snapshot, a_task

RESULTS = {"url": "s3://bucket/$prefix"}


def pod(flow: ResolvedFlow, **run: Any) -> dict[str, Any]:
    seen = a_snapshot(a_run(**run), flow=flow, slots_namespace="headrace-system")
    return pod_manifest(seen, flow, 1, default_image="x")


def env(made: dict[str, Any]) -> dict[str, Any]:
    variables = made["spec"]["containers"][0]["env"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in variables}


def test_a_task_is_told_to_the_process_as_it_reads_it() -> None:
    """A dollar sign is data, and the amounts are in the pod already."""
    made = pod(a_flow(results=RESULTS), task=a_task(input="s3://b/$(X)/in", resources={"requests": {"cpu": 1}}))
    text = env(made)["HEADRACE_TASK"].replace("$$", "$")
    assert json.loads(text) == {
        "name": "train",
        "parent": {"name": "etl-0", "uid": "parent-uid"},
        "function": "etl.py:train",
        "input": "s3://b/$(X)/in",
        "output": "file:///results/out",
    }
    assert task_fields(json.loads(text))
    assert made["metadata"]["labels"]["headrace.dev/parent"] == "etl-0"


@pytest.mark.parametrize(
    ("timeout_s", "deadline_s"),
    [
        pytest.param(60, 60, id="its own timeout"),
        pytest.param(None, None, id="not that of the flow, which is for the whole of it"),
    ],
)
def test_a_tasks_pod_has_its_own_deadline(timeout_s: int | None, deadline_s: int | None) -> None:
    """Else the flow's pod would outlive its task, or the other way round."""
    made = pod(a_flow(timeoutSeconds=3600), task=a_task(timeoutSeconds=timeout_s))
    assert made["spec"].get("activeDeadlineSeconds") == deadline_s


def test_every_pod_knows_where_results_are() -> None:
    """And a flow without them has no such variable."""
    assert env(pod(a_flow(results=RESULTS)))["HEADRACE_RESULTS_URL"] == "s3://bucket/$$prefix"
    assert not {"HEADRACE_RESULTS_URL", "HEADRACE_TASK"} & env(pod(a_flow())).keys()


def test_a_pod_knows_how_long_results_are_kept() -> None:
    """Only where the Flow says so."""
    kept = pod(a_flow(results={**RESULTS, "ttlSeconds": 86400}))
    assert env(kept)["HEADRACE_RESULTS_TTL_SECONDS"] == "86400"
    assert "HEADRACE_RESULTS_TTL_SECONDS" not in env(pod(a_flow(results=RESULTS)))


def test_access_to_the_api_comes_with_what_the_process_needs_for_it() -> None:
    """Token, its own name, and where the slots are."""
    made = pod(a_flow(apiAccess="Enabled"))
    assert made["spec"]["automountServiceAccountToken"] is True
    assert {key: value for key, value in env(made).items() if key.startswith(("HEADRACE_POD", "HEADRACE_SLOTS"))} == {
        "HEADRACE_POD_NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "HEADRACE_POD_UID": {"fieldRef": {"fieldPath": "metadata.uid"}},
        "HEADRACE_SLOTS_NAMESPACE": "headrace-system",
    }


def test_without_it_there_is_no_token() -> None:
    """Least rights: that is the default."""
    made = pod(a_flow())
    assert made["spec"]["automountServiceAccountToken"] is False
    assert not {"HEADRACE_POD_NAME", "HEADRACE_API_DIR", "HEADRACE_SLOTS_NAMESPACE"} & env(made).keys()
