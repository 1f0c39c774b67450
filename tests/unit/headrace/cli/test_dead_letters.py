"""`headrace failures`, `headrace rerun`: what failed for good is found, and run once more, once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.cli import rerun as rerun_module
from headrace.cli.again import Changes, NotToBeRunAgain, name_of_go, once_more
from headrace.cli.cluster import ClusterRefusal
from headrace.cli.deadletters import DeadLetter, Filters, age_from, dead_letters
from headrace.cli.failures import as_json, as_table
from headrace.cli.rerun import Outcome, Wish, plan, run_again, runs_meant, told
from headrace.errors import UsageError
from headrace.kubeapi.errors import ApiError, Forbidden, Invalid, NotServed, TooManyRequests, Unreachable
from tests.unit.headrace.cli.memory_api import ROOT, MemoryApi, a_deployment, a_run
from tests.unit.headrace.hostile_text import BAD, GOOD

NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)


BUSY = TooManyRequests(429, "TooManyRequests", "slow down")
LOST = Unreachable(0, "Unreachable", "cut")
NO_RIGHT = Forbidden(403, "Forbidden", "flowruns is forbidden")


class Forgetful(MemoryApi):
    """It creates what is asked for, as of now, and its first answer is lost."""

    has_answered = False

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        stamp = {"creationTimestamp": datetime.now(UTC).isoformat(timespec="seconds")}
        made = await super().create(path, {**body, "metadata": {**body["metadata"], **stamp}})
        if not self.has_answered:
            self.has_answered = True
            raise LOST
        return made


class Shown:
    """Progress, written down."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.lines.append(text)

    tick = step


async def found(api: MemoryApi, namespace: str = "team-a", **filters: Any) -> list[str]:
    return [letter.name for letter in await dead_letters(api, namespace, Filters(**filters))]


def again_of(name: str, **metadata: Any) -> dict[str, Any]:
    labels = {"headrace.dev/rerun-of": name}
    created = {"creationTimestamp": "2026-03-05T00:00:00Z", **metadata}
    return a_run(f"{name}-again", None, metadata={"labels": labels, **created})


async def test_failed_and_crashed_runs_are_found_newest_first() -> None:
    """And no others."""
    others = [a_run(f"r-{phase}", phase) for phase in ("Succeeded", "Cancelled", "Skipped", "Running", None)]
    api = MemoryApi(a_run("old", day=2), a_run("new", "Crashed", day=4), a_run("middle", day=3), *others)
    assert await found(api) == ["new", "middle", "old"]


async def test_what_was_run_again_is_settled() -> None:
    """Whatever became of the new run; that of an earlier run of the same name settles nothing."""
    earlier = again_of("r2", creationTimestamp="2026-03-01T00:00:00Z")
    assert await found(MemoryApi(a_run("r1"), a_run("r2"), again_of("r1"), earlier)) == ["r2"]


async def test_a_task_of_another_run_is_none_of_ours() -> None:
    """Its parent deals with it."""
    task = a_run("task", flowRef={"name": "etl"}, task={"parent": {"name": "r1"}})
    assert await found(MemoryApi(a_run("r1"), task)) == ["r1"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"deployment": "daily"}, ["a"]),
        ({"flow": "etl"}, ["a", "c"]),
        ({"flow": "other"}, ["b"]),
        ({"reason": "OOMKilled"}, ["c"]),
        ({"since": datetime(2026, 3, 3, tzinfo=UTC)}, ["b", "a"]),
    ],
)
async def test_filters_leave_others_out(filters: dict[str, Any], expected: list[str]) -> None:
    """By Deployment, by Flow with or without one, by reason, by time."""
    runs = [
        a_run("a", day=3),
        a_run("b", day=4, deploymentRef={"name": "weekly"}),
        a_run("c", day=2, flowRef={"name": "etl"}, status={"reason": "OOMKilled"}),
    ]
    api = MemoryApi(*runs, a_deployment(), a_deployment("weekly", "other"))
    assert await found(api, **filters) == expected


async def test_other_namespaces_are_left_out_unless_asked_for() -> None:
    """The empty name is all of them."""
    api = MemoryApi(a_run("here"), a_run("there", metadata={"namespace": "team-b"}))
    assert await found(api) == ["here"]
    assert await found(api, "") == ["there", "here"]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("36500d", timedelta(36500)),
    ],
)
def test_an_age_has_a_unit(text: str, span: timedelta) -> None:
    """Seconds, minutes, hours or days."""
    assert age_from(text) == span


@pytest.mark.parametrize("text", ["24", "h", "-1h", "1w", ""])
def test_an_age_without_one_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(UsageError, match="such as 24h"):
        age_from(text)


