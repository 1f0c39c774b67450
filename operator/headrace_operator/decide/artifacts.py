"""What flows leave for people to look at, as their reports tell it and as the status of a run keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from headrace.api.flowrun import MAX_ARTIFACTS, Artifact

Artifacts = tuple[Mapping[str, str], ...]


def artifacts_from(reported: object) -> Artifacts:
    """Those of a report that the API would take, each name once, newest last; foreign input, so anything may be in it."""
    found = [fields for each in reported if (fields := _artifact(each))] if isinstance(reported, list) else []
    return _newest(found)


def with_artifacts(known: Artifacts, new: Artifacts) -> Artifacts:
    """Those of earlier attempts and the new ones; of one name the new one."""
    return _newest([*known, *new])


def _newest(artifacts: Iterable[Mapping[str, str]]) -> Artifacts:
    by_name: dict[str, Mapping[str, str]] = {}
    for each in artifacts:
        by_name.pop(each["name"], None)
        by_name[each["name"]] = each
    return tuple(by_name.values())[-MAX_ARTIFACTS:]


def _artifact(value: object) -> Mapping[str, str] | None:
    try:
        artifact = Artifact.model_validate(value)
    except ValidationError:
        return None
    fields: dict[str, Any] = artifact.model_dump(exclude_none=True)
    if "description" in fields:
        fields["description"] = " ".join(fields["description"].split())
    printable = all(text.isprintable() for text in fields.values())
    return fields if printable and "://" in fields.get("url", "://") else None
