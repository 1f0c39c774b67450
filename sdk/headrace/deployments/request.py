"""What is asked of run_deployment(), checked before anything is created."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from headrace.deployments.calls import DeploymentOptions
from headrace.engine import logs
from headrace.engine.scope import CURRENT
from headrace.engine.transitions import told
from headrace.errors import UsageError, shown
from headrace.instants import exact
from headrace.options import refuse_unknown
from headrace.secrecy.redaction import SECRETS
from headrace.termination import jsonable

NAME: Final = r"(?:([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)/)?([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)"
"""A Deployment, alone or behind its namespace."""
MAX_KEY: Final = 253
MAX_PRIORITY: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Request:
    """
    A run to start.

    Args:
        namespace: Of the Deployment. Empty: that of whoever asks.
        parameters: JSON types.
        waits: Whether its end is waited for, for `timeout_s` seconds (None: as long as it takes).
        as_subflow: Whether it ends with the run that starts it.
        key: Names its cause. None: whoever asks is its cause.
        scheduled_time: RFC 3339.
        priority: None: the Deployment's.
        part: Tells apart the processes of one run that ask, such as those of tasks; empty in its own.
    """

    deployment: str
    namespace: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    waits: bool = True
    timeout_s: float | None = None
    as_subflow: bool = True
    key: str | None = None
    scheduled_time: str | None = None
    priority: int | None = None
    part: str = ""


def requested(name: str, parameters: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Request:
    """The request, `options` being DeploymentOptions. Raises: UsageError: an argument cannot be one."""
    namespace, deployment = _names(name)
    label = f'run_deployment("{name}")'
    refuse_unknown(label, options, DeploymentOptions)
    timeout_s = _timeout_s(label, options.get("timeout_seconds"))
    waits = _flag(label, "wait", options.get("wait"), default=True) and timeout_s != 0
    return Request(
        deployment=deployment,
        namespace=namespace,
        parameters=_json_object(label, parameters),
        waits=waits,
        timeout_s=timeout_s if waits else None,
        as_subflow=_flag(label, "as_subflow", options.get("as_subflow"), default=waits),
        key=_key(label, options.get("idempotency_key")),
        scheduled_time=_instant(label, options.get("scheduled_time")),
        priority=_priority(label, options.get("priority")),
        part=_part(),
    )


def _part() -> str:
    """In the process of a task: that task run, as others may make the same call at the same time."""
    processes, run = sys.modules.get("multiprocessing.process"), CURRENT.get()
    return run.name if run and processes and processes.parent_process() else ""


def _names(name: object) -> tuple[str, str]:
    found = re.fullmatch(NAME, name) if isinstance(name, str) else None
    if found is None:
        raise UsageError(
            f"run_deployment({shown(name)}): expected the name of a Deployment, such as "
            'run_deployment("nightly"), or of one in another namespace: run_deployment("team-b/nightly")'
        )
    return found[1] or "", found[2]


def _json_object(label: str, parameters: object) -> Mapping[str, Any]:
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping) or not all(isinstance(key, str) for key in parameters):
        raise UsageError(f'{label}: parameters is {shown(parameters)}, expected a dict such as {{"day": "2026-01-01"}}')
    try:
        text = json.dumps(dict(parameters), allow_nan=False, default=jsonable)
    except Exception as error:
        raise UsageError(
            f"{label}: the parameters are no JSON ({told(error)}); pass numbers, text, dates, models and lists of them, the "
            "result of a future in place of the future, and the URL of large data"
        ) from error
    found: Mapping[str, Any] = json.loads(text)
    for name in parameters:
        _refuse_secret(label, name, parameters[name], found[name])
    return found


def _refuse_secret(label: str, name: str, given: Any, told: Any) -> None:
    """
    Raises: UsageError: it is marked as a secret: everybody who may read the run would read it, or its mask would arrive.

    A text that is in a Secret is told only: those of user names and the like are also words of every day.
    """
    from headrace.secrecy.parameters import EXAMPLE, has_reference, has_secret  # noqa: PLC0415 - it takes pydantic, which few load

    if has_secret(given):
        raise UsageError(
            f'{label}: parameter "{name}" holds a secret, and the parameters of a run are plain in the API; pass the name of '
            f"the Secret in its place: {EXAMPLE}"
        )
    if not has_reference(told) and SECRETS.found_in(json.dumps(told, ensure_ascii=False)):
        message = (
            f'{label}: parameter "{name}" holds what is in a Secret, and is plain in the API; pass its name: {EXAMPLE}'
        )
        logs.LOGGER.warning("%s", message, extra={"event": "secret_in_parameters"})


def _timeout_s(label: str, timeout: Any) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= 0:
        return float(timeout)
    raise UsageError(f"{label}: timeout_seconds is {shown(timeout)}, expected seconds of at least 0")


def _flag(label: str, option: str, value: object, *, default: bool) -> bool:
    if value is None or isinstance(value, bool):
        return default if value is None else value
    raise UsageError(f"{label}: {option} is {shown(value)}, expected True or False")


def _key(label: str, key: Any) -> str | None:
    if key is None or (isinstance(key, str) and 1 <= len(key) <= MAX_KEY):
        return key
    raise UsageError(f"{label}: idempotency_key is {shown(key)}, expected text of 1 to {MAX_KEY} characters")


def _instant(label: str, time: Any) -> str | None:
    if time is None:
        return None
    if isinstance(time, datetime) and time.tzinfo is not None:
        return exact(time)
    raise UsageError(f"{label}: scheduled_time is {shown(time)}, expected an aware datetime")


def _priority(label: str, priority: object) -> int | None:
    if priority is None:
        return None
    if isinstance(priority, int) and not isinstance(priority, bool) and abs(priority) <= MAX_PRIORITY:
        return priority
    raise UsageError(f"{label}: priority is {shown(priority)}, expected a whole number, larger for what goes first")
