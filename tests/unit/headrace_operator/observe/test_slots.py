"""The store of Leases: newer wins, gone is gone, and time is counted from what the stream told."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import slots
from headrace.instants import microseconds
from headrace.slots import Rate
from headrace_operator.decide.leases import Slot
from headrace_operator.decide.queueing.slots import namespace_of
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.manifests.slot import rate_lease
from headrace_operator.observe.parse import object_key
from headrace_operator.observe.slots import Slots, record_from
from tests.builders import NOW
from tests.unit.headrace_operator.leases import SYSTEM, lease, pod, run

KEY = ObjectKey(SYSTEM, "db.slot-0")
STAMP = microseconds(NOW)
TEAM = namespace_of(run())
ELSEWHERE = "run/team-z/r/uid"


@pytest.fixture
def store() -> Slots:
    return Slots()


def indices(store: Slots, limit: str = "db") -> list[int]:
    return [slot.index for slot in store.of(limit)]


def test_a_slot_is_held_with_all_that_its_lease_says() -> None:
    """A task's slot: holder, times, number of the holding, how long it lasts."""
    times: dict[str, Any] = {
        "acquireTime": STAMP,
        "renewTime": STAMP,
        "leaseTransitions": 7,
        "leaseDurationSeconds": 15,
    }
    found = record_from(lease(holder=pod(), closed=True, version=9, **times), 5.0)

    assert isinstance(found, Slot)
    assert found.key == KEY
    told = {name: getattr(found, name) for name in ("limit", "index", "holder", "transitions", "duration_s", "closed")}
    assert told == {"limit": "db", "index": 0, "holder": pod(), "transitions": 7, "duration_s": 15, "closed": True}
    assert (found.acquired, found.renewed, found.noted_duration_s, found.unchanged_since_s) == (NOW, NOW, 60, 5.0)


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"labels": {}}, id="a Lease without the label"),
        pytest.param({"labels": {slots.LIMIT_LABEL: "other"}}, id="a label that names another limit"),
        pytest.param({"name": "headrace-operator"}, id="the leader's Lease, labelled by mistake"),
        pytest.param({"name": "db.slot-01"}, id="a number that we do not write"),
    ],
)
def test_what_is_no_slot_is_not_held(store: Slots, metadata: dict[str, object]) -> None:
    """Name and label must agree."""
    obj = lease()
    obj["metadata"] |= metadata

    assert store.seen(obj) is None
    assert not store.held


def test_indices_follow_what_is_seen(store: Slots) -> None:
    """By limit in the order of the index, by holder, by pod."""
    for index, holder in ((10, run()), (2, pod()), (0, "")):
        store.seen(lease(index=index, holder=holder))
    store.seen(lease("api", 0, holder=run()))

    assert indices(store) == [0, 2, 10]
    assert [slot.name for slot in store.held_by(run())] == ["api.slot-0", "db.slot-10"]
    assert store.holders("db") == {pod(): 1, run(): 1}
    assert store.limits_held_in_pod("team-a", "etl-1-1", "p1") == {"db"}
    assert store.limits_held_in_pod("team-a", "etl-1-1", "p2") == set()
    assert set(store.limits()) == {"db", "api"}


def test_a_slot_that_is_given_back_leaves_every_index(store: Slots) -> None:
    """Of its holder and of its pod."""
    store.seen(lease(holder=pod(), version=1))
    store.seen(lease(version=2))

    assert not store.held_by(pod())
    assert store.limits_held_in_pod("team-a", "etl-1-1", "p1") == set()


def test_newer_wins(store: Slots) -> None:
    """A late event does not undo the answer to our own write."""
    store.seen(lease(holder=run(), version=5))

    assert store.seen(lease(version=4)) is None
    assert store.holders("db") == {run(): 1}


def test_a_slot_without_its_label_is_none_any_more(store: Slots) -> None:
    """Somebody took it off; put on again, it is a slot again."""
    store.seen(lease(holder=run(), version=1))
    bare = lease(holder=run(), version=2)
    bare["metadata"]["labels"] = {}

    assert store.seen(bare) == "db"
    assert not store.held_by(run())
    assert store.seen(lease(holder=run(), version=3)) == "db"
    assert store.seen({**bare, "metadata": {**bare["metadata"], "resourceVersion": "2"}}) is None
    assert store.holders("db") == {run(): 1}


def test_gone_is_gone(store: Slots) -> None:
    """A late answer does not raise it; another Lease of its name is another one."""
    store.seen(lease(uid="old", version=1))

    assert store.gone(KEY, "old") == "db"
    assert store.seen(lease(uid="old", version=9)) is None
    assert store.limits() == ()
    assert store.seen(lease(uid="new", version=3)) == "db"
    assert store.gone(KEY, "old") is None
    assert indices(store) == [0]


