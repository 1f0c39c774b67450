"""What a WorkPool's status says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace.api.workpool import NodeCount, WorkPoolSpec
from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.snapshot import ConditionView
from headrace_operator.decide.work_pool import PoolSnapshot, pool_status
from tests.builders import NOW

SPEC = WorkPoolSpec.model_validate({"nodeSelector": {"zone": "x", "kind": "gpu"}})


def a_pool(**changes: Any) -> PoolSnapshot:
    fields: dict[str, Any] = {
        "name": "gpu",
        "generation": 3,
        "spec": SPEC,
        "problem": None,
        "conditions": (),
        "active": 2,
        "requested": amounts_of({"cpu": "1500m", "memory": "4Gi", "nvidia.com/gpu": 2}),
        "queued": 1,
        "nodes": NodeCount(total=2, ready=1),
    }
    return PoolSnapshot(**{**fields, **changes})


def test_the_whole_status() -> None:
    """Counts, requests as Kubernetes writes them, nodes, and whether they are ready."""
    assert pool_status(a_pool(), NOW).model_dump(mode="json", by_alias=True) == {
        "observedGeneration": 3,
        "active": 2,
        "queued": 1,
        "requested": {"cpu": "1500m", "memory": "4Gi", "nvidia.com/gpu": "2"},
        "nodes": {"total": 2, "ready": 1},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "observedGeneration": 3,
                "lastTransitionTime": "2026-03-04T12:00:00Z",
                "reason": "NodesReady",
                "message": "nodes are ready",
            }
        ],
    }


LOOK = "with the labels of spec.nodeSelector; unless an autoscaler adds one, look at: kubectl get nodes"


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(
            a_pool(nodes=NodeCount(total=0, ready=0)),
            ("Unknown", "NoNodes", f"there is no node {LOOK} -l kind=gpu,zone=x"),
            id="an autoscaler may add nodes: whether it does, nobody knows",
        ),
        pytest.param(
            a_pool(nodes=NodeCount(total=2, ready=0)),
            ("False", "NodesNotReady", f"no node is ready and takes pods {LOOK} -l kind=gpu,zone=x"),
            id="its nodes are down or cordoned",
        ),
        pytest.param(
            a_pool(spec=WorkPoolSpec(), nodes=NodeCount(total=0, ready=0)),
            ("Unknown", "NoNodes", f"there is no node {LOOK}"),
            id="a pool of all nodes",
        ),
        pytest.param(
            a_pool(spec=None, problem="spot: is no boolean"),
            ("False", "InvalidSpec", "spot: is no boolean"),
            id="a spec that breaks the model",
        ),
        pytest.param(
            a_pool(spec=WorkPoolSpec(max_pod_resources={"cpu": "1e99999"})),
            (
                "False",
                "InvalidSpec",
                "an amount in maxPodResources or capacity is none; write it as in 500m or 4Gi",
            ),
            id="an amount that the API server let through",
        ),
    ],
)
def test_whether_a_pool_is_ready(seen: PoolSnapshot, expected: tuple[str, str, str]) -> None:
    """With what to look at."""
    ready = pool_status(seen, NOW).conditions[0]
    assert (ready.status, ready.reason, ready.message) == expected


def test_the_transition_time_stays_until_the_status_changes() -> None:
    """So that nothing is written while nothing changes."""
    before = ConditionView("Ready", "True", "NodesReady", "nodes are ready", NOW, 3)
    later = NOW + timedelta(hours=1)
    assert pool_status(a_pool(conditions=(before,)), later) == pool_status(a_pool(), NOW)
