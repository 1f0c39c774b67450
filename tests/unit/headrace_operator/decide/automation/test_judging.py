"""A group's first event within its window fires, and the answer is the same for whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.automation import MAX_FIRINGS, MAX_OPEN, AutomationStatus, FiringState
from headrace_operator.decide.automation.expressions import InvalidExpression
from headrace_operator.decide.automation.judging import Judgement, Outcome
from headrace_operator.decide.automation.progress import with_counts, with_judgement
from headrace_operator.decide.automation.rules import MAX_HOLES, TooManyHoles, rules_of
from headrace_operator.decide.conditions import MESSAGE_LIMIT
from tests.unit.headrace_operator.decide.automation.builders import T0, a_spec, done, happened, judge, outcomes

BY_SERVICE = {"groupBy": ["event.service"]}


def test_a_flood_of_one_group_fires_once():
    """Its later events are counted."""
    judgement = judge(a_spec(**BY_SERVICE), *(happened(f"e{number}", number) for number in range(500)))
    assert outcomes(judgement) == {"fired": 1, "deduplicated": 499}
    assert judgement.fresh[0].at == T0


def test_groups_do_not_hold_each_other_back():
    """Each has a window of its own."""
    judgement = judge(a_spec(**BY_SERVICE), happened("a"), happened("b", service="mail"))
    assert outcomes(judgement) == {"fired": 2}


@pytest.mark.parametrize(("after_s", "outcome"), [(59, "deduplicated"), (60, "fired")])
def test_a_window_is_counted_from_the_event_that_fired(after_s, outcome):
    """Not from the latest one, which would make it last for ever."""
    spec = a_spec(**BY_SERVICE, deduplicateSeconds=60)
    status = done(judge(spec, happened("first")))
    assert outcomes(judge(spec, happened("next", after_s), status=status, after_s=after_s)) == {outcome: 1}


def test_the_very_same_event_fires_once_without_a_window():
    """As after a restart, or when a sender has lost the answer; under the same id."""
    spec = a_spec(deduplicateSeconds=0)
    first = judge(spec, happened("a"))
    assert outcomes(judge(spec, happened("a"), status=done(first), after_s=9)) == {"known": 1}
    assert [each.id for each in judge(spec, happened("a")).fresh] == [each.id for each in first.fresh]


@pytest.mark.parametrize(
    ("fields", "after_s", "outcome"),
    [
        pytest.param({"suspend": True}, 0, "suppressed", id="suspended"),
        pytest.param({"silences": [(0, 10)]}, 9, "suppressed", id="in a silence"),
        pytest.param({"silences": [(0, 10)]}, 10, "fired", id="when a silence is over"),
        pytest.param({"filter": "event.service == 'mail'"}, 0, "filtered", id="the filter says no"),
        pytest.param({"filter": "event.nothing == 1"}, 0, "filter_error", id="the filter has no answer"),
        pytest.param({"filter": "event.service"}, 0, "filter_error", id="the filter comes to a text"),
    ],
)
def test_what_holds_an_event_back(fields, after_s, outcome):
    """Nothing is done about it."""
    silences = [
        {"name": "s", "from": happened("", begins).at, "until": happened("", ends).at}
        for begins, ends in fields.get("silences", ())
    ]
    spec = a_spec(**{**fields, **({"silences": silences} if silences else {})})
    assert outcomes(judge(spec, happened("a", after_s), after_s=after_s)) == {outcome: 1}


def test_the_rate_limit_drops_what_is_above_it():
    """Counted over its stretch, not for ever."""
    spec = a_spec(rateLimit={"count": 2, "perSeconds": 60})
    judgement = judge(spec, happened("a"), happened("b", 1), happened("c", 2))
    assert outcomes(judgement) == {"fired": 2, "throttled": 1}
    assert outcomes(judge(spec, happened("d", 61), status=done(judgement), after_s=61)) == {"fired": 1}


def test_events_wait_while_too_many_firings_are_open():
    """They are not lost: they come back to be judged."""
    spec = a_spec(rateLimit={"count": MAX_FIRINGS})
    judgement = judge(spec, *(happened(f"e{number:03}") for number in range(MAX_OPEN + 3)))
    assert outcomes(judgement) == {"fired": MAX_OPEN, "deferred": 3}
    assert [each.id for each in judgement.deferred] == [f"e{MAX_OPEN + number:03}" for number in range(3)]


def test_a_status_stays_small_and_forgets_nothing_that_may_settle_something():
    """What happened before a forgotten firing is no event any more."""
    spec = a_spec(deduplicateSeconds=0, rateLimit={"count": MAX_FIRINGS, "perSeconds": 1})
    status = AutomationStatus()
    for number in range(3 * MAX_FIRINGS):
        after_s = 60 * number
        judgement = judge(spec, happened(f"e{number}", after_s), status=status, after_s=after_s)
        assert outcomes(judgement) == {"fired": 1}
        status = with_judgement(status, judgement)
        ended = tuple(each.model_copy(update={"state": FiringState.DONE, "actions": None}) for each in status.firings)
        status = status.model_copy(update={"firings": ended})
    assert len(status.firings) <= MAX_FIRINGS // 2 + 1
    assert status.since is not None
    assert status.since < status.firings[0].at


def test_the_event_of_a_firing_that_is_forgotten_is_past():
    """Found again, as after a restart, it would be news."""
    first = done(judge(a_spec(), happened("e", 0.5))).firings[0]
    status = with_judgement(AutomationStatus(firings=(first,)), Judgement(()))
    assert status.since is not None
    assert status.since > first.at


@pytest.mark.parametrize(
    ("firings", "is_listed", "fires"),
    [
        pytest.param(MAX_FIRINGS // 2, True, False, id="listed once more"),
        pytest.param(MAX_FIRINGS // 2, False, True, id="news of long ago, as of a node that was cut off"),
        pytest.param(1, True, True, id="no firing was forgotten"),
    ],
)
def test_what_a_forgotten_firing_kept_from_firing_does_not_fire_at_the_next_start(firings, is_listed, fires):
    """Finished runs stay for days, and are listed at each start."""
    spec = a_spec(**BY_SERVICE, deduplicateSeconds=60, rateLimit={"count": MAX_FIRINGS, "perSeconds": 1})
    status, day_s = AutomationStatus(), 86_400
    for number in range(firings):
        after_s = day_s + 60 * number
        status = done(judge(spec, happened(f"e{number}", after_s), status=status, after_s=after_s))
    listed = {"old"} if is_listed else set()
    old = happened("old", 30)
    assert bool(judge(spec, old, status=status, after_s=2 * day_s, listed=listed).fresh) is fires


def test_a_value_that_is_missing_fails_the_firing():
    """Nothing is done rather than half of it."""
    actions = [{"name": "look", "start": {"deployment": "d", "parameters": {"x": "{{ event.nothing }}"}}}]
    (fired,) = judge(a_spec(actions=actions), happened("a")).fresh
    assert (fired.state, fired.actions) == (FiringState.FAILED, None)
    assert 'there is no field "nothing"' in fired.message


def test_what_is_too_much_for_the_status_fails_the_firing():
    """A body that is large must be taken apart."""
    (fired,) = judge(a_spec(), happened("a", service="x" * 20_000)).fresh
    assert fired.state is FiringState.FAILED


MANY = {f"p{number}": "{{ event }}" for number in range(200)}
DEEP: dict[str, Any] = {}
for _ in range(5000):
    DEEP = {"in": DEEP}


@pytest.mark.parametrize(
    ("parameters", "event"),
    [
        pytest.param({"x": "{{ event.big }}, {{ event.big }}"}, {"big": "x" * 20_000}, id="a text"),
        pytest.param(MANY, {"big": "x" * 200_000}, id="many values"),
        pytest.param({"x": "{{ event.deep }}"}, {"deep": DEEP}, id="a value that nests deep"),
        pytest.param({"x": "{{ event." + "a" * 1000 + " }}"}, {}, id="a field with a long name"),
    ],
)
def test_whatever_comes_in_a_firing_stays_small(parameters, event):
    """It ends as failed, with a message that a status takes."""
    actions = [{"name": "look", "start": {"deployment": "d", "parameters": parameters}}]
    (fired,) = judge(a_spec(actions=actions), happened("a", **event)).fresh
    assert fired.state is FiringState.FAILED
    assert len(fired.message) <= MESSAGE_LIMIT


def test_what_nests_too_deep_to_be_compared_passes_no_filter():
    """Nor is it a group of its own."""
    nested = happened("a", deep=DEEP, same=DEEP)
    assert outcomes(judge(a_spec(filter="event.deep == event.same"), nested)) == {"filter_error": 1}
    assert outcomes(judge(a_spec(groupBy=["event.deep"]), nested)) == {"fired": 1}


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"x": "{{ event" + ".a" * 600 + " }}"}, InvalidExpression),
        ({"x": "{{ event.a }}" * (MAX_HOLES + 1)}, TooManyHoles),
    ],
    ids=["a long expression", "many templates"],
)
def test_a_spec_that_would_keep_the_operator_busy_is_refused(parameters, problem):
    """It runs for all teams."""
    with pytest.raises(problem):
        rules_of(a_spec(actions=[{"name": "look", "start": {"deployment": "d", "parameters": parameters}}]))


def test_counts_leave_a_status_alone_that_they_do_not_change():
    """So that nothing is written."""
    status = AutomationStatus()
    assert with_counts(status, {Outcome.FILTERED: 3, Outcome.KNOWN: 1}) is status
    assert with_counts(status, {Outcome.DEDUPLICATED: 2}).counts.matched == 2
