"""One operator process after another, in a loop where time is skipped: killed and stopped as processes are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import copy_context
from datetime import datetime, timedelta

from headrace_operator.errors import LeadershipLostError
from headrace_operator.sharding.operator import ShardedOperator
from headrace_operator.wiring import Operator
from tests.simulated.cluster import AnyOperator, Cluster, an_operator, loop_clock, loop_time
from tests.simulated.faults import CALM, BadWay, Faults
from tests.simulated.timeless import WHOSE, the_loop

STARTS_ANEW_IN_S = 1.0
BURIED_IN_S = 0.5
LEASE_S = 4.0
"""Shorter than the default, so that leaders change often."""


class Replica:
    """
    Args:
        identity: The same for each of its processes: one that starts anew need not wait for the lease of the last.
        mutation: Breaks each of its operators.
        shards: How many are shared; 1 for an operator that does all while it leads.

    Attributes:
        skew_s: By how much its clock is wrong.
        stopped_at_s: What its monotonic clock shows, if that stands still.
        problems: What an operator ended by, other than the loss of its lease.
    """

    def __init__(
        self,
        cluster: Cluster,
        identity: str,
        faults: Faults,
        dice: random.Random,
        *,
        shards: int = 1,
        mutation: Callable[[Operator], None] | None = None,
    ) -> None:
        self.identity = identity
        self.skew_s = 0.0
        self.stopped_at_s: float | None = None
        self.problems: list[str] = []
        self.operator: AnyOperator | None = None
        self.blows = 0
        self._cluster = cluster
        self._faults = faults
        self._dice = dice
        self._mutation = mutation
        self._shards = shards
        self._part = ""
        self._ways: list[BadWay] = []
        self._processes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._dead: list[str] = []

    @property
    def faults(self) -> int:
        """How many befell it."""
        return self.blows + sum(way.count for way in self._ways)

    @property
    def leads(self) -> bool:
        """Whether it may write, be it for one shard."""
        if isinstance(self.operator, ShardedOperator):
            return bool(self.operator.ring.held)
        return self.operator is not None and self.operator.leadership.leads

    @property
    def is_about_to_write(self) -> bool:
        """Whether a write of it is about to go onto the wire."""
        return self._ways[-1].departing > 0

    def start(self) -> None:
        """A new process."""
        self._part = f"{self.identity}-{self._processes}"
        self._processes += 1
        way = BadWay(self._faults, self._dice, self.kill)
        self._ways.append(way)
        context = copy_context()
        context.run(WHOSE.set, self._part)
        task = the_loop().create_task(self._live(way), context=context)
        task.add_done_callback(self._over)
        self._tasks.append(task)

    def kill(self) -> None:
        """It does nothing more from now on; the next one starts soon."""
        if self._part in self._dead:
            return
        self.blows += 1
        self._ways[-1].die()
        self._dead.append(self._part)
        the_loop().stop_part(self._part)
        context = copy_context()
        context.run(WHOSE.set, "")
        the_loop().call_later(BURIED_IN_S, self._bury, self._part, self._tasks[-1], context=context)
        the_loop().call_later(STARTS_ANEW_IN_S, self.start, context=context)

    def stop(self) -> None:
        """As SIGSTOP does."""
        self.blows += 1
        the_loop().stop_part(self._part)

    def go_on(self) -> None:
        """As SIGCONT does."""
        the_loop().go_on(self._part)

    def hold_up(self, faults: Faults) -> None:
        """Its network gets as bad as this, for what it sends from now on."""
        self.blows += 1
        self._ways[-1].faults = faults

    def let_through(self) -> None:
        """Its network is as it was."""
        self._ways[-1].faults = self._faults

    def calm(self) -> None:
        """Nothing befalls it any more."""
        self._faults = CALM
        for way in self._ways:
            way.faults = CALM
        self.skew_s, self.stopped_at_s = 0.0, None
        if self._part not in self._dead:
            self.go_on()

    async def end(self) -> None:
        """All of its processes are over."""
        for way in self._ways:
            way.is_dead = True
        for task in self._tasks:
            task.cancel()
        for part in self._dead:
            the_loop().go_on(part)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live(self, way: BadWay) -> None:
        while not way.is_dead:
            operator = an_operator(
                self._cluster,
                way=way,
                outside={"clock": self._clock, "monotonic": self.monotonic},
                identity=self.identity,
                leader_lease_s=LEASE_S,
                shards=self._shards,
            )
            self.operator = operator
            if self._mutation is not None and isinstance(operator, Operator):
                self._mutation(operator)
            try:
                await operator.run()
            except BaseExceptionGroup as group:
                others = group.split(LeadershipLostError)[1]
                if others is not None and not way.is_dead:
                    self.problems.append(repr(others))
            finally:
                await operator.close()
            await asyncio.sleep(STARTS_ANEW_IN_S)

    def _bury(self, part: str, task: asyncio.Task[None]) -> None:
        """What it holds is let go of. It reaches nobody any more, so it may as well be cancelled."""
        task.cancel()
        the_loop().go_on(part)

    def _over(self, task: asyncio.Task[None]) -> None:
        """Nothing is kept of it: what it ended by has all that it held in its frames."""
        self._tasks.remove(task)
        if not task.cancelled():
            task.exception()

    def _clock(self) -> datetime:
        return loop_clock() + timedelta(seconds=self.skew_s)

    def monotonic(self) -> float:
        """What its monotonic clock shows."""
        return loop_time() if self.stopped_at_s is None else self.stopped_at_s
