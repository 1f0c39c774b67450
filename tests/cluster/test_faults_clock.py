"""
A clock that jumps, by hours and days, forth and back, while runs go on: nothing is lost, doubled or exceeded.

It is never behind the nodes' clocks: a retry is due by the time at which a node saw the last attempt end, and would be waited for.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace_operator.settings import Settings
from headrace_operator.wiring import Operator, Outside
from tests.cluster.support.background import meanwhile
from tests.cluster.support.trial import Trial, planned, play
from tests.cluster.support.world import a_world

RUNS = 30
WITHIN_S = 180
JUMP_EVERY_S = 1.0
LONGEST_H = 48.0


class JumpingClock:
    """The time of day, somewhere within the next two days."""

    def __init__(self) -> None:
        self.jumps = 0
        self._off = timedelta()
        self._dice = random.Random(7)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._off

    async def jump(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(JUMP_EVERY_S)
            self._off = timedelta(hours=self._dice.uniform(0, LONGEST_H))
            self.jumps += 1


@pytest.mark.timeout(2 * WITHIN_S)
async def test_a_clock_that_jumps_loses_doubles_and_exceeds_nothing(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, audit_log: Path
) -> None:
    """Leadership and slots go by a clock that cannot jump; runs and pods go by what the API says."""
    clock, runs = JumpingClock(), planned(RUNS)
    settings = Settings(
        namespace=namespace,
        operator_namespace=namespace,
        identity="inside",
        leader_lease_s=300,  # it shares its process with a test, and a slow machine with others
        orphan_ttl_s=30 * 24 * 3600,
    )
    connection = load_connection(str(kubeconfig))
    operator = Operator(settings, connection, registry=CollectorRegistry(), outside=Outside(clock=clock))
    async with a_world(client, kubeconfig, namespace, tmp_path, script=play, start=False) as world:
        trial = Trial(world, audit_log)
        await trial.prepare()
        try:
            async with meanwhile(operator.run(), clock.jump()):
                await trial.create(runs)
                outcomes = await trial.outcomes(within_s=WITHIN_S)
        finally:
            await operator.close()
            await trial.remove()
    requests = trial.requests()
    assert outcomes == {run.name: run.outcome for run in runs}
    assert trial.pods(requests) == {run.name: run.pods for run in runs}
    assert trial.violations(requests) == {}
    assert clock.jumps >= 1
