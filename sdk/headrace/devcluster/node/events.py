"""Warnings about pods as Kubernetes Events, in the kubelet's words: `kubectl describe pod` shows them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import structlog

from headrace.devcluster.node.times import now
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import ApiError

log = structlog.get_logger()


async def warn(client: KubeClient, pod: Mapping[str, Any], node: str, *, reason: str, message: str) -> None:
    """Writes a Warning about the pod; one that cannot be written is logged and forgotten, as events are."""
    metadata = pod["metadata"]
    stamp = now()
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "reason": reason,
        "message": message[:1024],
        "type": "Warning",
        "source": {"component": "kubelet", "host": node},
        "reportingComponent": "kubelet",
        "reportingInstance": node,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
    try:
        await client.create(f"/api/v1/namespaces/{metadata['namespace']}/events", body)
    except ApiError as error:
        log.warning("event_not_written", pod=metadata["name"], reason=reason, error=str(error))
