"""How finished runs come from the outbox into the store."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from headrace.history import HistoryUnavailable
from headrace.history.store import Written
from headrace.kubeapi.errors import ApiError
from headrace_operator.observe.parse import run_from
from tests.unit.headrace.history.finished import a_finished_run
from tests.unit.headrace_operator.history.stores import MemoryStore, a_world, until


def uids(*names: str) -> list[str]:
    return [f"uid-of-{name}" for name in names]


def written(store: MemoryStore, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.records[f"uid-of-{name}"].document)
    return found


async def test_a_batch_is_written_at_once_and_told() -> None:
    """Its runs wait until then, and not afterwards."""
    async with a_world() as world:
        for name in ("a", "b", "c"):
            world.finish(name)
        assert [uid in world.history.unrecorded for uid in uids("a", "b", "c")] == [True] * 3
        await world.recorder.flush()
        assert world.store.written == [uids("a", "b", "c")]
        assert [run.uid for run in world.told] == uids("a", "b", "c")
        assert len(world.outbox) == 0
        assert written(world.store, "a")["flow"] == "etl"


async def test_a_batch_is_bounded() -> None:
    """What came first is written first."""
    async with a_world(batch_size=2) as world:
        for name in ("a", "b", "c"):
            world.finish(name)
        await world.recorder.flush()
        assert world.store.written == [uids("a", "b")]
        assert uids("c")[0] in world.outbox


@pytest.mark.parametrize("max_records", [0, 9], ids=["read again", "in memory"])
async def test_a_batch_of_large_records_is_a_small_one(monkeypatch: pytest.MonkeyPatch, max_records: int) -> None:
    """Wherever they come from; and one goes, however large it is."""
    for module in ("outbox", "recorder"):
        monkeypatch.setattr(f"headrace_operator.history.{module}.BATCH_BYTES", 3_000)
    monkeypatch.setattr("headrace_operator.history.recorder.READ_AT_ONCE", 1)
    async with a_world(max_records=max_records) as world:
        for name, size in (("a", 9_000), ("b", 1), ("c", 1), ("d", 2_000)):
            world.finish(name, message="x" * size)
        for _ in range(3):
            await world.recorder.flush()
        assert world.store.written[0] == uids("a")
        assert [len(batch) for batch in world.store.written] == ([1, 3] if max_records == 0 else [1, 2, 1])
        assert len(world.outbox) == 0


async def test_a_batch_that_is_too_much_for_the_store_becomes_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be tried for ever."""
    monkeypatch.setattr("headrace_operator.history.recorder.FIRST_RETRY_S", 0.001)
    async with a_world(MemoryStore(takes=2), batch_size=8) as world:
        for name in "abcdefgh":
            world.finish(name)
        running = asyncio.create_task(world.recorder.run())
        await until(lambda: len(world.outbox) == 0)
        assert sorted(world.store.records) == uids(*"abcdefgh")
        running.cancel()


async def test_a_run_that_is_seen_again_is_not_recorded_again() -> None:
    """The answers to later writes tell of its end once more."""
    async with a_world() as world:
        world.finish("a")
        await world.recorder.flush()
        world.finish("a")
        assert len(world.outbox) == 0


async def test_an_outage_keeps_runs_waiting() -> None:
    """They are written when it is over, in their order."""
    async with a_world(MemoryStore(is_down=True)) as world:
        world.finish("a")
        with pytest.raises(HistoryUnavailable):
            await world.recorder.flush()
        assert world.told == []
        world.finish("b")
        world.store.is_down = False
        await world.recorder.flush()
        assert world.store.written == [uids("a", "b")]


async def test_a_batch_without_an_answer_is_written_again() -> None:
    """Nobody is told before its commit is certain."""
    async with a_world(MemoryStore(loses_answers=True)) as world:
        world.finish("a")
        with pytest.raises(HistoryUnavailable):
            await world.recorder.flush()
        assert uids("a")[0] in world.history.unrecorded
        world.store.loses_answers = False
        await world.recorder.flush()
        assert world.store.written == [uids("a"), uids("a")]
        assert [run.uid for run in world.told] == uids("a")


