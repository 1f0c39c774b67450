"""The termination message always fits, and is always JSON."""

import json
from dataclasses import dataclass
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from headrace.engine.session import TaskCounts
from headrace.launch import Ending
from headrace.termination import LIMIT, RESULT_LIMIT, Usage, termination_message, usage, write

USED = Usage(cpu_s=1.5, max_memory_bytes=2**40)


def an_ending(**changes):
    return Ending(
        **{"phase": "Succeeded", "reason": "Completed", "message": "the flow returned", "exit_code": 0, **changes}
    )


def read(ending, **options):
    return json.loads(termination_message(ending, USED, **options))


def test_the_message_holds_what_the_operator_reads():
    """Every field, in the words of the contract."""
    ending = an_ending(
        phase="Retrying",
        reason="RetryRequested",
        message="busy",
        result=[1],
        retry_delay_s=2.5,
        tasks=TaskCounts(3, 2, 1, 0, 1),
    )
    assert read(ending) == {
        "version": 1,
        "state": "Retrying",
        "reason": "RetryRequested",
        "message": "busy",
        "result": [1],
        "tasks": {"total": 3, "succeeded": 2, "failed": 1, "cached": 0, "retried": 1},
        "usage": {"cpuSeconds": 1.5, "maxMemoryBytes": 2**40},
        "retryDelaySeconds": 2.5,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)
ANY_TEXT = st.text(st.characters(), max_size=9000) | st.text(st.sampled_from('\x00"\\é😀\ud800\n'), max_size=9000)


@given(ANY_TEXT, JSON | ANY_TEXT | st.binary(), st.floats(0, 1e9) | st.none(), st.integers(512, LIMIT))
def test_it_always_fits(message, result, delay, limit):
    """Whatever the flow says and returns, within any limit."""
    ending = an_ending(message=message, result=result, retry_delay_s=delay, tasks=TaskCounts(*[2**31] * 5))
    text = termination_message(ending, USED, limit=limit)
    assert len(text) <= limit
    fields = json.loads(text.decode("utf-8"), parse_constant=pytest.fail)
    assert fields["state"] == "Succeeded"
    assert ("result" in fields) + ("resultOmitted" in fields) <= 1
    said = message.encode("utf-8", "replace").decode()
    assert said.startswith(fields["message"].removesuffix("…"))
    assert fields["message"] == said or len(text) > limit - 12


def test_the_sentence_is_cut_before_the_result_goes():
    """The result goes only where next to nothing is left of the sentence."""
    ending = an_ending(message="x" * 9000, result="y" * 300)
    assert read(ending, limit=800)["result"] == "y" * 300
    tight = read(ending, limit=550)
    assert (tight["resultOmitted"], "result" in tight) == (True, False)
    assert len(tight["message"]) > 200


class Model(BaseModel):
    day: date


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"day": date(2026, 1, 1)}, {"day": "2026-01-01"}),
        (Model(day="2026-01-01"), {"day": "2026-01-01"}),
        ([Point(1)], [{"x": 1}]),
        ((1, 2), [1, 2]),
        ("é" * (RESULT_LIMIT // 2 - 1), "é" * (RESULT_LIMIT // 2 - 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_small_result_is_told_as_json(result, told):
    """Dates, models and dataclasses too."""
    assert read(an_ending(result=result))["result"] == told


class Hostile:
    def __iter__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "result",
    ["x" * (RESULT_LIMIT - 1), "é" * (RESULT_LIMIT // 2), list(range(1000)), object(), Hostile(), iter([1]), {1, object()}, float("nan"), "\ud800"],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_another_result_is_left_out(result):
    """And said to be left out."""
    fields = read(an_ending(result=result))
    assert (fields.get("resultOmitted"), "result" in fields) == (True, False)


def test_no_result_is_nothing_left_out():
    """A flow that returns None has nothing to tell."""
    fields = read(an_ending(result=None))
    assert not {"result", "resultOmitted"} & set(fields)


def test_a_large_result_is_given_up_early():
    """It is not written out to see that it is too long."""

    class Endless(dict):
        asked = 0

        def items(self):
            for number in range(10**9):
                Endless.asked = number
                yield str(number), "x" * 10

    endless = Endless()
    endless["not"] = "empty"
    assert read(an_ending(result=endless))["resultOmitted"]
    assert Endless.asked < 1000


def test_usage_counts_the_children():
    """Seconds and bytes."""
    used = usage()
    assert used.cpu_s > 0
    assert 2**20 < used.max_memory_bytes < 2**40


def test_the_file_is_written_in_place(tmp_path):
    """It is a bind mount: it can be neither replaced nor made by us."""
    path = tmp_path / "log"
    with pytest.raises(FileNotFoundError):
        write(b"{}", path, create=False)
    path.write_bytes(b"something longer")
    inode = path.stat().st_ino
    write(b"{}", path, create=False)
    assert (path.read_bytes(), path.stat().st_ino) == (b"{}", inode)
    write(b"[]", tmp_path / "new", create=True)
    assert (tmp_path / "new").read_bytes() == b"[]"
