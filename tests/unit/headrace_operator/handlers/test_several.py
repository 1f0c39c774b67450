"""Several requests at once: in order, so many at a time, and none begun after one that failed."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from headrace.kubeapi.errors import Conflict
from headrace_operator.handlers.several import several_at_once

MOST = 3


class Requests:
    """Each is under way until it is let end."""

    def __init__(self, count: int) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.failing: dict[int, Exception] = {}
        self.gates = [asyncio.Event() for _ in range(count)]

    async def make(self, number: int) -> None:
        self.begun.append(number)
        await self.gates[number].wait()
        if number in self.failing:
            raise self.failing[number]
        self.done.append(number)

    async def start(self) -> asyncio.Task[None]:
        changes = [partial(self.make, number) for number in range(len(self.gates))]
        task = asyncio.create_task(several_at_once(changes, most=MOST))
        await others_had_their_turn()
        return task

    async def ends(self, number: int) -> None:
        self.gates[number].set()
        await others_had_their_turn()


async def others_had_their_turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_next_one_begins_when_one_has_ended() -> None:
    requests = Requests(5)
    task = await requests.start()
    assert requests.begun == [0, 1, 2]
    await requests.ends(1)
    assert requests.begun == [0, 1, 2, 3]
    for number in (0, 2, 3, 4):
        await requests.ends(number)
    await task
    assert sorted(requests.done) == [0, 1, 2, 3, 4]


async def test_after_a_failure_those_under_way_end_and_no_more_begin() -> None:
    """The first failure is raised, not what comes of it later."""
    requests = Requests(9)
    requests.failing = {1: Conflict(409, "Conflict", "changed"), 2: ValueError("later")}
    task = await requests.start()
    await requests.ends(1)
    assert not task.done()
    await requests.ends(2)
    await requests.ends(0)
    with pytest.raises(Conflict):
        await task
    assert (requests.begun, requests.done) == ([0, 1, 2], [0])


async def test_cancelled_it_leaves_none_under_way() -> None:
    requests = Requests(4)
    task = await requests.start()
    await requests.ends(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert requests.done == [0]


async def test_nothing_is_done_at_once() -> None:
    await several_at_once([], most=MOST)
