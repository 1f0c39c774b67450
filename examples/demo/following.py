"""Follows one run: its phases from the FlowRun, its tasks from the JSON lines of its pods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from examples.demo.screen import Screen
from headrace.api.conditions import FINISHED
from headrace.api.keys import API_VERSION, FLOW_CONTAINER
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection

LOOK_EVERY_S = 0.2
WITHIN_S = 90.0
"""The run takes about 6 s; a machine that is busy with something else may need longer."""
TOLD = {
    "task_started": ("▸", "cyan"),
    "task_retrying": ("↻", "yellow"),
    "task_succeeded": ("✔", "green"),
    "task_failed": ("✘", "red"),
    "log": ("·", "dim"),
}


class GaveUp(Exception):
    """The run did not end as it should; the text says what was seen."""


async def follow(kubeconfig: Path, name: str, screen: Screen, alive: Callable[[], bool]) -> dict[str, Any]:
    """
    The status of the run when it has ended.

    Args:
        alive: Whether the operator still runs.
    Raises: GaveUp: the operator ended, or the run took longer than 90 s.
    """
    async with KubeClient(load_connection(str(kubeconfig))) as client:
        try:
            async with asyncio.timeout(WITHIN_S):
                return await _follow(client, name, screen, alive)
        except TimeoutError as error:
            status = await _status(client, name)
            seen = f"{status.get('phase') or 'not yet looked at'}: {status.get('message') or 'no message'}"
            raise GaveUp(f"run {name} took longer than {WITHIN_S:.0f} s; it is {seen}") from error
        finally:
            screen.still()


async def _follow(client: KubeClient, name: str, screen: Screen, alive: Callable[[], bool]) -> dict[str, Any]:
    shown = 0
    while True:
        status = await _status(client, name)
        attempts = status.get("attempts") or ()
        screen.tick(f"{name} is {status.get('phase') or 'Pending'}")
        for attempt in attempts[shown:]:
            if attempt.get("startedAt"):
                await _show_log(client, attempt["pod"], screen)
            shown = attempt["number"]
        if status.get("phase") in FINISHED:
            return status
        if not alive():
            raise GaveUp("the operator ended")
        await asyncio.sleep(LOOK_EVERY_S)


async def _status(client: KubeClient, name: str) -> dict[str, Any]:
    run = await client.get(f"/apis/{API_VERSION}/namespaces/default/flowruns/{name}")
    status: dict[str, Any] = run.get("status") or {}
    return status


async def _show_log(client: KubeClient, pod: str, screen: Screen) -> None:
    """Shows a pod's log until the pod has ended."""
    parameters = {"follow": "true", "container": FLOW_CONTAINER}
    async for text in client.lines(f"/api/v1/namespaces/default/pods/{pod}/log", parameters):
        try:
            record = json.loads(text)
        except ValueError:  # a library printed it
            screen.line(f"          {text.rstrip()}", "dim")
            continue
        _show(record, screen)


def _show(record: Mapping[str, Any], screen: Screen) -> None:
    event = record.get("event", "")
    if event in TOLD and "task" in record:
        mark, style = TOLD[event]
        screen.task(record["task"], mark, record["message"], style)
    if event == "task_started":
        screen.tick(f"{record['task']} runs")
    if event == "task_retrying":
        screen.tick(f"{record['task']} waits {record['delay_s']:.0f} s before it tries again")
