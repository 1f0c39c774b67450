"""Two operators: one works, the other takes over when the first is gone, and a deposed one writes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import Unreachable
from headrace_operator.errors import LeadershipLostError
from tests.cluster.support import violations
from tests.cluster.support.audit import WRITES, Request, read
from tests.cluster.support.puppet import Ends, Puppet, Runs, report
from tests.cluster.support.replicas import Replicas
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World

LEASE_S = 8.0
"""Long enough that a leader which a busy machine starves for some seconds goes on."""
SLACK_S = 6.0
"""For the processes of a busy machine: a list and a first reconcile."""
NAMES = ("left", "right")


@dataclass
class Pair:
    """Two replicas, of which one leads."""

    world: World
    replicas: Replicas
    client: KubeClient
    audit_log: Path
    since: int

    async def leads(self, *, besides: str = "", within_s: float = LEASE_S + SLACK_S) -> str:
        """Who leads, once somebody other than `besides` does."""

        async def look() -> str | None:
            leader = await self.replicas.leader(self.client)
            return leader if leader not in {"", besides} else None

        return await eventually(look, within_s=within_s, what=f"another one than {besides or 'nobody'} leads")

    def other(self, name: str) -> str:
        """The identity of the other one."""
        return next(each for each in NAMES if each != name)

    def requests(self) -> list[Request]:
        """All since the pair was started."""
        return read(self.audit_log, since=self.since)

    def requests_of(self, name: str) -> list[Request]:
        """What one of the two asked for."""
        return [request for request in self.requests() if request.operator == name]

    def writes_of(self, name: str) -> list[Request]:
        """What it wrote or tried to, its word in the leader Lease left out."""
        word = {("leases", self.replicas.lease), ("leases", "")}  # a create that was refused names none
        return [r for r in self.requests_of(name) if r.verb in WRITES and (r.resource, r.name) not in word]


@pytest.fixture
async def pair(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, audit_log: Path
) -> AsyncIterator[Pair]:
    """Both run, one leads, and the Flow is there."""
    replicas = Replicas(kubeconfig, tmp_path, served=namespace, home=namespace, identities=NAMES, lease_s=LEASE_S)
    async with Puppet(client, namespace) as puppet:
        world = World(client, namespace, replicas[NAMES[0]], puppet)
        pair = Pair(world, replicas, client, audit_log, audit_log.stat().st_size)  # noqa: ASYNC240 - before anything runs
        try:
            replicas.start()
            await pair.leads(within_s=30)
            await world.a_flow()
            yield pair
        finally:
            replicas.kill()
            for name, process in replicas.processes.items():
                print(f"--- {name}\n{process.log.read_text()[-3000:]}")


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """The block takes no longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


async def test_exactly_one_works(pair: Pair) -> None:
    """The other one watches the leader Lease and does nothing else."""
    leader = await pair.leads()
    idle = pair.other(leader)
    await eventually(lambda: pair.requests_of(idle), what="the other one has started")
    await pair.world.a_run("etl-1")
    await pair.world.finished("etl-1")
    assert pair.writes_of(leader)
    assert {(r.verb, r.name) for r in pair.requests_of(idle)} <= {
        ("get", pair.replicas.lease),
        ("list", pair.replicas.lease),
        ("watch", pair.replicas.lease),
        ("create", pair.replicas.lease),  # both find none when they start, and one loses
        ("create", ""),
    }


async def test_the_other_takes_over_from_one_that_was_killed(pair: Pair) -> None:
    """After the lease; what was under way goes on."""
    pair.world.puppet.script = lambda _pod: Runs(Ends(message=report()))
    await pair.world.a_run("etl-1")
    await pair.world.run_is("etl-1", "Running")
    killed = await pair.leads()
    async with within(LEASE_S + SLACK_S):
        pair.replicas[killed].kill()
        await pair.world.a_run("etl-2")
        await pair.world.pod("etl-2-1")
    pair.world.puppet.end("etl-1-1")
    pair.world.puppet.end("etl-2-1")
    assert (await pair.world.finished("etl-1"))["phase"] == "Succeeded"
    assert (await pair.world.finished("etl-2"))["phase"] == "Succeeded"
    assert pair.world.puppet.started == ["etl-1-1", "etl-2-1"]
    assert violations.written_while_deposed(pair.requests()) == []


async def test_the_other_takes_over_at_once_from_one_that_was_told_to_stop(pair: Pair) -> None:
    """It gives the Lease back before it ends, so nobody waits for its end."""
    stopped = await pair.leads()
    async with within(LEASE_S):
        pair.replicas[stopped].stop()
        await pair.leads(besides=stopped)
    assert pair.replicas[stopped].exit_code == 0
    await pair.world.a_run("etl-1")
    assert (await pair.world.finished("etl-1"))["phase"] == "Succeeded"


async def test_one_that_was_stopped_for_longer_than_its_lease_writes_nothing_when_it_wakes(pair: Pair) -> None:
    """It is stopped while it has work to do, wakes with that work still to do, and ends instead of doing it."""
    deposed = await pair.leads()
    process = pair.replicas[deposed]
    await pair.world.a_run("etl-0")
    await pair.world.finished("etl-0")
    os.kill(process.pid, signal.SIGSTOP)
    try:
        await asyncio.gather(*(pair.world.a_run(f"etl-{number}") for number in range(1, 21)))
        await asyncio.sleep(LEASE_S)
        assert await pair.leads(besides=deposed) == pair.other(deposed)
        await asyncio.gather(*(pair.world.finished(f"etl-{number}") for number in range(1, 21)))
        before = len(pair.writes_of(deposed))
    finally:
        os.kill(process.pid, signal.SIGCONT)
    await eventually(lambda: process.exit_code is not None, within_s=10, what="the deposed one ends")
    assert len(pair.writes_of(deposed)) == before > 0
    assert violations.written_while_deposed(pair.requests()) == []
    assert len(pair.world.puppet.started) == 21


async def test_a_deposed_one_stands_by_when_it_is_started_again(pair: Pair) -> None:
    """It leads again when its turn comes."""
    first = await pair.leads()
    pair.replicas[first].kill()
    second = await pair.leads(besides=first)
    pair.replicas.start()
    await pair.world.a_run("etl-1")
    await pair.world.finished("etl-1")
    assert await pair.replicas.leader(pair.client) == second
    pair.replicas[second].kill()
    assert await pair.leads(besides=second) == first


async def test_a_write_that_may_not_go_out_any_more_is_not_sent(client: KubeClient, namespace: str) -> None:
    """The check comes when the request goes onto the wire, not when it is made; reads pass."""
    allowed = [True]

    def check() -> None:
        if not allowed[0]:
            raise LeadershipLostError("left")

    path = f"/api/v1/namespaces/{namespace}/configmaps"
    async with KubeClient(client.connection, check=check) as checked:
        await checked.create(path, {"metadata": {"name": "before"}})
        writing = asyncio.create_task(checked.create(path, {"metadata": {"name": "after"}}))
        allowed[0] = False
        with pytest.raises(Unreachable, match="another operator may lead by now"):
            await writing
        with pytest.raises(Unreachable):
            await checked.delete(f"{path}/before")
        names = {item["metadata"]["name"] for item in await checked.list(path)}
    assert "before" in names
    assert "after" not in names
