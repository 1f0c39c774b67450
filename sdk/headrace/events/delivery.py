"""Where events go: the log at once, the FlowRun's Events and a URL from threads of their own."""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
from collections.abc import Mapping
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from headrace.engine import logs
from headrace.engine.scope import CURRENT
from headrace.errors import UsageError
from headrace.events.envelope import Event
from headrace.outbox import Outbox, Refused, posted
from headrace.podapi import API_DIR_ENV, PodApi, PodApiError
from headrace.secrecy.redaction import redacted_json, register

URL_ENV: Final = "HEADRACE_EVENTS_URL"
TOKEN_ENV: Final = "HEADRACE_EVENTS_TOKEN"  # noqa: S105 - the name of a variable
EXIT_FLUSH_S: Final = 3.0
"""How long the end of a program waits for its events, at most."""
MOST_ON_RUN: Final = 25
"""Events of one process that are shown on its FlowRun: more would fill etcd, and be no news to people."""
MESSAGE_LIMIT: Final = 1000


def deliver(event: Event) -> None:
    """Tells the event in the log, and sends it wherever the environment says."""
    _log(event)
    for outbox in _outboxes(os.environ):
        outbox.send(json.dumps(redacted_json(event.cloud_event())).encode())


def flush(timeout_s: float) -> None:
    """Sends what waits, and gives up after that time."""
    ends_s = monotonic() + timeout_s
    for each in tuple(_OUTBOXES.values()):
        if each is not None and not each.flush(max(0.0, ends_s - monotonic())):
            atexit.unregister(flush)  # the end of the program need not wait once more


class Listener(Outbox):
    """A URL that takes CloudEvents by HTTP."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__("headrace-events", self._posted, self._warn)
        self._url = url
        self._token = token
        if token:
            register(token)

    def _posted(self, item: bytes) -> str:
        headers = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return posted(self._url, item, headers)

    def _warn(self, message: str) -> None:
        told = f"events to {urlsplit(self._url).hostname}: {message}"
        logs.LOGGER.warning("%s", told, extra={"event": "event_unsent"})


class OnRun(Outbox):
    """The Events of this pod's FlowRun, as `kubectl describe` shows them."""

    def __init__(self, api: PodApi, variables: Mapping[str, str]) -> None:
        super().__init__("headrace-run-events", self._created, self._inform)
        self._api = api
        self._namespace = variables.get("HEADRACE_NAMESPACE", "")
        self._run = variables.get("HEADRACE_FLOW_RUN", "")
        self._uid = variables.get("HEADRACE_FLOW_RUN_UID", "")
        self._left = MOST_ON_RUN
        self._refusal = ""

    def _created(self, item: bytes) -> str:
        if not self._refusal and not self._left:
            self._refusal = f"the first {MOST_ON_RUN} events are shown on the FlowRun; the others are in the log"
        if self._refusal:
            raise Refused(self._refusal)
        try:
            self._api.create(f"/api/v1/namespaces/{self._namespace}/events", self._manifest(json.loads(item)))
        except PodApiError as error:
            if error.passes:
                return str(error)
            if error.status == 403:
                verbs = "create on events"
                self._refusal = f"its ServiceAccount may not show them on the FlowRun ({verbs}); they are in the log"
            if error.status != 409:  # shown by an earlier attempt, or by a request whose answer was lost
                raise Refused(self._refusal or str(error)) from error
        self._left -= 1
        return ""

    def _manifest(self, event: Mapping[str, object]) -> dict[str, object]:
        time = f"{str(event['time'])[:19]}Z"
        data = json.dumps(event["data"], ensure_ascii=False) if "data" in event else ""
        message = " ".join(str(part) for part in (event["type"], event.get("subject", ""), data) if part)
        mark = re.sub(r"[^a-z0-9]", "", str(event["id"]).lower())[-32:] or "event"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{self._run}.{mark}", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": "headrace.dev/v1alpha1",
                "kind": "FlowRun",
                "namespace": self._namespace,
                "name": self._run,
                "uid": self._uid,
            },
            "reason": _reason(str(event["type"])),
            "message": message if len(message) <= MESSAGE_LIMIT else f"{message[: MESSAGE_LIMIT - 1]}…",
            "type": "Normal",
            "source": {"component": "headrace-flow"},
            "reportingComponent": "headrace-flow",
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }

    def _inform(self, message: str) -> None:
        logs.LOGGER.info("%s", f"events: {message}", extra={"event": "event_unsent"})


_OUTBOXES: Final[dict[str, Outbox | None]] = {}
"""Of this process, by where they lead; None: that cannot be used, which was told."""


def _outboxes(variables: Mapping[str, str]) -> list[Outbox]:
    if not _OUTBOXES:
        atexit.register(flush, EXIT_FLUSH_S)
    found = []
    url = variables.get(URL_ENV, "").strip()
    if url:
        if url not in _OUTBOXES:
            _OUTBOXES[url] = _listener(url, variables.get(TOKEN_ENV, ""))
        found.append(_OUTBOXES[url])
    run = variables.get("HEADRACE_FLOW_RUN_UID")
    if run and variables.get(API_DIR_ENV):
        if run not in _OUTBOXES:
            _OUTBOXES[run] = _on_run(variables)
        found.append(_OUTBOXES[run])
    return [each for each in found if each is not None]


def _listener(url: str, token: str) -> Outbox | None:
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.hostname:
        return Listener(url, token)
    message = f"{URL_ENV} is no http or https URL; events are in the log only"
    logs.LOGGER.warning("%s", message, extra={"event": "event_unsent"})
    return None


def _on_run(variables: Mapping[str, str]) -> Outbox | None:
    try:
        return OnRun(PodApi.from_environment(variables), variables)
    except UsageError:  # no token is mounted: nobody asked for that
        return None


def _reason(type_: str) -> str:
    """In one word, such as OrderImported."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", type_))[:128]


def _log(event: Event) -> None:
    logs.prepare()
    if not logs.LOGGER.isEnabledFor(logging.INFO):
        return
    facts = {"type": event.type, "subject": event.subject or None, "data": event.data, "event_id": event.id}
    facts = {key: value for key, value in facts.items() if value is not None}
    message = f"{event.type} {event.subject}".rstrip()
    run = CURRENT.get()
    if run is None:
        logs.LOGGER.info("%s", message, extra={"event": "event_emitted", **facts})
    else:
        logs.emit(logging.INFO, run, "event_emitted", message, **facts)
