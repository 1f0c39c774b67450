"""What Automations and triggers name, as the API has it: a misspelt Deployment would be waited for in silence, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.kubeapi.errors import NotFound
from headrace_operator.admission.review import MOST_WARNINGS, NAME
from headrace_operator.kube.cluster import Reader
from headrace_operator.kube.resources import DEPLOYMENTS, FLOWS, Resource

Spec = Mapping[str, Any]
Named = tuple[Resource, str, str]
"""A kind, the field that names one, its name."""

KINDS: Final = {"deployments": DEPLOYMENTS, "flows": FLOWS}


async def missing_of_automation(namespace: str, spec: Spec, reader: Reader) -> list[str]:
    """A warning for each Deployment and Flow that it names and that does not exist. Raises: ApiError."""
    named = [*_waited_for(spec.get("trigger"), "spec.trigger"), *_acted_on(spec)]
    return await _missing(namespace, named, reader)


async def missing_of_triggers(namespace: str, own_name: str, spec: Spec, reader: Reader) -> list[str]:
    """
    A warning for each Deployment and Flow that the triggers of a Deployment name and that does not exist. Raises: ApiError.

    Args:
        own_name: The Deployment's, which may be about to be created.
    """
    named = [
        each
        for index, trigger in enumerate(spec.get("triggers") or ())
        for each in _waited_for(trigger, f"spec.triggers[{index}]")
        if (each[0], each[2]) != (DEPLOYMENTS, own_name)
    ]
    return await _missing(namespace, named, reader)


def _waited_for(source: Any, field: str) -> Iterator[Named]:
    """What an event source names, whatever its events are."""
    for event, choice in (source if isinstance(source, Mapping) else {}).items():
        for kind, resource in KINDS.items():
            names = choice.get(kind) if isinstance(choice, Mapping) else None
            yield from ((resource, f"{field}.{event}.{kind}", str(name)) for name in names or ())


def _acted_on(spec: Spec) -> Iterator[Named]:
    for index, action in enumerate(spec.get("actions") or ()):
        started = (action.get("start") or {}).get("deployment")
        if started:
            yield DEPLOYMENTS, f"spec.actions[{index}].start.deployment", started
        changed = (action.get("deployment") or {}).get("name")
        if changed:
            yield DEPLOYMENTS, f"spec.actions[{index}].deployment.name", changed


async def _missing(namespace: str, named: list[Named], reader: Reader) -> list[str]:
    """The first ones only: each is a request, and somebody waits."""
    asked = list(dict.fromkeys(named))[: 2 * MOST_WARNINGS]
    there = await asyncio.gather(*(_exists(reader, resource, namespace, name) for resource, _, name in asked))
    return [
        f'{field}: {resource.kind} "{name}" does not exist in namespace "{namespace}"; nothing happens until it does'
        for (resource, field, name), is_there in zip(asked, there, strict=True)
        if not is_there
    ]


async def _exists(reader: Reader, resource: Resource, namespace: str, name: str) -> bool:
    """A name that none can have would lead to another path of the API."""
    if not NAME.fullmatch(name):
        return False
    try:
        await reader.get(resource, namespace, name)
    except NotFound:
        return False
    return True
