"""Triggers of Deployments in a few words, for lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WORDS: Final = {
    "lateRun": "late runs",
    "longRun": "long runs",
    "circuitOpen": "open circuits",
    "webhook": "webhook",
    "limitSaturated": "saturated limits",
    "metric": "metric",
    "kubernetesEvent": "Kubernetes Events",
}


def trigger_text(trigger: Mapping[str, Any]) -> str:
    """What it waits for, such as "extract Succeeded", of a trigger as the API has it."""
    event = next((name for name in ("run", *WORDS) if isinstance(trigger.get(name), Mapping)), None)
    if event is None:  # of a newer definition
        return str(trigger.get("name") or "")
    choice = trigger[event]
    named = ", ".join([*choice.get("deployments", ()), *choice.get("flows", ()), *choice.get("limits", ())])
    if event == "run":
        return f"{named or 'runs'} {'/'.join(choice.get('phases') or ())}"
    return f"{WORDS[event]} of {named}" if named else WORDS[event]
