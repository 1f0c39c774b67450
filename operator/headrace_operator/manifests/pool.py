"""What a WorkPool adds to the pods that are placed in it: where they may run, and a label that says so."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, Final

from headrace.api import keys
from headrace.api.workpool import WorkPoolSpec
from headrace_operator.decide.placement import Pool
from headrace_operator.decide.shapes import mapping

REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def placed(manifest: Mapping[str, Any], pool: Pool | None) -> dict[str, Any]:
    """
    The pod, made to run on the pool's nodes; neither is altered.

    What a podTemplate asks for stays, and the pool's own is added to it. Where one value alone can be (a key of the
    node selector, a class), the pool's holds: its nodes take no other pod. The label is ours alone.
    """
    metadata = mapping(manifest.get("metadata"))
    labels = {name: value for name, value in mapping(metadata.get("labels")).items() if name != keys.POOL_LABEL}
    spec = manifest.get("spec")
    if pool is not None:
        labels[keys.POOL_LABEL] = pool.name
        if pool.spec is not None and isinstance(spec, Mapping):
            spec = {**spec, **_additions(spec, pool.spec)}
    return {**manifest, "metadata": {**metadata, "labels": labels}, "spec": spec}


def _additions(pod: Mapping[str, Any], pool: WorkPoolSpec) -> dict[str, Any]:
    tolerations = [dict(toleration) for toleration in pool.tolerations]
    theirs = _items(pod.get("tolerations"))
    fields = {
        "nodeSelector": {**mapping(pod.get("nodeSelector")), **pool.node_selector},
        "tolerations": [*theirs, *(toleration for toleration in tolerations if toleration not in theirs)],
        "affinity": _both(mapping(pod.get("affinity")), pool.affinity or {}),
        "runtimeClassName": pool.runtime_class_name,
        "priorityClassName": pool.priority_class_name,
    }
    return {name: value for name, value in fields.items() if value}


def _both(theirs: Mapping[str, Any], pools: Mapping[str, Any]) -> dict[str, Any]:
    """Affinity that satisfies both."""
    merged = {name: theirs.get(name) or pools[name] for name in pools} | {
        name: value for name, value in theirs.items() if name not in pools
    }
    for name in theirs.keys() & pools.keys():
        merged[name] = _both_rules(mapping(theirs[name]), mapping(pools[name]))
    return merged


def _both_rules(theirs: Mapping[str, Any], pools: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of pod affinity hold all together, as preferences do; a node's terms are alternatives."""
    rules: dict[str, Any] = {}
    for name in (REQUIRED, PREFERRED):
        one, other = theirs.get(name), pools.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            rules[name] = {"nodeSelectorTerms": _each_with_each(one, other)}
        elif one or other:
            rules[name] = [*_items(one), *_items(other)] if one and other else one or other
    return rules


def _each_with_each(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    terms = (_items(selector.get("nodeSelectorTerms")) for selector in (one, other))
    return [
        {
            part: both
            for part in ("matchExpressions", "matchFields")
            if (both := [*_items(first.get(part)), *_items(second.get(part))])
        }
        for first, second in product(*terms)
    ]


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
