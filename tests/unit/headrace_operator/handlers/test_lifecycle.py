"""The operator's work begins and ends with the process of kopf."""

import asyncio

import kopf

from headrace_operator.handlers.lifecycle import Lifecycle


async def test_stopping_ends_the_work_and_what_waits_for_the_stop():
    """Nothing is left that kopf would give time to end: a process that was told to stop is gone at once."""
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    lifecycle = Lifecycle(work, lambda: True)
    await lifecycle.start(settings=kopf.OperatorSettings())
    await asyncio.sleep(0)
    await lifecycle.stop()

    assert ended == ["work"]
    assert lifecycle.stop_flag.is_set()
    assert lifecycle.failure is None


async def test_work_that_breaks_stops_the_process():
    """It must be started anew; the failure is kept for the exit status."""

    async def work():
        raise ConnectionError("the cluster is gone")

    lifecycle = Lifecycle(work, lambda: False)
    await lifecycle.start(settings=kopf.OperatorSettings())
    await asyncio.wait_for(lifecycle.stop_flag.wait(), 5)

    assert str(lifecycle.failure) == "the cluster is gone"