@pytest.mark.parametrize("text", ["36501d", "999999d", "876001h"])
def test_an_age_of_more_than_a_hundred_years_is_refused(text: str) -> None:
    """No date is that long ago."""
    with pytest.raises(UsageError, match=f'--since "{text}": expected at most 36500d'):
        age_from(text)


async def letters(*runs: dict[str, Any]) -> list[DeadLetter]:
    return await dead_letters(MemoryApi(*runs), "team-a", Filters())


async def test_the_table_tells_what_matters_in_a_line_each() -> None:
    """Long messages are cut, line breaks are gone."""
    message = "first line\n" + "x" * 200
    shown = as_table(await letters(a_run("etl-7", status={"message": message})), NOW).splitlines()
    assert shown[0].split() == ["NAMESPACE", "RUN", "OF", "REASON", "ATTEMPTS", "ENDED", "MESSAGE"]
    assert shown[1].startswith("team-a      etl-7   deployment/daily   FlowFailed   1          2d ago   first line xxx")
    assert shown[1].endswith("…")
    assert as_table([], NOW) == "no failed run is left"


async def test_json_has_it_all() -> None:
    """For programs."""
    assert json.loads(as_json(await letters(a_run("etl-7", flowRef={"name": "etl"})))) == [
        {
            "namespace": "team-a",
            "name": "etl-7",
            "of": "flow/etl",
            "phase": "Failed",
            "reason": "FlowFailed",
            "attempts": 1,
            "endedAt": "2026-03-04T12:00:00Z",
            "message": "no",
        }
    ]


class TestOnceMore:
    """What the new run is like."""

    def test_it_is_the_same_but_for_what_was_the_old_ones_alone(self) -> None:
        """Labels of the user stay, as limits may select by them; the idempotency key goes, or it would be a duplicate."""
        labels = {"team": "x", "headrace.dev/schedule": "nightly", "app.kubernetes.io/managed-by": "headrace"}
        old = a_run(
            "etl-7",
            metadata={"labels": labels, "ownerReferences": [{"uid": "d"}], "annotations": {"a": "b"}},
            deploymentRef={"name": "daily"},
            parameters={"day": "old"},
            scheduledTime="2026-03-04T00:00:00Z",
            priority=3,
            idempotencyKey="k",
            cancel=True,
        )
        new = once_more(old, Changes())
        assert new["spec"] == {
            "deploymentRef": {"name": "daily"},
            "parameters": {"day": "old"},
            "scheduledTime": "2026-03-04T00:00:00Z",
            "priority": 3,
        }
        metadata = new["metadata"]
        assert metadata.pop("name").startswith("etl-7-r")
        assert metadata == {"namespace": "team-a", "labels": {"team": "x", "headrace.dev/rerun-of": "etl-7"}}

    @pytest.mark.parametrize(
        ("changes", "parameters"),
        [
            (Changes(overrides={"n": 2}), {"day": "old", "n": 2}),
            (Changes(parameters={"x": 1}), {"x": 1}),
            (Changes(parameters={"x": 1}, overrides={"x": 2}), {"x": 2}),
            (Changes(parameters={}), None),
        ],
    )
    def test_parameters_may_be_others(self, changes: Changes, parameters: dict[str, Any] | None) -> None:
        """Some of them, or all."""
        assert once_more(a_run("r"), changes)["spec"].get("parameters") == parameters

    def test_the_revision_may_be_that_of_then(self) -> None:
        """Else the latest, whatever the old run was pinned to."""
        old = a_run("r", flowRef={"name": "etl"})
        assert once_more(old, Changes(same_revision=True))["spec"]["flowRef"] == {"name": "etl", "revision": "rev1"}
        assert once_more(old, Changes())["spec"]["flowRef"] == {"name": "etl"}

    @pytest.mark.parametrize(
        ("run", "changes", "told"),
        [
            (a_run("r", "Running"), Changes(), "run r: is Running; wait for its end"),
            (a_run("r", None), Changes(), "run r: is Pending"),
            (a_run("r", flowRef={"name": "f"}, task={"parent": {"name": "p"}}), Changes(), "headrace rerun p"),
            (a_run("r"), Changes(same_revision=True), "for Deployment daily to say"),
            (
                a_run("r", flowRef={"name": "f"}, status={"flowRevision": None}),
                Changes(same_revision=True),
                "never had a revision",
            ),
        ],
    )
    def test_what_cannot_be_run_again_says_why(self, run: dict[str, Any], changes: Changes, told: str) -> None:
        """And what to do."""
        with pytest.raises(NotToBeRunAgain, match=told):
            once_more(run, changes)

    def test_its_name_derives_from_the_old_run(self) -> None:
        """Of a run of the same name another one; of a go of a go the suffix does not pile up; never too long."""
        first = name_of_go("etl-7", "uid", 1)
        assert first == name_of_go("etl-7", "uid", 1)
        names = {first, name_of_go("etl-7", "uid", 2), name_of_go("etl-7", "other", 1), name_of_go(first, "uid-2", 1)}
        assert len(names) == 4
        assert {len(name) for name in names} == {len("etl-7-r12345678")}
        assert len(name_of_go("x" * 63, "uid", 1)) == 63


