"""The environment, command and arguments of a container, by the rules of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.devcluster.node.fields import field_value, resource_value
from headrace.devcluster.node.sources import MissingSource, Sources

REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with each `$(NAME)` replaced; unknown names stay, and `$$` is one dollar sign."""

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return REFERENCE.sub(replaced, text)


def command_line(container: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """Command and arguments; empty where the pod leaves them to the image, which is not used here."""
    command: Sequence[str] = container.get("command") or ()
    return [expand(word, variables) for word in (*command, *(container.get("args") or ()))] if command else []


async def environment(
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
    *,
    base: Mapping[str, str],
    sources: Sources,
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """
    Every variable of the container.

    Args:
        base: What is there before the pod's own.
        allocatable: Of the node, for `resourceFieldRef` without a limit.
    Raises: MissingSource: a ConfigMap, a Secret or a key is not there; a kubelet's CreateContainerConfigError.
    """
    lookup = _Lookup(container, pod, sources, allocatable)
    variables: dict[str, str] = {}
    for each in container.get("envFrom") or ():
        variables |= await lookup.whole(each)
    for each in container.get("env") or ():
        reference = each.get("valueFrom")
        plain = expand(each.get("value") or "", {**base, **variables})
        value = await lookup.one(reference) if reference else plain
        if value is not None:
            variables[each["name"]] = value
    return {**base, **variables}


@dataclass(frozen=True, slots=True)
class _Lookup:
    """Finds what the variables of one container refer to."""

    container: Mapping[str, Any]
    pod: Mapping[str, Any]
    sources: Sources
    allocatable: Mapping[str, str]

    async def whole(self, reference: Mapping[str, Any]) -> dict[str, str]:
        """Every entry of a ConfigMap or a Secret."""
        prefix = reference.get("prefix", "")
        if "configMapRef" in reference:
            entries = await self.sources.config_map(**_named(reference["configMapRef"]))
        else:
            entries = await self.sources.secret(**_named(reference["secretRef"]))
        return {prefix + key: value.decode(errors="replace") for key, value in (entries or {}).items()}

    async def one(self, reference: Mapping[str, Any]) -> str | None:
        """The value of a `valueFrom`; None for an optional one that is not there."""
        if "fieldRef" in reference:
            return field_value(self.pod, reference["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in reference:
            asked = reference["resourceFieldRef"]
            return resource_value(_asked(asked, self.container, self.pod), asked, self.allocatable)
        if "configMapKeyRef" in reference:
            asked = reference["configMapKeyRef"]
            return _key(asked, await self.sources.config_map(**_named(asked)), f"ConfigMap {self.sources.namespace}")
        asked = reference["secretKeyRef"]
        return _key(asked, await self.sources.secret(**_named(asked)), f"Secret {self.sources.namespace}")


def _asked(reference: Mapping[str, Any], own: Mapping[str, Any], pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container that a `resourceFieldRef` means."""
    name = reference.get("containerName") or own["name"]
    everyone = (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))
    return next((each for each in everyone if each["name"] == name), own)


def _key(reference: Mapping[str, Any], entries: Mapping[str, bytes] | None, where: str) -> str | None:
    if entries is not None and reference["key"] in entries:
        return entries[reference["key"]].decode(errors="replace")
    if reference.get("optional"):
        return None
    msg = f"couldn't find key {reference['key']} in {where}/{reference['name']}"
    raise MissingSource(msg)


def _named(reference: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": reference["name"], "optional": bool(reference.get("optional"))}
