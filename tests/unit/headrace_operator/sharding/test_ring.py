"""Replicas and their Leases, on an API in memory: who holds what after each fault, and that nobody takes from the living."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from typing import Any

import jsonpatch
import pytest

from headrace.kubeapi.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound, Unreachable
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.shard_spread import Give, Take
from headrace_operator.errors import LeadershipLostError
from headrace_operator.leadership import Timing
from headrace_operator.manifests.shard import giving_up, member_name, shard_index, shard_name
from headrace_operator.observe.tallies import load_told, tally
from headrace_operator.sharding.operator import Gauge
from headrace_operator.sharding.ring import Ring
from tests.builders import NOW

LEASE_S = 12.0
COUNT = 4
STEPS = 60


class Api:
    """Leases, with the answers of an API server. `fault` says what becomes of the write with the number `at`, from 0."""

    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.writes = 0
        self.at = -1
        self.fault = ""

    def existing(self, path: str) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if name not in self.leases:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(self.leases[name])

    def store(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        stored = copy.deepcopy(lease)
        stored["metadata"] |= {"resourceVersion": str(self.version)}
        stored["metadata"].setdefault("uid", f"uid-{self.version}")
        self.leases[stored["metadata"]["name"]] = stored
        return copy.deepcopy(stored)

    def holder(self, shard: int) -> str:
        return str(self.leases[shard_name(shard)]["spec"]["holderIdentity"])

    def _written(self, write: Callable[[], Any]) -> Any:
        number, self.writes = self.writes, self.writes + 1
        if number == self.at and self.fault == "refused":
            raise Unreachable(0, "Unreachable", "no route to host")
        answer = write()
        if number == self.at and self.fault == "unheard":
            raise Unreachable(0, "Unreachable", "the connection was reset")
        return answer

    # As KubeClient has them
    async def create(self, _path: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        if body["metadata"]["name"] in self.leases:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        created: dict[str, Any] = self._written(lambda: self.store(body))
        return created

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> dict[str, Any]:
        if method == "GET":
            return self.existing(path)
        if self.existing(path)["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "it has changed")
        put: dict[str, Any] = self._written(lambda: self.store(body))
        return put

    async def patch(self, path: str, body: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        try:
            patched = jsonpatch.apply_patch(self.existing(path), body)
        except jsonpatch.JsonPatchTestFailed as error:
            raise Invalid(422, "Invalid", "test failed") from error
        stored: dict[str, Any] = self._written(lambda: self.store(patched))
        return stored

    async def delete(self, path: str, *, uid: str, version: int, **_: Any) -> None:
        lease = self.existing(path)["metadata"]
        if (lease["uid"], lease["resourceVersion"]) != (uid, str(version)):
            raise Conflict(409, "Conflict", "it has changed")
        self._written(lambda: self.leases.pop(lease["name"]))


class Story:
    """Replicas on one API, and a clock that the test turns."""

    def __init__(self) -> None:
        self.api = Api()
        self.now_s = 1000.0
        self.rings: dict[str, Ring] = {}

    def ring(self, name: str, count: int = COUNT) -> Ring:
        timing = Timing(LEASE_S, lambda: NOW, lambda: self.now_s)
        made = Ring(self.api, ("headrace-system", "headrace-operator"), name, count=count, timing=timing)  # type: ignore[arg-type]
        self.rings[name] = made
        return made

    async def joins(self, name: str) -> Ring:
        ring = self.ring(name)
        writes, self.api.writes = self.api.writes, -STEPS  # faults are not for these: test_leadership.py has them
        await ring.join()
        self.api.writes = writes
        self.hears()
        return ring

    def hears(self, *names: str) -> None:
        """Their watches tell them all."""
        for name in names or self.rings:
            for lease in self.api.leases.values():
                self.rings[name].seen.seen(lease)
            self.rings[name].seen.synced(
                {lease["metadata"]["uid"] for lease in self.api.leases.values()}, self.api.version
            )

    async def renew(self, *names: str) -> None:
        for name in names or self.rings:
            for lease in (self.rings[name].number, self.rings[name].member):
                assert await lease._renew()
        self.hears()

    async def move(self, name: str) -> bool:
        """One step of a replica, as the operator takes them. Whether there was one."""
        ring = self.rings[name]
        if await ring.bury():
            return True
        match ring.spread().step():
            case Take(shard):
                await ring.take(shard)
                return True
            case Give(shard):
                await ring.give(shard)
                return True
        for shard in ring.strays():
            await ring.give(shard)
            return True
        return False

    async def settle(self, *names: str) -> None:
        """They move until none of them has anything to do; a fault of the API is tried again."""
        for _ in range(STEPS):
            moved = False
            for name in names or list(self.rings):
                try:
                    moved |= await self.move(name)
                except ApiError:
                    moved = True
                self.hears()
            if not moved:
                return
        raise AssertionError("they do not come to rest")

    def held(self) -> dict[str, list[int]]:
        """By the API server's word; and each replica knows of its own."""
        found: dict[str, list[int]] = {name: [] for name in self.rings}
        for name in sorted(self.api.leases):
            shard = shard_index(name)
            if shard is not None:
                found.setdefault(self.api.holder(shard), []).append(shard)
        for name, ring in self.rings.items():
            assert sorted(ring.held) == found[name]
        return found


