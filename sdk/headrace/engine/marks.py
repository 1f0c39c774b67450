"""Words about an argument: that it is not to be walked by map(), or that its failure is no obstacle."""

from __future__ import annotations

from typing import Any


class _Mark:
    """A dataclass would cost every import of headrace a millisecond."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Unmapped(_Mark):
    """An argument that is the same for every call of a map()."""

    __slots__ = ()


class FailureAllowed(_Mark):
    """A future, or a list of them, whose failure does not keep a task from running."""

    __slots__ = ()


def unmapped(value: Any) -> Any:
    """The value as an argument of map() that is the same for every call, though it could be walked."""
    return Unmapped(value)


def allow_failure(future: Any) -> Any:
    """
    The future as an argument, or in `wait_for`, of a task that runs also if it fails.

    As an argument it becomes its result, or the exception that ended it. A list of futures may be given too.
    """
    return FailureAllowed(future)
