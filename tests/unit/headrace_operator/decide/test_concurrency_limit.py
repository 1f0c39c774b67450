"""What becomes of a ConcurrencyLimit's Leases, and what its status says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import slots
from headrace.api.concurrencylimit import ConcurrencyLimitSpec
from headrace.slots import Rate
from headrace_operator.decide.concurrency_limit import (
    Annotate,
    CreateRate,
    CreateSlot,
    LeaseAction,
    LimitSnapshot,
    Remove,
    TakeBack,
    decide_limit,
)
from headrace_operator.decide.leases import RateLease, Slot, milliseconds
from headrace_operator.decide.snapshot import ObjectKey
from tests.builders import NOW
from tests.unit.headrace_operator.leases import SYSTEM, pod, run, slot

CLOSE = ((slots.CLOSED_ANNOTATION, "true"),)
OPEN = ((slots.CLOSED_ANNOTATION, None),)
PER_MINUTE = {"count": 5, "perSeconds": 60}


def a_limit(*held: Slot, spec: dict[str, Any] | None = None, **changes: Any) -> LimitSnapshot:
    fields: dict[str, Any] = {
        "name": "db",
        "exists": True,
        "generation": 3,
        "spec": ConcurrencyLimitSpec.model_validate({"slots": 2} if spec is None else spec),
        "problem": None,
        "conditions": (),
        "slots": held,
        "rate": None,
        "waiting": 0,
        "over": frozenset(),
        **changes,
    }
    return LimitSnapshot(**fields)


def gone(*held: Slot, **changes: Any) -> LimitSnapshot:
    return a_limit(*held, exists=False, **{"generation": 0, **changes}, spec={"slots": 1})


FIVE_A_MINUTE = Rate(5, 60)


def a_rate(rate: Rate | None = FIVE_A_MINUTE, *, last_s_ago: float | None = None) -> RateLease:
    starts = () if last_s_ago is None else (milliseconds(NOW - timedelta(seconds=last_s_ago)),)
    return RateLease(ObjectKey(SYSTEM, "db.rate"), "rate", 1, "db", rate, starts)


def actions(seen: LimitSnapshot, now_s: float = 0.0) -> tuple[LeaseAction, ...]:
    return decide_limit(seen, NOW, now_s).actions


FREE = [slot(index=index) for index in range(5)]
HELD = [slot(index=index, holder=run(f"etl-{index}")) for index in range(5)]
CLOSED = [slot(index=index, holder=run(f"etl-{index}"), closed=True) for index in range(5)]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(a_limit(*FREE[:2]), (), id="as many Leases as slots: nothing"),
        pytest.param(a_limit(), (CreateSlot(0, 60), CreateSlot(1, 60)), id="a new limit: all of them"),
        pytest.param(
            a_limit(HELD[3], spec={"slots": 3, "leaseDurationSeconds": 9}),
            (CreateSlot(0, 9), CreateSlot(1, 9)),
            id="some are missing: the lowest that there are not",
        ),
        pytest.param(
            a_limit(*FREE), (Remove(FREE[4]), Remove(FREE[3]), Remove(FREE[2])), id="fewer, all free: the highest go"
        ),
        pytest.param(
            a_limit(HELD[0], FREE[1], HELD[2], spec={"slots": 2}), (Remove(FREE[1]),), id="fewer, one free: it goes"
        ),
        pytest.param(
            a_limit(*HELD[:3], spec={"slots": 2}),
            tuple(Annotate(each, CLOSE) for each in HELD[:3]),
            id="fewer, all held: all are closed, whichever ends first",
        ),
        pytest.param(a_limit(*CLOSED[:3]), (), id="closed and still held: wait"),
        pytest.param(
            a_limit(CLOSED[0], slot(index=1, closed=True), CLOSED[2]),
            (Remove(slot(index=1, closed=True)), Annotate(CLOSED[0], OPEN), Annotate(CLOSED[2], OPEN)),
            id="given back: it goes, and with as many as there are to be the others are opened",
        ),
        pytest.param(
            a_limit(*CLOSED[:3], spec={"slots": 4}),
            (*(Annotate(each, OPEN) for each in CLOSED[:3]), CreateSlot(3, 60)),
            id="up again while held: opened, and the missing one made",
        ),
        pytest.param(
            a_limit(*FREE[:2], spec={"slots": 0}),
            (Remove(FREE[1]), Annotate(FREE[0], CLOSE)),
            id="a pause: the last one stays, closed, and with it the count of its holders",
        ),
        pytest.param(
            a_limit(slot(closed=True), spec={"slots": 1}),
            (Annotate(slot(closed=True), OPEN),),
            id="the pause is over: it is opened",
        ),
        pytest.param(a_limit(*FREE[:2], spec={"rate": PER_MINUTE}, rate=a_rate()), (Remove(FREE[1]), Remove(FREE[0])), id="slots are dropped from the spec: all go"),
        pytest.param(gone(*FREE[:2]), (Remove(FREE[1]), Remove(FREE[0])), id="the limit is gone: free ones go"),
        pytest.param(gone(HELD[0]), (Annotate(HELD[0], CLOSE),), id="the limit is gone: a held one is closed"),
        pytest.param(gone(slot(closed=True)), (Remove(slot(closed=True)),), id="the limit is gone: given back, it goes"),
        pytest.param(
            a_limit(HELD[4], spec={"slots": 1}), (), id="made anew while held: the old holder counts"
        ),
    ],
)  # fmt: skip
def test_as_many_leases_as_slots(seen: LimitSnapshot, expected: tuple[LeaseAction, ...]) -> None:
    """Growing, shrinking, pausing, deleting: what is held stays until it is given back."""
    assert actions(seen) == expected


def test_a_spec_that_cannot_be_read_makes_and_removes_no_lease() -> None:
    """Nobody knows how many there are to be; who is over gives back all the same, and the status says why."""
    seen = replace(a_limit(*HELD, over=frozenset({run("etl-1")})), spec=None, problem="spec.slots: found 'x'")
    decision = decide_limit(seen, NOW, 0.0)

    assert decision.actions == (TakeBack(HELD[1]),)
    assert decision.status is not None
    assert [(each.reason, each.message) for each in decision.status.conditions] == [
        ("InvalidSpec", "spec.slots: found 'x'")
    ]


TASK = slot(holder=pod(), duration_s=60, unchanged_since_s=100.0)


@pytest.mark.parametrize(
    ("held", "over", "now_s", "expected", "look_again_s"),
    [
        pytest.param(HELD[0], frozenset(), 1e9, False, None, id="a run keeps its slot however long it takes"),
        pytest.param(HELD[0], {run("etl-0")}, 0.0, True, None, id="a run that is over loses it"),
        pytest.param(HELD[0], {run("etl-0", "other")}, 0.0, False, None, id="not one of its name"),
        pytest.param(TASK, frozenset(), 159.0, False, 1.0, id="a task keeps it until it was silent for its duration"),
        pytest.param(TASK, frozenset(), 160.0, True, None, id="then it loses it"),
        pytest.param(TASK, {pod()}, 100.0, True, None, id="a task in a pod that has ended loses it at once"),
        pytest.param(
            slot(holder=pod(), duration_s=60, unchanged_since_s=None), frozenset(), 1e9, False, 60.0,
            id="what the stream has not told of yet has not been silent",
        ),
        pytest.param(slot(holder=pod()), frozenset(), 1e9, False, None, id="without a duration it does not expire"),
        pytest.param(
            slot(holder="by-hand", duration_s=1, unchanged_since_s=0.0), frozenset(), 1e9, False, None,
            id="who holds it by hand frees it by hand",
        ),
    ],
)  # fmt: skip
def test_who_loses_a_slot(held: Slot, over: Any, now_s: float, expected: bool, look_again_s: float | None) -> None:
    """Runs when they are over; tasks when they are silent, by this process's own clock, or their pod has ended."""
    decision = decide_limit(a_limit(held, spec={"slots": 1}, over=frozenset(over)), NOW, now_s)

    assert decision.actions == ((TakeBack(held),) if expected else ())
    assert decision.look_again_after_s == look_again_s


