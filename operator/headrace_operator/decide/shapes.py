"""JSON that others wrote, in the shape that it should have: what is of another one counts as empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """The value; empty where it is no mapping."""
    return value if type(value) is dict or isinstance(value, Mapping) else {}  # the test for an ABC is slow


def mappings(value: object) -> tuple[Mapping[str, Any], ...]:
    """The items of a list, each as `mapping` has it; none where the value is no list."""
    return tuple(map(mapping, value)) if isinstance(value, list | tuple) else ()
