"""The operator's work begins and ends with the process of kopf."""

import asyncio

import kopf
from structlog.testing import capture_logs

from headrace_operator.errors import LeadershipLostError
from headrace_operator.handlers.lifecycle import Lifecycle


async def test_stopping_ends_the_work_and_what_waits_for_the_stop():
    """Nothing is left that kopf would give time to end: a process that was told to stop is gone at once."""
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    async def rest():
        ended.append("what was under way")

    lifecycle = Lifecycle(work, rest)
    await lifecycle.start(settings=kopf.OperatorSettings())
    await asyncio.sleep(0)
    await lifecycle.stop()

    assert ended == ["what was under way", "work"]
    assert lifecycle.stop_flag.is_set()
    assert lifecycle.failure is None


async def test_work_that_breaks_stops_the_process():
    """It must be started anew; the failure is kept for the exit status."""

    async def work():
        raise ConnectionError("the cluster is gone")

    async def rest():
        raise AssertionError("there is nothing left to bring to rest")

    lifecycle = Lifecycle(work, rest)
    await lifecycle.start(settings=kopf.OperatorSettings())
    await asyncio.wait_for(lifecycle.stop_flag.wait(), 5)

    assert str(lifecycle.failure) == "the cluster is gone"
    await lifecycle.stop()


async def test_a_lost_leadership_ends_the_process_and_is_no_fault():
    """It is told as what it is, without a traceback."""

    async def work():
        async with asyncio.TaskGroup() as group:
            group.create_task(loses())

    async def loses():
        raise LeadershipLostError("a")

    lifecycle = Lifecycle(work, work)
    with capture_logs() as logs:
        await lifecycle.start(settings=kopf.OperatorSettings())
        await asyncio.wait_for(lifecycle.stop_flag.wait(), 5)

    assert [line["event"] for line in logs] == ["leadership_lost"]
    assert lifecycle.failure is not None