def test_of_a_limit_that_shrinks_the_slot_of_the_dead_goes_at_once() -> None:
    """Never free in between, when a task might take it."""
    seen = a_limit(*CLOSED[:3], over=frozenset({run("etl-0")}))

    assert actions(seen) == (Remove(CLOSED[0]), Annotate(CLOSED[1], OPEN), Annotate(CLOSED[2], OPEN))


def test_the_duration_is_told_by_free_slots_only() -> None:
    """A holder renews by the duration that it took the slot with: it must not change under it."""
    spec = {"slots": 2, "leaseDurationSeconds": 30}

    assert actions(a_limit(FREE[0], HELD[1], spec=spec)) == (Annotate(FREE[0], ((slots.DURATION_ANNOTATION, "30"),)),)


@pytest.mark.parametrize(
    ("seen", "expected", "look_again_s"),
    [
        pytest.param(a_limit(spec={"rate": PER_MINUTE}), (CreateRate(Rate(5, 60)),), None, id="a rate has its Lease"),
        pytest.param(a_limit(spec={"rate": PER_MINUTE}, rate=a_rate()), (), None, id="as it is to be"),
        pytest.param(
            a_limit(spec={"rate": PER_MINUTE}, rate=a_rate(Rate(9, 60), last_s_ago=1)),
            (Annotate(a_rate(Rate(9, 60), last_s_ago=1), ((slots.RATE_ANNOTATION, "5/60"),)),), None,
            id="another rate is told; its starts stay",
        ),
        pytest.param(gone(rate=a_rate(last_s_ago=61)), (Remove(a_rate(last_s_ago=61)),), 0.0, id="no limit, no Lease"),
        pytest.param(
            gone(rate=a_rate(last_s_ago=20)), (), 40.0, id="but for the starts within the window, should it come back"
        ),
        pytest.param(gone(rate=a_rate(None, last_s_ago=1)), (Remove(a_rate(None, last_s_ago=1)),), 0.0, id="one that nobody can read"),
    ],
)  # fmt: skip
def test_the_lease_of_a_rate(
    seen: LimitSnapshot, expected: tuple[LeaseAction, ...], look_again_s: float | None
) -> None:
    """Made with the rate, kept in line with it, and gone with it once no start is within the window."""
    decision = decide_limit(seen, NOW, 0.0)

    assert decision.actions == expected
    assert decision.look_again_after_s == look_again_s


