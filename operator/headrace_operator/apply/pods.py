"""Pods: created once, asked to end, let go."""

from __future__ import annotations

from typing import Any, Final

from headrace.api import keys
from headrace.kubeapi.errors import AlreadyExists, Forbidden, Invalid, NotFound
from headrace_operator.decide.actions import DeletePod, ReleasePod
from headrace_operator.errors import PodNameTakenError, PodRefusedError
from headrace_operator.kube.cluster import Cluster, delete_this
from headrace_operator.kube.resources import PODS

FINALIZER_TRIES = 3
NOT_NOTED: Final[list[dict[str, Any]]] = [{}]
"""As metadata.managedFields: the API server drops them, and notes no more."""


async def create_pod(cluster: Cluster, manifest: dict[str, Any]) -> dict[str, Any]:
    """
    The pod as stored; that it exists already, with the same owner, is success.

    Raises:
        PodRefusedError: quota, a policy, or a manifest that the API server rejects.
        PodNameTakenError: a pod of that name belongs to somebody else.
        ApiError.
    """
    metadata = manifest["metadata"]
    try:
        return await cluster.create(PODS, metadata["namespace"], manifest)
    except AlreadyExists:
        existing = await cluster.get(PODS, metadata["namespace"], metadata["name"])
        if _owners(existing) & _owners(manifest):
            return existing
        raise PodNameTakenError(metadata["namespace"], metadata["name"], existing) from None
    except Forbidden as error:
        raise PodRefusedError(error.message, final=False) from error
    except Invalid as error:
        raise PodRefusedError(error.message, final=error.is_final) from error


async def delete_pod(cluster: Cluster, namespace: str, action: DeletePod) -> None:
    """
    Ask for its end; one that is gone, or has made room for another of its name, is success. Raises: Conflict: ask again. ApiError.

    So is one that has changed, where the action names a version: what it has become is decided upon anew.
    """
    await delete_this(cluster, PODS, namespace, action.name, uid=action.uid, version=action.version)


async def release_pod(cluster: Cluster, namespace: str, action: ReleasePod) -> dict[str, Any] | None:
    """
    Take our finalizer off, and leave those of others alone; the pod after that, None if it is gone.

    With the only one goes what the API server noted of who wrote which field, half of what it keeps of a pod. Nobody applies a pod
    that has ended, and without these notes each of its writes from here on costs the API server half: this one, and its deletion.
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields
    Whoever has a finalizer of its own there may need them to take it off.

    Raises: ApiError.
    """
    removal = _removal_of_the_only_one(action.uid)
    for _ in range(FINALIZER_TRIES):
        try:
            return await cluster.patch(PODS, namespace, action.name, removal)
        except NotFound:
            return None
        except Invalid:  # a test of the patch failed: another pod, or the finalizers are not as assumed
            index = await _finalizer_index(cluster, namespace, action)
            if index is None:
                return None
            removal = _removal(action.uid, index)
    return None


def _removal_of_the_only_one(uid: str) -> list[dict[str, Any]]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/metadata/finalizers", "value": [keys.POD_FINALIZER]},
        {"op": "remove", "path": "/metadata/finalizers"},
        {"op": "add", "path": "/metadata/managedFields", "value": NOT_NOTED},
    ]


def _removal(uid: str, index: int) -> list[dict[str, Any]]:
    place = f"/metadata/finalizers/{index}"
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": place, "value": keys.POD_FINALIZER},
        {"op": "remove", "path": place},
    ]


async def _finalizer_index(cluster: Cluster, namespace: str, action: ReleasePod) -> int | None:
    try:
        metadata = (await cluster.get(PODS, namespace, action.name))["metadata"]
    except NotFound:
        return None
    finalizers = metadata.get("finalizers") or []
    if metadata["uid"] != action.uid or keys.POD_FINALIZER not in finalizers:
        return None
    index: int = finalizers.index(keys.POD_FINALIZER)
    return index


def _owners(pod: dict[str, Any]) -> set[str]:
    return {owner["uid"] for owner in pod["metadata"].get("ownerReferences") or ()}
