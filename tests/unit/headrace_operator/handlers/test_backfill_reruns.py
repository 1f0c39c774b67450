"""Backfills whose failed partitions are run once more, at any moment of any history, several times."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.backfill import BackfillStatus
from headrace.backfills.outcomes import decoded
from headrace_operator.kube.resources import BACKFILLS
from tests.builders import NAMESPACE
from tests.unit.headrace_operator.handlers.test_backfill_histories import PARTITIONS, STEPS, Story, played

MOST_RERUNS = 3


class StoryOfReruns(Story):
    """One in which somebody raises spec.rerunFailed now and then."""

    async def act(self, what: str, number: int) -> None:
        if what != "rerun":
            await super().act(what, number)
            return
        found = self.cluster.find(BACKFILLS, NAMESPACE, "bf")
        assert found is not None
        again = {"rerunFailed": min(MOST_RERUNS, found["spec"].get("rerunFailed", 0) + 1)}
        generation = {"generation": found["metadata"].get("generation", 1) + 1}
        await self.cluster.patch(BACKFILLS, NAMESPACE, "bf", {"spec": again, "metadata": generation})


histories = st.lists(st.tuples(st.sampled_from((*STEPS, "rerun", "rerun")), st.integers(0, 30)), max_size=60)
numbers = st.sampled_from([100 * rerun + attempt for rerun in range(MOST_RERUNS + 1) for attempt in (1, 2)])
failures = st.sets(st.tuples(st.integers(0, PARTITIONS - 1), numbers), max_size=25)


@settings(max_examples=25, deadline=None)
@given(history=histories, fails=failures, limit=st.integers(0, 1))
def test_a_partition_is_run_again_only_until_it_succeeds(
    history: list[tuple[str, int]], fails: set[tuple[int, int]], limit: int
) -> None:
    """No run is created twice, none comes after a success, and the last one decides."""
    created, status = asyncio.run(played(StoryOfReruns(fails, limit), history))
    assert set(created.values()) == {1}
    for position in range(PARTITIONS):
        assert told(status, position) == expected(runs_of(created, position), position, fails)


def told(status: BackfillStatus, position: int) -> str:
    outcomes = decoded(status.outcomes)
    return "succeeded" if position in outcomes.succeeded else "failed" if position in outcomes.failed else "open"


def expected(runs: list[int], position: int, fails: set[tuple[int, int]]) -> str:
    assert all((position, number) in fails for number in runs[:-1]), runs
    return "failed" if (position, runs[-1]) in fails else "succeeded"


def runs_of(created: Counter[str], position: int) -> list[int]:
    """The numbers of its runs, ascending, read from their names."""
    further = (name.partition(f"bf-p{position}")[2] for name in created if f"{name}--".startswith(f"bf-p{position}--"))
    return sorted(_number(text.removeprefix("--")) for text in further)


def _number(text: str) -> int:
    """Of "", "2", "r1" or "r1-2"."""
    parts = text.split("-") if text else []
    rerun = int(parts.pop(0)[1:]) if parts and parts[0].startswith("r") else 0
    return 100 * rerun + (int(parts[0]) if parts else 1)