def test_the_whole_status() -> None:
    """Who holds what since when, without uids; how many wait."""
    seen = a_limit(
        slot(index=0, holder=run(), acquired=NOW + timedelta(microseconds=7)),
        slot(index=1, holder=pod()),
        slot(index=2, holder="by-hand"),
        slot(index=3),
        spec={"slots": 4},
        waiting=9,
    )
    status = decide_limit(seen, NOW, 0.0).status

    assert status is not None
    assert status.model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "observedGeneration": 3,
        "active": 3,
        "waiting": 9,
        "holders": [
            {"slot": "db.slot-0", "holder": "run/team-a/etl-1", "since": "2026-03-04T12:00:00Z"},
            {"slot": "db.slot-1", "holder": "pod/team-a/etl-1-1"},
            {"slot": "db.slot-2", "holder": "by-hand"},
        ],
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "observedGeneration": 3,
                "lastTransitionTime": "2026-03-04T12:00:00Z",
                "reason": "Ready",
                "message": "no more slots are held than there are",
            }
        ],
    }


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(a_limit(*HELD[:2]), ("True", "Ready"), id="full is fine"),
        pytest.param(a_limit(*HELD[:3]), ("False", "Resizing"), id="more than full is not"),
        pytest.param(a_limit(HELD[0], spec={"slots": 0}), ("False", "Resizing"), id="nor is a pause with a holder"),
        pytest.param(a_limit(spec={"rate": PER_MINUTE}), ("True", "Ready"), id="a rate has no slots"),
    ],
)
def test_ready_says_whether_more_is_held_than_there_is(seen: LimitSnapshot, expected: tuple[str, str]) -> None:
    """By status and reason."""
    status = decide_limit(seen, NOW, 0.0).status
    assert status is not None
    assert [(each.status, each.reason) for each in status.conditions] == [expected]


def test_a_hundred_holders_are_named_and_all_are_counted() -> None:
    """The object stays small."""
    held = tuple(slot(index=index, holder=run(f"etl-{index}")) for index in range(150))
    status = decide_limit(a_limit(*held, spec={"slots": 150}), NOW, 0.0).status

    assert status is not None
    assert (status.active, len(status.holders)) == (150, 100)


def test_a_limit_that_is_gone_has_no_status() -> None:
    """There is nothing to write it to."""
    assert decide_limit(gone(*HELD), NOW, 0.0).status is None


