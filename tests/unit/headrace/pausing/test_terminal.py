"""A pause on a laptop: the terminal is asked, as long as the answer does not fit."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, model_validator

from headrace import PauseRejected, RunCancelled, UsageError, flow, pause
from headrace.pausing.answers import answers_from
from headrace.pausing.forms import Console, fields_of
from headrace.pausing.requests import PauseRequest, schema_of
from headrace.pausing.terminal import PERSON, answered
from tests.unit.headrace.hostile_text import BAD, GOOD

FLOW = """
from pydantic import BaseModel
from headrace import flow, pause

class Approval(BaseModel):
    replicas: int

@flow
def main():
    return pause("deploy?", wait_for_input=Approval).replicas

@flow
async def beside():
    return (await pause.aio("deploy?", wait_for_input=Approval)).replicas

if __name__ == "__main__":
    print("got", main())
"""


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Order(BaseModel):
    name: str
    count: int = 1
    size: Size | None = None
    tags: list[str] = []

    @model_validator(mode="after")
    def together(self) -> Order:
        if self.name == "none" and self.count:
            raise ValueError("nothing has no count")
        return self


class Person:
    """Types what the test says, and keeps what was shown."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.shown: list[str] = []
        self.console = Console(self._read, self.shown.append)

    def _read(self, prompt: str) -> str:
        self.shown.append(prompt)
        if not self.lines:
            raise EOFError
        return self.lines.pop(0)


def said(person: Person, model: Any = Order) -> Any:
    asked = PauseRequest("Approval", "order", "order?", None if model is None else schema_of(model))
    return answered(asked, model, person.console)


def test_each_field_is_asked_for_with_its_type_and_default() -> None:
    person = Person("y", "12", "3", "large", '["a"]')
    assert said(person) == Order(name="12", count=3, size=Size.LARGE, tags=["a"])
    assert person.shown == [
        "order? [y/n]: ",
        "  name (string): ",
        "  count (integer) [1]: ",
        "  size (one of small, large or null) [null]: ",
        "  tags (a JSON list) [[]]: ",
    ]


def test_an_empty_line_leaves_a_field_as_it_is_by_default() -> None:
    assert said(Person("yes", "a", "", "", "")) == Order(name="a")


def test_what_is_wrong_is_told_and_asked_for_again_alone() -> None:
    person = Person("perhaps", "y", "", "a", "many", "", "", "5")
    assert said(person) == Order(name="a", count=5)
    assert "  please type y or n" in person.shown
    assert "  name is required" in person.shown
    assert any("count: Input should be a valid integer" in line for line in person.shown)
    assert person.shown.count("  name (string): ") == 2
    assert person.shown.count("  count (integer) [1]: ") == 2


def test_what_is_wrong_with_the_whole_is_asked_for_as_a_whole() -> None:
    person = Person("y", "none", "1", "", "", "none", "0", "", "")
    assert said(person) == Order(name="none", count=0)


def test_a_no_asks_why() -> None:
    with pytest.raises(PauseRejected, match="not today"):
        said(Person("n", "not today"))


def test_the_end_of_the_input_cancels_the_run() -> None:
    with pytest.raises(RunCancelled):
        said(Person("y"), model=Order)


def test_a_field_of_any_kind_takes_json_or_text() -> None:
    """As `-p` does."""
    (field,) = fields_of({"properties": {"x": {}}})
    assert (field.value("3"), field.value("three"), field.told) == (3, "three", "anything")


@pytest.mark.parametrize("text", ["[]", "x", '{"deploy": {}}', '{"deploy": {"decision": "Yes"}}', '{"a": 1}'])
def test_answers_in_the_environment_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected answers by the names of their pauses"):
        answers_from(text)


class TestWithoutATerminal:
    def test_it_says_where_to_put_the_answer(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        @flow
        def main() -> None:
            pause("deploy?", name="deploy")

        with (tmp_path / "nothing").open("w+") as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            with pytest.raises(UsageError, match=r'set HEADRACE_ANSWERS=.{"deploy": {"decision": "Approve"}}'):
                main()

    def test_an_answer_in_the_environment_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        @flow
        def main() -> Any:
            return pause("order?", wait_for_input=Order)

        monkeypatch.setenv("HEADRACE_ANSWERS", '{"pause-0": {"decision": "Approve", "input": {"name": "a"}}}')
        assert main() == Order(name="a")
        monkeypatch.setenv("HEADRACE_ANSWERS", '{"pause-0": {"decision": "Approve", "input": {}}}')
        with pytest.raises(UsageError, match="cannot be used: name: Field required"):
            main()


def test_what_is_asked_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wrote the question is not the one who reads it."""
    PERSON.write(BAD)
    assert capsys.readouterr().err == f"{GOOD}\n"


@pytest.mark.parametrize("what", ["main", "beside"])
def test_a_real_terminal(tmp_path: Path, what: str) -> None:
    """`headrace run`, with a flow that awaits and one that does not."""
    (tmp_path / "etl.py").write_text(FLOW)
    ours, theirs = pty.openpty()
    started = [sys.executable, "-m", "headrace.cli", "run", f"etl.py:{what}"]
    process = subprocess.Popen(started, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path)
    os.close(theirs)
    try:
        os.write(ours, b"y\nmany\n4\n")
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(ours)
    assert process.returncode == 0, output
    assert b"valid integer" in output
    assert b"Succeeded" in output
