"""Manifests as the API server would take them: the models' types, and the rules that only it checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from zoneinfo import available_timezones

from pydantic import ValidationError

from headrace.api import concurrencylimit, deployment, flow, workpool
from headrace.api.common import CustomResource
from headrace.api.cronshape import LINE, MACRO, field_pattern
from headrace.errors import shown
from headrace.migration.errors import MigrationError
from headrace.migration.report import Notes

KINDS: Final[Mapping[str, type[CustomResource]]] = {
    "Flow": flow.Flow,
    "Deployment": deployment.Deployment,
    "WorkPool": workpool.WorkPool,
    "ConcurrencyLimit": concurrencylimit.ConcurrencyLimit,
}
NAME_LIMITS: Final = {
    "Flow": flow.MAX_NAME,
    "Deployment": deployment.MAX_NAME,
    "WorkPool": workpool.MAX_NAME,
    "ConcurrencyLimit": concurrencylimit.MAX_NAME,
}
API_VERSION: Final = "headrace.dev/v1alpha1"


def manifest(kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The object, without what is empty in its metadata and spec."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": _filled(metadata), "spec": _filled(spec)}


def checked(raw: Mapping[str, Any], notes: Notes, line: int) -> dict[str, Any]:
    """
    The manifest as our models write it.

    Raises: MigrationError: the API server would refuse it; the error names the field and where in the source it began.
    """
    name = f'{raw["kind"]} "{raw["metadata"]["name"]}"'
    try:
        api = KINDS[raw["kind"]].model_validate(raw).to_api()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        problem = f"{name} would get {shown(first['input'])}: {first['msg']}; change it in the source"
        raise MigrationError(notes.source, line, field, problem) from None
    for field, problem in _problems(api):
        raise MigrationError(notes.source, line, f"{name}, {field}", problem)
    return api


def _problems(api: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What only the API server checks, as far as a source can bring it about; each with its field."""
    name, spec = api["metadata"]["name"], api["spec"]
    if len(name) > NAME_LIMITS[api["kind"]]:
        yield (
            "metadata.name",
            f"it has {len(name)} characters, expected {NAME_LIMITS[api['kind']]} at most; name it shorter",
        )
    entrypoint = spec.get("entrypoint", "")
    if entrypoint and not re.search(flow.ENTRYPOINT, entrypoint):
        yield "spec.entrypoint", f'it is "{entrypoint}", expected module:function or file.py:function; rename the file'
    for schedule in spec.get("schedules", ()):
        if len(name) + len(schedule["name"]) > deployment.MAX_BOTH_NAMES:
            yield (
                "spec.schedules",
                f'the name "{schedule["name"]}" is too long beside its own; name one of them shorter',
            )
        yield from ((f"schedule {schedule['name']}", problem) for problem in schedule_problems(schedule))


def schedule_problems(schedule: Mapping[str, Any]) -> Iterator[str]:
    """What the API server would refuse in a schedule of a Deployment, each with what to write instead."""
    if "cron" in schedule:
        yield from cron_problems(schedule["cron"])
    zone = schedule.get("timeZone", "Etc/UTC")
    if zone not in available_timezones():
        yield f'time zone "{zone}" is no IANA name; write one, such as Europe/London'
    if "rrule" in schedule and not re.search(r"(^|[:;])FREQ=[A-Z]+", schedule["rrule"]):
        yield f'rrule "{schedule["rrule"]}" has no FREQ=; write one, such as FREQ=DAILY'


def cron_problems(line: str) -> Iterator[str]:
    """What is wrong with a cron line; nothing, if the API server takes it."""
    if re.search(MACRO, line):
        return
    if not re.search(LINE, line):
        yield f'cron "{line}" has not five fields; write minute, hour, day of month, month, day of week'
        return
    for position, field in enumerate(line.split()):
        if not re.search(field_pattern(position), line):
            yield f'cron "{line}" has a field "{field}" that is not known here; write values, lists, ranges and steps'


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "", {}, [], ())}
