"""The gate: what the cache holds is told to the board, and whose turn it is is woken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from headrace.api.conditions import Reason
from headrace.slots import LIMIT_LABEL
from headrace_operator.decide.demand import Wish, wish_of
from headrace_operator.decide.queueing.slots import run_holder
from headrace_operator.decide.sharding import Share, shard_of
from headrace_operator.decide.snapshot import Blocked, Turn
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.gate import OF_OTHER_SHARDS
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.slots import Slots
from tests.builders import NAMESPACE, NOW, a_deployment, a_flow, a_pod_object, a_snapshot, ended, running
from tests.unit.headrace_operator.observe.objects import (
    Wakes,
    an_intake,
    deployment,
    finished,
    key,
    metadata,
    run,
    under_way,
)

LIMIT = "postgres"


def cluster_scoped(name: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    return {"metadata": {**metadata(name, version, generation=version), "namespace": ""}, "spec": spec, "status": {}}


def a_lease(index: int, version: int, holder: str = "", limit: str = LIMIT) -> dict[str, Any]:
    name, labels = f"{limit}.slot-{index}", {LIMIT_LABEL: limit}
    return {"metadata": metadata(name, version, labels=labels), "spec": {"holderIdentity": holder}}


def a_placed_pod(of: str, pool: str, version: int = 1, status: Any = None) -> dict[str, Any]:
    pod = a_pod_object(
        status or running(),
        run=of,
        run_uid=f"{of}-uid",
        metadata={"resourceVersion": str(version), "uid": f"{of}-1-uid"},
    )
    pod["metadata"]["labels"]["headrace.dev/pool"] = pool
    return pod


class House:
    """A Flow that needs one slot of the limit, and a few words for what happens."""

    def __init__(self, cache: Cache | None = None, **flow: Any) -> None:
        self.intake, self.wakes = an_intake(cache)
        self.flow = a_flow(limits=[{"name": LIMIT}], **flow)

    def limit(self, name: str = LIMIT, **spec: Any) -> None:
        """It is there, and its Leases are."""
        self.intake.limit_seen(cluster_scoped(name, **spec))
        for index in range(spec.get("slots", 0)):
            self.intake.slot_seen(a_lease(index, 1, limit=name))
        if "rate" in spec:
            self.intake.slot_seen({"metadata": metadata(f"{name}.rate", 1, labels={LIMIT_LABEL: name})})

    def wish(self, name: str) -> Wish:
        held = self.intake.cache.runs[key(name)]
        seen = a_snapshot(held, admitted=self.intake.cache.is_admitted(held))
        around = self.intake.gate.around(held)
        return wish_of(seen, self.flow, around, priority=self.intake.cache.priority_of(held), requests=())

    def ask(self, name: str) -> Turn | Blocked | None:
        return self.intake.gate.ask(self.wish(name), NOW)

    def launch(self, name: str) -> Turn:
        turn = self.ask(name)
        assert isinstance(turn, Turn)
        self.intake.gate.charge(key(name), 1, turn)
        return turn

    def runs(self, *names: str, **spec: Any) -> None:
        for age, name in enumerate(names):
            due = (NOW + timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.intake.run_seen(run(name=name, flowRef={"name": "etl"}, scheduledTime=due, **spec))

    def told(self) -> set[str]:
        """Who is woken at once, gathered statuses aside, after the pass that was asked for."""
        self.intake.gate.run(NOW)
        return {wake for wake in self.wakes.told() if " in " not in wake and wake != "Admission "}


@pytest.fixture
def house() -> House:
    """A limit of one slot, and two runs that need it."""
    made = House()
    made.limit(slots=1)
    made.runs("r1", "r2")
    made.told()
    return made


def test_a_run_gets_its_turn_with_the_slots_that_it_is_to_take(house: House) -> None:
    assert house.ask("r1") == Turn(limits=((LIMIT, 1),))


def test_the_next_one_is_told_what_it_waits_for_and_woken_when_it_is_its_turn(house: House) -> None:
    """From the first one's turn to the return of its slot, nobody else starts."""
    house.launch("r1")
    blocked = house.ask("r2")
    assert isinstance(blocked, Blocked)
    assert blocked.reason is Reason.WAITING_FOR_LIMIT
    assert house.told() == set()
    holder = run_holder(key("r1"), "r1-uid")
    house.intake.slot_seen(a_lease(0, 2, holder))
    house.intake.run_seen(run(3, name="r1", flowRef={"name": "etl"}, status=finished()))
    assert "FlowRun r2" not in house.told(), "its slot is held until the Lease says otherwise"
    house.intake.slot_seen(a_lease(0, 4))
    assert house.told() == {"FlowRun r2"}


