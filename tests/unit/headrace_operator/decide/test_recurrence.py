"""What schedules are read as, what is refused and how, and that questions about them are answered in bounded time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from croniter import croniter
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.recurrence import Kind, Recurrence, between, newest, next_after, parse

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NAIVE = NEW_YEAR.replace(tzinfo=None)
YEAR = timedelta(days=365)


def days(recurrence: Recurrence, count: int) -> str:
    return " ".join(f"{instant:%a-%d-%b}" for instant in next_after(recurrence, NEW_YEAR, count))


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        pytest.param("0 7 * * MON-FRI", "Thu-01-Jan Fri-02-Jan Mon-05-Jan", id="names and a range of them"),
        pytest.param("0 7 * * 7", "Sun-04-Jan Sun-11-Jan", id="7 is Sunday"),
        pytest.param("0 7 * * fri-sun", "Fri-02-Jan Sat-03-Jan Sun-04-Jan Fri-09-Jan", id="a week may end with Sunday"),
        pytest.param("0 7 13 * 5", "Fri-02-Jan Fri-09-Jan Tue-13-Jan", id="either day field suffices"),
        pytest.param(
            "0 7 */15 * 1", "Thu-01-Jan Mon-05-Jan Mon-12-Jan Fri-16-Jan", id="a step restricts as numbers do"
        ),
        pytest.param("0 7 L * *", "Sat-31-Jan Sat-28-Feb Tue-31-Mar", id="last day of the month"),
        pytest.param("0 7 * * MON#2", "Mon-12-Jan Mon-09-Feb", id="second Monday"),
        pytest.param("0 7 * * 5L", "Fri-30-Jan Fri-27-Feb", id="last Friday"),
        pytest.param("0 7 29 2 *", "Tue-29-Feb Sun-29-Feb", id="leap days only"),
        pytest.param("0 7 1 3-3 *", "Sun-01-Mar Mon-01-Mar", id="a range of one value is that value"),
        pytest.param("@monthly", "Sun-01-Feb Sun-01-Mar", id="a short form"),
        pytest.param("  0   7 * *\t1 ", "Mon-05-Jan Mon-12-Jan", id="any blanks between the fields"),
    ],
)
def test_cron_is_read_as_cron_users_expect(cron: str, expected: str) -> None:
    """The days on which it fires next, after New Year 2026."""
    assert days(parse(cron=cron), len(expected.split())) == expected


@pytest.mark.parametrize(
    "cron",
    [
        "*/7 * * * *", "5/20 3-20/5 * * *", "0 0 1,15 * 3", "0 12 */3 * *", "30 4 31 * *", "1 2 3 4 *", "0 0 29 2 *",
        "0 9-17 * * 1-5", "15 14 1 * 0", "0 0 * 6-9/3 6,7", "*/25 */11 * * 2-6/2", "0 22 L * *", "0 0 * * 3#5",
        "@hourly", "@weekly", "@annually",
    ],
)  # fmt: skip
def test_cron_without_clock_changes_agrees_with_croniter(cron: str) -> None:
    """Two hundred instants, one by one."""
    theirs = croniter(cron, NEW_YEAR, ret_type=datetime)
    assert next_after(parse(cron=cron), NEW_YEAR, 200) == [theirs.get_next() for _ in range(200)]


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        pytest.param({"cron": "61 * * * *"}, "cron", 'minute "61" is out of range; expected 0-59', id="minute"),
        pytest.param({"cron": "0 24 * * *"}, "cron", 'hour "24" is out of range; expected 0-23', id="hour"),
        pytest.param({"cron": "0 0 0 * *"}, "cron", 'day-of-month "0" is out of range; expected 1-31', id="day"),
        pytest.param({"cron": "0 0 1 13 *"}, "cron", "expected 1-12 or JAN-DEC", id="month"),
        pytest.param({"cron": "0 0 * * 8"}, "cron", "expected 0-7 or SUN-SAT", id="weekday"),
        pytest.param({"cron": "0 0 0 * * *"}, "cron", "has 6 fields, expected five", id="seconds"),
        pytest.param({"cron": "0 7"}, "cron", "has 2 fields, expected five", id="too few fields"),
        pytest.param({"cron": "0 0 31 2 *"}, "cron", "never fires: none of its months has a day 31", id="31 February"),
        pytest.param({"cron": "0 0 31 4,6 *"}, "cron", "never fires", id="31 April and June"),
        pytest.param({"cron": "0 0 ? * 1"}, "cron", "write * instead of ?", id="question mark"),
        pytest.param({"cron": "0 22-4 * * *"}, "cron", "write 22-23,0-4 instead", id="range over midnight"),
        pytest.param({"cron": "*/90 * * * *"}, "cron", "use intervalSeconds", id="step beyond the field"),
        pytest.param({"cron": "*/0 * * * *"}, "cron", "a step is 1-60", id="step of zero"),
        pytest.param({"cron": "R * * * *"}, "cron", 'minute "r" cannot be read', id="random values"),
        pytest.param({"cron": "0 0 15W * *"}, "cron", 'day-of-month "15w" cannot be read', id="nearest workday"),
        pytest.param({"cron": "0 0 * * MON#6"}, "cron", "week of the month, 1-5", id="sixth Monday"),
        pytest.param({"cron": "0,,5 0 * * *"}, "cron", 'minute "" cannot be read', id="empty element of a list"),
        pytest.param({"cron": "@every 5m"}, "cron", "write intervalSeconds", id="@every"),
        pytest.param({"cron": "@noon"}, "cron", "choose one of @hourly, @daily", id="unknown short form"),
        pytest.param({"cron": "CRON_TZ=Asia/Tokyo 0 0 * * *"}, "cron", "write it in timeZone", id="zone in the line"),
        pytest.param({"cron": "@daily", "time_zone": "Europe/Londn"}, "timeZone", "mean Europe/London", id="typing slip"),
        pytest.param({"cron": "@daily", "time_zone": "+02:00"}, "timeZone", '"Europe/London"', id="offset as zone"),
        pytest.param({"cron": "@daily", "time_zone": "../passwd"}, "timeZone", "no known time zone", id="path as zone"),
        pytest.param({"interval_seconds": 0}, "intervalSeconds", "is not between 1 and", id="no interval"),
        pytest.param({"interval_seconds": 9, "anchor": NAIVE}, "anchor", "has no offset", id="naive anchor"),
        pytest.param({"interval_seconds": 9, "anchor": datetime(2900, 1, 1, tzinfo=UTC)}, "anchor", "years", id="far anchor"),
        pytest.param({}, "schedule", "give exactly one of cron, intervalSeconds and rrule", id="nothing"),
        pytest.param({"cron": "@daily", "rrule": "FREQ=DAILY"}, "schedule", "give exactly one of", id="two at once"),
        pytest.param({"rrule": "BYHOUR=7"}, "rrule", "has no FREQ", id="no FREQ"),
        pytest.param({"rrule": "FREQ=FORTNIGHTLY"}, "rrule", "expected one of YEARLY", id="unknown FREQ"),
        pytest.param({"rrule": "FREQ=SECONDLY"}, "rrule", "write intervalSeconds", id="every second"),
        pytest.param({"rrule": "FREQ=DAILY;BYHOUR=24"}, "rrule", 'BYHOUR holds "24", expected 0 to 23', id="BYHOUR"),
        pytest.param({"rrule": "FREQ=MONTHLY;BYMONTHDAY=0"}, "rrule", "1 to 31, or -1 to -31", id="BYMONTHDAY"),
        pytest.param({"rrule": "FREQ=WEEKLY;BYDAY=XX"}, "rrule", "expected MO, TU", id="BYDAY"),
        pytest.param({"rrule": "FREQ=WEEKLY;WKST=0"}, "rrule", "expected a weekday such as MO", id="WKST"),
        pytest.param({"rrule": "FREQ=DAILY;INTERVAL=0"}, "rrule", "whole number from 1 to 1,000", id="INTERVAL"),
        pytest.param({"rrule": "FREQ=DAILY;UNTIL=soon"}, "rrule", "such as 20261231T235959Z", id="UNTIL"),
        pytest.param({"rrule": "FREQ=DAILY;UNTIL=19991231"}, "rrule", "ends before it begins", id="UNTIL before start"),
        pytest.param({"rrule": "FREQ=DAILY;COUNT=3"}, "rrule", "set anchor to the first time", id="COUNT from nowhere"),
        pytest.param({"rrule": "FREQ=DAILY;COUNT=3;UNTIL=20270101"}, "rrule", "exclude each other", id="COUNT and UNTIL"),
        pytest.param({"rrule": "FREQ=DAILY;BYMOON=1"}, "rrule", "BYMOON is not known", id="unknown part"),
        pytest.param({"rrule": "FREQ=DAILY;FREQ=DAILY"}, "rrule", "FREQ is given twice", id="a part twice"),
        pytest.param({"rrule": "daily"}, "rrule", "is no NAME=value", id="no rule at all"),
        pytest.param({"rrule": "FREQ=MONTHLY;BYWEEKNO=3"}, "rrule", "goes with FREQ=YEARLY", id="misplaced part"),
        pytest.param({"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"}, "rrule", "never fires", id="30 February"),
        pytest.param({"rrule": "FREQ=HOURLY;INTERVAL=2;BYHOUR=1"}, "rrule", "never fires", id="hours stepped over"),
        pytest.param({"rrule": "FREQ=DAILY\nEXDATE:20260101"}, "rrule", "has a EXDATE line", id="exceptions"),
        pytest.param({"rrule": "FREQ=DAILY\nFREQ=WEEKLY"}, "rrule", "has 2 rules", id="two rules"),
        pytest.param({"rrule": "DTSTART:20261301 FREQ=DAILY"}, "rrule", 'DTSTART is "20261301"', id="DTSTART"),
        pytest.param({"rrule": "DTSTART;TZID=Asia/Tokyo:20260101 FREQ=DAILY"}, "rrule", "and timeZone", id="TZID"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_what_to_write_instead(fields: dict[str, object], field: str, says: str) -> None:
    """The error names the field, quotes the value, and has a next step."""
    with pytest.raises(InvalidSchedule) as caught:
        parse(**fields)
    assert (caught.value.field, says in caught.value.message) == (field, True), str(caught.value)
    assert str(caught.value) == f'{field} "{caught.value.value}": {caught.value.message}'


def test_an_interval_without_anchor_fires_on_the_hour() -> None:
    """3600 s are counted from the epoch."""
    found = next_after(parse(interval_seconds=3600), NEW_YEAR + timedelta(minutes=1), 2)
    assert found == [NEW_YEAR + timedelta(hours=1), NEW_YEAR + timedelta(hours=2)]


@pytest.mark.parametrize("years", [-5, 5])
def test_an_interval_reaches_in_both_directions_from_its_anchor(years: int) -> None:
    """The anchor sets the phase, in elapsed time, whatever its own offset is."""
    anchor = datetime(2026 + years, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    recurrence = parse(interval_seconds=86_400, anchor=anchor, time_zone="Europe/London")
    assert next_after(recurrence, NEW_YEAR, 1) == [datetime(2026, 1, 1, 22, 30, tzinfo=UTC)]


def test_an_interval_is_not_touched_by_a_clock_change() -> None:
    """Two days over the night in which London's clocks go forward."""
    start = datetime(2026, 3, 28, 12, tzinfo=UTC)
    found = next_after(parse(interval_seconds=43_200, time_zone="Europe/London"), start, 4)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=12)}


