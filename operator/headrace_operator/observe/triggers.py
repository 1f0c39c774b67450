"""
The Automations that keep Deployments' triggers, as they are held; and who is woken when one of them changes.

A Deployment without triggers costs one look into a mapping when its spec changes; an Automation of another name costs the look for a dot in it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from pydantic import ValidationError

from headrace.api import keys
from headrace.api.automation import AutomationSpec
from headrace.api.conditions import ConditionType
from headrace.api.trigger import automation_name, trigger_of
from headrace_operator.decide.conditions import find_condition
from headrace_operator.decide.snapshot import ConditionView, ObjectKey
from headrace_operator.decide.triggers import KeptTrigger, TriggerSight
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.parse import conditions_from, object_key, version_of
from headrace_operator.observe.records import DeploymentRecord
from headrace_operator.observe.workkeys import Kind, Waker, WorkKey


class Triggers:
    """
    Belongs to one event loop.

    Args:
        automations: Keys of all Automations that are held, whoever made them.
    """

    def __init__(self, cache: Cache, waker: Waker, automations: Container[ObjectKey]) -> None:
        self._cache = cache
        self._waker = waker
        self._automations = automations
        self._kept: dict[ObjectKey, dict[str, KeptTrigger]] = {}
        self._refused: dict[ObjectKey, Mapping[str, str]] = {}

    def automation_seen(self, obj: Mapping[str, Any]) -> None:
        """An Automation is there, or has changed."""
        key = object_key(obj)
        parts = trigger_of(key.name)
        if parts is None:
            return
        deployment, trigger = ObjectKey(key.namespace, parts[0]), parts[1]
        before = self._kept.get(deployment, {}).get(trigger)
        kept = _kept_trigger(obj, deployment.name, before)
        if kept is None:
            self._drop(deployment, trigger)
            if before is not None or self._has(deployment, trigger):
                self._wake(deployment)
            return
        self._kept.setdefault(deployment, {})[trigger] = kept
        if before is None or _is_other(before, kept):
            self._wake(deployment)

    def automation_gone(self, key: ObjectKey) -> None:
        """An Automation was deleted."""
        parts = trigger_of(key.name)
        if parts is None:
            return
        deployment = ObjectKey(key.namespace, parts[0])
        self._drop(deployment, parts[1])
        if self._has(deployment, parts[1]):
            self._wake(deployment)

    def deployment_seen(self, record: DeploymentRecord) -> None:
        """A Deployment is there, or its spec has changed."""
        if (record.spec is not None and record.spec.triggers) or record.key in self._kept:
            self._waker.add(WorkKey(Kind.TRIGGERS, record.key))

    def deployment_gone(self, key: ObjectKey) -> None:
        """A Deployment was deleted; its Automations go with it."""
        self._refused.pop(key, None)

    def refused(self, deployment: ObjectKey, refused: Mapping[str, str]) -> None:
        """What the API server did not take, by the trigger's name; the Deployment's status tells it."""
        if refused == self._refused.get(deployment, {}):
            return
        if refused:
            self._refused[deployment] = refused
        else:
            self._refused.pop(deployment, None)
        self._waker.add(WorkKey(Kind.DEPLOYMENT, deployment))

    def sight(self, record: DeploymentRecord) -> TriggerSight | None:
        """What is known of the Deployment's triggers; None where it has none, and had none."""
        kept = self._kept.get(record.key, {})
        named = [trigger.name for trigger in record.spec.triggers] if record.spec is not None else []
        if not named and not kept:
            return None
        taken = {name for name in named if name not in kept and self._is_there(record.key, name)}
        return TriggerSight(kept, frozenset(taken), self._refused.get(record.key, {}))

    def _is_there(self, deployment: ObjectKey, trigger: str) -> bool:
        return ObjectKey(deployment.namespace, automation_name(deployment.name, trigger)) in self._automations

    def _has(self, deployment: ObjectKey, trigger: str) -> bool:
        """Whether the Deployment has a trigger of this name."""
        record = self._cache.deployments.get(deployment)
        return record is not None and record.spec is not None and any(t.name == trigger for t in record.spec.triggers)

    def _drop(self, deployment: ObjectKey, trigger: str) -> None:
        kept = self._kept.get(deployment)
        if kept is not None:
            kept.pop(trigger, None)
            if not kept:
                del self._kept[deployment]

    def _wake(self, deployment: ObjectKey) -> None:
        if deployment in self._cache.deployments:
            self._waker.add(WorkKey(Kind.TRIGGERS, deployment))
            self._waker.add(WorkKey(Kind.DEPLOYMENT, deployment))


def _is_other(before: KeptTrigger, after: KeptTrigger) -> bool:
    """Whether it says anything that it did not: what fired in it says nothing to the Deployment."""
    return (before.uid, before.generation, before.deleting, before.labels, before.ready, before.owner) != (
        after.uid,
        after.generation,
        after.deleting,
        after.labels,
        after.ready,
        after.owner,
    )


def _kept_trigger(obj: Mapping[str, Any], deployment: str, before: KeptTrigger | None) -> KeptTrigger | None:
    """None where no Deployment of this name is its controller."""
    metadata = obj["metadata"]
    owner = _controller(metadata, deployment)
    if owner is None:
        return None
    uid, generation = metadata["uid"], int(metadata.get("generation") or 0)
    is_same = before is not None and (before.uid, before.generation) == (uid, generation)
    return KeptTrigger(
        key=object_key(obj),
        uid=uid,
        version=version_of(obj),
        generation=generation,
        deleting="deletionTimestamp" in metadata,
        owner=owner,
        labels=metadata.get("labels") or {},
        spec=before.spec if before is not None and is_same else _spec(obj),
        ready=_ready(obj, generation),
    )


def _controller(metadata: Mapping[str, Any], deployment: str) -> str | None:
    """The UID of the Deployment of this name that controls it."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == keys.DEPLOYMENTS.kind and owner.get("name") == deployment:
            is_ours = str(owner.get("apiVersion", "")).partition("/")[0] == keys.GROUP
            return str(owner.get("uid")) if is_ours else None
    return None


def _spec(obj: Mapping[str, Any]) -> AutomationSpec | None:
    try:
        return AutomationSpec.model_validate(obj.get("spec") or {})
    except ValidationError:
        return None


def _ready(obj: Mapping[str, Any], generation: int) -> ConditionView | None:
    found = find_condition(conditions_from(obj.get("status") or {}), ConditionType.READY)
    return found if found is not None and found.observed_generation == generation else None
