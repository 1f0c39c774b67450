"""A pod that dies in a transaction: operator, local node and pods as real processes."""

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
from headrace import flow, get_transaction, runtime, task, transaction

def journal(line):
    with open("/notes/journal", "a") as file:
        file.write(f"{runtime.flow_run.attempt} {line}\\n")

@task
def write(path):
    get_transaction().set("path", path)
    journal(f"did {path}")
    return path

@write.on_rollback
def undo(txn):
    journal(f"undid {txn.get('path')} of {txn.get('day')}")

@write.on_commit
def publish(txn):
    journal(f"published {txn.get('path')} of {txn.get('day')}")

@flow
def main():
    with transaction() as txn:
        txn.set("day", "monday")
        paths = [write("a"), write("b")]
        if runtime.flow_run.attempt == 1:
            os._exit(137)  # as if killed: the first process of a pod takes no SIGKILL from itself
    if runtime.flow_run.attempt == 2:
        raise ConnectionError("later")
    return paths
"""


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace with an operator, whose flows run as processes on a node of their own."""
    async with a_real_world(client, kubeconfig, namespace, tmp_path, local_node) as found:
        yield found


async def test_the_next_pod_undoes_what_a_killed_one_has_done(world: World, tmp_path: Path) -> None:
    """Then it commits; a third one takes the results of the committed transaction, and calls no hook."""
    notes = tmp_path / "notes"
    notes.mkdir()
    again = {"limit": 3, "delaySeconds": 0}
    fields = {"apiAccess": "None", "retries": again, "infrastructureRetries": again}
    await world.create("Flow", "etl", **a_flow_with_notes(world.namespace, notes, CODE, "main", **fields))
    await world.a_run("etl-1", flow="etl")
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert (status["phase"], status["result"]) == ("Succeeded", {"value": ["a", "b"]}), status
    assert (notes / "journal").read_text().splitlines() == [
        "1 did a",
        "1 did b",
        "2 undid b of monday",
        "2 undid a of monday",
        "2 did a",
        "2 did b",
        "2 published a of monday",
        "2 published b of monday",
    ]
    assert status["tasks"]["cached"] == 2
