"""
Structural OpenAPI v3 schemas, as a CustomResourceDefinition takes them, from pydantic's JSON Schema.

The API server takes no $ref, no anyOf with null and no additionalProperties beside properties; it has no use for
titles. A field that may be None is a field that may be absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

ORDER = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "anyOf",
    "required",
    "properties",
    "additionalProperties",
    "items",
)
"""How a reader meets the parts; extensions follow."""

DROPPED = ("title", "const", "$defs")


def structural_schema(model: type[BaseModel]) -> Schema:
    """The model's schema in the API server's dialect, every reference written out."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


def _structural(node: Schema, defs: Mapping[str, Schema]) -> Schema:
    flat = _flat(node, defs)
    if isinstance(flat.get("additionalProperties"), bool):
        del flat["additionalProperties"]
    if flat.get("default", ...) is None:
        del flat["default"]
    if "default" in flat:
        flat["default"] = _without_nulls(flat["default"])
    if "properties" in flat:
        flat["properties"] = {name: _structural(child, defs) for name, child in flat["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in flat:
            flat[key] = _structural(flat[key], defs)
    return _in_order(flat)


def _flat(node: Schema, defs: Mapping[str, Schema]) -> Schema:
    """The node with its references and its `| None` resolved; what stands beside a reference wins over it."""
    rest = dict(node)
    target: Schema = {}
    if "$ref" in rest:
        target = defs[rest.pop("$ref").removeprefix("#/$defs/")]
    elif {"type": "null"} in rest.get("anyOf", ()):
        (target,) = (choice for choice in rest.pop("anyOf") if choice != {"type": "null"})
    if not target:
        return rest
    inner = _flat(target, defs)
    rules = [*inner.get("x-kubernetes-validations", ()), *rest.get("x-kubernetes-validations", ())]
    return {**inner, **rest, **({"x-kubernetes-validations": rules} if rules else {})}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return value


def _in_order(node: Schema) -> Schema:
    known = {key: node[key] for key in ORDER if key in node}
    return known | {key: value for key, value in node.items() if key not in ORDER and key not in DROPPED}
