"""Who leads, on a Lease in memory and a clock that the test turns."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from typing import Any

import jsonpatch
import orjson
import pytest

from headrace.kubeapi.errors import AlreadyExists, Conflict, Invalid, NotFound, Unreachable
from headrace_operator.errors import LeadershipLostError
from headrace_operator.leadership import Leadership, Timing
from tests.builders import NOW

LEASE_S = 12.0


class TurnedLoop(asyncio.SelectorEventLoop):
    """Time passes when everybody sleeps, and at once."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def _run_once(self) -> None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        if not self._ready and scheduled:  # type: ignore[attr-defined]
            self.now_s = max(self.now_s, scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


class Api:
    """
    One Lease, with the answers of an API server.

    `down` refuses every request; a watch is told nothing while `deaf`; a patch takes `slow_s`, or its time if that is less.
    """

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.down = False
        self.deaf = False
        self.slow_s = 0.0
        self.requests = 0
        self._watchers: list[asyncio.Queue[bytes]] = []

    def store(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"] |= {"resourceVersion": str(self.version), "uid": "u"}
        for watcher in () if self.deaf else self._watchers:
            watcher.put_nowait(orjson.dumps({"type": "MODIFIED", "object": self.lease}) + b"\n")
        return copy.deepcopy(self.lease)

    def delete(self) -> None:
        """As somebody does by hand."""
        for watcher in self._watchers:
            watcher.put_nowait(orjson.dumps({"type": "DELETED", "object": self.lease}) + b"\n")
        self.lease = None

    def existing(self) -> dict[str, Any]:
        if self.down:
            raise Unreachable(0, "Unreachable", "no route to host")
        if self.lease is None:
            raise NotFound(404, "NotFound", "no such lease")
        return copy.deepcopy(self.lease)

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])

    # As KubeClient has them
    async def pages(self, _path: str, _params: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
        items = [self.existing()] if self.lease else []
        yield {
            "kind": "LeaseList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(self.version)},
            "items": items,
        }

    async def raw_lines(self, _path: str, _params: dict[str, str], **_: Any) -> AsyncIterator[bytes]:
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers.append(lines)
        try:
            while True:
                yield await lines.get()
        finally:
            self._watchers.remove(lines)

    async def create(self, _path: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        if self.lease is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        return self.store(body)

    async def request(self, method: str, _path: str, *, body: dict[str, Any] | None = None, **_: Any) -> dict[str, Any]:
        self.requests += 1
        if method == "GET" or body is None:
            return self.existing()
        if self.existing()["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "it has changed")
        return self.store(body)

    async def patch(self, _path: str, body: list[dict[str, Any]], *, timeout_s: float, **_: Any) -> dict[str, Any]:
        await asyncio.sleep(min(self.slow_s, timeout_s))
        if self.slow_s > timeout_s:
            raise Unreachable(0, "Unreachable", "no answer in time")
        try:
            return self.store(jsonpatch.apply_patch(self.existing(), body))
        except jsonpatch.JsonPatchTestFailed as error:
            raise Invalid(422, "Invalid", "test failed") from error


def on_turned_loop(test: Callable[[TurnedLoop], Coroutine[Any, Any, None]]) -> None:
    loop = TurnedLoop()
    try:
        loop.run_until_complete(asyncio.wait_for(test(loop), 1000))
    finally:
        loop.close()


def candidate(api: Api, loop: TurnedLoop, identity: str, *, clock: Callable[[], float] | None = None) -> Leadership:
    return Leadership(
        api,  # type: ignore[arg-type]
        ("headrace-system", "headrace-operator"),
        identity,
        timing=Timing(LEASE_S, lambda: NOW + timedelta(seconds=loop.time()), clock or loop.time),
    )


def test_the_first_one_leads_and_the_second_stands_by_as_long_as_it_renews() -> None:
    """However long that is."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        first, second = candidate(api, loop, "first"), candidate(api, loop, "second")
        await first.acquire()
        keeping, waiting = asyncio.create_task(first.keep()), asyncio.create_task(second.acquire())
        await asyncio.sleep(10 * LEASE_S)
        assert first.leads
        assert not waiting.done()
        keeping.cancel()
        waiting.cancel()

    on_turned_loop(story)


def test_a_leader_that_falls_silent_is_followed_after_its_lease_and_never_before() -> None:
    """Counted from when the other one saw its last renewal."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        first, second = candidate(api, loop, "first"), candidate(api, loop, "second")
        await first.acquire()
        silent_since = loop.time()
        await second.acquire()
        assert LEASE_S <= loop.time() - silent_since <= LEASE_S + 4
        assert api.holder == "second"
        assert api.lease is not None
        assert api.lease["spec"]["leaseTransitions"] == 1

    on_turned_loop(story)


@pytest.mark.parametrize("after_s", [0.0, LEASE_S / 2 - 0.1])
def test_writes_begin_within_half_a_lease_of_the_last_renewal(after_s: float) -> None:
    async def story(loop: TurnedLoop) -> None:
        leader = candidate(Api(), loop, "first")
        await leader.acquire()
        await asyncio.sleep(after_s)
        leader.fence()

    on_turned_loop(story)


def test_no_write_begins_later_so_that_the_last_one_ends_before_another_may_lead() -> None:
    """A process that was stopped finds the fence closed when it wakes."""

    async def story(loop: TurnedLoop) -> None:
        leader = candidate(Api(), loop, "first")
        await leader.acquire()
        await asyncio.sleep(LEASE_S / 2)
        with pytest.raises(LeadershipLostError):
            leader.fence()
        assert LEASE_S / 2 + leader.write_timeout_s < LEASE_S

    on_turned_loop(story)


def test_a_leader_that_cannot_renew_ends_before_another_may_lead() -> None:
    """The API is out of reach for it alone."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        leader = candidate(api, loop, "first")
        await leader.acquire()
        api.down = True
        began = loop.time()
        with pytest.RaisesGroup(LeadershipLostError):
            await leader.keep()
        assert loop.time() - began < LEASE_S

    on_turned_loop(story)


def test_a_fault_of_the_api_that_passes_is_survived() -> None:
    async def story(loop: TurnedLoop) -> None:
        api = Api()
        leader = candidate(api, loop, "first")
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(LEASE_S / 6 - 1)
        api.down = True
        await asyncio.sleep(LEASE_S / 6)
        api.down = False
        await asyncio.sleep(3 * LEASE_S)
        assert leader.leads
        keeping.cancel()

    on_turned_loop(story)


@pytest.mark.parametrize("slow_s", [LEASE_S / 12, LEASE_S / 5, LEASE_S / 3 - 0.1])
def test_a_slow_api_server_ends_nobody(slow_s: float) -> None:
    """As long as each answer takes less than a third of the lease: the next renewal does not wait for the one before."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        leader = candidate(api, loop, "first")
        await leader.acquire()
        api.slow_s = slow_s
        keeping = asyncio.create_task(leader.keep())
        for _ in range(100):
            await asyncio.sleep(LEASE_S / 10)
            leader.fence()
        keeping.cancel()

    on_turned_loop(story)


def test_an_api_server_that_is_slower_ends_the_leader_in_time() -> None:
    """Before another one may lead, and before any renewal has its answer."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        leader = candidate(api, loop, "first")
        await leader.acquire()
        api.slow_s = LEASE_S / 3 + 0.1
        with pytest.RaisesGroup(LeadershipLostError):
            await leader.keep()
        assert LEASE_S / 2 <= loop.time() < LEASE_S

    on_turned_loop(story)


@pytest.mark.parametrize("slow_s", [0.0, LEASE_S / 12, LEASE_S / 4])
def test_renewals_are_six_a_lease(slow_s: float) -> None:
    """However fast or slow they are answered."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        leader = candidate(api, loop, "first")
        await leader.acquire()
        api.slow_s, before = slow_s, api.version
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(10 * LEASE_S)
        keeping.cancel()
        assert 57 <= api.version - before <= 60

    on_turned_loop(story)


def test_a_leader_whose_lease_was_taken_writes_nothing_more() -> None:
    """It learns it at its next renewal, whatever its own clock says."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        slow = candidate(api, loop, "first", clock=lambda: 0.0)
        await slow.acquire()
        await candidate(api, loop, "second").acquire()
        with pytest.RaisesGroup(LeadershipLostError):
            await slow.keep()
        assert not slow.leads
        await slow.release()
        assert api.holder == "second"

    on_turned_loop(story)


def test_a_lease_that_is_given_back_is_taken_at_once() -> None:
    """And the one that gave it back writes nothing more."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        first, second = candidate(api, loop, "first"), candidate(api, loop, "second")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        await first.release()
        given_back = loop.time()
        await waiting
        assert loop.time() == given_back
        assert not first.leads

    on_turned_loop(story)


def test_one_that_stands_by_watches_and_asks_for_nothing_while_the_leader_renews() -> None:
    """A request each renewal would be polling by another name."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        first, second = candidate(api, loop, "first"), candidate(api, loop, "second")
        await first.acquire()
        keeping, waiting = asyncio.create_task(first.keep()), asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        before = api.requests
        await asyncio.sleep(10 * LEASE_S)
        assert api.requests == before
        keeping.cancel()
        waiting.cancel()

    on_turned_loop(story)


def test_one_whose_watch_hears_nothing_does_not_take_a_lease_that_is_renewed() -> None:
    """What looks unchanged is read before it is taken, and its time begins anew if it has changed."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        first, second = candidate(api, loop, "first"), candidate(api, loop, "second")
        await first.acquire()
        keeping, waiting = asyncio.create_task(first.keep()), asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        api.deaf = True
        await asyncio.sleep(10 * LEASE_S)
        assert api.holder == "first"
        keeping.cancel()
        waiting.cancel()

    on_turned_loop(story)


def test_one_that_slept_through_its_lease_does_not_renew_it_though_it_is_its_own_still() -> None:
    """Its lease may have been another one's meanwhile, and what was decided before is old."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        asleep = [0.0]
        leader = candidate(api, loop, "first", clock=lambda: loop.time() + asleep[0])
        await leader.acquire()
        keeping = asyncio.create_task(leader.keep())
        await asyncio.sleep(1)
        asleep[0] = 2 * LEASE_S
        version = api.version
        with pytest.RaisesGroup(LeadershipLostError):
            await keeping
        assert api.version == version

    on_turned_loop(story)


def test_its_own_successor_need_not_wait() -> None:
    """A container that is started anew in its pod has the identity of the one before, which is over."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        await candidate(api, loop, "same").acquire()
        await candidate(api, loop, "same").acquire()
        assert loop.time() == 0

    on_turned_loop(story)


def test_of_two_that_ask_at_the_same_instant_one_leads() -> None:
    """The API server takes one change of each version."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        both = [candidate(api, loop, name) for name in ("first", "second")]
        tasks = [asyncio.create_task(one.acquire()) for one in both]
        await asyncio.sleep(1)
        assert [one.leads for one in both].count(True) == 1
        for task in tasks:
            task.cancel()

    on_turned_loop(story)


def test_a_lease_that_somebody_deletes_is_not_made_anew_while_its_holder_may_believe_in_it() -> None:
    """Else both would write until the holder renews."""

    async def story(loop: TurnedLoop) -> None:
        api = Api()
        first, second = candidate(api, loop, "first"), candidate(api, loop, "second")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        api.delete()
        deleted_s = loop.time()
        await waiting
        assert loop.time() - deleted_s >= LEASE_S
        assert not first.leads

    on_turned_loop(story)


def test_a_release_that_comes_late_does_not_end_the_next_term_of_the_same_one() -> None:
    """A container that was started anew leads already when the word of the one before arrives."""

    async def story(loop: TurnedLoop) -> None:
        api, late = Api(), []
        before = candidate(api, loop, "same")
        await before.acquire()

        async def held_up(_path: str, body: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
            late.append(body)
            raise Unreachable(0, "Unreachable", "no answer")

        patch, api.patch = api.patch, held_up  # type: ignore[method-assign]
        await before.release()
        await asyncio.sleep(1)
        await candidate(api, loop, "same").acquire()
        with pytest.raises(Invalid):
            await patch("", late[0], timeout_s=1)
        assert api.holder == "same"

    on_turned_loop(story)
