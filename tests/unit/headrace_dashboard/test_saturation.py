"""How full pools and limits have been: samples, and the picture of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from headrace.api import keys
from headrace_dashboard.pages.plot import plot, summary
from headrace_dashboard.watching.records import kept
from headrace_dashboard.watching.saturation import KEPT, Level, Sample, Saturation, limit_level, pool_level

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DATABASE = (keys.CONCURRENCYLIMITS.plural, "database")
GPU = (keys.WORKPOOLS.plural, "gpu")


def after(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def samples(*levels: Level) -> list[Sample]:
    return [Sample(after(20 * number), level) for number, level in enumerate(levels)]


def an_object(spec: dict[str, object], status: dict[str, object]) -> dict[str, object]:
    metadata = {"uid": "u", "name": "x", "resourceVersion": "1", "creationTimestamp": "2026-03-04T11:00:00Z"}
    return {"metadata": metadata, "spec": spec, "status": status}


def test_samples_of_one_that_came_later_have_the_instants_of_then() -> None:
    """And one that nothing bounds stays so; 0 is a bound."""
    saturation = Saturation()
    saturation.take(after(0), {DATABASE: Level(1, 0, 0)})
    saturation.take(after(20), {DATABASE: Level(2, 1, 0), GPU: Level(3, 0, None)})
    assert saturation.of(keys.WORKPOOLS, "gpu") == [Sample(after(20), Level(3, 0, None))]
    assert saturation.of(keys.CONCURRENCYLIMITS, "database") == [
        Sample(after(0), Level(1, 0, 0)),
        Sample(after(20), Level(2, 1, 0)),
    ]


def test_one_that_went_is_forgotten_and_begins_anew() -> None:
    """Its old samples would be given the instants of others."""
    saturation = Saturation()
    for second, levels in ((0, {GPU: Level(1, 0, 1)}), (20, {}), (40, {GPU: Level(2, 0, 2)})):
        saturation.take(after(second), levels)
    assert saturation.of(keys.WORKPOOLS, "gpu") == [Sample(after(40), Level(2, 0, 2))]


def test_no_more_is_kept_than_there_is_room_for() -> None:
    """The oldest goes."""
    saturation = Saturation()
    for number in range(KEPT + 5):
        saturation.take(after(number), {GPU: Level(number, 0, None)})
    found = saturation.of(keys.WORKPOOLS, "gpu")
    assert len(found) == KEPT
    assert found[0] == Sample(after(5), Level(5, 0, None))
    assert found[-1] == Sample(after(KEPT + 4), Level(KEPT + 4, 0, None))


def test_how_full_a_pool_and_a_limit_are() -> None:
    """As their status says; before it says anything, nothing is in use."""
    assert pool_level(kept(an_object({"capacity": {"runs": 4}}, {"active": 2, "queued": 7}))) == Level(2, 7, 4)
    assert pool_level(kept(an_object({}, {}))) == Level(0, 0, None)
    assert limit_level(kept(an_object({"slots": 0}, {"active": 1, "waiting": 3}))) == Level(1, 3, 0)


def test_the_picture_tells_in_words_what_it_shows() -> None:
    """For those who do not see it."""
    found = samples(Level(1, 0, 4), Level(4, 2, 4), Level(0, 9, None), Level(3, 0, 4))
    told = "4 in use at most, full for 25 % of the time, 9 waiting at most"
    assert summary(found) == told
    assert f'aria-label="{told}"' in plot(found, after(60))


@pytest.mark.parametrize("count", [2, 60, 61, 720])
def test_a_picture_keeps_the_peak_however_many_samples_it_is_made_from(count: int) -> None:
    """One sample of many reaches the top."""
    found = samples(*(Level(10 if number == count // 2 else 1, 0, None) for number in range(count)))
    used = re.search(r'd="([^"]*)" class="used"', plot(found, after(0), points=60))
    assert used
    assert "V0.0" in used[1]
    assert used[1].count("H") <= 60


def test_a_line_has_a_gap_where_nothing_bounds() -> None:
    """It begins anew after it."""
    found = samples(Level(0, 0, 4), Level(0, 0, None), Level(0, 0, 4))
    most = re.search(r'd="([^"]*)" class="most"', plot(found, after(60)))
    assert most
    assert most[1] == "M0 0.0 M1000 0.0"


def test_of_one_sample_there_is_no_picture() -> None:
    """A line needs two ends."""
    assert "<svg" not in plot(samples(Level(1, 0, 1)), after(0))