LONDON = "Europe/London"
SUMMER = datetime(2026, 6, 1, tzinfo=UTC)
ANCHOR = datetime(2026, 5, 30, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rrule", "anchor", "expected"),
    [
        pytest.param("FREQ=DAILY;BYHOUR=7", None, "01T06 02T06 03T06", id="an hour on the wall clock"),
        pytest.param("RRULE:FREQ=WEEKLY;BYDAY=MO,WE", ANCHOR, "01T06 03T06 08T06", id="the time of day of its anchor"),
        pytest.param("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", ANCHOR, "08T06 22T06", id="every other week, from its anchor"),
        pytest.param("FREQ=DAILY;COUNT=4", ANCHOR, "01T06 02T06", id="COUNT counts from the anchor"),
        pytest.param("FREQ=DAILY;UNTIL=20260602", ANCHOR, "01T06 02T06", id="UNTIL a day takes that day in"),
        pytest.param("FREQ=DAILY;UNTIL=20260602T060000Z", ANCHOR, "01T06 02T06", id="UNTIL in UTC"),
        pytest.param("FREQ=DAILY;UNTIL=20260602T060000", ANCHOR, "01T06", id="UNTIL on the wall clock"),
        pytest.param("DTSTART:20260530T090000\nRRULE:FREQ=DAILY", ANCHOR, "01T08 02T08", id="DTSTART wins over anchor"),
        pytest.param("DTSTART:20260530T090000Z FREQ=DAILY", None, "01T09 02T09", id="DTSTART in UTC"),
        pytest.param("freq=daily;byhour=7", None, "01T06", id="small letters"),
        pytest.param("FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=1", None, "30T00", id="last day of the month"),
    ],
)
def test_rrules_run_on_the_wall_clock_of_their_zone(rrule: str, anchor: datetime | None, expected: str) -> None:
    """The next instants after 1 June, London being an hour ahead of UTC."""
    found = next_after(parse(rrule=rrule, anchor=anchor, time_zone=LONDON), SUMMER, 9)
    shown = " ".join(f"{instant:%dT%H}" for instant in found[: len(expected.split())])
    ends = "COUNT" in rrule or "UNTIL" in rrule
    assert (shown, len(found) < 9) == (expected, ends)