@pytest.mark.parametrize(
    ("changed", "news"),
    [
        pytest.param({"holder": pod(), "renewTime": "2026-03-04T12:00:20.000000Z"}, None, id="a renewal is no news"),
        pytest.param({"holder": run()}, "db", id="another holder is"),
        pytest.param({"holder": pod(), "leaseTransitions": 1}, "db", id="the same holder anew is"),
        pytest.param({"holder": pod(), "closed": True}, "db", id="being closed is"),
    ],
)
def test_what_is_news(store: Slots, changed: dict[str, Any], news: str | None) -> None:
    """Only what a decision may rest on wakes anybody; what was told is held all the same."""
    store.seen(lease(holder=pod(), version=1))

    assert store.seen(lease(version=2, **changed)) == news
    assert store.of("db")[0].version == 2


def test_time_begins_with_what_the_stream_told(store: Slots) -> None:
    """Our own answer has no time; the stream's echo begins it, and another echo does not begin it anew."""
    store.seen(lease(holder=pod(), version=3))
    assert store.of("db")[0].unchanged_since_s is None

    for at_s in (7.0, 9.0):
        store.seen(lease(holder=pod(), version=3), at_s)
    assert store.of("db")[0].unchanged_since_s == 7.0

    store.seen(lease(holder=pod(), version=4), 20.0)
    assert store.of("db")[0].unchanged_since_s == 20.0


def test_one_free_slot_is_picked_by_one(store: Slots) -> None:
    """Lowest index first; neither held nor closed ones; put down, it may be picked again."""
    store.seen(lease(index=0, holder=run()))
    store.seen(lease(index=1, closed=True))
    store.seen(lease(index=2))
    store.seen(lease(index=3))
    first, second, third = (store.pick("db") for _ in range(3))

    assert first is not None
    assert second is not None
    assert (first.index, second.index, third) == (2, 3, None)
    store.put_down(first)
    assert store.pick("db") == first


def test_a_slot_that_was_held_here_is_picked_first() -> None:
    """Others leave it alone while they have their own: then no two replicas want the same one."""
    store = Slots()
    store.listen(lambda namespace: namespace == "team-a")
    for index, holder in enumerate(("", run(), run("b", namespace="team-b"))):
        store.seen(lease(index=index, holder=holder, version=1))
    for index in (1, 2):
        store.seen(lease(index=index, version=2))
    picked = [store.pick("db") for _ in range(3)]

    assert [slot.index for slot in picked if slot is not None] == [1, 0, 2]


def test_replicas_begin_at_different_places() -> None:
    """Of what nobody here has held; from the end it goes on at the beginning."""
    store = Slots()
    store.begin_at(0.5)
    for index in range(4):
        store.seen(lease(index=index))
    picked = [store.pick("db") for _ in range(5)]

    assert [slot.index for slot in picked if slot is not None] == [2, 3, 0, 1]


def test_a_renewal_and_an_echo_are_news_to_no_engine(store: Slots) -> None:
    """Tasks renew every few seconds, and each answer to a write is followed by its event."""
    store.seen(lease(holder=pod(), version=1))
    news = store.listen(lambda _: True)
    news.take("db")
    store.seen(lease(holder=pod(), version=1), 3.0)
    store.seen(lease(holder=pod(), version=2, renewTime="2026-03-04T12:00:20.000000Z"), 4.0)

    assert news.limits == set()


def test_an_engine_that_is_gone_is_told_no_more(store: Slots) -> None:
    """Or all that ever happens would pile up for it."""
    news = store.listen(lambda _: True)
    store.leave(news)
    store.seen(lease(holder=run()))

    assert (news.limits, news.take("db"), news.held("db")) == (set(), set(), 0)


leases = st.builds(
    lease,
    limit=st.sampled_from(["db", "api"]),
    index=st.integers(0, 3),
    version=st.integers(1, 9),
    holder=st.sampled_from(["", run("a"), run("b"), pod(), ELSEWHERE, "somebody"]),
    closed=st.booleans(),
    uid=st.sampled_from(["first", "second"]),
)


@given(st.lists(st.tuples(leases, st.sampled_from(["seen", "unlabelled", "gone"])), max_size=12))
def test_counts_and_free_slots_follow_from_what_is_held(events: list[tuple[dict[str, Any], str]]) -> None:
    """After whatever the stream tells; whoever adds up the news knows the own holders, and how many slots all others hold."""
    store, told = Slots(), {"db": dict[str, int](), "api": dict[str, int]()}
    store.begin_at(0.5)
    news, others = store.listen(lambda namespace: namespace == TEAM), store.listen(lambda _: False)
    for obj, event in events:
        if event == "gone":
            store.gone(object_key(obj), obj["metadata"]["uid"])
        else:
            obj["metadata"]["labels"] |= {slots.LIMIT_LABEL: ""} if event == "unlabelled" else {}
            store.seen(obj)
        for limit, known in told.items():
            all_of_it = store.of(limit)
            free = [slot.index for slot in all_of_it if not slot.holder and not slot.closed]
            picked = [slot for slot in iter(partial(store.pick, limit), None) if slot is not None]
            assert sorted(slot.index for slot in picked) == free
            for slot in picked:
                store.put_down(slot)
            assert store.count(limit) == len(all_of_it)
            held = Counter(slot.holder for slot in all_of_it if slot.holder)
            assert store.holders(limit) == held
            assert limit not in others.own
            known.update(store.numbers(limit, news.take(limit)))
            own = {holder: count for holder, count in held.items() if namespace_of(holder) == TEAM}
            assert {holder: count for holder, count in known.items() if count} == own
            assert (store.taken(limit), news.held(limit), others.held(limit)) == (held.total(), sum(own.values()), 0)
            assert limit not in news.limits
    store.leave(news)
    late = store.listen(lambda namespace: namespace == TEAM)
    for limit in told:
        held = Counter(slot.holder for slot in store.of(limit) if slot.holder)
        own = {holder: count for holder, count in held.items() if namespace_of(holder) == TEAM}
        assert store.numbers(limit, late.take(limit)) == own
        assert late.held(limit) == sum(own.values())
        assert (others.take(limit), others.held(limit)) == (set(), 0)


