"""Every kind of fault that the operator must live through, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tests.simulated.faults import Faults
from tests.simulated.replica import Replica
from tests.simulated.suite import Scene, Trial

LOST_PODS = 0.5
"""Share of the looks at which a pod goes."""
MOST_LOST = 20
"""Attempts of one run that vanish."""
NODE_AWAY_S = (2.0, 12.0)
"""Around the time after which the pods of a node that does not answer are deleted, so that both comes about."""
JUMP_S = 3600.0
HELD_UP = Faults(slow=0.7, slow_s=6.0, lost=0.2)
"""Most renewals are lost or too late, and most writes are on their way until their time is up."""
SHARDS = 6
LOOK_S = 0.001
"""Between two looks at who writes."""
STOPPED_S = (1.0, 9.0)
"""Around the length of a lease."""


async def vanish(scene: Scene) -> None:
    """Pods are removed by force, one now and then."""
    while True:
        await asyncio.sleep(scene.dice.uniform(0.05, 0.5))
        # A run that lost many is spared: it has its number of retries, and is given up rightly after them.
        live = [key for key in scene.cluster.nodes.live() if int(key[1].rpartition("-")[2]) <= MOST_LOST]
        if live and scene.dice.random() < LOST_PODS:
            scene.replicas[0].blows += 1
            scene.cluster.nodes.vanish(scene.dice.choice(live))


async def lose_nodes(scene: Scene) -> None:
    """One node after another does not answer for a while; every other one comes back, the rest are gone for good."""
    nodes = scene.cluster.nodes
    while True:
        await asyncio.sleep(scene.dice.uniform(0.3, 2))
        name = scene.dice.choice(nodes.names)
        scene.replicas[0].blows += 1
        nodes.lose(name)
        try:
            await asyncio.sleep(scene.dice.uniform(*NODE_AWAY_S))
        finally:
            if scene.dice.random() < 0.5:
                nodes.bring_back(name)
            else:
                nodes.destroy(name)


async def wrong_time(scene: Scene) -> None:
    """The operator's time of day jumps an hour on, an hour back, and is right again."""
    while True:
        for jump_s in (JUMP_S, 0.0, -JUMP_S, 0.0):
            await asyncio.sleep(scene.dice.uniform(0.1, 1))
            for replica in scene.replicas:
                replica.blows += 1
                replica.skew_s = jump_s


async def standing_clock(scene: Scene) -> None:
    """The operator's monotonic clock stands still now and then, as on a machine that cannot tell how long it slept."""
    replica = scene.replicas[0]
    while True:
        await asyncio.sleep(scene.dice.uniform(0.1, 1))
        replica.blows += 1
        replica.stopped_at_s = replica.monotonic()
        await asyncio.sleep(scene.dice.uniform(0.5, 4))
        replica.stopped_at_s = None


async def stop_leaders(scene: Scene) -> None:
    """Whoever leads is stopped, for less or more than its lease, and goes on in the middle of what it was about to do."""
    while True:
        await asyncio.sleep(scene.dice.uniform(0.2, 2))
        leader = await _writing(scene)
        leader.stop()
        try:
            await asyncio.sleep(scene.dice.uniform(*STOPPED_S))
        finally:
            leader.go_on()


async def hold_up_leaders(scene: Scene) -> None:
    """Whoever leads loses its Lease, or nearly, while its writes are held on their way; they arrive when another may lead already."""
    while True:
        await asyncio.sleep(scene.dice.uniform(0.2, 2))
        leader = await _writing(scene)
        leader.hold_up(HELD_UP)
        try:
            await asyncio.sleep(scene.dice.uniform(*STOPPED_S))
        finally:
            leader.let_through()


async def _writing(scene: Scene) -> Replica:
    """A leader that is about to write."""
    while True:
        await asyncio.sleep(LOOK_S)
        for replica in scene.replicas:
            if replica.leads and replica.is_about_to_write:
                return replica


async def kill_leaders(scene: Scene) -> None:
    """Whoever leads is killed."""
    while True:
        await asyncio.sleep(scene.dice.uniform(0.3, 2))
        leader = next((replica for replica in scene.replicas if replica.leads), None)
        if leader is not None:
            leader.kill()


TRIALS: Mapping[str, Trial] = {
    "none": Trial(),
    "delayed": Trial(Faults(slow=0.3)),
    "dropped before it took effect": Trial(Faults(lost=0.1)),
    "dropped after it took effect": Trial(Faults(unanswered=0.1)),
    "answers truncated": Trial(Faults(truncated=0.1)),
    "409": Trial(Faults(conflict=0.1)),
    "410": Trial(Faults(expired=0.5, watch_life_s=2.0, watch_end="expired")),
    "429": Trial(Faults(throttled=0.1)),
    "500 before it took effect": Trial(Faults(broken=0.1)),
    "504 after it took effect": Trial(Faults(disowned=0.1)),
    "watches closed": Trial(Faults(watch_life_s=1.0)),
    "watches cut off within an event": Trial(Faults(watch_life_s=1.0, watch_end="cut")),
    "watches silent": Trial(Faults(watch_life_s=5.0, watch_end="stalled")),
    "events twice": Trial(Faults(repeats=2)),
    "old events again": Trial(Faults(watch_life_s=1.0, replayed=200)),
    "pods vanish": Trial(havoc=vanish),
    "nodes go away": Trial(havoc=lose_nodes),
    "the time of day jumps": Trial(havoc=wrong_time, is_timed=False),
    "the monotonic clock stands still": Trial(havoc=standing_clock, is_timed=False),
    "killed at any request": Trial(Faults(killed=0.01)),
    "leaders killed": Trial(havoc=kill_leaders, replicas=2),
    "leaders stopped while they write": Trial(Faults(slow=0.1), havoc=stop_leaders, replicas=2),
    "leaders' writes held up": Trial(havoc=hold_up_leaders, replicas=2),
    "shards, replicas killed": Trial(havoc=kill_leaders, replicas=2, shards=SHARDS),
    "shards, replicas stopped while they write": Trial(Faults(slow=0.1), havoc=stop_leaders, replicas=2, shards=SHARDS),
    "shards, replicas' writes held up": Trial(havoc=hold_up_leaders, replicas=2, shards=SHARDS),
    "all at once": Trial(
        Faults(
            slow=0.03,
            lost=0.01,
            unanswered=0.01,
            truncated=0.01,
            conflict=0.01,
            throttled=0.01,
            broken=0.01,
            disowned=0.01,
            expired=0.1,
            watch_life_s=10.0,
            watch_end="cut",
            repeats=2,
            replayed=50,
            killed=0.002,
        ),
        havoc=stop_leaders,
        replicas=2,
    ),
}
