"""A retried run resumes after the last task that finished: operator, local node and pods as real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.real_flows import a_flow_with_notes, a_real_world
from tests.cluster.support.world import World

WITHIN_S = 90

CODE = """
import os
from headrace import flow, runtime, task

def journal(line):
    with open("/notes/journal", "a") as file:
        file.write(f"{runtime.flow_run.attempt} {line}\\n")

@task
def extract(day):
    journal(f"extract {day}")
    return {"day": day}

@task
def load(row):
    journal(f"load {row['day']}")
    if runtime.flow_run.attempt == 1 and row["day"] == 2:
        os._exit(137)
    if runtime.flow_run.attempt == 2 and row["day"] == 3:
        raise ConnectionError("refused")
    return row["day"]

@flow
def main():
    rows = extract.map(range(5)).result()
    return sum(load(row) for row in rows)
"""


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace with an operator, whose flows run as processes on a node of their own."""
    async with a_real_world(client, kubeconfig, namespace, tmp_path, local_node) as found:
        yield found


async def test_a_retried_run_takes_what_its_earlier_pods_have_finished(world: World, tmp_path: Path) -> None:
    """One pod ends as if it was killed, the next one fails; the third one ends, and the status says how many tasks it did not run."""
    notes = tmp_path / "notes"
    notes.mkdir()
    again = {"limit": 3, "delaySeconds": 0}
    fields = {"apiAccess": "None", "retries": again, "infrastructureRetries": again}
    await world.create("Flow", "etl", **a_flow_with_notes(world.namespace, notes, CODE, "main", **fields))
    run = await world.a_run("etl-1", flow="etl")
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert (status["phase"], status["result"]) == ("Succeeded", {"value": 10}), status
    assert [each["number"] for each in status["attempts"]] == [1, 2, 3]
    assert status["tasks"] == {"total": 10, "succeeded": 10, "failed": 0, "cached": 8, "retried": 0, "subflows": 0}
    lines = (notes / "journal").read_text().splitlines()
    assert sorted(lines[:5]) == [f"1 extract {day}" for day in range(5)]
    assert lines[5:] == [*(f"1 load {day}" for day in range(3)), "2 load 2", "2 load 3", "3 load 3", "3 load 4"]
    finished = notes / "results" / world.namespace / "etl-1" / run["metadata"]["uid"] / "finished"
    assert len(list(finished.iterdir())) == 10
