"""What a webhook's body says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.api.automation import Body, Firing
from headrace.instants import stamp
from headrace_operator.decide.snapshot import ObjectKey

SUMMARY_LIMIT: Final = 1024
"""PagerDuty takes no longer one."""
SLACK_LIMIT: Final = 4000


def webhook_body(hook: Mapping[str, Any], automation: ObjectKey, firing: Firing, routing_key: str = "") -> Any:
    """
    The JSON to be sent.

    Args:
        hook: The action as status.firings has it.
        routing_key: PagerDuty's integration key.
    """
    text = str(hook.get("text") or firing.about)
    match hook.get("body"):
        case Body.SLACK:
            return {"text": text[:SLACK_LIMIT]}
        case Body.PAGER_DUTY:
            payload = {
                "summary": text[:SUMMARY_LIMIT],
                "source": str(automation),
                "severity": "error",
                "timestamp": stamp(firing.at),
            }
            return {
                "routing_key": routing_key,
                "event_action": "trigger",
                "dedup_key": firing.group,
                "payload": payload,
            }
    if "json" in hook:
        return hook["json"]
    return {
        "id": firing.id,
        "automation": automation.name,
        "namespace": automation.namespace,
        "about": text,
        "at": stamp(firing.at),
        "event": hook.get("event") or {},
    }
