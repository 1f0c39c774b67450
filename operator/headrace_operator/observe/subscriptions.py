"""Which Events of Kubernetes are to be watched: none but those that some Automation waits for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final, NamedTuple

from headrace_operator.decide.snapshot import ObjectKey

MANY: Final = 8
"""In more namespaces than these, one watch of all of them is cheaper for the API server than one of each."""


class Topic(NamedTuple):
    """What one watch tells of: Events of a namespace, "" for all, of type Normal or Warning."""

    namespace: str
    type: str


class Subscriptions:
    """
    Belongs to one event loop.

    Attributes:
        changed: Set when other topics are wanted than before.
        problems: By topic: why it cannot be watched, for people.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.problems: dict[Topic, str] = {}
        self._of: dict[ObjectKey, Topic] = {}

    def put(self, automation: ObjectKey, event_type: str | None) -> None:
        """The Automation waits for Events of this type, None for none any more."""
        before = self._of.pop(automation, None)
        topic = Topic(automation.namespace, event_type) if event_type is not None else None
        if topic is not None:
            self._of[automation] = topic
        if topic != before:
            self.changed.set()

    def wanted(self) -> set[Topic]:
        """What is to be watched."""
        by_type: defaultdict[str, set[str]] = defaultdict(set)
        for namespace, event_type in self._of.values():
            by_type[event_type].add(namespace)
        return {
            Topic(namespace, event_type)
            for event_type, namespaces in by_type.items()
            for namespace in (namespaces if len(namespaces) <= MANY else {""})
        }

    def waiting_for(self, topic: Topic) -> list[ObjectKey]:
        """The Automations that do."""
        return [
            key
            for key, wanted in self._of.items()
            if wanted.type == topic.type and topic.namespace in {"", wanted.namespace}
        ]

    def problem(self, automation: ObjectKey) -> str | None:
        """Why what it waits for cannot be watched, None if it can."""
        topic = self._of.get(automation)
        if topic is None:
            return None
        return self.problems.get(topic) or self.problems.get(Topic("", topic.type))
