"""What of a FlowRun holds for another go of it, whether a person asks for that or an Automation."""

from __future__ import annotations

from typing import Final

from headrace.api import keys

CARRIED_FIELDS: Final = ("flowRef", "deploymentRef", "parameters", "scheduledTime", "priority")
"""Of its spec."""
OWN_LABELS: Final = frozenset(
    {
        keys.MANAGED_BY_LABEL,
        keys.SCHEDULE_LABEL,
        keys.RERUN_OF_LABEL,
        keys.PARENT_LABEL,
        keys.STARTED_BY_LABEL,
        keys.ROOT_LABEL,
    }
)
"""Labels that speak of the old run; the others are the user's, and limits may select runs by them."""
