"""What a request's body tells: foreign input, of which nothing is believed beside that its sender knew the secret."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NoReturn

from headrace.api.automation import Content
from headrace_operator.decide.automation.occurrences import Occurrence, fingerprint

MAX_NESTING: Final = 32
MAX_ALERTS: Final = 500
"""Of one body; Alertmanager's max_alerts makes them fewer."""
TOLD_HEADERS: Final = ("x-github-event", "x-gitlab-event")
STRUCTURED: Final = "application/cloudevents+json"
ALERT_FIELDS: Final = ("status", "labels", "annotations", "startsAt", "generatorURL", "fingerprint")
GROUP_FIELDS: Final = ("receiver", "groupLabels", "commonLabels", "commonAnnotations", "externalURL")


class InvalidPayload(ValueError):
    """A body that is not what the Automation says it is."""


def occurrences_of(
    content: Content, headers: Mapping[str, str], body: bytes, *, request_id: str, now: datetime
) -> list[Occurrence]:
    """
    What the body tells of, which may be nothing.

    Args:
        headers: Names in lower case.
        request_id: What a body is known by that has no id of its own.
    Raises: InvalidPayload.
    """
    match content:
        case Content.ALERTMANAGER:
            return _alerts(_parsed(body), now)
        case Content.CLOUD_EVENT:
            return [_cloud_event(headers, body, now)]
        case Content.JSON:
            told = {name: headers[name] for name in TOLD_HEADERS if _is_text(headers.get(name))}
            event = {"type": "webhook", "body": _parsed(body), "headers": told}
            return [Occurrence(fingerprint("request", request_id), now, "a request came in", event)]


def _alerts(body: Any, now: datetime) -> list[Occurrence]:
    alerts = body.get("alerts") if isinstance(body, dict) else None
    if not isinstance(alerts, list) or len(alerts) > MAX_ALERTS:
        raise InvalidPayload(f'"alerts" is no list of at most {MAX_ALERTS} alerts; send what Alertmanager sends')
    group = {name: body[name] for name in GROUP_FIELDS if name in body}
    return [_alert(alert, group, now) for alert in alerts if _fires(alert)]


def _fires(alert: Any) -> bool:
    if not isinstance(alert, dict) or not isinstance(alert.get("labels"), dict):
        raise InvalidPayload('an alert has no "labels"; send what Alertmanager sends')
    return alert.get("status") != "resolved"


def _alert(alert: Mapping[str, Any], group: Mapping[str, Any], now: datetime) -> Occurrence:
    """It has begun at some time: told again, it is the same alert."""
    series = fingerprint("alert", json.dumps(alert["labels"], sort_keys=True))
    begun = str(alert.get("startsAt") or "")
    told = {name: alert[name] for name in ALERT_FIELDS if name in alert}
    about = f"alert {alert['labels'].get('alertname', '')} fires"
    event = {"type": "webhook", "alert": told, "group": dict(group)}
    return Occurrence(fingerprint(series, begun), now, about, event, series)


def _cloud_event(headers: Mapping[str, str], body: bytes, now: datetime) -> Occurrence:
    if headers.get("content-type", "").partition(";")[0].strip().lower() == STRUCTURED:
        event = _parsed(body)
    else:
        event = {name[3:]: value for name, value in headers.items() if name.startswith("ce-") and _is_text(value)}
        if body:
            event["data"] = _parsed(body)
    if not isinstance(event, dict) or not all(_is_text(event.get(name)) for name in ("id", "source", "type")):
        raise InvalidPayload("it has no id, source and type, which a CloudEvent has")
    about = f"event {event['type']} of {event['source']}"
    told = {"type": "webhook", "cloudevent": event}
    return Occurrence(fingerprint("cloudevent", event["source"], event["id"]), now, about, told)


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be stored: bytes of a header may be no Unicode."""
    return isinstance(value, str) and value.isprintable()


def _parsed(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_no_number, parse_int=_whole, parse_float=_fraction)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # what is no Unicode is a ValueError too
        raise InvalidPayload("the body is no JSON") from None
    if _nests_deeper(value, MAX_NESTING):
        raise InvalidPayload(f"the body is nested more than {MAX_NESTING} deep")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _whole(text: str) -> int:
    _fraction(text)
    return int(text)


def _fraction(text: str) -> float:
    """The API server takes no number that is larger than those it computes with."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]}… is too large a number")
    return value


def _nests_deeper(value: Any, depth: int) -> bool:
    layer = [value]
    for _ in range(depth + 1):
        containers = [each for each in layer if isinstance(each, (dict, list))]
        if not containers:
            return False
        layer = [part for each in containers for part in (each.values() if isinstance(each, dict) else each)]
    return bool(layer)
