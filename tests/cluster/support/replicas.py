"""Several operators in one namespace, of which one leads, and a storm that kills and stops them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from headrace.slots import holder_of
from headrace_operator.wiring import LEADER_LEASE
from tests.cluster.support.operator import OperatorProcess
from tests.cluster.support.violations import Waking
from tests.cluster.support.waiting import eventually

LEASE_S = 3.0
"""Short, so that tests need not wait; a leader that hears nothing for half of it ends."""
RESTARTED_AFTER_S = 0.5
IDLE_S = 20.0


class Replicas:
    """
    Operators that serve the same, each with an identity, a log and a process of its own.

    Args:
        served: The namespace that they serve; "" for all.
        home: The namespace of their Leases.
        identities: One a replica.
        lease_s: Of the leader.
        settings: HEADRACE_* variables of all, as OperatorProcess takes them.
    """

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        *,
        served: str,
        home: str,
        identities: Sequence[str],
        lease_s: float = LEASE_S,
        **settings: object,
    ) -> None:
        shared = {"operator_namespace": home, "leader_lease_s": lease_s, **settings}
        self.lease_s = lease_s
        self.processes = {}
        for name in identities:
            own = folder / name
            own.mkdir()
            self.processes[name] = OperatorProcess(kubeconfig, served, own, **{**shared, "identity": name})
        self.home = home
        self.lease = LEADER_LEASE + (f".{served}" if served else "")

    def __getitem__(self, identity: str) -> OperatorProcess:
        return self.processes[identity]

    def start(self, *, besides: Iterable[str] = ()) -> None:
        """Every one that does not run."""
        for name, process in self.processes.items():
            if not process.runs and name not in besides:
                process.start()

    def kill(self) -> None:
        """Every one, stopped ones too."""
        for process in self.processes.values():
            process.kill()

    async def leader(self, client: KubeClient) -> str:
        """Who holds the Lease, "" for nobody."""
        return (await self._seen(client))[0]

    async def until_led(self, client: KubeClient) -> None:
        """Returns once somebody has renewed the Lease twice; a Lease by itself may name a leader that is gone."""
        _, first = await self._seen(client)
        versions = {first}

        async def look() -> bool:
            versions.add((await self._seen(client))[1])
            return len(versions) > 2

        await eventually(look, within_s=60, what="somebody leads")

    async def _seen(self, client: KubeClient) -> tuple[str, str]:
        try:
            lease = await client.get(f"/apis/coordination.k8s.io/v1/namespaces/{self.home}/leases/{self.lease}")
        except NotFound:
            return "", ""
        return holder_of(lease), str(lease["metadata"]["resourceVersion"])


class Turmoil:
    """
    Kills replicas and starts them again, or stops them for longer than their lease and lets them loose again.

    A blow falls a few seconds after a leader has got something done, on the leader or on another one; on a slow machine nothing
    would ever get done otherwise.

    Args:
        done: How much was done so far.
        after_s: The shortest and the longest time until the next blow.
        down_s: The longest time that a killed one is away.
        stops: The share of blows that stop a replica instead of killing it.
    """

    def __init__(
        self,
        replicas: Replicas,
        client: KubeClient,
        done: Callable[[], int],
        *,
        seed: int = 1,
        after_s: tuple[float, float] = (2.0, 8.0),
        down_s: float = 2.0,
        stops: float = 0.25,
    ) -> None:
        self.blows: Counter[str] = Counter()
        self.wakings: list[Waking] = []
        self._down: set[str] = set()
        self._replicas = replicas
        self._client = client
        self._done = done
        self._dice = random.Random(seed)
        self._after_s = after_s
        self._down_s = down_s
        self._stops = stops

    async def rage(self) -> None:
        """For ever; cancel it."""
        while True:
            before = self._done()
            await self._replicas.until_led(self._client)
            await self._until_more_than(before)
            await asyncio.sleep(self._dice.uniform(*self._after_s))
            name = self._dice.choice(sorted(self._replicas.processes))
            who = "leader" if name == await self._replicas.leader(self._client) else "other"
            if self._dice.random() < self._stops:
                self.blows[f"{who} stopped"] += 1
                await self._stop(name)
            else:
                self.blows[f"{who} killed"] += 1
                await self._kill(name)

    async def supervise(self) -> None:
        """For ever: those that ended by themselves, as one that was deposed does, are started as a kubelet would."""
        while True:
            await asyncio.sleep(RESTARTED_AFTER_S)
            self._replicas.start(besides=self._down)

    async def _until_more_than(self, before: int) -> None:
        """At the end nothing more is to be done, and the blows go on."""
        with suppress(AssertionError):
            await eventually(lambda: self._done() > before, within_s=IDLE_S)

    async def _kill(self, name: str) -> None:
        self._down.add(name)
        await asyncio.to_thread(self._replicas[name].kill)
        await asyncio.sleep(self._dice.uniform(0, self._down_s))
        self._down.discard(name)

    async def _stop(self, name: str) -> None:
        victim = self._replicas[name]
        if not victim.runs:
            return
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._replicas.lease_s * self._dice.uniform(1.2, 2.0))
        finally:
            self.wakings.append(Waking(name, time.time()))
            os.kill(victim.pid, signal.SIGCONT)
