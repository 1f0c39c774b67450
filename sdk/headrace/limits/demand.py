"""What a block asks for, and who asks: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import UsageError, shown

MAX_NAME = 63


@dataclass(frozen=True, slots=True)
class Demand:
    """
    Slots that are taken together or not at all.

    Attributes: `slots` of each limit, at least 1, by the limit's name in ascending order; `around` are the slots that the
    same code holds already, in blocks around this one.
    """

    slots: tuple[tuple[str, int], ...]
    around: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        return " and ".join(f'{count} slot{"s" if count > 1 else ""} of limit "{limit}"' for limit, count in self.slots)

    def held_around(self, limit: str) -> int:
        """Slots of this limit that blocks around hold."""
        return sum(count for name, count in self.around if name == limit)

    def problem(self, limit: str, count: int, total: int) -> str | None:
        """Why the limit's `total` slots can never meet this; None if they can."""
        if count > total:
            return f"{count} slots are asked for and there are {total}; ask for fewer, or raise spec.slots"
        around = self.held_around(limit)
        if around + count > total:
            return (
                f"{count} slots are asked for inside a block that holds {around} of {total}: this would wait for itself; "
                "ask for all of them in the outer block"
            )
        return None


def demanded(names: str | Mapping[str, int], slots: int) -> Demand:
    """
    The demand of `concurrency("postgres", slots=2)` or `concurrency({"postgres": 2, "api": 1})`.

    Raises: UsageError: a name or number cannot be one.
    """
    wanted: Any = {names: slots} if isinstance(names, str) else names
    if not isinstance(wanted, Mapping) or not wanted:
        raise UsageError(
            f'concurrency() got {shown(names)}, expected a name such as "postgres", or slots by name: {{"postgres": 2}}'
        )
    if not isinstance(names, str) and slots != 1:
        raise UsageError("concurrency() got slots by name and slots=…; write the numbers beside the names")
    return Demand(tuple(sorted((named("concurrency", name), counted("slots", n)) for name, n in wanted.items())))


def named(what: str, name: object) -> str:
    """The name of a limit. Raises: UsageError: it cannot be one."""
    if (
        isinstance(name, str)
        and 0 < len(name) <= MAX_NAME
        and all(c.isascii() and (c.isalnum() or c in "-.") for c in name)
    ):
        return name
    raise UsageError(
        f"{what}() got the limit {shown(name)}, expected the name of a ConcurrencyLimit: at most {MAX_NAME} lower case "
        "letters, digits, '-' and '.'"
    )


def counted(what: str, count: object) -> int:
    """How many. Raises: UsageError: no whole number from 1."""
    if isinstance(count, int) and not isinstance(count, bool) and count >= 1:
        return count
    raise UsageError(f"{what} is {shown(count)}, expected a whole number from 1")