SHARDS = next(count for count in range(3, 9) if shard_of(NAMESPACE, count))
OURS = shard_of(NAMESPACE, SHARDS)
ELSEWHERE = next(f"team-{number}" for number in range(99) if shard_of(f"team-{number}", SHARDS) not in {0, OURS})


@pytest.fixture
def shared() -> Iterator[tuple[House, Slots]]:
    """An engine of two runs that need the one slot, beside others that know of the same Leases; it does not keep the cluster."""
    leases = Slots()
    made = House(Cache(Share(OURS, SHARDS), leases))
    made.limit(slots=1)
    made.runs("r1", "r2")
    made.told()
    yield made, leases
    made.intake.gate.close()


def theirs(number: int = 0) -> str:
    return f"run/{ELSEWHERE}/r{number}/uid"


def test_what_others_hold_is_looked_at_when_somebody_asks(shared: tuple[House, Slots]) -> None:
    """Sixteen engines need not look at each slot that one of them takes; a turn that would find nothing is given to nobody."""
    house, leases = shared
    leases.seen(a_lease(0, 2, theirs()))
    house.intake.gate.slots_told(LIMIT)
    assert house.wakes.told() == set()
    assert isinstance(house.ask("r1"), Blocked)


def test_who_waits_is_told_at_once_of_what_others_give_back(shared: tuple[House, Slots]) -> None:
    """Whether the watch says so, or the answer to another engine's write did and the watch its echo."""
    house, leases = shared
    leases.seen(a_lease(0, 2, theirs()))
    assert isinstance(house.ask("r1"), Blocked)
    leases.seen(a_lease(0, 3))
    house.intake.gate.slots_told(LIMIT)
    assert "FlowRun r1" in house.told()


def test_news_of_an_own_run_is_looked_at_at_once(shared: tuple[House, Slots]) -> None:
    """It may be over, and its slot to be taken back: nobody else does that."""
    house, leases = shared
    leases.seen(a_lease(0, 2, run_holder(key("r1"), "r1-uid")))
    house.intake.gate.slots_told(LIMIT)
    assert f"ConcurrencyLimit {LIMIT} in 1 s" in house.wakes.told()


def test_others_are_counted_and_not_known(shared: tuple[House, Slots]) -> None:
    """Nothing of them piles up, however many of them there were since somebody asked."""
    house, leases = shared
    leases.seen(a_lease(1, 1, run_holder(key("r1"), "r1-uid")))
    for number in range(100):
        leases.seen(a_lease(0, 2 + number, theirs(number)))
        house.intake.gate.slots_told(LIMIT)
    board = house.intake.gate.board
    house.ask("r2")
    assert board.holders_of(LIMIT) == {run_holder(key("r1"), "r1-uid"): 1, OF_OTHER_SHARDS: 1}
    leases.seen(a_lease(0, 200))
    house.ask("r2")
    assert board.holders_of(LIMIT) == {run_holder(key("r1"), "r1-uid"): 1}


def test_a_slot_whose_lease_is_not_made_yet_is_given_to_nobody() -> None:
    """Nothing could be taken: runs wait for the Lease, and are not sent back and forth."""
    house = House()
    house.intake.limit_seen(cluster_scoped(LIMIT, slots=2))
    house.intake.slot_seen(a_lease(0, 1))
    house.runs("r1", "r2")
    house.launch("r1")
    blocked = house.ask("r2")
    assert isinstance(blocked, Blocked)
    assert blocked.reason is Reason.WAITING_FOR_LIMIT
    house.told()
    house.intake.slot_seen(a_lease(1, 1))
    assert house.told() == {"FlowRun r2"}


def test_a_launch_that_falls_through_gives_its_turn_to_the_next(house: House) -> None:
    house.launch("r1")
    house.ask("r2")
    house.intake.gate.discharge(key("r1"))
    assert house.told() == {"FlowRun r2"}


def test_a_launch_whose_answer_is_lost_keeps_its_turn_whatever_is_heard_of_it(house: House) -> None:
    """Its pod may exist: nobody else gets its slot, and it goes on with what it was given."""
    turn = house.launch("r1")
    house.ask("r2")
    house.intake.run_seen(run(2, name="r1", flowRef={"name": "etl"}, status={"phase": "Pending"}))
    house.intake.gate.withdraw(key("r1"))
    assert house.told() == {"FlowRun r1"}
    assert house.intake.cache.turn_of(key("r1")) == turn
    assert house.intake.gate.board.active_in_limit(LIMIT) == 1


def test_a_run_that_wants_its_turn_no_more_gives_it_back(house: House) -> None:
    """It was suspended between its turn and its launch."""
    house.ask("r1")
    house.ask("r2")
    house.intake.gate.withdraw(key("r1"))
    assert house.told() == {"FlowRun r2"}


