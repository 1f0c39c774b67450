"""
Which new go of a run a button makes: the one that its page was made for, however often and by however many it is pressed.

Not the next one that is free then: the dashboard sees a new run within milliseconds, and the second click of two would make another.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from headrace.cli.again import name_of_go
from headrace_dashboard.site import Refusal

MAX_GOES: Final = 50
GO: Final = re.compile("[1-9][0-9]{0,3}")


class Runs(Protocol):
    """The runs that are known."""

    def get(self, namespace: str, name: str) -> object | None: ...


def next_go(runs: Runs, namespace: str, name: str, uid: str) -> int:
    """The first go of a run that is not known; one more than MAX_GOES where all are."""
    goes = range(1, MAX_GOES + 1)
    return next((go for go in goes if runs.get(namespace, name_of_go(name, uid, go)) is None), MAX_GOES + 1)


def go_from(run: str, said: object) -> int:
    """The go that a form of the run was made for. Raises: Refusal: it does not say, or there were too many."""
    if not isinstance(said, str) or not GO.fullmatch(said):
        raise Refusal(f"the form does not say which go of run {run} it makes; load the page again")
    if int(said) > MAX_GOES:
        raise Refusal(f"run {run} was run again {MAX_GOES} times already; start its Deployment anew")
    return int(said)
