"""What two replicas that share the work cost beside one operator: counted, so that it is the same on every machine."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from tests.simulated import timeless
from tests.simulated.api import Api
from tests.simulated.cluster import INLINE, PLURALS, a_cluster, an_operator, at_work, path
from tests.simulated.store import Change

SHARDS = 8
RUNS = 60
SLOTS = 100
TEAMS = tuple(f"team-{number}" for number in range(8))
QUIET_S = 60.0
"""All that was created has been looked at, and what was done is told."""


async def a_story(*, shards: int) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Requests by verb and kind while all runs end at once, through a limit with room for all; and how many runs each replica settled."""
    cluster = a_cluster()
    for team in TEAMS:
        cluster.store.create(PLURALS["Namespace"], "", {"metadata": {"name": team}}, agent="tests")
        await cluster.make("Flow", "load", team, {**INLINE, "limits": [{"name": "db", "slots": 1}]})
    await cluster.make("ConcurrencyLimit", "db", "", {"slots": SLOTS})
    settled: Counter[str] = Counter()
    all_ended = asyncio.Event()

    def note(change: Change) -> None:
        if change.kind is PLURALS["FlowRun"] and change.before is not None and change.after is not None:
            was, now = ((each.obj.get("status") or {}).get("phase") for each in (change.before, change.after))
            settled[change.agent] += now == "Succeeded" and was != now
            if settled.total() == RUNS:
                all_ended.set()

    cluster.store.observers.append(note)
    async with AsyncExitStack() as stack:
        for identity in ("left", "right")[: 2 if shards > 1 else 1]:
            await stack.enter_async_context(at_work(an_operator(cluster, identity=identity, shards=shards)))
        await asyncio.sleep(QUIET_S)
        requests = _counted(cluster.api)
        for number in range(RUNS):
            body = {"metadata": {"name": f"run-{number}"}, "spec": {"flowRef": {"name": "load"}}}
            await cluster.client().create(path("FlowRun", TEAMS[number % len(TEAMS)]), body)
        await all_ended.wait()
    return requests, settled


def _counted(api: Api) -> Counter[tuple[str, str]]:
    """What is asked from now on, by verb and kind, Leases that hold no slot left out."""
    requests: Counter[tuple[str, str]] = Counter()
    answer = api.answer

    def counted(method: str, path: str, *args: Any, **more: Any) -> bytes:
        if "/leases/headrace-operator" not in path:
            requests[method, api.target(path).kind.kind] += 1
        return answer(method, path, *args, **more)

    api.answer = counted  # type: ignore[method-assign]
    return requests


def test_two_replicas_that_share_a_limit_ask_no_more_than_one() -> None:
    """No slot is reached for by two shards, be they of one replica or of both; each replica has its part of the runs."""
    alone, _ = timeless.run(a_story(shards=1))
    shared, settled = timeless.run(a_story(shards=SHARDS))
    for requests in (alone, shared):
        assert requests["POST", "Pod"] == RUNS
        assert requests["GET", "Lease"] == 0
        assert RUNS < requests["PATCH", "Lease"] <= 2 * RUNS
    assert shared["PATCH", "FlowRun"] <= alone["PATCH", "FlowRun"] + RUNS // 10
    assert len(+settled) == 2