def test_a_run_that_is_deleted_leaves_the_line(house: House) -> None:
    house.launch("r1")
    house.ask("r2")
    house.intake.run_gone(key("r2"), "r2-uid")
    assert house.intake.gate.board.waiting_for_limit(LIMIT) == 0


def test_a_new_leader_counts_what_the_leases_say(house: House) -> None:
    """It was told of no turn: the run's pod and its Lease are all there is."""
    again = House()
    again.limit(slots=1)
    again.intake.slot_seen(a_lease(0, 2, run_holder(key("r1"), "r1-uid")))
    again.runs("r1", "r2", status=None)
    again.intake.run_seen(run(3, name="r1", flowRef={"name": "etl"}, status=under_way()))
    again.told()
    assert isinstance(again.ask("r2"), Blocked)
    assert again.intake.gate.board.holders_of(LIMIT) == {run_holder(key("r1"), "r1-uid"): 1}


def test_a_run_that_took_its_slots_before_the_last_operator_died_goes_on_with_them(house: House) -> None:
    """It has a Lease and no pod."""
    house.intake.slot_seen(a_lease(0, 2, run_holder(key("r2"), "r2-uid")))
    house.told()
    assert isinstance(house.ask("r1"), Blocked)
    assert house.ask("r2") == Turn(limits=((LIMIT, 1),))


def test_a_limit_that_appears_wakes_the_runs_that_wait_for_it() -> None:
    house = House()
    house.runs("r1")
    blocked = house.ask("r1")
    assert isinstance(blocked, Blocked)
    assert blocked.reason is Reason.LIMIT_NOT_FOUND
    house.limit(slots=1)
    assert "FlowRun r1" in house.told()
    assert isinstance(house.ask("r1"), Turn)


def test_a_rate_lets_the_next_one_through_when_its_time_comes() -> None:
    """The starts are read from the Lease; time alone changes something when one leaves the window."""
    house = House()
    house.limit(rate={"count": 1, "perSeconds": 60})
    house.runs("r1", "r2")
    assert house.launch("r1") == Turn(rates=(LIMIT,))
    blocked = house.ask("r2")
    assert isinstance(blocked, Blocked)
    assert blocked.reason is Reason.WAITING_FOR_RATE
    later = NOW + timedelta(seconds=61)
    noted = {"headrace.dev/rate": "1/60", "headrace.dev/starts": str(int(NOW.timestamp() * 1000))}
    labels = {"headrace.dev/concurrency-limit": LIMIT}
    lease = {"metadata": metadata(f"{LIMIT}.rate", 2, labels=labels, annotations=noted), "spec": {}}
    house.intake.slot_seen(lease)
    house.intake.pod_seen(a_placed_pod("r1", ""))
    assert house.intake.gate.run(NOW) == NOW + timedelta(seconds=60)
    house.wakes.told()
    house.intake.gate.run(later)
    assert house.wakes.told() >= {"FlowRun r2"}


def test_runs_are_held_to_a_limit_by_their_labels_without_naming_it() -> None:
    """Labels of the run; one that does not match passes."""
    house = House()
    house.flow = a_flow()
    selector = {"matchLabels": {"team": "sales"}}
    house.limit("by-label", slots=1, selector=selector)
    for name, team in (("a", "sales"), ("b", "sales"), ("c", "ops")):
        labelled = run(name=name, flowRef={"name": "etl"})
        labelled["metadata"]["labels"] = {"team": team}
        house.intake.run_seen(labelled)
    assert house.launch("a") == Turn(limits=(("by-label", 1),))
    assert isinstance(house.ask("b"), Blocked)
    assert house.ask("c") == Turn()


class TestPools:
    """Room in WorkPools."""

    @pytest.fixture
    def house(self) -> House:
        made = House()
        made.flow = a_flow()
        made.intake.pool_seen(cluster_scoped("small", capacity={"runs": 1}))
        made.runs("r1", "r2")
        made.told()
        return made

    def test_a_run_in_a_pool_counts_until_its_pod_has_ended(self, house: House) -> None:
        """By its pod, which every leader sees."""
        assert house.launch("r1").pool == "small"
        assert isinstance(house.ask("r2"), Blocked)
        house.intake.pod_seen(a_placed_pod("r1", "small"))
        assert house.told() == {"FlowRun r1"}
        assert house.intake.gate.board.active_in_pool("small")[0] == 1
        house.intake.pod_seen(a_placed_pod("r1", "small", 2, ended(0)))
        assert house.told() == {"FlowRun r1", "FlowRun r2"}

    def test_a_deleted_run_counts_until_its_pod_is_out(self, house: House) -> None:
        house.launch("r1")
        house.ask("r2")
        house.intake.pod_seen(a_placed_pod("r1", "small"))
        house.intake.run_gone(key("r1"), "r1-uid")
        assert "FlowRun r2" not in house.told()
        house.intake.pod_gone(key("r1-1"), "r1-1-uid")
        assert "FlowRun r2" in house.told()

    def test_a_pool_that_changes_is_looked_at_anew_by_all_who_wait(self, house: House) -> None:
        house.launch("r1")
        house.ask("r2")
        house.intake.pool_seen(cluster_scoped("other"))
        assert "FlowRun r2" in house.told()
        turn = house.ask("r2")
        assert isinstance(turn, Turn)
        assert turn.pool == "other"

    def test_a_run_of_lower_priority_is_woken_to_give_way(self, house: House) -> None:
        """Where the pool asks for it; once."""
        house.intake.pool_seen(cluster_scoped("small", 2, capacity={"runs": 1}, preemption="LowerPriority"))
        house.launch("r1")
        house.intake.pod_seen(a_placed_pod("r1", "small"))
        house.runs("urgent", priority=5)
        house.told()
        assert isinstance(house.ask("urgent"), Blocked)
        assert "FlowRun r1" in house.wakes.told()
        assert house.intake.gate.is_outranked(key("r1"))
        assert house.told() == set()


