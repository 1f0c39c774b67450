"""Strategic merge, as `kubectl patch` does it for pods: maps by key, lists by their merge key, other lists whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def merge(base: Any, change: Any, *, field: str = "") -> Any:
    """
    `base` with `change` laid over it; neither is altered.

    A null removes a field, `{"$patch": "delete", <merge key>: …}` a list item, `{"$patch": "replace", …}` takes a
    map as a whole.
    """
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        return _merge_maps(base, change)
    key = MERGE_KEYS.get(field)
    if key is not None and _is_list_of_maps(base) and _is_list_of_maps(change):
        return _merge_lists(base, change, key)
    return change


def _is_list_of_maps(value: Any) -> bool:
    """Anything else is a broken template: it is taken as it is, and the API server says what is wrong with it."""
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _merge_maps(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    if change.get(DIRECTIVE) == "replace":
        return {name: value for name, value in change.items() if name != DIRECTIVE}
    merged = dict(base)
    for name, value in change.items():
        if value is None:
            merged.pop(name, None)
        elif name in merged:
            merged[name] = merge(merged[name], value, field=name)
        else:
            merged[name] = value
    return merged


def _merge_lists(base: list[Any], change: list[Any], key: str) -> list[Any]:
    merged = list(base)
    for item in change:
        places = [index for index, old in enumerate(merged) if old.get(key) == item.get(key)]
        if item.get(DIRECTIVE) == "delete":
            merged = [old for index, old in enumerate(merged) if index not in places]
        elif places:
            merged[places[0]] = merge(merged[places[0]], item)
        else:
            merged.append(item)
    return merged
