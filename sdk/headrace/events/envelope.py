"""One event: checked, and in the shape of CloudEvents 1.0 (structured JSON)."""

from __future__ import annotations

import json
import os
import re
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from headrace.engine.scope import CURRENT
from headrace.engine.session import current_session
from headrace.engine.transitions import told
from headrace.errors import UsageError, shown
from headrace.instants import exact
from headrace.termination import jsonable
from headrace.tracing.context import current_traceparent

TYPE: Final = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,252}"
ATTRIBUTE: Final = r"[a-z0-9]{1,20}"
"""A name of an attribute, as CloudEvents allows it."""
RESERVED: Final = frozenset(
    {"specversion", "type", "source", "subject", "time", "data", "datacontenttype", "dataschema"}
)
MAX_SUBJECT: Final = 1024
MAX_PAYLOAD: Final = 65536


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that has happened.

    Args:
        source: Whose event it is: a path that names the run.
        subject: What it happened to; may be empty.
        time: Aware.
        data: JSON types.
        attributes: Of the resource, of the run, and of the trace, by names that CloudEvents allows.
    """

    type: str
    id: str
    source: str
    subject: str
    time: datetime
    data: Any = None
    attributes: Mapping[str, str | int | bool] = field(default_factory=dict)

    def cloud_event(self) -> dict[str, Any]:
        """As CloudEvents 1.0 writes it."""
        optional = {
            "subject": self.subject or None,
            "datacontenttype": None if self.data is None else "application/json",
            "data": self.data,
        }
        return {
            "specversion": "1.0",
            "type": self.type,
            "id": self.id,
            "source": self.source,
            "time": exact(self.time),
            **self.attributes,
            **{key: value for key, value in optional.items() if value is not None},
        }


def made(event: object, resource: object, payload: Any, *, occurred: object, given_id: object) -> Event:
    """The event, of the run that the caller belongs to. Raises: UsageError: an argument cannot be one."""
    if not isinstance(event, str) or not re.fullmatch(TYPE, event):
        raise UsageError(
            f'emit_event({shown(event)}): expected what has happened, such as emit_event("order.imported")'
        )
    label = f'emit_event("{event}")'
    subject, attributes = _resource(label, resource)
    data = _data(label, payload)
    return Event(
        type=event,
        id=_id(label, given_id) or _derived_id(event, subject, data),
        source=_source(),
        subject=subject,
        time=_time(label, occurred),
        data=data,
        attributes={**_surroundings(), **attributes},
    )


def _resource(label: str, resource: object) -> tuple[str, dict[str, str | int | bool]]:
    if resource is None:
        return "", {}
    fields = {"id": resource} if isinstance(resource, str) else resource
    if (
        not isinstance(fields, Mapping)
        or not isinstance(fields.get("id"), str)
        or not 0 < len(fields["id"]) <= MAX_SUBJECT
    ):
        raise UsageError(
            f'{label}: resource is {shown(resource)}, expected a name such as "order-17", or {{"id": "order-17", …}}; names '
            f"have at most {MAX_SUBJECT} characters"
        )
    attributes = {str(name): value for name, value in fields.items() if name != "id"}
    for name, value in attributes.items():
        if not re.fullmatch(ATTRIBUTE, name) or name in RESERVED or not isinstance(value, str | int):
            raise UsageError(
                f'{label}: resource["{name}"] is {shown(value)}, expected text or a number under a name of at most 20 '
                "lower-case letters and digits that CloudEvents does not use itself; other things belong into payload"
            )
    return fields["id"], attributes


def _data(label: str, payload: Any) -> Any:
    if payload is None:
        return None
    try:
        text = json.dumps(payload, allow_nan=False, default=jsonable, ensure_ascii=False)
        size = len(text.encode())
    except Exception as error:
        raise UsageError(
            f"{label}: payload is no JSON ({told(error)}); pass numbers, text, dates, models and lists or dicts of them"
        ) from error
    if size > MAX_PAYLOAD:
        raise UsageError(
            f"{label}: payload has {size} bytes of JSON, at most {MAX_PAYLOAD} are allowed; store it, and pass its URL"
        )
    return json.loads(text)


def _time(label: str, occurred: object) -> datetime:
    if occurred is None:
        return datetime.fromtimestamp(current_session().clock.wall_s(), UTC)
    if isinstance(occurred, datetime) and occurred.tzinfo is not None:
        return occurred.astimezone(UTC)
    raise UsageError(f"{label}: occurred is {shown(occurred)}, expected an aware datetime")


def _id(label: str, given: object) -> str:
    if given is None:
        return ""
    if isinstance(given, str) and 0 < len(given) <= MAX_SUBJECT:
        return given
    raise UsageError(f"{label}: id is {shown(given)}, expected text of at most {MAX_SUBJECT} characters")


_SEEN: Final[Counter[str]] = Counter()
"""How often this process has emitted an event, by what it says."""
_LOCK: Final = threading.Lock()


def _derived_id(event: str, subject: str, data: Any) -> str:
    """The same for the same event of each attempt of a run, so that a reader who has it already passes it over."""
    uid = current_session().flow_run_uid or os.environ.get("HEADRACE_FLOW_RUN_UID", "")
    if not uid:
        return str(uuid.uuid4())
    said = str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([uid, event, subject, data], sort_keys=True)))
    with _LOCK:
        number = _SEEN[said]
        _SEEN[said] += 1
    return str(uuid.uuid5(uuid.UUID(said), str(number)))


def _source() -> str:
    session, run = current_session(), CURRENT.get()
    name = str(run.fields.get("flow_run", "")) if run else ""
    if session.namespace:
        return f"/headrace/{session.namespace}/flowruns/{session.flow_run or name}"
    return f"/headrace/local/{name}".rstrip("/")


def _surroundings() -> dict[str, str | int | bool]:
    session, run = current_session(), CURRENT.get()
    fields = run.fields if run else {}
    found = {
        "flow": fields.get("flow"),
        "flowrun": fields.get("flow_run"),
        "taskrun": fields.get("task_run"),
        "deployment": session.deployment,
        "traceparent": current_traceparent(),
    }
    return {name: str(value) for name, value in found.items() if value}
