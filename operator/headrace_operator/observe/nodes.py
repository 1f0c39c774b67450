"""Nodes, as little of each as a WorkPool's status needs, and how many of them a pool has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.api.workpool import NodeCount
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.parse import object_key, version_of


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A Node. `ready`: it is Ready, and not cordoned."""

    key: ObjectKey
    uid: str
    version: int
    labels: Mapping[str, str]
    ready: bool

    def counts_as(self, other: NodeRecord | None) -> bool:
        """Whether it counts for the same pools in the same way as the other: most of what a node tells is its pulse."""
        return other is not None and (self.uid, self.labels, self.ready) == (other.uid, other.labels, other.ready)


def node_record(obj: Mapping[str, Any]) -> NodeRecord:
    """A Node as it is held."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    is_ready = any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)
    return NodeRecord(
        key=object_key(obj),
        uid=obj["metadata"]["uid"],
        version=version_of(obj),
        labels=obj["metadata"].get("labels") or {},
        ready=is_ready and not (obj.get("spec") or {}).get("unschedulable"),
    )


def nodes_of(selector: Mapping[str, str], nodes: Iterable[NodeRecord]) -> NodeCount:
    """How many nodes a pool's nodeSelector picks; an empty one picks all."""
    picked = [node for node in nodes if selector.items() <= node.labels.items()]
    return NodeCount(total=len(picked), ready=sum(node.ready for node in picked))
