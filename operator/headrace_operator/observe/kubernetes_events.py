"""
The watches of Events of Kubernetes.

    an Automation that waits for some ──> a watch of its namespace, or of all, by type ──> occurrences
    none any more ──> the watch ends

Where no Automation waits for Events, nothing is asked. Of what a list tells, what happened before an Automation was made is none of its events;
what happened while no operator was there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from headrace.kubeapi.errors import ApiError, Forbidden
from headrace.kubeapi.stream import Sink, Stream
from headrace_operator.decide.automation.kubernetes_events import said_at, told_from
from headrace_operator.observe.automations import Automations
from headrace_operator.observe.parse import EPOCH, instant, object_key
from headrace_operator.observe.subscriptions import Topic

log = structlog.get_logger()


class EventsFeed:
    """The sink of one watch."""

    def __init__(self, topic: Topic, automations: Automations, clock: Callable[[], datetime]) -> None:
        self._topic = topic
        self._automations = automations
        self._clock = clock

    def seen(self, obj: dict[str, Any]) -> None:
        """An Event was written, or is counted once more. One that cannot be read affects itself alone."""
        self._has_problem(None)
        try:
            # Whoever writes an Event says when it was: one of tomorrow must not hold back what comes today.
            at = min(instant(said_at(obj)) or EPOCH, self._clock())
            self._automations.kubernetes_event_seen(told_from(obj, at))
        except (KeyError, TypeError, ValueError, AttributeError):
            log.exception("object_not_understood", kind="Event", key=str(object_key(obj)))

    def gone(self, obj: dict[str, Any]) -> None:
        """Events go after an hour: nothing ends with them."""

    def synced(self, uids: set[str], version: int) -> None:  # noqa: ARG002 - as a Sink has it
        """All that there was has been told."""
        self._has_problem(None)

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The watch broke; it is taken up again by itself."""
        where = f"namespace {self._topic.namespace}" if self._topic.namespace else "all namespaces"
        log.warning("stream_broken", kind="Event", where=where, error=str(error), retry_in_s=round(retry_in_s, 2))
        if isinstance(error, Forbidden):
            self._has_problem(f"the operator may not list and watch Events in {where}; give it the right to")

    def _has_problem(self, problem: str | None) -> None:
        subscriptions = self._automations.subscriptions
        if subscriptions.problems.get(self._topic) == problem:
            return
        if problem is None:
            del subscriptions.problems[self._topic]
        else:
            subscriptions.problems[self._topic] = problem
        for key in subscriptions.waiting_for(self._topic):
            self._automations.wake(key)


class KubernetesEvents:
    """
    Watches what Automations wait for.

    Args:
        stream: Opens the watch of a namespace's Events of a type.
    """

    def __init__(
        self, automations: Automations, stream: Callable[[str, str, Sink], Stream], clock: Callable[[], datetime]
    ) -> None:
        self._automations = automations
        self._stream = stream
        self._clock = clock

    async def run(self) -> None:
        """Never returns; cancel it."""
        subscriptions = self._automations.subscriptions
        watches: dict[Topic, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = subscriptions.wanted()
                for topic in watches.keys() - wanted:
                    watches.pop(topic).cancel()
                    subscriptions.problems.pop(topic, None)
                for topic in wanted - watches.keys():
                    sink = EventsFeed(topic, self._automations, self._clock)
                    watch = self._stream(topic.namespace, topic.type, sink)
                    watches[topic] = group.create_task(
                        watch.run(), name=f"stream of Events in {topic.namespace or 'all'}"
                    )
                await subscriptions.changed.wait()
                subscriptions.changed.clear()