async def test_runs_beyond_the_room_for_records_are_read_when_it_is_their_turn() -> None:
    """Those whose records the store has in the meantime are not."""
    async with a_world(max_records=1) as world:
        for name in ("a", "b", "c"):
            world.finish(name)
        world.store.records[uids("b")[0]] = world.outbox.batch(1)[0].record  # type: ignore[assignment]
        await world.recorder.flush()
        assert world.reads == 1
        assert world.store.written == [uids("a", "c")]
        assert sorted(run.uid for run in world.told) == uids("a", "b", "c")
        assert (world.outbox.room.held, world.outbox.room.records) == (0, 0)


async def test_a_run_that_went_before_it_could_be_read_is_told_as_lost() -> None:
    """Or has given its name to another one. One whose record is in memory is not lost, whoever deletes it."""
    async with a_world(max_records=1) as world:
        for name in ("kept", "gone", "replaced"):
            world.finish(name)
        kept, gone, replaced = world.runs
        del world.runs[kept], world.runs[gone]
        world.runs[replaced] = {"metadata": {"uid": "another"}}
        await world.recorder.flush()
        assert world.store.written == [uids("kept")]
        assert world.lost == 2
        assert len(world.outbox) == 0


async def test_an_api_that_does_not_answer_is_asked_again_later() -> None:
    """Nothing is lost meanwhile."""
    async with a_world(max_records=0) as world:
        world.finish("a")
        world.is_api_down = True
        with pytest.raises(ApiError):
            await world.recorder.flush()
        world.is_api_down = False
        await world.recorder.flush()
        assert world.store.written == [uids("a")]


@pytest.mark.parametrize(
    ("which", "asked"),
    [("failed", ["bad-1"]), ("all", ["good-1", "bad-1"]), ("none", [])],
)
async def test_the_end_of_the_log_is_recorded_of_the_runs_that_are_asked_for(which: str, asked: list[str]) -> None:
    """A plain run that succeeds costs no request."""
    async with a_world(log_tail=which) as world:
        world.logs = {("team-a", "bad-1"): "KeyError: 'x'\n", ("team-a", "good-1"): "done\n"}
        world.finish("good")
        world.finish("bad", phase="Failed")
        await world.recorder.flush()
        assert world.logs_asked == asked
        tails = {"good": "done\n" if which == "all" else None, "bad": "KeyError: 'x'\n" if asked else None}
        assert {name: written(world.store, name).get("log_tail") for name in tails} == tails


async def test_a_log_that_is_not_to_be_had_is_asked_for_once() -> None:
    """The record is written without it, an outage of the store notwithstanding."""
    async with a_world(MemoryStore(is_down=True)) as world:
        world.finish("bad", phase="Failed")
        with pytest.raises(HistoryUnavailable):
            await world.recorder.flush()
        world.store.is_down = False
        await world.recorder.flush()
        assert world.logs_asked == ["bad-1"]
        assert "log_tail" not in written(world.store, "bad")


async def test_an_object_that_cannot_be_understood_is_recorded_as_far_as_it_is() -> None:
    """It holds nothing up."""
    async with a_world() as world:
        obj = world.finish("a")
        world.history.put(run_from(a_finished_run("b")), {**obj, "spec": None})
        await world.recorder.flush()
        assert "cannot be understood" in written(world.store, "b")["refused"]
        assert written(world.store, "b")["phase"] == "Succeeded"
        assert written(world.store, "a").get("refused") is None


async def test_the_runs_of_a_page_that_the_store_knows_do_not_wait() -> None:
    """One question for all of them."""
    async with a_world() as world:
        world.finish("a")
        await world.recorder.flush()
        world.finish("b")
        world.start()
        await world.list_all()
        assert world.store.asked == [uids("a", "b")]
        assert [uid in world.outbox for uid in uids("a", "b")] == [False, True]


