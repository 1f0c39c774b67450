"""Whether the Secrets that an Automation names are there: those of requests that come in, and of its webhooks out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from headrace.api.automation import AutomationSpec
from headrace.api.automation_sources import SecretKey
from headrace.api.conditions import ConditionType
from headrace.kubeapi.errors import ApiError
from headrace_operator.apply.outbound import SecretUnreadable, secret_value
from headrace_operator.handlers.context import Context
from headrace_operator.observe.automations import AutomationRecord, SecretsLook

MISSING_AGAIN: Final = timedelta(seconds=60)
THERE_AGAIN: Final = timedelta(minutes=10)
"""Secrets are not watched, as that takes a right to read all of them."""


async def secrets_problem(context: Context, record: AutomationRecord, now: datetime) -> str | None:
    """
    Why one of them cannot be had, None if all can.

    They are read when the spec is new and once in a while: what happens in between finds what was read last.
    Raises: ApiError: the API server does not answer, and nothing is known of them.
    """
    waiting = context.intake.automations.waiting(record.uid)
    keys = list(_keys(record.rules.spec)) if record.rules is not None else []
    if not keys:
        waiting.secrets = None
        return None
    look = waiting.secrets
    if look is None and _is_ready(record):  # whoever worked before this process has read them
        look = SecretsLook(record.generation, now, None)
    if look is not None and look.generation != record.generation:
        look = None
    if look is None or now >= _again_at(look):
        look = SecretsLook(record.generation, now, await _read(context, record, keys, look))
    waiting.secrets = look
    return look.problem


def secrets_due(context: Context, record: AutomationRecord) -> datetime | None:
    """When they are to be read again, None for never."""
    look = context.intake.automations.waiting(record.uid).secrets
    return None if look is None else _again_at(look)


def _keys(spec: AutomationSpec) -> Iterator[SecretKey]:
    if spec.trigger.webhook is not None:
        yield spec.trigger.webhook.secret_ref
    for hook in (action.webhook for action in spec.actions):
        if hook is not None:
            yield from filter(None, (hook.url_from, hook.secret_ref, hook.routing_key_from))


async def _read(
    context: Context, record: AutomationRecord, keys: list[SecretKey], before: SecretsLook | None
) -> str | None:
    """What is wrong with them. Raises: ApiError."""
    try:
        return await _missing(context, record.key.namespace, keys)
    except ApiError:
        if before is None:
            raise
        return before.problem  # what was read last holds: nothing waits for this


async def _missing(context: Context, namespace: str, keys: list[SecretKey]) -> str | None:
    for name, key in dict.fromkeys((each.name, each.key) for each in keys):
        try:
            await secret_value(context.cluster, namespace, name, key)
        except SecretUnreadable as error:
            return error.problem
    return None


def _again_at(look: SecretsLook) -> datetime:
    return look.at + (THERE_AGAIN if look.problem is None else MISSING_AGAIN)


def _is_ready(record: AutomationRecord) -> bool:
    conditions = record.status.conditions
    ready = next((each for each in conditions if each.type == ConditionType.READY), None)
    return ready is not None and ready.status == "True" and ready.observed_generation == record.generation
