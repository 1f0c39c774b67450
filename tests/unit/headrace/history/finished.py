"""Finished FlowRuns as the API gives them."""

from __future__ import annotations

from typing import Any

from headrace.history import Record, record_of


def a_finished_run(name: str = "daily-1", *, namespace: str = "team-a", **status: Any) -> dict[str, Any]:
    """Of the Deployment `daily`; it ran for 1.5 s, and succeeded unless `status` says otherwise."""
    return {
        "metadata": {
            "uid": f"uid-of-{name}",
            "name": name,
            "namespace": namespace,
            "creationTimestamp": "2026-03-04T11:59:00Z",
            "labels": {"headrace.dev/schedule": "nightly"},
            "annotations": {"headrace.dev/audit": "2026-03-04T12:00:01Z ada changed priority"},
        },
        "spec": {"deploymentRef": {"name": "daily"}, "parameters": {"day": "2026-03-03"}, "priority": 5},
        "status": {
            "phase": "Succeeded",
            "reason": "Succeeded",
            "flowRevision": "abc",
            "parameters": {"day": "2026-03-03", "rows": 10},
            "attempts": [{"number": 1, "pod": f"{name}-1", "exitCode": 0}],
            "usage": {"cpuSeconds": 0.5, "maxMemoryBytes": 1 << 20},
            "startedAt": "2026-03-04T12:00:00Z",
            "finishedAt": "2026-03-04T12:00:01.500000Z",
            **status,
        },
    }


def a_record(name: str = "daily-1", **status: Any) -> Record:
    """Of that run."""
    return record_of(a_finished_run(name, **status), flow="etl")
