"""
One fault of the network at a time, on the operator's way to the API: no run is lost, none runs twice, no slot leaks, no limit is
exceeded. The API server's audit log is asked, not the operator.

HEADRACE_FAULT_RUNS sets the number of runs under each fault.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.background import meanwhile
from tests.cluster.support.faulty_proxy import Fault, Faults, ProxyProcess
from tests.cluster.support.operator import IMPATIENT, OperatorProcess
from tests.cluster.support.trial import Trial, most_at_once, planned, play
from tests.cluster.support.world import a_world

RUNS = int(os.environ.get("HEADRACE_FAULT_RUNS", "40"))
WITHIN_S = 90 + 0.7 * RUNS
LOOK_S = 0.3

FAULTS = {
    "slow": Faults(slow=0.3),
    "stalled": Faults(stalled=0.01, stalled_s=2.0),
    "lost": Faults(lost=0.15),
    "unanswered": Faults(unanswered=0.15),
    "refused": Faults(refused=0.15),
    "disowned": Faults(disowned=0.15),
    "truncated": Faults(truncated=0.15),
    "repeated": Faults(repeated=0.4),
    "untrue conflicts": Faults(contradicted=0.15),
    "throttled": Faults(throttled=0.02, throttled_s=2),
    "watches lose their history": Faults(gone=0.5, watch_life_s=3.0),
    "watches are cut off": Faults(watch_life_s=2.0),
    "watches end at once": Faults(closed=0.5, watch_life_s=3.0),
    "watches fall silent": Faults(watch_talk_s=8.0),
    "events come twice, late": Faults(doubled=0.6),
}


@asynccontextmanager
async def a_trial(
    client: KubeClient, proxy: ProxyProcess, namespace: str, folder: Path, audit_log: Path
) -> AsyncIterator[Trial]:
    """Everything but the runs; an operator that ends by itself is started again, as a kubelet does."""
    async with a_world(
        client, proxy.kubeconfig, namespace, folder, script=play, start=False, status_delay_s=0.2
    ) as world:
        if proxy.faults.watch_talk_s:
            world.operator.program = (str(IMPATIENT),)
        trial = Trial(world, audit_log)
        await trial.prepare()
        try:
            async with meanwhile(keep_alive(world.operator)):
                yield trial
        finally:
            await trial.remove()


async def keep_alive(operator: OperatorProcess) -> None:
    """For ever."""
    while True:
        await asyncio.sleep(LOOK_S)
        if not operator.runs:
            operator.start()


@pytest.mark.timeout(WITHIN_S + 120)
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_a_fault_loses_doubles_leaks_and_exceeds_nothing(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, audit_log: Path, faults: Faults
) -> None:
    """Every run ends as it should, with as many pods as it should, and nothing forbidden is found in the audit log."""
    runs = planned(RUNS)
    began = time.monotonic()
    async with (
        ProxyProcess(kubeconfig, tmp_path, faults) as proxy,
        a_trial(client, proxy, namespace, tmp_path, audit_log) as trial,
    ):
        await trial.create(runs)
        outcomes = await trial.outcomes(within_s=WITHIN_S)
        counts = await proxy.counts()
        requests = trial.requests()
    print(f"{RUNS} runs in {time.monotonic() - began:.1f} s; {dict(counts)}; {most_at_once(requests)}")
    assert outcomes == {run.name: run.outcome for run in runs}
    assert trial.pods(requests) == {run.name: run.pods for run in runs}
    assert trial.violations(requests) == {}
    assert faults.kinds <= set(counts)
    assert Fault.HASTY not in counts
