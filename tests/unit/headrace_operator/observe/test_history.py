"""What is remembered of finished runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from headrace.api.conditions import Phase
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import RunStatus
from headrace_operator.observe.history import History, Owner
from tests.builders import NAMESPACE, NOW, a_run
from tests.unit.headrace_operator.observe.objects import key

DAILY = Owner(NAMESPACE, "daily")


def a_finished(name: str = "r1", *, after_s: float = 0, uid: str = "u", **changes: Any) -> Any:
    status = RunStatus(phase=Phase.FAILED, reason="FlowFailed", finished_at=NOW + timedelta(seconds=after_s))
    fields = {"deployment_ref": "daily", "flow_ref": None, "status": status, **changes}
    return a_run(key=key(name), uid=uid, **fields)


def test_a_finished_run_is_remembered_by_its_owner() -> None:
    """As much of it as retention needs."""
    history = History()
    assert history.put(a_finished(schedule="nightly", scheduled_time=NOW)) == DAILY
    assert history.of(DAILY) == [
        FinishedRun(key("r1"), "u", "daily", Phase.FAILED, "FlowFailed", NOW, "nightly", NOW, version=7)
    ]
    assert history.owners() == [DAILY]
    assert history.is_of(DAILY, key("r1"))


def test_a_run_that_goes_on_is_not() -> None:
    """There is nothing to remember yet."""
    history = History()
    assert history.put(a_run()) is None
    assert history.owners() == []


def test_runs_without_a_deployment_are_their_namespaces() -> None:
    """An owner without a name."""
    history = History()
    assert history.put(a_finished(deployment_ref=None)) == Owner(NAMESPACE, None)
    assert history.of(DAILY) == []
    assert not history.is_of(DAILY, key("r1"))


def test_hearing_of_it_twice_is_hearing_of_it_once() -> None:
    """From the list at the start and from our own write."""
    history = History()
    history.put(a_finished())
    history.put(a_finished())
    assert len(history.of(DAILY)) == 1


def test_what_is_dropped_is_forgotten_but_for_the_last_end() -> None:
    """The Deployment's status goes on to tell of it."""
    history = History()
    history.put(a_finished("r1", after_s=2))
    history.put(a_finished("r2", after_s=1))
    for run in history.of(DAILY):
        history.drop(run)
    assert history.owners() == []
    assert not history.is_of(DAILY, key("r1"))
    last = history.last(DAILY)
    assert last is not None
    assert last.key == key("r1")
    assert history.last(Owner(NAMESPACE, "weekly")) is None


def test_dropping_the_old_run_of_a_name_keeps_the_new_one() -> None:
    """It was made and ended while the old one was being deleted."""
    history = History()
    history.put(a_finished(uid="old"))
    old = history.of(DAILY)[0]
    history.put(a_finished(uid="new"))
    history.drop(old)
    assert [run.uid for run in history.of(DAILY)] == ["new"]
    assert history.is_of(DAILY, key("r1"))


def test_the_longer_a_history_is_the_later_it_is_looked_at() -> None:
    """A short one at once, so that the counts are kept to; one of a thousand runs after a tenth of a second."""
    history = History()
    for number in range(99):
        history.put(a_finished(f"r{number}", uid=f"u{number}"))
    assert history.look_after_s(DAILY) == 0.0
    for number in range(99, 1000):
        history.put(a_finished(f"r{number}", uid=f"u{number}"))
    assert history.look_after_s(DAILY) == 0.1