class TestRunAgain:
    """The runs that are created."""

    async def again(self, api: MemoryApi, *names: str, **wish: Any) -> list[tuple[str, bool]]:
        """Each run, and whether there is a new one."""
        fields = {"filters": Filters(), "changes": Changes(), **wish}
        meant = await runs_meant(api, "team-a", Wish(names, **fields))
        self.shown = Shown()
        self.outcomes = await run_again(api, meant, Wish(names, **fields), self.shown)
        return [(outcome.run, outcome.new is not None) for outcome in self.outcomes]

    async def test_all_that_failed_is_run_again_oldest_first_and_only_once(self) -> None:
        """One request a run; afterwards none is left."""
        api = MemoryApi(*(a_run(f"r{day}", day=day) for day in (3, 1, 2)))
        assert await self.again(api) == [("r1", True), ("r2", True), ("r3", True)]
        assert [line for line in api.asked if line.startswith("POST")] == ["POST /namespaces/team-a/flowruns"] * 3
        assert self.shown.lines[-1] == "3 of 3"
        assert await self.again(api) == []

    async def test_a_limit_takes_the_oldest(self) -> None:
        """The others stay for the next time."""
        api = MemoryApi(*(a_run(f"r{day}", day=day) for day in (3, 1, 2)))
        assert await self.again(api, limit=2) == [("r1", True), ("r2", True)]
        assert await self.again(api) == [("r3", True)]

    async def test_a_second_go_is_refused_unless_it_is_wanted(self) -> None:
        """The error names the first."""
        api = MemoryApi(a_run("r1"), a_run("r2"))
        assert await self.again(api, "r1") == [("r1", True)]
        first = self.outcomes[0].new
        assert await self.again(api, "r1", "r2") == [("r1", False), ("r2", True)]
        assert str(self.outcomes[0].problem) == f"run r1: was run again already, as {first}; --again makes another"
        assert await self.again(api, "r1", another=True) == [("r1", True)]
        assert self.outcomes[0].new != first

    async def test_a_name_twice_is_one_run(self) -> None:
        """As a shell's history has it."""
        assert await self.again(MemoryApi(a_run("r1")), "r1", "r1") == [("r1", True)]

    async def test_a_run_that_is_not_there_says_where_to_look(self) -> None:
        """Before anything is created."""
        api = MemoryApi(a_run("r1"))
        with pytest.raises(ClusterRefusal, match="no such FlowRun in namespace team-a; headrace failures -n team-a"):
            await self.again(api, "r1", "r9")
        assert not any(line.startswith("POST") for line in api.asked)

    async def test_what_was_typed_is_what_the_flow_of_each_run_takes(self) -> None:
        """Text that looks like a number stays text where the Flow wants it; the other parameters are the old ones."""
        schema = {"type": "object", "properties": {"day": {"type": "string"}}}
        flow = {
            "kind": "Flow",
            "metadata": {"name": "etl", "namespace": "team-a"},
            "spec": {"parameters": {"schema": schema}},
        }
        labelled = a_run("r1", metadata={"labels": {"headrace.dev/flow": "etl"}})
        api = MemoryApi(flow, labelled, a_run("r2", flowRef={"name": "etl"}), a_run("r3"))
        await self.again(api, "r1", "r2", "r3", typed={"day": "20260507"})
        new = [api.objects[f"{ROOT}/namespaces/team-a/flowruns/{outcome.new}"] for outcome in self.outcomes]
        found = [run["spec"]["parameters"] for run in new]
        assert found == [{"day": "20260507", "n": 1}, {"day": "20260507"}, {"day": 20260507, "n": 1}]

    async def test_the_failure_of_one_is_no_matter_to_the_others(self) -> None:
        """It is told with its reason."""
        api = MemoryApi(a_run("r1", day=1), a_run("r2", day=2))
        api.refuse["POST"] = [Invalid(422, "Invalid", "spec: quota")]
        assert await self.again(api) == [("r1", False), ("r2", True)]
        assert str(self.outcomes[0].problem) == "cannot create the run: spec: quota"

    async def test_a_busy_server_is_asked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Until it has the time."""
        monkeypatch.setattr(rerun_module, "FIRST_DELAY_S", 0)
        api = MemoryApi(a_run("r1"))
        api.refuse["POST"] = [BUSY, LOST]
        assert await self.again(api) == [("r1", True)]
        assert sum(line.startswith("POST") for line in api.asked) == 3

    @pytest.mark.parametrize("another", [False, True])
    async def test_a_run_whose_answer_was_lost_is_the_new_one(
        self, monkeypatch: pytest.MonkeyPatch, another: bool
    ) -> None:
        """The request had taken effect: there is no second go."""
        monkeypatch.setattr(rerun_module, "FIRST_DELAY_S", 0)
        api = Forgetful(a_run("r1"))
        assert await self.again(api, "r1", another=another) == [("r1", True)]
        assert sum("/flowruns/r1-r" in path for path in api.objects) == 1

    @pytest.mark.parametrize("first", [BUSY, LOST])
    async def test_a_go_of_before_is_not_taken_for_the_new_one(
        self, monkeypatch: pytest.MonkeyPatch, first: ApiError
    ) -> None:
        """Even where the first request came to nothing; `--again` makes another."""
        monkeypatch.setattr(rerun_module, "FIRST_DELAY_S", 0)
        api = MemoryApi(a_run("r1"))
        assert await self.again(api, "r1") == [("r1", True)]
        before = self.outcomes[0].new
        api.refuse["POST"] = [first]
        assert await self.again(api, "r1") == [("r1", False)]
        assert str(self.outcomes[0].problem) == f"run r1: was run again already, as {before}; --again makes another"
        api.refuse["POST"] = [first]
        assert await self.again(api, "r1", another=True) == [("r1", True)]
        assert self.outcomes[0].new != before

    async def test_it_gives_up_after_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error is the server's."""
        monkeypatch.setattr(rerun_module, "FIRST_DELAY_S", 0)
        api = MemoryApi(a_run("r1"))
        api.refuse["POST"] = [Unreachable(0, "Unreachable", "cut")] * 9
        assert await self.again(api) == [("r1", False)]
        assert sum(line.startswith("POST") for line in api.asked) == rerun_module.TRIES

    def test_the_plan_says_what_will_be_done(self) -> None:
        """A few names, and how many more."""
        runs = [a_run(f"r{number}") for number in range(12)]
        told = plan(runs, Wish((), Filters(), Changes(), typed={"n": "1"})).splitlines()
        assert told[0] == "12 runs will be run again, with the old parameters but for n:"
        assert told[1:3] == ["  team-a/r0", "  team-a/r1"]
        assert told[-1] == "  and 2 more"
        assert "the parameters of the file" in plan(runs[:1], Wish((), Filters(), Changes(parameters={})))


