"""`headrace cost`: the same of a run in the cluster and of its record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from headrace.api.keys import BACKFILL_LABEL
from headrace.cli import cost
from headrace.cli.main import application
from headrace.history import open_history, record_of
from tests.unit.headrace.cli.memory_api import MemoryApi, a_deployment, a_run

Told = Callable[..., list[dict[str, Any]]]


def ago(span: timedelta) -> str:
    return f"{datetime.now(UTC) - span:%Y-%m-%dT%H:%M:%SZ}"


def a_finished_run(name: str, *, created: timedelta, started: timedelta) -> dict[str, Any]:
    """So long ago; it took a minute and cost 1 EUR."""
    status = {
        "phase": "Succeeded",
        "pool": "cpu",
        "startedAt": ago(started),
        "finishedAt": ago(started - timedelta(minutes=1)),
        "cost": {"amount": "1", "currency": "EUR"},
    }
    return a_run(name, metadata={"creationTimestamp": ago(created)}, status=status)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What `headrace cost -o json` tells of these runs in the cluster and those in the history store."""
    url = f"sqlite:///{tmp_path}/history.db"

    def ran(*arguments: str, there: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
        store = open_history(url)
        store.write([record_of(run, flow="etl") for run in recorded])
        store.close()
        api = MemoryApi(a_deployment(), *there)

        def in_cluster(work: Callable[..., Awaitable[Any]], **_: Any) -> Any:
            async def done() -> Any:
                return await work(api, "team-a")

            return asyncio.run(done())

        monkeypatch.setattr(cost, "in_cluster", in_cluster)
        done = CliRunner().invoke(application(), ["cost", "--store", url, "-o", "json", *arguments])
        if done.exception:
            raise done.exception
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    return ran


QUEUED = a_finished_run("queued", created=timedelta(days=8), started=timedelta(hours=1))
AT_ONCE = a_finished_run("at-once", created=timedelta(days=6), started=timedelta(days=6))
RUNS = [QUEUED, AT_ONCE]


@pytest.mark.parametrize("recorded", [[], [QUEUED], [AT_ONCE], RUNS], ids=["none", "queued", "at-once", "both"])
@pytest.mark.parametrize(("since", "count"), [("7d", 1), ("9d", 2), ("5d", 0)])
def test_a_run_counts_by_when_it_was_created_wherever_it_is(
    told: Told, recorded: list[dict[str, Any]], since: str, count: int
) -> None:
    """One that waited for a week before it started does not come into the sum when it leaves the cluster."""
    there = [run for run in RUNS if run not in recorded]
    found = told("--since", since, there=there, recorded=recorded)
    assert [(each["flow"], each["amount"], each["runs"]) for each in found] == [("etl", str(count), count)][:count]


def test_a_run_that_is_in_both_counts_once(told: Told) -> None:
    assert told(there=RUNS, recorded=RUNS) == [
        {"flow": "etl", "amount": "2", "currency": "EUR", "runs": 2, "unpriced": 0}
    ]


@pytest.mark.parametrize("by", get_args(cost.By))
def test_a_run_counts_for_the_same_wherever_it_is(told: Told, by: str) -> None:
    """Its pool too."""
    labelled = {**AT_ONCE, "metadata": {**AT_ONCE["metadata"], "labels": {BACKFILL_LABEL: "q1"}}}
    in_the_cluster = told("--by", by, there=[labelled], recorded=[])
    assert told("--by", by, there=[], recorded=[labelled]) == in_the_cluster
    names = {"flow": "etl", "deployment": "daily", "namespace": "team-a", "pool": "cpu", "backfill": "q1"}
    assert [each[by] for each in in_the_cluster] == [names[by]]
