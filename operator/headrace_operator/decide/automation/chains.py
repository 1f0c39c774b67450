"""
Runs that Automations start, or run once more, for each other's runs: how long such a chain may be.

    run by hand ──> starts a run (1) ──> starts a run (2) ──> ... ──> 32: no further

Two Deployments that start each other would go on for ever, each at its rate limit, and so would two Automations that retry each other's runs.
A chain that people mean ends long before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.api import keys
from headrace_operator.decide.automation.expressions import EvaluationError, Event

MAX_CHAIN: Final = 32


def next_in_chain(event: Event) -> dict[str, int]:
    """
    `chain` for the action that makes a run for an event whose run an Automation has started itself: how many starts lead to the new run, from 2 on.

    Raises: EvaluationError: it would be one too many.
    """
    run = event.get("run")
    labels = run.get("labels") if isinstance(run, Mapping) else None
    links = _links(labels) if isinstance(labels, Mapping) else 0
    if links >= MAX_CHAIN:
        raise EvaluationError(
            f"its run is the last of {MAX_CHAIN} that Automations started for one another's runs; "
            "find the Deployments that start each other, or the Automations that retry each other's runs, and take one trigger out"
        )
    return {"chain": links + 1} if links else {}


def _links(labels: Mapping[str, Any]) -> int:
    """How many starts lead to the run that carries these labels. People may write there what they like."""
    told = str(labels.get(keys.CHAIN_LABEL, ""))
    if told.isdecimal() and len(told) <= len(str(MAX_CHAIN)):
        return max(1, int(told))
    return 1 if keys.AUTOMATION_LABEL in labels or told else 0
