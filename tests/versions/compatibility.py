"""Which changes of a CustomResourceDefinition break objects or programs that were good before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

UPPER_BOUNDS = ("maximum", "maxLength", "maxItems", "maxProperties")
LOWER_BOUNDS = ("minimum", "minLength", "minItems", "minProperties")
KEPT = (
    "type",
    "format",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string",
    "default",
)
"""What may not change at all: another default changes what stored objects mean."""
UNKNOWN = "x-kubernetes-preserve-unknown-fields"


def breaks(old: Schema, new: Schema) -> list[str]:
    """A sentence for each change from an old definition to a new one that breaks something; it begins with the place."""
    return [*_of_names(old["spec"], new["spec"]), *_of_versions(old["spec"], new["spec"])]


def _of_names(old: Schema, new: Schema) -> Iterator[str]:
    for field in ("group", "scope"):
        if old[field] != new[field]:
            yield f"{field}: was {old[field]}, is {new[field]}"
    for field in ("kind", "plural", "singular"):
        if old["names"][field] != new["names"][field]:
            yield f"names.{field}: was {old['names'][field]}, is {new['names'][field]}"
    for gone in sorted(set(old["names"]["shortNames"]) - set(new["names"]["shortNames"])):
        yield f"names.shortNames: {gone} is gone"


def _of_versions(old: Schema, new: Schema) -> Iterator[str]:
    served = {version["name"]: version for version in new["versions"] if version["served"]}
    for version in old["versions"]:
        name = version["name"]
        if name not in served:
            yield f"{name}: is not served any more"
            continue
        for gone in sorted(_selectable(version) - _selectable(served[name])):
            yield f"{name}: selectableFields: {gone} is gone"
        before, after = (each["schema"]["openAPIV3Schema"] for each in (version, served[name]))
        yield from _of_schema(name, before, after)


def _selectable(version: Schema) -> set[str]:
    return {field["jsonPath"] for field in version.get("selectableFields") or ()}


def _of_schema(place: str, old: Schema, new: Schema) -> Iterator[str]:
    for find in CHANGES:
        for change in find(old, new):
            yield f"{place}: {change}"
    before, after = old.get("properties") or {}, new.get("properties") or {}
    for name in before.keys() & after.keys():
        yield from _of_schema(f"{place}.{name}", before[name], after[name])
    for part in ("items", "additionalProperties"):
        if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
            yield from _of_schema(f"{place}[]", old[part], new[part])


def removed_fields(old: Schema, new: Schema) -> Iterator[str]:
    """What is stored in them would be pruned by the next write."""
    if new.get(UNKNOWN):
        return
    for name in sorted((old.get("properties") or {}).keys() - (new.get("properties") or {}).keys()):
        yield f"the field {name} is gone"


def new_requirements(old: Schema, new: Schema) -> Iterator[str]:
    """Stored objects have no such field."""
    added = set(new.get("required") or ()) - set(old.get("required") or ())
    for name in sorted(added):
        if "default" not in ((new.get("properties") or {}).get(name) or {}):
            yield f"{name} is required now"


def fewer_values(old: Schema, new: Schema) -> Iterator[str]:
    """A stored value may be one that is gone."""
    if "enum" in new:
        gone = sorted(set(map(str, old.get("enum", ["(any)"]))) - set(map(str, new["enum"])))
        if gone:
            yield f"enum: {', '.join(gone)} is not allowed any more"


def tighter_bounds(old: Schema, new: Schema) -> Iterator[str]:
    """A stored value may lie between the old bound and the new one."""
    for bound in UPPER_BOUNDS:
        if bound in new and (bound not in old or new[bound] < old[bound]):
            yield f"{bound}: was {old.get(bound, 'absent')}, is {new[bound]}"
    for bound in LOWER_BOUNDS:
        if bound in new and (bound not in old or new[bound] > old[bound]):
            yield f"{bound}: was {old.get(bound, 'absent')}, is {new[bound]}"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"pattern: was {old.get('pattern', 'absent')}, is {new['pattern']}"


def other_rules(old: Schema, new: Schema) -> Iterator[str]:
    """A rule that was not there, or reads differently, may refuse what was good."""
    key = "x-kubernetes-validations"
    known = {rule["rule"] for rule in old.get(key) or ()}
    for rule in new.get(key) or ():
        if rule["rule"] not in known:
            yield f"the rule is new or reads differently: {rule['rule']}"


def other_meaning(old: Schema, new: Schema) -> Iterator[str]:
    """The same text of an object would be read as something else."""
    for key in KEPT:
        if old.get(key) != new.get(key):
            yield f"{key}: was {old.get(key, 'absent')}, is {new.get(key, 'absent')}"
    if old.get(UNKNOWN) and not new.get(UNKNOWN):
        yield "unknown fields are not kept any more"


CHANGES: tuple[Callable[[Schema, Schema], Iterator[str]], ...] = (
    removed_fields,
    new_requirements,
    fewer_values,
    tighter_bounds,
    other_rules,
    other_meaning,
)
