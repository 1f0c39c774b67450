"""Runs that the operator cancels for somebody: a Backfill, an Automation."""

from __future__ import annotations

from typing import Any

from headrace.kubeapi.errors import Conflict, NotFound
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.cluster import Cluster, is_there
from headrace_operator.kube.resources import FLOW_RUNS


async def cancel_run(cluster: Cluster, run: ObjectKey, uid: str) -> dict[str, Any] | None:
    """
    Has this very run end. Returns it as stored; None: it is gone.

    Raises: Conflict: it is there, ask again. ApiError.
    """
    try:
        return await cluster.patch(FLOW_RUNS, *run, {"metadata": {"uid": uid}, "spec": {"cancel": True}})
    except NotFound:
        return None
    except Conflict:
        if await is_there(cluster, FLOW_RUNS, *run, uid=uid):
            raise
        return None
