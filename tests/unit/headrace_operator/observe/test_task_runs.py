"""The index of tasks by their parents, and when a parent counts as over."""

from __future__ import annotations

import pytest

from headrace.api.conditions import Phase
from headrace_operator.decide.snapshot import ObjectKey, Run, RunStatus
from headrace_operator.observe.task_runs import TaskRuns
from tests.builders import NAMESPACE, a_run, a_task

PARENT = ObjectKey(NAMESPACE, "etl-0")
FINISHED = RunStatus(phase=Phase.SUCCEEDED)


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


def a_task_run(name: str, **changes: object) -> Run:
    return a_run(key=key(name), task=a_task(), **changes)


@pytest.fixture
def tasks() -> TaskRuns:
    """Of one parent with two tasks."""
    made = TaskRuns()
    made.changed(a_task_run("etl-0-train-1"))
    made.changed(a_task_run("etl-0-train-0"))
    return made


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"status": FINISHED}, id="it has ended"),
        pytest.param({"cancel": True}, id="it was told to end"),
        pytest.param({"deleting": True}, id="it is being deleted"),
    ],
)
def test_the_end_of_a_parent_is_news_to_its_tasks(tasks: TaskRuns, changes: dict[str, object]) -> None:
    """Each of them, and no other."""
    tasks.changed(a_run(key=key("other-train-0"), task=a_task(parent={"name": "other", "uid": "u"})))
    assert tasks.changed(a_run(key=PARENT, **changes)) == [key("etl-0-train-0"), key("etl-0-train-1")]


def test_a_parent_that_goes_on_is_none(tasks: TaskRuns) -> None:
    """No task is woken for each status of its parent."""
    assert tasks.changed(a_run(key=PARENT)) == []


def test_a_parent_that_left_is_looked_for(tasks: TaskRuns) -> None:
    """It was deleted, or its end was not heard."""
    assert tasks.gone(PARENT) == [key("etl-0-train-0"), key("etl-0-train-1")]


def test_tasks_that_ended_or_went_are_forgotten(tasks: TaskRuns) -> None:
    """Nothing is kept of them."""
    tasks.changed(a_task_run("etl-0-train-0", status=FINISHED))
    tasks.gone(key("etl-0-train-1"))
    assert tasks.of(PARENT) == []
    assert not tasks._of
    assert not tasks._parents


def test_a_name_that_was_taken_anew_counts_once(tasks: TaskRuns) -> None:
    """Under the parent that it has now."""
    tasks.changed(a_run(key=key("etl-0-train-0"), task=a_task(parent={"name": "other", "uid": "u"})))
    assert tasks.of(PARENT) == [key("etl-0-train-1")]
    assert tasks.of(key("other")) == [key("etl-0-train-0")]
