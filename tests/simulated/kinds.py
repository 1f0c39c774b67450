"""What the simulated API serves: our own kinds as crds/ defines them, and those of Kubernetes that we use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "crds"


@dataclass(frozen=True, eq=False)
class Kind:
    """
    One collection of the API.

    Attributes:
        counts_generations: Whether metadata.generation counts the changes of its spec.
        must_name_version: Whether a PUT without a resource version is refused.
        fields: Paths that a field selector may name beside name and namespace.
        defaults: As `defaulted` takes them; None for none.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    has_status: bool = False
    counts_generations: bool = False
    must_name_version: bool = False
    fields: frozenset[str] = frozenset()
    defaults: Defaults | None = None


@dataclass(frozen=True)
class Defaults:
    """Where absent fields of an object get a value, by name, and what is below it."""

    values: Mapping[str, Any] = field(default_factory=dict)
    below: Mapping[str, Defaults] = field(default_factory=dict)
    each: Defaults | None = None
    """Of the items of a list, or of the values of a mapping."""


POD_FIELDS = frozenset({"spec.nodeName", "status.phase", "spec.restartPolicy"})
BUILT_IN = (
    Kind("v1", "Pod", "pods", has_status=True, counts_generations=True, fields=POD_FIELDS),
    Kind("v1", "Node", "nodes", namespaced=False, has_status=True),
    Kind("v1", "Namespace", "namespaces", namespaced=False, has_status=True, fields=frozenset({"status.phase"})),
    Kind("v1", "Event", "events", fields=frozenset({"type"})),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("apps/v1", "ControllerRevision", "controllerrevisions"),
    Kind("coordination.k8s.io/v1", "Lease", "leases"),
)


@cache
def kinds() -> Mapping[tuple[str, str], Kind]:
    """By API version and plural."""
    ours = [_defined(yaml.safe_load(path.read_text())) for path in sorted(CRDS.glob("*.yaml"))]
    return {(kind.api_version, kind.plural): kind for kind in (*BUILT_IN, *ours)}


def _defined(definition: Mapping[str, Any]) -> Kind:
    spec = definition["spec"]
    version = spec["versions"][0]
    return Kind(
        api_version=f"{spec['group']}/{version['name']}",
        kind=spec["names"]["kind"],
        plural=spec["names"]["plural"],
        namespaced=spec["scope"] == "Namespaced",
        has_status="status" in version.get("subresources", {}),
        counts_generations=True,
        must_name_version=True,
        fields=frozenset(each["jsonPath"].removeprefix(".") for each in version.get("selectableFields", ())),
        defaults=defaults_of(version["schema"]["openAPIV3Schema"]),
    )


def defaults_of(schema: Mapping[str, Any]) -> Defaults | None:
    """Those that a schema tells, None where it tells none."""
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    values = {name: child["default"] for name, child in properties.items() if "default" in child}
    found = {name: defaults_of(child) for name, child in properties.items()}
    below = {name: child for name, child in found.items() if child is not None}
    item = schema.get("items") or schema.get("additionalProperties")
    each = defaults_of(item) if isinstance(item, dict) else None
    return Defaults(values, below, each) if values or below or each else None


def defaulted(value: Any, defaults: Defaults | None) -> Any:
    """The value with its absent fields; what needs none is handed back as it is."""
    if defaults is None:
        return value
    if isinstance(value, list):
        return [defaulted(item, defaults.each) for item in value] if defaults.each else value
    if not isinstance(value, dict):
        return value
    absent = {name: default for name, default in defaults.values.items() if name not in value}
    filled = {**value, **absent} if absent else value
    changed = {
        name: new
        for name, child in defaults.below.items()
        if name in filled and (new := defaulted(filled[name], child)) is not filled[name]
    }
    return {**filled, **changed} if changed else filled
