"""Which runs the schedules call for, what is missed and why, and that every time is decided exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.deployment import CatchUp, CatchUpPolicy, Schedule, ScheduleMemory
from headrace_operator.decide.catchup import LISTED_LIMIT, RUNS_PER_PASS, MissReason
from headrace_operator.decide.recurrence import between, parse
from headrace_operator.decide.schedule import Miss, Owner, Plan, PlannedRun, fingerprint, plan, run_name

DAY = datetime(2026, 5, 1, tzinfo=UTC)
LATEST, NONE, ALL = CatchUp(), CatchUp(policy=CatchUpPolicy.NONE), CatchUp(policy=CatchUpPolicy.ALL)


def at(clock: str) -> datetime:
    """A time of 1 May 2026, HH:MM or HH:MM:SS."""
    return datetime.fromisoformat(f"2026-05-01T{clock}Z")


HOURLY = Schedule(name="hourly", cron="0 * * * *")
OWNER = Owner("etl", "uid-1", created=DAY - timedelta(days=1))


def remembered(schedule: Schedule, until: datetime, **fields: Any) -> ScheduleMemory:
    return ScheduleMemory(name=schedule.name, fingerprint=fingerprint(schedule), last_scheduled_time=until, **fields)


def planned(
    now: datetime,
    *schedules: Schedule,
    catch_up: CatchUp = LATEST,
    memory: Sequence[ScheduleMemory] | None = None,
    since: str = "06:30",
    suspended: bool = False,
    owner: Owner = OWNER,
) -> Plan:
    wanted = schedules or (HOURLY,)
    known = [remembered(schedule, at(since)) for schedule in wanted] if memory is None else memory
    return plan(wanted, catch_up, known, deployment=owner, suspended=suspended, now=now)


def run(clock: str, schedule: str = "hourly") -> PlannedRun:
    return PlannedRun(schedule, at(clock), f"etl-{schedule}-20260501{clock.replace(':', '')}00")


def hours(found: Plan) -> str:
    return " ".join(f"{run.scheduled_time:%H}" for run in found.runs)


def misses(found: Plan) -> list[tuple[str, int, str]]:
    return [(miss.reason, miss.count, f"{miss.first:%H}-{miss.last:%H}") for miss in found.missed]


def test_a_time_that_has_come_gets_its_run() -> None:
    """The whole plan: run, memory, next time, next look."""
    assert planned(at("07:00:10")) == Plan(
        runs=(run("07:00"),),
        missed=(),
        memory=(remembered(HOURLY, at("07:00")),),
        next_times=(("hourly", at("08:00")),),
        look_again_after_s=3590.0,
        invalid=(),
    )


def test_nothing_is_planned_before_its_time() -> None:
    """And nothing changes in the memory, so that nothing is written."""
    found = planned(at("06:59:59"))
    assert (found.runs, found.missed, found.look_again_after_s) == ((), (), 1.0)
    assert found.memory == (remembered(HOURLY, at("06:30")),)


@pytest.mark.parametrize(
    ("catch_up", "now", "runs", "missed"),
    [
        pytest.param(NONE, "07:01:00", "07", [], id="a minute is on time, whatever the policy"),
        pytest.param(NONE, "07:01:01", "", [("CatchUpNone", 1, "07-07")], id="None: more than a minute is missed"),
        pytest.param(NONE, "10:00:30", "10", [("CatchUpNone", 3, "07-09")], id="None: only what is on time"),
        pytest.param(LATEST, "09:30", "09", [("SupersededByLatest", 2, "07-08")], id="Latest: the latest of the missed"),
        pytest.param(LATEST, "10:00:30", "10", [("SupersededByLatest", 3, "07-09")], id="Latest: one on time is enough"),
        pytest.param(ALL, "09:30", "07 08 09", [], id="All: each of them"),
        pytest.param(CatchUp(policy="All", max_runs=2), "10:00:30", "08 09 10", [("MaxRuns", 1, "07-07")], id="All: the newest two, and what is on time"),
        pytest.param(CatchUp(starting_deadline_seconds=3600), "09:30", "09", [("StartingDeadline", 2, "07-08")], id="Latest within the deadline"),
        pytest.param(CatchUp(starting_deadline_seconds=5400), "09:30", "09", [("StartingDeadline", 1, "07-07"), ("SupersededByLatest", 1, "08-08")], id="a time exactly as old as the deadline is in time"),
        pytest.param(CatchUp(starting_deadline_seconds=600), "09:30", "", [("StartingDeadline", 3, "07-09")], id="all too late"),
        pytest.param(CatchUp(policy="All", starting_deadline_seconds=7200), "09:30", "08 09", [("StartingDeadline", 1, "07-07")], id="All within the deadline"),
        pytest.param(CatchUp(starting_deadline_seconds=10), "07:00:11", "", [("StartingDeadline", 1, "07-07")], id="a deadline shorter than a minute"),
        pytest.param(CatchUp(starting_deadline_seconds=10), "07:00:10", "07", [], id="and just within it"),
    ],
)  # fmt: skip
def test_missed_times_are_caught_up_with_by_policy(catch_up: CatchUp, now: str, runs: str, missed: list[Any]) -> None:
    """Hours since 06:30; the memory moves past all of them."""
    found = planned(at(now), catch_up=catch_up)
    assert (hours(found), misses(found)) == (runs, missed)
    assert found.memory[0].last_scheduled_time == at(now).replace(minute=0, second=0)
    assert found.memory[0].missed == sum(count for _, count, _ in missed)


def test_a_miss_is_told_in_a_sentence_and_remembered() -> None:
    """How many, which, why, and what to do."""
    found = planned(at("09:30"), memory=[remembered(HOURLY, at("06:30"), missed=4)])
    assert found.missed == (
        Miss(
            "hourly",
            MissReason.SUPERSEDED,
            at("07:00"),
            at("08:00"),
            2,
            at_least=False,
            message='schedule "hourly" missed 2 times (from 2026-05-01T07:00:00Z to 2026-05-01T08:00:00Z): '
            "spec.catchUp.policy is Latest and a later time got its run; choose All, or create FlowRuns for them",
        ),
    )
    told = {"missed": 6, "last_missed_time": at("08:00"), "last_missed_reason": "SupersededByLatest"}
    assert found.memory == (remembered(HOURLY, at("09:00"), **told),)


@pytest.mark.parametrize("suspended", [True, False])
def test_a_suspended_schedule_stands_still(suspended: bool) -> None:
    """No run, no miss, no write on a timer; by its own field or the Deployment's."""
    schedule = HOURLY.model_copy(update={"suspend": not suspended})
    found = planned(at("09:30"), schedule, suspended=suspended)
    memory = (remembered(HOURLY, at("06:30")),)
    assert found == Plan((), (), memory, next_times=(), look_again_after_s=None, invalid=())


