"""Runs that left the stream, until it is known what became of them."""

from __future__ import annotations

from headrace_operator.observe.departures import Departure, Departures
from tests.unit.headrace_operator.observe.objects import key

DAILY = key("daily")


def test_they_are_counted_by_deployment_until_they_are_settled() -> None:
    """A run without a Deployment is counted nowhere."""
    departures = Departures()
    departures.add(key("r1"), Departure("u1", DAILY))
    departures.add(key("r2"), Departure("u2", DAILY))
    departures.add(key("r3"), Departure("u3", None))
    assert (departures.of(DAILY), departures.of(key("weekly"))) == (2, 0)
    assert departures.uid(key("r1")) == "u1"
    assert departures.settle(key("r1")) == Departure("u1", DAILY)
    assert (departures.settle(key("r1")), departures.uid(key("r1"))) == (None, None)
    assert departures.settle(key("r3")) == Departure("u3", None)
    assert departures.of(DAILY) == 1


def test_of_two_of_one_name_the_later_is_asked_about() -> None:
    """The name can belong to one object only."""
    departures = Departures()
    departures.add(key("r1"), Departure("old", DAILY))
    departures.add(key("r1"), Departure("new", DAILY))
    assert (departures.uid(key("r1")), departures.of(DAILY)) == ("new", 1)
