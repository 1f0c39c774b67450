"""Where the code of a flow is that its image has not: a volume of its pod, and the folder in which its process finds it."""

from __future__ import annotations

from typing import Any

from headrace_operator.decide.snapshot import ResolvedFlow
from headrace_operator.manifests.revision import revision_name

CODE_DIR = "/opt/headrace/code"
CODE_VOLUME = "headrace-code"


def code_dir(flow: ResolvedFlow) -> str | None:
    """The folder with the flow's files; None: they are in the image."""
    return CODE_DIR if code_volumes(flow) else None


def code_volumes(flow: ResolvedFlow) -> list[dict[str, Any]]:
    """
    The volume with the flow's files; none where they are in the image.

    A ConfigMap of the author's is mounted by its name, which the revision pins: the kubelet reads it when the pod starts.
    """
    source = flow.spec.source
    if source.inline is not None:
        return [_of_config_map(revision_name(flow.name, flow.revision))]
    return [_of_config_map(source.config_map.name)] if source.config_map is not None else []


def code_mounts(flow: ResolvedFlow) -> list[dict[str, Any]]:
    """Where the flow's container has them."""
    return [{"name": volume["name"], "mountPath": CODE_DIR, "readOnly": True} for volume in code_volumes(flow)]


def _of_config_map(name: str) -> dict[str, Any]:
    return {"name": CODE_VOLUME, "configMap": {"name": name}}