async def test_a_store_that_does_not_answer_does_not_stop_the_listing() -> None:
    """All of it waits, and the store is not asked again for each page."""
    async with a_world(MemoryStore(is_down=True)) as world:
        world.finish("a")
        world.start()
        await world.list_all()
        assert uids("a")[0] in world.outbox
        world.store.is_down = False
        assert await world.recorder.known(uids("a")) == set()
        assert world.store.asked == []


@pytest.mark.parametrize("bound", ["max_records", "max_held", "max_bytes"])
async def test_the_listing_waits_for_room_while_the_store_takes_records(bound: str) -> None:
    """A hundred thousand runs are not in memory at once, nor read twice, and none of them is given up."""
    async with a_world(**{bound: 2}) as world:
        world.finish("a")
        world.finish("b")
        page = asyncio.create_task(world.recorder.known(uids("c", "d")))
        await asyncio.sleep(0)
        assert not page.done()
        running = asyncio.create_task(world.recorder.run())
        assert await asyncio.wait_for(page, 10) == set()
        assert world.store.written == [uids("a", "b")]
        running.cancel()


async def test_a_listing_that_waits_for_room_is_not_stuck_when_others_take_over() -> None:
    """Nobody makes room any more."""
    async with a_world(max_records=1) as world:
        world.finish("a")
        page = asyncio.create_task(world.recorder.known(uids("b")))
        await asyncio.sleep(0)
        world.recorder.close()
        assert await asyncio.wait_for(page, 10) == set()


async def test_it_goes_on_by_itself_after_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without being told."""
    monkeypatch.setattr("headrace_operator.history.recorder.FIRST_RETRY_S", 0.001)
    async with a_world(MemoryStore(is_down=True)) as world:
        running = asyncio.create_task(world.recorder.run())
        world.finish("a")
        await until(lambda: world.archive.is_down)
        world.store.is_down = False
        await until(lambda: len(world.outbox) == 0)
        assert list(world.store.records) == uids("a")
        running.cancel()


async def test_a_store_that_hangs_is_an_outage() -> None:
    """A listing at the start goes on without it, and what waits is written once it answers."""
    async with a_world() as world:
        answers = threading.Event()
        write = world.store.write
        world.store.write = lambda records: write(records) if answers.wait(10) else Written()  # type: ignore[method-assign]
        world.start(timeout_s=0.01)
        world.finish("a")
        with pytest.raises(HistoryUnavailable, match="no answer within"):
            await world.recorder.flush()
        assert await world.recorder.known(uids("b")) == set()
        answers.set()
        world.start()
        world.finish("a")
        await world.recorder.flush()
        assert list(world.store.records) == uids("a")


async def test_a_fault_of_ours_keeps_no_listing_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """For room that nobody makes."""
    monkeypatch.setattr("headrace_operator.history.recorder.FIRST_RETRY_S", 0.001)
    async with a_world(max_records=1) as world:
        world.store.records = None  # type: ignore[assignment]
        world.finish("a")
        page = asyncio.create_task(world.recorder.known(uids("b")))
        running = asyncio.create_task(world.recorder.run())
        assert await asyncio.wait_for(page, 10) == set()
        running.cancel()


async def test_a_fault_of_ours_is_an_outage_of_the_store_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator goes on."""
    monkeypatch.setattr("headrace_operator.history.recorder.FIRST_RETRY_S", 0.001)
    async with a_world() as world:
        world.store.records = None  # type: ignore[assignment]
        running = asyncio.create_task(world.recorder.run())
        world.finish("a")
        await until(lambda: world.store.written != [])
        world.store.records = {}
        await until(lambda: len(world.outbox) == 0)
        assert list(world.store.records) == uids("a")
        running.cancel()
