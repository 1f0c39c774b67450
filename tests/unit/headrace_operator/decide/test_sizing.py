"""How large a pod is asked for, and how much a pod asks for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.common import Resources
from headrace.api.flow import LearntSize
from headrace_operator.decide.quantities import parse_quantity
from headrace_operator.decide.sizing import requests_of, size
from headrace_operator.decide.snapshot import DeploymentView
from tests.builders import a_deployment, a_flow, an_attempt

GI = 2**30
LEARNT = LearntSize(memory="768Mi", cpu="250m")


def both(memory: str, **more: str) -> dict[str, Any]:
    """Requests and limits that are the same."""
    return {"requests": {"memory": memory, **more}, "limits": {"memory": memory, **more}}


def sized(
    spec: dict[str, Any],
    *,
    deployment: DeploymentView | None = None,
    task: dict[str, Any] | None = None,
    kills: int = 0,
    learnt: LearntSize | None = None,
) -> dict[str, Any] | None:
    attempts = [an_attempt(number + 1, reason="OOMKilled") for number in range(kills)]
    resources = size(
        a_flow(**spec),
        deployment,
        Resources.model_validate(task) if task else None,
        attempts=[an_attempt(99, reason="FlowFailed"), *attempts],
        learnt=learnt,
    )
    return resources.to_api() if resources else None


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param({"spec": {}}, None, id="what nobody sets is left to the namespace's defaults"),
        pytest.param(
            {"spec": {"resources": both("1Gi")}}, both("1Gi"), id="the Flow's resources are taken as they are"
        ),
        pytest.param(
            {"spec": {"resources": both("1Gi")}, "deployment": a_deployment(resources=both("2Gi"))},
            both("2Gi"),
            id="the Deployment's take their place",
        ),
        pytest.param(
            {"spec": {"resources": both("1Gi")}, "task": {"limits": {"nvidia.com/gpu": 1}}},
            {"limits": {"nvidia.com/gpu": 1}},
            id="a task's take the place of both",
        ),
        pytest.param(
            {"spec": {"resources": both("512Mi", cpu="1")}, "kills": 1},
            both("768Mi", cpu="1"),
            id="after an OOM kill memory grows by half, and nothing else",
        ),
        pytest.param(
            {"spec": {"resources": both("512Mi")}, "kills": 2}, both("1152Mi"), id="the second kill makes it grow again"
        ),
        pytest.param(
            {"spec": {"resources": both("512Mi")}, "kills": 9},
            both("2Gi"),
            id="without a maximum it ends at four times the first",
        ),
        pytest.param(
            {"spec": {"resources": both("512Mi"), "infrastructureRetries": {"maxMemory": "600Mi"}}, "kills": 1},
            both("600Mi"),
            id="it ends at maxMemory",
        ),
        pytest.param(
            {"spec": {"resources": both("512Mi"), "infrastructureRetries": {"maxMemory": "256Mi"}}, "kills": 1},
            both("512Mi"),
            id="a maximum below the first attempt's memory makes nothing smaller",
        ),
        pytest.param(
            {"spec": {"resources": both("512Mi"), "infrastructureRetries": {"memoryFactor": 1}}, "kills": 3},
            both("512Mi"),
            id="a factor of 1 asks for the same again",
        ),
        pytest.param(
            {"spec": {"resources": both("90M"), "infrastructureRetries": {"maxMemory": "100M"}}, "kills": 1},
            both("100000000"),
            id="rounding never leads above the maximum",
        ),
        pytest.param(
            {
                "spec": {"resources": both("512Mi")},
                "deployment": a_deployment(infrastructureRetries={"memoryFactor": 2}),
                "kills": 1,
            },
            both("1Gi"),
            id="the Deployment's policy takes the place of the Flow's",
        ),
        pytest.param(
            {"spec": {"resources": {"requests": {"cpu": "1"}}}, "kills": 2},
            {"requests": {"cpu": "1"}},
            id="where no memory is set, there is none to grow",
        ),
        pytest.param(
            {"spec": {"resources": {"limits": {"memory": "1Gi"}}}, "kills": 1},
            {"limits": {"memory": "1536Mi"}},
            id="a limit alone grows alone",
        ),
        pytest.param(
            {"spec": {"autosize": {}}, "learnt": LEARNT},
            {"requests": {"memory": "768Mi", "cpu": "250m"}},
            id="what was learnt is asked for, and no limit is made up",
        ),
        pytest.param(
            {"spec": {"autosize": {}, "resources": both("4Gi", cpu="2")}, "learnt": LEARNT},
            {"requests": {"memory": "768Mi", "cpu": "250m"}, "limits": {"memory": "4Gi", "cpu": "2"}},
            id="limits stay as people set them",
        ),
        pytest.param(
            {"spec": {"autosize": {}, "resources": both("500M", cpu="100m")}, "learnt": LEARNT},
            {"requests": {"memory": "500000000", "cpu": "100m"}, "limits": {"memory": "500M", "cpu": "100m"}},
            id="a request is never above its limit",
        ),
        pytest.param(
            {"spec": {"autosize": {"maxMemory": "512Mi", "maxCpu": "200m"}}, "learnt": LEARNT},
            {"requests": {"memory": "512Mi", "cpu": "200m"}},
            id="nor above what autosize allows",
        ),
        pytest.param(
            {"spec": {"autosize": {"minMemory": "1Gi"}}, "learnt": LEARNT},
            {"requests": {"memory": "1Gi", "cpu": "250m"}},
            id="memory is never below minMemory",
        ),
        pytest.param(
            {"spec": {"autosize": {"enabled": False}, "resources": both("1Gi")}, "learnt": LEARNT},
            both("1Gi"),
            id="what is learnt and not enabled changes nothing",
        ),
        pytest.param(
            {"spec": {"autosize": {}, "resources": both("1Gi")}, "learnt": LearntSize()},
            both("1Gi"),
            id="too few runs change nothing",
        ),
        pytest.param(
            {"spec": {"autosize": {}}, "learnt": LEARNT, "task": both("1Gi")},
            both("1Gi"),
            id="a task of its own size is no run of the flow's size",
        ),
        pytest.param(
            {"spec": {"autosize": {}, "resources": both("1Gi")}, "learnt": LearntSize(memory="512Mi"), "kills": 1},
            {"requests": {"memory": "768Mi"}, "limits": {"memory": "1536Mi"}},
            id="after an OOM kill what was learnt grows with the limit",
        ),
    ],
)
def test_the_size_of_the_next_attempt(case: dict[str, Any], expected: dict[str, Any] | None) -> None:
    """Task, Deployment or Flow; then what was learnt; then what was killed."""
    assert sized(**case) == expected


memory = st.integers(1, 2**45).map(str)


@given(request=memory, limit=memory, learnt=memory, most=st.none() | memory, kills=st.integers(0, 300))
def test_a_request_stays_within_its_limit(request: str, limit: str, learnt: str, most: str | None, kills: int) -> None:
    """Whatever is set, learnt and killed: the API server takes the pod, and memory never shrinks."""
    request, limit = sorted((request, limit), key=int)
    spec = {
        "resources": {"requests": {"memory": request}, "limits": {"memory": limit}},
        "autosize": {},
        "infrastructureRetries": {"maxMemory": most},
    }
    resources = sized(spec, kills=kills, learnt=LearntSize(memory=learnt))
    assert resources
    asked, allowed = (parse_quantity(resources[part]["memory"]) for part in ("requests", "limits"))
    assert asked <= allowed
    assert allowed >= int(limit)


def pod(containers: list[Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": containers, **spec}}


def asks(restart: str | None = None, **requests: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"resources": {"requests": requests}}
    return {**container, "restartPolicy": restart} if restart else container


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        pytest.param({}, {}, id="a manifest without a spec asks for nothing"),
        pytest.param(pod([asks(cpu="500m"), asks(cpu=1)]), {"cpu": "1.5"}, id="containers add up"),
        pytest.param(
            pod([{"resources": {"limits": {"cpu": 2, "nvidia.com/gpu": 1}, "requests": {"cpu": 1}}}]),
            {"cpu": "1", "nvidia.com/gpu": "1"},
            id="a limit stands in for an absent request",
        ),
        pytest.param(
            pod([asks(memory="1Gi")], initContainers=[asks(memory="3Gi"), asks(memory="2Gi")]),
            {"memory": 3 * GI},
            id="init containers come one after the other",
        ),
        pytest.param(
            pod([asks(memory="1Gi")], initContainers=[asks("Always", memory="1Gi"), asks(memory="2Gi")]),
            {"memory": 3 * GI},
            id="a sidecar is there when later init containers run",
        ),
        pytest.param(
            pod([asks(memory="4Gi")], initContainers=[asks(memory="2Gi"), asks("Always", memory="1Gi")]),
            {"memory": 5 * GI},
            id="a sidecar stays beside the containers",
        ),
        pytest.param(
            pod([asks(cpu=1)], overhead={"cpu": "250m", "memory": "1Gi"}),
            {"cpu": "1.25", "memory": GI},
            id="the sandbox's overhead is added",
        ),
        pytest.param(
            pod([asks(cpu=1, memory="1Gi")], resources={"requests": {"cpu": 3}}),
            {"cpu": "3", "memory": GI},
            id="what is set for the whole pod stands in place of the sum",
        ),
        pytest.param(
            pod([asks(cpu="lots", memory="1Gi"), {"resources": "many"}, "flow"], initContainers="none", overhead=7),
            {"memory": GI},
            id="what cannot be read counts as nothing",
        ),
        pytest.param(pod([asks(cpu=0)]), {}, id="nothing of something is nothing"),
    ],
)
def test_what_a_pod_asks_for(manifest: dict[str, Any], expected: dict[str, Any]) -> None:
    """As the scheduler counts it."""
    assert requests_of(manifest) == tuple(sorted((name, Decimal(amount)) for name, amount in expected.items()))
