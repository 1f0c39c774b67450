"""All of a namespace, suspended, resumed and cancelled at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.api import keys
from headrace.cli import steering
from headrace.cli import sweep as sweep_module
from headrace.cli.main import application
from headrace.cli.references import Reference
from headrace.cli.steering import held
from headrace.cli.sweep import CANCEL, RESUME, SUSPEND, plan, swept, targets_of
from headrace.kubeapi.errors import Forbidden, TooManyRequests
from tests.unit.headrace.cli.memory_api import ROOT, MemoryApi, a_deployment, a_run

DAILY = Reference(keys.DEPLOYMENTS, "daily")


def an_automation(name: str = "retry", **metadata: Any) -> dict[str, Any]:
    return {"kind": "Automation", "metadata": {"name": name, "namespace": "team-a", **metadata}, "spec": {}}


def a_backfill(name: str = "q1", phase: str = "Running") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team-a"}
    return {"kind": "Backfill", "metadata": metadata, "spec": {}, "status": {"phase": phase}}


def a_namespace() -> MemoryApi:
    """One of each kind that has something to lose, and what has ended or is somebody else's."""
    return MemoryApi(
        a_deployment(),
        a_deployment("parked", suspend=True),
        a_backfill(),
        a_backfill("old", "Succeeded"),
        an_automation(),
        an_automation("daily.after-load", labels={keys.TRIGGER_LABEL: "after-load"}),
        a_run("waits", None),
        a_run("runs", "Running"),
        a_run("ended", "Failed"),
        a_run("elsewhere", "Running", metadata={"namespace": "team-b"}),
    )


def told(api: MemoryApi, field: str) -> set[str]:
    """What has this field of the spec set, by kind and name."""
    return {
        at.removeprefix(f"{ROOT}/namespaces/team-a/")
        for at, obj in api.objects.items()
        if obj["spec"].get(field) is True
    }


async def test_all_that_makes_runs_is_suspended_and_then_the_runs() -> None:
    api = a_namespace()
    assert await swept(api, "team-a", SUSPEND) == 0
    changed = [line.removeprefix("PATCH /namespaces/team-a/") for line in api.asked if line.startswith("PATCH")]
    assert changed == [
        "automations/retry",
        "deployments/daily",
        "backfills/q1",
        "flowruns/waits",
        "flowruns/runs",
    ]
    assert told(api, "suspend") == {*changed, "deployments/parked"}


async def test_what_was_suspended_before_stays_so() -> None:
    api = a_namespace()
    await swept(api, "team-a", SUSPEND)
    await swept(api, "team-a", RESUME)
    assert told(api, "suspend") == {"deployments/parked"}
    assert await targets_of(api, "team-a", RESUME) == []


async def test_what_was_resumed_and_suspended_by_hand_is_left_to_who_did_it() -> None:
    api = a_namespace()
    await swept(api, "team-a", SUSPEND)
    await held(api, "team-a", DAILY, suspend=False)
    await held(api, "team-a", DAILY, suspend=True)
    assert DAILY not in await targets_of(api, "team-a", RESUME)


async def test_all_that_has_not_ended_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    api = a_namespace()
    assert await swept(api, "team-a", CANCEL) == 0
    assert told(api, "cancel") == {"backfills/q1", "flowruns/waits", "flowruns/runs"}
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "backfill/q1: will be cancelled",
        "flowrun/waits: will be cancelled",
        "flowrun/runs: will be cancelled",
    ]
    assert "headrace suspend --all -n team-a" in shown.err


async def test_a_run_that_was_made_meanwhile_is_cancelled_too() -> None:
    """By a Backfill that had not heard yet."""

    class Making(MemoryApi):
        async def patch(self, path: str, body: Any) -> dict[str, Any]:
            if path.endswith("backfills/q1"):
                made = a_run("late", None)
                self.objects[f"{ROOT}/namespaces/team-a/flowruns/late"] = made
            return await super().patch(path, body)

    api = Making(a_backfill())
    await swept(api, "team-a", CANCEL)
    assert told(api, "cancel") == {"backfills/q1", "flowruns/late"}


async def test_what_went_meanwhile_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    class Losing(MemoryApi):
        async def patch(self, path: str, body: Any) -> dict[str, Any]:
            self.objects.pop(path, None)
            return await super().patch(path, body)

    assert await swept(Losing(a_run("r", "Running")), "team-a", CANCEL) == 0
    assert capsys.readouterr().out == ""


async def test_the_failure_of_one_is_no_matter_to_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    api = MemoryApi(a_run("a", "Running"), a_run("b", "Running"))
    api.refuse["PATCH"] = [Forbidden(403, "Forbidden", "flowruns is forbidden")]
    assert await swept(api, "team-a", CANCEL) == 4
    shown = capsys.readouterr()
    assert shown.out == "flowrun/b: will be cancelled\n"
    assert "cannot cancel flowrun/a: flowruns is forbidden" in shown.err


async def test_an_api_server_that_has_enough_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "FIRST_DELAY_S", 0.0)
    api = MemoryApi(a_run("a", "Running"))
    api.refuse["PATCH"] = [TooManyRequests(429, "TooManyRequests", "slow down")]
    assert await swept(api, "team-a", CANCEL) == 0
    assert told(api, "cancel") == {"flowruns/a"}


async def test_the_plan_counts_what_will_be_changed() -> None:
    targets = await targets_of(a_namespace(), "team-a", CANCEL)
    assert plan(targets, CANCEL, "team-a").splitlines() == [
        "headrace cancel --all in namespace team-a; it cannot be taken back:",
        "  1 Backfill",
        "  2 FlowRuns",
    ]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryApi]:
    """What the commands talk to."""
    made = a_namespace()

    def reached(work: Any, *, namespace: str = "", context: str | None = None) -> Any:
        return asyncio.run(work(made, namespace or "default"))

    monkeypatch.setattr(steering, "in_cluster", reached)
    yield made


def typed(*words: str, **how: Any) -> Any:
    return CliRunner().invoke(application(words[0]), list(words), **how)


def test_nothing_is_changed_without_asking(api: MemoryApi) -> None:
    """There is nobody to ask where there is no terminal."""
    done = typed("cancel", "--all", "-n", "team-a")
    assert "add --yes to go on" in str(done.exception)
    assert told(api, "cancel") == set()


def test_who_says_no_changes_nothing(api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.cli.steering.agreed", lambda text: "2 FlowRuns" not in text)
    assert typed("cancel", "--all", "-n", "team-a").exit_code == 1
    assert told(api, "cancel") == set()


def test_yes_does_not_ask(api: MemoryApi) -> None:
    assert typed("suspend", "--all", "--yes", "-n", "team-a").exit_code == 0
    assert "deployments/daily" in told(api, "suspend")
    assert typed("resume", "--all", "-y", "-n", "team-a").exit_code == 0
    assert told(api, "suspend") == {"deployments/parked"}


def test_nothing_to_do_is_said(api: MemoryApi) -> None:
    done = typed("resume", "--all", "-n", "team-a")
    assert (done.exit_code, done.stderr) == (0, "nothing in namespace team-a is there to resume\n")


@pytest.mark.parametrize("words", [["cancel"], ["cancel", "r", "--all"], ["suspend"], ["resume", "r", "--all"]])
def test_it_is_names_or_all(api: MemoryApi, words: list[str]) -> None:
    done = typed(*words)
    assert "name them, or say --all" in str(done.exception)
    assert told(api, "cancel") == set()
