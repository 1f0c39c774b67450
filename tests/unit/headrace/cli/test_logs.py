"""Logs of pods: what a line says, and where to go on after a stream broke."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.cli import podlogs
from headrace.cli.cluster import ClusterRefusal
from headrace.cli.following import last_line
from headrace.cli.loglines import line_from
from headrace.cli.logs import Wish, show
from headrace.cli.podlogs import Section, pod_lines
from headrace.cli.printing import table
from headrace.cli.tree import Branch, Family, TaskRun, branch_of, drawn, task_runs
from headrace.kubeapi.errors import ApiError, Invalid, NotFound, Unreachable
from tests.unit.headrace.cli.memory_api import MemoryApi, a_run
from tests.unit.headrace.hostile_text import BAD, GOOD

NOW = datetime(2026, 3, 5, tzinfo=UTC)


def a_line(event: str = "log", task_run: str = "load-0", **facts: object) -> str:
    task = task_run.rpartition("-")[0]
    head = {"time": "2026-03-05T12:00:01.250Z", "level": "info", "event": event, "message": "done"}
    return json.dumps({**head, "flow_run": "etl-7", "task": task, "task_run": task_run, **facts})


def test_a_line_of_the_sdk_is_readable_and_knows_its_task() -> None:
    line = line_from(a_line() + "\n")
    assert line.readable(colours=False) == "12:00:01.250 info    load-0               done"
    assert (line.is_of("load"), line.is_of("load-0"), line.is_of("load-1")) == (True, True, False)
    assert "\x1b[32minfo" in line.readable(colours=True)


def test_a_traceback_stands_below_its_line() -> None:
    assert line_from(a_line(exception="Traceback\n  x")).readable(colours=False).endswith("done\nTraceback\n  x")


@pytest.mark.parametrize("text", ["plain", "{broken", '{"a": 1}', "[1]", '{"time": "x"}', ""])
def test_any_other_line_stays_as_it_is(text: str) -> None:
    line = line_from(text)
    assert (line.readable(colours=False), line.is_of("load")) == (text, False)


@pytest.mark.parametrize("line", [line_from(BAD), line_from(a_line(message=BAD)), line_from(a_line(exception=BAD))])
def test_a_line_commands_no_terminal(line) -> None:
    """It keeps its colours; `--raw` has all of it."""
    assert line.readable(colours=False).endswith(GOOD)


def test_neither_does_what_a_status_says() -> None:
    """In a tree, in a table, and in what a follower is told."""
    run = a_run("bad", status={"message": BAD})
    assert GOOD in drawn(branch_of(Family(run), NOW, colours=False))
    assert GOOD in table(("MESSAGE",), [(BAD,)])
    assert last_line(run).endswith(GOOD)


class Broken:
    """A client whose log stream breaks after each of its parts."""

    def __init__(self, *parts: list[str]) -> None:
        self.parts = list(parts)
        self.asked: list[dict[str, str]] = []

    async def lines(self, _path: str, params: Mapping[str, str]) -> AsyncIterator[str]:
        self.asked.append(dict(params))
        for line in self.parts.pop(0):
            yield line
        if self.parts:
            raise Unreachable(0, "Unreachable", "cut")


@pytest.mark.parametrize("zone", ["Z", "+08:00", "-03:30"])
async def test_a_broken_stream_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """`sinceTime` is exact to a second: what came of that second is not shown twice, and nothing of it is lost, in the zone of each node."""
    monkeypatch.setattr(podlogs, "BETWEEN_TRIES_S", 0)
    first = [
        f"2026-03-05T12:00:{second}{zone} {line}\n" for second, line in (("01.1", "a"), ("02.1", "b"), ("02.1", "c"))
    ]
    again = [*first[1:], f"2026-03-05T12:00:02.15{zone} d\n", f"2026-03-05T12:00:03{zone} e\n"]
    client = Broken(first, again)
    found = [line.raw async for line in pod_lines(client, "n", "p", Section(tail=5, follow=True))]  # type: ignore[arg-type]
    assert found == ["a", "b", "c", "d", "e"]
    assert client.asked[0] == {"container": "flow", "timestamps": "true", "tailLines": "5", "follow": "true"}
    assert client.asked[1] == {
        "container": "flow",
        "timestamps": "true",
        "follow": "true",
        "sinceTime": f"2026-03-05T12:00:02{zone}",
    }


class Without(MemoryApi):
    """A cluster that refuses the log of each pod with the error for it."""

    def __init__(self, run: Mapping[str, Any], *errors: ApiError) -> None:
        super().__init__(run)
        self.errors = list(errors)

    async def lines(self, _path: str, _params: Mapping[str, str]) -> AsyncIterator[str]:
        raise self.errors.pop(0)
        yield ""


PULLING = Invalid(400, "BadRequest", 'container "flow" in pod "etl-7-1" is waiting to start: ContainerCreating')
NO_POD = NotFound(404, "NotFound", 'pods "etl-7-1" not found')


@pytest.mark.parametrize(
    ("started", "errors", "told"),
    [
        ([None], [PULLING], "it has not started; headrace why etl-7 tells why"),
        ([True, None], [NO_POD, PULLING], "it has not started; headrace why etl-7 tells why"),
        ([None], [NO_POD], "its pods are gone; a history store"),
        ([True], [PULLING], "its pods are gone; a history store"),
        ([True, True], [NO_POD, NO_POD], "its pods are gone; a history store"),
    ],
)
async def test_a_log_that_has_not_begun_is_not_gone(
    capsys: pytest.CaptureFixture[str], started: list[bool | None], errors: list[ApiError], told: str
) -> None:
    """What hinders it is for `headrace why` to say; the history store has nothing of it."""
    attempts = [
        {"number": number, "pod": f"etl-7-{number}", **({"startedAt": "2026-03-05T00:00:00Z"} if begun else {})}
        for number, begun in enumerate(started, 1)
    ]
    client = Without(a_run("etl-7", "Running", status={"attempts": attempts}), *errors)
    with pytest.raises(ClusterRefusal, match=f"cannot show the log of etl-7: {told}"):
        await show(client, "team-a", Wish("etl-7", Section()))  # type: ignore[arg-type]
    assert ("waiting to start: ContainerCreating" in capsys.readouterr().err) == (PULLING in errors)


async def test_a_stream_that_stays_broken_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podlogs, "BETWEEN_TRIES_S", 0)
    client = Broken(*([] for _ in range(20)))
    with pytest.raises(Unreachable):
        [line async for line in pod_lines(client, "n", "p", Section())]  # type: ignore[arg-type]
    assert len(client.asked) == podlogs.TRIES + 1


def test_tasks_are_read_from_the_log() -> None:
    """The last that is told of each counts."""
    lines = [
        a_line("task_started"),
        a_line("task_succeeded", duration_s=1.5),
        a_line("task_started", "load-1"),
        a_line("task_failed", "load-1", error="ValueError: no", duration_s=2),
        a_line("task_cached", "read-0"),
        a_line("log", "other-0"),
        "noise",
    ]
    assert task_runs(map(line_from, lines)) == [
        TaskRun("load", "load-0", "succeeded", 1.5),
        TaskRun("load", "load-1", "failed", 2.0, "ValueError: no"),
        TaskRun("read", "read-0", "cached"),
    ]


def test_a_tree_has_attempts_tasks_and_children() -> None:
    run = a_run(
        "etl-7",
        status={
            "attempts": [
                {"number": 1, "pod": "etl-7-1", "reason": "OOMKilled", "message": "too much", "exitCode": 137},
                {"number": 2, "pod": "etl-7-2", "reason": "FlowFailed", "node": "n1"},
            ]
        },
    )
    tasks = {2: [TaskRun("load", f"load-{number}", "succeeded", 1.0) for number in range(3)]}
    family = Family(run, tasks, [Family(a_run("child", "Succeeded", status={"reason": "Succeeded"}))])
    assert drawn(branch_of(family, NOW, colours=False)).splitlines() == [
        "etl-7   deployment/daily   Failed (FlowFailed)",
        "├─ no",
        '├─ parameters   {"day": "old", "n": 1}',
        "├─ waited   13h",
        "├─ attempt 1   OOMKilled   exit code 137",
        "│  └─ too much",
        "├─ attempt 2   FlowFailed   on n1",
        "│  └─ load x 3   succeeded   at most 1.0s",
        "└─ child   deployment/daily   Succeeded",
        '   ├─ parameters   {"day": "old", "n": 1}',
        "   ├─ waited   13h",
        "   └─ attempt 1   Running",
    ]


def test_a_text_of_several_lines_stays_within_its_branch() -> None:
    tree = Branch("run", (Branch("a\nb", (Branch("c"),)), Branch("d")))
    assert drawn(tree).splitlines() == ["run", "├─ a", "│     b", "│  └─ c", "└─ d"]
