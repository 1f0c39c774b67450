"""What is wrong with an object by itself: what the operator would refuse as well, when it is too late to be told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from headrace.api.automation import AutomationSpec
from headrace.api.backfill import BackfillSpec
from headrace.api.deployment import DeploymentSpec, Schedule
from headrace.api.flow import FlowSpec
from headrace_operator.decide.automation.expressions import InvalidExpression
from headrace_operator.decide.automation.rules import TooManyHoles, rules_of
from headrace_operator.decide.backfill.errors import InvalidBackfill
from headrace_operator.decide.backfill.partitions import Partitions
from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.parameters import schema_problem
from headrace_operator.decide.recurrence import parse
from headrace_operator.decide.triggers import automation_spec

Problem = Callable[[Mapping[str, Any]], str | None]
"""From a spec to why nothing can be done with it, in a sentence that says what to do; None if nothing is wrong."""


def flow_problem(spec: Mapping[str, Any]) -> str | None:
    """A schema that is none, or inline code without the function that is to be run."""
    flow = FlowSpec.model_validate(spec)
    schema = flow.parameters.schema_ if flow.parameters else None
    return (schema_problem(schema) if schema is not None else None) or _entrypoint_problem(flow)


def deployment_problem(spec: Mapping[str, Any]) -> str | None:
    """A schedule that names no times, or a trigger whose expressions cannot be understood."""
    deployment = DeploymentSpec.model_validate(spec)
    for index, schedule in enumerate(deployment.schedules):
        problem = _schedule_problem(schedule)
        if problem is not None:
            return f'spec.schedules[{index}] "{schedule.name}": {problem}'
    for index, trigger in enumerate(deployment.triggers):
        problem = _rules_problem(automation_spec("deployment", deployment, trigger))
        if problem is not None:
            return f'spec.triggers[{index}] "{trigger.name}": {problem}'
    return None


def automation_problem(spec: Mapping[str, Any]) -> str | None:
    """An expression or a template that cannot be understood, or too many of them."""
    return _rules_problem(AutomationSpec.model_validate(spec))


def backfill_problem(spec: Mapping[str, Any]) -> str | None:
    """Partitions that cannot be told, or a window in no time zone."""
    try:
        Partitions.of(BackfillSpec.model_validate(spec))
    except InvalidBackfill as error:
        return str(error)
    return None


PROBLEMS: Final[Mapping[str, Problem]] = {
    "Flow": flow_problem,
    "Deployment": deployment_problem,
    "Backfill": backfill_problem,
    "Automation": automation_problem,
}


def problem_of(kind: str, spec: Mapping[str, Any]) -> str | None:
    """What is wrong with the spec; None also where a newer definition has fields that this operator does not know."""
    find = PROBLEMS.get(kind)
    try:
        return find(spec) if find is not None else None
    except ValidationError:
        return None


def _schedule_problem(schedule: Schedule) -> str | None:
    try:
        parse(
            cron=schedule.cron,
            interval_seconds=schedule.interval_seconds,
            rrule=schedule.rrule,
            anchor=schedule.anchor,
            time_zone=schedule.time_zone,
        )
    except InvalidSchedule as error:
        return str(error)
    return None


def _rules_problem(spec: AutomationSpec) -> str | None:
    try:
        rules_of(spec)
    except InvalidExpression as error:
        return f"{error}; mend it (docs/automations.md tells what may be written)"
    except TooManyHoles as error:
        return str(error)
    return None


def _entrypoint_problem(flow: FlowSpec) -> str | None:
    """
    Inline code is searched for the function's name, and not parsed: Python's parser can be made to fail in ways that end the process, and
    the code may be of a newer Python than ours.
    """
    if flow.entrypoint is None or flow.source is None or flow.source.inline is None:
        return None
    place, _, function = flow.entrypoint.rpartition(":")
    file = place if place.endswith(".py") else f"{place}.py"
    code = flow.source.inline.files.get(file)
    if code is None or "import *" in code or "__getattr__" in code or not function.isascii():
        return None  # a module may be in the image as well
    if re.search(rf"(?<!\w){re.escape(function)}(?!\w)", code):
        return None
    return (
        f'spec.entrypoint: names "{function}", which does not occur in spec.source.inline.files["{file}"]; '
        "name a function that is in it"
    )
