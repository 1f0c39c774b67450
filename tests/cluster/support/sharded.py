"""Replicas that share shards, as the API tells of them, and what must never happen among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from headrace.kubeapi.client import KubeClient
from headrace.slots import holder_of
from headrace_operator.decide.sharding import shard_of
from headrace_operator.manifests.shard import SHARD, shard_index
from tests.cluster.support.audit import LeaderState, Request
from tests.cluster.support.violations import Waking


async def holders(client: KubeClient, home: str) -> dict[int, str]:
    """Who holds each shard that somebody holds."""
    leases = await client.list(f"/apis/coordination.k8s.io/v1/namespaces/{home}/leases")
    found = {shard_index(lease["metadata"]["name"]): holder_of(lease) for lease in leases}
    return {shard: holder for shard, holder in found.items() if shard is not None and holder}


async def held(client: KubeClient, home: str) -> Counter[str]:
    """How many shards each replica holds."""
    return Counter((await holders(client, home)).values())


async def are_spread(client: KubeClient, home: str, count: int, over: Iterable[str]) -> bool:
    """Whether these replicas, and nobody else, hold all shards, as evenly as can be."""
    found, replicas = await held(client, home), set(over)
    return found.total() == count and set(found) == replicas and max(found.values()) - min(found.values()) <= 1


def written_for_others(requests: Iterable[Request], count: int, home: str, wakings: Iterable[Waking] = ()) -> list[str]:
    """Writes to objects of a namespace whose shard the operator did not hold."""
    holder: dict[int, str] = {}
    found, woken = [], list(wakings)
    for request in requests:
        shard = shard_index(request.name) if request.name.startswith(SHARD) else None
        if shard is not None and isinstance(request.state, LeaderState):
            holder[shard] = request.state.identity
        is_of_a_shard = request.operator and request.took_effect and request.namespace not in {"", home}
        if not is_of_a_shard:
            continue
        shard = shard_of(request.namespace, count)
        if holder.get(shard) != request.operator and not any(each.lets_out(request) for each in woken):
            what = f"{request.verb} {request.resource} {request.namespace}/{request.name}"
            found.append(
                f"{request.operator} wrote at {request.order:.1f} while {holder.get(shard)} held {shard}: {what}"
            )
    return found


def moves(requests: Iterable[Request]) -> Mapping[int, int]:
    """How often each shard was taken."""
    found: Counter[int] = Counter()
    for request in requests:
        shard = shard_index(request.name) if request.name.startswith(SHARD) else None
        if shard is not None and isinstance(request.state, LeaderState) and request.state.identity:
            found[shard] += 1
    return found
