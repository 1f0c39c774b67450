"""A queue that has each key worked on by one worker at a time, on a loop whose clock the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_operator.workqueue import LAST_BACKOFF_S, WorkQueue


class TurnedLoop(asyncio.SelectorEventLoop):
    """Its time stands still until `turn`."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    async def turn(self, seconds: float) -> None:
        """Let time pass and everything that is due happen."""
        self.now_s += seconds
        for _ in range(3):
            await asyncio.sleep(0)


Scenario = Callable[["WorkQueue[str]", TurnedLoop], Coroutine[Any, Any, None]]


def played(scenario: Scenario) -> None:
    loop = TurnedLoop()
    queue: WorkQueue[str] = WorkQueue()

    async def play() -> None:
        await scenario(queue, loop)
        queue.close()

    try:
        loop.run_until_complete(play())
    finally:
        loop.close()


async def taken(queue: WorkQueue[str]) -> list[str]:
    """Every key that is ready, worked on and done with."""
    keys = []
    while len(queue):
        keys.append(await queue.get())
        queue.done(keys[-1])
    return keys


def test_keys_are_taken_in_the_order_in_which_they_came() -> None:
    """Each once, however often it was added meanwhile."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        for key in "abab":
            queue.add(key)
        assert len(queue) == 2
        assert await taken(queue) == ["a", "b"]

    played(scenario)


def test_a_key_that_is_added_while_it_is_worked_on_is_ready_again_after_that() -> None:
    """Not before, and once."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.done(key)
        assert await taken(queue) == ["a"]
        assert len(queue) == 0

    played(scenario)


def test_a_worker_waits_for_a_key() -> None:
    """Two of them share what comes."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        workers = [asyncio.ensure_future(queue.get()) for _ in range(2)]
        await loop.turn(0)
        queue.add("a")
        await loop.turn(0)
        assert [worker.done() for worker in workers].count(True) == 1
        queue.add("b")
        await loop.turn(0)
        assert {await worker for worker in workers} == {"a", "b"}

    played(scenario)


def test_a_delayed_key_is_ready_when_its_time_has_come() -> None:
    """It is not counted before."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        queue.add("a", 10)
        await loop.turn(9.9)
        assert len(queue) == 0
        await loop.turn(0.1)
        assert await taken(queue) == ["a"]

    played(scenario)


@pytest.mark.parametrize(
    ("delays", "ready_after_s"),
    [
        pytest.param([10, 3], 3, id="a later word for an earlier instant"),
        pytest.param([3, 10], 3, id="a later instant changes nothing"),
        pytest.param([10, 0], 0, id="at once"),
        pytest.param([0, 10], 0, id="at once, whatever follows"),
    ],
)
def test_the_earliest_of_several_instants_wins(delays: list[float], ready_after_s: float) -> None:
    """And the key is worked on once for it, or once more where it was ready before the other was set."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        for delay_s in delays:
            queue.add("a", delay_s)
        if ready_after_s:
            await loop.turn(ready_after_s - 0.1)
            assert len(queue) == 0
            await loop.turn(0.1)
        assert await taken(queue) == ["a"]
        await loop.turn(100)
        assert await taken(queue) == (["a"] if delays == [0, 10] else [])

    played(scenario)


def test_a_delay_that_ends_while_the_key_is_worked_on_has_it_worked_on_again() -> None:
    """Afterwards."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        queue.add("a")
        await queue.get()
        queue.add("a", 1)
        await loop.turn(1)
        assert len(queue) == 0
        queue.done("a")
        assert await taken(queue) == ["a"]

    played(scenario)


def test_failures_in_a_row_double_the_delay_up_to_its_bound() -> None:
    """A success forgets them; another key has its own."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        delays = [queue.back_off("a") for _ in range(40)]
        assert delays[:4] == [0.05, 0.1, 0.2, 0.4]
        assert set(delays[11:]) == {LAST_BACKOFF_S}
        assert queue.back_off("b") == 0.05
        queue.succeeded("a")
        assert queue.back_off("a") == 0.05

    played(scenario)


def test_a_delay_that_the_api_server_asks_for_is_kept() -> None:
    """Retry-After, where it is longer than ours."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        assert queue.back_off("a", at_least_s=7) == 7
        await loop.turn(6.9)
        assert len(queue) == 0
        await loop.turn(0.1)
        assert await taken(queue) == ["a"]
        assert queue.back_off("a", at_least_s=0.01) == 0.1

    played(scenario)


