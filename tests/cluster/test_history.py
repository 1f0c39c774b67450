"""Finished runs go into the history store before they leave the API, on a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.history import HistoryError, open_history
from headrace.history.reading import Question, listed, told
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.puppet import Ends, report
from tests.cluster.support.real_flows import NODE_LABEL
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, with_real_pods

RUNS = 6
KILLS = 5


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The file of the store, in a folder of its own."""
    return tmp_path / "store" / "history.db"


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, store: Path
) -> AsyncIterator[World]:
    settings = {"history_url": f"sqlite:///{store}", "history_batch_delay_s": 0.1, "status_delay_s": 0.1}
    async with a_world(client, kubeconfig, namespace, tmp_path, **settings) as made:
        yield made


async def a_deployment(world: World, **history: int) -> None:
    await world.a_flow()
    await world.create("Deployment", "daily", flowRef={"name": "etl"}, history=history)


async def runs(world: World, first: int, count: int) -> list[str]:
    return list(await uids_of_runs(world, first, count))


async def uids_of_runs(world: World, first: int, count: int) -> dict[str, str]:
    """By name, of runs that are made."""
    uids = {}
    for number in range(first, first + count):
        name = f"daily-{number}"
        made = await world.a_run(name, deploymentRef={"name": "daily"}, parameters={"number": name})
        uids[name] = made["metadata"]["uid"]
    return uids


def recorded(store: Path) -> list[dict[str, Any]]:
    """The last first; none while the store cannot be read."""
    reader = open_history(f"sqlite:///{store}", is_reader=True)
    try:
        return listed(reader, Question(), limit=1000)
    except HistoryError:
        return []
    finally:
        reader.close()


async def left(world: World) -> set[str]:
    return {run["metadata"]["name"] for run in await world.list("FlowRun")}


async def all_recorded(store: Path, names: list[str]) -> list[dict[str, Any]]:
    await eventually(lambda: {row["name"] for row in recorded(store)} >= set(names), what="records of all runs")
    return recorded(store)


async def gone(world: World, names: list[str]) -> None:
    async def look() -> bool:
        return not await left(world) & set(names)

    await eventually(look, what="runs are retired")


async def test_runs_are_recorded_and_then_retired(world: World, store: Path) -> None:
    """A record says what the API did; the newest run stays in the API, and is recorded too."""
    said = report(result={"rows": 3}, tasks={"total": 2, "succeeded": 2}, usage={"cpuSeconds": 0.5})
    world.puppet.script = lambda _: Ends(message=said)
    await a_deployment(world, succeeded=1)
    names = await runs(world, 0, RUNS)
    rows = await all_recorded(store, names)
    await eventually(lambda: _one_left(world), what="one run stays")
    assert sorted(row["name"] for row in rows) == sorted(names), "each has one record"
    assert {(row["flow"], row["deployment"], row["phase"]) for row in rows} == {("etl", "daily", "Succeeded")}

    (kept,) = told(open_history(f"sqlite:///{store}", is_reader=True), world.namespace, names[0])
    assert kept["parameters"] == {"number": names[0]}
    assert kept["result"] == {"value": {"rows": 3}}
    assert kept["tasks"]["succeeded"] == 2
    assert kept["cpu_s"] == 0.5
    assert [attempt["pod"] for attempt in kept["attempts"]] == [f"{names[0]}-1"]
    assert kept["refused"] is None


async def _one_left(world: World) -> bool:
    return len(await left(world)) == 1


async def test_while_the_store_is_away_runs_stay_and_new_ones_go_on(world: World, store: Path, tmp_path: Path) -> None:
    """They are held back in the API, and go as soon as it has them. A restart in between changes nothing."""
    await a_deployment(world, succeeded=0, failed=0)
    first = await runs(world, 0, 2)
    await all_recorded(store, first)
    await gone(world, first)

    store.parent.rename(tmp_path / "away")
    store.parent.write_text("not a folder")
    held = await runs(world, 2, 3)
    for name in held:
        await world.finished(name)
    await eventually(lambda: b"history_unavailable" in world.operator.log.read_bytes(), what="it is told")
    world.operator.restart()
    later = await runs(world, 5, 2)
    for name in later:
        await world.finished(name)
    assert await left(world) == {*held, *later}

    store.parent.unlink()
    (tmp_path / "away").rename(store.parent)
    rows = await all_recorded(store, [*first, *held, *later])
    await gone(world, [*held, *later])
    assert len(rows) == 7


async def test_an_operator_that_is_killed_writes_no_second_record(world: World, store: Path) -> None:
    """The runs are in the API still; the next operator finds that the store knows them."""
    await a_deployment(world, succeeded=100)
    names = await runs(world, 0, RUNS)
    before = {row["uid"]: row for row in await all_recorded(store, names)}
    world.operator.kill()
    reader = open_history(f"sqlite:///{store}", is_reader=True)
    at = {row["uid"]: row["recorded_at"] for row in reader.rows("select uid, recorded_at from headrace_runs")}
    world.operator.start()
    more = await runs(world, RUNS, 1)
    rows = await all_recorded(store, more)
    assert len(rows) == RUNS + 1
    now = {row["uid"]: row["recorded_at"] for row in reader.rows("select uid, recorded_at from headrace_runs")}
    assert at.items() <= now.items()
    assert before.keys() == at.keys()
    reader.close()


async def test_killed_again_and_again_every_run_has_one_record_and_none_goes_without(world: World, store: Path) -> None:
    """Whatever was under way."""
    await a_deployment(world, succeeded=0, failed=0)
    uids: dict[str, str] = {}
    for number in range(KILLS):
        uids |= await uids_of_runs(world, number * RUNS, RUNS)
        await asyncio.sleep(0.7 * number)
        world.operator.restart()
        missing = set(uids) - await left(world)
        assert missing <= {row["name"] for row in recorded(store)}, "a run was deleted without a record"
    rows = await all_recorded(store, list(uids))
    await gone(world, list(uids))
    assert sorted(row["uid"] for row in rows) == sorted(uids.values())


async def test_the_end_of_the_log_of_a_failed_run_is_recorded(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, store: Path, local_node: Any
) -> None:
    """Of its last attempt; a run that succeeds is recorded without."""
    await local_node("real", labels={NODE_LABEL: namespace})
    settings = {"history_url": f"sqlite:///{store}", "history_batch_delay_s": 0.1, "history_log_lines": 2}
    async with with_real_pods(client, kubeconfig, namespace, tmp_path, **settings) as world:
        script = 'echo one; echo two; echo "three $1"; exit $1'
        for name, code in (("bad", "3"), ("good", "0")):
            pod = {"spec": {"nodeSelector": {NODE_LABEL: namespace}}}
            await world.a_flow(name, image="local", command=["sh", "-c", script, "sh", code], podTemplate=pod)
            await world.a_run(name, flow=name)
            await world.finished(name, within_s=90)
        await all_recorded(store, ["bad", "good"])
    reader = open_history(f"sqlite:///{store}", is_reader=True)
    tails = {name: told(reader, namespace, name)[0]["log_tail"] for name in ("bad", "good")}
    reader.close()
    assert tails == {"bad": "two\nthree 3\n", "good": None}