@pytest.mark.parametrize(
    ("rrule", "expected"),
    [
        pytest.param("FREQ=DAILY;BYHOUR=1;BYMINUTE=30", "01:00 00:30", id="a named hour fires at the end of the gap"),
        pytest.param("FREQ=HOURLY;BYMINUTE=30", "00:30 01:30 02:30", id="every hour goes on in elapsed time"),
        pytest.param("FREQ=MINUTELY;INTERVAL=30", "00:30 01:00 01:30", id="minutes go on in elapsed time"),
    ],
)
def test_rrules_follow_the_rule_for_skipped_hours(rrule: str, expected: str) -> None:
    """London skips 01:00 to 02:00 on 29 March 2026."""
    start = datetime(2026, 3, 29, 0, 5, tzinfo=UTC)
    found = next_after(parse(rrule=rrule, time_zone=LONDON), start, len(expected.split()))
    assert " ".join(f"{instant:%H:%M}" for instant in found) == expected


@pytest.mark.parametrize(
    "rrule",
    [
        "FREQ=YEARLY;INTERVAL=3", "FREQ=MONTHLY;INTERVAL=5", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=WEEKLY;INTERVAL=3;BYDAY=SU,MO",
        "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=SU,MO", "FREQ=DAILY;INTERVAL=10", "FREQ=HOURLY;INTERVAL=7", "FREQ=YEARLY",
        "FREQ=MINUTELY;INTERVAL=900", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "FREQ=MONTHLY;BYDAY=MO,TU,WE;BYSETPOS=-1",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "FREQ=MONTHLY;BYMONTHDAY=31",
    ],
)  # fmt: skip
@pytest.mark.parametrize("day", [datetime(2016, 1, 31, 9, 15, tzinfo=UTC), datetime(2016, 2, 29, 9, 15, tzinfo=UTC)])
def test_a_start_that_was_moved_close_gives_the_same_instants(rrule: str, day: datetime) -> None:
    """dateutil, from the very start, says the same."""
    end = datetime(2046, 1, 1, tzinfo=UTC)
    whole = [wall for wall in rrulestr(rrule, dtstart=day).between(day, end, inc=True) if wall > NEW_YEAR]
    assert whole
    assert between(parse(rrule=rrule, anchor=day), NEW_YEAR, end, 10**6) == whole


