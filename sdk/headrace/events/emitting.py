"""`emit_event`, as authors write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.events.envelope import Event


def emit_event(
    event: str,
    resource: str | Mapping[str, Any] | None = None,
    payload: Any = None,
    *,
    occurred: datetime | None = None,
    id: str | None = None,  # noqa: A002 - as CloudEvents and Prefect call it
) -> Event:
    """
    Tells that something has happened: in the log, on the FlowRun, and to HEADRACE_EVENTS_URL where that is set.

    It returns at once, and nothing that goes wrong on the way fails the flow.

    Args:
        event: What has happened, such as "order.imported".
        resource: To what: a name, or {"id": name} with further attributes of it.
        payload: What there is to know, at most 65,536 bytes of JSON.
        occurred: When, aware. None: now.
        id: Tells the event from others. None: one that a later attempt of the run gives the same event again.
    Raises: UsageError: an argument cannot be one.
    """
    from headrace.events.delivery import deliver  # noqa: PLC0415 - loaded by the first event
    from headrace.events.envelope import made  # noqa: PLC0415 - as above

    told = made(event, resource, payload, occurred=occurred, given_id=id)
    deliver(told)
    return told
