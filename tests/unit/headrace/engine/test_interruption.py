"""Time limits inside each other, and the process's one timer."""

import signal
import threading

import pytest

from headrace import TimedOut
from headrace.engine.interruption import Interruptible, time_limit


def spin():
    while True:
        pass


def test_the_inner_limit_ends_the_inner_block_only():
    """The outer one goes on."""
    with time_limit(60, "outer"):
        with pytest.raises(TimedOut, match="inner"), time_limit(0.01, "inner"):
            spin()
        after = "goes on"
    assert after == "goes on"


def test_the_outer_limit_ends_both():
    """It is told as the outer one."""
    with pytest.raises(TimedOut, match="outer"), time_limit(0.01, "outer"), time_limit(60, "inner"):
        spin()


def test_a_limit_that_is_not_reached_leaves_no_trace():
    """Handler and timer are those from before."""
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
    timer = signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with time_limit(60, "block"):
            pass
        assert 990 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
        signal.raise_signal(signal.SIGALRM)
        assert heard == [1]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_a_block_that_cleans_up_may_take_a_limit_of_its_own():
    """After its time was up."""
    with pytest.raises(TimedOut, match="first"), time_limit(0.01, "first"):
        try:
            spin()
        finally:
            with pytest.raises(TimedOut, match="second"), time_limit(0.01, "second"):
                spin()


def in_thread(work):
    """What the function raised in another thread."""
    caught = []

    def run():
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is what the test asks for
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return caught


@pytest.mark.parametrize(("outer", "inner", "told"), [(60, 0.01, "inner"), (0.01, 60, "outer")])
def test_limits_inside_each_other_in_a_thread(outer, inner, told):
    """As in the main thread."""

    def work():
        with time_limit(outer, "outer"), time_limit(inner, "inner"):
            spin()

    (error,) = in_thread(work)
    assert isinstance(error, TimedOut)
    assert error.what == told


def test_an_interruption_after_the_block_does_nothing():
    """It must not arrive in somebody else's code."""
    with Interruptible() as stretch:
        pass
    stretch.interrupt(KeyboardInterrupt)
    assert not stretch.sent


def test_an_interruption_that_arrives_late_is_taken_back():
    """Sent in the last moment of the block, from inside it, so that it is still under way."""

    def work():
        for _ in range(200):
            try:
                with Interruptible() as stretch:
                    stretch.interrupt(ZeroDivisionError)
            except ZeroDivisionError:
                continue

    assert in_thread(work) == []
