"""What a status holds of partitions that wait for another run: bounded, and never sooner due than they were."""

from __future__ import annotations

from datetime import timedelta

from headrace.api.backfill import MAX_RETRY_GROUPS, BackfillStatus
from headrace.backfills.outcomes import Outcomes
from headrace_operator.decide.backfill.noted import Retry, noted_in, retry_groups
from tests.builders import NOW


def test_partitions_that_are_due_together_share_an_entry() -> None:
    """As people read it."""
    (group,) = retry_groups({position: Retry(2, NOW) for position in (3, 4, 5, 9)})
    assert (group.attempt, group.not_before, group.positions) == (2, NOW, "3-5,9")


def test_ends_at_many_instants_fit_into_the_status() -> None:
    """A window is closed for hours, and what runs fails one after the other: the API refuses a longer list."""
    retrying = {position: Retry(2 + position % 3, NOW + timedelta(seconds=position)) for position in range(4000)}
    status = BackfillStatus(retrying=retry_groups(retrying))
    assert len(status.retrying) <= MAX_RETRY_GROUPS
    again = noted_in(status, Outcomes()).retrying
    assert {position: retry.number for position, retry in again.items()} == {
        position: retry.number for position, retry in retrying.items()
    }
    assert all(again[position].not_before >= retry.not_before for position, retry in retrying.items())
    latest = max(retrying, key=lambda position: retrying[position].not_before)
    assert again[latest] == retrying[latest]
    assert retry_groups(again) == status.retrying


def test_thousands_that_are_due_at_once_fit_into_the_status() -> None:
    """An entry holds 16,384 characters of positions."""
    retrying = {700_000 + 2 * number: Retry(2, NOW) for number in range(11_000)}
    status = BackfillStatus(retrying=retry_groups(retrying))
    assert noted_in(status, Outcomes()).retrying == retrying
