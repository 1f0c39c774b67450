"""What bears on a Deployment, a Backfill or a limit, asked of the cluster for `headrace why`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.api import keys
from headrace.cli.cluster import listed, path_of
from headrace.cli.deployments import state_of
from headrace.cli.leases import operator_leases, works
from headrace.cli.limits import the_limit
from headrace.cli.names import WORDS
from headrace.cli.references import Reference
from headrace.cli.steering import found_object
from headrace.diagnose.explaining import Explanation
from headrace.diagnose.standing import Surroundings, backfill_explained, deployment_explained, limit_explained
from headrace.errors import HeadraceError
from headrace.kubeapi.errors import ApiError, NotFound

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

T = TypeVar("T")
NOT_STARTED: Final = {"fieldSelector": "status.phase=Pending"}
FOR_A_LIMIT: Final = frozenset({"WaitingForLimit", "WaitingForRate", "LimitTooSmall"})


async def or_none(request: Awaitable[T]) -> T | None:
    """The answer. What may not be read, or is not there, makes an explanation shorter, and no worse."""
    try:
        return await request
    except (ApiError, HeadraceError):
        return None


async def events_about(client: KubeClient, namespace: str, *names: str) -> list[dict[str, Any]]:
    """Those about the objects of these names. Raises: ClusterRefusal, ApiError."""
    found = []
    for name in names:
        selector = {"fieldSelector": f"involvedObject.name={name}"}
        found += await listed(client, f"/api/v1/namespaces/{namespace}/events", selector)
    return found


async def explanation(client: KubeClient, namespace: str, target: Reference, operator_namespace: str) -> Explanation:
    """Why it is as it is. Raises: ClusterRefusal: it is not there, or may not be read. ApiError."""
    if target.resource is keys.CONCURRENCYLIMITS:
        return await _limit(client, target, operator_namespace)
    found = await found_object(client, namespace, target, f"explain {target}")
    waiting, events, lines, leases = await asyncio.gather(
        or_none(_not_started(client, namespace, _is_of(target))),
        or_none(_own_events(client, namespace, target)),
        or_none(_rests_on(client, namespace, found)),
        or_none(operator_leases(client, operator_namespace, namespace)),
    )
    now = datetime.now(UTC)
    operator = works(leases, now) if leases else None
    around = Surroundings(now, waiting or (), events or (), operator, lines or ())
    told = deployment_explained if target.resource is keys.DEPLOYMENTS else backfill_explained
    return told(found, around)


async def _limit(client: KubeClient, target: Reference, operator_namespace: str) -> Explanation:
    found = await the_limit(client, target.name)

    def waits(run: Mapping[str, Any]) -> bool:
        status = run.get("status") or {}
        return status.get("reason") in FOR_A_LIMIT and target.name in WORDS.findall(str(status.get("message", "")))

    waiting, leases = await asyncio.gather(
        or_none(_not_started(client, "", waits)), or_none(operator_leases(client, operator_namespace, ""))
    )
    now = datetime.now(UTC)
    around = Surroundings(now, waiting or (), operator=works(leases, now) if leases else None)
    return limit_explained(found, around)


async def _not_started(
    client: KubeClient, namespace: str, wanted: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
    return [each for each in await listed(client, path_of(keys.FLOWRUNS, namespace), NOT_STARTED) if wanted(each)]


async def _own_events(client: KubeClient, namespace: str, target: Reference) -> list[dict[str, Any]]:
    """Not those of an object of another kind that has its name."""
    found = await events_about(client, namespace, target.name)
    return [each for each in found if (each.get("involvedObject") or {}).get("kind") == target.resource.kind]


def _is_of(target: Reference) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a run is of the Deployment or Backfill."""
    if target.resource is keys.BACKFILLS:
        return lambda run: (run["metadata"].get("labels") or {}).get(keys.BACKFILL_LABEL) == target.name
    return lambda run: (run["spec"].get("deploymentRef") or {}).get("name") == target.name


async def _rests_on(client: KubeClient, namespace: str, found: Mapping[str, Any]) -> list[str]:
    """The Flow of a Deployment, the Deployment of a Backfill. Raises: ClusterRefusal, ApiError."""
    spec = found["spec"]
    resource, name = (
        (keys.FLOWS, spec["flowRef"]["name"])
        if "flowRef" in spec
        else (keys.DEPLOYMENTS, spec["deploymentRef"]["name"])
    )
    try:
        rested = await client.get(path_of(resource, namespace, name))
    except NotFound:
        return [f"{resource.singular} {name}: there is none"]
    return [f"{resource.singular} {name}: {state_of(rested)}"]
