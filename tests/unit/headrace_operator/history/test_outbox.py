"""What waits, and how much of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from headrace_operator.decide.retention import Keep, retire
from headrace_operator.observe.history import Owner
from headrace_operator.observe.parse import run_from
from tests.builders import NOW
from tests.unit.headrace.history.finished import a_finished_run
from tests.unit.headrace_operator.history.stores import World, a_world

DAILY = Owner("team-a", "daily")


def going(world: World, keep: Keep) -> list[str]:
    unrecorded = world.history.unrecorded
    bounded = Keep(keep.succeeded, keep.failed, keep.ttl_s, unrecorded=unrecorded, given_up=unrecorded.given_up)
    return sorted(run.key.name for run in retire(world.history.of(DAILY), bounded, NOW).delete)


NOTHING_KEPT = Keep(succeeded=0, failed=0, ttl_s=None)
EXPIRED = Keep(succeeded=None, failed=None, ttl_s=-86400.0)


async def test_runs_that_wait_are_not_deleted() -> None:
    """Neither by the counts nor by their time to live; both take those that are recorded."""
    async with a_world() as world:
        world.finish("a")
        assert going(world, NOTHING_KEPT) == going(world, EXPIRED) == []
        await world.recorder.flush()
        assert going(world, NOTHING_KEPT) == going(world, EXPIRED) == ["a"]


async def test_of_more_than_may_be_held_back_the_later_ones_go_by_their_time_to_live() -> None:
    """Not by the counts: there may be time until then."""
    async with a_world(max_held=2) as world:
        for name in ("a", "b", "c", "d"):
            assert world.outbox.is_full == (name in {"c", "d"})
            world.finish(name)
        assert going(world, NOTHING_KEPT) == []
        assert going(world, EXPIRED) == ["c", "d"]


async def test_one_that_is_let_go_is_recorded_still_while_its_record_is_in_memory() -> None:
    """Else it is told as lost."""
    async with a_world(max_held=1, max_records=2) as world:
        for name in ("a", "b", "c"):
            world.finish(name)
        for run in world.history.of(DAILY):
            if run.key.name != "a":
                world.history.drop(run)
        assert world.lost == 1
        await world.recorder.flush()
        assert sorted(world.store.records) == ["uid-of-a", "uid-of-b"]
        assert not world.outbox.is_full


async def test_the_lag_is_that_of_the_first_that_waits() -> None:
    """Also when it was put off."""
    async with a_world() as world:
        assert world.outbox.oldest_s is None
        for world.now_s, name in ((1.0, "a"), (2.0, "b")):
            world.finish(name)
        world.outbox.put_off("uid-of-a")
        assert [each.run.key.name for each in world.outbox.batch(9)] == ["b", "a"]
        assert world.outbox.oldest_s == 1.0


async def test_the_lag_may_be_read_by_another_thread() -> None:
    """That of the metrics, while runs come and go."""
    async with a_world(max_held=100_000, max_records=0) as world:
        run = run_from(a_finished_run("a"))
        for number in range(5_000):
            world.history.put(replace(run, uid=f"before-{number}"))
        with ThreadPoolExecutor(1) as scraping:
            scrapes = scraping.submit(lambda: [world.outbox.oldest_s for _ in range(300)])
            number = 0
            while not scrapes.done():
                number += 1
                world.history.put(replace(run, uid=f"meanwhile-{number}"))
                world.outbox.recorded([f"meanwhile-{number - 1}"])
            assert set(scrapes.result()) == {0.0}


async def test_memory_is_bounded_by_what_the_records_have() -> None:
    """Parameters and results of a MB are read again when it is their turn."""
    async with a_world(max_bytes=3_000) as world:
        for name in ("a", "b", "c", "d"):
            world.finish(name, message="x" * 2_000)
        assert [each.record is not None for each in world.outbox.batch(9)] == [True, True, False, False]
        await world.recorder.flush()
        assert sorted(world.store.records) == [f"uid-of-{name}" for name in ("a", "b", "c", "d")]
        room = world.outbox.room
        assert (room.held, room.records, room.bytes) == (0, 0, 0)


async def test_who_looks_after_the_runs_no_more_deletes_none() -> None:
    """They wait in another process, which counts them."""
    async with a_world() as world:
        world.finish("a")
        await world.recorder.flush()
        world.finish("b")
        world.outbox.close()
        assert going(world, NOTHING_KEPT) == going(world, EXPIRED) == []
        world.finish("c")
        assert (len(world.outbox), world.outbox.room.held, world.outbox.room.records) == (0, 0, 0)


async def test_those_who_wait_for_room_are_told_of_it_once() -> None:
    """Backfills go on then."""
    async with a_world(max_held=2) as world:
        told: list[int] = []
        world.outbox.room.listeners.append(lambda: told.append(world.outbox.room.held))
        for name in ("a", "b", "c"):
            world.finish(name)
        await world.recorder.flush()
        assert told == [1]
