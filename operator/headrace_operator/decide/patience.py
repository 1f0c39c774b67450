"""
How long nothing is told of a run that waits for what most find in a moment.

A status that says so costs a write, and the next event makes it untrue. A single run that is stuck is told of after seconds. Where hundreds
start or wait at once, waiting is what is to be expected: then it is told later, and of most runs never.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

QUIET_START_S: Final = 5.0
"""A pod that runs sooner than this costs no status write of its own while it is pending."""
QUIET_TURN_S: Final = 1.0
"""The same for a run that waits for its turn."""
LONGEST_S: Final = 30.0
"""Whatever goes on, this is soon enough for a person to learn what a run waits for, and late enough for a scheduler to place a thousand pods."""
PER_START_S: Final = 0.5
PER_WAITING_S: Final = 0.02
"""By so much longer for each other one: a busy cluster takes about that long to start a pod, and to end a run."""


@dataclass(frozen=True, slots=True)
class Patience:
    """
    Seconds from the beginning of the wait until it is told.

    Args:
        start_s: Of a pod that starts, from its creation.
        turn_s: Of a run that waits for its turn, and of which nothing was told yet, from its creation.
    """

    start_s: float = QUIET_START_S
    turn_s: float = 0.0


def patience(*, starting: int, waiting: int) -> Patience:
    """
    What is right while so many others do the same.

    Args:
        starting: Pods that do not run yet.
        waiting: Runs that stand in line.
    """
    return Patience(
        start_s=min(LONGEST_S, QUIET_START_S + PER_START_S * starting),
        turn_s=min(LONGEST_S, QUIET_TURN_S + PER_WAITING_S * waiting),
    )
