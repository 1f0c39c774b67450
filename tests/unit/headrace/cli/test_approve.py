"""`headrace approve` and `headrace reject`: which answer is written, and what is told."""

from __future__ import annotations

import copy
import os
import pty
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.cli.answering import (
    LOOKS,
    Waiting,
    give,
    input_from,
    missing_fields,
    verdict,
    waiting_run,
    waiting_runs,
)
from headrace.cli.approve import as_table, asked_for
from headrace.cli.arguments import text_parameters
from headrace.cli.cluster import ClusterRefusal
from headrace.errors import UsageError
from headrace.kubeapi.errors import Conflict, NotFound
from tests.unit.headrace.hostile_text import BAD, GOOD

SCHEMA = {
    "type": "object",
    "properties": {"replicas": {"type": "integer"}, "version": {"type": "string"}, "dry": {"type": "boolean"}},
    "required": ["replicas", "version"],
}
ASKS = {"kind": "Approval", "name": "deploy", "message": "to\nproduction?", "since": "2026-03-04T12:00:00Z"}
YES = {"decision": "Approve", "input": {"replicas": 3}}


class Api:
    """Runs by name, and what happens between two requests."""

    def __init__(self, *runs: dict[str, Any]) -> None:
        self.runs = {run["metadata"]["name"]: run for run in runs}
        self.meanwhile: list[Callable[[], object]] = []

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        if name not in self.runs:
            raise NotFound(404, "NotFound", f"{path} not found")
        return copy.deepcopy(self.runs[name])

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError(path)

    async def patch(self, path: str, body: Any) -> dict[str, Any]:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        run = self.runs[path.rpartition("/")[2]]
        if body["metadata"]["resourceVersion"] != run["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "the object has been modified")
        run["spec"].update(copy.deepcopy(body["spec"]))
        return run

    async def pages(self, path: str, params: Mapping[str, str] | None = None) -> AsyncIterator[dict[str, Any]]:
        assert params == {"fieldSelector": "status.phase=Paused"}
        for run in self.runs.values():
            yield {"items": [run]}

    async def sleep(self, _seconds: float) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()


def a_paused_run(name: str = "etl-7", answers: Any = None, **pause: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team-a", "resourceVersion": "7"},
        "spec": {"flowRef": {"name": "etl"}, **({"answers": answers} if answers else {})},
        "status": {"phase": "Paused", "reason": "AwaitingApproval", "pause": {**ASKS, **pause}},
    }


async def asking(api: Api, name: str = "etl-7") -> Waiting:
    return await waiting_run(api, "team-a", name)


async def test_the_answer_is_written_beside_those_to_earlier_pauses() -> None:
    before = {"name": "first", "decision": "Approve"}
    api = Api(a_paused_run(answers=[before]))
    await give(api, await asking(api), YES)
    assert api.runs["etl-7"]["spec"]["answers"] == [before, {"name": "deploy", **YES}]


async def test_a_run_that_changed_meanwhile_is_read_anew() -> None:
    api = Api(a_paused_run())
    api.meanwhile = [lambda: api.runs["etl-7"]["metadata"].update(resourceVersion="8")]
    await give(api, await asking(api), YES)
    assert api.runs["etl-7"]["spec"]["answers"] == [{"name": "deploy", **YES}]


async def test_of_two_people_the_first_one_has_answered() -> None:
    """Nobody's answer takes the place of another one unseen."""
    api = Api(a_paused_run())

    def other() -> None:
        api.runs["etl-7"] = a_paused_run(answers=[{"name": "deploy", "decision": "Reject"}])
        api.runs["etl-7"]["metadata"]["resourceVersion"] = "8"

    api.meanwhile = [other]
    with pytest.raises(ClusterRefusal, match="somebody has answered already: Reject"):
        await give(api, await asking(api), YES)


async def test_a_run_that_asks_something_else_by_now_is_not_answered() -> None:
    api = Api(a_paused_run())

    def goes_on() -> None:
        api.runs["etl-7"] = a_paused_run(name="etl-7") | {"status": {"pause": {**ASKS, "name": "second"}}}
        api.runs["etl-7"]["metadata"]["resourceVersion"] = "8"

    api.meanwhile = [goes_on]
    with pytest.raises(ClusterRefusal, match='its pause "deploy" is over'):
        await give(api, await asking(api), YES)


async def test_an_answer_that_was_refused_is_mended() -> None:
    api = Api(a_paused_run(answers=[{"name": "deploy", **YES}], refused="abc", problem="input.replicas: no"))
    await give(api, await asking(api), {"decision": "Approve", "input": {"replicas": 4}})
    assert api.runs["etl-7"]["spec"]["answers"][0]["input"] == {"replicas": 4}


async def test_the_answer_that_was_refused_is_not_given_again() -> None:
    """It would be waited for in vain."""
    api = Api(a_paused_run(answers=[{"name": "deploy", **YES}], refused="abc", problem="input.replicas: no"))
    with pytest.raises(ClusterRefusal, match=r"input.replicas: no; it waits for another answer"):
        await give(api, await asking(api), YES)


class TestVerdicts:
    async def test_a_run_that_goes_on_says_so(self) -> None:
        api = Api(a_paused_run())
        waiting = await asking(api)
        resumed = {"phase": "Retrying", "message": 'pause "deploy" was approved'}
        api.meanwhile = [lambda: api.runs["etl-7"].update(status=resumed)]
        assert await verdict(api, waiting, sleep=api.sleep) == 'etl-7 goes on: pause "deploy" was approved'

    async def test_what_the_run_says_commands_no_terminal(self) -> None:
        api = Api(a_paused_run())
        waiting = await asking(api)
        api.meanwhile = [lambda: api.runs["etl-7"].update(status={"phase": "Retrying", "message": BAD})]
        assert await verdict(api, waiting, sleep=api.sleep) == f"etl-7 goes on: {GOOD}"

    async def test_an_answer_that_the_operator_cannot_take_is_told(self) -> None:
        api = Api(a_paused_run())
        waiting = await asking(api)
        refused = a_paused_run(refused="abc", problem="input.replicas: 'x' is not of type 'integer'")
        api.meanwhile = [lambda: api.runs.update({"etl-7": refused})]
        with pytest.raises(ClusterRefusal, match=r"input.replicas: 'x' is not .* waits for another answer"):
            await verdict(api, waiting, sleep=api.sleep)

    async def test_without_an_operator_it_says_that_the_answer_waits(self) -> None:
        api = Api(a_paused_run())
        looks: list[float] = []

        async def sleep(seconds: float) -> None:
            looks.append(seconds)

        assert "no operator has taken it up yet" in await verdict(api, await asking(api), sleep=sleep)
        assert len(looks) == LOOKS


class TestInput:
    async def test_text_stays_text_and_the_rest_is_json(self) -> None:
        """A version 1.20 is no number, if the flow asks for text."""
        waiting = await asking(Api(a_paused_run(schema=SCHEMA)))
        given = text_parameters(["version=1.20", "replicas=3", "dry=true"])
        assert input_from(waiting, given) == {"version": "1.20", "replicas": 3, "dry": True}
        assert input_from(waiting, {"replicas": "1e999"}) == {"replicas": "1e999"}

    async def test_a_field_that_is_not_asked_for_is_refused(self) -> None:
        waiting = await asking(Api(a_paused_run(schema=SCHEMA)))
        with pytest.raises(UsageError, match=r"-p replica: .* takes replicas \(integer\), version \(string\)"):
            input_from(waiting, {"replica": "3"})
        with pytest.raises(UsageError, match="takes no input"):
            input_from(await asking(Api(a_paused_run())), {"replica": "3"})

    async def test_what_is_missing_is_told_as_it_is_typed(self) -> None:
        waiting = await asking(Api(a_paused_run(schema=SCHEMA)))
        assert missing_fields(waiting, {"replicas": 3}) == ["-p version=… (string)"]


class TestAPersonAtATerminal:
    async def typed(self, monkeypatch: pytest.MonkeyPatch, *lines: str, given: Mapping[str, str] | None = None) -> Any:
        waiting = await asking(Api(a_paused_run(schema=SCHEMA)))
        ours, theirs = pty.openpty()
        with os.fdopen(theirs) as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            os.write(ours, "".join(f"{line}\n" for line in lines).encode())
            try:
                return asked_for(waiting, given or {})
            finally:
                os.close(ours)

    async def test_is_asked_for_each_field(self, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        """An empty line leaves out what is not required."""
        assert await self.typed(monkeypatch, "3", "1.20", "") == {"replicas": 3, "version": "1.20"}
        shown = capsys.readouterr().err
        assert shown.startswith("to\nproduction?\n  replicas (integer): ")

    async def test_is_asked_for_what_was_not_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {"version": "2"}
        assert await self.typed(monkeypatch, "3", "true", given=given) == {"version": "2", "replicas": 3, "dry": True}


async def test_without_a_terminal_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waiting = await asking(Api(a_paused_run(schema=SCHEMA)))
    with (tmp_path / "nothing").open("w+") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(UsageError, match=r"asks for more: -p replicas=… \(integer\)"):
            asked_for(waiting, {"version": "2"})
        assert asked_for(waiting, {"version": "2", "replicas": "3"}) == {"version": "2", "replicas": 3}


class TestFinding:
    async def test_a_run_that_waits_for_nothing_says_how_it_is(self) -> None:
        asleep = a_paused_run("asleep", kind="Sleep") | {"status": {"phase": "Paused", "reason": "Sleeping"}}
        api = Api(asleep)
        with pytest.raises(ClusterRefusal, match=r"waits for no answer: it is Paused \(Sleeping\)"):
            await asking(api, "asleep")
        with pytest.raises(ClusterRefusal, match="headrace approve --list"):
            await asking(api, "missing")

    async def test_the_list_has_the_longest_wait_first_and_no_sleepers(self) -> None:
        late = a_paused_run("late", since="2026-03-04T13:00:00Z", until="2026-03-05T13:00:00Z")
        api = Api(late, a_paused_run("asleep", kind="Sleep"), a_paused_run("early"))
        found = await waiting_runs(api, "")
        assert as_table(found, datetime(2026, 3, 4, 15, 0, tzinfo=UTC)) == (
            "NAMESPACE   RUN     PAUSE    WAITS   UNTIL                  ASKS\n"
            "team-a      early   deploy   3h                             to production?\n"
            "team-a      late    deploy   2h      2026-03-05T13:00:00Z   to production?"
        )
        assert as_table([], datetime(2026, 3, 4, tzinfo=UTC)) == "no run waits for an answer"
