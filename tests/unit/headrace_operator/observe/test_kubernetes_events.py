"""Watches of Events of Kubernetes: none without an Automation that waits for some, and what they bring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import pytest

from headrace.kubeapi.errors import Forbidden, Unreachable
from headrace.kubeapi.stream import Sink, Stream
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.automations import Automations
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.kubernetes_events import KubernetesEvents
from headrace_operator.observe.subscriptions import MANY
from headrace_operator.observe.workkeys import WorkKey
from headrace_operator.workqueue import WorkQueue
from tests.builders import NOW, stamp

ACTIONS = [{"name": "tell", "event": {"message": "x"}}]


class Watching:
    """The watches that are open, by namespace and type."""

    def __init__(self) -> None:
        self.sinks: dict[tuple[str, str], Sink] = {}
        self.opened = 0
        queue: WorkQueue[WorkKey] = WorkQueue()
        self.automations = Automations(Cache(), queue)
        self.version = 0

    def open(self, namespace: str, event_type: str, sink: Sink) -> Stream:
        self.opened += 1
        return cast("Stream", _Watch(self, (namespace, event_type), sink))

    async def rests(self) -> set[tuple[str, str]]:
        """What is watched once nothing more is opened or closed."""
        for _ in range(5):
            await asyncio.sleep(0)
        return set(self.sinks)

    def automate(self, namespace: str, trigger: dict[str, Any], name: str = "auto") -> None:
        """An Automation is there, or has changed."""
        self.version += 1
        metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}", "generation": self.version}
        body = {"metadata": {**metadata, "resourceVersion": str(self.version), "creationTimestamp": stamp(NOW)}}
        self.automations.seen({**body, "spec": {"trigger": trigger, "actions": ACTIONS}})

    def waiting(self, namespace: str, name: str = "auto") -> list[str]:
        """What the Automation has not judged yet."""
        return [each.about for each in self.automations.waiting(f"{namespace}/{name}").occurrences.values()]


class _Watch:
    def __init__(self, watching: Watching, topic: tuple[str, str], sink: Sink) -> None:
        self.watching, self.topic, self.sink = watching, topic, sink

    async def run(self) -> None:
        self.watching.sinks[self.topic] = self.sink
        try:
            await asyncio.Event().wait()
        finally:
            del self.watching.sinks[self.topic]


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    made = Watching()
    watches = asyncio.create_task(KubernetesEvents(made.automations, made.open, lambda: NOW).run())
    yield made
    watches.cancel()
    await asyncio.gather(watches, return_exceptions=True)


def an_event(namespace: str = "team-a", after_s: float = 0, reason: str = "BackOff") -> dict[str, Any]:
    at = stamp(NOW + timedelta(seconds=after_s))
    return {
        "metadata": {"name": "e", "namespace": namespace, "uid": f"{reason}/{after_s}"},
        "type": "Warning",
        "reason": reason,
        "lastTimestamp": at,
        "involvedObject": {"kind": "Pod", "name": "shop"},
    }


async def test_nothing_is_watched_until_an_automation_waits_for_it(watching: Watching) -> None:
    """And no longer than one does."""
    watching.automate("team-a", {"circuitOpen": {}})
    assert await watching.rests() == set()
    watching.automate("team-a", {"kubernetesEvent": {}})
    watching.automate("team-a", {"kubernetesEvent": {"reasons": ["Failed"]}}, name="second")
    watching.automate("team-b", {"kubernetesEvent": {"type": "Normal"}})
    assert await watching.rests() == {("team-a", "Warning"), ("team-b", "Normal")}
    watching.automations.gone(ObjectKey("team-a", "second"), "team-a/second")
    watching.automate("team-b", {"circuitOpen": {}})
    assert await watching.rests() == {("team-a", "Warning")}
    watching.automations.gone(ObjectKey("team-a", "auto"), "team-a/auto")
    assert await watching.rests() == set()


async def test_a_spec_that_changes_otherwise_goes_on_with_its_watch(watching: Watching) -> None:
    """What is told meanwhile is missed by nobody."""
    watching.automate("team-a", {"kubernetesEvent": {}})
    await watching.rests()
    watching.automate("team-a", {"kubernetesEvent": {"reasons": ["Failed"]}})
    await watching.rests()
    assert watching.opened == 1


async def test_many_namespaces_share_one_watch(watching: Watching) -> None:
    """Each is told of its own Events."""
    for number in range(MANY + 1):
        watching.automate(f"team-{number}", {"kubernetesEvent": {}})
    assert await watching.rests() == {("", "Warning")}
    watching.sinks["", "Warning"].seen(an_event("team-3"))
    assert [watching.waiting(f"team-{number}") for number in (2, 3)] == [[], ["Pod shop: BackOff"]]


async def test_events_that_are_meant_become_occurrences(watching: Watching) -> None:
    """One that cannot be read affects itself alone; one that says that it is of tomorrow is of now."""
    watching.automate("team-a", {"kubernetesEvent": {"reasons": ["BackOff"]}})
    await watching.rests()
    sink = watching.sinks["team-a", "Warning"]
    for each in (an_event(reason="Failed"), {"metadata": {"name": "e"}}, an_event(after_s=9e6)):
        sink.seen(each)
    (found,) = watching.automations.waiting("team-a/auto").occurrences.values()
    assert found.at == NOW


async def test_a_right_that_is_missing_is_told_until_it_is_there(watching: Watching) -> None:
    """Another fault is for the log: the watch is taken up again."""
    watching.automate("team-a", {"kubernetesEvent": {}})
    await watching.rests()
    sink, subscriptions = watching.sinks["team-a", "Warning"], watching.automations.subscriptions
    key = ObjectKey("team-a", "auto")
    sink.failed(Unreachable(0, "Unreachable", "reset"), 1.0)
    assert subscriptions.problem(key) is None
    sink.failed(Forbidden(403, "Forbidden", "no"), 1.0)
    assert "namespace team-a" in (subscriptions.problem(key) or "")
    sink.synced(set(), 1)
    assert subscriptions.problem(key) is None