def test_the_first_schedules_begin_with_their_deployment() -> None:
    """A time between the creation and the first look is not lost."""
    owner = Owner("etl", "uid-1", created=at("06:59:58"))
    assert hours(planned(at("07:00:02"), owner=owner, memory=[])) == "07"


def test_a_schedule_that_is_added_later_begins_now() -> None:
    """Its times before are nobody's."""
    added = Schedule(name="added", cron="30 * * * *")
    found = planned(at("07:45:30"), HOURLY, added, memory=[remembered(HOURLY, at("07:00"))])
    assert (found.runs, found.missed) == ((), ())
    assert found.memory == (remembered(HOURLY, at("07:00")), remembered(added, at("07:45:30")))
    assert found.next_times == (("hourly", at("08:00")), ("added", at("08:30")))


def test_a_schedule_whose_times_change_begins_now() -> None:
    """What it missed before stays told."""
    changed = HOURLY.model_copy(update={"cron": "15 * * * *"})
    found = planned(at("09:30"), changed, memory=[remembered(HOURLY, at("06:30"), missed=3)])
    assert (found.runs, found.memory) == ((), (remembered(changed, at("09:30"), missed=3),))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"parameters": {"a": 1}}, True), ({"suspend": True}, True), ({"jitter_seconds": 5}, True), ({"name": "x"}, True),
        ({"cron": "1 * * * *"}, False), ({"time_zone": "Asia/Kolkata"}, False), ({"anchor": DAY}, False),
        ({"cron": None, "rrule": "FREQ=DAILY"}, False), ({"cron": None, "interval_seconds": 60}, False),
    ],
)  # fmt: skip
def test_only_what_moves_its_times_changes_a_fingerprint(change: dict[str, Any], same: bool) -> None:
    """Parameters, jitter and suspension do not."""
    assert (fingerprint(HOURLY.model_copy(update=change)) == fingerprint(HOURLY)) is same


def test_the_memory_of_a_schedule_that_is_gone_is_dropped() -> None:
    """The list does not grow."""
    gone = Schedule(name="gone", cron="@daily")
    found = planned(at("06:45"), memory=[remembered(gone, at("00:00")), remembered(HOURLY, at("06:30"))])
    assert found.memory == (remembered(HOURLY, at("06:30")),)


