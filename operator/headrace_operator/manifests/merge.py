"""Strategic merge, as `kubectl patch` does it for pods: maps by key, lists by their merge key, other lists whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "ownerReferences": "uid",
}
"""Source: the `x-kubernetes-patch-merge-key` of core/v1 PodSpec and Container; lists not named here are atomic."""
DIRECTIVE = "$patch"
REPLACE_LIST = {DIRECTIVE: "replace"}
"""An item that stands for no item: the list in which it is takes the place of the old one."""


def merge(base: Any, change: Any, *, field: str = "") -> Any:
    """
    `base` with `change` laid over it; neither is altered.

    A null removes a field, `{"$patch": "delete", <merge key>: …}` a list item, `{"$patch": "replace", …}` takes a
    map as a whole. Where there was nothing they mean nothing, and do not stay in the result.
    """
    if _is_map(change):
        return _merge_maps(base if _is_map(base) else {}, change)
    key = MERGE_KEYS.get(field)
    if key is not None and _is_list_of_maps(change):
        return _merge_lists(base if _is_list_of_maps(base) else [], change, key)
    return change


def _is_list_of_maps(value: Any) -> bool:
    """Anything else is a broken template: it is taken as it is, and the API server says what is wrong with it."""
    return isinstance(value, list) and all(map(_is_map, value))


def _merge_maps(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = {} if change.get(DIRECTIVE) == "replace" else dict(base)
    for name, value in change.items():
        if name == DIRECTIVE and isinstance(value, str):
            continue
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value, field=name)
    return merged


def _merge_lists(base: list[Any], change: list[Any], key: str) -> list[Any]:
    merged = [] if REPLACE_LIST in change else list(base)
    for item in change:
        if item == REPLACE_LIST:
            continue
        places = [index for index, old in enumerate(merged) if old.get(key) == item.get(key)]
        if item.get(DIRECTIVE) == "delete":
            merged = [old for index, old in enumerate(merged) if index not in places]
        elif places:
            merged[places[0]] = merge(merged[places[0]], item)
        else:
            merged.append(merge({}, item))
    return merged


def _is_map(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return type(value) is dict or isinstance(value, Mapping)  # the test for an ABC is slow
