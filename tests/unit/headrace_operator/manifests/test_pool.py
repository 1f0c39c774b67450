"""What a WorkPool adds to a pod."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.common import Resources
from headrace.api.workpool import WorkPoolSpec
from headrace_operator.decide.placement import pool_of
from headrace_operator.manifests.pod import pod_manifest
from headrace_operator.manifests.pool import placed
from headrace_operator.observe.parse import pod_from
from tests.builders import a_flow, a_snapshot

TAINTED = {"key": "nvidia.com/gpu", "operator": "Exists"}
OWN = {"key": "team", "operator": "Exists"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def in_pool(pod: dict[str, Any], **pool: Any) -> dict[str, Any]:
    """The spec of the pod after it was placed."""
    spec: dict[str, Any] = placed({"spec": pod}, pool_of("gpu", {}, WorkPoolSpec.model_validate(pool)))["spec"]
    return spec


def a_node(*terms: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}, **more}}


def where(*keys: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": "Exists"} for key in keys]}


@pytest.mark.parametrize(
    ("pod", "pool", "expected"),
    [
        pytest.param({}, {}, {}, id="a pool that asks for nothing adds nothing"),
        pytest.param(
            {},
            {"nodeSelector": {"kind": "gpu"}, "tolerations": [TAINTED], "runtimeClassName": "nvidia"},
            {"nodeSelector": {"kind": "gpu"}, "tolerations": [TAINTED], "runtimeClassName": "nvidia"},
            id="its nodes, their taints, their runtime",
        ),
        pytest.param(
            {"nodeSelector": {"kind": "cpu", "zone": "a"}},
            {"nodeSelector": {"kind": "gpu"}},
            {"nodeSelector": {"kind": "gpu", "zone": "a"}},
            id="labels that the pod asks for stay, but for those of the pool",
        ),
        pytest.param(
            {"tolerations": [OWN, TAINTED]},
            {"tolerations": [TAINTED]},
            {"tolerations": [OWN, TAINTED]},
            id="a toleration is not told twice",
        ),
        pytest.param(
            {"priorityClassName": "low"},
            {"priorityClassName": "batch"},
            {"priorityClassName": "batch"},
            id="the pool's priority class holds",
        ),
        pytest.param(
            {"affinity": {"podAffinity": {REQUIRED: ["x"]}}},
            {"affinity": a_node(where("gpu"))},
            {"affinity": {"podAffinity": {REQUIRED: ["x"]}, **a_node(where("gpu"))}},
            id="affinity of other kinds stands side by side",
        ),
        pytest.param(
            {"affinity": a_node(where("a"), where("b"))},
            {"affinity": a_node(where("gpu"), **{PREFERRED: ["p"]})},
            {"affinity": a_node(where("a", "gpu"), where("b", "gpu"), **{PREFERRED: ["p"]})},
            id="a node must satisfy both",
        ),
        pytest.param(
            {"affinity": {"podAntiAffinity": {REQUIRED: ["x"]}}},
            {"affinity": {"podAntiAffinity": {REQUIRED: ["y"]}}},
            {"affinity": {"podAntiAffinity": {REQUIRED: ["x", "y"]}}},
            id="rules about other pods add up",
        ),
        pytest.param(
            {"nodeSelector": "everywhere", "tolerations": "none", "affinity": 7},
            {"nodeSelector": {"kind": "gpu"}, "tolerations": [TAINTED]},
            {"nodeSelector": {"kind": "gpu"}, "tolerations": [TAINTED], "affinity": 7},
            id="what a template got wrong is replaced, or left for the API server to refuse",
        ),
    ],
)
def test_what_a_pool_adds(pod: dict[str, Any], pool: dict[str, Any], expected: dict[str, Any]) -> None:
    """The pod's own wishes stay where they can."""
    assert in_pool(pod, **pool) == expected


POOL = pool_of("gpu", {}, WorkPoolSpec.model_validate({"nodeSelector": {"kind": "gpu"}}))
SIZED = Resources.model_validate({"requests": {"memory": "2Gi"}})


def test_the_pod_of_a_run_is_known_by_its_pool_again() -> None:
    """Label and requests are read back after a restart of the operator."""
    flow = a_flow(resources={"requests": {"memory": "1Gi"}})
    manifest = pod_manifest(a_snapshot(flow=flow), flow, 1, default_image="x", pool=POOL, resources=SIZED)
    manifest["metadata"]["uid"] = "pod-uid"
    pod = pod_from(manifest)
    assert pod is not None
    assert (pod.pool, [name for name, _ in pod.requests], int(pod.requests[0][1])) == ("gpu", ["memory"], 2 * 2**30)
    assert manifest["spec"]["nodeSelector"] == {"kind": "gpu"}


def test_a_template_cannot_claim_a_pool() -> None:
    """Who is in a pool is counted by the label."""
    flow = a_flow(podTemplate={"metadata": {"labels": {"headrace.dev/pool": "gpu", "mine": "stays"}}})
    for pool, label in ((None, None), (pool_of("cpu", {}, None), "cpu")):
        labels = pod_manifest(a_snapshot(flow=flow), flow, 1, default_image="x", pool=pool)["metadata"]["labels"]
        assert (labels.get("headrace.dev/pool"), labels["mine"]) == (label, "stays")


def test_a_template_without_a_spec_stays_for_the_api_server_to_refuse() -> None:
    """There is nothing that a pool could be added to."""
    assert placed({"spec": "none"}, POOL)["spec"] == "none"