def test_a_broken_schedule_affects_itself_alone() -> None:
    """It is told, and begins when it is mended; the other one runs."""
    broken = Schedule(name="broken", cron="0 0 31 2 *")
    found = planned(at("07:00:05"), broken, HOURLY)
    assert [problem.schedule for problem in found.invalid] == ["broken"]
    assert found.invalid[0].message.startswith('cron "0 0 31 2 *": never fires')
    assert (found.runs, found.next_times) == ((run("07:00"),), (("hourly", at("08:00")),))
    mended = broken.model_copy(update={"cron": "0 8 * * *"})
    assert planned(at("09:30"), mended, HOURLY, memory=found.memory).runs == (run("09:00"),)


def test_a_clock_that_is_set_back_fires_nothing_twice() -> None:
    """The memory is the lower bound; the next look is after it."""
    found = planned(at("06:50"), since="08:00")
    assert (found.runs, found.missed) == ((), ())
    assert (found.next_times, found.look_again_after_s) == ((("hourly", at("09:00")),), 130 * 60.0)


def test_a_schedule_that_has_ended_needs_no_look() -> None:
    """COUNT and UNTIL."""
    ended = Schedule(name="ended", rrule="FREQ=HOURLY;COUNT=2", anchor=at("06:00"))
    found = planned(at("07:00:30"), ended)
    assert (hours(found), found.next_times, found.look_again_after_s) == ("07", (), None)


def test_two_schedules_are_looked_after_together() -> None:
    """The next look is for the sooner one."""
    half = Schedule(name="half", interval_seconds=1800)
    found = planned(at("07:00:10"), HOURLY, half, since="06:45")
    assert found.runs == (run("07:00"), run("07:00", "half"))
    assert (found.next_times, found.look_again_after_s) == (
        (("half", at("07:30")), ("hourly", at("08:00"))),
        1790.0,
    )


def test_a_lost_memory_leads_to_the_same_names() -> None:
    """The creation of a run that exists is a conflict, and harmless."""
    assert planned(at("07:00:10")).runs == planned(at("07:00:40")).runs


def test_a_run_that_exists_is_neither_planned_again_nor_missed() -> None:
    """The operator died after creating it; much later it decides about the same times."""
    owner = Owner("etl", "uid-1", DAY, runs={run("07:00").name})
    found = planned(at("10:30"), owner=owner)
    assert (hours(found), misses(found)) == ("10", [("SupersededByLatest", 2, "08-09")])
    assert planned(at("07:30"), owner=owner).runs == ()


JITTERED = Schedule(name="hourly", cron="0 * * * *", jitter_seconds=900)


def test_jitter_delays_the_run_and_not_its_scheduled_time() -> None:
    """By the same amount each time that one asks."""
    waits_s = planned(at("06:59"), JITTERED).look_again_after_s
    assert waits_s is not None
    due = at("06:59") + timedelta(seconds=waits_s)
    assert at("07:00") < due < at("07:15")
    assert planned(due - timedelta(seconds=1), JITTERED).runs == ()
    assert planned(due, JITTERED).runs == (run("07:00"),)
    assert hours(planned(due + timedelta(seconds=61), JITTERED, catch_up=NONE)) == ""


def test_jitter_differs_between_times_and_deployments() -> None:
    """Load is spread, which is what it is for."""
    owners = [Owner("etl", f"uid-{n}", DAY) for n in range(20)]
    assert len({planned(at("06:59"), JITTERED, owner=owner).look_again_after_s for owner in owners}) > 15
    assert len({planned(at(f"{h:02}:30"), JITTERED, since=f"{h:02}:20").look_again_after_s for h in range(20)}) > 15


def test_jitter_never_lets_a_time_overtake_the_one_before() -> None:
    """It is bounded by the schedule's own step."""
    minutes = Schedule(name="m", cron="* * * * *", jitter_seconds=86_400)
    found = planned(at("07:00"), minutes, catch_up=ALL)
    assert [run.scheduled_time for run in found.runs] == [at("06:30") + timedelta(minutes=n) for n in range(1, 30)]


def test_all_creates_no_flood() -> None:
    """A hundred at a time, each once, and at once again for the rest."""
    minutes, memory, seen = Schedule(name="m", cron="* * * * *"), None, []
    for _ in range(20):
        found = planned(at("12:00:00"), minutes, catch_up=ALL, memory=memory)
        seen += [run.name for run in found.runs]
        assert len(found.runs) <= RUNS_PER_PASS
        assert (found.look_again_after_s == 0) == (len(found.runs) == RUNS_PER_PASS)
        memory = found.memory
    assert len(seen) == len(set(seen)) == 330


