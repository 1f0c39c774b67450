"""Valid Automations and what happens to them; a test states its own point only."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.api.automation import AutomationSpec, AutomationStatus
from headrace_operator.decide.automation.judging import Judgement, judged
from headrace_operator.decide.automation.occurrences import Occurrence
from headrace_operator.decide.automation.rules import rules_of

T0 = datetime(2026, 3, 1, 7, tzinfo=UTC)
START = {"name": "look", "start": {"deployment": "diagnose", "parameters": {"service": "{{ event.service }}"}}}


def a_spec(**fields: Any) -> AutomationSpec:
    trigger = {"webhook": {"secretRef": {"name": "sender", "key": "key"}}}
    return AutomationSpec.model_validate({"trigger": trigger, "actions": [START], **fields})


def happened(name: str, after_s: float = 0, service: str = "shop", **event: Any) -> Occurrence:
    return Occurrence(name, T0 + timedelta(seconds=after_s), name, {"service": service, **event})


def judge(
    spec: AutomationSpec,
    *occurrences: Occurrence,
    status: AutomationStatus | None = None,
    after_s: float = 0,
    listed: Container[str] = (),
) -> Judgement:
    now = T0 + timedelta(seconds=after_s)
    return judged(rules_of(spec), status or AutomationStatus(), occurrences, uid="u", now=now, listed=listed)


def done(judgement: Judgement) -> AutomationStatus:
    """The status in which all of these have ended."""
    return AutomationStatus.model_validate(
        {"firings": [each.model_copy(update={"state": "Done", "actions": None}) for each in judgement.firings]}
    )


def outcomes(judgement: Judgement) -> Mapping[str, int]:
    return {outcome.value: count for outcome, count in judgement.outcomes.items()}
