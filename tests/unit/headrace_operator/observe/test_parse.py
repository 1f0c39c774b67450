"""The API's objects as the slim views that deciding reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace_operator.decide.snapshot import ObjectKey, RunStatus
from headrace_operator.observe.parse import EPOCH, instant, object_key, pod_from, run_from
from tests.builders import NOW, a_pod_object, a_run, ended
from tests.unit.headrace_operator.observe import objects


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("2026-03-04T12:00:00Z", NOW, id="as the API writes it"),
        pytest.param("2026-03-04T12:00:00.000000Z", NOW, id="with microseconds"),
        pytest.param("2026-03-04T17:30:00+05:30", NOW, id="with an offset"),
        pytest.param("2026-03-04T12:00:00", NOW, id="without a zone it is UTC"),
        pytest.param("0001-01-01T00:00:00+14:00", None, id="before the first that UTC has"),
        pytest.param("9999-12-31T23:59:59-14:00", None, id="after the last that UTC has"),
        pytest.param("yesterday", None, id="no instant"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="absent"),
        pytest.param(17, None, id="a number"),
    ],
)
def test_instants_are_aware_or_none(value: Any, expected: datetime | None) -> None:
    """Whatever stands there."""
    parsed = instant(value)
    assert parsed == expected
    assert parsed is None or parsed.tzinfo is not None


def test_a_run_is_read_in_full() -> None:
    """Spec, labels, metadata, status."""
    obj = {
        "metadata": objects.metadata(
            "r1",
            9,
            generation=3,
            labels={"headrace.dev/schedule": "nightly"},
            deletionTimestamp="2026-03-04T12:00:00Z",
        ),
        "spec": {
            "flowRef": {"name": "etl", "revision": "rev1"},
            "parameters": {"a": None},
            "scheduledTime": "2026-03-04T12:00:00Z",
            "priority": 0,
            "cancel": True,
            "suspend": True,
        },
    }
    assert run_from(obj) == a_run(
        key=ObjectKey("team-a", "r1"),
        uid="r1-uid",
        version=9,
        labels={"headrace.dev/schedule": "nightly"},
        generation=3,
        revision_ref="rev1",
        schedule="nightly",
        parameters={"a": None},
        scheduled_time=NOW,
        priority=0,
        cancel=True,
        suspend=True,
        deleting=True,
        status=RunStatus(),
    )


def test_a_run_with_the_least_that_an_object_has() -> None:
    """No status, no spec, no times."""
    run = run_from({"metadata": {"name": "r1", "uid": "u"}})
    assert (run.key, run.version, run.created, run.deleting) == (ObjectKey("", "r1"), 0, EPOCH, False)
    assert (run.flow_ref, run.deployment_ref, run.priority, run.cancel) == (None, None, None, False)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({}, id="no label of ours"),
        pytest.param({"headrace.dev/flow-run": "r1"}, id="no attempt"),
        pytest.param({"headrace.dev/flow-run": "r1", "headrace.dev/attempt": "first"}, id="an attempt in words"),
        pytest.param({"headrace.dev/flow-run": "r1", "headrace.dev/attempt": "-1"}, id="an attempt below 0"),
        pytest.param({"headrace.dev/attempt": "1"}, id="no run"),
    ],
)
def test_a_pod_that_runs_no_attempt_is_none_of_ours(labels: dict[str, str]) -> None:
    """Whatever else it carries."""
    assert pod_from(a_pod_object(metadata={"labels": labels})) is None


def test_a_pod_is_read_for_what_deciding_needs() -> None:
    """Its environment, volumes' contents and managed fields are not held."""
    obj = a_pod_object(ended(0), metadata={"managedFields": ["large"], "deletionTimestamp": "2026-03-04T12:00:00Z"})
    obj["spec"]["containers"] = [
        {"name": "proxy", "env": [{"name": "HEADRACE_PARAMETERS", "value": '{"not": "ours"}'}]},
        {
            "name": "flow",
            "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}},
            "env": [{"name": "SECRET", "value": "x"}, {"name": "HEADRACE_PARAMETERS", "value": '{"a":"$$1"}'}],
        },
    ]
    pod = pod_from(obj)
    assert pod is not None
    assert (pod.run, pod.run_uid, pod.attempt) == (ObjectKey("team-a", "etl-1"), "run-uid", 1)
    assert (pod.deleting, pod.held, pod.node) == (True, True, "n1")
    assert pod.parameters == {"a": "$1"}
    assert pod.raw["status"] == ended(0)
    assert "SECRET" not in str(pod.raw)
    assert "large" not in str(pod.raw)
    assert pod.raw["spec"]["containers"][1] == {"name": "flow", "resources": {"limits": {"memory": "1Gi"}}}


def test_a_pod_is_that_of_the_run_that_owns_it_whatever_its_label_says() -> None:
    """Its run would see no pod, and wait for one for ever."""
    obj = a_pod_object()
    obj["metadata"]["labels"]["headrace.dev/flow-run"] = "another"
    pod = pod_from(obj)
    assert pod is not None
    assert pod.run == ObjectKey("team-a", "etl-1")


@pytest.mark.parametrize("value", ["", "{", "[1]", '"text"', None])
def test_parameters_that_somebody_overwrote_are_as_good_as_none(value: str | None) -> None:
    """No object, no parameters."""
    obj = a_pod_object()
    obj["spec"]["containers"] = [{"name": "flow", "env": [{"name": "HEADRACE_PARAMETERS", "value": value}]}]
    pod = pod_from(obj)
    assert pod is not None
    assert pod.parameters is None


def test_a_pod_without_an_owner_belongs_to_nobody() -> None:
    """Owners of other kinds do not count."""
    others = {"ownerReferences": [{"kind": "Job", "name": "x", "uid": "y"}], "finalizers": None}
    pod = pod_from(a_pod_object(metadata=others))
    assert pod is not None
    assert (pod.run_uid, pod.held) == (None, False)


def test_objects_are_named_by_namespace_and_name() -> None:
    """An empty namespace where there is none."""
    assert object_key({"metadata": {"name": "a", "namespace": "b"}}) == ObjectKey("b", "a")
    assert object_key({"metadata": {"name": "a"}}) == ObjectKey("", "a")
    assert str(ObjectKey("b", "a")) == "b/a"
    assert datetime(1970, 1, 1, tzinfo=UTC) == EPOCH


def test_what_many_runs_have_in_common_is_held_once() -> None:
    """A hundred thousand finished runs name a few Deployments and reasons."""
    one, other = (
        run_from(json.loads(json.dumps(objects.run(name=name, status={"phase": "Failed", "reason": "FlowFailed"}))))
        for name in ("r1", "r2")
    )
    assert one.deployment_ref is other.deployment_ref
    assert one.key.namespace is other.key.namespace
    assert one.status.reason is other.status.reason
