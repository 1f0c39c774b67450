"""What a container may ask about itself: the downward API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from headrace.devcluster.node.options import quantity
from headrace.devcluster.node.status import ADDRESS

KEYED = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


def field_value(pod: Mapping[str, Any], path: str) -> str:
    """
    The value of a `fieldRef`, as text; several as lines of `key="value"`.

    Raises: KeyError: the downward API has no such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    keyed = KEYED.fullmatch(path)
    if keyed:
        return str((metadata.get(keyed[1]) or {}).get(keyed[2], ""))
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "metadata.labels": _lines(metadata.get("labels") or {}),
        "metadata.annotations": _lines(metadata.get("annotations") or {}),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": ADDRESS,
        "status.hostIPs": ADDRESS,
        "status.podIP": ADDRESS,
        "status.podIPs": ADDRESS,
    }
    return str(values[path])


def resource_value(container: Mapping[str, Any], reference: Mapping[str, Any], allocatable: Mapping[str, str]) -> str:
    """
    The value of a `resourceFieldRef` in units of its divisor, rounded up.

    Args:
        reference: `resource` such as `limits.memory`, and perhaps `divisor`.
        allocatable: The node's; it stands in for a limit that is not set.
    """
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {} if kind == "requests" else {})}
    amount = amounts.get(name) or (allocatable.get(name, "0") if kind == "limits" else "0")
    divisor = quantity(reference.get("divisor") or 1) or Decimal(1)
    return str((quantity(amount) / divisor).to_integral_value(ROUND_CEILING))


def _lines(pairs: Mapping[str, str]) -> str:
    escaped = {
        key: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for key, value in pairs.items()
    }
    return "\n".join(f'{key}="{value}"' for key, value in sorted(escaped.items()))
