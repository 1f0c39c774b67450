"""Garbage is looked for seldom, and found all the same; large pieces of memory go back to the system."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from headrace_operator.garbage import LOOK_AFTER, look_seldom


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_cycles_are_found_by_themselves() -> None:
    """Not one by one, but before there are many."""
    look_seldom()
    found: list[object] = []
    knots = LOOK_AFTER[0] * 2
    for _ in range(knots):
        weakref.finalize(Knot(), found.append, None)
    assert found


def test_what_was_there_at_the_start_is_not_looked_through() -> None:
    """Modules and classes stay for ever."""
    look_seldom()
    assert gc.get_freeze_count() > 10_000


MAPPED = """
import ctypes
from headrace_operator.garbage import give_back_buffers

class Mallinfo(ctypes.Structure):
    _fields_ = [(f"field_{number}", ctypes.c_size_t) for number in range(4)] + [("mapped", ctypes.c_size_t)]
    _fields_ += [(f"last_{number}", ctypes.c_size_t) for number in range(5)]

info = ctypes.CDLL(None).mallinfo2
info.restype = Mallinfo
if GIVES_BACK:
    give_back_buffers()
large = bytearray(2**20)
del large
before = info().mapped
buffer = bytearray(2**18)
print(info().mapped - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
@pytest.mark.parametrize(("gives_back", "mapped"), [(False, False), (True, True)])
def test_a_buffer_is_no_part_of_the_heap(gives_back: bool, mapped: bool) -> None:
    """Though a larger one was freed before it was made, which by itself would make it one."""
    script = MAPPED.replace("GIVES_BACK", str(gives_back))
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (int(found.stdout) > 0) is mapped
