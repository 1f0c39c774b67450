"""How often the process looks for garbage that counting references does not find, and what it gives back to the system."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

LOOK_AFTER: Final = (20_000, 20, 20)
"""
Containers made and not freed until the youngest are looked through, then how many looks until the older ones are.

Python's own are 700, 10 and 10. What the API tells of one pod is some hundred dicts and lists, all freed by their counts: a tenth of the
operator's CPU went into looking through them.
"""

M_MMAP_THRESHOLD: Final = -3
"""Of mallopt(3)."""
LARGE: Final = 128 * 1024
"""
Bytes from which on memory is asked of the system for itself, and goes back to it when it is free.

That is the bound of glibc until the first such piece is freed; then it rises to the size of that. Each TLS connection has a buffer of 256 KiB: where
those come and go among small pieces, the heap keeps their holes. In half an hour it had 16 MiB of them.
"""


def give_back_buffers() -> None:
    """From now on, large pieces of memory go back to the system when they are free. Does nothing where the C library is not glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def look_seldom() -> None:
    """From now on; what is there already (modules, classes, definitions) is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*LOOK_AFTER)
