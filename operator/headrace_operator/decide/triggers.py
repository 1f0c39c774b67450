"""
What to do about the triggers of one Deployment: each is kept by an Automation that starts it.

    spec.triggers[x] ──> the Automation <deployment>.x, owned by the Deployment ──> FlowRuns

What an Automation says about itself comes back as the Deployment's condition Triggering.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.api import keys
from headrace.api.automation import Action, AutomationSpec, EventSource, StartAction
from headrace.api.conditions import Reason
from headrace.api.deployment import DeploymentSpec
from headrace.api.trigger import Trigger, automation_name
from headrace_operator.decide.snapshot import ConditionView, ObjectKey

ACTION_NAME = "start"


@dataclass(frozen=True, slots=True)
class KeptTrigger:
    """
    An Automation of which a Deployment of this name is the controller.

    Attributes:
        owner: UID of that Deployment.
        labels: All that it carries.
        spec: None where it cannot be read.
        ready: Its condition Ready; None as long as its spec has not been looked at.
    """

    key: ObjectKey
    uid: str
    version: int
    generation: int
    deleting: bool
    owner: str
    labels: Mapping[str, str]
    spec: AutomationSpec | None
    ready: ConditionView | None


@dataclass(frozen=True, slots=True)
class TriggerSight:
    """
    What is known of a Deployment's triggers.

    Attributes:
        kept: By the trigger's name.
        taken: Names of triggers whose Automation would have the name of somebody else's.
        refused: By the trigger's name, why the API server did not take what was written last.
    """

    kept: Mapping[str, KeptTrigger]
    taken: frozenset[str]
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TriggerPlan:
    """
    What is to be written, and nothing where all is as it should be.

    Attributes:
        create: By the trigger's name.
        change: By the trigger's name, what is there and what it should say.
        delete: Those whose trigger is gone.
    """

    create: Mapping[str, AutomationSpec]
    change: Mapping[str, tuple[KeptTrigger, AutomationSpec]]
    delete: tuple[KeptTrigger, ...]


def plan_triggers(deployment: ObjectKey, uid: str, spec: DeploymentSpec, sight: TriggerSight) -> TriggerPlan:
    """What makes the Automations say what the Deployment says. Those of somebody else, or of an earlier one of its name, stay."""
    create: dict[str, AutomationSpec] = {}
    change: dict[str, tuple[KeptTrigger, AutomationSpec]] = {}
    wanted = {trigger.name: automation_spec(deployment.name, spec, trigger) for trigger in spec.triggers}
    for name, text in wanted.items():
        kept = sight.kept.get(name)
        if kept is None:
            if name not in sight.taken:
                create[name] = text
        elif kept.owner == uid and not kept.deleting and not is_as_it_should(kept, text, deployment.name, name):
            change[name] = (kept, text)
    gone = [kept for name, kept in sight.kept.items() if name not in wanted and kept.owner == uid and not kept.deleting]
    return TriggerPlan(create, change, tuple(gone))


def automation_spec(deployment: str, spec: DeploymentSpec, trigger: Trigger) -> AutomationSpec:
    """What the trigger's Automation says. While the Deployment is suspended, its events are counted and start nothing."""
    source = {name: getattr(trigger, name) for name in EventSource.model_fields}
    return AutomationSpec(
        trigger=EventSource(**source),
        filter=trigger.filter,
        group_by=trigger.group_by,
        deduplicate_seconds=trigger.deduplicate_seconds,
        rate_limit=trigger.rate_limit,
        suspend=spec.suspend or trigger.suspend,
        actions=(
            Action(name=ACTION_NAME, start=StartAction(deployment=deployment, parameters=trigger.parameters or None)),
        ),
    )


def labels_of(deployment: str, trigger: str) -> dict[str, str]:
    """What the trigger's Automation carries, beside what people put there."""
    return {
        keys.MANAGED_BY_LABEL: keys.MANAGED_BY,
        keys.DEPLOYMENT_LABEL: deployment,
        keys.TRIGGER_LABEL: trigger,
    }


def is_as_it_should(kept: KeptTrigger, spec: AutomationSpec, deployment: str, trigger: str) -> bool:
    """Whether nothing is to be written to it."""
    if kept.spec is None or not labels_of(deployment, trigger).items() <= kept.labels.items():
        return False
    return _as_text(kept.spec) == _as_text(spec)


def _as_text(spec: AutomationSpec) -> str:
    """JSON: to Python 1, 1.0 and True are the same, to a flow they are not."""
    return json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True)


def triggering(
    deployment: ObjectKey, uid: str, spec: DeploymentSpec, sight: TriggerSight
) -> tuple[bool, Reason, str] | None:
    """
    What the condition Triggering says: whether it holds, why, in a sentence.

    Returns: None while an Automation is not as it should be, or has not been looked at: what was said before holds until then.
    """
    problems = list(_problems(deployment, uid, spec, sight))
    if problems:
        told = "; ".join(f'trigger "{name}": {message}' for name, _, message in problems)
        return False, problems[0][1], told
    if spec.suspend:
        return False, Reason.SUSPENDED, "spec.suspend is true; set it to false and events start runs again"
    for trigger in spec.triggers:
        kept = sight.kept.get(trigger.name)
        text = automation_spec(deployment.name, spec, trigger)
        if kept is None or kept.ready is None or not is_as_it_should(kept, text, deployment.name, trigger.name):
            return None
    return True, Reason.LISTENING, f"{len(spec.triggers)} trigger(s) start runs"


def _problems(
    deployment: ObjectKey, uid: str, spec: DeploymentSpec, sight: TriggerSight
) -> Iterator[tuple[str, Reason, str]]:
    """The triggers that start nothing though they should: name, reason, sentence."""
    for trigger in spec.triggers:
        name, kept = trigger.name, sight.kept.get(trigger.name)
        automation = automation_name(deployment.name, name)
        if name in sight.taken:
            message = f"Automation {automation} exists and is not of this Deployment; delete it, or rename the trigger"
            yield name, Reason.TRIGGER_NAME_TAKEN, message
        elif kept is not None and kept.owner != uid:
            message = (
                f"Automation {automation} is of an earlier Deployment of this name; it goes by garbage collection, "
                "or delete it"
            )
            yield name, Reason.TRIGGER_NAME_TAKEN, message
        elif name in sight.refused:
            yield name, Reason.TRIGGER_REFUSED, sight.refused[name]
        elif kept is not None and kept.ready is not None and kept.ready.status != "True":
            yield name, _known(kept.ready.reason), kept.ready.message


def _known(reason: str) -> Reason:
    """One that a newer operator wrote is told as the one that says least."""
    return next((known for known in Reason if known == reason), Reason.INVALID_SPEC)
