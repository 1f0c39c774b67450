"""Shards that book the capacity of a pool, on an API in memory: what each board may launch, whatever becomes of the writes."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.api.keys import BOOKINGS_ANNOTATION
from headrace.kubeapi.errors import ApiError
from headrace_operator.decide.reservations import RUNS, Appetite, Booking
from headrace_operator.decide.sharding import Share
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers import room
from headrace_operator.kube.resources import LEASES
from headrace_operator.manifests.room import booking, bookings_of, new_room, room_name
from headrace_operator.observe.rooms import Rooms
from headrace_operator.observe.tallies import PoolTally, Tallies
from tests.builders import NOW
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.leases import SYSTEM, Died, Faulty

POOL = ObjectKey("", "gpu")
CAPACITY = {RUNS: Decimal(4)}


class Quiet:
    """Nobody works here: keys that are woken stay."""

    def add(self, key: Any, after_s: float = 0.0) -> None:
        return None

    def add_behind(self, key: Any, *, gives_way: bool = False) -> None:
        return None


class Shard:
    """One shard's gate, as far as bookings go."""

    def __init__(self, cluster: Any, index: int, count: int = 2, term: int = 0) -> None:
        self.rooms = Rooms(Share(index, count, term), Quiet())
        self.allowed = 0
        self.used = 0
        self.wanted = 0
        parts = SimpleNamespace(operator_namespace=SYSTEM)
        self.context: Any = SimpleNamespace(
            gate=self, cluster=cluster, settings=parts, clock=lambda: NOW, share=Share(index, count)
        )

    def capacity(self, _pool: str) -> Any:
        return CAPACITY

    def appetite(self, _pool: str) -> Appetite:
        return Appetite({RUNS: Decimal(self.used)}, {RUNS: Decimal(self.wanted)}, {RUNS: Decimal(1)})

    def allow(self, _pool: str, extent: Any, *, may_grow: bool = False) -> None:
        self.allowed = int(extent.get(RUNS, 0))

    async def books(self) -> None:
        while await room.reconcile(self.context, POOL) is not None:
            pass

    def launches(self) -> None:
        begun = max(0, min(self.wanted, self.allowed - self.used))
        self.used, self.wanted = self.used + begun, self.wanted - begun


async def test_two_shards_share_a_pool_and_never_exceed_it() -> None:
    """The second one has its turn as soon as something comes free."""
    cluster = FakeCluster()
    first, second = Shard(cluster, 0), Shard(cluster, 1)
    await second.books()
    first.wanted = second.wanted = 6
    await first.books()
    first.launches()
    assert first.used == 4
    await second.books()
    assert second.allowed == 0
    first.used -= 1
    first.rooms.answered(cluster.all(LEASES)[0])
    await first.books()
    assert first.allowed == 3
    second.rooms.answered(cluster.all(LEASES)[0])
    await second.books()
    second.launches()
    assert (first.used, second.used) == (3, 1)


async def test_an_idle_shard_writes_nothing() -> None:
    cluster = FakeCluster()
    first, second = Shard(cluster, 0), Shard(cluster, 1)
    await first.books()
    await second.books()
    before = len(cluster.requests)
    first.rooms.answered(cluster.all(LEASES)[0])
    await first.books()
    await second.books()
    assert len(cluster.requests) == before


async def test_what_a_watch_tells_of_its_own_booking_is_not_believed() -> None:
    """Its former holder may have given it back since."""
    cluster = FakeCluster()
    first, second = Shard(cluster, 0), Shard(cluster, 1)
    await second.books()
    first.wanted = 3
    await first.books()
    late = cluster.all(LEASES)[0]
    first.wanted = 0
    second.wanted = 4
    await second.books()
    first.rooms.answered(cluster.all(LEASES)[0])
    await first.books()
    successor = Shard(cluster, 0)
    successor.rooms.seen(late)
    await successor.books()
    assert successor.allowed == 0


@pytest.mark.parametrize("fault", ["before", "after", "unheard"])
@pytest.mark.parametrize("at", range(4))
async def test_a_booking_may_be_lost_or_its_writer_killed(at: int, fault: str) -> None:
    """The next holder of the shard finds what was booked, and both together never have more than there is."""
    cluster = FakeCluster()
    faulty = Faulty(cluster, at, fault)
    shards = [Shard(faulty, 0), Shard(faulty, 1)]
    for turn in range(12):
        index = turn % 2
        shards[index].wanted = max(shards[index].wanted, 3)
        try:
            await shards[index].books()
        except Died:
            pods = shards[index].used
            shards[index] = Shard(faulty, index)
            shards[index].used = pods
        except ApiError:
            pass
        shards[index].launches()
        assert sum(shard.used for shard in shards) <= 4
        for shard in shards:
            for lease in cluster.all(LEASES):
                shard.rooms.seen(lease)
    assert sum(shard.used for shard in shards) == 4


def test_bookings_survive_their_way_through_a_lease() -> None:
    booked = {"0-of-2": Booking({RUNS: Decimal(3), "cpu": Decimal("0.25")}, wants=True, hungry_since_ms=7)}
    lease = new_room("gpu", booked)
    assert lease["metadata"]["name"] == room_name("gpu")
    assert bookings_of(lease) == booked
    assert booking(5, booked)["metadata"]["resourceVersion"] == "5"


@pytest.mark.parametrize("text", ["", "none", "[]", '{"0-of-2": 3}', '{"0-of-2": {"room": {"runs": "x"}}}'])
def test_bookings_that_cannot_be_read_are_none(text: str) -> None:
    """Nobody books more than is in use until each shard has told it anew."""
    assert bookings_of({"metadata": {"annotations": {BOOKINGS_ANNOTATION: text}}}) == {}


def test_counts_of_other_shards_are_added_up_and_told_once() -> None:
    tallies = Tallies()
    first = '{"pools":{"gpu":{"active":2,"requested":{"cpu":"1.5"}}},"limits":{"db":3}}'
    assert tallies.tell(1, first)
    assert not tallies.tell(1, first)
    assert tallies.tell(2, '{"pools":{"gpu":{"active":1,"queued":4}}}')
    assert tallies.tell(3, "broken")
    gpu = tallies.pool("gpu")
    assert (gpu.active, gpu.queued) == (3, 4)
    assert gpu.amounts == (("cpu", gpu.requested["cpu"]),)
    assert tallies.waiting_for_limit("db") == 3
    assert tallies.pool("none") == PoolTally()


async def test_what_was_booked_before_another_number_of_shards_was_in_use_does_not_count() -> None:
    """Runs were launched in between, and no booking tells of them."""
    cluster = FakeCluster()
    for index in (0, 1):
        await Shard(cluster, index).books()
    first, second = Shard(cluster, 0, term=2), Shard(cluster, 1, term=2)
    first.wanted, second.used = 4, 4
    await first.books()
    first.launches()
    assert first.used == 0
    await second.books()
    first.rooms.answered(cluster.all(LEASES)[0])
    await first.books()
    first.launches()
    assert first.used == 0
    assert set(bookings_of(cluster.all(LEASES)[0])) == {"0-of-2.2", "1-of-2.2"}