@pytest.mark.parametrize(
    ("catch_up", "runs", "reason"),
    [
        pytest.param(NONE, 2, MissReason.CATCH_UP_NONE, id="None"),
        pytest.param(LATEST, 2, MissReason.SUPERSEDED, id="Latest"),
        pytest.param(CatchUp(policy="All", max_runs=7), 9, MissReason.MAX_RUNS, id="All with maxRuns"),
        pytest.param(CatchUp(starting_deadline_seconds=120), 2, MissReason.STARTING_DEADLINE, id="deadline"),
    ],
)
def test_a_year_of_missed_minutes_is_decided_in_one_bounded_pass(catch_up: CatchUp, runs: int, reason: str) -> None:
    """Half a million times: "at least" so many are told as missed, and the latest ones run."""
    minutes, now = Schedule(name="m", cron="* * * * *"), DAY + timedelta(days=365)
    found = planned(now, minutes, catch_up=catch_up)
    assert len(found.runs) == runs
    assert found.runs[-1].scheduled_time == found.memory[0].last_scheduled_time == now
    first = found.missed[0]
    assert (first.reason, first.first, first.at_least) == (reason, at("06:31"), True)
    assert 0 < LISTED_LIMIT - first.count <= runs or first.count == LISTED_LIMIT
    assert f"missed at least {first.count} times" in first.message


def test_a_year_of_all_begins_with_the_oldest() -> None:
    """And loses none."""
    minutes = Schedule(name="m", cron="* * * * *")
    found = planned(DAY + timedelta(days=365), minutes, catch_up=ALL)
    assert (found.missed, found.look_again_after_s) == ((), 0.0)
    assert found.runs[0].scheduled_time == at("06:31")
    assert found.memory[0].last_scheduled_time == found.runs[-1].scheduled_time == at("06:30") + timedelta(minutes=100)


@pytest.mark.parametrize("reason", MissReason)
def test_every_reason_for_a_miss_is_documented(reason: MissReason) -> None:
    """In the table of docs/schedules.md."""
    assert f"| `{reason}` |" in (Path(__file__).parents[4] / "docs" / "schedules.md").read_text()


SCHEDULES = st.sampled_from(
    [
        Schedule(name="s", cron="*/20 * * * *", time_zone="Europe/London"),
        Schedule(name="s", cron="30 0-3 * * *", time_zone="America/New_York", jitter_seconds=3600),
        Schedule(name="s", interval_seconds=420, jitter_seconds=100),
        Schedule(name="s", rrule="FREQ=HOURLY;BYMINUTE=5,50", time_zone="Australia/Lord_Howe", jitter_seconds=604_800),
    ]
)
POLICIES = st.builds(
    CatchUp,
    policy=st.sampled_from(CatchUpPolicy),
    starting_deadline_seconds=st.none() | st.integers(1, 200_000),
)
STEPS = st.lists(
    st.tuples(
        st.integers(-3600, 90_000) | st.integers(0, 900),  # seconds that the clock moves
        st.booleans(),  # suspended
        st.booleans(),  # the operator dies before it writes the memory
    ),
    max_size=25,
)
STARTS = st.sampled_from(
    [datetime(2026, 3, 28, 21, 13, tzinfo=UTC), datetime(2026, 10, 24, 22, 2, tzinfo=UTC), datetime(2026, 4, 4, 3, tzinfo=UTC)]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(schedule=SCHEDULES, policies=st.lists(POLICIES, min_size=1, max_size=3), steps=STEPS, now=STARTS)
def test_every_time_is_run_or_missed_exactly_once(
    schedule: Schedule, policies: list[CatchUp], steps: list[tuple[int, bool, bool]], now: datetime
) -> None:
    """Over clocks that jump, suspensions, changes of policy, and crashes between the runs and the memory."""
    recurrence = parse(**schedule.model_dump(include={"cron", "interval_seconds", "rrule", "anchor", "time_zone"}))
    memory: tuple[ScheduleMemory, ...] = ()
    created, reached = set[str](), now.replace(microsecond=0)
    owner = Owner("etl", "uid-1", created=now, runs=created)
    for number, (seconds, suspended, dies) in enumerate(steps):
        now += timedelta(seconds=seconds)
        found = plan(
            [schedule], policies[number % len(policies)], memory, deployment=owner, suspended=suspended, now=now
        )
        names = [run.name for run in found.runs]
        assert created.isdisjoint(names)
        assert len(set(names)) == len(names)
        assert all(run.scheduled_time > reached for run in found.runs)
        created.update(names)
        if dies:
            continue
        memory = found.memory
        decided = memory[0].last_scheduled_time
        assert decided is not None
        assert decided >= reached
        times = between(recurrence, reached, decided, 10**6)
        without = [time for time in times if run_name("etl", "s", time) not in created]
        assert sum(miss.count for miss in found.missed) == len(without)
        assert {time for miss in found.missed for time in (miss.first, miss.last)} <= set(without)
        assert memory[0].missed >= len(without)
        if not suspended and found.look_again_after_s:
            waiting = between(recurrence, decided, now, 10**6)
            assert len(waiting) <= 1
        reached = decided
