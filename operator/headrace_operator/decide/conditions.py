"""Conditions as `metav1` has them: one a type, its transition time moved only when its status changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headrace.api.conditions import Condition, ConditionType, Reason
from headrace_operator.decide.snapshot import ConditionView

MESSAGE_LIMIT = 1024
"""Longer texts are cut: the object stays small, the whole text is in the log."""


def condition(
    type_: ConditionType, *, holds: bool, reason: Reason, message: str, now: datetime, generation: int | None = None
) -> ConditionView:
    """A condition that changes its status now, if it changes it."""
    return ConditionView(type_, "True" if holds else "False", reason, shortened(message), now, generation)


def with_condition(conditions: tuple[ConditionView, ...], new: ConditionView) -> tuple[ConditionView, ...]:
    """The conditions with this one set; the very same tuple when nothing changes, so that nothing is written."""
    for index, old in enumerate(conditions):
        if old.type == new.type:
            if old.status == new.status:
                new = replace(new, last_transition_time=old.last_transition_time)
            return conditions if new == old else (*conditions[:index], new, *conditions[index + 1 :])
    return (*conditions, new)


def find_condition(conditions: tuple[ConditionView, ...], type_: ConditionType) -> ConditionView | None:
    """The condition of this type, if it is set."""
    return next((condition for condition in conditions if condition.type == type_), None)


def shortened(message: str) -> str:
    """The message, cut to what a status may hold."""
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"


def stored(view: ConditionView) -> Condition:
    """The condition as it stands in a status."""
    return Condition(
        type=view.type,
        status="True" if view.status == "True" else "False" if view.status == "False" else "Unknown",
        observed_generation=view.observed_generation,
        last_transition_time=view.last_transition_time,
        reason=view.reason,
        message=view.message,
    )
