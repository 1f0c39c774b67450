"""Deployments on a real API server: concurrency, schedules, history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition

DAILY = {"deploymentRef": {"name": "daily"}}


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(client, kubeconfig, namespace, tmp_path, status_delay_s=0.1) as made:
        await made.a_flow()
        yield made


async def a_deployment(world: World, **spec: Any) -> None:
    await world.create("Deployment", "daily", **{"flowRef": {"name": "etl"}, **spec})


async def status_is(world: World, what: str, is_so: Any) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        status = await world.status("Deployment", "daily")
        return status if is_so(status) else None

    return await eventually(look, what=what)


async def test_queue_never_runs_more_than_the_limit(world: World) -> None:
    """Runs beyond the limit wait, say so, and go by priority, then by age."""
    world.puppet.script = lambda _pod: Ends(message=report())
    await a_deployment(world, concurrency={"limit": 2})
    for number in range(8):
        await world.a_run(f"run-{number}", **DAILY, priority=5 if number == 7 else 0)
    for number in range(8):
        assert (await world.finished(f"run-{number}"))["phase"] == "Succeeded"
    assert world.puppet.most_live <= 2


async def test_a_waiting_run_says_what_it_waits_for_and_higher_priority_goes_first(world: World) -> None:
    """The queue is told in the Deployment's status; the order is priority, then age."""
    world.puppet.script = lambda pod: Runs() if pod["metadata"]["name"] == "first-1" else Ends(message=report())
    await a_deployment(world, concurrency={"limit": 1})
    await world.a_run("first", **DAILY)
    await world.run_is("first", "Running")
    await world.a_run("low", **DAILY)
    await world.a_run("high", **DAILY, priority=1)
    for name in ("low", "high"):
        waiting = await world.run_is(name, "Pending", "WaitingForSlot")
        assert condition(waiting, "Admitted") == ("False", "WaitingForSlot")
    status = await status_is(world, "two runs wait", lambda s: s.get("queuedCount") == 2)
    assert (status["activeCount"], [run["name"] for run in status["active"]]) == (1, ["first"])
    await world.patch("FlowRun", "first", {"cancel": True})
    await world.finished("low")
    assert world.puppet.started == ["first-1", "high-1", "low-1"]
    last = await status_is(
        world, "the queue is empty", lambda s: s.get("queuedCount") == 0 and s.get("activeCount") == 0
    )
    assert last["lastRun"]["phase"] in {"Succeeded", "Cancelled"}


async def test_skip_ends_a_run_that_finds_no_slot(world: World) -> None:
    """It never has a pod, and says why."""
    world.puppet.script = lambda _pod: Runs()
    await a_deployment(world, concurrency={"limit": 1, "onConflict": "Skip"})
    await world.a_run("first", **DAILY)
    await world.run_is("first", "Running")
    await world.a_run("second", **DAILY)
    status = await world.finished("second")
    assert (status["phase"], status["reason"]) == ("Skipped", "SkippedByConcurrency")
    assert world.puppet.started == ["first-1"]


async def test_replace_cancels_the_older_run_and_starts_when_it_has_ended(world: World) -> None:
    """Never two at once: the newer run waits for the older one's end."""
    world.puppet.script = lambda pod: (
        Ends(message=report()) if pod["metadata"]["name"].startswith("third") else Runs(Ends(143))
    )
    await a_deployment(world, concurrency={"limit": 1, "onConflict": "Replace"})
    await world.a_run("first", **DAILY, scheduledTime="2026-01-01T00:00:00Z")
    await world.run_is("first", "Running")
    await world.a_run("second", **DAILY, scheduledTime="2026-01-02T00:00:00Z")
    assert (await world.finished("first"))["reason"] == "Replaced"
    await world.run_is("second", "Running")
    await world.a_run("third", **DAILY, scheduledTime="2026-01-03T00:00:00Z")
    assert (await world.finished("second"))["reason"] == "Replaced"
    assert (await world.finished("third"))["phase"] == "Succeeded"
    assert world.puppet.most_live == 1


