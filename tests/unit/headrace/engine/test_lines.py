"""The way of log lines to a stream, from many threads."""

import io
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.engine.lines import MOST_TURNS, MOST_WAITING, LineHandler

THREADS = 8


def a_record(message):
    return logging.LogRecord("headrace.run", logging.INFO, "x.py", 1, message, (), None)


class Stream(io.StringIO):
    """Calls `at_write`, once, before the first write."""

    def __init__(self, at_write=lambda: None):
        super().__init__()
        self.at_write = at_write
        self.writes = 0

    def write(self, text):
        self.writes += 1
        at_write, self.at_write = self.at_write, lambda: None
        at_write()
        return super().write(text)

    def lines(self):
        return self.getvalue().splitlines()


def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_line_is_written_before_the_call_returns():
    """With one thread nothing is put off."""
    handler = LineHandler(stream := Stream())
    for number in range(3):
        handler.handle(a_record(f"line {number}"))
        assert stream.lines()[-1] == f"line {number}"


def test_no_line_is_lost_and_each_thread_keeps_its_order():
    """Whoever holds the pen writes for the others."""
    handler = LineHandler(stream := Stream())

    def write(thread):
        for number in range(500):
            handler.handle(a_record(f"{thread} {number}"))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, range(THREADS)))
    handler.flush()
    for thread in range(THREADS):
        own = [line for line in stream.lines() if line.startswith(f"{thread} ")]
        assert own == [f"{thread} {number}" for number in range(500)]


def test_a_thread_goes_on_while_another_writes():
    """Its line is written by that one, before its call returns."""
    handler = LineHandler(stream := Stream())
    stream.at_write = lambda: in_a_thread(lambda: handler.handle(a_record("second")))
    handler.handle(a_record("first"))
    assert stream.lines() == ["first", "second"]


def test_a_line_logged_while_its_own_thread_writes_comes_after_it():
    """As from the handler of a signal."""
    handler = LineHandler(stream := Stream())
    stream.at_write = lambda: handler.handle(a_record("second"))
    handler.handle(a_record("first"))
    assert stream.lines() == ["first", "second"]


class Pen:
    """A lock that calls `at_wait` when somebody waits for it."""

    def __init__(self, at_wait):
        self.at_wait = at_wait
        self.lock = threading.Lock()
        self.locked = self.lock.locked

    def __enter__(self):
        if not self.lock.acquire(blocking=False):
            self.at_wait()
            self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def test_whoever_puts_down_too_many_lines_waits_for_the_pen():
    """A reader who is slow does not fill the memory."""
    handler = LineHandler(stream := Stream())
    someone_waits = threading.Event()
    handler._pen = Pen(someone_waits.set)
    most = 0

    def write_many():
        nonlocal most
        for _ in range(MOST_WAITING + 10):
            handler.handle(a_record("more"))
            most = max(most, len(handler._waiting))

    eager = threading.Thread(target=write_many)

    def hold():
        eager.start()
        assert someone_waits.wait(10)

    stream.at_write = hold
    handler.handle(a_record("first"))
    eager.join()
    assert most <= MOST_WAITING
    assert stream.lines() == ["first"] + ["more"] * (MOST_WAITING + 10)


def test_a_task_does_not_become_the_writer_of_all():
    """After some writes a thread of its own goes on."""
    handler = LineHandler(stream := Stream())
    writers = []

    def one_more():
        writers.append(threading.current_thread().name)
        if len(writers) < 3 * MOST_TURNS:
            stream.at_write = one_more
            in_a_thread(lambda: handler.handle(a_record("for another")))

    stream.at_write = one_more
    handler.handle(a_record("own"))
    for thread in threading.enumerate():
        if thread.name == "headrace-log":
            thread.join()
    assert len(stream.lines()) == 3 * MOST_TURNS
    assert set(writers[:MOST_TURNS]) == {"MainThread"}
    assert set(writers[MOST_TURNS:]) == {"headrace-log"}


def test_an_interruption_loses_no_line():
    """What was to be written comes with the next line."""
    handler = LineHandler(stream := Stream())

    def interrupt():
        raise KeyboardInterrupt

    stream.at_write = interrupt
    with pytest.raises(KeyboardInterrupt):
        handler.handle(a_record("first"))
    handler.handle(a_record("second"))
    assert stream.lines() == ["first", "second"]


def test_a_stream_that_is_gone_is_told_and_ends_nothing(capsys):
    """As with any handler of the standard library."""
    handler = LineHandler(stream := Stream())
    stream.close()
    handler.handle(a_record("nowhere"))
    assert "--- Logging error ---" in capsys.readouterr().err
    handler.setStream(there := Stream())
    handler.handle(a_record("here"))
    assert there.lines() == ["here"]


def test_filters_have_their_say():
    """A record that one refuses is not written."""
    handler = LineHandler(stream := Stream())
    handler.addFilter(lambda record: record.getMessage() != "secret")
    handler.handle(a_record("secret"))
    handler.handle(a_record("open"))
    assert stream.lines() == ["open"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system knows no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_writes_its_own_lines_only():
    """Even if another thread of its parent was writing."""
    ours, theirs = os.pipe()
    handler = LineHandler(stream := Stream())

    def fork():
        handler.handle(a_record("the parent's"))
        if os.fork():
            return
        handler.setStream(there := Stream())
        handler.handle(a_record("the child's"))
        os.write(theirs, there.getvalue().encode())
        os._exit(0)

    stream.at_write = lambda: in_a_thread(fork)
    handler.handle(a_record("first"))
    os.wait()
    os.close(theirs)
    with os.fdopen(ours) as child:
        assert child.read() == "the child's\n"
    assert stream.lines() == ["first", "the parent's"]
