"""From a stream to the intake."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace.kubeapi.errors import Unreachable
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.resources import FLOW_RUNS
from headrace_operator.observe.feeds import Feed
from headrace_operator.observe.intake import Intake
from tests.unit.headrace_operator.observe.objects import an_intake, key, run


@pytest.fixture
def intake() -> Intake:
    return an_intake()[0]


@pytest.fixture
def feed(intake: Intake) -> Feed:
    return Feed("FlowRun", intake.doors[FLOW_RUNS])


def names(intake: Intake) -> set[str]:
    return {held.name for held in intake.cache.runs}


def test_what_was_deleted_while_the_stream_was_broken_is_dropped(feed: Feed, intake: Intake) -> None:
    """A complete list says what exists; what is newer than the list was made since."""
    for name, version in (("stays", 1), ("went", 5), ("is-newer", 6)):
        feed.seen(run(version, name=name))
    feed.synced({"stays-uid"}, 5)
    assert names(intake) == {"stays", "is-newer"}


def test_an_object_made_anew_under_its_name_is_another_one(feed: Feed, intake: Intake) -> None:
    """The list holds the new one: it stays, and the old one's deletion, heard of late, does not matter."""
    feed.seen(run(1, name="r1", uid="old"))
    feed.seen(run(4, name="r1", uid="new"))
    feed.synced({"new"}, 5)
    feed.gone(run(3, name="r1", uid="old"))
    assert {held.uid for held in intake.cache.runs.values()} == {"new"}


def test_it_is_synced_after_the_first_complete_list(feed: Feed) -> None:
    """Nothing is decided before."""
    feed.seen(run())
    assert not feed.is_synced.is_set()
    feed.synced(set(), 0)
    assert feed.is_synced.is_set()


def test_a_deletion_is_passed_on(feed: Feed, intake: Intake) -> None:
    """By key and uid."""
    feed.seen(run(1, name="r1"))
    feed.gone(run(2, name="r1"))
    assert names(intake) == set()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"status": {"phase": "Sleeping"}}, id="a phase that this version does not know"),
        pytest.param({"status": {"attempts": [{}]}}, id="an attempt without a number"),
        pytest.param({"spec": {"flowRef": "etl"}}, id="a text for an object"),
    ],
)
def test_an_object_that_cannot_be_read_affects_itself_alone(feed: Feed, intake: Intake, broken: dict[str, Any]) -> None:
    """It is logged by name, and the stream goes on."""
    with capture_logs() as logs:
        feed.seen({**run(name="odd"), **broken})
    feed.seen(run(name="good"))
    assert names(intake) == {"good"}
    assert [(entry["event"], entry["kind"], entry["key"]) for entry in logs] == [
        ("object_not_understood", "FlowRun", str(ObjectKey("team-a", "odd")))
    ]
    assert key("odd") not in intake.cache.runs


def test_a_broken_stream_is_logged(feed: Feed) -> None:
    """It is taken up again by itself."""
    with capture_logs() as logs:
        feed.failed(Unreachable(0, "Unreachable", "refused"), 0.123)
    assert logs == [
        {
            "event": "stream_broken",
            "kind": "FlowRun",
            "error": "0 Unreachable: refused",
            "retry_in_s": 0.12,
            "log_level": "warning",
        }
    ]
