"""What comes of work that goes on elsewhere."""

import asyncio
import signal
import threading
from time import sleep

import pytest

from headrace.engine.outcomes import Outcome


def test_an_outcome_ends_once():
    """The first end counts, whatever comes later."""
    outcome = Outcome()
    assert outcome.begin()
    assert (outcome.running(), outcome.done()) == (True, False)
    outcome.end(1)
    outcome.end(2)
    outcome.fail(ValueError("late"))
    assert (outcome.running(), outcome.done(), outcome.cancelled()) == (False, True, False)
    assert outcome.value() == 1
    assert not outcome.cancel()


def test_a_failure_is_raised_to_whoever_asks():
    """Not to whoever waits."""
    outcome = Outcome()
    outcome.fail(ValueError("no"))
    assert outcome.wait()
    with pytest.raises(ValueError, match="no"):
        outcome.value()


def test_what_was_taken_back_does_not_begin():
    """And what has begun is not taken back."""
    taken_back, begun = Outcome(), Outcome()
    assert taken_back.cancel()
    assert taken_back.cancel()
    assert not taken_back.begin()
    assert begun.begin()
    assert not begun.cancel()
    assert (taken_back.done(), taken_back.cancelled(), begun.done()) == (True, True, False)


def test_a_signal_that_does_not_end_the_wait_is_handled_meanwhile():
    """The system may hand it to another thread, or to this one just before it waits; CPython sees neither while it does."""

    def elsewhere():
        while not outcome._callbacks:
            sleep(0.01)
        sleep(0.1)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        outcome.end(handled.wait(20))

    outcome, handled = Outcome(), threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    thread = threading.Thread(target=elsewhere)
    thread.start()
    try:
        assert outcome.wait()
        assert outcome.value(), "the signal was handled while the main thread waited"
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("close", [lambda outcome: outcome.end(1), lambda outcome: outcome.cancel()])
def test_everybody_who_asked_is_told_once(close):
    """Before the end or after it."""
    outcome, told = Outcome(), []
    outcome.when_done(told.append)
    outcome.when_done(told.append)
    close(outcome)
    outcome.when_done(told.append)
    assert told == [outcome] * 3


def test_threads_wait_until_the_end_or_for_some_time():
    """Several at once; one whose time is up leaves nothing behind."""
    outcome, told = Outcome(), []
    assert not outcome.wait(0)
    assert outcome._callbacks == ()
    waiting = [threading.Thread(target=lambda: told.append(outcome.wait(60))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    outcome.end(None)
    for thread in waiting:
        thread.join()
    assert told == [True] * 3


@pytest.mark.parametrize("end", [lambda outcome: outcome.end(1), lambda outcome: outcome.cancel()])
async def test_event_loops_wait_without_being_blocked(end):
    """For an end in their own thread, or in another one."""
    for in_thread in (True, False):
        outcome = Outcome()
        waiting = outcome.on_loop()
        if in_thread:
            thread = threading.Thread(target=end, args=(outcome,))
            thread.start()
            thread.join()
        else:
            end(outcome)
        await waiting


async def test_whoever_stops_waiting_changes_nothing():
    """The work goes on to its end."""
    outcome = Outcome()
    waiting = outcome.on_loop()
    waiting.cancel()
    assert outcome.begin()
    outcome.end(1)
    assert outcome.value() == 1


def test_a_loop_that_is_gone_is_not_told():
    """It cannot be."""

    async def leaves():
        return outcome.on_loop()

    outcome = Outcome()
    waiting = asyncio.run(leaves())
    thread = threading.Thread(target=outcome.end, args=(1,))
    thread.start()
    thread.join()
    assert outcome.value() == 1
    assert not waiting.done()
