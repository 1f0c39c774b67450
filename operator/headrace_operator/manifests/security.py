"""
The security context of a run's pod: what Pod Security `restricted` asks for, where no template says otherwise.

Defaults, and no rule: what a template says stays, so that the API server judges what its author wrote. Init containers and sidecars
of a template get the defaults, too, as the pod is refused for any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POD_DEFAULTS: Mapping[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_DEFAULTS: Mapping[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
CONTAINER_LISTS = ("initContainers", "containers")
ROOT = 0


def secured(manifest: dict[str, Any]) -> dict[str, Any]:
    """The pod with the defaults filled in. Where a template has put something that is no pod, it is left as it is."""
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping) or _is_windows(spec):
        return manifest
    pod = _filled(spec.get("securityContext"), POD_DEFAULTS)
    lists = {
        name: [_secured_container(each) for each in spec[name]] for name in CONTAINER_LISTS if _is_list(spec, name)
    }
    return {**manifest, "spec": {**spec, **lists, "securityContext": pod}}


def _secured_container(container: Any) -> Any:
    if not isinstance(container, Mapping):
        return container
    context = _filled(container.get("securityContext"), CONTAINER_DEFAULTS)
    if isinstance(context, Mapping) and _needs_escalation(context):
        theirs = container.get("securityContext") or {}
        context = {name: value for name, value in context.items() if name in theirs}
    return {**container, "securityContext": context}


def _filled(theirs: Any, defaults: Mapping[str, Any]) -> Any:
    """Theirs over the defaults; whoever says root has said that the container is not to be refused for being root."""
    if theirs is None:
        return dict(defaults)
    if not isinstance(theirs, Mapping):
        return theirs
    root = {"runAsNonRoot": False} if theirs.get("runAsUser") == ROOT else {}
    return {**defaults, **root, **theirs}


def _needs_escalation(context: Mapping[str, Any]) -> bool:
    """The API server takes neither of these together with allowPrivilegeEscalation: false."""
    capabilities = context.get("capabilities")
    added = capabilities.get("add") if isinstance(capabilities, Mapping) else None
    return context.get("privileged") is True or (isinstance(added, list) and "SYS_ADMIN" in added)


def _is_windows(spec: Mapping[str, Any]) -> bool:
    """The API server refuses these fields for pods of Windows."""
    system = spec.get("os")
    return isinstance(system, Mapping) and system.get("name") == "windows"


def _is_list(spec: Mapping[str, Any], name: str) -> bool:
    return isinstance(spec.get(name), list)