async def test_a_limit_that_is_raised_lets_waiting_runs_go(world: World) -> None:
    """A changed Deployment is looked at at once."""
    world.puppet.script = lambda _pod: Runs()
    await a_deployment(world, concurrency={"limit": 1})
    await world.a_run("first", **DAILY)
    await world.a_run("second", **DAILY)
    await world.run_is("first", "Running")
    await world.run_is("second", "Pending", "WaitingForSlot")
    await world.patch("Deployment", "daily", {"concurrency": {"limit": 2}})
    await world.run_is("second", "Running")


async def test_the_limit_holds_over_restarts_of_the_operator(world: World) -> None:
    """What counts as active is read from the API, not remembered."""
    world.puppet.script = lambda _pod: Ends(message=report())
    await a_deployment(world, concurrency={"limit": 1})
    for number in range(6):
        await world.a_run(f"run-{number}", **DAILY)
    for number in range(6):
        if number % 2 == 0:
            world.operator.restart()
        await world.finished(f"run-{number}")
    assert world.puppet.most_live == 1
    assert len(world.puppet.started) == len(set(world.puppet.started)) == 6


async def test_an_interval_fires_on_each_of_its_times_once(world: World) -> None:
    """Each time has one run, named from it, and the next one is told."""
    await a_deployment(world, schedules=[{"name": "often", "intervalSeconds": 2}], parameters={"a": 1})

    async def three() -> list[dict[str, Any]] | None:
        runs = await world.list("FlowRun")
        return runs if len(runs) >= 3 else None

    runs = await eventually(three)
    times = [datetime.fromisoformat(run["spec"]["scheduledTime"]) for run in runs]
    assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(seconds=2)] * (len(times) - 1)
    assert runs[0]["metadata"]["name"] == f"daily-often-{times[0]:%Y%m%d%H%M%S}"
    assert runs[0]["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
    status = await status_is(world, "the next time is told", lambda s: "nextSchedules" in s)
    assert status["nextSchedules"][0]["name"] == "often"
    assert condition(status, "Scheduling") == ("True", "Scheduled")
    assert (await world.finished(runs[0]["metadata"]["name"]))["parameters"] == {"a": 1}


async def test_a_suspended_deployment_starts_nothing(world: World) -> None:
    """Schedules are held back; runs made by hand still go."""
    await a_deployment(world, schedules=[{"name": "often", "intervalSeconds": 1}], suspend=True)
    status = await status_is(world, "it is suspended", lambda s: bool(s.get("conditions")))
    assert condition(status, "Scheduling") == ("False", "Suspended")
    await world.a_run("by-hand", **DAILY)
    await world.finished("by-hand")
    assert [run["metadata"]["name"] for run in await world.list("FlowRun")] == ["by-hand"]


@pytest.mark.parametrize(
    ("catch_up", "names", "missed"),
    [
        pytest.param({"policy": "None"}, 0, 3, id="None passes over what was missed"),
        pytest.param({"policy": "Latest"}, 1, 2, id="Latest runs the latest of them"),
        pytest.param({"policy": "All"}, 3, 0, id="All runs each of them"),
        pytest.param({"policy": "All", "maxRuns": 2}, 2, 1, id="maxRuns bounds All"),
        pytest.param(
            {"policy": "All", "startingDeadlineSeconds": 5400},
            1,
            2,
            id="the starting deadline passes over the old ones",
        ),
    ],
)
async def test_times_missed_while_the_operator_was_down_follow_the_policy(
    world: World, catch_up: dict[str, Any], names: int, missed: int
) -> None:
    """Three hourly times have passed; each gets a run, or a recorded reason why not."""
    anchor = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    schedule = {"name": "hourly", "intervalSeconds": 3600, "anchor": anchor.isoformat()}
    await a_deployment(world, schedules=[schedule], catchUp=catch_up)
    noted = await status_is(world, "the schedule is noted", lambda s: bool(s.get("schedules")))
    world.operator.kill()
    memory = dict(noted["schedules"][0], lastScheduledTime=(anchor - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    await world.client.patch(f"{world.path('Deployment', 'daily')}/status", {"status": {"schedules": [memory]}})
    world.operator.start()

    status = await status_is(
        world, "the times are decided", lambda s: s["schedules"][0]["lastScheduledTime"] != memory["lastScheduledTime"]
    )
    assert len(await world.list("FlowRun")) == names
    assert status["schedules"][0].get("missed", 0) == missed
    if missed:
        assert "MissedSchedule" in {reason for reason, _ in await world.events("daily")}


async def test_history_keeps_the_newest_and_removes_the_pods_of_the_others(world: World) -> None:
    """Counts are kept for good and for bad ends; a run takes its pod with it."""
    world.puppet.script = lambda pod: Ends(1 if "bad" in pod["metadata"]["name"] else 0, message="")
    await a_deployment(world, history={"succeeded": 2, "failed": 1})
    for name in ("good-1", "good-2", "good-3", "bad-1", "bad-2"):
        await world.a_run(name, **DAILY)
        await eventually(lambda name=name: _is_over(world, name))

    async def names() -> bool:
        return [run["metadata"]["name"] for run in await world.list("FlowRun")] == ["bad-2", "good-2", "good-3"] or {
            run["metadata"]["name"] for run in await world.list("FlowRun")
        } == {"good-2", "good-3", "bad-2"}

    await eventually(names, what="the newest are left")

    async def pods() -> bool:
        return {pod["metadata"]["name"] for pod in await world.pods()} == {"good-2-1", "good-3-1", "bad-2-1"}

    await eventually(pods, what="their pods are left")


async def _is_over(world: World, name: str) -> bool:
    try:
        return "finishedAt" in await world.status("FlowRun", name)
    except NotFound:  # retired already
        return True


async def test_finished_runs_go_when_their_time_to_live_is_over_restarts_included(world: World) -> None:
    """The clock runs on while the operator is down."""
    world.puppet.script = lambda _pod: Ends(message=report())
    await a_deployment(world, history={"ttlSeconds": 3})
    await world.a_run("short", **DAILY)
    await world.finished("short")
    world.operator.restart()

    async def none() -> bool:
        return not await world.list("FlowRun")

    await eventually(none)


async def test_overrides_and_parameters_of_the_deployment_reach_the_pod(world: World) -> None:
    """Env by name, resources as a whole, podTemplate on top of the Flow's."""
    await a_deployment(
        world,
        parameters={"day": "today", "n": 1},
        env=[{"name": "REGION", "value": "us"}],
        resources={"limits": {"memory": "64Mi"}},
        podTemplate={"metadata": {"labels": {"team": "a"}}, "spec": {"priorityClassName": ""}},
    )
    await world.a_run("one", **DAILY, parameters={"n": 2})
    pod = await world.pod("one-1")
    env = {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}
    assert env["HEADRACE_PARAMETERS"] == '{"day":"today","n":2}'
    assert env["REGION"] == "us"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"memory": "64Mi"}
    assert pod["metadata"]["labels"]["team"] == "a"
    assert (await world.finished("one"))["parameters"] == {"day": "today", "n": 2}


async def test_a_deployment_whose_flow_is_missing_says_so(world: World) -> None:
    """Ready is False until the Flow comes."""
    await world.create("Deployment", "daily", flowRef={"name": "later"})
    status = await status_is(world, "told", lambda s: bool(s.get("conditions")))
    assert condition(status, "Ready") == ("False", "FlowNotFound")
    await world.a_flow("later")
    await status_is(world, "ready", lambda s: condition(s, "Ready") == ("True", "Ready"))


async def test_a_schedule_that_only_the_operator_can_refuse_is_a_condition(world: World) -> None:
    """A cron that never fires breaks itself alone; the others go on."""
    await a_deployment(
        world,
        schedules=[{"name": "never", "cron": "0 0 31 2 *"}, {"name": "often", "intervalSeconds": 1}],
    )
    status = await status_is(world, "told", lambda s: bool(s.get("conditions")))
    assert condition(status, "Scheduling") == ("False", "InvalidSchedule")

    async def one() -> bool:
        return bool(await world.list("FlowRun"))

    await eventually(one)