def test_nothing_is_ready_after_the_end() -> None:
    """Delays are dropped."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        queue.add("a", 1)
        queue.close()
        await loop.turn(2)
        assert len(queue) == 0

    played(scenario)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "delay", "take", "done", "turn"]), st.sampled_from("ab")), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_key_is_lost_and_none_is_worked_on_twice_at_a_time(steps: list[tuple[str, str]]) -> None:
    """A key that was added after it was last taken is taken again in the end."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        working: set[str] = set()
        owed: set[str] = set()
        for what, key in [*steps, *[("done", "a"), ("done", "b"), ("turn", "a")]]:
            if what in {"add", "delay"}:
                queue.add(key, 5 if what == "delay" else 0)
                owed.add(key)
            elif what == "take" and len(queue):
                got = await queue.get()
                assert got not in working
                working.add(got)
                owed.discard(got)
            elif what == "done" and key in working:
                working.discard(key)
                queue.done(key)
            elif what == "turn":
                await loop.turn(5)
        assert owed <= set(await taken(queue))

    played(scenario)


async def test_a_stopped_queue_hands_out_nothing_and_waits_for_what_is_under_way() -> None:
    """Whoever asks for a key waits; the stop is over when the last key is done."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "a"
    stopping, next_key = asyncio.create_task(queue.stop()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not stopping.done()
    queue.done("a")
    await stopping
    assert not next_key.done()
    next_key.cancel()


def test_the_burst_of_one_delays_another_by_one_look() -> None:
    """Ready keys stand in the line of whom they belong to."""

    async def play() -> None:
        queue: WorkQueue[str] = WorkQueue(lambda key: key[0])
        for number in range(1_000):
            queue.add(f"a{number}")
        queue.add("b0")
        assert await queue.get() == "a0"
        assert await queue.get() == "b0"
        queue.close()

    asyncio.run(play())


def test_what_is_added_behind_is_worked_on_beside_what_comes_in() -> None:
    """Once, and once more if it is added while it is worked on."""

    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        for key in ("old", "older", "oldest"):
            queue.add_behind(key)
        queue.add("new")
        first, second = await queue.get(), await queue.get()
        assert {first, second} == {"old", "new"}
        queue.add_behind("old")
        queue.done("new")
        queue.done("old")
        assert sorted(await taken(queue)) == ["old", "older", "oldest"]

    played(scenario)


class Patient(WorkQueue[str]):
    """Counts how often a worker found nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.found_nothing = 0

    async def _idle_until_woken(self) -> None:
        self.found_nothing += 1
        await super()._idle_until_woken()


def test_one_key_wakes_one_worker() -> None:
    """Sixteen that look, find nothing and wait again cost more than the work."""

    async def scenario(loop: TurnedLoop) -> None:
        queue = Patient()
        workers = [asyncio.create_task(queue.get()) for _ in range(16)]
        await loop.turn(0)
        queue.add("a")
        queue.add_behind("b")
        await loop.turn(0)
        assert sorted(worker.result() for worker in workers if worker.done()) == ["a", "b"]
        assert queue.found_nothing == len(workers)
        for worker in workers:
            worker.cancel()

    loop = TurnedLoop()
    loop.run_until_complete(scenario(loop))
    loop.close()


def test_a_worker_that_is_cancelled_as_it_is_woken_leaves_the_key_to_another() -> None:
    async def scenario(queue: WorkQueue[str], loop: TurnedLoop) -> None:
        workers = [asyncio.create_task(queue.get()) for _ in range(2)]
        await loop.turn(0)
        queue.add("a")
        workers[1].cancel()  # the one that waits since last is woken first
        await loop.turn(0)
        assert workers[0].result() == "a"

    played(scenario)
