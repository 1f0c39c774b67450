"""Where submitted tasks run."""

from time import monotonic

import pytest

from headrace.engine.runners import THREADS
from headrace.engine.workers import Workers
from headrace.errors import RunCancelled


def test_a_task_that_begins_while_its_flow_is_stopped_is_broken_off():
    """It is too late to be taken back, and was not there when the others were broken off."""

    def spins():
        until_s = monotonic() + 60
        while monotonic() < until_s:
            pass

    workers = Workers(THREADS)
    workers.stop()
    future = workers.submit("late-0", spins)
    assert future.done.wait(30)
    with pytest.raises(RunCancelled):
        future.done.value()
    workers.close()
