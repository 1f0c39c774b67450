"""Runs in situations that several tests of deciding are about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.snapshot import RunStatus, Unresolved
from tests.builders import (
    NOW,
    a_deployment,
    a_flow,
    a_run,
    a_running_status,
    an_accepted_status,
    an_attempt,
)

SOON = NOW + timedelta(seconds=2)
LATER = NOW + timedelta(seconds=60)
MISSING = Unresolved(Reason.FLOW_NOT_FOUND, 'there is no Flow "etl" in namespace team-a; apply it')
ONE_AT_A_TIME = a_deployment(concurrency={"limit": 1})
SKIPPING = a_deployment(concurrency={"limit": 1, "onConflict": "Skip"})
REPLACING = a_deployment(concurrency={"limit": 1, "onConflict": "Replace"})
STRICT = a_flow(parameters={"schema": {"required": ["day"]}})
FAILED_ONCE = (an_attempt(1, reason="FlowFailed", finished_at=NOW),)


def a_finished_run(phase: Phase = Phase.SUCCEEDED, **changes: Any) -> Any:
    return a_run(status=RunStatus(phase=phase, reason="Succeeded", finished_at=NOW), **changes)


def a_run_under_way(**changes: Any) -> Any:
    return a_run(status=a_running_status(), **changes)


def retrying(**changes: Any) -> RunStatus:
    return an_accepted_status(**{"phase": Phase.RETRYING, "attempts": FAILED_ONCE, **changes})
