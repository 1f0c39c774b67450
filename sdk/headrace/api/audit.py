"""Who did what with an object of ours, as the API server noted it within the requests themselves (docs/audit.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.api import keys

PARTS: Final = 3
CAUSES: Final[Mapping[str, str]] = {
    keys.BACKFILL_LABEL: "Backfill",
    keys.AUTOMATION_LABEL: "Automation",
    keys.PARENT_LABEL: "run",
    keys.STARTED_BY_LABEL: "run",
    keys.SCHEDULE_LABEL: "schedule",
}
"""What may have started a run, by the label that names it; the first one counts."""


@dataclass(frozen=True, slots=True)
class Deed:
    """
    One thing that somebody did.

    Attributes: `time` as RFC 3339, or "?" where the request hid it; `user` as the API server knows them; `what` in words.
    """

    time: str
    user: str
    what: str


def deeds_of(obj: Mapping[str, Any]) -> tuple[Deed, ...]:
    """What people did with an object as the API gives it, oldest first: who made it, and the newest 19 things after that."""
    noted = (obj["metadata"].get("annotations") or {}).get(keys.AUDIT_ANNOTATION)
    if not noted:
        return ()
    return tuple(
        Deed(*parts) for parts in (line.split(" ", PARTS - 1) for line in noted.split("\n")) if len(parts) == PARTS
    )


def cause_of(run: Mapping[str, Any]) -> str | None:
    """What started a FlowRun, such as "schedule nightly"; None where no label tells."""
    labels = run["metadata"].get("labels") or {}
    return next((f"{what} {labels[label]}" for label, what in CAUSES.items() if labels.get(label)), None)


def account_of(run: Mapping[str, Any]) -> tuple[str, ...]:
    """A line for each thing that was done with a FlowRun, oldest first, its cause before them."""
    cause = cause_of(run)
    told = [f"started by {cause}"] if cause else []
    return (*told, *(f"{deed.time} {deed.user} {deed.what}" for deed in deeds_of(run)))
