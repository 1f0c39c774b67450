"""An Automation's spec, ready to be asked: expressions are read once, when it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace.api.automation import Action, AutomationSpec, Body, RunDeed
from headrace_operator.decide.automation.chains import next_in_chain
from headrace_operator.decide.automation.expressions import Evaluate, EvaluationError, Event, compiled
from headrace_operator.decide.automation.occurrences import Occurrence, fingerprint
from headrace_operator.decide.automation.templates import template

RENDERED_LIMIT: Final = 16 * 1024
"""Bytes of JSON of all actions of a firing: as many as may be open fit into the Automation's status."""

MAX_HOLES: Final = 256
"""Templates of all actions: each may come to as much as an event has."""
_JSON: Final = json.JSONEncoder(ensure_ascii=False)


class TooLarge(ValueError):
    """The actions of a firing have more bytes than a status has room for."""

    def __init__(self) -> None:
        super().__init__(f"its actions have more than {RENDERED_LIMIT} bytes of JSON: take less of the event into them")


class TooManyHoles(ValueError):
    """Attributes: `count` is how many templates the actions of an Automation have."""

    def __init__(self, count: int) -> None:
        super().__init__(f"spec.actions have {count} templates, and may have {MAX_HOLES}; take out some")
        self.count = count


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What a spec says.

    Attributes:
        actions: By name, what is to be done about an event.
    """

    spec: AutomationSpec
    passes: Evaluate | None
    groups: tuple[Evaluate, ...]
    actions: Mapping[str, Evaluate]

    def counts(self, event: Event) -> bool:
        """Whether the filter lets it pass. Raises: EvaluationError: it has no answer."""
        if self.passes is None:
            return True
        answer = self.passes(event)
        if not isinstance(answer, bool):
            raise EvaluationError("the filter comes to neither true nor false")
        return answer

    def group_of(self, occurrence: Occurrence) -> str:
        """Fingerprint of its group."""
        if not self.groups:
            return fingerprint("own", occurrence.group or occurrence.id)
        return fingerprint("by", *(_value(group, occurrence.event) for group in self.groups))

    def is_silent(self, at: datetime) -> bool:
        """Whether nothing is to be done about what happened then."""
        silences = self.spec.silences or ()
        return self.spec.suspend or any(silence.from_ <= at < silence.until for silence in silences)

    def rendered(self, event: Event) -> list[dict[str, Any]]:
        """What is to be done about the event, as status.firings has it. Raises: EvaluationError, TooLarge."""
        actions = [{"name": name, "do": render(event)} for name, render in self.actions.items()]
        size = 0
        try:
            for piece in _JSON.iterencode(actions):  # piece by piece: what comes in may be in it hundreds of times
                size += len(piece.encode(errors="replace"))
                if size > RENDERED_LIMIT:
                    raise TooLarge
        except RecursionError:
            raise TooLarge from None
        return actions


def rules_of(spec: AutomationSpec) -> Rules:
    """Raises: InvalidExpression: one of its expressions cannot be understood. TooManyHoles."""
    holes = sum(action.model_dump_json(by_alias=True).count("{{") for action in spec.actions)
    if holes > MAX_HOLES:
        raise TooManyHoles(holes)
    return Rules(
        spec=spec,
        passes=compiled(spec.filter) if spec.filter is not None else None,
        groups=tuple(compiled(expression) for expression in spec.group_by or ()),
        actions={action.name: _rendering(action) for action in spec.actions},
    )


def _value(expression: Evaluate, event: Event) -> str:
    """Events that lack what they are grouped by are a group too."""
    try:
        return json.dumps(expression(event), sort_keys=True)
    except (EvaluationError, RecursionError):
        return ""


def _rendering(action: Action) -> Evaluate:
    """
    What the action comes to for an event: JSON with one field, the kind of action.

    References to Secrets are no templates: what comes in has no say in which is read, nor in where a request goes.
    """
    match action:
        case Action(start=start) if start is not None:
            parameters = template(start.parameters or {})
            return lambda event: {
                "start": {"deployment": start.deployment, "parameters": parameters(event), **next_in_chain(event)}
            }
        case Action(run=deed) if deed is not None:
            return lambda event: {"run": _deed(deed, event)}
        case Action(deployment=change) if change is not None:
            return lambda event: {"deployment": {"name": change.name or _deployment(event), "deed": change.set.value}}
        case Action(event=told) if told is not None:
            message = template(told.message)
            return lambda event: {"event": {"reason": told.reason, "type": told.type, "message": str(message(event))}}
    return _webhook(action)


def _deed(deed: RunDeed, event: Event) -> dict[str, Any]:
    run = event["run"]
    links = next_in_chain(event) if deed is RunDeed.RETRY else {}
    return {"deed": deed.value, "name": run["name"], "uid": run["uid"], **links}


def _deployment(event: Event) -> str:
    name = (event.get("run") or event).get("deployment")
    if isinstance(name, Mapping):
        name = name.get("name")
    if not isinstance(name, str):
        raise EvaluationError("the event's run is of no Deployment")
    return name


def _webhook(action: Action) -> Evaluate:
    hook = action.webhook
    if hook is None:
        raise ValueError(f"action {action.name} says nothing to do")
    fixed = hook.model_dump(
        mode="json", by_alias=True, exclude_none=True, include={"url", "url_from", "secret_ref", "routing_key_from"}
    )
    text = template(hook.text) if hook.text is not None else None
    body = template(hook.json_) if hook.json_ is not None else None

    def render(event: Event) -> dict[str, Any]:
        said = {} if text is None else {"text": str(text(event))}
        content: dict[str, Any] = {}
        if hook.body is Body.EVENT:
            content = {"event": dict(event)} if body is None else {"json": body(event)}
        return {"webhook": {**fixed, "body": hook.body.value, **said, **content}}

    return render
