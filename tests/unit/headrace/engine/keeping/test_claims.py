"""One holder at a time, whoever dies when."""

import random
import subprocess
import sys
import threading

import pytest

from headrace.engine.clock import SystemClock
from headrace.engine.keeping.claims import LEASE_S, SKEW_S, KeyLock, claim_of
from headrace.errors import ResultsError
from tests.unit.headrace.engine.keeping.memory import Memory
from tests.unit.headrace.engine.keeping.test_cache import Clock


def names(memory):
    return [key.rpartition("/")[2] for key in memory.objects]


def a_lock(memory, clock, holder="a", **changes):
    return KeyLock(
        memory, "k", claim_of(holder, changes.pop("run", holder), changes.pop("attempt", 1)), clock, **changes
    )


def taken(lock, memory):
    return lock.taken(names(memory))


def test_one_holds_it_until_it_is_given_back():
    """Then the next one does; the numbers grow, and one object stays."""
    memory, clock = Memory(), Clock()
    first, second = a_lock(memory, clock), a_lock(memory, clock, "b")
    assert taken(first, memory)
    assert not taken(second, memory)
    assert second.others.holder == "a"
    first.release()
    assert taken(second, memory)
    assert names(memory) == ["lock-2"]
    second.release()


def test_a_holder_that_renews_keeps_it():
    """However long it takes."""
    memory, clock = Memory(), Clock()
    first, second = a_lock(memory, clock), a_lock(memory, clock, "b")
    assert taken(first, memory)
    for _ in range(10):
        assert not taken(second, memory)
        clock.passed_s += LEASE_S / 2
        assert first._beat()
    first.release()


def test_one_that_does_not_loses_it():
    """It learns of it with its next beat, and gives back nothing that is not its own."""
    memory, clock = Memory(), Clock()
    first, second = a_lock(memory, clock), a_lock(memory, clock, "b")
    assert taken(first, memory)
    assert not taken(second, memory)
    clock.passed_s += LEASE_S
    assert taken(second, memory)
    assert not first._beat()
    first.release()
    assert not taken(a_lock(memory, clock, "c"), memory)
    second.release()


def test_clocks_may_differ():
    """Whoever waits trusts its own, unless the lock is long over."""
    memory, there, here = Memory(), Clock(), Clock()
    here.passed_s = LEASE_S + SKEW_S - 1
    first = a_lock(memory, there)
    assert taken(first, memory)
    assert not taken(a_lock(memory, here, "b"), memory)
    here.passed_s += 2
    late = a_lock(memory, here, "b")
    assert taken(late, memory)
    late.release()
    first.release()


def test_what_is_no_lock_is_waited_for_too():
    """A torn object says nothing: the lease counts."""
    memory, clock = Memory(), Clock()
    memory.objects["k/lock-1"] = b"{"
    lock = a_lock(memory, clock)
    assert not taken(lock, memory)
    clock.passed_s += LEASE_S
    assert taken(lock, memory)
    lock.release()


def test_who_looked_long_ago_does_not_take_a_number_again():
    """Between the look and the put, two others have held it, and their numbers were taken away."""
    memory, clock = Memory(), Clock()
    late, seen = a_lock(memory, clock, "late"), names(memory)
    for holder in ("a", "b"):
        lock = a_lock(memory, clock, holder)
        assert taken(lock, memory)
        if holder == "a":
            lock.release()
    assert names(memory) == ["lock-2"]
    assert not late.taken(seen)
    assert names(memory) == ["lock-2"]
    lock.release()


def test_a_lock_that_was_given_up_is_not_taken_later():
    """Its run was cancelled while a thread asked for it."""
    memory, clock = Memory(), Clock()
    lock = a_lock(memory, clock)
    memory.after = lambda what: lock.release_later() if what.startswith("put_new") else None
    assert not taken(lock, memory)
    memory.after = lambda _: None
    other = a_lock(memory, clock, "b")
    assert taken(other, memory)
    other.release()


def test_the_heart_beats_while_it_is_held():
    """In a thread, and over faults of the storage."""
    memory, beats = Memory(), threading.Event()
    faults = iter([True, False, False])

    def beat(what):
        if what.startswith("put "):
            if next(faults, False):
                raise ResultsError("memory://", "k", "503")
            if len(memory.calls("put")) >= 2:
                beats.set()

    memory.before = beat
    lock = a_lock(memory, SystemClock(), renew_s=0.01)
    assert taken(lock, memory)
    assert beats.wait(30)
    lock.release()
    assert not lock.held


def test_many_at_once():
    """Never are two inside; the seed is told."""
    seed = random.randrange(2**32)
    print("seed", seed)
    memory, clock, inside, done, dice = Memory(), SystemClock(), [], [], random.Random(seed)
    turns = threading.Lock()

    def pause(_what):
        with turns:
            long = dice.random() < 0.05
        if long:
            threading.Event().wait(0.001)

    memory.before = memory.after = pause

    def work(number):
        for _ in range(10):
            lock = a_lock(memory, clock, f"{number}")
            while not lock.taken([key.rpartition("/")[2] for key in memory.list("k")]):
                pass
            inside.append(number)
            if len(inside) != 1:
                done.append("two")
            inside.remove(number)
            done.append(number)
            lock.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "two" not in done
    assert len(done) == 60


HANGS = """
import sys, threading
import pytest

from headrace.engine.clock import SystemClock
from headrace.engine.keeping import claims
from tests.unit.headrace.engine.keeping.memory import Memory
claims.RELEASE_S = float(sys.argv[1])
memory = Memory()
lock = claims.KeyLock(memory, "k", claims.claim_of("a", "r", 1), SystemClock())
assert lock.taken([])
def slow(what):
    threading.Event().wait(float(sys.argv[2]))
    print("released", flush=True)
memory.before = slow
lock.release_later()
"""


@pytest.mark.parametrize(("patience", "storage", "told"), [("60", "0.2", "released\n"), ("0.05", "3600", "")])
def test_the_end_of_a_process_waits_for_its_locks_but_not_for_ever(patience, storage, told):
    """A storage that hangs would keep the pod."""
    ended = subprocess.run(
        [sys.executable, "-c", HANGS, patience, storage], capture_output=True, text=True, timeout=50, check=True
    )
    assert ended.stdout == told
