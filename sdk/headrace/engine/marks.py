"""Words about an argument: that it is not to be walked by map(), or that its failure is no obstacle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unmapped:
    """An argument that is the same for every call of a map()."""

    value: Any


@dataclass(frozen=True, slots=True)
class FailureAllowed:
    """A future, or a list of them, whose failure does not keep a task from running."""

    value: Any


def unmapped(value: Any) -> Any:
    """The value as an argument of map() that is the same for every call, though it could be walked."""
    return Unmapped(value)


def allow_failure(future: Any) -> Any:
    """
    The future as an argument, or in `wait_for`, of a task that runs also if it fails.

    As an argument it becomes its result, or the exception that ended it. A list of futures may be given too.
    """
    return FailureAllowed(future)
