"""What has happened is claimed in the status at once; counts that change little are written later."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace.api.automation import MAX_OPEN, AutomationStatus, Series
from headrace.api.conditions import Reason
from headrace_operator.decide.automation.claiming import COUNTED_EVERY, AutomationSnapshot, Claim, claimed
from headrace_operator.decide.automation.judging import Outcome
from headrace_operator.decide.automation.progress import Counts
from headrace_operator.decide.automation.rules import rules_of
from tests.unit.headrace_operator.decide.automation.builders import T0, a_spec, happened

BY_SERVICE = {"groupBy": ["event.service"], "deduplicateSeconds": 600}


def seen(status: AutomationStatus | None = None, **changes: Any) -> AutomationSnapshot:
    """An Automation that was looked at before, and for which nothing has happened since."""
    fresh = AutomationSnapshot("u", 1, T0, rules_of(a_spec(**BY_SERVICE)), status or AutomationStatus())
    if status is not None:
        return replace(fresh, **changes)
    return replace(fresh, status=status_of(claimed(fresh, T0)), **changes)


def status_of(claim: Claim) -> AutomationStatus:
    assert claim.status is not None
    return claim.status


def test_when_nothing_happened_nothing_is_written():
    """A look costs no request."""
    claim = claimed(seen(), T0)
    assert (claim.status, claim.settled, claim.counts, claim.counted_since) == (None, (), Counts(), None)


def test_what_fires_is_written_with_its_counts():
    """Before anything is done about it."""
    claim = claimed(seen(occurrences=(happened("a"), happened("b", 1)), counts=Counts({Outcome.THROTTLED: 3})), T0)
    written = status_of(claim)
    assert [each.id for each in written.firings] == [each.id for each in claim.judgement.fresh]
    assert (written.counts.fired, written.counts.deduplicated, written.counts.throttled) == (1, 1, 3)
    assert {each.id for each in claim.settled} == {"a", "b"}
    assert (claim.counts, claim.counted_since) == (Counts(), None)


def test_counts_alone_are_written_when_they_have_waited_long_enough():
    """With those that came meanwhile."""
    fired = status_of(claimed(seen(occurrences=(happened("a"),)), T0))
    first = claimed(seen(fired, occurrences=(happened("b", 1),)), T0 + timedelta(seconds=1))
    assert first.status is None
    assert [each.id for each in first.settled] == ["b"]
    assert (first.counts, first.counted_since) == (Counts({Outcome.DEDUPLICATED: 1}), T0 + timedelta(seconds=1))

    waits = seen(fired, counts=first.counts, counted_since=first.counted_since, occurrences=(happened("c", 2),))
    due = T0 + timedelta(seconds=1) + COUNTED_EVERY
    second = claimed(waits, due - timedelta(seconds=1))
    assert (second.status, second.counts) == (None, Counts({Outcome.DEDUPLICATED: 2}))
    assert second.counted_since == first.counted_since
    third = claimed(waits, due)
    assert status_of(third).counts.deduplicated == 2
    assert (third.counts, third.counted_since) == (Counts(), None)


def test_counts_that_nobody_sees_are_never_due():
    """What the filter keeps out is in no status."""
    rules = rules_of(a_spec(filter="event.service == 'mail'"))
    claim = claimed(seen(rules=rules, occurrences=(happened("a"),)), T0)
    assert (claim.status, claim.counted_since) == (None, None)
    assert claim.counts == Counts({Outcome.FILTERED: 1})


def test_what_is_deferred_is_kept_for_another_look():
    """As many firings are open as may be."""
    floods = tuple(happened(f"e{number:03}", number, service=f"s{number}") for number in range(MAX_OPEN + 2))
    rules = rules_of(a_spec(**BY_SERVICE, rateLimit={"count": 200, "perSeconds": 60}))
    claim = claimed(seen(rules=rules, occurrences=floods), T0)
    assert len(claim.judgement.fresh) == MAX_OPEN
    assert [each.id for each in claim.settled] == [each.id for each in floods[:MAX_OPEN]]


def test_what_happened_under_another_spec_is_settled_unjudged():
    """Whoever mends a filter does not mean last week's failures."""
    changed = T0 + timedelta(hours=1)
    claim = claimed(seen(generation=2, occurrences=(happened("old", 5), happened("new", 3600))), changed)
    assert status_of(claim).since == changed
    assert len(claim.judgement.fresh) == 1
    assert {each.id for each in claim.settled} == {"old", "new"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"problem": (Reason.QUERY_FAILED, "no answer")}, id="it cannot see any more"),
        pytest.param({"series": (Series(id="a", since=T0),)}, id="a series went beyond its threshold"),
    ],
)
def test_news_of_itself_is_written_at_once(changes):
    """Though nothing has happened."""
    assert status_of(claimed(seen(**changes), T0)) != seen().status


def test_a_spec_that_cannot_be_used_judges_nothing():
    """And says so."""
    claim = claimed(seen(rules=None, problem=(Reason.INVALID_SPEC, "no"), occurrences=(happened("a"),)), T0)
    assert (status_of(claim).firings, claim.judgement.outcomes) == ((), Counts())