def test_a_rate_tells_its_starts(store: Slots) -> None:
    """As instants; it is no slot."""
    obj = rate_lease("api", Rate(5, 60), namespace=SYSTEM)
    obj["metadata"] |= {"uid": "r", "resourceVersion": "3"}
    obj["metadata"]["annotations"][slots.STARTS_ANNOTATION] = str(round(NOW.timestamp() * 1000))

    assert store.seen(obj) == "api"
    found = store.rate_of("api")
    assert found is not None
    assert (found.rate, found.starts) == (Rate(5, 60), (NOW,))
    assert store.of("api") == ()
    assert store.gone(found.key, "r") == "api"
    assert store.rate_of("api") is None


class TestOffers:
    """The Lease says that a run holds the slot, and the run is over."""

    @pytest.fixture
    def store(self) -> Slots:
        store = Slots()
        store.seen(lease(index=0, holder=run(), version=1))
        (held,) = store.held_by(run())
        assert store.offer(held, 5.0)
        return store

    def test_it_is_free_for_whoever_picks_it(self, store: Slots) -> None:
        """With the version and the number of takings that its Lease has."""
        assert (store.held_by(run()), store.holders("db"), store.offered("db")) == ((), {}, 1)
        picked = store.pick("db")
        assert picked is not None
        assert (picked.key, picked.version, picked.holder) == (KEY, 1, "")

    def test_all_engines_have_news_of_it(self) -> None:
        """That its run holds none is what lets the next one in."""
        store = Slots()
        news = store.listen(lambda _: True)
        store.seen(lease(index=0, holder=run(), version=1))
        news.take("db")
        store.offer(*store.held_by(run()), 5.0)
        assert store.numbers("db", news.take("db")) == {run(): 0}

    def test_the_next_holder_ends_it(self, store: Slots) -> None:
        """As the answer to its taking tells."""
        store.seen(lease(index=0, holder=run("etl-2"), version=2))

        assert (store.holders("db"), store.offered("db")) == ({run("etl-2"): 1}, 0)
        store.end_offers("db", before_s=9.0)
        assert store.holders("db") == {run("etl-2"): 1}

    def test_an_echo_does_not_end_it(self, store: Slots) -> None:
        """What is known already is told again by the stream."""
        store.seen(lease(index=0, holder=run(), version=1), 6.0)
        assert store.offered("db") == 1

    def test_anything_else_that_is_written_to_the_lease_ends_it(self, store: Slots) -> None:
        """It is not taken blindly: the version would be refused."""
        store.seen(lease(index=0, holder=run(), version=2, closed=True))
        assert (store.holders("db"), store.offered("db"), store.pick("db")) == ({run(): 1}, 0, None)

    def test_a_deleted_lease_ends_it(self, store: Slots) -> None:
        store.gone(KEY, "db-0")
        assert (store.offered("db"), store.pick("db")) == (0, None)

    @pytest.mark.parametrize(("before_s", "offered"), [(4.9, 1), (5.0, 0)])
    def test_it_lasts_for_a_time(self, store: Slots, before_s: float, offered: int) -> None:
        """Then the Lease counts as it says, so that the slot is taken back."""
        store.end_offers("db", before_s=before_s)
        assert (store.offered("db"), len(store.held_by(run()))) == (offered, 1 - offered)

    def test_it_does_not_end_while_somebody_takes_it(self, store: Slots) -> None:
        picked = store.pick("db")
        assert picked is not None
        store.end_offers("db", before_s=9.0)
        assert store.offered("db") == 1

        store.put_down(picked)
        store.end_offers("db", before_s=9.0)
        assert (store.offered("db"), store.holders("db")) == (0, {run(): 1})

    def test_what_may_be_given_back_already_is_not_offered(self) -> None:
        """An answer is out; and a record of which there is news is old."""
        store = Slots()
        store.seen(lease(index=0, holder=run(), version=1))
        (held,) = store.held_by(run())
        store.doubt(held)
        assert not store.offer(held, 5.0)

        store.seen(lease(index=0, holder=run(), version=2, renewTime=STAMP))
        assert not store.offer(held, 5.0)
        assert store.holders("db") == {run(): 1}