def played(story: Callable[[Story], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story(Story()))


def test_one_takes_all_and_a_second_one_gets_half() -> None:
    async def story(play: Story) -> None:
        await play.joins("a")
        await play.settle()
        assert play.held() == {"a": [0, 1, 2, 3]}
        await play.joins("b")
        await play.settle()
        assert sorted(map(len, play.held().values())) == [2, 2]

    played(story)


def test_a_replica_with_heavy_shards_gives_of_them_and_their_load_is_known_to_the_next_holder() -> None:
    """Told by the holder in the shard's Lease, where it stays when the shard changes hands."""

    async def story(play: Story) -> None:
        await play.joins("a")
        await play.joins("b")
        await play.settle()
        heavy = play.held()["a"]
        for shard in heavy:
            await play.rings["a"].tell(shard, tally(Board(), [], [], load=40))
        play.hears()
        await play.settle()
        assert all(len(set(heavy) & set(shards)) == 1 for shards in play.held().values())
        assert all(load_told(play.rings["b"].told()[shard]) == 40 for shard in heavy)

    played(story)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "{", '{"load":"much"}', '{"load":-3}', '{"load":NaN}', '{"load":1e999}']
)
def test_a_load_that_cannot_be_read_is_none(text: str) -> None:
    assert load_told(text) == 0


def test_a_gauge_goes_on_with_what_the_former_holder_told() -> None:
    """Or a shard that was given for its load would weigh nothing at once, and come back."""
    gauge = Gauge(40, 100.0)
    assert gauge.read(0, 100.0) == 40
    assert gauge.read(200, 105.0) == 40
    assert gauge.read(200, 2000.0) == 0


def test_the_shards_of_one_that_is_silent_are_taken_after_its_lease_and_never_before() -> None:
    async def story(play: Story) -> None:
        await play.joins("a")
        await play.settle()
        await play.joins("b")
        await play.settle()
        for _ in range(2):
            play.now_s += LEASE_S / 3
            await play.renew("b")
            await play.settle("b")
        assert len(play.rings["b"].held) == 2
        play.now_s += LEASE_S / 3
        await play.renew("b")
        await play.settle("b")
        assert sorted(play.rings["b"].held) == [0, 1, 2, 3]
        assert not play.rings["a"].is_alive

    played(story)


def test_one_that_was_given_up_cannot_renew_and_writes_nothing() -> None:
    """Whatever its own clock says."""

    async def story(play: Story) -> None:
        await play.joins("a")
        await play.settle()
        await play.joins("b")
        play.rings["b"]._monotonic = lambda: play.now_s + 2 * LEASE_S
        await play.settle("b")
        with pytest.raises(LeadershipLostError):
            await play.rings["a"].member._renew()
        with pytest.raises(LeadershipLostError):
            play.rings["a"].fence(0)

    played(story)


def test_one_with_a_broken_watch_takes_nothing_from_the_living() -> None:
    """To it they look silent; their Leases have other versions."""

    async def story(play: Story) -> None:
        await play.joins("a")
        await play.settle()
        deaf = await play.joins("b")
        for _ in range(6):
            play.now_s += LEASE_S / 3
            for ring in play.rings.values():
                await ring.number._renew()
                await ring.member._renew()
        assert await deaf.bury()
        assert play.api.leases[member_name("a")]["spec"]["holderIdentity"] == "a"
        for shard in range(COUNT):
            assert not await deaf.take(shard)
        assert sorted(play.rings["a"].held) == [0, 1, 2, 3]

    played(story)


def test_one_that_is_started_anew_under_its_old_name_is_not_robbed() -> None:
    """Another one saw its predecessor dead, and comes late."""

    async def story(play: Story) -> None:
        await play.joins("a")
        await play.settle()
        late = await play.joins("b")
        play.now_s += 2 * LEASE_S
        await late.number.acquire()
        await late.member.acquire()
        assert await late.bury()
        again = await play.joins("a")
        await again.take(0)
        assert not await late.take(0)
        assert again.held == {0}

    played(story)


