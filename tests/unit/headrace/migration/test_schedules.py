"""A migrated schedule fires when its source did."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from dateutil import rrule as dateutil_rrule
from hypothesis import given
from hypothesis import strategies as st

from headrace.migration.cronlines import translated, vixie_needs_both_days
from headrace.migration.report import Outcome
from headrace_operator.decide.recurrence import next_after, parse
from tests.unit.headrace.migration.migrating import manifests_of, migrated_example, migrated_text, texts

START = datetime(2026, 5, 5, 11, 7, tzinfo=UTC)
"""No zone of the tests changes its clocks within the times that are compared."""
COUNT = 12


def ours(schedule, count=COUNT):
    """The next times of a schedule of a Deployment, as the operator has them."""
    anchor = schedule.get("anchor")
    recurrence = parse(
        cron=schedule.get("cron"),
        interval_seconds=schedule.get("intervalSeconds"),
        rrule=schedule.get("rrule"),
        anchor=datetime.fromisoformat(anchor) if anchor else None,
        time_zone=schedule.get("timeZone", "Etc/UTC"),
    )
    return next_after(recurrence, START, count)


def crons(line, zone="UTC", *, both_days=False, count=COUNT):
    """The next times by croniter."""
    times = croniter(line, START.astimezone(ZoneInfo(zone)), ret_type=datetime, day_or=not both_days)
    return [times.get_next().astimezone(UTC) for _ in range(count)]


def schedules_of(name):
    """Each schedule of an example, by its Deployment and name."""
    return {
        (deployment["metadata"]["name"], schedule["name"]): schedule
        for deployment in manifests_of(migrated_example(name)[0], "Deployment")
        for schedule in deployment["spec"].get("schedules", ())
    }


@pytest.mark.parametrize(
    ("example", "deployment", "schedule", "line", "zone"),
    [
        ("prefect.yaml", "orders-daily", "morning", "0 7 * * MON-FRI", "Europe/London"),
        ("prefect.yaml", "orders-daily", "cron", "30 22 * * *", "Europe/London"),
        ("served.py", "tidy", "cron", "0 4 * * sun", "Europe/Paris"),
        ("served.py", "backup-all-keys", "cron", "0 3 * * *", "UTC"),
        ("crontab", "sync", "cron", "*/15 * * * *", "UTC"),
        ("crontab", "backup", "cron", "@daily", "UTC"),
        ("crontab", "report", "cron", "30 4 1-7 * *", "UTC"),
        ("crontab", "orders", "cron", "0 7 * * mon-fri", "Europe/London"),
        ("system-crontab", "run-parts", "cron", "17 * * * *", "UTC"),
        ("system-crontab", "cleanup", "cron", "25 6 * * *", "UTC"),
        ("cronjobs.yaml", "nightly-backup-of-the-orders-datab-eb91f", "cron", "30 2 * * *", "Europe/London"),
    ],
)
def test_a_cron_line_of_an_example_keeps_its_times(example, deployment, schedule, line, zone):
    """By a second opinion on cron lines."""
    assert ours(schedules_of(example)[deployment, schedule]) == crons(line, zone)


def test_a_line_that_needs_both_days_fires_only_then():
    """In a crontab a day field that begins with `*` is joined to the other with "and", even with a step."""
    found = ours(schedules_of("crontab")["backup-2", "rrule"])
    assert found == crons("0 0 */2 * 1", both_days=True)
    assert {(day.weekday(), day.day % 2) for day in found} == {(0, 1)}


def test_an_rrule_of_prefect_keeps_its_start():
    """Without a start Prefect counts from 2020, on the wall clock."""
    zone = ZoneInfo("America/New_York")
    text = "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=18;BYMINUTE=0;BYSECOND=0"
    rule = dateutil_rrule.rrulestr(text, dtstart=datetime(2020, 1, 1))  # noqa: DTZ001 - on the wall clock
    theirs = islice(rule.xafter(START.astimezone(zone).replace(tzinfo=None)), COUNT)
    expected = [each.replace(tzinfo=zone).astimezone(UTC) for each in theirs]
    assert ours(schedules_of("prefect.yaml")["orders-gpu", "month-end"]) == expected


def test_a_weekly_rule_keeps_the_day_of_its_start(tmp_path):
    """The first of January 2020 was a Wednesday."""
    found = prefect_schedule(tmp_path, "rrule: FREQ=WEEKLY;INTERVAL=2")
    steps = (datetime(2020, 1, 1, tzinfo=UTC) + timedelta(weeks=2 * number) for number in range(1000))
    assert ours(found) == list(islice((each for each in steps if each > START), COUNT))


def test_an_interval_counts_from_its_anchor():
    """In elapsed time."""
    anchor = datetime(2026, 1, 1, 0, 15, tzinfo=UTC)
    steps = (anchor + timedelta(hours=number) for number in range(10_000))
    expected = list(islice((each for each in steps if each > START), COUNT))
    assert ours(schedules_of("prefect.yaml")["orders-gpu", "interval"]) == expected


def test_an_interval_of_days_keeps_its_hour_when_the_clock_changes():
    """As in Prefect, where the anchor has a zone that changes its clocks."""
    zone = ZoneInfo("Europe/Berlin")
    found = ours(schedules_of("prefect.yaml")["orders-gpu", "every-other-day"], 150)
    assert {(each.astimezone(zone).hour, each.astimezone(zone).minute) for each in found} == {(6, 30)}
    days = [each.astimezone(zone).date() for each in found]
    assert {(after - before).days for before, after in pairwise(days)} == {2}
    assert found[0].utcoffset() == timedelta(0)
    assert len({each.hour for each in found}) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 22-4 * * *", "0 22,23,0,1,2,3,4 * * *"),
        ("0 0 * * fri-mon", "0 0 * * 5,6,0,1"),
        ("0 0 * * L5", "0 0 * * 5L"),
        ("0 0 ? * MON", "0 0 * * MON"),
        ("0 0 * * * 0", "0 0 * * *"),
        ("  5   4 * *  * ", "5 4 * * *"),
        ("@Daily", "@Daily"),
    ],
)
def test_a_line_of_another_dialect(line, expected):
    """It is said in ours."""
    assert translated(line).cron == expected


@pytest.mark.parametrize("line", ["* * * *", "0 0 * * * 30", "*/5 * * * * * *", "0 H-4 * * *"])
def test_a_line_that_cannot_be_said_is_refused_with_a_reason(line):
    """It never becomes another schedule."""
    times = translated(line)
    assert times.problem
    assert not times.cron
    assert not times.rrule


@given(
    minute=st.integers(0, 59), hour=st.integers(0, 23), day=st.sampled_from(["*/2", "1-15", "10", "*/5", "1,31"]),
    weekday=st.sampled_from(["1", "mon-fri", "*/2", "5-7", "0", "sat"]),
)  # fmt: skip
def test_both_days_as_a_rule_agree_with_croniter(minute, hour, day, weekday):
    """A recurrence rule says "and" where a cron line says "or"."""
    line = f"{minute} {hour} {day} * {weekday}"
    times = translated(line, both_days=True)
    assert ours({"rrule": times.rrule}, 6) == crons(line, both_days=True, count=6)


def test_only_a_field_that_begins_with_a_star_joins_the_days():
    """As vixie cron and cronie have it."""
    assert vixie_needs_both_days("0 0 */2 * 1")
    assert vixie_needs_both_days("0 0 1 * */2")
    assert not vixie_needs_both_days("0 0 13 * 5")


@pytest.mark.parametrize(
    ("written", "part", "text"),
    [
        ("interval: 90.5", "interval", "no whole number of seconds"),
        ("rrule: FREQ=SECONDLY", "rrule", "write an interval"),
        ('rrule: "FREQ=DAILY;COUNT=2\\nEXDATE:20260101T000000Z"', "rrule", "EXDATE is not taken"),
        ("cron: 0 7 * *", "cron", "4 fields"),
        ("cron: 0 25 * * *", "cron", 'field "25"'),
        ('{cron: "0 7 * * *", timezone: Mars/Base}', "cron", "no IANA name"),
        ("{cron: '0 7 * * *', interval: 5}", "schedules[0]", "expected one of cron, interval and rrule"),
        ("{interval: 60, anchor_date: soon}", "anchor_date", "no time; write RFC 3339"),
        ("{cron: '0 7 * * *', colour: red}", "colour", "no such field"),
    ],
)
def test_a_schedule_that_cannot_be_said_is_left_behind(tmp_path, written, part, text):
    """With its line, what was found, and what to write."""
    found = migrated_text(tmp_path, "prefect.yaml", deployment(written))
    told = [each for each in texts(found, Outcome.LEFT) if text in each]
    assert told, texts(found, Outcome.LEFT)
    assert part in told[0]
    assert int(told[0].split()[0]) == 5


def deployment(written):
    return f"deployments:\n- name: etl\n  entrypoint: etl.py:main\n  schedules:\n  - {written}\n"


def prefect_schedule(folder, written):
    return manifests_of(migrated_text(folder, "prefect.yaml", deployment(written)), "Deployment")[0]["spec"][
        "schedules"
    ][0]


def test_a_days_rule_that_needs_both_days_in_prefect(tmp_path):
    """`day_or: false`."""
    found = prefect_schedule(tmp_path, "{cron: '0 9 1-7 * MON', day_or: false}")
    assert ours(found) == crons("0 9 1-7 * MON", both_days=True)