def test_why_a_run_cannot_be_run_again_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An admission policy may quote what somebody else has written."""
    told([Outcome("r1", None, Invalid(422, "Invalid", BAD))])
    assert capsys.readouterr().err == f"headrace: run r1: 422 Invalid: {GOOD}\n"


@pytest.mark.parametrize(
    ("problems", "status"),
    [
        ([], 0),
        ([None], 0),
        ([None, NO_RIGHT], 4),
        ([NO_RIGHT, NO_RIGHT], 4),
        ([NO_RIGHT, NotToBeRunAgain("r1", "is Running")], 1),
        ([NotToBeRunAgain("r1", "is Running")], 1),
    ],
)
def test_the_exit_status_is_that_of_what_went_wrong(problems: list[Any], status: int) -> None:
    """Where all that went wrong has the same; else 1."""
    assert told([Outcome("r1", "r1-again" if problem is None else None, problem) for problem in problems]) == status


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Forbidden(403, "Forbidden", "flowruns is forbidden"), "flowruns is forbidden; ask an administrator"),
        (
            NotServed(404, "Unknown", "404 page not found", request="GET /apis/headrace.dev/v1alpha1/flowruns"),
            "headrace's definitions are not installed; kubectl apply",
        ),
        (NotServed(404, "Unknown", "<html>", request="GET /version"), "GET /version: 404 Unknown: <html>"),
    ],
)
async def test_a_refusal_says_what_to_do(error: Any, told: str) -> None:
    """Rights, and a cluster without headrace."""
    api = MemoryApi()
    api.refuse["LIST"] = [error]
    with pytest.raises(ClusterRefusal, match=f"cannot list flowruns: {told}"):
        await found(api)
