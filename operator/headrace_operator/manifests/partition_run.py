"""The FlowRun of one partition of a Backfill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.api import keys
from headrace.api.owners import owner_reference
from headrace_operator.decide.snapshot import ObjectKey, PartitionRef


def partition_run(
    of: PartitionRef,
    *,
    key: ObjectKey,
    partition: str,
    deployment: str,
    flow: str | None,
    spec: Mapping[str, Any],
) -> dict[str, Any]:
    """
    A FlowRun owned by its Backfill, so that it goes when the Backfill goes.

    Args:
        key: Its name derives from Backfill, partition and number: creating it twice is a conflict.
        partition: The partition's name.
        flow: The Deployment's, for the label.
        spec: Its parameters and its priority; the Deployment's parameters are merged under them when it is accepted.
    """
    labels = {
        keys.MANAGED_BY_LABEL: keys.MANAGED_BY,
        keys.DEPLOYMENT_LABEL: deployment,
        keys.BACKFILL_LABEL: of.backfill,
        keys.PARTITION_LABEL: partition,
        keys.POSITION_LABEL: str(of.position),
        keys.TRY_LABEL: str(of.number),
    }
    return {
        "apiVersion": keys.API_VERSION,
        "kind": "FlowRun",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": labels | ({keys.FLOW_LABEL: flow} if flow else {}),
            "ownerReferences": [owner_reference(keys.BACKFILLS.kind, of.backfill, of.uid)],
        },
        "spec": {"deploymentRef": {"name": deployment}, **spec},
    }
