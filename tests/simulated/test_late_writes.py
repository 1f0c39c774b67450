"""A write whose answer was lost reaches the API server when its time is nearly up: nobody else may write by then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from contextvars import Context

import pytest

from headrace.kubeapi.errors import ApiError, Unreachable
from headrace.slots import holder_of
from headrace_operator.decide.sharding import shard_of
from headrace_operator.manifests.shard import shard_name
from headrace_operator.wiring import LEADER_LEASE
from tests.simulated import timeless
from tests.simulated.client import Answer, Direct, Sent
from tests.simulated.cluster import HOME, INLINE, PLURALS, AnyOperator, a_cluster, an_operator, at_work, path

SHARDS = 4
TEAMS = tuple(f"team-{number}" for number in range(8))
QUIET_S = 20.0
NEARLY = 0.95
"""Of the time that a write has."""


class LateWay(Direct):
    """
    Args:
        holder_of: Who may write for a namespace at the moment.

    Attributes:
        is_bad: Whether writes for a team lose their answers at once, and take their time themselves.
        has_lost: Set once there was such a write.
        arrived: Who held what each of them writes to when it arrived, "" for nobody.
    """

    def __init__(self, holder_of: Callable[[str], str]) -> None:
        self.is_bad = False
        self.has_lost = asyncio.Event()
        self.arrived: list[str] = []
        self._holder_of = holder_of

    async def travel(self, sent: Sent, answer: Answer) -> bytes:
        """The answer, or none."""
        _, _, path = sent.path.partition("/namespaces/team-")
        if not self.is_bad or sent.body is None or not path:
            return await super().travel(sent, answer)
        team = "team-" + path.partition("/")[0]
        late_s = sent.timeout_s * NEARLY
        asyncio.get_running_loop().call_later(late_s, self._arrive, team, sent, answer, context=Context())
        self.has_lost.set()
        raise Unreachable(0, "Unreachable", "connection reset")

    def _arrive(self, team: str, sent: Sent, answer: Answer) -> None:
        self.arrived.append(self._holder_of(team))
        with suppress(ApiError):  # a Conflict: somebody else has changed the object meanwhile
            answer(sent)


class Story:
    """An operator called right, whose way gets bad as runs are created; and left, who would do the work too."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._cluster = a_cluster()
        self.way = LateWay(self._holder_of)
        self.work = AsyncExitStack()

    def operator(self, identity: str) -> AnyOperator:
        """One that is not at work yet."""
        way = self.way if identity == "right" else None
        return an_operator(self._cluster, identity=identity, shards=self._shards, way=way)

    async def begins(self, identity: str) -> AnyOperator:
        """An operator that is at work until the end, and has had the time to take all that it can get."""
        operator = self.operator(identity)
        await self.work.enter_async_context(at_work(operator))
        await asyncio.sleep(QUIET_S)
        return operator

    async def loses_answers(self) -> None:
        """Of writes for runs that are created now. Returns when there was one."""
        for team in TEAMS:
            self._cluster.store.create(PLURALS["Namespace"], "", {"metadata": {"name": team}}, agent="tests")
            await self._cluster.make("Flow", "load", team, INLINE)
        await asyncio.sleep(QUIET_S)
        self.way.is_bad = True
        for team in TEAMS:
            body = {"metadata": {"name": "run"}, "spec": {"flowRef": {"name": "load"}}}
            await self._cluster.client().create(path("FlowRun", team), body)
        await self.way.has_lost.wait()

    def _holder_of(self, namespace: str) -> str:
        name = LEADER_LEASE if self._shards == 1 else shard_name(shard_of(namespace, self._shards))
        return holder_of(self._cluster.store.all(PLURALS["Lease"])[HOME, name].obj)


async def is_told_to_stop(story: Story) -> None:
    """It gives back what it has."""
    right = await story.begins("right")
    await story.begins("left")
    await story.loses_answers()
    await right.rest()


async def is_joined_by_another(story: Story) -> None:
    """It gives a part of what it has."""
    await story.begins("right")
    await story.loses_answers()
    await story.begins("left")


async def starts_anew_and_is_told_to_stop(story: Story) -> None:
    """Its process died after the write went onto the wire; the next one of its name takes what it had, and gives it back."""
    async with at_work(story.operator("right")):
        await asyncio.sleep(QUIET_S)
        await story.begins("left")
        await story.loses_answers()
    story.way.is_bad = False
    right = story.operator("right")
    await story.work.enter_async_context(at_work(right))
    await right.is_ready.wait()
    await right.rest()


@pytest.mark.parametrize("shards", [1, SHARDS])
@pytest.mark.parametrize(
    "happens", [is_told_to_stop, is_joined_by_another, starts_anew_and_is_told_to_stop], ids=lambda each: each.__name__
)
def test_nobody_else_holds_what_it_writes_to_if_an_operator(
    happens: Callable[[Story], Awaitable[None]], shards: int
) -> None:
    """It is the operator's own still, or nobody's."""

    async def story() -> list[str]:
        told = Story(shards)
        async with told.work:
            await happens(told)
            await asyncio.sleep(QUIET_S)
        return told.way.arrived

    arrived = timeless.run(story())
    assert "right" in arrived
    assert "left" not in arrived
