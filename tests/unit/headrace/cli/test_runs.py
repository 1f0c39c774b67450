"""Which runs `headrace list` shows, in what order, and how."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from headrace.api import keys
from headrace.api.conditions import FINISHED, Phase
from headrace.cli.cluster import path_of
from headrace.cli.listing import ordered
from headrace.cli.outputs import printed, with_kind
from headrace.cli.runs import ENDED, PHASES, Wanted, _selectors, columns, found_runs, phases_from, subject, took
from headrace.errors import UsageError
from tests.unit.headrace.cli.memory_api import MemoryApi, a_deployment, a_run

NOW = datetime(2026, 3, 5, tzinfo=UTC)


def test_phases_are_those_of_the_api() -> None:
    """They are written down twice, as the models are slow to import."""
    assert set(PHASES) == set(Phase)
    assert set(FINISHED) == ENDED


@pytest.mark.parametrize(
    ("typed", "phases"),
    [
        ([], set()),
        (["failed"], {"Failed"}),
        (["Failed,crashed", "Paused"], {"Failed", "Crashed", "Paused"}),
        (["active"], {"Running", "Retrying"}),
        (["ended"], set(ENDED)),
    ],
)
def test_phases_as_people_type_them(typed: list[str], phases: set[str]) -> None:
    assert phases_from(typed) == phases


def test_a_phase_that_there_is_not_is_told() -> None:
    with pytest.raises(UsageError, match='--phase "dead": expected one of Pending, Running'):
        phases_from(["dead"])


def test_the_api_server_picks_by_phase_and_labels() -> None:
    """It knows no "or", so all other phases are left out; one that nobody has looked at counts as Pending."""
    asked = _selectors(Wanted(phases=frozenset({"Failed"}), labels="team=a", backfill="q1"))
    assert asked["labelSelector"] == "team=a,headrace.dev/backfill=q1"
    terms = asked["fieldSelector"].split(",")
    assert "status.phase!=Failed" not in terms
    assert {"status.phase!=Succeeded", "status.phase!="} < set(terms)
    assert "status.phase!=" not in _selectors(Wanted(phases=frozenset({"Pending"})))["fieldSelector"].split(",")
    assert _selectors(Wanted()) == {}


async def test_runs_of_a_flow_are_those_of_its_deployments_too() -> None:
    api = MemoryApi(
        a_deployment("daily", "etl"),
        a_deployment("weekly", "other"),
        a_run("one"),
        a_run("two", deploymentRef={"name": "weekly"}),
        a_run("three", flowRef={"name": "etl"}),
    )
    found = await found_runs(api, "team-a", Wanted(flow="etl"))
    assert sorted(run["metadata"]["name"] for run in found) == ["one", "three"]


async def test_runs_can_be_of_a_deployment_and_young() -> None:
    api = MemoryApi(a_run("old", day=1), a_run("young", day=4), a_run("other", flowRef={"name": "etl"}))
    wanted = Wanted(deployment="daily", since=NOW - timedelta(days=2))
    assert [run["metadata"]["name"] for run in await found_runs(api, "team-a", wanted)] == ["young"]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("created", ["new", "long", "dear"]),
        ("took", ["long", "dear", "new"]),
        ("cost", ["dear", "long", "new"]),
        ("name", ["dear", "long", "new"]),
    ],
)
def test_orders(order: str, names: list[str]) -> None:
    """What is not known goes last."""
    runs = [
        a_run("new", day=4),
        a_run("long", day=3, status={"startedAt": "2026-03-01T00:00:00Z", "cost": {"amount": "1", "currency": "EUR"}}),
        a_run(
            "dear", day=2, status={"startedAt": "2026-03-02T00:00:00Z", "cost": {"amount": "12.5", "currency": "EUR"}}
        ),
    ]
    assert [run["metadata"]["name"] for run in ordered(runs, order, NOW)] == names  # type: ignore[arg-type]


def test_outputs() -> None:
    """A table for people; names, JSON and YAML as kubectl prints them."""
    runs = with_kind([a_run("one", status={"startedAt": "2026-03-04T11:59:00Z"})], "FlowRun")
    shape = columns(NOW, namespaces=True, colours=False)
    header, line = printed(runs, "table", shape, none="").splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "OF", "PHASE", "REASON", "ATTEMPT", "TOOK", "AGE"]
    assert line.split() == ["team-a", "one", "deployment/daily", "Failed", "FlowFailed", "1", "60s", "13h"]
    assert "MESSAGE" in printed(runs, "wide", shape, none="")
    assert printed(runs, "name", shape, none="") == "flowrun.headrace.dev/one"
    as_json = json.loads(printed(runs, "json", shape, none=""))
    assert (as_json["kind"], as_json["items"][0]["kind"]) == ("List", "FlowRun")
    assert yaml.safe_load(printed(runs, "yaml", shape, none="")) == as_json
    assert printed([], "table", shape, none="nothing") == "nothing"


def test_colours_do_not_move_columns() -> None:
    """A terminal counts no width for them."""
    runs = with_kind([a_run("one"), a_run("two", "Succeeded")], "FlowRun")
    plain = printed(runs, "table", columns(NOW, namespaces=False, colours=False), none="")
    coloured = printed(runs, "table", columns(NOW, namespaces=False, colours=True), none="")
    assert "\x1b[31mFailed\x1b[0m" in coloured
    assert coloured.replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "") == plain


def test_a_task_names_its_task() -> None:
    run = a_run("t", flowRef={"name": "etl"}, task={"name": "train", "parent": {"name": "p"}})
    assert subject(run) == "task/train"


@pytest.mark.parametrize("typed", ["../../etc", "a b", "a?watch=1", "A", "-a", "a/", "a\n"])
def test_what_is_no_name_is_no_part_of_a_path(typed: str) -> None:
    """It would be another path than the one that was meant."""
    with pytest.raises(UsageError, match="is no name"):
        path_of(keys.FLOWRUNS, "team-a", typed)
    with pytest.raises(UsageError, match="is no name"):
        path_of(keys.FLOWRUNS, typed)
    assert path_of(keys.FLOWRUNS, "team-a", "etl-7.x").endswith("/namespaces/team-a/flowruns/etl-7.x")


@pytest.mark.parametrize(("seconds", "text"), [(0.41, "0.4s"), (9.99, "10.0s"), (61, "61s"), (400, "6m"), (-3, "0.0s")])
def test_spans(seconds: float, text: str) -> None:
    assert took(timedelta(seconds=seconds)) == text
