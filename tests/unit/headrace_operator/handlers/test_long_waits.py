"""What is due by the time of day is looked at again and again until then, as clocks are set."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from headrace_operator.handlers.worker import LONGEST_SLEEP_S
from headrace_operator.kube.resources import DEPLOYMENTS, FLOW_RUNS, FLOWS
from tests.fake_cluster import names
from tests.unit.headrace_operator.handlers.test_worker import INLINE, Operator

YEARLY = {"flowRef": {"name": "etl"}, "schedules": [{"name": "y", "cron": "0 0 1 1 *"}]}


async def test_a_time_far_ahead_is_looked_at_again_within_minutes() -> None:
    """A timer of months would not hear of a clock that was set."""
    operator = Operator()
    operator.apply(FLOWS, "etl", INLINE)
    operator.apply(DEPLOYMENTS, "daily", YEARLY)
    await operator.rests()
    now = asyncio.get_running_loop().time()
    waits = [timer.when() - now for timer in operator.queue._timers.values()]
    assert waits
    assert max(waits) <= LONGEST_SLEEP_S
    operator.queue.close()


async def test_a_clock_that_is_set_forward_makes_a_time_due_at_the_next_look() -> None:
    """The run is made then, not when the first timer would have ended."""
    operator = Operator()
    operator.apply(FLOWS, "etl", INLINE)
    operator.apply(DEPLOYMENTS, "daily", YEARLY)
    await operator.rests()
    assert list(names(operator.cluster.all(FLOW_RUNS))) == []
    operator.now += timedelta(days=366)
    await operator.what_is_delayed()
    assert len(operator.cluster.all(FLOW_RUNS)) == 1
    operator.queue.close()