def carried_out(seen: LimitSnapshot) -> tuple[Slot, ...]:
    """The slots as they are when everything that was decided was done."""
    after = {each.index: each for each in seen.slots}
    for action in actions(seen):
        match action:
            case CreateSlot(index, duration_s):
                assert index not in after
                after[index] = slot(index=index, noted_duration_s=duration_s)
            case Remove(Slot() as each):
                del after[each.index]
            case TakeBack(each):
                after[each.index] = slot(index=each.index, closed=each.closed, noted_duration_s=each.noted_duration_s)
            case Annotate(Slot() as each, notes):
                told = dict(notes)
                after[each.index] = slot(
                    index=each.index,
                    holder=each.holder,
                    closed=bool(told.get(slots.CLOSED_ANNOTATION)) if slots.CLOSED_ANNOTATION in told else each.closed,
                    noted_duration_s=int(told.get(slots.DURATION_ANNOTATION) or each.noted_duration_s or 0),
                )
    return tuple(after[index] for index in sorted(after))


@given(
    st.dictionaries(st.integers(0, 9), st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=8),
    st.integers(0, 8) | st.none(),
    st.booleans(),
)
def test_any_state_comes_to_rest(found: dict[int, tuple[bool, bool, bool]], wanted: int | None, exists: bool) -> None:
    """
    In two passes: no holder that goes on loses its slot, none is free beyond the spec or while too many are held, and
    there are as many as there are to be.
    """
    held = tuple(
        slot(index=index, holder=run(f"{'over' if over else 'at-work'}-{index}") if is_held else "", closed=closed)
        for index, (is_held, over, closed) in sorted(found.items())
    )
    spec = {"rate": PER_MINUTE} if wanted is None else {"slots": wanted}
    seen = a_limit(*held, spec=spec, exists=exists, rate=a_rate())
    for _ in range(2):
        over = frozenset(each.holder for each in seen.slots if "/over-" in each.holder)
        seen = a_limit(
            *carried_out(a_limit(*seen.slots, spec=spec, exists=exists, over=over, rate=a_rate())),
            spec=spec,
            exists=exists,
            rate=a_rate(),
        )
    takeable = [each for each in seen.slots if not each.holder and not each.closed]
    at_work = {each.holder for each in held if "/at-work-" in each.holder}
    count = (wanted or 0) if exists else 0

    assert {each.holder for each in seen.slots if each.holder} == at_work
    assert len(takeable) == max(0, count - len(at_work))
    assert not [action for action in actions(seen) if not isinstance(action, Remove) or isinstance(action.lease, Slot)]


EARLIER = NOW - timedelta(minutes=5)
FULL = (slot(index=0, holder=run("a")), slot(index=1, holder=run("b")))
ONE_FREE = (FULL[0], slot(index=1))


@pytest.mark.parametrize(
    ("seen", "since"),
    [
        pytest.param(a_limit(*FULL, waiting=1), NOW, id="all are taken and a run waits"),
        pytest.param(a_limit(*FULL, waiting=1, saturated_since=EARLIER), EARLIER, id="they still are"),
        pytest.param(a_limit(*FULL), None, id="nobody waits"),
        pytest.param(a_limit(*FULL, saturated_since=EARLIER), None, id="nobody waits any more"),
        pytest.param(a_limit(*ONE_FREE, waiting=1), None, id="one is free"),
        pytest.param(a_limit(*ONE_FREE, waiting=1, saturated_since=EARLIER, free_for_s=9), EARLIER, id="for a moment"),
        pytest.param(a_limit(*ONE_FREE, waiting=1, saturated_since=EARLIER, free_for_s=10), None, id="for long"),
        pytest.param(a_limit(spec={"slots": 0}, waiting=1), NOW, id="it is closed and a run waits"),
        pytest.param(a_limit(spec={"rate": PER_MINUTE}, rate=a_rate(), waiting=1), None, id="it has a rate only"),
    ],
)
def test_since_when_a_limit_is_saturated(seen, since):
    """A slot that goes from run to run is free for a moment, and ends nothing."""
    status = decide_limit(seen, NOW, 0.0).status
    assert status is not None
    assert status.saturated_since == since


def test_a_free_slot_of_a_saturated_limit_is_looked_at_again():
    """Nothing else may happen meanwhile: runs wait for a pool, say."""
    seen = a_limit(*ONE_FREE, waiting=1, saturated_since=EARLIER, free_for_s=4)
    assert decide_limit(seen, NOW, 0.0).look_again_after_s == 6
    assert decide_limit(replace(seen, free_for_s=10), NOW, 0.0).look_again_after_s is None
