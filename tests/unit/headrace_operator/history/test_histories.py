"""Any order of ends, batches, outages, lost answers, deletions and crashes: one record a run, and no run deleted without one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.history import HistoryUnavailable
from headrace.kubeapi.errors import ApiError
from headrace_operator.decide.retention import Keep, retire
from tests.builders import NOW
from tests.unit.headrace_operator.history.stores import MemoryStore, World, a_world
from tests.unit.headrace_operator.history.test_outbox import DAILY

STEPS = st.sampled_from(
    [
        "finish",
        "finish",
        "flush",
        "flush",
        "retire",
        "crash",
        "store down",
        "store mute",
        "store up",
        "API down",
        "API up",
    ]
)


async def flush(world: World) -> None:
    try:
        await world.recorder.flush()
    except (HistoryUnavailable, ApiError):
        return


def retire_all(world: World) -> None:
    """As the operator does where nothing is kept; never without a record."""
    keep = Keep(0, 0, -86400.0, unrecorded=world.history.unrecorded, given_up=world.history.unrecorded.given_up)
    for run in retire(world.history.of(DAILY), keep, NOW).delete:
        assert run.uid in world.store.records, f"{run.key.name} is deleted without a record"
        world.runs.pop(run.key, None)
        world.history.drop(run)


async def crash(world: World) -> None:
    """Whatever was in memory is gone; the next operator lists."""
    await world.archive.close()
    world.start()
    await world.list_all()


async def happens(world: World, step: str, number: int) -> None:
    store = world.store
    match step:
        case "finish":
            world.finish(f"run-{number}", phase="Failed" if number % 3 else "Succeeded")
        case "flush":
            await flush(world)
        case "retire":
            retire_all(world)
        case "crash":
            await crash(world)
        case "store down" | "store mute" | "store up":
            store.is_down, store.loses_answers = step == "store down", step == "store mute"
        case _:
            world.is_api_down = step == "API down"


async def live(steps: list[str], bounds: dict[str, Any]) -> None:
    async with a_world(MemoryStore(), batch_size=3, **bounds) as world:
        for number, step in enumerate(steps):
            await happens(world, step, number)
        await happens(world, "store up", 0)
        await happens(world, "API up", 0)
        for _ in steps:
            await flush(world)
        retire_all(world)
        finished = {f"uid-of-run-{number}" for number, step in enumerate(steps) if step == "finish"}
        assert world.store.records.keys() == finished
        assert world.runs == {}
        assert (world.outbox.room.held, world.outbox.room.records) == (0, 0)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=30), max_records=st.integers(0, 5))
def test_every_run_gets_one_record_and_none_goes_without(steps: list[str], max_records: int) -> None:
    """Below the bound of runs that are held back."""
    asyncio.run(live(steps, {"max_records": max_records}))


def test_a_predicate_that_lets_all_go_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the property can fail."""
    monkeypatch.setattr("headrace_operator.decide.retention.is_held", lambda *_: False)
    with pytest.raises(AssertionError, match="is deleted without a record"):
        asyncio.run(live(["finish", "retire"], {}))
