"""Digests tell values apart, and are the same in every process."""

import enum
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial, wraps
from pathlib import Path

import pytest
from pydantic import BaseModel

from headrace.engine.keeping.fingerprints import Undigestible, digest, origin_of, source_of


@dataclass
class Row:
    id: int
    tags: set[str]


class Model(BaseModel):
    name: str
    notes: set[str] = set()


class Colour(enum.Enum):
    RED = "red"


class Tags(set):
    """A set that knows more."""


CODE = """
import sys
from datetime import date
from collections import OrderedDict
from fractions import Fraction
from headrace.engine.keeping.fingerprints import digest
value = [{"a": {"x", "y", "zed", "other"}}, frozenset(map(str, range(50))), (1, 2.5, None, True, b"x"), date(2026, 1, 1),
         OrderedDict(b=1), Fraction(1, 3), {("k", frozenset({"p", "q", "r"})): {frozenset({"s", "t"}), frozenset()}}]
print(digest(value).hex())
"""


def test_a_digest_is_the_same_in_every_process():
    """Whatever the hash seed, in which sets have another order."""
    told = {
        subprocess.run(
            [sys.executable, "-c", CODE], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(told) == 1


DIFFERENT = [
    None, True, 1, 1.0, "1", b"1", (1,), [1], {1}, frozenset({1}), {1: 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, [[1], 2], [1, [2]],
    Row(1, {"a"}), Row(1, {"b"}), Model(name="a"), Model(name="a", notes={"n"}), Colour.RED, "red", Decimal(1),
    datetime(2026, 1, 1, tzinfo=UTC), Path("a"), len, Row, Tags({1}), "", (), {}, set(), float("nan"), -0.0, 0.0,
]  # fmt: skip


def test_values_that_differ_have_different_digests():
    """Types count, and the order of a dict does."""
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_equal_values_have_the_same_digest():
    """Whichever objects they are made of."""
    text, again = (str(number) for number in (12345, 12345))
    assert text is not again
    assert digest([text, text]) == digest([text, again])
    assert digest(Row(1, {"a", "b"})) == digest(Row(1, {"b", "a"}))
    assert digest(Model(name="a", notes={"x", "y"})) == digest(Model(name="a", notes={"y", "x"}))


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value", [threading.Lock(), lambda: 1, (each for each in "ab"), LOOP, [{"a": threading.Lock()}]]
)
def test_what_cannot_be_told_apart_is_refused(value):
    """With the reason."""
    with pytest.raises(Undigestible) as error:
        digest(value)
    assert str(error.value)


def test_a_function_without_a_text_is_told_by_its_code():
    """Such as one that was made by exec()."""
    made = {}
    exec("def one(x):\n    return [x + 1 for _ in 'a']\ndef two(x):\n    return [x + 2 for _ in 'a']", made)
    assert source_of(made["one"]) != source_of(made["two"])
    assert " at 0x" not in source_of(made["one"])
    assert source_of(test_equal_values_have_the_same_digest).startswith("def test_equal_values")


def made_for(place, count=0):
    def step(x):
        return [place, x]

    def counting():
        nonlocal count
        count += 1
        return count

    return step, counting


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by


def test_functions_of_one_text_are_told_by_what_they_carry_along():
    """The values that they close over, the arguments of a partial, and what an object that is called holds."""
    dev, prod, again = (made_for(place)[0] for place in ("dev", "prod", "dev"))
    assert digest(origin_of(dev)) == digest(origin_of(again)) != digest(origin_of(prod))
    assert digest(origin_of(wraps(dev)(lambda x: x))) != digest(origin_of(wraps(prod)(lambda x: x)))
    assert digest(origin_of(partial(max, 1))) != digest(origin_of(partial(max, 2)))
    assert digest(origin_of(Scale(1))) == digest(origin_of(Scale(1))) != digest(origin_of(Scale(2)))


def test_what_a_function_changes_itself_does_not_tell_it_from_others():
    """Nor what others may change in place: it would be another one in each attempt."""
    _, counting = made_for("dev")
    before = digest(origin_of(counting))
    counting()
    assert digest(origin_of(counting)) == before
    assert digest(origin_of(made_for(["dev"])[0])) == digest(origin_of(made_for(["prod"])[0]))