SCHEDULES = st.sampled_from(
    [
        parse(cron="*/20 * * * *", time_zone="America/New_York"),
        parse(cron="30 1,2 * * *", time_zone="Australia/Lord_Howe"),
        parse(cron="0 0 L * 1", time_zone=LONDON),
        parse(interval_seconds=4_321),
        parse(rrule="FREQ=DAILY;BYHOUR=1,2;BYMINUTE=0,30", time_zone="America/New_York"),
        parse(rrule="FREQ=HOURLY", time_zone="Australia/Lord_Howe"),
    ]
)
INSTANTS = st.integers(0, 2 * 366 * 1440).map(lambda minutes: NEW_YEAR + timedelta(minutes=minutes))


@settings(max_examples=60, deadline=None)
@given(recurrence=SCHEDULES, after=INSTANTS, hours=st.integers(0, 24 * 40), limit=st.integers(1, 50))
def test_the_three_questions_agree(recurrence: Recurrence, after: datetime, hours: int, limit: int) -> None:
    """Strictly increasing, `after` left out, `until` taken in, the limit kept."""
    until = after + timedelta(hours=hours)
    everything = between(recurrence, after, until, 10**6)
    assert all(earlier < later for earlier, later in pairwise([after, *everything]))
    assert all(instant <= until and instant.tzinfo is UTC for instant in everything)
    assert between(recurrence, after, until, limit) == everything[:limit]
    assert newest(recurrence, after, until, limit) == everything[-limit:]
    assert next_after(recurrence, after, len(everything)) == everything
    if everything:
        assert between(recurrence, after, everything[-1], 10**6) == everything


def test_a_question_about_a_year_of_minutes_stops_at_its_limit() -> None:
    """The instants at both ends, without the half million between them."""
    minutes = parse(cron="* * * * *", time_zone=LONDON)
    assert between(minutes, NEW_YEAR, NEW_YEAR + YEAR, 2) == [NEW_YEAR + timedelta(minutes=n) for n in (1, 2)]
    assert newest(minutes, NEW_YEAR, NEW_YEAR + YEAR, 2) == [NEW_YEAR + YEAR - timedelta(minutes=n) for n in (1, 0)]


def test_a_description_remembers_what_it_was_made_of() -> None:
    """For messages and for comparison; what was computed from it takes no part."""
    found = parse(rrule="FREQ=DAILY", anchor=NEW_YEAR, time_zone=LONDON)
    assert (found.kind, found.expression, found.anchor, found.zone) == (Kind.RRULE, "FREQ=DAILY", NEW_YEAR, LONDON)
    assert found == parse(rrule="FREQ=DAILY", anchor=NEW_YEAR, time_zone=LONDON)
