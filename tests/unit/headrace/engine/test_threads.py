"""Threads for short work."""

import subprocess
import sys
import threading
import time
import weakref

from headrace.engine.threads import ThreadPool

ABANDONED = """
import threading
from headrace.engine.threads import ThreadPool

def works():
    threading.main_thread().join()
    print("done")

pool = ThreadPool(2)
pool.submit(works)
pool.submit(lambda: None)
"""


def test_work_runs_in_at_most_so_many_threads():
    """Further work waits for its turn, and all is done before the threads go."""
    pool, together, done = ThreadPool(3), threading.Barrier(3), []

    def works():
        together.wait(60)  # three of them must run at a time, and no four can
        done.append(threading.current_thread().name)

    for _ in range(9):
        pool.submit(works)
    pool.close()
    pool.join()
    assert len(done) == 9
    assert set(done) == {"headrace_0", "headrace_1", "headrace_2"}


def test_a_free_thread_is_used_before_a_new_one_is_started():
    """And nothing is started ahead of need."""
    pool, names = ThreadPool(3), []
    for _ in range(5):
        while pool._free < len(pool._threads):  # what was done last is done a moment before its thread is free
            time.sleep(0)
        ended = threading.Event()
        pool.submit(lambda: names.append(threading.current_thread().name))
        pool.submit(ended.set)
        assert ended.wait(60)
    pool.close()
    pool.join()
    assert set(names) <= {"headrace_0", "headrace_1"}


def test_work_begins_in_the_order_in_which_it_comes():
    """One thread after the other takes the oldest."""
    pool, order = ThreadPool(1), []
    for number in range(100):
        pool.submit(lambda number=number: order.append(number))
    pool.close()
    pool.join()
    assert order == list(range(100))


def test_a_thread_that_waits_holds_nothing_of_its_last_work():
    """Large arguments are not kept for the next task."""

    class Large:
        def __call__(self):
            pass

    pool, ended = ThreadPool(1), threading.Event()
    work = Large()
    gone = weakref.ref(work, lambda _: ended.set())
    pool.submit(work)
    del work
    assert ended.wait(60)
    assert gone() is None
    pool.close()
    pool.join()


def test_a_process_ends_after_its_work():
    """Threads that wait for more do not hold it up."""
    done = subprocess.run([sys.executable, "-c", ABANDONED], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
