"""Writes slow down together when the API server has enough, on a loop whose clock the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from headrace.kubeapi.errors import STARTING, ApiError, Conflict, TooManyRequests, Unavailable
from headrace_operator.kube.braked import LONGEST_PAUSE_S, SPREAD, Brake


class TurnedLoop(asyncio.SelectorEventLoop):
    """Its time stands still until `turn`."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    async def turn(self, seconds: float = 0.0) -> None:
        """Let time pass and everything that is due happen."""
        self.now_s += seconds
        for _ in range(4):
            await asyncio.sleep(0)


class Writes:
    """Writes that are under way until the test answers them."""

    def __init__(self, brake: Brake) -> None:
        self.under_way: list[asyncio.Future[None]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._brake = brake

    def begin(self, count: int) -> None:
        self.tasks += [asyncio.create_task(self._write()) for _ in range(count)]

    def answer(self, error: ApiError | None = None) -> None:
        """The oldest one."""
        answered = self.under_way.pop(0)
        if error is None:
            answered.set_result(None)
        else:
            answered.set_exception(error)

    async def _write(self) -> None:
        with suppress(ApiError):
            async with self._brake:
                future = asyncio.get_running_loop().create_future()
                self.under_way.append(future)
                await future


Scenario = Callable[[Brake, Writes, TurnedLoop], Coroutine[Any, Any, None]]


def played(scenario: Scenario, most: int = 8) -> None:
    loop = TurnedLoop()

    async def play() -> None:
        brake = Brake(most)
        writes = Writes(brake)
        await scenario(brake, writes, loop)
        brake.close()
        for task in writes.tasks:
            task.cancel()
        await asyncio.gather(*writes.tasks, return_exceptions=True)

    try:
        loop.run_until_complete(play())
    finally:
        loop.close()


def enough(retry_after_s: float | None = 2.0, message: str = "") -> TooManyRequests:
    return TooManyRequests(429, "TooManyRequests", message, retry_after_s=retry_after_s)


def test_so_many_writes_are_under_way_at_most() -> None:
    """The next begins when one has ended."""

    async def scenario(_: Brake, writes: Writes, loop: TurnedLoop) -> None:
        writes.begin(20)
        await loop.turn()
        assert len(writes.under_way) == 8
        writes.answer()
        await loop.turn()
        assert len(writes.under_way) == 8
        assert len(writes.tasks) - sum(task.done() for task in writes.tasks) == 19

    played(scenario)


def test_no_write_begins_for_as_long_as_the_server_asked_for() -> None:
    """Whatever key it is for; then half as many at once."""

    async def scenario(brake: Brake, writes: Writes, loop: TurnedLoop) -> None:
        writes.begin(8)
        await loop.turn()
        for _ in range(8):
            writes.answer(enough())
        await loop.turn()
        writes.begin(10)
        await loop.turn(1.999)
        assert (brake.at_once, writes.under_way) == (0, [])
        await loop.turn(2.0 * SPREAD + 0.002)
        assert len(writes.under_way) == 4

    played(scenario)


def test_as_many_as_before_after_rounds_that_went_well() -> None:
    """One more at once after each round; never more than the most."""

    async def scenario(brake: Brake, writes: Writes, loop: TurnedLoop) -> None:
        writes.begin(8)
        await loop.turn()
        writes.answer(enough())
        await loop.turn()
        await loop.turn(60)
        seen = set()
        writes.begin(100)
        for _ in range(100):
            await loop.turn()
            writes.answer()
            seen.add(brake.at_once)
        assert seen == {4, 5, 6, 7, 8}

    played(scenario)


def test_a_server_that_goes_on_refusing_is_asked_by_one_at_a_time() -> None:
    """It never comes to a standstill."""

    async def scenario(brake: Brake, writes: Writes, loop: TurnedLoop) -> None:
        for _ in range(10):
            writes.begin(8)
            await loop.turn(60)
            for _ in list(writes.under_way):
                writes.answer(enough(None))
            await loop.turn(0.5)
            assert brake.at_once == 0
        await loop.turn(60)
        assert len(writes.under_way) == 1

    played(scenario)


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        pytest.param(enough(), True, id="429"),
        pytest.param(Unavailable(503, "ServiceUnavailable", "", retry_after_s=1), True, id="503 that names a time"),
        pytest.param(Unavailable(503, "ServiceUnavailable", ""), False, id="503 that names none, as of a webhook"),
        pytest.param(Unavailable(500, "InternalError", "", retry_after_s=1), False, id="500"),
        pytest.param(Conflict(409, "Conflict", ""), False, id="a conflict is about one object"),
        pytest.param(enough(message=STARTING), False, id="a kind that is about to be served"),
    ],
)
def test_only_what_is_about_load_slows_all_down(error: ApiError, *, pauses: bool) -> None:
    """A fault of one object must not stop the others."""

    async def scenario(brake: Brake, writes: Writes, loop: TurnedLoop) -> None:
        writes.begin(1)
        await loop.turn()
        writes.answer(error)
        await loop.turn()
        assert (brake.at_once == 0) is pauses

    played(scenario)


def test_a_pause_of_hours_is_cut() -> None:
    """A proxy that says 86400 is wrong."""

    async def scenario(brake: Brake, writes: Writes, loop: TurnedLoop) -> None:
        writes.begin(1)
        await loop.turn()
        writes.answer(enough(86400))
        await loop.turn()
        await loop.turn(LONGEST_PAUSE_S - 0.1)
        assert brake.at_once == 0
        await loop.turn(LONGEST_PAUSE_S * SPREAD + 0.2)
        assert brake.at_once == 1

    played(scenario)


@pytest.mark.parametrize("steps", range(5))
def test_writes_that_are_given_up_take_no_turn(steps: int) -> None:
    """Neither while they wait, nor when their turn has just come, nor when they have just begun."""

    async def scenario(brake: Brake, writes: Writes, loop: TurnedLoop) -> None:
        writes.begin(3)
        await loop.turn()
        writes.tasks[1].cancel()
        writes.answer()
        for _ in range(steps):
            await asyncio.sleep(0)
        writes.tasks[2].cancel()
        await loop.turn()
        writes.begin(2)
        await loop.turn()
        assert sum(not each.done() for each in writes.under_way) == 1

    played(scenario, most=1)
