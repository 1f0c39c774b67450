"""Results that are kept for a while: the runs that find them, and those that come too late."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from headrace import flow, task
from headrace.engine.session import LAPTOP, using
from headrace.results import Reference, store
from headrace.results.files import Files
from headrace.results.lifetime import expiry_s, has_expired, stamp
from headrace.states import Succeeded

DAY_S = 86400


@dataclass
class Attempts:
    """Attempts of one run over one folder; `later_s` is how far the clock of its storage has gone on."""

    folder: Path
    later_s: float = 0.0
    ran: list[str] = field(default_factory=list)

    def attempt(self, fails: bool = False) -> int | None:
        """What the flow returns; None where it fails."""

        @task
        def make() -> Reference:
            self.ran.append("make")
            return store([1, 2, 3])

        @task
        def total(ref: Reference) -> int:
            self.ran.append("total")
            if fails:
                raise ConnectionError
            return sum(ref.load())

        @flow
        def main() -> int:
            return total(make())

        files = Files(self.folder, lambda: time.time() + self.later_s)
        session = replace(LAPTOP, flow_run="today", results_url="file:///unused", open_storage=lambda _: files)
        with using(session):
            state = main(return_state=True)
        return state.result() if isinstance(state, Succeeded) else None


@pytest.fixture
def attempts(tmp_path, monkeypatch):
    """Results are kept for a day."""
    monkeypatch.setenv("HEADRACE_RESULTS_TTL_SECONDS", str(DAY_S))
    return Attempts(tmp_path)


def test_a_later_attempt_loads_what_a_reference_of_an_earlier_one_names(attempts):
    """The data was stored once, and the task that stored it does not run again."""
    assert attempts.attempt(fails=True) is None
    assert attempts.attempt() == 6
    assert attempts.ran == ["make", "total", "total"]


def test_an_attempt_that_comes_too_late_begins_anew(attempts):
    """What has expired counts as absent: both the result and the object that it names."""
    assert attempts.attempt(fails=True) is None
    attempts.later_s = DAY_S + 2
    assert attempts.attempt() is None, "what it has stored itself expires by its own clock, which is a day behind"
    assert attempts.ran == ["make", "total", "make", "total"]


@pytest.mark.parametrize(
    ("start", "expires_s"),
    [
        (b'{"headrace":1,"expires":"1970-01-01T00:01:00Z"}\n', 60.0),
        (b'{"headrace":1}\nno "expires" of the first line', None),
        (b'{"expires": 5}\n', None),
        (b'"expires"\n', None),
        (b'{"expires":"1970-01-01T00:01:00Z"}', None),
        (b"", None),
    ],
)
def test_the_first_line_says_when_an_object_expires(start, expires_s):
    """What is no object of headrace never does."""
    assert expiry_s(start) == expires_s
    assert has_expired(start, 60.0) == (expires_s is not None)
    assert not has_expired(start, 59.9)


@pytest.mark.parametrize(("at_s", "text"), [(0.0, "1970-01-01T00:00:00Z"), (0.001, "1970-01-01T00:00:01Z")])
def test_a_stamp_is_never_too_early(at_s, text):
    """Whole seconds, rounded up."""
    assert stamp(at_s) == text
