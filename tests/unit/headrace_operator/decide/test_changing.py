"""A changed record is what `dataclasses.replace` makes of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from headrace.api.conditions import Phase
from headrace_operator.decide.changing import changed
from tests.builders import a_running_status


def test_a_change_is_one_of_a_copy() -> None:
    """All other fields are as they were, and the record that it was made of is too."""
    before = a_running_status()
    after = changed(before, phase=Phase.FAILED, pool="spot")
    assert after == replace(before, phase=Phase.FAILED, pool="spot")
    assert before == a_running_status()
    assert [getattr(changed(before), field.name) for field in fields(before)] == [
        getattr(before, field.name) for field in fields(before)
    ]


def test_the_copy_is_frozen_and_has_no_other_fields() -> None:
    """A mistyped name is told at once."""
    with pytest.raises(AttributeError):
        changed(a_running_status(), phaze=Phase.FAILED)
    with pytest.raises(FrozenInstanceError):
        changed(a_running_status()).phase = Phase.FAILED  # type: ignore[misc]
