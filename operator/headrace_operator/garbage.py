"""How often the process looks for garbage that counting references does not find."""

from __future__ import annotations

import gc
from typing import Final

LOOK_AFTER: Final = (20_000, 20, 20)
"""
Containers made and not freed until the youngest are looked through, then how many looks until the older ones are.

Python's own are 700, 10 and 10. What the API tells of one pod is some hundred dicts and lists, all freed by their counts: a tenth of the
operator's CPU went into looking through them.
"""


def look_seldom() -> None:
    """From now on; what is there already (modules, classes, definitions) is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*LOOK_AFTER)
