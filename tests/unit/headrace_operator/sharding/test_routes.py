"""Which lines of a watch are read, and which engine is told of an object."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from headrace_operator.decide.sharding import Share, shard_of
from headrace_operator.kube.resources import LEASES, NAMESPACES, PODS
from headrace_operator.observe.slots import Slots
from headrace_operator.sharding.routes import ListedFeed, RoutedFeed, Routes, SlotsFeed
from tests.unit.headrace_operator.leases import lease

COUNT = 2
OURS = next(name for name in ("a", "b", "c", "d") if shard_of(name, COUNT) == 0)
THEIRS = next(name for name in ("a", "b", "c", "d") if shard_of(name, COUNT) == 1)


class Heard:
    """In place of a feed."""

    def __init__(self) -> None:
        self.seen_names: list[str] = []

    def seen(self, obj: dict[str, Any]) -> None:
        self.seen_names.append(obj["metadata"]["name"])

    def gone(self, obj: dict[str, Any]) -> None:
        """What is not known need not be forgotten."""

    def synced(self, uids: set[str], version: int) -> None:
        """Nothing is held."""


class Listener:
    """In place of an engine: remembers what it is told."""

    def __init__(self, index: int) -> None:
        self.share = Share(index, COUNT)
        self.feeds = {PODS: Heard(), NAMESPACES: Heard()}


def routes(*engines: Listener) -> Routes:
    return Routes(COUNT, engines)  # type: ignore[arg-type]


def line(namespace: str, **metadata: Any) -> bytes:
    obj = {"metadata": {"name": "p", "namespace": namespace, **metadata}}
    return orjson.dumps({"type": "ADDED", "object": obj}) + b"\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param(line(OURS), True, id="of ours"),
        pytest.param(line(THEIRS), False, id="of another shard"),
        pytest.param(
            line(THEIRS, labels={"namespace": OURS}), True, id="a label that looks like ours is read, and dropped later"
        ),
        pytest.param(line(OURS, labels={"namespace": THEIRS}), True, id="ours with a label that looks foreign"),
        pytest.param(
            line(THEIRS, annotations={"last": f'{{"namespace":"{OURS}"}}'}),
            False,
            id="JSON within a string is no field",
        ),
        pytest.param(b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}\n', True, id="a bookmark"),
        pytest.param(b'{"type":"ERROR","object":{"code":410}}\n', True, id="an error"),
    ],
)
def test_a_line_is_read_if_it_may_be_of_ours(text: bytes, kept: bool) -> None:
    assert routes(Listener(0)).keep(text) is kept


def test_a_shard_that_is_taken_or_given_changes_what_is_read() -> None:
    """At once: the verdicts of before are forgotten."""
    first, second = Listener(0), Listener(1)
    both = routes(first)
    assert not both.keep(line(THEIRS))
    both.add(second)  # type: ignore[arg-type]
    assert both.keep(line(THEIRS))
    both.remove(second)  # type: ignore[arg-type]
    assert not both.keep(line(THEIRS))


def test_an_object_goes_to_its_shard_and_one_of_the_cluster_to_all() -> None:
    first, second = Listener(0), Listener(1)
    table = routes(first, second)
    RoutedFeed(PODS, table).seen({"metadata": {"name": "pod", "namespace": THEIRS}})
    RoutedFeed(NAMESPACES, table).seen({"metadata": {"name": "ns"}})
    assert (first.feeds[PODS].seen_names, second.feeds[PODS].seen_names) == ([], ["pod"])
    assert first.feeds[NAMESPACES].seen_names == second.feeds[NAMESPACES].seen_names == ["ns"]


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": OURS, "uid": name, "resourceVersion": str(version)}}


def test_what_a_watch_tells_to_be_gone_is_not_brought_back_by_an_older_list() -> None:
    """They are read at the same time for a shard that was just taken."""
    taken = Listener(0)
    table = routes(taken)
    with table.listing():
        listed = ListedFeed(PODS, routes(taken), table)
        RoutedFeed(PODS, table).gone(pod("deleted", 8))
        listed.seen(pod("deleted", 5))
        listed.seen(pod("there", 6))
        listed.synced({"deleted", "there"}, 7)
    assert taken.feeds[PODS].seen_names == ["there"]


def test_an_event_that_is_older_than_the_list_is_no_news() -> None:
    """A watch that stood still would bring back runs that have ended, and they would be launched again."""
    taken = Listener(0)
    table = routes(taken)
    ListedFeed(PODS, routes(taken), table).synced(set(), 7)
    RoutedFeed(PODS, table).seen(pod("ended", 6))
    RoutedFeed(PODS, table).seen(pod("new", 8))
    assert taken.feeds[PODS].seen_names == ["new"]


def test_a_shard_that_is_taken_anew_knows_nothing_of_former_lists() -> None:
    former, taken = Listener(0), Listener(0)
    table = routes(former)
    ListedFeed(PODS, routes(former), table).synced(set(), 7)
    table.remove(former)  # type: ignore[arg-type]
    ListedFeed(PODS, routes(former), table).synced(set(), 9)
    table.add(taken)  # type: ignore[arg-type]
    RoutedFeed(PODS, table).seen(pod("there", 6))
    assert taken.feeds[PODS].seen_names == ["there"]


class SlotListener(Listener):
    """In place of an engine: remembers of which limits it is told that there may be news."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.told: list[str | None] = []
        self.intake = SimpleNamespace(gate=SimpleNamespace(slots_told=self.told.append))
        self.feeds |= {LEASES: SimpleNamespace(is_synced=asyncio.Event())}  # type: ignore[dict-item]


def test_leases_of_limits_go_into_one_store_and_each_engine_is_told_of_the_limit() -> None:
    first, second, store = SlotListener(0), SlotListener(1), Slots()
    feed = SlotsFeed(store, routes(first, second), lambda: 7.0)
    feed.seen(lease("db", 0))
    assert [slot.unchanged_since_s for slot in store.of("db")] == [7.0]
    assert (first.told, second.told) == (["db"], ["db"])


def test_a_lease_that_cannot_be_read_keeps_no_other_from_being_read() -> None:
    store = Slots()
    feed = SlotsFeed(store, routes(SlotListener(0)), lambda: 7.0)
    broken = lease("db", 0)
    broken["spec"] = "none"
    for obj in (broken, lease("db", 1)):
        feed.seen(obj)
    assert [slot.index for slot in store.of("db")] == [1]


def test_leases_that_a_list_has_not_are_dropped_and_who_waits_for_the_list_goes_on() -> None:
    """Those that are newer than the list stay."""
    engine, store = SlotListener(0), Slots()
    feed = SlotsFeed(store, routes(engine), lambda: 7.0)
    for index, version in enumerate((3, 4, 9)):
        feed.seen(lease("db", index, version=version))
    feed.synced({"db-0"}, 5)
    assert [slot.index for slot in store.of("db")] == [0, 2]
    assert engine.told[-1] is None
    assert engine.feeds[LEASES].is_synced.is_set()  # type: ignore[attr-defined]
