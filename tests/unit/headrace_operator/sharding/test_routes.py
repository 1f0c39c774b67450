"""Which lines of a watch are read, and which engine is told of an object."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from headrace_operator.decide.sharding import Share, shard_of
from headrace_operator.kube.resources import NAMESPACES, PODS
from headrace_operator.sharding.routes import ListedFeed, RoutedFeed, Routes

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