def test_who_leaves_leaves_at_once_and_its_lease_is_swept_away() -> None:
    async def story(play: Story) -> None:
        first = await play.joins("a")
        await play.joins("b")
        await play.settle()
        for shard in list(first.held):
            await first.give(shard)
        await first.leave()
        del play.rings["a"]
        play.hears()
        await play.settle()
        assert play.held() == {"b": [0, 1, 2, 3]}
        await play.rings["b"].sweep()
        assert member_name("a") not in play.api.leases

    played(story)


def test_another_number_of_shards_waits_until_the_old_one_is_gone() -> None:
    """Two hashes never work at once."""

    async def story(play: Story) -> None:
        await play.joins("a")
        await play.settle()
        other = play.ring("b", count=8)
        assert not await other.number._try()
        play.now_s += LEASE_S
        assert await other.number._try()
        assert not play.rings["a"].is_alive

    played(story)


def test_a_shard_whose_lease_was_edited_is_known_to_be_lost() -> None:
    async def story(play: Story) -> None:
        ring = await play.joins("a")
        await play.settle()
        edited = play.api.existing(shard_name(2))
        edited["spec"]["holderIdentity"] = "somebody"
        play.api.store(edited)
        play.hears()
        assert ring.lost() == [2]

    played(story)


@pytest.mark.parametrize("fault", ["refused", "unheard"])
@pytest.mark.parametrize("at", range(14))
def test_any_write_may_fail_or_lose_its_answer(at: int, fault: str) -> None:
    """One joins, another one joins, the first one dies: in the end the second one holds all, and knows it."""

    async def story(play: Story) -> None:
        await play.joins("a")
        play.api.at, play.api.fault = at + play.api.writes, fault
        await play.settle()
        assert play.held() == {"a": [0, 1, 2, 3]}
        await play.joins("b")
        await play.settle()
        assert sorted(map(len, play.held().values())) == [2, 2]
        del play.rings["a"]
        for _ in range(4):
            play.now_s += LEASE_S / 3
            await play.rings["b"].number.acquire()
            await play.rings["b"].member.acquire()
            play.hears()
            await play.settle()
        assert play.held()["b"] == [0, 1, 2, 3]

    played(story)


def test_a_give_back_that_comes_late_frees_no_shard_that_was_taken_anew() -> None:
    """Its answer never came, the shard was taken again, and only then does it reach the API server."""

    async def story(play: Story) -> None:
        ring = await play.joins("a")
        await ring.take(0)
        late = giving_up("a", play.api.existing(shard_name(0)))
        await ring.give(0)
        await ring.take(0)
        with pytest.raises(Invalid):
            await play.api.patch(shard_name(0), late)
        assert play.api.holder(0) == "a"

    played(story)


def test_a_shard_whose_lease_was_deleted_is_let_go_of_and_taken_by_others_a_lease_later() -> None:
    """Its holder may not know yet."""

    async def story(play: Story) -> None:
        first = await play.joins("a")
        second = await play.joins("b")
        await play.settle()
        shard = min(first.held)
        del play.api.leases[shard_name(shard)]
        play.hears()
        assert first.lost() == [shard]
        assert second.spread().holders[shard] == "a"
        assert 0 < second.next_change_s() <= LEASE_S
        first.held.discard(shard)
        for _ in range(3):
            assert second.spread().step() is None
            play.now_s += LEASE_S / 3
            await play.renew()
        assert second.spread().holders[shard] == ""
        await play.settle()
        assert sorted(map(len, play.held().values())) == [2, 2]

    played(story)


def test_a_shard_whose_lease_is_gone_has_nothing_to_give_back() -> None:
    async def story(play: Story) -> None:
        ring = await play.joins("a")
        await ring.take(1)
        del play.api.leases[shard_name(1)]
        play.hears()
        await ring.give(1)
        assert ring.held == set()
        assert shard_name(1) not in play.api.leases

    played(story)


def test_replicas_of_one_time_have_one_term_and_those_after_another_number_a_new_one() -> None:
    """By it they know which bookings of pools are out of date."""

    async def story(play: Story) -> None:
        first, second = await play.joins("a"), await play.joins("b")
        assert first.number.term == second.number.term
        others, again = play.ring("c", count=8), play.ring("d")
        for ring in (others, again):
            assert not await ring.number._try()
            play.now_s += LEASE_S
            assert await ring.number._try()
        assert again.number.term > first.number.term

    played(story)
