"""Libraries that may be there or not, looked for once: a look for one that is missing takes longer than a small result."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def optional(name: str) -> ModuleType | None:
    """The module, or None where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        return None
