"""Which nodes a WorkPool has."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.workpool import NodeCount
from headrace_operator.observe.nodes import node_record, nodes_of


def a_node(name: str = "n1", *, version: int = 1, ready: str = "True", cordoned: bool = False, **labels: str) -> Any:
    return {
        "metadata": {"name": name, "uid": f"{name}-uid", "resourceVersion": str(version), "labels": labels},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}]},
    }


NODES = [
    node_record(node)
    for node in (
        a_node("a", kind="gpu", zone="x"),
        a_node("b", kind="gpu", ready="Unknown"),
        a_node("c", kind="gpu", cordoned=True),
        a_node("d", kind="cpu"),
    )
]


@pytest.mark.parametrize(
    ("selector", "total", "ready"),
    [
        pytest.param({"kind": "gpu"}, 3, 1, id="a node that is silent or cordoned is there, and not ready"),
        pytest.param({"kind": "gpu", "zone": "x"}, 1, 1, id="every label counts"),
        pytest.param({}, 4, 2, id="without a selector all nodes are the pool's"),
        pytest.param({"kind": "tpu"}, 0, 0, id="none"),
    ],
)
def test_the_nodes_of_a_pool(selector: dict[str, str], total: int, ready: int) -> None:
    """By their labels, as the scheduler picks them."""
    assert nodes_of(selector, NODES) == NodeCount(total=total, ready=ready)


@pytest.mark.parametrize(
    ("before", "same"),
    [
        pytest.param(a_node(version=1, kind="cpu"), True, id="its pulse is no news"),
        pytest.param(a_node(version=1, kind="gpu"), False, id="its labels are"),
        pytest.param(a_node(version=1, kind="cpu", ready="False"), False, id="whether it is ready is"),
    ],
)
def test_what_is_news_of_a_node(before: Any, same: bool) -> None:
    """Nodes tell of themselves all the time."""
    assert node_record(a_node(version=2, kind="cpu")).counts_as(node_record(before)) is same
    assert not node_record(a_node()).counts_as(None)


def test_a_node_that_tells_nothing_is_not_ready() -> None:
    """It was made a moment ago."""
    record = node_record({"metadata": {"name": "new", "uid": "u"}})
    assert (record.key.name, record.labels, record.ready) == ("new", {}, False)
