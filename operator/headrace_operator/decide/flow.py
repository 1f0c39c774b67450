"""Whether runs can be started from a Flow, and which of its revisions may go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from headrace.api.conditions import ConditionType, Reason
from headrace.api.flow import FlowSpec
from headrace_operator.decide.conditions import condition, with_condition
from headrace_operator.decide.parameters import schema_problem
from headrace_operator.decide.snapshot import ConditionView


def flow_problem(spec: FlowSpec | None, broken: str | None) -> str | None:
    """Why no run can be started from it, in a sentence that says what to do; None if nothing is wrong."""
    if spec is None:
        return broken or "the spec cannot be read"
    schema = spec.parameters.schema_ if spec.parameters else None
    return None if schema is None else schema_problem(schema)


def flow_conditions(
    conditions: tuple[ConditionView, ...], problem: str | None, *, generation: int, now: datetime
) -> tuple[ConditionView, ...]:
    """The conditions of a Flow whose revision is stored, or that has a problem."""
    return with_condition(
        conditions,
        condition(
            ConditionType.READY,
            holds=problem is None,
            reason=Reason.READY if problem is None else Reason.INVALID_SPEC,
            message=problem or "runs can be started from this Flow",
            now=now,
            generation=generation,
        ),
    )


def superfluous_revisions(
    stored: Iterable[Mapping[str, Any]], *, in_use: set[str], limit: int
) -> list[Mapping[str, Any]]:
    """
    Stored ControllerRevisions that may go: the oldest beyond `limit` of those that nothing uses.

    Args:
        in_use: Names of revisions that runs or Deployments name, the latest one included.
    """
    unused = [item for item in stored if _revision(item) not in in_use]
    newest_first = sorted(unused, key=lambda item: item["metadata"]["creationTimestamp"], reverse=True)
    return newest_first[limit:]


def _revision(stored: Mapping[str, Any]) -> str:
    name: str = stored["metadata"]["name"]
    return name.rsplit("-", 1)[-1]