def test_a_namespaces_quota_bounds_its_active_runs() -> None:
    """An annotation of the Namespace; taken away, it bounds nothing."""
    house = House()
    house.flow = a_flow()
    namespace = {"name": NAMESPACE, "uid": "ns", "resourceVersion": "1", "labels": {}}
    quota = {"annotations": {"headrace.dev/max-active-runs": "1"}}
    house.intake.namespace_seen({"metadata": {**namespace, **quota}})
    house.runs("r1", "r2")
    house.launch("r1")
    blocked = house.ask("r2")
    assert isinstance(blocked, Blocked)
    assert blocked.reason is Reason.WAITING_FOR_QUOTA
    house.told()
    house.intake.namespace_seen({"metadata": {**namespace, "resourceVersion": "2"}})
    assert house.told() == {"FlowRun r2"}


def test_an_open_circuit_holds_the_deployments_runs() -> None:
    """The Deployment's status has it, with the time of the next try."""
    house = House()
    house.flow = a_flow()
    circuit = {"state": "Open", "retryAt": "2026-03-04T13:00:00Z", "countedUntil": "2026-03-04T11:00:00Z"}
    house.intake.deployment_seen(deployment(status={"circuit": circuit}, circuitBreaker={"failures": 3}))
    house.intake.run_seen(run(name="r1"))
    held = house.intake.cache.runs[key("r1")]
    seen = a_snapshot(held, deployment=a_deployment())
    wish = wish_of(seen, house.flow, house.intake.gate.around(held), priority=0, requests=())
    blocked = house.intake.gate.ask(wish, NOW)
    assert isinstance(blocked, Blocked)
    assert blocked.reason is Reason.CIRCUIT_OPEN
    assert "13:00:00" in blocked.message


def test_a_gate_that_nothing_changed_wakes_nobody(house: House) -> None:
    house.launch("r1")
    house.ask("r2")
    house.told()
    assert isinstance(house.intake, Intake)
    assert isinstance(house.wakes, Wakes)
    for _ in range(3):
        assert house.told() == set()


def test_a_place_that_is_free_at_the_start_is_for_who_stands_first_in_line(house: House) -> None:
    """Not for who is looked at first: all that wait ask before anybody is given a turn."""
    gate = house.intake.gate
    house.intake.wake_everything()
    house.wakes.told()
    assert house.ask("r2") is None
    gate.heard(key("r2"))
    assert house.told() == set()
    assert house.ask("r1") is None
    gate.heard(key("r1"))
    assert house.told() == {"FlowRun r1", "FlowRun r2"}
    assert isinstance(house.ask("r2"), Blocked)
    assert isinstance(house.ask("r1"), Turn)


def test_who_goes_before_it_was_heard_is_not_waited_for(house: House) -> None:
    """It was deleted while the operator started."""
    house.intake.wake_everything()
    house.ask("r2")
    house.intake.gate.heard(key("r2"))
    house.intake.run_gone(key("r1"), "r1-uid")
    assert isinstance(house.ask("r2"), Turn)


def test_a_shard_starts_nothing_in_a_pool_before_it_has_booked_room_there() -> None:
    """Not in the moment either in which it hears of the pool for the first time."""
    house = House(Cache(Share(1, 2)))
    gate = house.intake.gate
    house.intake.pool_seen(cluster_scoped("small", capacity={"runs": 2}))
    house.limit(slots=2)
    house.runs("r1", "r2")
    blocked = house.ask("r1")
    assert isinstance(blocked, Blocked)
    assert blocked.reason is Reason.WAITING_FOR_POOL
    gate.allow("small", {"runs": Decimal(1)})
    house.told()
    assert isinstance(house.ask("r1"), Turn)
    assert isinstance(house.ask("r2"), Blocked)
